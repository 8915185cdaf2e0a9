"""Numbers in other writings: 2.5 million is 2,500,000, and 2,500 in a table of thousands."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal

from rag.language.detection import question_language
from rag.language.folding import fold
from rag.language.numerals import DECIMAL_COMMA, local_numbers

_SCALES = {
    "k": 3, "thousand": 3, "m": 6, "mn": 6, "mm": 6, "million": 6, "millions": 6, "bn": 9, "b": 9,
    "billion": 9, "billions": 9, "tn": 12, "trillion": 12,
}  # fmt: skip
_NUMBER = re.compile(
    r"(?<![\w.,])(?P<sign>[$\u20ac\u00a3\u00a5\u20b9] ?)?"
    r"(?P<digits>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?)"
    rf"(?:[ -]?(?P<scale>{'|'.join(sorted(_SCALES, key=len, reverse=True))})\b)?(?![\w]|[.,]\d)"
)
_WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen twenty"
).split()
_TABLE_UNITS = (3, 6, 9)  # thousands, millions, billions: tables say so in their head
_MOST_CHARS = 20  # longer ones are no amounts, and more than decimal arithmetic is exact for
_LEAST_DIGITS = 5  # a shorter number is as likely a count, a year or a page


def number_writings(question: str) -> Iterable[tuple[str, bool]]:
    """Other writings of a question's numbers, and whether each is surely the same number."""
    text = fold(question)
    if question_language(question) in DECIMAL_COMMA or _has_both_separators(text):
        yield from ((number, True) for number in local_numbers(text))
    for match in _NUMBER.finditer(text):
        if len(match["digits"]) > _MOST_CHARS:
            continue
        value = Decimal(match["digits"].replace(",", ""))
        # A letter alone is a unit only of money or of a decimal: 3M is a company.
        if match["scale"] and (len(match["scale"]) > 1 or match["sign"] or "." in match["digits"]):
            value *= Decimal(10) ** _SCALES[match["scale"]]
            yield _plain(value), True
        if len(str(int(value))) >= _LEAST_DIGITS:
            for power in _TABLE_UNITS:
                part = value / Decimal(10) ** power
                if part >= 1 and part == part.quantize(Decimal("0.1")):
                    yield _plain(part), False
        elif "." in match["digits"]:
            # Reports give a rate with one decimal or two.
            yield _plain(value), True
            yield f"{value.normalize():.2f}" if value == round(value, 2) else _plain(value), False
    for word in re.findall(r"(?<![\w.,$-])(?:[a-z]+|\d{1,2})(?![\w%-]|[.,]\d)", text):
        if word in _WORDS[2:]:
            yield str(_WORDS.index(word)), False
        elif word.isdigit() and 2 <= int(word) < len(_WORDS):
            yield _WORDS[int(word)], False


def _has_both_separators(text: str) -> bool:
    """1.234,5: a comma after a point stands before the decimals in any language."""
    return re.search(r"\d\.\d{3},\d", text) is not None


def _plain(value: Decimal) -> str:
    return f"{value.normalize():f}"
