"""Whether an answer gives the figures of the gold answer, digit by digit: beside ANLS, which gives
2013 a 0.75 where 2018 is right.
"""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal

# A minus sign only where no word is before it: 2018-2019 is two years.
_FIGURE = re.compile(
    r"(?P<sign>(?<![\w)])[-\u2212]\s?(?:[$€£¥₹]\s?)?)?"
    r"(?P<digits>\d{1,3}(?:,\d{2,3})*,\d{3}(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?|(?<!\d)\.\d+)"
)
# Accountants' minus, where the text begins with it: elsewhere brackets hold a year.
_BRACKETED = re.compile(r"^\s*[$€£¥₹]?\s*\(\s*[$€£¥₹]?\s*(?=[\d.][\d.,]*\s*%?\s*\))")


def numeric_match(said: str, gold: str) -> float | None:
    """1 where the answer has all figures of the gold answer and no other, else 0; None where the
    gold answer has none.

    Figures are as they are written: commas between thousands and zeros at the end of a fraction
    say nothing, scales and units are not read ("5.8 million" is 5.8).
    """
    wanted = figures_of(gold)
    return float(figures_of(said) == wanted) if wanted else None


def figures_of(text: str) -> frozenset[Decimal]:
    text = _BRACKETED.sub(" -", unicodedata.normalize("NFKC", text))
    return frozenset(
        Decimal(found["digits"].replace(",", "")) * (-1 if found["sign"] else 1)
        for found in _FIGURE.finditer(text)
    )
