"""Years and quarters in other writings: FY22 is fiscal 2022, Q2 is the second quarter."""

from __future__ import annotations

import re
from collections.abc import Iterable

_ORDINALS = {"1": "first", "2": "second", "3": "third", "4": "fourth"}
_NUMBERS = {word: number for number, word in _ORDINALS.items()}
_FISCAL = re.compile(r"\bfy ?'?(\d{4}|\d{2})\b")
_FISCAL_WORDS = re.compile(r"\bfiscal(?: year)?(?: ended| ending)? (\d{4})\b")
_SPAN = re.compile(r"\b((?:19|20)\d\d) ?[-/\u2013] ?(\d{2})\b(?![-/\u2013.\d])")
_QUARTER = re.compile(r"\bq([1-4])\b|\b([1-4])q(?=\d|\b)|\bq([1-4])(?=fy|'?\d{2})")
_QUARTER_WORDS = re.compile(r"\b(first|second|third|fourth|1st|2nd|3rd|4th) quarter\b")
_HALF = re.compile(r"\bh([12])\b|\b([12])h(?=\d|\b)")
_SHORT_YEAR = re.compile(r"(?:\bq[1-4] ?|\b[1-4]q ?|\bh[12] ?|\b[12]h ?)'?(\d{2})\b")


def period_writings(question: str) -> Iterable[tuple[str, bool]]:
    """Other writings of a question's periods, and whether each is surely the same."""
    text = question.lower().replace("\u2019", "'")
    for year in _FISCAL.findall(text):
        yield "fiscal", False
        yield (f"20{year}", True) if len(year) == 2 else (year[2:], False)
    for year in _FISCAL_WORDS.findall(text):
        yield from ((f"fy {year}", False), (year[2:], False))
    for first, last in _SPAN.findall(text):
        if int(last) == (int(first) + 1) % 100:
            yield str(int(first) + 1), True
    for found in _QUARTER.findall(text):
        number = next(filter(None, found))
        yield from ((_ORDINALS[number], True), ("quarter", True))
    for word in _QUARTER_WORDS.findall(text):
        yield from (("q", True), (_NUMBERS.get(word, word[0]), False))
    for found in _HALF.findall(text):
        yield from ((_ORDINALS[next(filter(None, found))], True), ("half", True))
    for year in _SHORT_YEAR.findall(text):
        yield f"20{year}", True
