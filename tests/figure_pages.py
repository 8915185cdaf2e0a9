"""Pages of statements with known figures, as evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from table_pages import Sheet

from rag.page_text import PageText
from rag.ports import Evidence
from rag.types import PageHit, PageRef

EDGES = (380.0, 480.0, 580.0)


def evidence_of(number: int, text: PageText, *, source: str = "acme.pdf") -> Evidence:
    hit = PageHit(number, PageRef(source, number), source, 1.0, 1.0, "", ())
    return Evidence(number, hit, text, np.zeros((0, 4), np.float32), np.zeros(0, np.int32))


def statement(
    number: int,
    title: str,
    rows: Mapping[str, Sequence[str]],
    *,
    heads: Sequence[str] = ("2021", "2020"),
    scale: str = "($ in millions)",
    source: str = "acme.pdf",
) -> Evidence:
    """A page with one table: a title, its scale, heads over the figures, and rows."""
    sheet = Sheet()
    sheet.put(title, 300, 60, "middle", bold=True)
    if scale:
        sheet.put(scale, 50, 74)
    edges = EDGES[: len(heads)]
    for head, edge in zip(heads, edges, strict=True):
        sheet.put(head, edge, 88, "right")
    for place, (label, figures) in enumerate(rows.items()):
        sheet.row(102 + 14 * place, label, figures, edges)
    return evidence_of(number, sheet.text(), source=source)


def prose(number: int, *lines: str, source: str = "acme.pdf") -> Evidence:
    sheet = Sheet()
    for place, line in enumerate(lines):
        sheet.put(line, 50, 60 + 14 * place)
    return evidence_of(number, sheet.text(), source=source)
