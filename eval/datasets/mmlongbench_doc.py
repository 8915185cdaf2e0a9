"""MMLongBench-Doc: questions of long PDFs, with typed answers, some without any.

`evidence_pages` count from 1 and are, as `evidence_sources`, lists that are written as text.

Source: Ma et al. 2024, MMLongBench-Doc (arXiv:2407.01523), and its released samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from eval.answers.mmlongbench_rule import NOT_ANSWERABLE, AnswerFormat
from eval.datasets.folder import Query, UnanswerableQuery
from eval.datasets.nested import Nested, written_list
from eval.datasets.parquet import WHERE, must, read_rows, table_files
from eval.datasets.published import (
    ItemOrPage,
    LoaderInfo,
    PageName,
    SetDocument,
    SetPart,
    Wanted,
    missing_file,
)

NAME = "mmlongbench-doc"
_LAYOUT = (
    "data/train-*.parquet and documents/*.pdf, as on the hub; or data/samples.json and "
    "data/documents/*.pdf, as in its repository."
)
_MAIN_MEASURE = "F1 of rule_score"
_FIELDS = (
    must("doc_id", "text"),
    must("doc_type", "text"),
    must("question", "text"),
    must("answer", "any"),
    must("evidence_pages", "text"),
    must("evidence_sources", "text"),
    must("answer_format", "text"),
)


def load(source: Path, _wanted: Wanted) -> Iterator[SetPart]:
    """One part: the whole set, each question asked of its document.

    Raises:
        InputError: a missing file, a field that is not what it should be.
    """
    samples = source / "data" / "samples.json"
    files = (
        (samples,)
        if samples.is_file()
        else table_files(source, "", "train", published=NAME, layout=_LAYOUT)
    )
    folder = next(
        (each for each in (source / "documents", source / "data" / "documents") if each.is_dir()),
        None,
    )
    if folder is None:
        raise missing_file(NAME, "documents/", _LAYOUT)
    documents: dict[str, SetDocument] = {}
    queries: list[Query] = []
    unanswerable: list[UnanswerableQuery] = []
    qrels: dict[str, Mapping[ItemOrPage, int]] = {}
    for number, row in enumerate(read_rows(files, *_FIELDS, published=NAME), start=1):
        fields = Nested(row, row[WHERE], NAME)
        query_id = f"q{number:04}"
        doc = row["doc_id"]
        if doc not in documents:
            documents[doc] = SetDocument(doc, path=_pdf(folder, doc))
        if fields.text("answer").strip() == NOT_ANSWERABLE:
            text = _question(fields)
            unanswerable.append(UnanswerableQuery(id=query_id, text=text, doc=doc))
            continue
        pages = _pages(fields)
        queries.append(_query(query_id, fields, len(pages)))
        if pages:
            qrels[query_id] = {PageName(doc, page): 1 for page in pages}
    yield SetPart(
        name="",
        documents=list(documents.values()),
        queries=queries,
        qrels=qrels,
        unanswerable=unanswerable,
        main_measure=_MAIN_MEASURE,
        notes=tuple(_notes(len(queries) - len(qrels), len(unanswerable))),
    )


def _notes(n_without_page: int, n_unanswerable: int) -> Iterator[str]:
    yield (
        "Published figures are of answers: accuracy and F1 of the rule score over all questions, "
        f"with the {n_unanswerable} that have no answer."
    )
    yield (
        "Each evidence source is a group of its own, as the authors count them: a question of two "
        "sources is in both."
    )
    if n_without_page:
        yield (
            f"{n_without_page} questions with an answer name no evidence page and are not asked; "
            "published figures count them."
        )


def _pdf(folder: Path, doc: str) -> Path:
    path = folder / doc
    # A name in a table is no leave to read the whole disk.
    if Path(doc).name != doc or not path.is_file():
        raise missing_file(NAME, f"{folder.name}/{doc}", _LAYOUT)
    return path


def _query(query_id: str, fields: Nested, n_pages: int) -> Query:
    form = fields.text("answer_format")
    if form not in get_args(AnswerFormat):
        raise fields.ill("answer_format", f"one of {', '.join(get_args(AnswerFormat))}", form)
    sources = _list(fields, "evidence_sources")
    return Query.model_validate(
        {
            "id": query_id,
            "text": _question(fields),
            "answer": fields.text("answer"),
            "type": "single-page" if n_pages == 1 else "cross-page",
            "doc": fields.text("doc_id"),
            "scope": "document",
            "answer_format": form,
            "groups": {
                "doc_type": fields.text("doc_type"),
                **{f"source {source}": "yes" for source in sources},
            },
        }
    )


def _question(fields: Nested) -> str:
    text = fields.text("question").strip()
    if not text:
        raise fields.ill("question", "a question", text)
    return text


def _pages(fields: Nested) -> list[int]:
    pages = _list(fields, "evidence_pages")
    for page in pages:
        if type(page) is not int or page < 1:
            raise fields.ill("evidence_pages", "page numbers from 1", page)
    return pages


def _list(fields: Nested, name: str) -> list[Any]:
    found = written_list(fields.text(name))
    if found is None:
        raise fields.ill(name, "a list written as text", fields.values[name])
    return found


SETS = (
    LoaderInfo(
        name=NAME,
        title="MMLongBench-Doc, questions of long PDFs",
        hub_ids=("yubo2333/MMLongBench-Doc",),
        licence="CC BY-NC 4.0 by its repository; research use",
        layout=_LAYOUT,
        main_measure=_MAIN_MEASURE,
        load=load,
        scope="document",
        home="https://github.com/mayubo2333/MMLongBench-Doc",
        hub_files=("data/*", "documents/*"),
    ),
)
