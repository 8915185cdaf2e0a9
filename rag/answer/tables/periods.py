"""Periods as columns and questions write them, and how well one names the other.

A fiscal year has no one name: a year that ends in January 2023 is fiscal 2023 to one company and
fiscal 2022 to the next. Both readings are kept, the one after the day it ends scoring higher.
"""

from __future__ import annotations

import calendar
import re
from datetime import date

from rag.answer.figures.words import MONTHS
from rag.answer.tables.table import Period

_COUNTS = {
    "one": 1,
    "two": 2,
    "three": 3,
    "four": 4,
    "six": 6,
    "nine": 9,
    "ten": 10,
    "twelve": 12,
    "thirteen": 13,
    "twenty-six": 26,
    "thirty-nine": 39,
    "fifty-two": 52,
    "fifty-three": 53,
}
_ORDINALS = {
    "first": 1,
    "second": 2,
    "third": 3,
    "fourth": 4,
    "1st": 1,
    "2nd": 2,
    "3rd": 3,
    "4th": 4,
}
_MONTH = r"(?P<month>" + "|".join(sorted(MONTHS, key=len, reverse=True)) + r")\.?"
_YEAR4 = r"(?:19|20)\d\d"
_FLAGS = re.IGNORECASE
_DATE = re.compile(
    rf"\b{_MONTH}\s*(?P<day>\d{{1,2}})(?:st|nd|rd|th)?\s*,?\s+(?P<year>{_YEAR4})\b", _FLAGS
)
_DAY_FIRST = re.compile(
    rf"\b(?P<day>\d{{1,2}})(?:st|nd|rd|th)?[\s-]+(?:of\s+)?{_MONTH},?[\s-]+(?P<year>{_YEAR4})\b",
    _FLAGS,
)
_ISO = re.compile(rf"\b(?P<year>{_YEAR4})-(?P<month>\d\d)-(?P<day>\d\d)\b")
_DOTTED = re.compile(r"\b(?P<day>\d{1,2})\.(?P<month>\d{1,2})\.(?P<year>(?:19|20)\d\d)\b")
_NUMERIC = re.compile(r"\b(?P<month>\d{1,2})/(?P<day>\d{1,2})/(?P<year>(?:19|20)?\d\d)\b")
_DAY_OF_YEAR = re.compile(rf"\b{_MONTH}\s*(?P<day>\d{{1,2}})\b(?!\s*,?\s*{_YEAR4})", _FLAGS)
_MONTH_YEAR = re.compile(
    rf"\b{_MONTH}(?:[\s,-]+(?P<year>{_YEAR4})|\s?['\u2019-](?P<short>\d\d))\b", _FLAGS
)
_QUARTER = re.compile(
    r"\b(?:q(?P<a>[1-4])|(?P<b>[1-4])q|(?P<c>first|second|third|fourth|1st|2nd|3rd|4th)[\s-]+"
    r"(?:fiscal\s+)?quarter|quarter\s+(?P<d>[1-4]))(?=\b|\d|f)",
    _FLAGS,
)
_QUARTER_LAST = re.compile(rf"\b(?P<year>{_YEAR4})\s*-?q(?P<a>[1-4])\b", _FLAGS)
_HALF = re.compile(
    r"\b(?:(?P<a>first|second|1st|2nd)[\s-]+half|h(?P<b>[12])|(?P<c>[12])h)(?=\b|\d)", _FLAGS
)
_SPAN = re.compile(
    r"\b(?P<count>" + "|".join(_COUNTS) + r"|\d{1,2})[\s-]+(?P<what>months?|weeks?|quarters?)\b",
    _FLAGS,
)
_WHOLE_YEAR = re.compile(
    r"\b(?:(?:fiscal\s+)?years?\s+(?:ended|ending)|full[\s-]+year|annual|twelve\s+months)\b", _FLAGS
)
_FISCAL = re.compile(
    r"\b(?:fiscal(?:\s+year)?s?|fy|financial\s+year)\s*['\u2019]?\s*(?P<year>(?:19|20)\d\d|\d\d)\b",
    _FLAGS,
)
_SAYS_FISCAL = re.compile(r"\b(?:fiscal|fy\s*['\u2019]?\d{0,4}|financial\s+year)", _FLAGS)
_PAIR = re.compile(
    rf"(?<![\d-])(?P<first>{_YEAR4})\s*[-\u2013\u2014/]\s*(?P<last>{_YEAR4}|\d\d)(?![\d-])"
)
_ANY_YEAR = re.compile(rf"(?<![\d,.$])(?P<year>{_YEAR4})(?:E|A|P|F)?(?![\d%]|[,.]\d)")
_SHORT_YEAR = re.compile(
    r"(?:^|\s|q[1-4]|[1-4]q|h[12]|[12]h)['\u2019]?(?P<year>\d\d)(?!\d)", _FLAGS
)


