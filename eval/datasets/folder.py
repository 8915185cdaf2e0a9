"""Reads a dataset folder: documents, questions, and the pages that answer them.

A folder that is wrong anywhere is refused as a whole, by file, line and field: a measure over half
of a dataset looks like a measure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Literal, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rag.errors import InputError
from rag.renderers.image_renderer import IMAGE_SUFFIXES

Scope = Literal["corpus", "document"]
_FOLDER = (
    "A dataset is a folder with docs/, queries.jsonl and qrels.tsv. Sets that others published are "
    "made into such folders by `octavo eval prepare`; `octavo eval sets` lists them."
)
DOCUMENT_SUFFIXES = frozenset({".pdf", *IMAGE_SUFFIXES})
ORIGIN_FILE = "dataset.json"
_QRELS_HEADER = ["query_id", "doc", "page", "relevance"]
_MOST_PAGES = 10_000_000
# trec_eval keeps a table as long as the highest grade, for every question: 10^8 are 0.8 GB.
_MOST_GRADE = 1_000

# How a file of a dataset is written, for whoever wrote it otherwise.
_WRITTEN = {
    "queries.jsonl": "A line is a JSON object with id, text, answer and type; doc is the document "
    'it is about, scope is "corpus" or "document", gold_mode is "all" or "any", image a file below '
    "images/, groups an object of texts.",
    "unanswerable.jsonl": "A line is a JSON object with id, text and doc, the document that has no "
    "answer; no id of queries.jsonl.",
    "qrels.tsv": "Four columns with tabs between: query_id, doc (a file name below docs/), page "
    f"(from 1) and relevance (0 is none, {_MOST_GRADE} the most).",
}


class PageKey(NamedTuple):
    """A page as datasets and run files name it: file name below docs/, page number from 1."""

    doc: str
    page_number: int


class _Row(BaseModel):
    # Published datasets carry columns of their own (modality, source, ...); they are let through.
    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str = Field(min_length=1, pattern=r"^\S+$", description="Unique in the dataset.")
    text: str = Field(min_length=1, description="The question.")


class Query(_Row):
    """A question with an answer in the documents.

    Attributes:
        type: names the group it is counted with.
        doc: the document it is about. For measures, and for searches within one document.
        scope: "corpus" where the text alone tells the document, "document" where it does not.
        gold_mode: whether all gold pages are needed, or any one of them.
        answers: others that are as right as `answer`.
        answer_format: of MMLongBench-Doc, whose rule goes by it.
        image: a file below images/ that is asked with the text, or alone where the text is "-".
        groups: dimension to value (domain, language, modality, ...), by which figures are told too.
    """

    answer: str
    type: str
    doc: str | None = None
    scope: Scope = "corpus"
    gold_mode: Literal["all", "any"] = "all"
    answers: tuple[str, ...] = ()
    answer_format: Literal["Int", "Float", "Str", "List", "None"] | None = None
    image: str | None = None
    groups: dict[str, str] = {}

    @model_validator(mode="after")
    def _check_doc(self) -> Query:
        if self.scope == "document" and self.doc is None:
            raise ValueError("scope 'document' wants a 'doc'")
        return self


class UnanswerableQuery(_Row):
    """A question that no page of its document answers."""

    doc: str


class Origin(BaseModel):
    """Where a dataset that others published comes from: `dataset.json` of its folder.

    Attributes:
        published: name of the set, as `octavo eval sets` lists it.
        part: which of its parts this folder is (a domain, a task, a language); "" where it has one.
        source: hub id or address.
        revision: commit of the hub, or "sha256:..." over the files it was made of.
        main_measure: what its authors rank systems by.
        scope: where its authors search.
        sampled: seed, and number of other documents than those with gold pages, if not all.
        options: of its loader, by which it was read.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    published: str
    part: str = ""
    source: str
    revision: str
    licence: str
    main_measure: str
    scope: Scope = "corpus"
    sampled: dict[str, int] | None = None
    options: dict[str, str] = {}
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Dataset:
    """A dataset folder as read.

    Attributes:
        documents: file names below docs/, ascending.
        queries: by id, in the order of the file.
        qrels: query id to pages and their grade. A question without a page above grade 0 has no
            page that answers it, and is not counted.
        digest: SHA-256 over questions, qrels and the bytes of documents and images of questions.
        origin: None where nobody else published it.
        documents_digest: SHA-256 over names and bytes of the documents alone.
    """

    name: str
    folder: Path
    documents: tuple[str, ...]
    queries: Mapping[str, Query]
    qrels: Mapping[str, Mapping[PageKey, int]]
    unanswerable: tuple[UnanswerableQuery, ...]
    digest: str
    origin: Origin | None = None
    documents_digest: str = ""

    def counted(self, scope: Scope) -> list[Query]:
        """Questions that a measure in this scope is the mean of.

        Searching the corpus counts those that make sense without knowing the document; within
        documents all count that name theirs.
        """
        return [query for query in self._asked(scope) if self.gold(query.id)]

    def without_gold(self, scope: Scope) -> list[Query]:
        """Questions of this scope that no page answers: whatever is found would count as 0."""
        return [query for query in self._asked(scope) if not self.gold(query.id)]

    def gold(self, query_id: str) -> dict[PageKey, int]:
        """Pages that answer a question, each with its grade from 1."""
        return {page: grade for page, grade in self.qrels.get(query_id, {}).items() if grade > 0}

    def _asked(self, scope: Scope) -> list[Query]:
        return [
            query
            for query in self.queries.values()
            if (query.scope == "corpus" if scope == "corpus" else query.doc is not None)
        ]

    def first(self, limit: int, scope: Scope) -> Dataset:
        """The same with only the first questions that count in this scope."""
        return replace(self, queries={query.id: query for query in self.counted(scope)[:limit]})


