"""What the loaders of published sets give: documents, questions and grades, before any of it is
written as a dataset folder.

A loader reads one published layout from a local folder, checks every field it uses, and says by
file and field what is missing. It opens no image, and a PDF only to count its pages: what it names
is read as it is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import unquote

from eval.datasets.folder import Query, UnanswerableQuery
from rag.errors import InputError

ReadImage = Callable[[], bytes]  # an encoded PNG, JPEG, WebP, ...


@dataclass(frozen=True)
class SetPage:
    """One page that is made here, of what a set gives: pixels, words, or a picture with words.

    Attributes:
        item_id: as the set's qrels name it.
        image: None for a page of words.
        text: of a page of words, what stands on it; beside an image, words that belong to it (OCR,
            a caption), which go below the pixels where `shows_text` and are left out where not.
    """

    item_id: str
    image: ReadImage | None = None
    text: str = ""
    shows_text: bool = True


@dataclass(frozen=True)
class SetDocument:
    """A document of a set: a file that is taken as it is, or pages that are made into one.

    Attributes:
        name: as questions name it in `doc`; unique in its part.
        path: of a PDF or image on disk.
        item_ids: of the pages of `path` that qrels name: item id to page number, from 1.
        pages: in order; none where there is a `path`.
    """

    name: str
    path: Path | None = None
    item_ids: Mapping[str, int] = field(default_factory=dict)
    pages: Sequence[SetPage] = ()


class PageName(NamedTuple):
    """A page as a set without item ids grades it: document by name, page number from 1."""

    document: str
    page_number: int


ItemOrPage = str | PageName


@dataclass(frozen=True)
class SetPart:
    """One part of a published set, with a pool of candidates of its own: a dataset folder.

    Attributes:
        name: a domain, task, language; "" of a set that has one part.
        documents: read once, in order; may be made while they are read.
        queries: `doc` is a document's name, `image` a key of `images`.
        qrels: question id to what answers it and its grade, from 0.
        unanswerable: `doc` is a document's name.
        images: of questions, by the file name that `Query.image` says.
        main_measure: what its authors rank systems by.
        notes: what the reader of figures should know (rows left out, and why).
    """

    name: str
    documents: Iterable[SetDocument]
    queries: Sequence[Query]
    qrels: Mapping[str, Mapping[ItemOrPage, int]]
    main_measure: str
    unanswerable: Sequence[UnanswerableQuery] = ()
    images: Mapping[str, ReadImage] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wanted:
    """Which of a set is wanted.

    Attributes:
        parts: names of parts; none given is all.
        options: of this set alone, as its `LoaderInfo.options` describes them.
        tell: is told what a loader reads before there are documents, how much of it is read and,
            if known, how much there is.
    """

    parts: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    tell: Callable[[str, int, int | None], None] | None = field(default=None, compare=False)


LoadParts = Callable[[Path, Wanted], Iterable[SetPart]]


@dataclass(frozen=True)
class LoaderInfo:
    """A published set that can be had, as `octavo eval sets` tells it.

    Attributes:
        name: on the command line: "vidore-v3".
        hub_ids: repositories of datasets on the hub; several where its parts are apart, each of
            which lies in a folder of its own name in a local copy.
        licence: as its authors state it; "see source" where they do not.
        layout: the files a local copy has, in a sentence or two.
        options: name to what it does.
        choosing: those options that leave parts out.
        scope: where its authors search: all of a part, or the document asked about.
        parts: each part, and the repository of `hub_ids` that it lies in ("" where it is the only
            one); empty where the copy tells which parts there are.
        hub_files: patterns of the files that are fetched from the hub; empty is all.
    """

    name: str
    title: str
    hub_ids: tuple[str, ...]
    licence: str
    layout: str
    main_measure: str
    load: LoadParts
    scope: Literal["corpus", "document"] = "corpus"
    options: Mapping[str, str] = field(default_factory=dict)
    choosing: frozenset[str] = frozenset()
    home: str = ""
    parts: Mapping[str, str] = field(default_factory=dict)
    hub_files: tuple[str, ...] = ()


def query_id(published_id: object) -> str:
    """An id without white space, as dataset folders want it: " " is %20, "%" is %25.

    `published_id` gives back what it was, and no two ids become one.
    """
    return "".join(
        "".join(f"%{byte:02X}" for byte in character.encode())
        if character.isspace() or character == "%" or not character.isprintable()
        else character
        for character in str(published_id)
    )


def published_id(written_id: str) -> str:
    """The id that `query_id` was given."""
    return unquote(written_id)


def missing_file(published: str, path: str, layout: str) -> InputError:
    """Of a local copy without a file or folder that its layout has."""
    return InputError(
        f"{published}: there is no {path}",
        code="dataset_layout",
        next_step=f"The published layout is wanted: {layout}",
    )


def ill_field(published: str, where: str, name: str, said: str) -> InputError:
    """Of a row whose field is missing or not what it should be; `where` is file and row."""
    return InputError(
        f"{published}: {where}: field {name!r}: {said}",
        code="dataset_field",
        next_step="Check that the copy is whole and of the published revision.",
    )