def period_in(text: str, context: str = "") -> Period | None:
    """The first period that a text speaks of.

    Args:
        text: a column's head, a question, a label.
        context: words around it that may say the day, the quarter or the length, as in "Years
            ended December 31,"; they give no year.

    Returns:
        None where no year, quarter or day is said. A year of two digits is one of 1970 to 2069.
    """
    said = " ".join(text.split())
    day = _day(said)
    quarter = _quarter(said)
    half = _half(said)
    months = _length(said)
    pair = _PAIR.search(said)
    is_fiscal = _SAYS_FISCAL.search(said) is not None
    year: int | None
    if day is not None:
        year = day.year
        fiscal = _FISCAL.search(said)
        if fiscal is not None and not _is_date_year(said, fiscal):
            year = _full_year(fiscal["year"])
    elif pair is not None:
        first, last = int(pair["first"]), _full_year(pair["last"], like=int(pair["first"]))
        if last == first + 1:
            year, is_fiscal, months = last, True, months or 12
        elif last > first:
            year, months = last, months or 12 * (last - first + 1)
        else:
            year = first
    else:
        year = _year(said, has_part=quarter is not None or half is not None)
        if year is not None:
            day, month_months = _end_of_month(said, year)
            months = months or month_months
    if year is None and quarter is None:
        return None
    if half is not None:
        months = 6
        if year is not None and day is None and not is_fiscal:
            day = date(year, 6, 30) if half == 1 else date(year, 12, 31)
    if quarter is not None:
        months = months or 3
    if context and months is None and quarter is None:
        quarter = _quarter(context) if day is None else None
        months = 3 if quarter is not None else _length(context)
    if context and day is None and year is not None and quarter is None and half is None:
        day = _day_of_year(context, year)
    return Period(text, year, quarter, day, months, is_fiscal)


def matches(asked: Period, column: Period) -> float:
    """How well a column's period is the one asked for.

    Returns:
        1 for the same day and length, 0 for another period; about 0.5 where it is so only in the
        naming of fiscal years that fewer companies follow.
    """
    length = _length_score(asked, column)
    if length == 0.0:
        return 0.0
    if asked.quarter is not None and column.quarter is not None and asked.quarter != column.quarter:
        return 0.0
    if asked.year is None or column.year is None:
        same = asked.quarter is not None and asked.quarter == column.quarter
        return 0.6 * length if same or asked.year is None is column.year else 0.0
    return length * _time_score(asked, column)


def _time_score(asked: Period, column: Period) -> float:
    if asked.end is not None and column.end is not None:
        away = abs((asked.end - column.end).days)
        # The day decides, unless the question names a year that only its company can explain.
        return 1.0 if away == 0 else 0.9 if away <= 7 else 0.0
    if column.end is not None:
        return _named(asked, column.end, column)
    if asked.end is not None:
        return _named(column, asked.end, asked)
    return 1.0 if asked.year == column.year else 0.0


def _named(named: Period, end: date, dated: Period) -> float:
    """How well a year, or a quarter of it, names a time that ends on a day."""
    if named.quarter is not None and dated.quarter is None and (dated.months or 3) == 3:
        # So many months after this quarter's end the fiscal year ends.
        after = end.month - 1 + 3 * (4 - named.quarter)
        year_end = end.year + after // 12
        month = after % 12 + 1
        if month not in (12, 1, 2) and not named.is_fiscal:
            return 0.0 if named.year != year_end else 0.4
        return _year_score(named.year, year_end, month, named)
    if dated.year is not None and dated.year != end.year:
        return 1.0 if named.year == dated.year else 0.0
    return _year_score(named.year, end.year, end.month, named)


