"""Page images with questions and grades, in the two layouts that sets of them are published in:
tables corpus, queries and qrels (BEIR's), or one table of pages that each carry a question.

Names of columns differ by set and year; those that are known stand here, and a table without any
of them is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from eval.datasets.folder import Query
from eval.datasets.parquet import WHERE, Field, ImageColumn, may, must, read_rows, table_files
from eval.datasets.published import (
    ItemOrPage,
    SetDocument,
    SetPage,
    SetPart,
    ill_field,
    query_id,
)

_QUERY_ID = must("query-id", "id", "query_id", "_id", "id")
_CORPUS_ID = must("corpus-id", "id", "corpus_id", "_id", "id")
_IMAGE = must("image", "image")
QUESTION = must("query", "text", "text")
_PAGE_NUMBER = may("page_number_in_doc", "int")
_DOC_ID = may("doc_id", "id", "doc-id")
_QRELS = (
    must("query-id", "id", "query_id"),
    must("corpus-id", "id", "corpus_id"),
    must("score", "int"),
)

Row = Mapping[str, Any]
# A question out of its row, without id and text, which are known already.
AsQuery = Callable[[Row], dict[str, Any]]


@dataclass(frozen=True)
class PageTable:
    """How one set writes its tables.

    Attributes:
        published: name of the set, for messages.
        layout: of a local copy, for messages.
        main_measure: what its authors rank systems by.
        split: that is measured on.
        question: column of the question.
        query_fields: columns of questions beside id and text.
        as_query: type, answer, groups of a question, out of these columns.
    """

    published: str
    layout: str
    main_measure: str
    split: str = "test"
    question: Field = QUESTION
    query_fields: tuple[Field, ...] = ()
    as_query: AsQuery = lambda _row: {}


def beir_part(folder: Path, name: str, table: PageTable) -> SetPart:
    """A part out of the tables corpus, queries and qrels; images wait until they are asked for.

    Where the corpus tells document and page number, the pages of a document are one document;
    else each page is one.

    Raises:
        InputError: `dataset_layout`, `dataset_field`.
    """
    files = {
        each: table_files(folder, each, table.split, published=table.published, layout=table.layout)
        for each in ("corpus", "queries", "qrels")
    }
    documents = _documents(files["corpus"], table)
    items = {page.item_id for document in documents for page in document.pages}
    queries, n_blank = _queries(files["queries"], table)
    qrels = _qrels(files["qrels"], {query.id for query in queries}, items, table)
    return SetPart(
        name=name,
        documents=documents,
        queries=_with_documents(queries, qrels, documents),
        qrels=qrels,
        main_measure=table.main_measure,
        notes=_blank_note(n_blank),
    )


def _documents(files: Sequence[Path], table: PageTable) -> list[SetDocument]:
    images = ImageColumn(files, _IMAGE, published=table.published)
    pages: dict[str, list[tuple[int, SetPage]]] = {}
    seen: set[str] = set()
    fields = (_CORPUS_ID, _DOC_ID, _PAGE_NUMBER)
    for row_index, row in enumerate(read_rows(files, *fields, published=table.published)):
        item = row["corpus-id"]
        if item in seen:
            raise ill_field(table.published, row[WHERE], "corpus-id", f"{item!r} is there twice")
        seen.add(item)
        page = SetPage(item_id=item, image=images.reader(row_index))
        doc, number = row["doc_id"], row["page_number_in_doc"]
        if doc is None or number is None:
            pages[f"\0{item}"] = [(0, page)]  # apart from documents that may be named like it
        else:
            pages.setdefault(doc, []).append((number, page))
    return [
        SetDocument(
            name=doc.removeprefix("\0"),
            pages=[page for _number, page in sorted(numbered, key=lambda each: each[0])],
        )
        for doc, numbered in pages.items()
    ]


def _queries(files: Sequence[Path], table: PageTable) -> tuple[list[Query], int]:
    """Questions in order, and how many rows have none."""
    question = replace(table.question, nullable=True)
    queries: dict[str, Query] = {}
    n_blank = 0
    fields = (_QUERY_ID, question, *table.query_fields)
    for row in read_rows(files, *fields, published=table.published):
        text = row[question.name] or ""
        if not text.strip():
            n_blank += 1
            continue
        query = asked(row["query-id"], text, table.as_query(row))
        if query.id in queries:
            raise ill_field(
                table.published, row[WHERE], "query-id", f"{row['query-id']!r} is there twice"
            )
        queries[query.id] = query
    return list(queries.values()), n_blank


def _qrels(
    files: Sequence[Path], known: set[str], items: set[str], table: PageTable
) -> dict[str, dict[ItemOrPage, int]]:
    qrels: dict[str, dict[ItemOrPage, int]] = {}
    for row in read_rows(files, *_QRELS, published=table.published):
        query, item, grade = query_id(row["query-id"]), row["corpus-id"], row["score"]
        if query not in known:
            raise ill_field(
                table.published,
                row[WHERE],
                "query-id",
                f"{row['query-id']!r} is not among the questions",
            )
        if item not in items:
            raise ill_field(
                table.published, row[WHERE], "corpus-id", f"{item!r} is not in the corpus"
            )
        if grade < 0:
            raise ill_field(table.published, row[WHERE], "score", f"is below 0: {grade}")
        grades = qrels.setdefault(query, {})
        grades[item] = max(grade, grades.get(item, 0))  # several annotators may have graded it
    return qrels


def asked(published_id: str, text: str, rest: Mapping[str, Any]) -> Query:
    """A question of a set; type and answer are "" where the set tells none."""
    told = {"answer": "", "type": "question", **rest}
    return Query(id=query_id(published_id), text=text, **told)


def _with_documents(
    queries: Sequence[Query],
    qrels: Mapping[str, Mapping[ItemOrPage, int]],
    documents: Sequence[SetDocument],
) -> list[Query]:
    """Questions with the document that holds all their gold pages, where documents are more than
    pages.
    """
    of_item = {
        page.item_id: document.name
        for document in documents
        if len(document.pages) > 1
        for page in document.pages
    }
    found = []
    for query in queries:
        gold = {of_item.get(str(key)) for key, grade in qrels.get(query.id, {}).items() if grade}
        doc = gold.pop() if len(gold) == 1 else None
        found.append(query if doc is None else query.model_copy(update={"doc": doc}))
    return found


def _blank_note(n_blank: int) -> tuple[str, ...]:
    return (f"{n_blank:,} rows of questions have no text, and are left out",) if n_blank else ()


@dataclass(frozen=True)
class PagePerRow:
    """One table whose rows are pages, each with a question or none.

    Attributes:
        names: column that names a page; rows of one name are one page.
        question: column of the question; others ask the same in other words.
    """

    published: str
    layout: str
    main_measure: str
    names: Field
    question: Field
    row_id: Field | None = None
    split: str = "test"
    query_fields: tuple[Field, ...] = ()
    as_query: AsQuery = lambda _row: {}


def rows_part(folder: Path, name: str, table: PagePerRow) -> SetPart:
    """A part out of one table; rows without a question are pages of the corpus all the same.

    Raises:
        InputError: `dataset_layout`, `dataset_field`.
    """
    files = table_files(folder, "", table.split, published=table.published, layout=table.layout)
    images = ImageColumn(files, _IMAGE, published=table.published)
    documents: dict[str, SetDocument] = {}
    queries: dict[str, Query] = {}
    qrels: dict[str, dict[ItemOrPage, int]] = {}
    row_id = () if table.row_id is None else (table.row_id,)
    question = replace(table.question, nullable=True)
    fields = (table.names, question, *row_id, *table.query_fields)
    n_without = 0
    for row_index, row in enumerate(read_rows(files, *fields, published=table.published)):
        item = row[table.names.name]
        if item not in documents:
            page = SetPage(item_id=item, image=images.reader(row_index))
            documents[item] = SetDocument(name=item, pages=(page,))
        text = (row[question.name] or "").strip()
        if not text:
            n_without += 1
            continue
        of_row = row_index if table.row_id is None else row[table.row_id.name]
        query = asked(str(of_row), text, table.as_query(row))
        if query.id in queries:
            raise ill_field(table.published, row[WHERE], "id", f"{of_row!r} is there twice")
        queries[query.id] = query
        qrels[query.id] = {item: 1}
    note = f"{n_without:,} rows have no question: their pages are in the corpus alone"
    return SetPart(
        name=name,
        documents=list(documents.values()),
        queries=list(queries.values()),
        qrels=qrels,
        main_measure=table.main_measure,
        notes=(note,) if n_without else (),
    )


def answer_of(value: object) -> dict[str, Any]:
    """`answer` and `answers` of a value that is a text, a number, a list of these, or nothing."""
    values = value if isinstance(value, list) else [value]
    texts = [str(each) for each in values if isinstance(each, str | int | float) and str(each)]
    texts = list(dict.fromkeys(texts))
    if not texts:
        return {"answer": ""}
    return {"answer": texts[0], "answers": tuple(texts[1:])}


def parts_of(
    folders: Mapping[str, Path], read: Callable[[Path, str], SetPart]
) -> Iterator[SetPart]:
    """The parts of a set one after the other, each read when it is asked for."""
    for part, folder in folders.items():
        yield read(folder, part)


def joined(values: Iterable[str] | None) -> str:
    """Labels of one thing as one: "chart+table"."""
    return "+".join(sorted(values or ()))