def dataset_folders(folder: Path) -> list[Path]:
    """The folder itself, or the dataset folders in it, by name, of a set that has several parts."""
    if not (folder / "queries.jsonl").exists():
        parts = sorted(path.parent for path in folder.glob("*/queries.jsonl"))
        if parts:
            return parts
    return [folder]


def load_dataset(folder: Path) -> Dataset:
    """Read docs/, queries.jsonl, qrels.tsv and, where they are there, unanswerable.jsonl, images/
    and dataset.json.

    Raises:
        InputError: a folder or file that is missing, a file that is not UTF-8 or has no question, a
            line that is not what it should be, an id used twice, a document or question that is
            named and not there.
    """
    if not folder.is_dir():
        raise InputError(
            f"{str(folder)!r} is no folder" if folder.exists() else f"no folder {str(folder)!r}",
            next_step=_FOLDER,
        )
    documents = tuple(
        sorted(
            path.name
            for path in (folder / "docs").glob("*")
            if path.suffix.lower() in DOCUMENT_SUFFIXES
        )
    )
    if not documents:
        raise InputError(
            f"dataset {folder.name!r} has no PDF and no image in docs/",
            next_step=_FOLDER,
        )
    for doc in documents:
        if not doc.isprintable():  # a tab or line end would break the run file
            raise InputError(
                f"docs/: file name {doc!r} holds control characters", next_step="Rename the file."
            )
    known = frozenset(documents)
    queries = _read_rows(folder / "queries.jsonl", Query, known)
    if not queries:
        raise InputError(
            f"{folder.name}/queries.jsonl has no question",
            next_step="Write a question a line; one that `octavo eval make` proposed is in it once "
            "it is accepted.",
        )
    unanswerable: dict[str, UnanswerableQuery] = {}
    if (folder / "unanswerable.jsonl").exists():
        unanswerable = _read_rows(folder / "unanswerable.jsonl", UnanswerableQuery, known)
    if shared := sorted(queries.keys() & unanswerable.keys()):
        raise _ill_written(
            "unanswerable.jsonl", f"unanswerable.jsonl: id {shared[0]!r} is taken in queries.jsonl"
        )
    written = _contents(folder, ("queries.jsonl", "qrels.tsv", "unanswerable.jsonl"))
    read = _contents(folder / "docs", documents)
    images = {query.image for query in queries.values() if query.image is not None}
    shown = _contents(folder / "images", sorted(images))
    return Dataset(
        name=folder.resolve().name,
        folder=folder,
        documents=documents,
        queries=queries,
        qrels=_read_qrels(folder / "qrels.tsv", queries, known),
        unanswerable=tuple(unanswerable.values()),
        digest=_digest(written, read, shown),
        origin=_read_origin(folder / ORIGIN_FILE),
        documents_digest=_digest(read),
    )


_AnyRow = TypeVar("_AnyRow", Query, UnanswerableQuery)


def _read_rows(
    path: Path, row_type: type[_AnyRow], documents: frozenset[str]
) -> dict[str, _AnyRow]:
    rows: dict[str, _AnyRow] = {}
    for where, line in _lines(path):
        try:
            row = row_type.model_validate_json(line)
        except ValidationError as error:
            raise _ill_written(path.name, f"{where}: {_first_fault(error)}") from error
        if row.id in rows:
            raise _ill_written(path.name, f"{where}: id {row.id!r} is used twice")
        if row.doc is not None and row.doc not in documents:
            raise _ill_written(path.name, f"{where}: field 'doc': {row.doc!r} is not in docs/")
        image = getattr(row, "image", None)
        if image is not None and not _is_image_of(path.parent, image):
            raise _ill_written(path.name, f"{where}: field 'image': {image!r} is not in images/")
        rows[row.id] = row
    return rows


