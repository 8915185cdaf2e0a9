"""The figures of a table's cells, with the marks around them that may be words of their own.

Stricter than figures of running text in what a figure is, and wider in what a dash is: in a cell it
stands for nothing, which is counted as 0.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from rag.answer.figures.read import Figure

_DASHES = "-\u2010\u2011\u2012\u2013\u2014\u2015\u2212"
_SIGN = r"(?:US\$|A\$|C\$|HK\$|Rs\.?|INR|USD|EUR|GBP|[$\u20ac\u00a3\u00a5\u20b9])"
_NUMBER = r"(?:\d{1,3}(?:,\d{2,3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)"
# A sign of money may stand before, after or inside the bracket or the minus.
_WHOLE = re.compile(
    rf"(?P<open>[(\[]?)(?P<minus>[{_DASHES}+~<>\u2264\u2265\u2248]?)(?P<sign>{_SIGN}?)"
    rf"(?P<open2>\(?)(?P<minus2>[{_DASHES}]?)(?P<number>{_NUMBER})"
    r"(?P<percent>%?)(?P<suffix>x|bn|mn|tn|bps|pp|pts|[kKmMbB])?(?P<close>[)\]]*)(?P<percent2>%?)"
    r"(?P<note>(?:\([a-z0-9]{1,2}\)|[*\u2020\u2021\u00b9\u00b2\u00b3])*)"
)
_ONLY_DASHES = re.compile(rf"{_SIGN}?\(?(?:[{_DASHES}]{{1,3}})\)?%?")
_OPENING = re.compile(rf"\(?[{_DASHES}]?{_SIGN}\(?|[(\[]")
_CLOSING = re.compile(r"%?[)\]]%?|%|percent|pts?\.?|bps|x")
_SCALES = {"k": 1e3, "m": 1e6, "mn": 1e6, "b": 1e9, "bn": 1e9, "tn": 1e12}
_REMEMBERED = 1 << 14  # words: a page has few that differ
_YEAR = re.compile(r"(?:19|20)\d\d\*?")


@lru_cache(_REMEMBERED)
def is_figure(word: str) -> bool:
    """Whether a word is a figure or a dash by itself, marks around it included."""
    return _WHOLE.fullmatch(word) is not None or is_dash(word)


@lru_cache(_REMEMBERED)
def is_number(word: str) -> bool:
    return _WHOLE.fullmatch(word) is not None


@lru_cache(_REMEMBERED)
def is_dash(word: str) -> bool:
    return _ONLY_DASHES.fullmatch(word) is not None


def is_year(word: str) -> bool:
    """A year between 1900 and 2099 with nothing around it but a mark of a note."""
    return _YEAR.fullmatch(word) is not None


@lru_cache(_REMEMBERED)
def opens(word: str) -> bool:
    """A mark that belongs to the figure after it: `$`, `(`, `Rs.`."""
    return _OPENING.fullmatch(word) is not None


@lru_cache(_REMEMBERED)
def closes(word: str) -> bool:
    """A mark that belongs to the figure before it: `)`, `%`, `)%`."""
    return _CLOSING.fullmatch(word) is not None


def hangs_over(word: str) -> int:
    """Characters at the end that stand right of a column's edge: `)`, `%`, marks of notes."""
    found = _WHOLE.fullmatch(word)
    if found is None:
        return 0
    return len(word) - max(found.end("number"), found.end("suffix"))


def cell_figure(words: Sequence[str], start: int, end: int) -> Figure | None:
    """The figure that `words[start:end]` are, each of them: one number or dash with its marks.

    Returns:
        The figure in the places given; None where they are anything else.
    """
    parts = words[start:end]
    text = " ".join(parts)
    if sum(any(map(str.isdigit, part)) for part in parts) > 1:
        return None
    joined = "".join(parts)
    has_percent_word = bool(parts) and parts[-1] == "percent"
    if has_percent_word:
        joined = joined.removesuffix("percent") + "%"
    if is_dash(joined):
        sign = re.match(_SIGN, joined)
        unit = sign.group() if sign else "%" if joined.endswith("%") else ""
        return Figure(text, start, end, 0.0, unit=unit)
    found = _WHOLE.fullmatch(joined)
    if found is None:
        return None
    number = found["number"]
    is_bracketed = bool(found["open"] or found["open2"]) and bool(found["close"])
    minus = found["minus"] or found["minus2"]
    is_negative = is_bracketed or (bool(minus) and minus in _DASHES)
    value = float(number.replace(",", ""))
    suffix = (found["suffix"] or "").lower()
    is_scale = suffix in _SCALES
    percent = found["percent"] or found["percent2"]
    return Figure(
        text,
        start,
        end,
        -value if is_negative and value else value,
        scale=_SCALES[suffix] if is_scale else 1.0,
        decimals=len(number.partition(".")[2]),
        unit="%" if percent else found["sign"] or ("" if is_scale else suffix),
    )
