"""What a page's figures are in: the scale said above them, unit and currency beside them."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from rag.answer.figures.figure import Figure
from rag.answer.figures.words import CURRENCIES, SCALES, UNITS, are_one_currency
from rag.page_text import PageText

MONEY = frozenset(CURRENCIES.values())

_SCALE = "|".join(sorted(SCALES, key=len, reverse=True))
_SAID = re.compile(
    rf"(?:\b(?:in|en|of|us|u\.s\.|usd|eur|gbp|chf|inr|cad|aud|rs\.?|dollars?|euros?)|[($\u20ac\u00a3"
    rf"\u00a5\u20b9])\s?({_SCALE}|tausend|milliers)\b"
)
_SAID_BY_LETTER = re.compile(r"(?:[$\u20ac\u00a3\u00a5\u20b9]|\b(?:usd|eur|gbp)) ?(m|mm|mn|bn|k)\b")
_LETTERS = {"m": 1e6, "mm": 1e6, "mn": 1e6, "bn": 1e9, "k": 1e3}
_THOUSANDS = re.compile(r"(?<![\d,.])['\u2019]?000(?:['\u2019]?s)?\b")
# "tens of thousands of people", "1 000": words of prose and digits of other numbers.
_PROSE_AFTER = re.compile(
    r"\s+of (?!(?:u\.?s\.?|us|dollars|euros|rupees|yen|canadian|[$\u20ac\u00a3]))"
)
_EXCEPT = re.compile(r"\bexcept\b([^()]*)$|\b(shares?|units)(?: are)?(?: \w+)? $")
_WORD = re.compile(r"[^\W\d_]{4,}")
_NO_KIND = frozenset(
    "amount amounts number numbers data which reflected reported stated shown presented expressed "
    "where otherwise noted indicated that they million millions thousand thousands "
    "information".split()
)
_PER_SHARE = re.compile(r"\bper[ -](?:\w+ )?(?:share|unit)\b")
_LINES_OF_ROW = 2  # above a row, that may say what it counts
_LINES_OF_HEAD = 40  # above a figure, in which the head of its column stands
_FEW_DIGITS = 3  # with fewer, a page has too many figures that could be meant
_HEAD_SLACK_PT = 6.0


@dataclass(frozen=True)
class _Said:
    """A statement of scale.

    Attributes:
        place: its first word.
        factor: as in 1e6.
        kinds: words of the figures that it is for; empty for all.
    """

    place: int
    factor: float
    kinds: frozenset[str]


class PageMeasures:
    """Scales, units and currencies of one page."""

    def __init__(self, text: PageText) -> None:
        self._text = text

    # --- scales -----------------------------------------------------------------------------------
    @cached_property
    def main_scales(self) -> frozenset[float]:
        """What the page says its figures are in, but for those of a kind of their own."""
        return frozenset(each.factor for each in self._said if not each.kinds)

    @cached_property
    def scales(self) -> frozenset[float]:
        """All that the page says any of its figures are in."""
        return frozenset(each.factor for each in self._said)

    def factors_of(self, figure: Figure, elsewhere: frozenset[float]) -> frozenset[float]:
        """What a figure without a scale of its own may be multiplied by.

        The statement of scale nearest above it counts, and the first of the page where none is
        above; what other pages say counts where this one says nothing.

        Args:
            figure: of the page.
            elsewhere: scales that the document says on other pages.
        """
        line = self._line_of(figure.start)
        row = self._line(line)
        if _PER_SHARE.search(row):
            return frozenset({1.0})
        general = [each for each in self._said if not each.kinds]
        above = [each for each in general if each.place <= figure.start]
        nearest = above[-1:] or general[:1]
        lines = {self._line_of(each.place) for each in nearest}
        found = {each.factor for each in general if self._line_of(each.place) in lines}
        if not general:
            found = set(elsewhere)
        of_kind = [each for each in self._said if each.kinds and each.place <= figure.start]
        for each in of_kind[-1:]:
            heads = range(max(self._line_of(each.place) + 1, line - _LINES_OF_ROW), line + 1)
            if any(kind in self._line(head) for head in heads for kind in each.kinds):
                found.add(each.factor)
        return frozenset({1.0, *found})

    @cached_property
    def _said(self) -> list[_Said]:
        """In order; what is said in prose counts only where nothing is said over tables."""
        lower = self._lower
        surely: list[_Said] = []
        maybe: list[_Said] = []
        for match in _SAID.finditer(lower):
            factor = SCALES.get(match[1], 1e3)
            is_prose = _PROSE_AFTER.match(lower, match.end()) or match.group().startswith("of")
            said = _Said(self._place(match.start()), factor, self._kinds(match.start()))
            (maybe if is_prose else surely).append(said)
        surely += [
            _Said(self._place(match.start()), _LETTERS[match[1]], frozenset())
            for match in _SAID_BY_LETTER.finditer(lower)
        ]
        for match in _THOUSANDS.finditer(lower):
            is_marked = "'" in match.group() or "\u2019" in match.group() or match[0].endswith("s")
            before = lower[: match.start()].rstrip()[-2:]
            is_head = is_marked or before.endswith(("$", "(", "in", "\u20ac", "\u00a3"))
            said = _Said(self._place(match.start()), 1e3, frozenset())
            (surely if is_head else maybe).append(said)
        has_general = any(not each.kinds for each in surely)
        return sorted(surely if has_general else surely + maybe, key=lambda each: each.place)

    def _kinds(self, at: int) -> frozenset[str]:
        """Of what alone a scale is said: "except number of shares, which are in thousands"."""
        match = _EXCEPT.search(self._lower[max(0, at - 120) : at])
        if match is None:
            return frozenset()
        words = _WORD.findall(match[1] or match[2] or "")
        return frozenset(word.removesuffix("s") for word in words if word not in _NO_KIND)

    # --- units and currencies ---------------------------------------------------------------------
    def is_in_unit(self, figure: Figure, unit: str) -> bool:
        """Whether a unit stands in the row of a figure, over its column, or in a head above it."""
        return self._has_beside(figure, lambda place: self._units[place] == unit)

    def is_in_currency(self, figure: Figure, currency: str) -> bool:
        """Whether this money is the one named nearest to a figure.

        In its row, over its column, in a line of scale, or in the nearest line above that names
        any; where no line above does, a number of few digits is in none.
        """

        def is_money(place: int) -> bool:
            named = self._money[place]
            return bool(named) and are_one_currency(currency, named)

        if self._has_beside(figure, is_money):
            return True
        if n_digits(figure) < _FEW_DIGITS:
            return False
        spans = self._text.line_spans
        line = self._line_of(figure.start)
        for near in [*range(line, -1, -1), *range(line + 1, len(spans))]:
            places = [place for place in range(*spans[near]) if self._money[place]]
            if places:
                return any(map(is_money, places))
        return True

    def _has_beside(self, figure: Figure, is_meant: Callable[[int], bool]) -> bool:
        spans = self._text.line_spans
        line = self._line_of(figure.start)
        if any(map(is_meant, range(*spans[line]))):
            return True
        boxes = self._text.boxes
        left = float(boxes[figure.start : figure.end, 0].min()) - _HEAD_SLACK_PT
        right = float(boxes[figure.start : figure.end, 2].max()) + _HEAD_SLACK_PT
        for above in range(line - 1, max(-1, line - 1 - _LINES_OF_HEAD), -1):
            for place in filter(is_meant, range(*spans[above])):
                over = boxes[place, 0] < right and boxes[place, 2] > left
                # "Revenue grew 9%" heads no column; "% of revenue" and "(in tonnes)" do.
                if not _has_digit(self._text.words[place]) and (over or self._is_head(above)):
                    return True
        return False

    def _is_head(self, line: int) -> bool:
        """Whether a line has no figures but years: a title, or the head of a table."""
        numbers = re.findall(r"\d+", self._line(line))
        return all(re.fullmatch(r"(?:19|20)\d\d", number) for number in numbers)

    @cached_property
    def _units(self) -> list[str]:
        words = [word.strip("()[].,;:*") for word in self._text.words]
        found = [_unit(word) for word in words]
        for place, pair in enumerate(pairwise(words)):
            unit = UNITS.get(" ".join(pair).lower(), "")
            if unit:
                found[place] = found[place + 1] = unit
        return found

    @cached_property
    def _money(self) -> list[str]:
        return [_currency(word) for word in self._text.words]

    # --- places -----------------------------------------------------------------------------------
    @cached_property
    def _lower(self) -> str:
        # A letter that is two in lower case would move all that follows.
        return "".join(low if len(low := char.lower()) == 1 else char for char in self._text.text)

    @cached_property
    def _starts(self) -> list[int]:
        starts, at = [], 0
        for word in self._text.words:
            starts.append(at)
            at += len(word) + 1
        return starts

    @cached_property
    def _line_starts(self) -> list[int]:
        return [start for start, _ in self._text.line_spans]

    def _place(self, at: int) -> int:
        return max(0, bisect_right(self._starts, at) - 1)

    def _line_of(self, place: int) -> int:
        return max(0, bisect_right(self._line_starts, place) - 1)

    def _line(self, line: int) -> str:
        start, end = self._text.line_spans[line]
        return self._text.span_text(start, end).lower()


def n_digits(figure: Figure) -> int:
    """Significant digits of a figure, as written."""
    return len(f"{abs(figure.value or 0.0):.{figure.decimals}f}".replace(".", "").lstrip("0"))


def _unit(word: str) -> str:
    if word in UNITS:
        return UNITS[word]
    if "%" in word:
        return "%"
    if word.lower() in ("percentage", "percentages"):
        return "%"
    return UNITS.get(word.lower(), "") if len(word) > 3 else ""


_SIGN = re.compile("|".join(re.escape(each) for each in sorted(CURRENCIES, key=len, reverse=True)))


def _currency(word: str) -> str:
    bare = word.strip("()[].,;:'0123456789-")
    if bare in CURRENCIES:
        return CURRENCIES[bare]
    if bare.lower() in CURRENCIES:
        return CURRENCIES[bare.lower()]
    match = _SIGN.search(word)
    return CURRENCIES[match.group()] if match and not match.group()[-1].isalpha() else ""


def _has_digit(word: str) -> bool:
    return any(map(str.isdigit, word))
