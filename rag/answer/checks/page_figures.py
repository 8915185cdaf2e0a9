"""Whether a figure of a statement stands on a page: the same value, unit and sign as pages mean.

A page says once what its tables are in ("in millions"), and a statement may say it with every
number; a loss stands in brackets and is told in words. Both are the same figure here.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date
from functools import cached_property

from rag.answer.figures.read import Figure, figures_in
from rag.answer.figures.words import CURRENCIES, SCALES, UNITS, are_one_currency
from rag.ports import Evidence

_SAME = 1e-9  # relative; a float went through a product
_ROUNDED_DIGITS = 3  # with fewer, too many figures of a page would round to it
_AROUND = 12  # words in which a page says that a figure is a decrease
_MONEY = frozenset(CURRENCIES.values())
_PERCENT = frozenset({"%", "percentage point", "basis point"})

_SCALE = "|".join(sorted(SCALES, key=len, reverse=True))
_PAGE_SCALE = re.compile(
    rf"(?:\b(?:in|en|of|us|u\.s\.|usd|eur|gbp|chf|inr|cad|aud|rs\.?|dollars?|euros?)|[($\u20ac\u00a3"
    rf"\u00a5\u20b9])\s?({_SCALE}|tausend|milliers)\b"
)
_PAGE_LETTER = re.compile(r"(?:[$\u20ac\u00a3\u00a5\u20b9]|\b(?:usd|eur|gbp)) ?(m|mm|mn|bn|k)\b")
_LETTERS = {"m": 1e6, "mm": 1e6, "mn": 1e6, "bn": 1e9, "k": 1e3}
_THOUSANDS = re.compile(r"(?<![\d,.])['\u2019]?000(?:['\u2019]?s)?\b")
_YEAR = re.compile(r"(?<!\d)(?:19|20)\d\d(?!\d)")
_SHORT_YEAR = re.compile(r"(?<![A-Za-z])FY[ _-]?(\d\d)(?!\d)", re.IGNORECASE)

_NUMBERS = {
    word: float(number)
    for number, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
        "fifteen sixteen seventeen eighteen nineteen twenty".split()
    )
} | {
    word: float(10 * number)
    for number, word in enumerate(
        "thirty forty fifty sixty seventy eighty ninety hundred".split(), start=3
    )
}
# English alone; in other languages a sign is held against a sign.
_DOWN = re.compile(
    r"\b(?:loss|losses|decreas\w*|declin\w*|reduc\w*|fell|fall\w*|drop\w*|down|lower|deficit|negative"
    r"|outflow\w*|used|cost\w*|expens\w*|paid|pay\w*|tax\w*|charge\w*|deduct\w*|less|minus|decrement"
    r"|depreciat\w*|amorti\w*|impair\w*|repurchas\w*|dividend\w*|interest|spent|provision\w*)\b",
    re.IGNORECASE,
)
_UP = re.compile(
    r"\b(?:profit\w*|income|gain\w*|increas\w*|grew|grow\w*|rose|rise|risen|surplus|up|higher"
    r"|positive|earn\w*|inflow\w*)\b",
    re.IGNORECASE,
)


class PageFigures:
    """What figures a page of evidence shows, read once."""

    def __init__(self, page: Evidence) -> None:
        self._page = page

    @cached_property
    def figures(self) -> list[Figure]:
        """Read across lines, as text goes on, and line by line, as rows of tables do not."""
        words, spans = self._page.text.words, self._page.text.line_spans
        found = figures_in(words)
        known = {(each.start, each.end, each.value, each.day) for each in found}
        for start, end in spans:
            for of_line in figures_in(words[start:end]):
                each = replace(of_line, start=of_line.start + start, end=of_line.end + start)
                if (each.start, each.end, each.value, each.day) not in known:
                    found.append(each)
        return found

    @cached_property
    def _lower(self) -> str:
        return self._page.text.text.lower()

    @cached_property
    def scales(self) -> frozenset[float]:
        """What the page says its figures are in, as in 1e6 for "in millions"."""
        words = [SCALES.get(match, 1e3) for match in _PAGE_SCALE.findall(self._lower)]
        letters = [_LETTERS[match] for match in _PAGE_LETTER.findall(self._lower)]
        thousands = [1e3] if _THOUSANDS.search(self._lower) else []
        return frozenset([*words, *letters, *thousands])

    @cached_property
    def currencies(self) -> frozenset[str]:
        named = {CURRENCIES[word] for word in self._page.text.words if word in CURRENCIES}
        return frozenset(named | {each.unit for each in self.figures if each.unit in _MONEY})

    @cached_property
    def units(self) -> frozenset[str]:
        """Names of all units written anywhere on the page."""
        written = {UNITS[word] for word in _bare_words(self._page.text.words) if word in UNITS}
        pairs = zip(self._page.text.words, self._page.text.words[1:], strict=False)
        written |= {UNITS[pair] for pair in map(" ".join, pairs) if pair in UNITS}
        if "%" in self._lower:
            written.add("%")
        return frozenset(written | {each.unit for each in self.figures if each.unit})

    @cached_property
    def years(self) -> frozenset[int]:
        """Years on the page, and in the name of its document."""
        name = self._page.hit.source
        named = [int(year) for year in _YEAR.findall(name)]
        named += [2000 + int(year) for year in _SHORT_YEAR.findall(name)]
        dated = [
            each.day.year for each in self.figures if each.day and each.precision != "yearless"
        ]
        alone = [int(each.value or 0) for each in self.figures if is_year(each)]
        glued = [int(year) for year in _YEAR.findall(self._lower)]
        return frozenset([*named, *dated, *alone, *glued])

    @cached_property
    def _spelled(self) -> frozenset[float]:
        words = _bare_words(self._lower.replace("-", " ").split())
        return frozenset(_NUMBERS[word] for word in words if word in _NUMBERS)

    @cached_property
    def _joined(self) -> list[Figure]:
        """Groups of digits between spaces read as one number, for pages that write so."""
        words = self._page.text.words
        found: list[Figure] = []
        for start, end in self._page.text.line_spans:
            at = start
            while at < end:
                last = at + 1
                if re.fullmatch(r"\D?[1-9]\d{0,2}", words[at]):
                    while last < end and re.fullmatch(r"\d{3}(?:,\d+)?", words[last]):
                        last += 1
                if last > at + 1:
                    digits = re.sub(r"[^\d,]", "", "".join(words[at:last])).replace(",", ".")
                    found.append(Figure("", at, last, float(digits)))
                at = last
        return found

    @cached_property
    def _by_value(self) -> list[tuple[float, int, Figure]]:
        """Numbers by what is written, without sign and scale."""
        numbers = [each for each in [*self.figures, *self._joined] if each.value is not None]
        return sorted((abs(each.value or 0.0), at, each) for at, each in enumerate(numbers))

    @cached_property
    def _written_scales(self) -> frozenset[float]:
        return frozenset(each.scale for each in self.figures)

    def _near(self, wanted: Figure, scales: Iterable[float]) -> list[Figure]:
        """Numbers that may come to what is wanted, by one of the scales; few, and none left out."""
        written = abs(wanted.value or 0.0)
        half = 0.5 * 10.0**-wanted.decimals
        found: dict[int, Figure] = {}
        for scale in {1.0, *scales, *self._written_scales}:
            factor = wanted.scale / scale
            slack = 4 * _SAME * max(written, 1e-12)
            low = (written - half - slack) * factor * (1 - 4 * _SAME)
            high = (written + half + slack) * factor * (1 + 4 * _SAME)
            first = bisect_left(self._by_value, low, key=lambda entry: entry[0])
            last = bisect_right(self._by_value, high, key=lambda entry: entry[0])
            found.update((at, figure) for _, at, figure in self._by_value[first:last])
        return [found[at] for at in sorted(found)]

    # --- looking for one --------------------------------------------------------------------------
    def has(self, wanted: Figure, statement: str, *, scales: frozenset[float]) -> bool:
        """Whether the page shows it.

        Args:
            wanted: of the statement.
            statement: its words, which say whether a figure is meant as a loss.
            scales: what the document says its figures are in, beside what this page says.
        """
        if wanted.value is None:
            return self._has_date(wanted)
        if is_year(wanted) and int(wanted.value) in self.years:
            return True
        if self._names_this_page(wanted, statement):
            return True
        if wanted.unit not in _PERCENT and self._is_spelled(wanted):
            return True
        scales = scales | self.scales
        return any(
            self._is_same(wanted, each, statement, scales) for each in self._near(wanted, scales)
        )

    def has_operand(self, wanted: Figure) -> bool:
        """Whether a number of a calculation stands here, with or without its unit and scale.

        Whether it is a loss, the formula says.
        """
        return self.has(wanted, "", scales=frozenset()) or (
            wanted.value is not None
            and any(
                each.value is not None
                and _close(abs(each.value), abs(wanted.value))
                and (not wanted.unit or self._is_same_unit(wanted, each))
                and wanted.scale in (1.0, each.scale, *self.scales)
                for each in self._near(replace(wanted, scale=1.0), ())
            )
        )

    def may_be_in(self, unit: str) -> bool:
        """Whether the page speaks of no other money than this; any other unit may be."""
        return (
            unit not in _MONEY
            or not self.currencies
            or any(are_one_currency(unit, each) for each in self.currencies)
        )

    def _has_date(self, wanted: Figure) -> bool:
        if wanted.day is None:
            return any(wanted.text == each.text for each in self.figures) or any(
                _may_be(wanted.text, each.day) for each in self.figures if each.day
            )
        if wanted.precision == "year":
            return wanted.day.year in self.years
        for each in self.figures:
            if each.day is None and each.precision and wanted.precision == "day":
                if _may_be(each.text, wanted.day):
                    return True
                continue
            if each.day is None or each.precision == "year":
                continue
            is_day = each.day.day == wanted.day.day and each.precision != "month"
            if each.day.month != wanted.day.month or not (is_day or wanted.precision == "month"):
                continue
            # The head of a table says the day once and the years beside each other.
            other_years = self.years if is_day or each.precision == "yearless" else ()
            if wanted.precision == "yearless" or wanted.day.year in (each.day.year, *other_years):
                return True
        return False

    def _names_this_page(self, wanted: Figure, statement: str) -> bool:
        number = self._page.hit.ref.page_number
        return wanted.value == number and bool(
            re.search(rf"\b(?:page|p\.|slide)\s?{number}\b", statement, re.IGNORECASE)
        )

    def _is_spelled(self, wanted: Figure) -> bool:
        if wanted.scale != 1 or wanted.decimals or wanted.unit in _MONEY:
            return False
        return wanted.value in self._spelled and (not wanted.unit or wanted.unit in self.units)

    def _is_same(
        self, wanted: Figure, shown: Figure, statement: str, scales: frozenset[float]
    ) -> bool:
        if shown.value is None or wanted.value is None or not self._is_same_unit(wanted, shown):
            return False
        has_scale = shown.scale != 1 or shown.unit not in ("", *_MONEY)
        factors = (shown.scale,) if has_scale else (1.0, *scales)
        exact = [abs(shown.value) * factor / wanted.scale for factor in factors]
        if not any(_rounds_to(value, wanted) for value in exact):
            return False
        return self._is_same_sign(wanted, shown, statement)

    def _is_same_unit(self, wanted: Figure, shown: Figure) -> bool:
        if wanted.unit == shown.unit:
            return True
        if wanted.unit in _MONEY and shown.unit in _MONEY:
            return are_one_currency(wanted.unit, shown.unit)
        if not wanted.unit:
            return shown.unit not in _PERCENT
        if shown.unit:
            # "5 percent" of a page may be a difference of percents in a statement, and no money.
            return False
        if wanted.unit in _MONEY:
            return self.may_be_in(wanted.unit)
        return wanted.unit in self.units

    def _is_same_sign(self, wanted: Figure, shown: Figure, statement: str) -> bool:
        if not wanted.value or not shown.value or (wanted.value > 0) == (shown.value > 0):
            return True
        if wanted.value > 0:
            return not _UP.search(statement) or bool(_DOWN.search(statement))
        around = self._page.text.span_text(
            max(0, shown.start - _AROUND), min(len(self._page.text), shown.end + _AROUND)
        )
        return bool(_DOWN.search(around))


def is_year(figure: Figure) -> bool:
    """Whether a number may be a year: four digits and nothing else."""
    return figure.value is not None and re.fullmatch(r"(?:19|20)\d\d", figure.text) is not None


def _rounds_to(exact: float, wanted: Figure) -> bool:
    written = abs(wanted.value or 0.0)
    if _close(exact, written):
        return True
    n_digits = len(f"{written:.{wanted.decimals}f}".replace(".", "").lstrip("0"))
    if n_digits < _ROUNDED_DIGITS or is_year(wanted):
        return False
    return abs(exact - written) <= 0.5 * 10.0**-wanted.decimals * (1 + _SAME) + _SAME * exact


def _close(first: float, second: float) -> bool:
    return abs(first - second) <= _SAME * max(abs(first), abs(second), 1e-12)


def _may_be(text: str, day: date) -> bool:
    """Whether "3/4/2022" may be this day, in one order or the other."""
    parts = sorted(int(part) for part in re.findall(r"\d+", text)[:2])
    return parts == sorted((day.month, day.day)) and text.endswith(str(day.year)[-2:])


def _bare_words(words: Sequence[str]) -> Iterator[str]:
    return (word.strip("()[].,;:") for word in words)
