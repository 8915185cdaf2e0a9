"""Tiny copies of UniDoc-Bench in its hosted layout: two domains of three questions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from place_encoders import marked_page

from rag.testing import make_pdf

DOMAINS = ("finance", "legal")
WORDS = {
    "finance": ("The harbour dues of Lisbon rose by nine percent.", "lighthouse keepers' wages"),
    "legal": ("The tenancy ends when the orchard is sold.", "a servitude of the mill stream"),
}


def documents(domain: str) -> dict[str, bytes]:
    """Words that are asked for, words that are not, on more pages than are looked at, and bars."""
    first, second = WORDS[domain]
    return {
        "0000001": make_pdf([first, f"Here it is about {second}."]),
        "0000002": make_pdf([f"Minutes of the garden club, meeting {n}." for n in range(1, 11)]),
        "0000003": make_pdf([marked_page(3), marked_page(7), marked_page(11)]),
    }


def rows(domain: str) -> list[dict[str, Any]]:
    """A question that words answer, one that a picture answers, and one that wants both."""
    first, second = WORDS[domain]
    return [
        row(domain, f"What is said: {first}", "text_only", "factual_retrieval", [(1, 1)]),
        row(domain, "What does the bar at place 3 show?", "image_only", "comparison", [(3, 1)]),
        row(
            domain,
            f"How do {second} go with the bar at place 7?",
            "image_plus_text_as_answer",
            "comparison",
            [(1, 2), (3, 2)],
        ),
    ]


def row(
    domain: str,
    question: str,
    answer_type: str,
    question_type: str,
    gold: Sequence[tuple[int, int]],
) -> dict[str, Any]:
    """As the set has it; `gold` is document and page."""

    def name(document: int, page: int) -> str:
        return f"images/{domain}/{document:07d}/{document:07d}_page_{page:04d}.png"

    return {
        "question": question,
        "answer": "nine percent",
        "gt_image_paths": [name(*each) for each in gold],
        "question_type": question_type,
        "answer_type": answer_type,
        "domain": domain,
        "longdoc_image_paths": [name(1, 1), name(1, 2), name(3, 1), name(3, 2), name(3, 3)],
    }


def write_copy(folder: Path) -> Path:
    """The copy, its PDFs unpacked as the archives of the set unpack."""
    for domain in DOMAINS:
        write_split(folder, domain, rows(domain))
        place = folder / domain
        place.mkdir(parents=True)
        for name, pdf in documents(domain).items():
            (place / f"{name}.pdf").write_bytes(pdf)
    return folder


def write_split(folder: Path, domain: str, values: Sequence[dict[str, Any]]) -> Path:
    path = folder / "data" / f"{domain}-00000-of-00001.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(values)), path)
    return path
