"""Numbers, dates and units as texts write them, and what they come to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True)
class Figure:
    """One number or date of a text.

    Attributes:
        start: first word.
        end: after its last word.
        value: as written, signs and brackets read, words of scale ("million") and percent signs
            not; None for a date.
        scale: 1e6 for "million" beside it; 1 where nothing is said.
        decimals: digits after the point, as written.
        unit: "%", a currency's sign or code ("$", "EUR"), or a unit's name; empty for none.
        day: of a date; a month or year alone is its first day, `precision` says so.
        precision: "day", "month" or "year" of a date; empty for a number.
    """

    text: str
    start: int
    end: int
    value: float | None
    scale: float = 1.0
    decimals: int = 0
    unit: str = ""
    day: date | None = None
    precision: str = ""


def figures_in(words: Sequence[str]) -> list[Figure]:
    """All figures of a text in its order; a year alone ("2022") is a number that may be a date."""
    raise NotImplementedError
