"""LIMIT: short texts of what people like, every pair of which answers a question together.

Source: Weller et al. 2025 (arXiv:2508.21038), google-deepmind/limit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from eval.datasets.folder import Query
from eval.datasets.local_copy import checked_parts, part_folders
from eval.datasets.parquet import WHERE, may, must, read_rows
from eval.datasets.published import (
    ItemOrPage,
    LoaderInfo,
    SetDocument,
    SetPage,
    SetPart,
    Wanted,
    ill_field,
    missing_file,
    query_id,
)

NAME = "limit"
MAIN_MEASURE = "R@2"
MADE = "made.json"  # tells that a set was made here, and how
_HUB_IDS = {"small": "orionweller/LIMIT-small", "full": "orionweller/LIMIT"}
_LAYOUT = (
    "corpus.jsonl (_id, title, text), queries.jsonl (_id, text) and qrels.jsonl (query-id, "
    "corpus-id, score), in the folder itself or in LIMIT-small and LIMIT (limit-small and limit in "
    "the authors' repository)"
)


def load(source: Path, wanted: Wanted) -> Iterable[SetPart]:
    """The parts that are there: "small" of 46 documents, "full" of 50,000.

    A folder that holds the three files itself is one part: "small" where each document answers
    something, else "full".
    """
    if (source / "corpus.jsonl").is_file():
        part = load_part(source)
        checked_parts(NAME, {part.name: part}, wanted)
        return [part]
    return [
        replace(load_part(folder), name=part) for part, folder in _folders(source, wanted).items()
    ]


def load_part(folder: Path) -> SetPart:
    """One set of the published layout; its documents are read while they are asked for.

    Raises:
        InputError: `dataset_layout`, `dataset_field`.
    """
    files = {name: folder / f"{name}.jsonl" for name in ("corpus", "queries", "qrels")}
    for path in files.values():
        if not path.is_file():
            raise missing_file(NAME, path.name, _LAYOUT)
    known: set[str] = set()
    for row in read_rows(files["corpus"], must("_id", "id"), published=NAME):
        _add(known, row)
    qrels: dict[str, dict[ItemOrPage, int]] = {}
    fields = (must("query-id", "id"), must("corpus-id", "id"), must("score", "int"))
    for row in read_rows(files["qrels"], *fields, published=NAME):
        if row["corpus-id"] not in known:
            raise ill_field(
                NAME, row[WHERE], "corpus-id", f"{row['corpus-id']!r} is not in corpus.jsonl"
            )
        qrels.setdefault(row["query-id"], {})[row["corpus-id"]] = row["score"]
    queries, asked = [], set[str]()
    for row in read_rows(files["queries"], must("_id", "id"), must("text", "text"), published=NAME):
        _add(asked, row)
        if not row["text"].strip():
            raise ill_field(NAME, row[WHERE], "text", "is empty")
        gold = [str(name) for name, grade in qrels.get(row["_id"], {}).items() if grade > 0]
        if not gold:
            raise ill_field(NAME, row[WHERE], "_id", f"{row['_id']!r} has no line in qrels.jsonl")
        queries.append(
            Query(
                id=query_id(row["_id"]),
                text=row["text"],
                answer=" and ".join(gold),
                type="who likes",
            )
        )
    notes = ["texts are rendered: a page of words each, a document of its own"]
    if (folder / MADE).is_file():
        notes.append(
            "made here by the published construction, of other words: "
            + (folder / MADE).read_text(encoding="utf-8").strip()
        )
    for query in qrels.keys() - asked:
        raise ill_field(NAME, "qrels.jsonl", "query-id", f"{query!r} is not in queries.jsonl")
    return SetPart(
        name="full" if known.difference(*qrels.values()) else "small",
        documents=_Documents(files["corpus"]),
        queries=queries,
        qrels={query_id(query): grades for query, grades in qrels.items()},
        main_measure=MAIN_MEASURE,
        notes=tuple(notes),
    )


def _add(known: set[str], row: Mapping[str, Any]) -> None:
    """Raises InputError for an id that is known already: its texts would be found as one."""
    if row["_id"] in known:
        raise ill_field(NAME, row[WHERE], "_id", f"{row['_id']!r} is used twice")
    known.add(row["_id"])


class _Documents:
    """A document a line, read anew each time."""

    def __init__(self, corpus: Path) -> None:
        self._corpus = corpus

    def __iter__(self) -> Iterator[SetDocument]:
        fields = (must("_id", "id"), may("title", "text"), must("text", "text"))
        for row in read_rows(self._corpus, *fields, published=NAME):
            text = f"{row['title'] or ''}\n{row['text']}".strip()
            yield SetDocument(name=row["_id"], pages=(SetPage(item_id=row["_id"], text=text),))


def _folders(source: Path, wanted: Wanted) -> dict[str, Path]:
    """As the hub names them, else as the authors' repository does."""
    there = {"small": source / "limit-small", "full": source / "limit"}
    if any((folder / "corpus.jsonl").is_file() for folder in there.values()):
        parts = checked_parts(NAME, there, wanted)
        return {part: there[part] for part in parts if wanted.parts or there[part].is_dir()}
    return part_folders(source, _HUB_IDS, wanted, published=NAME, layout=_LAYOUT)


SETS = (
    LoaderInfo(
        name=NAME,
        title="LIMIT: what single vectors cannot tell apart",
        hub_ids=tuple(_HUB_IDS.values()),
        licence="CC-BY-4.0 (texts), Apache-2.0 (code)",
        layout=_LAYOUT,
        main_measure=MAIN_MEASURE,
        load=load,
        home="https://github.com/google-deepmind/limit",
        parts=_HUB_IDS,
    ),
)
