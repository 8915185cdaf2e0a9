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

from rag.answer.checks.page_measures import MONEY, PageMeasures, n_digits
from rag.answer.checks.signs import is_told_as_loss, is_written_as_loss
from rag.answer.figures.counted import Counted, counted_in, tells
from rag.answer.figures.read import Figure, figures_in, unread_in
from rag.answer.figures.words import CURRENCIES, are_one_currency
from rag.ports import Evidence

_SAME = 1e-9  # relative; a float went through a product
_ROUNDED_DIGITS = 3  # with fewer, too many figures of a page would round to it
_PERCENT = frozenset({"%", "percentage point", "basis point"})

_YEAR = re.compile(r"(?<!\d)(?:19|20)\d\d(?!\d)")
_LINES_OF_YEARS = 2  # below a day of the head of a table
_AROUND = 6  # words in which a page says that a figure is a decrease
_PAGE_NUMBER = re.compile(r"\b(?:pages?|pp?\.|pg\.|slide)\s?\d+\W*$", re.IGNORECASE)
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

# Scripts that leave no space between words glue nothing.
_GLUED_BEFORE = re.compile(r"[^\W_\u3005-\u9fff\uac00-\ud7af]$|\d[.,]$")
_GLUED_AFTER = re.compile(r"[^\W_\u3005-\u9fff\uac00-\ud7af]|[.,]\d")


