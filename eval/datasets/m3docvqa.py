"""M3DocVQA: questions of MultimodalQA over Wikipedia articles as PDFs, any of which may answer.

Its gold is documents, not pages. Here every page of a supporting document is graded, and finding
any one of them counts.

Source: Cho et al. 2024, M3DocRAG (arXiv:2411.04952), sections 4 and 5; Talmor et al. 2021,
MultiModalQA (arXiv:2104.06039).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from eval.datasets.documents import page_counter
from eval.datasets.folder import Query
from eval.datasets.local_copy import checked_option
from eval.datasets.nested import Nested
from eval.datasets.parquet import WHERE, must, read_rows
from eval.datasets.published import (
    ItemOrPage,
    LoaderInfo,
    PageName,
    SetDocument,
    SetPart,
    Wanted,
    missing_file,
    query_id,
)
from rag.errors import InputError

NAME = "m3docvqa"
_SPLITS = ("dev", "train")
_LAYOUT = (
    "multimodalqa/MMQA_dev.jsonl, dev_doc_ids.json and splits/pdfs_dev/ID.pdf, as its own script "
    "downloads and sorts them (m3docvqa/main.py)."
)
_SINGLE_HOP = frozenset({"TextQ", "TableQ", "ImageQ", "ImageListQ"})
_FIELDS = (
    must("qid", "id"),
    must("question", "text"),
    must("answers", "rows"),
    must("metadata", "any"),
    must("supporting_context", "rows"),
)


def load(source: Path, wanted: Wanted) -> Iterator[SetPart]:
    """One part, of the split that is wanted.

    Raises:
        InputError: a missing file, a field that is not what it should be, an unknown option.
    """
    split = checked_option(NAME, wanted, "split", _SPLITS)
    may_lack = checked_option(NAME, wanted, "missing", ("refuse", "skip")) == "skip"
    documents, n_missing = _documents(source, split, may_lack=may_lack)
    queries: list[Query] = []
    qrels: dict[str, Mapping[ItemOrPage, int]] = {}
    supporting: dict[str, list[str]] = {}
    n_skipped = 0
    path = source / "multimodalqa" / f"MMQA_{split}.jsonl"
    if not path.is_file():
        raise missing_file(NAME, f"multimodalqa/{path.name}", _LAYOUT)
    for row in read_rows(path, *_FIELDS, published=NAME):
        names = _supporting(row)
        lacking = [name for name in names if name not in documents]
        if lacking and not may_lack:
            raise Nested(row, row[WHERE], NAME).ill(
                "supporting_context", f"documents of {split}_doc_ids.json", lacking[0]
            )
        if lacking:
            n_skipped += 1
            continue
        queries.append(_query(row))
        supporting[query_id(row["qid"])] = names
    n_pages = _page_counts(documents, {name for names in supporting.values() for name in names})
    for asked, names in supporting.items():
        qrels[asked] = {
            PageName(name, page): 1 for name in names for page in range(1, n_pages[name] + 1)
        }
    yield SetPart(
        name="",
        documents=[SetDocument(name, pdf) for name, pdf in documents.items()],
        queries=queries,
        qrels=qrels,
        main_measure="list_f1",
        notes=tuple(_notes(split, n_missing, n_skipped)),
    )


def _page_counts(documents: Mapping[str, Path], names: set[str]) -> dict[str, int]:
    with page_counter() as reader:
        return {name: reader.open(documents[name]).n_pages for name in sorted(names)}


def _notes(split: str, n_missing: int, n_skipped: int) -> Iterator[str]:
    yield "Published figures are of answers: list-aware EM and F1 over all questions."
    yield (
        "Its gold is documents: every page of a supporting document is graded 1 and any one will "
        "do. Success@k tells whether a page of a supporting document is among the first; recall, "
        "precision and nDCG of pages mean little here, and no page is known to hold the answer."
    )
    if split != "dev":
        yield f"Of the {split} split; published figures are of dev."
    if n_missing:
        yield (
            f"{n_missing} PDFs are not in the copy; {n_skipped} questions that they support are "
            "left out."
        )


def _documents(source: Path, split: str, *, may_lack: bool) -> tuple[dict[str, Path], int]:
    """Name to PDF of the split's documents; how many are not there."""
    folder = next(
        (
            each
            for each in (source / "splits" / f"pdfs_{split}", source / f"pdfs_{split}")
            if each.is_dir()
        ),
        None,
    )
    if folder is None:
        raise missing_file(NAME, f"splits/pdfs_{split}/", _LAYOUT)
    names = _document_ids(source / f"{split}_doc_ids.json")
    found = {name: folder / f"{name}.pdf" for name in names if _is_there(folder, name)}
    missing = [name for name in names if name not in found]
    if missing and not may_lack:
        error = missing_file(NAME, f"{folder.name}/{missing[0]}.pdf", _LAYOUT)
        error.message += f" ({len(missing)} of {len(names)} PDFs are missing)"
        error.next_step += " With the option missing=skip, questions that need them are left out."
        raise error
    return found, len(missing)