def _is_image_of(folder: Path, name: str) -> bool:
    # A name in a dataset is no leave to read the whole disk.
    is_below = not PurePath(name).is_absolute() and ".." not in PurePath(name).parts
    return is_below and (folder / "images" / name).is_file()


def _first_fault(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    return f"{f'field {field!r}: ' if field else ''}{first['msg']}"


def _read_origin(path: Path) -> Origin | None:
    if not path.exists():
        return None
    try:
        return Origin.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise InputError(
            f"{path.name}: {_first_fault(error)}",
            next_step="`octavo eval prepare` writes it; without it the folder is a dataset of "
            "your own.",
        ) from error


def _read_qrels(
    path: Path, queries: Mapping[str, Query], documents: frozenset[str]
) -> dict[str, dict[PageKey, int]]:
    qrels: dict[str, dict[PageKey, int]] = {}
    lines = _lines(path)
    where, header = next(lines, (f"{path.name} line 1", ""))
    if header.split("\t") != _QRELS_HEADER:
        raise _ill_written(
            path.name, f"{where}: wants the header {' '.join(_QRELS_HEADER)!r}, tab-separated"
        )
    for where, line in lines:
        fields = line.split("\t")
        if len(fields) != len(_QRELS_HEADER):
            raise _ill_written(
                path.name, f"{where}: wants 4 fields between tabs, got {len(fields)}"
            )
        query_id, doc, page, relevance = fields
        if query_id not in queries:
            raise _ill_written(
                path.name, f"{where}: field 'query_id': {query_id!r} is not in queries.jsonl"
            )
        if doc not in documents:
            raise _ill_written(path.name, f"{where}: field 'doc': {doc!r} is not in docs/")
        page_number = _whole(page, f"{where}: field 'page'", 1, _MOST_PAGES)
        grade = _whole(relevance, f"{where}: field 'relevance'", 0, _MOST_GRADE)
        grades = qrels.setdefault(query_id, {})
        key = PageKey(doc, page_number)
        if key in grades:
            raise _ill_written(
                path.name, f"{where}: {doc} page {page} is graded twice for {query_id!r}"
            )
        grades[key] = grade
    return qrels


def _whole(text: str, where: str, least: int, most: int) -> int:
    """A number of qrels.tsv. Raises InputError for any other text, or one out of bounds."""
    is_number = text.isascii() and text.isdigit() and len(text) <= 20  # what int() takes at once
    if not is_number or not least <= int(text) <= most:
        got = repr(text if len(text) <= 20 else f"{text[:20]}...")
        raise _ill_written(
            "qrels.tsv", f"{where}: wants a whole number from {least} to {most}, got {got}"
        )
    return int(text)


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """("file line n", text) of each line that holds anything."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise InputError(
            f"dataset {path.parent.name!r} has no {path.name}",
            next_step=_FOLDER,
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path.name} is not UTF-8: {error.reason} at byte {error.start}",
            next_step="Save it as UTF-8.",
        ) from error
    except OSError as error:
        raise InputError(
            f"{path.name} cannot be read: {error.strerror}", next_step=_FOLDER
        ) from error
    # Not splitlines(): a question may hold a line separator that JSON leaves as it is.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield f"{path.name} line {number}", line.rstrip("\r")


def _ill_written(name: str, said: str) -> InputError:
    return InputError(said, next_step=_WRITTEN[name])


def no_question(dataset: Dataset, scope: Scope) -> InputError:
    """The error of a dataset that has nothing to ask in a scope."""
    counts = (
        'With --scope document those count that name their "doc".'
        if scope == "document"
        else 'With --scope corpus those count whose "scope" is not "document".'
    )
    return InputError(
        f"dataset {dataset.name!r} has no question with gold pages in scope {scope!r}",
        next_step=f"Questions count that have a page of relevance 1 or more in qrels.tsv. {counts}",
    )


def _digest(*folders: Mapping[str, str]) -> str:
    """Of each folder by itself: a document and a question's image may have the same name."""
    digest = hashlib.sha256()
    for contents in folders:
        for name, content in contents.items():
            digest.update(f"{name}\n{content}\n".encode())
    return digest.hexdigest()


def _contents(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Name below the folder to SHA-256 of the bytes, of those that are there."""
    contents = {}
    for name in names:
        if (folder / name).exists():
            with (folder / name).open("rb") as file:
                contents[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return contents