class PageFigures:
    """What figures a page of evidence shows, read once."""

    def __init__(self, page: Evidence) -> None:
        self._page = page
        self._measures = PageMeasures(page.text)

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
        return self._measures.main_scales

    @cached_property
    def currencies(self) -> frozenset[str]:
        named = {CURRENCIES[word] for word in self._page.text.words if word in CURRENCIES}
        return frozenset(named | {each.unit for each in self.figures if each.unit in MONEY})

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
    def _spelled(self) -> list[Figure]:
        return [
            Figure(word, place, place + 1, _NUMBERS[part])
            for place, word in enumerate(self._page.text.words)
            for part in _bare_words(word.lower().split("-"))
            if part in _NUMBERS
        ]

    @cached_property
    def _told(self) -> set[tuple[str, int]]:
        """Quarters, halves and ordinals; a day of a date is an ordinal."""
        days = {
            ("ordinal", each.day.day)
            for each in self.figures
            if each.day and each.precision in ("day", "yearless")
        }
        return {*tells(self._page.text.text), *days}

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
        if self._is_page_number(wanted, statement):
            return True
        if wanted.unit not in _PERCENT and self._is_spelled(wanted):
            return True
        scales = scales | self.scales
        return any(
            self._is_same(wanted, each, statement, scales)
            for each in self._near(wanted, scales | self._measures.scales)
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
            unit not in MONEY
            or not self.currencies
            or any(are_one_currency(unit, each) for each in self.currencies)
        )

    def tells(self, wanted: Counted) -> bool:
        """Whether the page speaks of this quarter, half or ordinal."""
        return (wanted.kind, wanted.number) in self._told

    def says(self, token: str) -> bool:
        """Whether a token stands on the page, or in the name of its document, as it is written."""
        if _stands_in(token, self._page.text.text):
            return True
        return any(
            _stands_in(each, name)
            for name in (self._page.hit.source, self._page.hit.source.replace("_", " "))
            for each in (token, token.replace("-", ""))
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
            if wanted.precision == "yearless" or wanted.day.year in self._years_of(each):
                return True
        return False

    def _years_of(self, shown: Figure) -> set[int]:
        """Years that a date is said of: its own and those that follow it at once.

        The head of a table says the day once and the years beside each other, or below it.
        """
        assert shown.day is not None
        words = self._page.text.words
        years = set() if shown.precision == "yearless" else {shown.day.year}
        place = shown.end
        while place < len(words):
            bare = words[place].strip("(),;:.")
            if _YEAR.fullmatch(bare):
                years.add(int(bare))
            elif bare not in ("and", "or", "&", "vs", "to", ""):
                break
            place += 1
        if shown.precision == "yearless":
            spans = self._page.text.line_spans
            line = next(n for n, (_, end) in enumerate(spans) if shown.start < end)
            for start, end in spans[line : line + 1 + _LINES_OF_YEARS]:
                of_line = [word.strip("(),;:.") for word in words[start:end]]
                is_head = start > shown.start and not any(
                    any(map(str.isdigit, word)) and not _YEAR.fullmatch(word) for word in of_line
                )
                if is_head or start <= shown.start:
                    years |= {int(word) for word in of_line if _YEAR.fullmatch(word)}
        return years

    def _is_page_number(self, wanted: Figure, statement: str) -> bool:
        """Whether a figure is the number right after "page", and this is that page."""
        is_bare = wanted.scale == 1 and not wanted.unit and not wanted.decimals
        if not is_bare or wanted.value != self._page.hit.ref.page_number:
            return False
        words = statement.split()[: wanted.start + 1]
        return _PAGE_NUMBER.search(" ".join(words)) is not None

    def _is_spelled(self, wanted: Figure) -> bool:
        if wanted.scale != 1 or wanted.decimals or wanted.unit in MONEY:
            return False
        return any(
            each.value == wanted.value
            and (not wanted.unit or self._measures.is_in_unit(each, wanted.unit))
            for each in self._spelled
        )

    def _is_same(
        self, wanted: Figure, shown: Figure, statement: str, scales: frozenset[float]
    ) -> bool:
        if shown.value is None or wanted.value is None or not self._is_same_unit(wanted, shown):
            return False
        has_scale = shown.scale != 1 or shown.unit not in ("", *MONEY)
        factors = {shown.scale} if has_scale else self._measures.factors_of(shown, scales)
        exact = [abs(shown.value) * factor / wanted.scale for factor in factors]
        if not any(_rounds_to(value, wanted) for value in exact):
            return False
        return self._is_same_sign(wanted, shown, statement)

    def _is_same_unit(self, wanted: Figure, shown: Figure) -> bool:
        if wanted.unit == shown.unit:
            return True
        if wanted.unit in MONEY and shown.unit in MONEY:
            return are_one_currency(wanted.unit, shown.unit)
        if not wanted.unit:
            return shown.unit not in _PERCENT
        if shown.unit:
            # "5 percent" of a page may be a difference of percents in a statement, and no money.
            return False
        if wanted.unit in MONEY:
            return self._measures.is_in_currency(shown, wanted.unit)
        return self._measures.is_in_unit(shown, wanted.unit)

    def _is_same_sign(self, wanted: Figure, shown: Figure, statement: str) -> bool:
        if not wanted.value or not shown.value or (wanted.value > 0) == (shown.value > 0):
            return True
        if wanted.value > 0:
            words = statement.split()
            return is_told_as_loss(" ".join(words[: wanted.start]), " ".join(words[wanted.end :]))
        words_shown = self._page.text
        return is_written_as_loss(
            words_shown.span_text(max(0, shown.start - _AROUND), shown.start),
            words_shown.span_text(shown.end, min(len(words_shown), shown.end + _AROUND)),
        )


def unsaid_in(text: str, pages: Sequence[PageFigures]) -> list[str]:
    """Quarters, halves, ordinals and numerals of a statement that no page tells, as written.

    What is not read as a figure cannot be held against one, so it has to stand there as it is.
    """
    statement = " ".join(text.split())
    words = statement.split()
    of_figures = unread_in(words)
    counted = counted_in(statement)
    asked = [
        each
        for each in counted
        if each.kind != "ordinal" or any(each.text in token for token in of_figures)
    ]
    missing = [each.text for each in asked if not any(page.tells(each) for page in pages)]
    unread = unread_in(words, covered=[(each.start, each.end) for each in counted])
    missing += [token for token in unread if not any(page.says(token) for page in pages)]
    return list(dict.fromkeys(missing))


def is_year(figure: Figure) -> bool:
    """Whether a number may be a year: four digits and nothing else."""
    return figure.value is not None and re.fullmatch(r"(?:19|20)\d\d", figure.text) is not None


def _rounds_to(exact: float, wanted: Figure) -> bool:
    written = abs(wanted.value or 0.0)
    if _close(exact, written):
        return True
    if n_digits(wanted) < _ROUNDED_DIGITS or is_year(wanted):
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


def _stands_in(token: str, text: str) -> bool:
    """Whether a token stands there whole, and is no part of a longer word or number."""
    at = text.find(token)
    while token and at >= 0:
        before, after = text[max(0, at - 2) : at], text[at + len(token) : at + len(token) + 2]
        if not (_GLUED_BEFORE.search(before) or _GLUED_AFTER.match(after)):
            return True
        at = text.find(token, at + 1)
    return False
