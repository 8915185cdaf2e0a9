"""Quotes that a page says in other signs: another writing of the same letters and digits.

Read as units, which are runs of letters, runs of digits and single marks, so that white space
beside a mark or between a letter and a digit does not count ("1 ,234"), and that between two words
does ("per cent" is not "percent"). A hyphen between letters joins them wherever the line ends. Only
where OCR read the page may letters differ, and never a digit.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from typing import NamedTuple

from rag.answer.figures.words import SCALES
from rag.page_text import PageText

Span = tuple[int, int]  # (start, end) word indices

ENDS = ".,;:!?\"'\u201c\u201d\u2018\u2019"
"""Marks that may be missing or added after a quote."""
OPENINGS = "\"'\u201c\u2018"
"""The same before it; no full stop, as ".5" is another number than "5"."""

HYPHENS = ("-", "\u00ad", "\u2010")
"""What a word divided over two lines may end with."""

_LETTERS_PER_EDIT = 8
_LEAST_EDITED = 4  # letters; "Mar" for "May" is another word
_MARKS_AROUND = 4  # of a word of the page, at an end of the quote
_FEW_WORDS = 4  # so few are looked for at every place of the page

_UNSPACED = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u9fff"
    r"\uac00-\ud7af\uf900-\ufaff"
)
_UNIT = re.compile(rf"[{_UNSPACED}]|(?:(?![{_UNSPACED}])[^\W\d_])+|\d+|\S")
_HYPHEN_WITHIN = re.compile(r"(?<=[^\W\d_])-(?=[^\W\d_])")
_HYPHEN_AFTER = re.compile(r"[^\W\d_]-$")
_DIGITS = re.compile(r"\d(?:[\d.,]*\d)?")


class _Signs(dict[int, str]):
    """For `str.translate`: compatibility forms opened, invisible characters dropped.

    Raised digits and fractions stay: "10\u00b2" is not "102".
    """

    def __missing__(self, code: int) -> str:
        char = chr(code)
        category = unicodedata.category(char)
        if category == "No":
            plain = char
        elif category == "Cf":
            plain = ""
        else:
            plain = unicodedata.normalize("NFKC", char)
        self[code] = plain
        return plain


_SAME_SIGNS = _Signs(
    {ord(char): "'" for char in "\u2018\u2019\u201a\u201b\u2032`\u00b4"}
    | {ord(char): '"' for char in "\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb"}
    | {ord(char): "-" for char in "\u2010\u2011\u2012\u2013\u2212\ufe63\uff0d"}
    | {ord(char): "\u2014" for char in "\u2014\u2015"}
)


def same_signs(word: str) -> str:
    """One writing for letters, quotation marks and dashes that look the same."""
    if word.isascii():
        return word.replace("`", "'") if "`" in word else word
    return unicodedata.normalize("NFC", word).translate(_SAME_SIGNS)


class _Token(NamedTuple):
    """A word, or two that a hyphen joins: its units and the words it is made of."""

    units: tuple[str, ...]
    start: int
    end: int

    @property
    def core(self) -> str:
        return self.units[0] if len(self.units) == 1 else "".join(self.units)


def _tokens(words: Iterable[str]) -> list[_Token]:
    found: list[_Token] = []
    joined, start, number = "", 0, -1
    for number, raw in enumerate(words):
        word = raw if raw.isalnum() and raw.isascii() else same_signs(raw)
        if joined and word[:1].isalpha():
            word = joined + word
        else:
            if joined:
                found.append(_Token(_units(joined + "-"), start, number))
            start = number
        joined = word[:-1] if _HYPHEN_AFTER.search(word) else ""
        if not joined:
            found.append(_Token(_units(word), start, number + 1))
    if joined:
        found.append(_Token(_units(joined + "-"), start, number + 1))
    return found


@lru_cache(maxsize=8192)
def _units(word: str) -> tuple[str, ...]:
    return tuple(_UNIT.findall(_HYPHEN_WITHIN.sub("", word)))


class _Sequence:
    """Words or units of a page as one string, a character for each that differs."""

    def __init__(self, items: Sequence[str]) -> None:
        self._code: dict[str, str] = {}
        for item in items:
            self._code.setdefault(item, chr(len(self._code)))
        self._coded = "".join(self._code[item] for item in items)

    def places(self, wanted: Sequence[str]) -> list[int]:
        """Where these stand in a row, ascending."""
        codes = [self._code.get(item) for item in wanted]
        known = [code for code in codes if code is not None]
        if len(known) < len(codes):
            return []
        needle, found = "".join(known), list[int]()
        at = self._coded.find(needle)
        while at >= 0:
            found.append(at)
            at = self._coded.find(needle, at + 1)
        return found


class QuotedPage:
    """A page in which quotes are looked for; what is made of its words is made once."""

    def __init__(self, text: PageText) -> None:
        self.text = text
        self._is_ocr = text.is_ocr

    @cached_property
    def _words(self) -> _Sequence:
        return _Sequence(self.text.words)

    @cached_property
    def _divided(self) -> list[int]:
        """Words that may go on in the next line."""
        return [at for at, word in enumerate(self.text.words) if word.endswith(HYPHENS)]

    @cached_property
    def _tokens(self) -> list[_Token]:
        return _tokens(self.text.words)

    @cached_property
    def _units(self) -> list[str]:
        return [unit for token in self._tokens for unit in token.units]

    @cached_property
    def _token_of(self) -> list[int]:
        return [n for n, token in enumerate(self._tokens) for _ in token.units]

    @cached_property
    def _coded_units(self) -> _Sequence:
        return _Sequence(self._units)

    @cached_property
    def _of_length(self) -> dict[int, list[int]]:
        """Numbers of tokens by their length."""
        found: dict[int, list[int]] = {}
        for number, token in enumerate(self._tokens):
            found.setdefault(len(token.core), []).append(number)
        return found

    def starts(self, first: str, wanted: Sequence[str]) -> list[int]:
        """Words from which the page may say `wanted` word for word; its first reads `first`."""
        words, n = self.text.words, len(wanted)
        if n < 3:
            begun = [at for at, word in enumerate(words) if first in word]
        else:
            inner = self._words.places(wanted[1:-1])
            begun = [at - 1 for at in inner if at and first in words[at - 1]]
        divided = {
            at
            for end in self._divided
            for at in range(max(0, end - n + 1), end + 1)
            if at == end or first in words[at] or words[at].endswith(HYPHENS)
        }
        return sorted(divided.union(begun))

    def places(self, words: Sequence[str]) -> list[Span]:
        """Where the page says these words, in its order; places of OCR only where no other is."""
        wanted = _tokens(words)
        units = _bare([unit for token in wanted for unit in token.units])
        if not any(any(map(str.isalnum, unit)) for unit in units):
            return []
        return self._in_signs(units) or self._in_ocr(wanted)

    # --- the same letters -------------------------------------------------------------------------
    def _in_signs(self, wanted: list[str]) -> list[Span]:
        n, first = len(wanted), _first_lowered(wanted[0])
        if n == 1:
            starts = [at for at, unit in enumerate(self._units) if _first_lowered(unit) == first]
        else:
            starts = [at - 1 for at in self._coded_units.places(wanted[1:]) if at]
        return [
            (self._tokens[self._token_of[at]].start, self._tokens[self._token_of[at + n - 1]].end)
            for at in starts
            if _first_lowered(self._units[at]) == first
            and self._begins_word(at)
            and self._ends_word(at + n - 1)
        ]

    def _begins_word(self, at: int) -> bool:
        token = self._token_of[at]
        while at > 0 and self._token_of[at - 1] == token:
            at -= 1
            if self._units[at] not in OPENINGS:
                return False
        return True

    def _ends_word(self, at: int) -> bool:
        token = self._token_of[at]
        while at + 1 < len(self._units) and self._token_of[at + 1] == token:
            at += 1
            if self._units[at] not in ENDS:
                return False
        return True

    # --- letters that OCR may have read wrong -----------------------------------------------------
    def _in_ocr(self, wanted: list[_Token]) -> list[Span]:
        if not self._is_ocr.any():
            return []
        cores = [token.core for token in wanted]
        cores[0] = cores[0].lstrip(OPENINGS)
        cores[-1] = cores[-1].rstrip(ENDS)
        found: list[Span] = []
        for start in self._starts(cores):
            shown = self._tokens[start : start + len(cores)]
            if len(shown) == len(cores) and self._are_near(cores, shown):
                found.append((shown[0].start, shown[-1].end))
        return found

    def _starts(self, cores: list[str]) -> Iterable[int]:
        """Tokens at which so much stands unchanged that the rest may be misread."""
        if len(cores) <= _FEW_WORDS:
            # The longest word tells most; marks around it are no letters of it.
            at = max(range(len(cores)), key=lambda number: len(cores[number]))
            length = len(cores[at])
            most = length // _LETTERS_PER_EDIT + 1
            ends = _MARKS_AROUND if at in (0, len(cores) - 1) else 0
            return sorted(
                number - at
                for near in range(length - most, length + most + ends + 1)
                for number in self._of_length.get(near, ())
                if number >= at
            )
        places: dict[str, list[int]] = {}
        for at, core in enumerate(cores):
            places.setdefault(core, []).append(at)
        votes: dict[int, int] = {}
        for number, token in enumerate(self._tokens):
            for at in places.get(token.core, ()):
                votes[number - at] = votes.get(number - at, 0) + 1
        return sorted(start for start, n in votes.items() if start >= 0 and 3 * n >= len(cores))

    def _are_near(self, cores: list[str], shown: list[_Token]) -> bool:
        allowed = sum(sum(map(str.isalpha, core)) for core in cores) // _LETTERS_PER_EDIT
        last = len(cores) - 1
        for at, (core, token) in enumerate(zip(cores, shown, strict=True)):
            read = token.core.lstrip(OPENINGS) if at == 0 else token.core
            read = read.rstrip(ENDS) if at == last else read
            if core == read or (at == 0 and _first_lowered(core) == _first_lowered(read)):
                continue
            if not self._is_ocr[token.start : token.end].any():
                return False
            n_letters = sum(map(str.isalpha, core))
            most = min(allowed, max(1, n_letters // _LETTERS_PER_EDIT))
            if n_letters < _LEAST_EDITED or _DIGITS.findall(core) != _DIGITS.findall(read):
                return False
            if core.lower() in SCALES:  # a million is no misread billion
                return False
            edits = _edits(core, read, most=most)
            if edits > most:
                return False
            allowed -= edits
        return True


def _bare(units: list[str]) -> list[str]:
    """Without the marks that may be missing or added around a quote."""
    start, end = 0, len(units)
    while start < end and units[start] in OPENINGS:
        start += 1
    while end > start and units[end - 1] in ENDS:
        end -= 1
    return units[start:end]


def _first_lowered(unit: str) -> str:
    return unit[:1].lower() + unit[1:]


def _edits(first: str, second: str, *, most: int) -> int:
    """Levenshtein distance, or more than `most` where it is more."""
    if abs(len(first) - len(second)) > most:
        return most + 1
    before = list(range(len(second) + 1))
    for row, one in enumerate(first, start=1):
        now = [row]
        for column, other in enumerate(second, start=1):
            now.append(min(before[column] + 1, now[-1] + 1, before[column - 1] + (one != other)))
        if min(now) > most:
            return most + 1
        before = now
    return before[-1]
