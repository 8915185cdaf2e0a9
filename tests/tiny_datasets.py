"""Datasets of a few questions, in memory; nothing of them is on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eval.datasets.folder import Dataset, PageKey, Query
from eval.runs import Hit


def query(query_id: str, **fields: Any) -> Query:
    return Query.model_validate(
        {"id": query_id, "text": "?", "answer": "", "type": "plain", "doc": "a.pdf"} | fields
    )


def dataset(qrels: dict[str, dict[tuple[str, int], int]], queries: Sequence[Query]) -> Dataset:
    return Dataset(
        name="tiny",
        folder=Path("tiny"),
        documents=("a.pdf", "b.pdf"),
        queries={each.id: each for each in queries},
        qrels={
            key: {PageKey(*page): grade for page, grade in grades.items()}
            for key, grades in qrels.items()
        },
        unanswerable=(),
        digest="0" * 64,
        documents_digest="1" * 64,
    )


def hits(*pages: int, doc: str = "a.pdf") -> list[Hit]:
    return [Hit(doc, page, float(-rank)) for rank, page in enumerate(pages)]
