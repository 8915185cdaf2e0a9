"""The documents of a part, written one at a time under safe names, and what is known of them.

Of a sample, documents without a graded page are kept or put aside while they go by.
"""

from __future__ import annotations

import hashlib
import heapq
import os
import re
import shutil
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass
from pathlib import Path

from eval.datasets.folder import DOCUMENT_SUFFIXES
from eval.datasets.page_images import image_suffix
from eval.datasets.page_maker import PagesMade, make_pdf
from eval.datasets.published import PageName, SetDocument, SetPart
from rag.errors import DocumentError, InputError
from rag.renderers.isolated import IsolatedReader
from rag.settings import RenderSettings

_LONGEST_NAME = 100
_RESERVED_NAMES = frozenset({"con", "prn", "aux", "nul", *(f"com{n}" for n in range(10))})

Progress = Callable[[int, int | None], None]  # documents done, and how many there are, if known


@dataclass(frozen=True)
class Sample:
    """How many documents beside those with graded pages are taken, and the seed they go by."""

    n_others: int
    seed: int = 0

    def as_dict(self) -> dict[str, int]:
        return {"seed": self.seed, "others": self.n_others}


def safe_name(name: str, taken: set[str], suffix: str = "") -> str:
    """A file name on every system, like the name it is made of, and unlike all that are taken.

    Args:
        name: any text.
        taken: names given before, in lower case; the new one is added.
        suffix: of the file, with its dot.
    """
    stem = unicodedata.normalize("NFC", name)
    if suffix and stem.lower().endswith(suffix):
        stem = stem[: -len(suffix)]
    stem = re.sub(r"[^\w.+=@()-]+", "_", stem).strip("._")
    while len(stem.encode()) > _LONGEST_NAME:
        stem = stem[:-1]
    if not stem or stem.startswith("-") or stem.partition(".")[0].lower() in _RESERVED_NAMES:
        stem = f"_{stem}"
    found, n_digits = f"{stem}{suffix}", 8
    while found.lower() in taken:
        digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
        found = f"{stem}-{digest[:n_digits]}{suffix}"
        n_digits += 8
    taken.add(found.lower())
    return found


@dataclass(frozen=True)
class Contents:
    """What is known of a document without its bytes; `n_pages` is None where it cannot be known."""

    name: str
    items: Mapping[str, int]
    n_pages: int | None


@dataclass(frozen=True)
class WrittenDocument:
    """A document and its file; `place` is where it stands among all."""

    contents: Contents
    file: str
    place: int
    made: PagesMade


def contents_of(document: SetDocument) -> Contents:
    """What the loader says of it.

    Raises:
        InputError: it names one page twice.
    """
    if document.path is not None:
        return Contents(document.name, document.item_ids, None)
    items = {page.item_id: number for number, page in enumerate(document.pages, start=1)}
    if len(items) < len(document.pages):
        raise _ill_part(f"document {document.name!r} names a page twice")
    return Contents(document.name, items, len(document.pages))


