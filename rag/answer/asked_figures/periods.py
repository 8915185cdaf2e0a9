"""The times that a question speaks of."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

from rag.answer.tables.table import Period

_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "january jan",
            "february feb",
            "march mar",
            "april apr",
            "may",
            "june jun",
            "july jul",
            "august aug",
            "september sept sep",
            "october oct",
            "november nov",
            "december dec",
        ),
        1,
    )
    for name in names.split()
}
_ORDINALS = {"first": 1, "second": 2, "third": 3, "fourth": 4}
_MONTH = "|".join(sorted(_MONTHS, key=len, reverse=True))
_YEAR = r"(?:19|20)\d\d"
_MENTION = re.compile(
    rf"""
    (?P<led>(?:for\s+|in\s+|as\s+(?:of|at)\s+|at\s+)?(?:the\s+)?
        (?:(?:fiscal\s+|financial\s+)?year|period|(?P<span>three|six|nine|twelve)\s+months)
        \s+(?:end(?:ed|ing)|to)\s+(?:on\s+)?)?
    (?:(?P<month>{_MONTH})\.?\s+(?P<day>\d{{1,2}})(?:st|nd|rd|th)?\s?,\s*(?P<year_of_day>{_YEAR})
      |(?P<day_first>\d{{1,2}})(?:st|nd|rd|th)?\s+(?P<month_second>{_MONTH})\.?,?\s+
        (?P<year_of_day_first>{_YEAR})
      |(?P<month_alone>{_MONTH})\.?,?\s+(?P<year_of_month>{_YEAR}))
    |(?:\bQ(?P<q>[1-4])|\b(?P<ordinal>first|second|third|fourth)\s+quarter)
        (?:\s*(?:of|in|,)?\s*(?:the\s+)?
        (?:\bFY\s?'?|fiscal\s+(?:year\s+)?|\bF)?(?P<year_of_q>{_YEAR}))?
    |(?:\bFY\s?'?|\bfiscal\s+(?:year\s+)?'?|\bfinancial\s+year\s+|\bF)
        (?P<fiscal>{_YEAR}(?!\d)|(?<=FY)\d\d(?!\d))
    |(?<![\d$.,\u20ac\u00a3])\b(?P<year>{_YEAR})\b(?![%,]?\d|\.\d)
    """,
    re.IGNORECASE | re.VERBOSE,
)
_SPANS = {"three": 3, "six": 6, "nine": 9, "twelve": 12}


@dataclass(frozen=True)
class PeriodMention:
    """A time in a text, from character `start` to `end`."""

    start: int
    end: int
    period: Period


def periods_in(text: str) -> list[PeriodMention]:
    """All times of a text, in its order."""
    return [
        PeriodMention(found.start(), found.end(), _period(found))
        for found in _MENTION.finditer(text)
    ]


def year_before(period: Period, years: int) -> Period:
    """The same time of an earlier year."""
    if years == 0 or period.year is None:
        return period
    year = period.year - years
    return Period(
        f"FY{year}" if period.quarter is None else f"Q{period.quarter} {year}",
        year,
        period.quarter,
        None,
        period.months,
    )


def _period(found: re.Match[str]) -> Period:
    text = found[0].strip()
    months = _SPANS[found["span"].lower()] if found["span"] else None
    if found["led"] and months is None and "year" in found["led"].lower():
        months = 12
    day = found["day"] or found["day_first"]
    month = found["month"] or found["month_second"]
    if day and month:
        year = int(found["year_of_day"] or found["year_of_day_first"])
        try:
            end = date(year, _MONTHS[month.lower()], int(day))
        except ValueError:  # "February 30": the year is what is left to go by
            end = None
        return Period(text, year, None, end, months)
    if found["month_alone"]:
        return Period(text, int(found["year_of_month"]), None, None, months)
    if found["q"] or found["ordinal"]:
        quarter = int(found["q"] or _ORDINALS[found["ordinal"].lower()])
        return Period(text, int(found["year_of_q"]) if found["year_of_q"] else None, quarter)
    year_text = found["fiscal"] or found["year"]
    return Period(text, int(year_text) + (2000 if len(year_text) == 2 else 0))
