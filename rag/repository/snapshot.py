"""What of a collection is visible at one generation, kept in memory and brought up to date."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field, replace

import numpy as np

from rag.geometry import FloatArray
from rag.heatmap import PlacedVectors
from rag.manifest import Document, DocumentState, Manifest, PageInfo, PageState
from rag.page_pack import PackView
from rag.page_text import PageText, VectorWords
from rag.scoring.packed import IntArray
from rag.types import Json, PageRef
from rag.vector_boxes import VectorBoxes


@dataclass(frozen=True, slots=True)
class PageSummary:
    """A page that is in the index, as ranking and display need it, without its words.

    Attributes:
        prior: score that does not depend on the question.
        n_pages: of its document.
    """

    record_id: str
    ref: PageRef
    source: str
    sha256: str
    version_id: str
    n_pages: int
    prior: float
    width_pt: float
    height_pt: float
    no_text: bool


@dataclass(frozen=True, eq=False)
class StoredPage:
    """One page with its words, whether or not it is in the index.

    Attributes:
        reason: why a failed page failed.
        record_id: None for a page that is not in the index.
        vector_words: which words of `text` the patch vectors stand for.
        vector_boxes: where they look, if they stand for no words.
        hidden: words of the file that nobody sees; no part of what the page says.
        ocr: engine that read `text`, or a part of it; None for the file's own words.
        caption: what a chat model wrote of the page; never the page's own words.
    """

    ref: PageRef
    source: str
    sha256: str
    version_id: str
    state: PageState
    no_text: bool
    reason: str
    width_pt: float
    height_pt: float
    record_id: str | None
    text: PageText
    vector_words: VectorWords | None
    vector_boxes: VectorBoxes | None
    hidden: PageText
    ocr: str | None
    caption: Json | None

    def with_vectors(self, vectors: FloatArray) -> PlacedVectors:
        """Its stored vectors, (n, dim), with the places they stand for."""
        return PlacedVectors(
            vectors, self.width_pt, self.height_pt, self.text, self.vector_words, self.vector_boxes
        )


@dataclass(frozen=True)
class DocumentSummary:
    """A document as `list` shows it.

    Attributes:
        ocr_pages: whose words, or some of them, OCR read.
        unread_pages: without words, and OCR did not look at them.
    """

    document_id: str
    root: str
    source: str
    state: DocumentState
    n_pages: int
    blank_pages: tuple[int, ...]
    no_text_pages: tuple[int, ...]
    failed_pages: tuple[tuple[int, str], ...]  # page number, reason
    metadata: Json
    readers: tuple[str, ...]
    error: Json | None
    sha256: str
    is_repaired: bool
    created_at: float  # seconds since 1970, UTC
    updated_at: float
    hidden_text_pages: tuple[int, ...] = ()
    ocr_pages: tuple[int, ...] = ()
    unread_pages: tuple[int, ...] = ()

    def as_dict(self) -> Json:
        return {
            "document_id": self.document_id,
            "source": self.source,
            "state": str(self.state),
            "pages": self.n_pages,
            "blank_pages": list(self.blank_pages),
            "no_text_pages": list(self.no_text_pages),
            "failed_pages": [
                {"page_number": number, "reason": reason} for number, reason in self.failed_pages
            ],
            "metadata": self.metadata,
            "readers": list(self.readers),
            "error": self.error,
        }


@dataclass(frozen=True)
class _Version:
    """A live version: its pages by number, and what retrieval asks of it.

    Of all this only the source changes, where a move of the file is noticed.
    """

    source: str
    infos: Mapping[int, PageInfo]
    summaries: Mapping[str, PageSummary]  # by record id
    features: Json

    def moved_to(self, source: str) -> _Version:
        if source == self.source:
            return self
        summaries = {
            record_id: replace(page, source=source) for record_id, page in self.summaries.items()
        }
        return replace(self, source=source, summaries=summaries)


PackedPlaces = tuple[IntArray, tuple[str, ...]]
_READERS_KEPT = 64


def places_in(view: PackView, record_ids: Iterable[str]) -> PackedPlaces:
    """Indexes of the records into the view, ascending, and the records that are not packed."""
    index_of = view.index_of
    found: list[int] = []
    missing: list[str] = []
    for record_id in record_ids:
        index = index_of.get(record_id)
        if index is None:
            missing.append(record_id)
        else:
            found.append(index)
    return np.sort(np.array(found, dtype=np.int64)), tuple(missing)


@dataclass(frozen=True)
class Snapshot:
    """A collection at one generation; whoever reads it still has to ask who may see what."""

    generation: int
    documents: Mapping[str, Document]
    pages: Mapping[str, PageSummary]  # by record id
    _versions: Mapping[str, _Version] = field(repr=False)
    # By pack view, then by who reads: found again for every search otherwise.
    _packed: MutableMapping[PackView, dict[tuple[str, ...] | None, PackedPlaces]] = field(
        default_factory=weakref.WeakKeyDictionary, repr=False
    )

    def packed_places(
        self, view: PackView, readers: tuple[str, ...] | None, sees: Callable[[str], bool]
    ) -> PackedPlaces:
        """Where in the view the pages are that `sees` lets through.

        Args:
            view: of the collection's packed pages.
            readers: whoever `sees` speaks for; None is the owner.
            sees: whether a record of this snapshot may be seen.
        """
        by_reader = self._packed.setdefault(view, {})
        places = by_reader.get(readers)  # at once: another thread may clear them at any moment
        if places is None:
            places = places_in(view, filter(sees, self.pages))
            if len(by_reader) >= _READERS_KEPT:
                by_reader.clear()
            by_reader[readers] = places
        return places

    def is_within(self, other: Snapshot) -> bool:
        """Whether all of its versions are visible in the other one too."""
        return (
            self.generation == other.generation or self._versions.keys() <= other._versions.keys()
        )

    def page_infos(self, document: Document) -> Mapping[int, PageInfo]:
        """Every page of the live version by number, blank and failed ones too."""
        return {} if document.version_id is None else self._versions[document.version_id].infos

    def features(self, document: Document) -> Json | None:
        """None for a document without a live version."""
        return None if document.version_id is None else self._versions[document.version_id].features

    def n_indexed(self, document: Document) -> int:
        """Pages of the document that are in the index."""
        if document.version_id is None:
            return 0
        return len(self._versions[document.version_id].summaries)

    def summarize(self, document: Document) -> DocumentSummary:
        infos = self.page_infos(document).values()
        return DocumentSummary(
            document_id=document.document_id,
            root=document.root,
            source=document.source,
            state=document.state,
            n_pages=document.n_pages,
            blank_pages=tuple(i.page_number for i in infos if i.state is PageState.BLANK),
            no_text_pages=tuple(i.page_number for i in infos if i.no_text),
            failed_pages=tuple(
                (i.page_number, i.reason) for i in infos if i.state is PageState.FAILED
            ),
            metadata=document.metadata,
            readers=document.readers,
            error=document.error,
            sha256=document.sha256,
            is_repaired=document.is_repaired,
            created_at=document.created_at,
            updated_at=document.updated_at,
            hidden_text_pages=tuple(i.page_number for i in infos if i.n_hidden_words),
            ocr_pages=tuple(i.page_number for i in infos if i.ocr and not i.no_text),
            unread_pages=tuple(i.page_number for i in infos if i.no_text and not i.ocr),
        )


class Snapshots:
    """The newest snapshot of each collection; what did not change is not read again."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._lock = threading.Lock()
        self._newest: dict[str, Snapshot] = {}

    def at(self, collection: str, generation: int) -> Snapshot:
        """The collection at this generation or a later one."""
        with self._lock:
            held = self._newest.get(collection)
            if held is None or held.generation < generation:
                held = self._newest[collection] = self._advance(collection, held)
            return held

    def forget(self, collection: str) -> None:
        """For one that is dropped: another of its name counts from the start."""
        with self._lock:
            self._newest.pop(collection, None)

    def _advance(self, collection: str, before: Snapshot | None) -> Snapshot:
        held = {} if before is None else before._versions
        state = self._manifest.live_state(collection, have=held.keys())
        versions = {
            document.version_id: held[document.version_id].moved_to(document.source)
            if document.version_id in held
            else _version(
                document, state.pages[document.version_id], state.features[document.version_id]
            )
            for document in state.documents
            if document.version_id is not None
        }
        pages: dict[str, PageSummary] = {}
        for version in versions.values():
            pages |= version.summaries
        return Snapshot(
            generation=state.generation,
            documents={document.document_id: document for document in state.documents},
            pages=pages,
            _versions=versions,
        )


def _version(document: Document, infos: tuple[PageInfo, ...], features: Json) -> _Version:
    assert document.version_id is not None
    return _Version(
        source=document.source,
        infos={info.page_number: info for info in infos},
        summaries={
            info.record_id: PageSummary(
                record_id=info.record_id,
                ref=PageRef(document.document_id, info.page_number),
                source=document.source,
                sha256=document.sha256,
                version_id=document.version_id,
                n_pages=document.n_pages,
                prior=info.prior,
                width_pt=info.width_pt,
                height_pt=info.height_pt,
                no_text=info.no_text,
            )
            for info in infos
            if info.record_id is not None
        },
        features=features,
    )