@dataclass
class DocumentWriter:
    """Writes documents in order; of a sample it keeps those whose names come first by seed."""

    part: SetPart
    folder: Path
    sample: Sample | None
    sibling: Path | None

    def __post_init__(self) -> None:
        self._taken: set[str] = set()
        self._names: set[str] = set()
        self._written: dict[str, WrittenDocument] = {}
        self._others: list[tuple[int, str]] = []  # a heap of (-rank, name), the last in rank first
        self.n_left_out = 0  # of a sample
        self._unreadable: list[str] = []
        graded = [key for grades in self.part.qrels.values() for key in grades]
        self._graded_items = {key for key in graded if not isinstance(key, PageName)}
        self._needed = {key.document for key in graded if isinstance(key, PageName)}
        self._needed |= {doc for _query, doc in _asked_of(self.part)}

    def write_all(self, progress: Progress | None) -> None:
        documents = self.part.documents
        whole = len(documents) if isinstance(documents, Sized) else None
        with page_counter() as reader:
            for done, document in enumerate(documents, start=1):
                self._take(document, reader)
                if progress is not None:
                    progress(done, whole)
        kept = {each.file for each in self._written.values()}
        for path in self.folder.iterdir():  # of a run that ended early, or was put aside
            if path.name not in kept:
                path.unlink()

    def kept(self) -> list[WrittenDocument]:
        return sorted(self._written.values(), key=lambda each: each.place)

    def notes(self) -> Iterator[str]:
        """What was lost, or could not be known."""
        made = PagesMade()
        for each in self._written.values():
            made.add(each.made)
        yield from made.notes()
        if self._unreadable:
            shown = ", ".join(self._unreadable[:5])
            yield f"{len(self._unreadable):,} PDFs cannot be opened ({shown})"

    def _take(self, document: SetDocument, reader: IsolatedReader) -> None:
        if document.name in self._names:
            raise _ill_part(f"two documents are named {document.name!r}")
        self._names.add(document.name)
        contents = contents_of(document)
        is_needed = contents.name in self._needed or not self._graded_items.isdisjoint(
            contents.items
        )
        if self.sample is not None and not is_needed and not self._is_drawn(document.name):
            return
        made = PagesMade()
        file = self._write(document, made)
        if contents.n_pages is None:
            n_pages = self._page_count(self.folder / file, reader)
            contents = Contents(contents.name, contents.items, n_pages)
        self._written[document.name] = WrittenDocument(contents, file, len(self._names), made)

    def _is_drawn(self, name: str) -> bool:
        """Whether a document without a graded page is among the first by seed, so far."""
        assert self.sample is not None
        digest = hashlib.sha256(f"{self.sample.seed}\n{name}".encode()).digest()
        entry = (-int.from_bytes(digest[:8]), name)
        if len(self._others) < self.sample.n_others:
            heapq.heappush(self._others, entry)
            return True
        self.n_left_out += 1  # this one, or the one that it takes the place of
        if not self._others or entry <= self._others[0]:
            return False
        _rank, last = heapq.heapreplace(self._others, entry)
        file = self._written.pop(last).file
        # Its name stays taken: a run that goes on would find the wrong file under it.
        (self.folder / file).unlink()
        return True

    def _write(self, document: SetDocument, made: PagesMade) -> str:
        if document.path is not None:
            return self._copy(document.name, document.path)
        pages = document.pages
        if not pages:
            raise _ill_part(f"document {document.name!r} has no page")
        first = pages[0]
        if len(pages) == 1 and first.image is not None and not (first.text and first.shows_text):
            data = first.image()
            suffix = image_suffix(data)
            if suffix is not None:
                file = safe_name(document.name, self._taken, suffix)
                self._put(file, data)
                return file
        file = safe_name(document.name, self._taken, ".pdf")
        path = self.folder / file
        has_words = any(page.text and (page.shows_text or page.image is None) for page in pages)
        # Words are set again even so: what they lack is counted for the notes.
        if path.exists() and not has_words:
            return file
        beside = self.folder / f".{file}.part"
        make_pdf(pages, beside, title=document.name, made=made)
        beside.replace(path)
        return file

    def _copy(self, name: str, path: Path) -> str:
        suffix = path.suffix.lower()
        if suffix not in DOCUMENT_SUFFIXES:
            raise _ill_part(f"document {name!r} is no PDF and no image: {path.name}")
        if not path.is_file():
            raise InputError(
                f"document {name!r}: there is no file {path.name}",
                code="dataset_layout",
                next_step="Check that the copy is whole.",
            )
        file = safe_name(name, self._taken, suffix)
        there = self.folder / file
        if not there.exists():
            beside = self.folder / f".{file}.part"
            shutil.copyfile(path, beside)
            beside.replace(there)
        return file

    def _put(self, file: str, data: bytes) -> None:
        path, beside = self.folder / file, self.folder / f".{file}.part"
        twin = None if self.sibling is None else self.sibling / "docs" / file
        beside.unlink(missing_ok=True)
        if twin is not None and _holds(twin, data):
            try:
                os.link(twin, beside)
            except OSError:  # a disk without links: the bytes are written again
                beside.write_bytes(data)
        else:
            beside.write_bytes(data)
        beside.replace(path)

    def _page_count(self, path: Path, reader: IsolatedReader) -> int | None:
        try:
            return reader.open(path).n_pages
        except DocumentError:  # ingest tells it again, by name and reason
            self._unreadable.append(path.name)
            return None


def page_counter() -> IsolatedReader:
    """Counts the pages of files nobody trusts, as an ingest opens them: in a process of its own."""
    return IsolatedReader(RenderSettings(workers=1))


def _holds(path: Path, data: bytes) -> bool:
    return path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data


def check_grades(part: SetPart, contents: Iterable[Contents]) -> None:
    """Every item, document and image that a question names has to be there.

    Raises:
        InputError: `dataset_graded`, `dataset_layout`.
    """
    items: dict[str, str] = {}
    names: set[str] = set()
    for document in contents:
        for item in document.items:
            if item in items:
                raise _ill_part(
                    f"item {item!r} is in the documents {items[item]!r} and {document.name!r}"
                )
            items[item] = document.name
        names.add(document.name)
    known = {query.id for query in part.queries}
    for query, grades in part.qrels.items():
        if query not in known:
            raise _ungraded(query, "there is no such question")
        for key, grade in grades.items():
            if isinstance(key, PageName):
                if key.document not in names:
                    raise _ungraded(query, f"there is no document {key.document!r}")
                if key.page_number < 1:
                    raise _ungraded(query, f"page {key.page_number} of {key.document!r}")
            elif key not in items:
                raise _ungraded(query, f"there is no item {key!r} in the documents")
            if grade < 0:
                raise _ungraded(query, f"the grade of {key!r} is {grade}")
    for query, doc in _asked_of(part):
        if doc not in names:
            raise _ungraded(query, f"there is no document {doc!r}")
    for query_with_image in part.queries:
        image = query_with_image.image
        if image is not None and image not in part.images:
            raise _ungraded(query_with_image.id, f"there is no image {image!r}")


def _asked_of(part: SetPart) -> Iterator[tuple[str, str]]:
    """(question, document) of the questions that name theirs."""
    for query in part.queries:
        if query.doc is not None:
            yield query.id, query.doc
    for unanswerable in part.unanswerable:
        yield unanswerable.id, unanswerable.doc


def _ungraded(query: str, said: str) -> InputError:
    return InputError(
        f"question {query!r}: {said}",
        code="dataset_graded",
        next_step="Check that the copy is whole and all of one revision.",
    )


def _ill_part(said: str) -> InputError:
    return InputError(
        said,
        code="dataset_layout",
        next_step="Check that the copy is whole and of the published revision.",
    )
