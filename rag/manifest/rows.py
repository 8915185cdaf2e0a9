"""What goes into the manifest and comes out of it, as values; SQL stays behind `Manifest`."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from rag.page_text import PageText, VectorWords
from rag.types import Json
from rag.vector_boxes import VectorBoxes

_RECORDS = uuid.UUID("6f63746f-7661-5f70-a765-5f7265636f72")


class DocumentState(StrEnum):
    INDEXED = "indexed"
    PARTIAL = "partial"  # live, some pages failed
    FAILED = "failed"  # tried and could not
    REFUSED = "refused"  # will not try


class PageState(StrEnum):
    INDEXED = "indexed"
    BLANK = "blank"
    FAILED = "failed"


class VersionState(StrEnum):
    STAGING = "staging"
    LIVE = "live"
    RETIRED = "retired"  # its records may still be in the index


def page_record_id(version_id: str, page_number: int) -> str:
    """The index record of a page: the same at every try, so a second upsert replaces the first."""
    return str(uuid.uuid5(_RECORDS, f"{version_id}/{page_number}"))


@dataclass(frozen=True)
class Incoming:
    """A file as it comes to be ingested.

    Attributes:
        root: the folder that was ingested, or another name for where it came from.
        source: path below the root, what people know the document by.
        n_pages: 0 while the file has not been opened.
        metadata: None keeps what the document has.
        readers: None keeps what the document has; a new one is then its ingester's alone.
    """

    document_id: str
    root: str
    source: str
    sha256: str = ""
    n_pages: int = 0
    metadata: Json | None = None
    readers: tuple[str, ...] | None = None
    is_repaired: bool = False


@dataclass(frozen=True)
class Unchanged:
    """The same bytes, name, metadata and readers are live already."""

    document_id: str
    version_id: str


@dataclass(frozen=True)
class StagedVersion:
    """A version being filled; `recorded` are the pages an interrupted try made durable."""

    version_id: str
    document_id: str
    sha256: str
    n_pages: int
    source: str
    metadata: Json
    readers: tuple[str, ...]
    recorded: frozenset[int] = frozenset()
    is_resumed: bool = False
    replaces: str | None = None  # the live version it will take the place of


@dataclass(frozen=True, eq=False)
class PageRow:
    """How one page ended.

    Attributes:
        reason: why it failed, a code such as `render_timeout`.
        content_hash: equal pages, equal hash.
        record_id: its record in the index; None for a page that has none.
        vector_words: which words of `text` the patch vectors stand for.
        vector_boxes: where they look, if they stand for no words.
        hidden: words of the file that nobody sees.
        ocr: engine that read `text`, or a part of it; None for the file's own words.
        caption: what a chat model wrote of the page.
        input_digest: of all that its encoder was given; None where nothing was encoded.
        is_reused: its vectors are those of an equal page, and were not made again.
    """

    page_number: int
    state: PageState
    width_pt: float = 0.0
    height_pt: float = 0.0
    content_hash: str = ""
    no_text: bool = False
    reason: str = ""
    record_id: str | None = None
    text: PageText = field(default_factory=PageText.empty)
    vector_words: VectorWords | None = None
    vector_boxes: VectorBoxes | None = None
    hidden: PageText = field(default_factory=PageText.empty)
    ocr: str | None = None
    caption: Json | None = None
    vectors_digest: str | None = None
    input_digest: str | None = None
    is_reused: bool = False


@dataclass(frozen=True, slots=True)
class PageInfo:
    """A page without its words, as many pages at once are loaded; in the order of its columns."""

    page_number: int
    state: PageState
    no_text: bool
    reason: str
    width_pt: float
    height_pt: float
    content_hash: str
    record_id: str | None
    prior: float
    ocr: str | None
    n_hidden_words: int | None


@dataclass(frozen=True, eq=False)
class TextRow:
    """The words of a page, which of them or which boxes its patch vectors stand for, and the rest.

    Attributes:
        hidden: words of the file that nobody sees.
        caption: what a chat model wrote of the page.
    """

    text: PageText
    vector_words: VectorWords | None
    vector_boxes: VectorBoxes | None
    hidden: PageText
    caption: Json | None


@dataclass(frozen=True)
class Document:
    """A document and its live version; the version's columns are empty where it has none."""

    document_id: str
    collection: str
    root: str
    source: str
    state: DocumentState
    error: Json | None
    metadata: Json
    readers: tuple[str, ...]
    ingested_by: str
    created_at: float  # seconds since 1970, UTC
    updated_at: float
    version_id: str | None
    sha256: str
    n_pages: int
    is_repaired: bool


@dataclass(frozen=True)
class LiveState:
    """A collection at one generation, read in one transaction.

    Attributes:
        pages: by version id, for those versions the caller did not have yet.
        features: the same versions' document features.
    """

    generation: int
    documents: tuple[Document, ...]
    pages: Mapping[str, tuple[PageInfo, ...]]
    features: Mapping[str, Json]