def _year_score(year: int | None, end_year: int, end_month: int, named: Period) -> float:
    if year == end_year:
        return 1.0 if end_month > 2 else 0.9
    if year == end_year - 1 and end_month <= 2:
        return 0.5
    if year == end_year - 1 and named.is_fiscal and end_month <= 6:
        return 0.2
    return 0.0


def _length_score(asked: Period, column: Period) -> float:
    wanted = 3 if asked.quarter is not None and asked.months is None else asked.months
    has = column.months
    if wanted is not None and has is not None:
        return 1.0 if wanted == has else 0.0
    if wanted is None and has is not None and has != 12:
        return 0.4  # a year is asked for, a part of one is there
    if wanted is not None and has is None:
        return 1.0 if wanted == 12 or column.end is not None else 0.4
    return 1.0


def _day(text: str) -> date | None:
    for pattern in (_DATE, _DAY_FIRST, _ISO, _DOTTED, _NUMERIC):
        found = pattern.search(text)
        if found is None:
            continue
        month = found["month"].lower()
        number = MONTHS[month] if month in MONTHS else int(month)
        try:
            return date(_full_year(found["year"]), number, int(found["day"]))
        except ValueError:  # the 31st of a month of 30 days: no date
            continue
    return None


def _is_date_year(text: str, fiscal: re.Match[str]) -> bool:
    found = _DATE.search(text)
    return found is not None and found.start("year") == fiscal.start("year")


def _end_of_month(text: str, year: int) -> tuple[date | None, int | None]:
    """(last day, length) of a month said without a day."""
    found = _MONTH_YEAR.search(text)
    if found is None or _full_year(found["year"] or found["short"]) != year:
        return None, None
    month = MONTHS[found["month"].lower()]
    has_ended = re.search(r"\b(?:ended|ending|as of|at)\b", text, _FLAGS) is not None
    return date(year, month, calendar.monthrange(year, month)[1]), None if has_ended else 1


def _day_of_year(context: str, year: int) -> date | None:
    found = _DAY_OF_YEAR.search(context)
    if found is None:
        return None
    try:
        return date(year, MONTHS[found["month"].lower()], int(found["day"]))
    except ValueError:  # the 29th of February of another year
        return None


def _quarter(text: str) -> int | None:
    found = _QUARTER_LAST.search(text)
    if found is not None:
        return int(found["a"])
    found = _QUARTER.search(text)
    if found is None:
        return None
    if found["c"]:
        return _ORDINALS[found["c"].lower()]
    return int(found["a"] or found["b"] or found["d"])


def _half(text: str) -> int | None:
    found = _HALF.search(text)
    if found is None:
        return None
    return _ORDINALS[found["a"].lower()] if found["a"] else int(found["b"] or found["c"])


def _length(text: str) -> int | None:
    """Months, where a length is said."""
    found = _SPAN.search(text)
    if found is not None:
        count = _COUNTS.get(found["count"].lower()) or int(found["count"])
        what = found["what"].lower()
        if what.startswith("month"):
            return count
        if what.startswith("quarter"):
            return 3 * count if re.search(r"\bended\b", text, _FLAGS) else None
        return round(count / 4.345)
    return 12 if _WHOLE_YEAR.search(text) else None


def _year(text: str, *, has_part: bool) -> int | None:
    found = _QUARTER_LAST.search(text) or _FISCAL.search(text) or _ANY_YEAR.search(text)
    if found is None and has_part:
        found = _SHORT_YEAR.search(text)
    if found is None:
        month = _MONTH_YEAR.search(text)
        return None if month is None else _full_year(month["year"] or month["short"])
    return _full_year(found["year"])


def _full_year(year: str, *, like: int | None = None) -> int:
    number = int(year)
    if number >= 100:
        return number
    if like is not None:
        return like // 100 * 100 + number + (100 if number < like % 100 else 0)
    return number + (2000 if number < 70 else 1900)
