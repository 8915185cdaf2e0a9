"""Scale and currency as tables say them: "(in millions)", "$ in 000s", "Rs. in lacs"."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rag.answer.figures.words import SCALES
from rag.answer.passages import Span
from rag.page_text import PageText

_SIZE = (
    r"(?P<size>hundred|thousand|lac|lakh|million|crore|billion|trillion)s?\b|"
    r"(?P<zeros>['\u2019]?000s?\b)|(?P<short>(?:mn|bn)\b)"
)
_MONEY = (
    r"U\.?S\.?\s*dollars?|US\$|dollars?|Rs\.?|rupees?|INR|USD|euros?|EUR|GBP|pounds?|"
    r"[$\u20ac\u00a3\u00a5\u20b9]"
)
_IN = re.compile(
    rf"(?P<money>{_MONEY})?(?:\s*(?:and\s+(?:shares|units)|amounts?|figures?|values?|shares))*\s*"
    rf"\bin\s+(?:U\.?S\.?\s*)?(?P<money2>{_MONEY})?\s*(?:{_SIZE})(?:\s+of\s+(?P<money3>{_MONEY}))?",
    re.IGNORECASE,
)
_BRACKETED = re.compile(
    rf"\(\s*(?P<money>{_MONEY})?\s*(?:{_SIZE})\s*(?:of\s+)?(?P<money2>{_MONEY})?(?P<money3>)\s*[,;)]",
    re.IGNORECASE,
)
_CURRENCIES = {
    "rs": "Rs.",
    "rs.": "Rs.",
    "rupee": "Rs.",
    "inr": "INR",
    "usd": "$",
    "us$": "$",
    "eur": "EUR",
    "euro": "EUR",
    "gbp": "GBP",
    "pound": "GBP",
}


@dataclass(frozen=True)
class Scale:
    """What figures are to be multiplied by, and what they count."""

    factor: float
    currency: str
    span: Span


def scale_in(text: PageText, span: Span) -> Scale | None:
    """The first statement of scale in words that follow each other; None where there is none."""
    start, end = span
    words = text.words[start:end]
    said = " ".join(words)
    found = _IN.search(said) or _BRACKETED.search(said)
    if found is None:
        return None
    size = (found["size"] or found["short"] or "000").lower()
    first = said.count(" ", 0, found.start() + (said[found.start()] == " "))
    last = said.count(" ", 0, found.end()) + 1
    money = found["money"] or found["money2"] or found["money3"] or ""
    return Scale(
        1e3 if size == "000" else SCALES[size],
        _currency(money),
        (start + first, min(end, start + last)),
    )


def _currency(money: str) -> str:
    name = money.lower().replace(" ", "")
    if "dollar" in name:
        return "$"
    return _CURRENCIES.get(name, _CURRENCIES.get(name.rstrip("s"), money.strip()))
