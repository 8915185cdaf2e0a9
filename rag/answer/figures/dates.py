"""Dates as texts write them: day, month and year in either order, months, years of accounts."""

from __future__ import annotations

import re
from datetime import date

from rag.answer.figures.figure import Figure, Found
from rag.answer.figures.words import MONTHS

_LEAP_YEAR = 4  # of a day and month without a year

_MONTH = "|".join(sorted(MONTHS, key=len, reverse=True))
YEAR = r"(?:1[6-9]|20|21)\d\d"
_NO_MORE = r"(?![\w]|[.,/-]\d)"
_ISO = re.compile(rf"({YEAR})([-/.])(0?[1-9]|1[0-2])\2(0?[1-9]|[12]\d|3[01]){_NO_MORE}")
_DAY_FIRST = re.compile(
    rf"(0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th|\.)?[ -]?(?:of |de )?({_MONTH})\b\.?"
    rf"(?:(?:,? ?|-)(?:de )?({YEAR})|-(\d\d))?(?![\w-]|[.,/]\d)",
    re.IGNORECASE,
)
_MONTH_BEFORE = re.compile(rf"(?<![^\W_])({_MONTH})(\.?,? ?|-| ?')$", re.IGNORECASE)
_DAY_YEAR = re.compile(
    rf"(0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?(?:,? ({YEAR})|,({YEAR}))?(?![\w%]|[.,/:-]\d| ?%)"
)
_ALONE = re.compile(rf"({YEAR}){_NO_MORE}")
_SHORT_YEAR = re.compile(r"(\d\d)(?![\w%]|[.,/:-]\d)")
_NUMERIC = re.compile(rf"(\d\d?)([/.-])(\d\d?)\2({YEAR}|\d\d){_NO_MORE}")
_PERIOD_BEFORE = re.compile(r"(?<![^\W_])(?:[FC]Y|[1-4]Q|Q[1-4]|[12]H|H[12]) ?'?$", re.IGNORECASE)
_PERIOD = re.compile(rf"(?:([1-4])Q|([12])H)({YEAR}|\d\d)(?!\w)", re.IGNORECASE)
LOOK_BACK = 14  # characters in which a month or a currency stands before digits


def date_at(text: str, at: int, last: int) -> Found | None:
    """The date that the digits at `at` are of, with the month's name before them."""
    if at and text[at - 1].isalnum() and _PERIOD_BEFORE.search(text[max(0, at - 6) : at]) is None:
        return None
    before = text[max(last, at - LOOK_BACK) : at]
    for read in (_named_month, _written_day, _numeric_day, _fiscal_year):
        if (found := read(text, at, before)) is not None:
            return found
    return None


def _written_day(text: str, at: int, before: str) -> Found | None:
    if before.endswith(("/", ".", "$", ",")):
        return None
    if (match := _ISO.match(text, at)) is not None:
        return _dated(match, at, int(match[1]), int(match[3]), int(match[4]))
    match = _DAY_FIRST.match(text, at)
    if match is None:
        return None
    month = MONTHS[match[2].lower()]
    # "5 may" is as likely a number and a verb, "in 12 mar" a cut word.
    if match[3] is None and match[4] is None and not match[2][0].isupper():
        return None
    year = _full_year(match[3] or match[4]) if match[3] or match[4] else _LEAP_YEAR
    return _dated(match, at, year, month, int(match[1]))


def _named_month(text: str, at: int, before: str) -> Found | None:
    named = _MONTH_BEFORE.search(before)
    # "may 5" is a verb and a number.
    if named is None or not named[1][0].isupper():
        return None
    month, start = MONTHS[named[1].lower()], at - len(before) + named.start()
    if (match := _ALONE.match(text, at)) is not None:
        return _dated(match, start, int(match[1]), month)
    # Spreadsheets write Mar-22 for a month, and 22-Mar for a day.
    if named[2] in ("-", "'", " '") and (match := _SHORT_YEAR.match(text, at)) is not None:
        return _dated(match, start, _full_year(match[1]), month)
    match = _DAY_YEAR.match(text, at)
    if match is None:
        return None
    year = int(match[2] or match[3] or _LEAP_YEAR)
    return _dated(match, start, year, month, int(match[1]))


def _numeric_day(text: str, at: int, before: str) -> Found | None:
    match = _NUMERIC.match(text, at)
    if match is None or before.endswith(("/", ".", "$", ",", "-")):
        return None
    first, second, year = int(match[1]), int(match[3]), match[4]
    if match[2] != "/" and len(year) == 2:
        return None  # 1.2.34 and 10-11-12 are numbers of sections and ranges
    if not (min(first, second) >= 1 and max(first, second) <= 31 and min(first, second) <= 12):
        return None
    if match[2] == ".":  # only day, month, year is written so
        return _dated(match, at, int(year), second, first)
    if first == second or second > 12:
        return _dated(match, at, _full_year(year), first, second)
    if first > 12:
        return _dated(match, at, _full_year(year), second, first)
    nobody_can_name = Figure("", 0, 0, None, precision="day")
    return Found(match.end(), nobody_can_name, at, match.end())


def _fiscal_year(text: str, at: int, before: str) -> Found | None:
    if (match := _PERIOD.match(text, at)) is not None:
        return _dated(match, at, _full_year(match[3]))
    period = _PERIOD_BEFORE.search(before)
    if period is None:
        return None
    match = _ALONE.match(text, at) or _SHORT_YEAR.match(text, at)
    if match is None or (len(match[1]) == 2 and period.group()[0] not in "FfCc'"):
        return None
    return _dated(match, at - len(period.group()), _full_year(match[1]))


def _full_year(digits: str) -> int:
    if len(digits) == 4:
        return int(digits)
    return int(digits) + (2000 if int(digits) < 70 else 1900)


def _dated(
    match: re.Match[str], start: int, year: int, month: int = 0, day: int = 0
) -> Found | None:
    try:
        when = date(year, month or 1, day or 1)
    except ValueError:  # the 31st of a month that has 30 days: no date
        return None
    precision = "day" if day else "month" if month else "year"
    if year == _LEAP_YEAR:
        precision = "yearless"
    figure = Figure("", 0, 0, None, day=when, precision=precision)
    return Found(match.end(), figure, start, match.end())
