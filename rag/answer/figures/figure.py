"""One number or date of a text."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True)
class Figure:
    """One number or date of a text.

    Attributes:
        text: as written, with its sign, currency, word of scale and unit.
        start: first word.
        end: after its last word.
        value: as written, signs and brackets read, words of scale ("million") and percent signs
            not; None for a date.
        scale: 1e6 for "million" beside it; 1 where nothing is said.
        decimals: digits after the point, as written.
        unit: "%", a currency's sign or code ("$", "EUR"), or a unit's name in the singular; empty
            for none.
        day: of a date; a month or year alone is its first day, `precision` says so. None for a
            date whose day and month cannot be told apart ("3/4/2022").
        precision: "day", "month" or "year" of a date, or "yearless" for a day and month alone,
            whose `day` is in the year 4; empty for a number.
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

    @property
    def amount(self) -> float | None:
        """The value times its scale; None for a date."""
        return None if self.value is None else self.value * self.scale


@dataclass(frozen=True)
class Found:
    """A figure and the characters it takes up; without one, digits that are no figure."""

    end: int
    figure: Figure | None = None
    start: int = 0
    run_end: int = 0  # where its digits and what closes them end, before any unit
