"""MMDocIR's evaluation set: pages of 313 long documents, searched one document at a time.

`page_indices` of the published annotations are rows of the table of pages, the last one included;
`page_id` and the `page` of a layout count a document's pages from 0.

Source: Dong et al. 2025, MMDocIR (arXiv:2501.08828), and the annotations of its repository.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.datasets.folder import Query
from eval.datasets.local_copy import checked_option
from eval.datasets.nested import Nested, written_list
from eval.datasets.parquet import WHERE, may, must, read_rows
from eval.datasets.published import (
    ItemOrPage,
    LoaderInfo,
    PageName,
    SetDocument,
    SetPage,
    SetPart,
    Wanted,
    ill_field,
    missing_file,
)
from eval.layout_recall import PageBox
from rag.geometry import Box

NAME = "mmdocir"
_ANNOTATIONS = "MMDocIR_annotations.jsonl"
_PAGES = "MMDocIR_pages.parquet"
_LAYOUT = f"{_ANNOTATIONS} (one line a document) and {_PAGES} (one row a page) in one folder."
_TEXTS = {"none": None, "ocr": "ocr_text", "vlm": "vlm_text"}


@dataclass(frozen=True)
class _Document:
    """A line of the annotations.

    Attributes:
        rows: of the table of pages.
        questions: each with its id.
    """

    name: str
    domain: str
    rows: range
    questions: tuple[tuple[str, Nested], ...]
    where: str


def load(source: Path, wanted: Wanted) -> Iterator[SetPart]:
    """One part: the whole set, each question asked of its document.

    Raises:
        InputError: a missing file, a field that is not what it should be, an unknown option.
    """
    text_column = _TEXTS[checked_option(NAME, wanted, "text", tuple(_TEXTS))]
    documents = _documents(source)
    if not (source / _PAGES).is_file():
        raise missing_file(NAME, _PAGES, _LAYOUT)
    queries: list[Query] = []
    qrels: dict[str, Mapping[ItemOrPage, int]] = {}
    for document in documents:
        for question_id, question in document.questions:
            queries.append(_query(question_id, question, document))
            if pages := _gold_pages(question, document):
                qrels[question_id] = dict.fromkeys(pages, 1)
    yield SetPart(
        name="",
        documents=_page_images(source / _PAGES, documents, text_column),
        queries=queries,
        qrels=qrels,
        main_measure="R@1",
        notes=tuple(_notes(text_column)),
    )


def gold_layouts(source: Path) -> dict[str, tuple[PageBox, ...]]:
    """Question id, as in the dataset, to the boxes that answer it; see `eval.layout_recall`.

    Raises:
        InputError: as `load`.
    """
    return {
        question_id: tuple(_boxes(question))
        for document in _documents(source)
        for question_id, question in document.questions
    }


def _notes(text_column: str | None) -> Iterator[str]:
    yield "Searched within the document that is asked about; corpus-wide figures are no MMDocIR."
    if text_column is not None:
        yield f"The words of {text_column} stand below each page image; its authors show none."


def _documents(source: Path) -> list[_Document]:
    path = source / _ANNOTATIONS
    if not path.is_file():
        raise missing_file(NAME, _ANNOTATIONS, _LAYOUT)
    fields = (
        must("doc_name", "text"),
        must("domain", "text"),
        must("page_indices", "any"),
        must("questions", "rows"),
    )
    found: dict[str, _Document] = {}
    for number, row in enumerate(read_rows(path, *fields, published=NAME)):
        document = _document(number, row)
        if document.name in found:
            raise ill_field(NAME, document.where, "doc_name", f"{document.name!r} is there twice")
        found[document.name] = document
    return list(found.values())


def _document(number: int, row: Mapping[str, Any]) -> _Document:
    nested = Nested(row, row[WHERE], NAME)
    indices = nested.whole_numbers("page_indices")
    if len(indices) != 2 or not 0 <= indices[0] <= indices[1]:
        raise nested.ill("page_indices", "first and last row, from 0", indices)
    return _Document(
        name=row["doc_name"],
        domain=row["domain"],
        rows=range(indices[0], indices[1] + 1),
        questions=tuple(
            (f"d{number}-q{index}", question)
            for index, question in enumerate(nested.objects("questions"))
        ),
        where=row[WHERE],
    )


def _query(question_id: str, question: Nested, document: _Document) -> Query:
    text = question.text("Q").strip()
    if not text:
        raise question.ill("Q", "a question", text)
    kinds = written_list(question.text("type")) or [question.text("type")]
    return Query(
        id=question_id,
        text=text,
        answer=question.text("A"),
        type="+".join(map(str, kinds)),
        doc=document.name,
        scope="document",
        groups={"domain": document.domain},
    )


def _gold_pages(question: Nested, document: _Document) -> list[PageName]:
    pages = question.whole_numbers("page_id")
    for page in pages:
        if not 0 <= page < len(document.rows):
            raise question.ill("page_id", f"pages from 0 below {len(document.rows)}", page)
    return [PageName(document.name, page + 1) for page in pages]


def _boxes(question: Nested) -> Iterator[PageBox]:
    for layout in question.objects("layout_mapping"):
        width, height = layout.numbers("page_size", count=2)
        if min(width, height) <= 0:
            raise layout.ill("page_size", "a width and height above 0", [width, height])
        x0, y0, x1, y1 = layout.numbers("bbox", count=4)
        box = Box(x0 / width, y0 / height, x1 / width, y1 / height)
        yield PageBox(layout.whole_number("page") + 1, box)


def _page_images(
    path: Path, documents: Iterable[_Document], text_column: str | None
) -> Iterator[SetDocument]:
    """The documents in the order of their rows, so that the table is read once."""
    fields = [must("doc_name", "text"), must("image_binary", "image")]
    if text_column is not None:
        fields.append(may(text_column, "text"))
    rows = enumerate(read_rows(path, *fields, published=NAME))
    n_read = 0
    for document in sorted(documents, key=lambda each: each.rows.start):
        if document.rows.start < n_read:
            raise ill_field(
                NAME,
                document.where,
                "page_indices",
                f"row {document.rows.start} is of another document too",
            )
        n_read = document.rows.stop
        pages: list[SetPage] = []
        for index, row in rows:
            if index < document.rows.start:
                continue
            if row["doc_name"] != document.name:
                raise ill_field(
                    NAME,
                    row[WHERE],
                    "doc_name",
                    f"wants {document.name!r} by the page_indices of {document.where}, got "
                    f"{row['doc_name']!r}",
                )
            pages.append(_page(len(pages) + 1, row, document.name, text_column))
            if index == document.rows[-1]:
                break
        if len(pages) != len(document.rows):
            raise ill_field(
                NAME, document.where, "page_indices", f"{_PAGES} has no row {document.rows[-1]}"
            )
        yield SetDocument(document.name, pages=tuple(pages))


def _page(number: int, row: Mapping[str, Any], document: str, text_column: str | None) -> SetPage:
    image: bytes = row["image_binary"]
    text = (row[text_column] or "") if text_column is not None else ""
    return SetPage(item_id=f"{document}#{number}", image=lambda: image, text=text)


SETS = (
    LoaderInfo(
        name=NAME,
        title="MMDocIR, pages of long documents",
        hub_ids=("MMDocIR/MMDocIR_Evaluation_Dataset",),
        licence="CC BY-NC 4.0 by its repository, Apache-2.0 by its card on the hub; research use",
        layout=_LAYOUT,
        main_measure="R@1",
        load=load,
        scope="document",
        options={
            "text": "words set below each page image, to be searched: none (default), ocr or vlm"
        },
        home="https://github.com/MMDocRAG/MMDocIR",
        hub_files=(_ANNOTATIONS, _PAGES),
    ),
)
