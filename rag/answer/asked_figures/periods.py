"""The times that a question or a sentence speaks of, and where."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import date

from rag.answer.figures.words import MONTHS
from rag.answer.tables.periods import period_in
from rag.answer.tables.table import Period

_MONTH = rf"(?:{'|'.join(sorted(MONTHS, key=len, reverse=True))})"
_YEAR = r"(?:19|20)\d\d"
_LED = (
    r"(?:(?:for|in|as\s+(?:of|at)|at)\s+)?(?:the\s+)?(?:(?:fiscal\s+|financial\s+)?year|period"
    r"|(?:three|six|nine|twelve)\s+months)\s+(?:end(?:ed|ing)|to)\s+(?:on\s+)?"
)
_MENTION = re.compile(
    rf"""
    (?:{_LED})?
    (?:\b{_MONTH}\.?\s+\d{{1,2}}(?:st|nd|rd|th)?\s?,\s*{_YEAR}
      |\b\d{{1,2}}(?:st|nd|rd|th)?\s+{_MONTH}\.?,?\s+{_YEAR}
      |\b{_MONTH}\.?,?\s+{_YEAR}
      |(?P<day>\b\d{{1,2}})[./](?P<month>\d{{1,2}})[./](?P<year>{_YEAR}))\b
    |(?:\bQ[1-4]|\b(?:first|second|third|fourth)\s+(?:fiscal\s+)?quarter)
        (?:\s*(?:of|in|,)?\s*(?:the\s+)?(?:\bFY\s?'?|\bfiscal\s+(?:year\s+)?|\bF)?{_YEAR}\b)?
    |(?:\bFY\s?'?|\bfiscal\s+(?:year\s+)?'?|\bfinancial\s+year\s+|\bF)
        (?:{_YEAR}(?!\d)|(?<=FY)\d\d(?!\d))
    |(?<![\d$.,\u20ac\u00a3])\b{_YEAR}\b(?![%,]?\d|\.\d|%)
    """,
    re.IGNORECASE | re.VERBOSE,
)


@dataclass(frozen=True)
class PeriodMention:
    """A time in a text, from character `start` to `end`."""

    start: int
    end: int
    period: Period


def periods_in(text: str) -> list[PeriodMention]:
    """All times of a text, in its order."""
    found = [(match, _period(match)) for match in _MENTION.finditer(text)]
    return [
        PeriodMention(match.start(), match.end(), period)
        for match, period in found
        if period is not None
    ]


def year_before(period: Period, years: int) -> Period:
    """The same time of an earlier year."""
    if years == 0 or period.year is None:
        return period
    end = period.end
    if end is not None:
        # The 29th of February has no day of its own a year earlier.
        end = date(end.year - years, end.month, min(end.day, 28) if end.month == 2 else end.day)
    year = period.year - years
    return replace(period, text=f"FY{year}", year=year, end=end)


def _period(found: re.Match[str]) -> Period | None:
    text = found[0].strip()
    if found["day"]:
        # With points and a year of four digits the day comes first; with strokes nobody can tell.
        day, month = int(found["day"]), int(found["month"])
        if month > 12:
            day, month = month, day
        try:
            end = date(int(found["year"]), month, day)
        except ValueError:
            return None
        return Period(text, end.year, end=end)
    # "March 31,2003", "F2019"
    text = re.sub(r",(?=\d{4})", ", ", re.sub(r"^F(?=\d)", "FY", text))
    period = period_in(text)
    return None if period is None else replace(period, text=found[0].strip())
