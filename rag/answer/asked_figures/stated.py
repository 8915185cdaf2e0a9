"""What a figure that stands on a page is to a calculation, be it of a table or of a sentence."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

from rag.answer.draft import Source
from rag.answer.figures.read import Figure
from rag.answer.passages import Span
from rag.answer.tables.table import Period
from rag.ports import Evidence


class StatedFigure(Protocol):
    """A figure where it stands.

    Attributes:
        place: its first word in the page.
        name: what the page calls it.
        head_name: what stands over its column, where that is no time; empty for none.
        heading: all that the page says of which figure it is.
        scale: what the written value is to be multiplied by.
        currency: sign or code; empty where none is said.
    """

    @property
    def evidence(self) -> Evidence: ...
    @property
    def figure(self) -> Figure: ...
    @property
    def place(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def head_name(self) -> str: ...
    @property
    def heading(self) -> str: ...
    @property
    def period(self) -> Period | None: ...
    @property
    def is_percent(self) -> bool: ...
    @property
    def scale(self) -> float: ...
    @property
    def currency(self) -> str: ...
    def sources(self) -> tuple[Source, ...]:
        """Quotes that say what it is and what it comes to."""
        ...


@dataclass(frozen=True)
class Found:
    """A figure and how well it is what was asked for, 0 to 1."""

    figure: StatedFigure
    score: float


def value_of(figure: StatedFigure) -> float:
    """As written, signs read."""
    return figure.figure.value or 0.0


def digits_of(figure: StatedFigure) -> str:
    """As the page writes them, without sign, currency and unit."""
    digits = re.search(r"\d[\d.,]*\d|\d|\.\d+", figure.figure.text)
    return digits[0] if digits else "0"


def quote_source(evidence: Evidence, span: Span) -> Source:
    return Source(evidence.number, evidence.text.span_text(*span), span[0])
