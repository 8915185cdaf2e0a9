"""MR2-Bench: reasoning over questions and documents of several images, a folder a sub-task.

Source: Zhou et al. 2025 (arXiv:2509.26378). The names of its sub-tasks are those of the folders;
the names of fields that its authors' other sets use are all taken (docs/unverified.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from eval.datasets.folder import Query
from eval.datasets.local_copy import checked_parts, file_below
from eval.datasets.parquet import SUFFIXES, WHERE, may, must, read_rows
from eval.datasets.published import (
    ItemOrPage,
    LoaderInfo,
    ReadImage,
    SetDocument,
    SetPage,
    SetPart,
    Wanted,
    ill_field,
    missing_file,
    query_id,
)
from eval.datasets.stacked_images import stacked

NAME = "mr2-bench"
_LAYOUT = (
    "a folder a sub-task, each with corpus.jsonl and queries.jsonl (id, text, image) and "
    "qrels.jsonl or qrels.tsv (query-id, corpus-id, score), or the positives of a question in "
    "queries.jsonl; image is a path below the copy, or a list of them"
)
_N_PARTS, _N_QUERIES = 12, 1309
_ID = ("_id", "qid", "did", "doc_id", "query_id", "corpus_id")
_TEXT = ("txt", "query", "q_text", "query_text", "content", "caption")
_IMAGE = ("images", "image_path", "img_path", "q_img", "query_image", "image_paths", "img")
_POSITIVE = ("pos", "positive", "positives", "pos_cand_list", "positive_key", "gold_ids")


def load(source: Path, wanted: Wanted) -> Iterable[SetPart]:
    """The sub-tasks whose folders are there.

    Raises:
        InputError: `unknown_part`, `dataset_layout`, `dataset_field`.
    """
    folders = {
        path.name: path
        for path in sorted(source.glob("*"))
        if path.is_dir() and _table(path, "corpus") is not None
    }
    if not folders:
        raise missing_file(NAME, "folder with a corpus.jsonl", _LAYOUT)
    for name in checked_parts(NAME, folders, wanted):
        yield _load_part(source, folders[name], n_parts=len(folders))


def _load_part(source: Path, folder: Path, *, n_parts: int) -> SetPart:
    corpus, questions = _found(folder, "corpus"), _found(folder, "queries", "query")
    known = {row["id"] for row in read_rows(corpus, must("id", "id", *_ID), published=NAME)}
    qrels_file = _table(folder, "qrels")
    grades = {} if qrels_file is None else _read_qrels(qrels_file, known)
    queries: list[Query] = []
    images: dict[str, ReadImage] = {}
    fields = (
        must("id", "id", *_ID),
        may("text", "text", *_TEXT),
        may("image", "any", *_IMAGE),
        may("answer", "text"),
        may("positive", "any", *_POSITIVE),
    )
    for row in read_rows(questions, *fields, published=NAME):
        if qrels_file is None:
            grades[row["id"]] = _positives(row, known)
        if not grades.get(row["id"]):
            raise ill_field(NAME, row[WHERE], "id", f"{row['id']!r} has no graded document")
        image = None
        if (read := stacked(_images(source, folder, row))) is not None:
            image = f"{len(images):06d}"
            images[image] = read
        text = (row["text"] or "").strip()
        if not text and image is None:
            raise ill_field(NAME, row[WHERE], "text", "is empty, and there is no image")
        queries.append(
            Query(
                id=query_id(row["id"]),
                text=text or "-",
                answer=row["answer"] or "",
                type=folder.name,
                image=image,
                groups={"sub-task": folder.name},
            )
        )
    notes = ["several images of a question or document are shown one below the other"]
    if n_parts != _N_PARTS:
        notes.append(
            f"the copy has {n_parts} sub-tasks; all {_N_PARTS} have {_N_QUERIES:,} questions"
        )
    return SetPart(
        name=folder.name,
        documents=_Documents(source, folder, corpus),
        queries=queries,
        qrels={query_id(asked): gold for asked, gold in grades.items()},
        main_measure="nDCG@10",
        images=images,
        notes=tuple(notes),
    )


class _Documents:
    """A document a row, read anew each time."""

    def __init__(self, source: Path, folder: Path, corpus: Path) -> None:
        self._source = source
        self._folder = folder
        self._corpus = corpus

    def __iter__(self) -> Iterator[SetDocument]:
        fields = (
            must("id", "id", *_ID),
            may("text", "text", *_TEXT),
            may("image", "any", *_IMAGE),
        )
        for row in read_rows(self._corpus, *fields, published=NAME):
            image = stacked(_images(self._source, self._folder, row))
            text = (row["text"] or "").strip()
            if not text and image is None:
                raise ill_field(NAME, row[WHERE], "text", "is empty, and there is no image")
            page = SetPage(item_id=row["id"], image=image, text=text)
            yield SetDocument(name=row["id"], pages=(page,))


def _images(source: Path, folder: Path, row: Mapping[str, Any]) -> list[ReadImage]:
    value = row["image"]
    if value is None or value == "":
        return []
    return [_image(source, folder, each, row[WHERE]) for each in _listed(value)]


def _image(source: Path, folder: Path, value: Any, where: str) -> ReadImage:
    if isinstance(value, Mapping) and isinstance(value.get("bytes"), bytes):
        data: bytes = value["bytes"]
        return lambda: data
    name = value.get("path") if isinstance(value, Mapping) else value
    if not isinstance(name, str) or not name:
        raise ill_field(NAME, where, "image", f"wants a path, got {value!r}")
    path = file_below(source, name, folder, folder / "images", source, source / "images")
    if path is None:
        raise ill_field(NAME, where, "image", f"there is no file {name!r} in the copy")
    return path.read_bytes


def _positives(row: Mapping[str, Any], known: set[str]) -> dict[ItemOrPage, int]:
    if row["positive"] is None:
        raise ill_field(
            NAME, row[WHERE], "positive", "is not there, and there is no qrels beside queries"
        )
    grades: dict[ItemOrPage, int] = {}
    for each in _listed(row["positive"]):
        value = (
            next((each[name] for name in ("id", *_ID) if name in each), None)
            if isinstance(each, Mapping)
            else each
        )
        if str(value) not in known:
            raise ill_field(NAME, row[WHERE], "positive", f"{value!r} is not in corpus")
        grades[str(value)] = 1
    return grades


def _read_qrels(path: Path, known: set[str]) -> dict[str, dict[ItemOrPage, int]]:
    fields = (
        must("query-id", "id", "query_id", "qid"),
        must("corpus-id", "id", "corpus_id", "doc_id", "did"),
        must("score", "int", "relevance", "label"),
    )
    grades: dict[str, dict[ItemOrPage, int]] = {}
    for row in read_rows(path, *fields, published=NAME):
        if row["corpus-id"] not in known:
            raise ill_field(NAME, row[WHERE], "corpus-id", f"{row['corpus-id']!r} is not in corpus")
        grades.setdefault(row["query-id"], {})[row["corpus-id"]] = row["score"]
    return grades


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _table(folder: Path, name: str) -> Path | None:
    places = (folder / f"{name}{suffix}" for suffix in SUFFIXES)
    return next((path for path in places if path.is_file()), None)


def _found(folder: Path, *names: str) -> Path:
    for name in names:
        if (path := _table(folder, name)) is not None:
            return path
    raise missing_file(NAME, f"{folder.name}/{names[0]}.jsonl", _LAYOUT)


SETS = (
    LoaderInfo(
        name=NAME,
        title="MR2-Bench: reasoning over several images, in 12 sub-tasks",
        hub_ids=("JUNJIE99/MR2-Bench",),
        licence="CC-BY-NC-SA-4.0",
        layout=_LAYOUT,
        main_measure="nDCG@10",
        load=load,
        home="https://github.com/VectorSpaceLab/MR2-Bench",
    ),
)
