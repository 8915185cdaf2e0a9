"""Reads a dataset folder: PDFs, questions, and the pages that answer them.

A folder that is wrong anywhere is refused as a whole, by file, line and field: a measure over half
of a dataset looks like a measure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rag.errors import InputError

Scope = Literal["corpus", "document"]
_FOLDER = "A dataset is a folder with docs/, queries.jsonl and qrels.tsv."
_QRELS_HEADER = ["query_id", "doc", "page", "relevance"]


# How a file of a dataset is written, for whoever wrote it otherwise.
_WRITTEN = {
    "queries.jsonl": "A line is a JSON object with id, text, answer and type; doc is the document "
    'it is about, scope is "corpus" or "document", gold_mode is "all" or "any".',
    "unanswerable.jsonl": "A line is a JSON object with id, text and doc, the document that has no "
    "answer; no id of queries.jsonl.",
    "qrels.tsv": "Four columns with tabs between: query_id, doc (a file name below docs/), page "
    "(from 1) and relevance (0 is none).",
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
    """

    answer: str
    type: str
    doc: str | None = None
    scope: Scope = "corpus"
    gold_mode: Literal["all", "any"] = "all"

    @model_validator(mode="after")
    def _check_doc(self) -> Query:
        if self.scope == "document" and self.doc is None:
            raise ValueError("scope 'document' wants a 'doc'")
        return self


class UnanswerableQuery(_Row):
    """A question that no page of its document answers."""

    doc: str


@dataclass(frozen=True)
class Dataset:
    """A dataset folder as read.

    Attributes:
        documents: file names below docs/, ascending.
        queries: by id, in the order of the file.
        qrels: query id to the pages that answer it and their grade. A question that is not in here
            is not counted.
        digest: SHA-256 over questions, qrels and the bytes of the documents.
    """

    name: str
    folder: Path
    documents: tuple[str, ...]
    queries: Mapping[str, Query]
    qrels: Mapping[str, Mapping[PageKey, int]]
    unanswerable: tuple[UnanswerableQuery, ...]
    digest: str

    def counted(self, scope: Scope) -> list[Query]:
        """Questions that a measure in this scope is the mean of.

        Searching the corpus counts those that make sense without knowing the document; within
        documents all count that name theirs.
        """
        return [
            query
            for query in self.queries.values()
            if query.id in self.qrels
            and (query.scope == "corpus" if scope == "corpus" else query.doc is not None)
        ]

    def first(self, limit: int, scope: Scope) -> Dataset:
        """The same with only the first questions that count in this scope."""
        return replace(self, queries={query.id: query for query in self.counted(scope)[:limit]})


def load_dataset(folder: Path) -> Dataset:
    """Read docs/*.pdf, queries.jsonl, qrels.tsv and, where it is there, unanswerable.jsonl.

    Raises:
        InputError: a file that is missing or not UTF-8, a line that is not what it should be, an id
            used twice, a document or question that is named and not there.
    """
    documents = tuple(sorted(path.name for path in (folder / "docs").glob("*.pdf")))
    if not documents:
        raise InputError(
            f"dataset {folder.name!r} has no docs/*.pdf",
            next_step=_FOLDER,
        )
    for doc in documents:
        if not doc.isprintable():  # a tab or line end would break the run file
            raise InputError(
                f"docs/: file name {doc!r} holds control characters", next_step="Rename the file."
            )
    queries = _read_rows(folder / "queries.jsonl", Query, documents)
    unanswerable: dict[str, UnanswerableQuery] = {}
    if (folder / "unanswerable.jsonl").exists():
        unanswerable = _read_rows(folder / "unanswerable.jsonl", UnanswerableQuery, documents)
    if shared := sorted(queries.keys() & unanswerable.keys()):
        raise _ill_written(
            "unanswerable.jsonl", f"unanswerable.jsonl: id {shared[0]!r} is taken in queries.jsonl"
        )
    return Dataset(
        name=folder.resolve().name,
        folder=folder,
        documents=documents,
        queries=queries,
        qrels=_read_qrels(folder / "qrels.tsv", queries, documents),
        unanswerable=tuple(unanswerable.values()),
        digest=_digest(folder, documents),
    )


_AnyRow = TypeVar("_AnyRow", Query, UnanswerableQuery)


def _read_rows(
    path: Path, row_type: type[_AnyRow], documents: tuple[str, ...]
) -> dict[str, _AnyRow]:
    rows: dict[str, _AnyRow] = {}
    for where, line in _lines(path):
        try:
            row = row_type.model_validate_json(line)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            field = ".".join(str(part) for part in first["loc"])
            said = f"{where}: {f'field {field!r}: ' if field else ''}{first['msg']}"
            raise _ill_written(path.name, said) from error
        if row.id in rows:
            raise _ill_written(path.name, f"{where}: id {row.id!r} is used twice")
        if row.doc is not None and row.doc not in documents:
            raise _ill_written(path.name, f"{where}: field 'doc': {row.doc!r} is not in docs/")
        rows[row.id] = row
    return rows


def _read_qrels(
    path: Path, queries: Mapping[str, Query], documents: tuple[str, ...]
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
        if not page.isascii() or not page.isdigit() or int(page) < 1:
            raise _ill_written(
                path.name, f"{where}: field 'page': wants a number from 1, got {page!r}"
            )
        if not relevance.isascii() or not relevance.isdigit():
            raise _ill_written(
                path.name, f"{where}: field 'relevance': wants a number from 0, got {relevance!r}"
            )
        grades = qrels.setdefault(query_id, {})
        key = PageKey(doc, int(page))
        if key in grades:
            raise _ill_written(
                path.name, f"{where}: {doc} page {page} is graded twice for {query_id!r}"
            )
        grades[key] = int(relevance)
    return qrels


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
        next_step=f"Questions count that have a page in qrels.tsv. {counts}",
    )


def _digest(folder: Path, documents: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    names = ["queries.jsonl", "qrels.tsv", "unanswerable.jsonl"]
    for path in [*(folder / name for name in names), *(folder / "docs" / doc for doc in documents)]:
        if path.exists():
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            digest.update(f"{path.name}\n{content}\n".encode())
    return digest.hexdigest()