def _is_there(folder: Path, name: str) -> bool:
    # A name in a table is no leave to read the whole disk.
    return Path(name).name == name and (folder / f"{name}.pdf").is_file()


def _document_ids(path: Path) -> list[str]:
    try:
        read = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise missing_file(NAME, path.name, _LAYOUT) from error
    except ValueError as error:
        raise _no_list(path, f"is no JSON: {error}") from error
    if not isinstance(read, list) or any(not isinstance(item, str) for item in read):
        raise _no_list(path, "wants a list of texts")
    return list(dict.fromkeys(read))


def _no_list(path: Path, said: str) -> InputError:
    return InputError(
        f"{NAME}: {path.name} {said}", code="dataset_layout", next_step="Copy the file again."
    )


def _supporting(row: Mapping[str, Any]) -> list[str]:
    """Documents that hold the answer or lead to it, each once."""
    fields = Nested(row, row[WHERE], NAME)
    names = [item.text("doc_id") for item in fields.objects("supporting_context")]
    if not names:
        raise fields.ill("supporting_context", "a document", [])
    return list(dict.fromkeys(names))


def _query(row: Mapping[str, Any]) -> Query:
    fields = Nested(row, row[WHERE], NAME)
    text = row["question"].strip()
    if not text:
        raise fields.ill("question", "a question", text)
    if not isinstance(row["metadata"], dict):
        raise fields.ill("metadata", "an object", row["metadata"])
    kind = Nested(row["metadata"], f"{row[WHERE]} metadata", NAME).text("type")
    answers = list(fields.objects("answers"))
    if not answers:
        raise fields.ill("answers", "an answer", [])
    modalities = dict.fromkeys(answer.text("modality") for answer in answers)
    return Query(
        id=query_id(row["qid"]),
        text=text,
        answer=_answer([answer.text("answer") for answer in answers]),
        type=kind,
        gold_mode="any",
        answer_format="List",
        groups={
            "modality": "+".join(modalities),
            "hops": "single-hop" if kind in _SINGLE_HOP else "multi-hop",
        },
    )


def _answer(answers: Sequence[str]) -> str:
    """All answers are wanted together; one alone stands as it is."""
    if len(answers) == 1 and not answers[0].strip().startswith("["):
        return answers[0]
    return json.dumps(list(answers), ensure_ascii=False)


SETS = (
    LoaderInfo(
        name=NAME,
        title="M3DocVQA, questions over 3,000 Wikipedia articles as PDFs",
        hub_ids=(),
        licence="questions Apache-2.0 by their repository, articles CC BY-SA; see source",
        layout=_LAYOUT,
        main_measure="list_f1",
        load=load,
        options={
            "split": "dev (default, as published) or train",
            "missing": "refuse (default) or skip: what is done about PDFs that are not there",
        },
        home="https://github.com/bloomberg/m3docrag",
    ),
)
