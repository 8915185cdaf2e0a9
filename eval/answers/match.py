"""Is what was said the gold answer? Which gold answers can be judged by a rule, and that rule.

Numbers are read here by themselves and not by the code that answers: the two sides of an equality
must not share a mistake. The rule is written down for people in docs/answers.md.
"""

from __future__ import annotations

import math
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Literal

Kind = Literal["number", "date", "name"]
KINDS: tuple[Kind, ...] = ("number", "date", "name")

_NAME_WORDS = 6
_TOLERANCE = (
    0.01  # MMLongBench-Doc's, of its floats; here only of those that are said to be rounded
)
_YEARS = range(1900, 2101)

_BOOLEAN = re.compile(r"(yes|no|true|false)\b", re.IGNORECASE)
_LIST = re.compile(r"\[.*\]", re.DOTALL)
# "Inc." and "D." end names; a word of four small letters and a full stop ends a sentence.
_SENTENCE = re.compile(r"[?!]$|[a-z]{4}\.$")


def countable(gold: str) -> Kind | None:
    """The kind of a gold answer that is a single number, date or name; None for any other."""
    text = _plain(gold)
    if not text or _LIST.fullmatch(text) or _BOOLEAN.match(text):
        return None
    if _date(text) is not None:
        return "date"
    if _quantity(text) is not None:
        return "number"
    begins_as_name = text[0].isupper() or text[0].isdigit()
    is_list = ";" in text or "\n" in text or text.count(",") > 1
    is_short = len(text.split()) <= _NAME_WORDS
    return (
        "name" if begins_as_name and is_short and not is_list and not _is_sentence(text) else None
    )


def _is_sentence(text: str) -> bool:
    return _SENTENCE.search(text) is not None


def counted_table(golds: Mapping[str, str]) -> str:
    """Ids and kinds of the gold answers that count, with tabs between; as in eval/counted/."""
    kinds = ((query_id, countable(gold)) for query_id, gold in golds.items())
    rows = [f"{query_id}\t{kind}\n" for query_id, kind in kinds if kind is not None]
    return "".join(["query_id\tkind\n", *rows])


def matches(said: str, gold: str, *, question: str = "") -> bool:
    """Whether an answer is the gold answer: exactly so, or of equal value.

    Args:
        said: a short answer, the value, date or name alone; nothing matches an empty one.
        gold: as the dataset has it.
        question: tells units ("in USD millions") and rounding that the gold answer leaves out.
    """
    said_text, gold_text = _plain(said), _plain(gold)
    gold_day = _date(gold_text)
    if gold_day is not None:
        said_day = _date(said_text)
        return said_day is not None and gold_day.holds(said_day)
    gold_number = _quantity(gold_text)
    if gold_number is None:
        named = _name(gold_text)
        return bool(named) and _name(said_text) == named
    # As it stands first: units in capitals (V, GHz) are none in small letters.
    said_number = _quantity(said_text) or _quantity(said_text.lower())
    if said_number is not None:
        return _equal(said_number, gold_number, _Asked.of(question))
    said_day = _date(said_text)
    # "2022" is a number until somebody answers it with a day.
    return said_day is not None and gold_number.is_year and said_day.year == gold_number.value


# --- numbers --------------------------------------------------------------------------------------
_SCALES = {
    "hundred": 1e2,
    "thousand": 1e3,
    "lac": 1e5,
    "lakh": 1e5,
    "million": 1e6,
    "mn": 1e6,
    "crore": 1e7,
    "billion": 1e9,
    "bn": 1e9,
    "trillion": 1e12,
}
# One letter is a scale only beside a currency: "5 m" are metres.
_SHORT_SCALES = {"k": 1e3, "m": 1e6, "mm": 1e6, "b": 1e9, "t": 1e12}
_CURRENCIES = {
    **dict.fromkeys(("$", "us$", "usd", "dollar", "dollars"), "$"),
    **dict.fromkeys(("€", "eur", "euro", "euros"), "€"),
    **dict.fromkeys(("£", "gbp", "pound", "pounds"), "£"),
    **dict.fromkeys(("¥", "jpy", "yen"), "¥"),
    **dict.fromkeys(("₹", "inr", "rs", "rs.", "rupee", "rupees"), "₹"),
}
_NUMBER_WORDS = {
    word: number
    for number, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve".split()
    )
}

_CURRENCY = r"us\$|[$€£¥₹]|usd\b|eur\b|gbp\b|jpy\b|inr\b|rs\.?(?=[\s\d])"
_QUANTITY = re.compile(
    rf"""
    (?i:(?P<about>about|approximately|approx\.?|around|nearly|roughly|~|≈)\s*)?
    (?i:(?:fy|fiscal\s+year|fiscal)\s*)?
    (?P<open>\()?\s*(?P<sign>[-+])?\s*
    (?i:(?P<currency>{_CURRENCY}))?\s*
    (?P<open_inside>\()?\s*(?P<sign_inside>[-+])?\s*
    (?P<number>\d{{1,3}}(?:,\d{{2,3}})*,\d{{3}}(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)
    (?i:\s*(?P<short_scale>mm|[kmbt])(?![\w]))?
    (?P<close>\))?
    (?i:\s*(?P<percent>%|percent\b|per\s+cent\b|percentage\s+points?\b|pp\b))?
    (?i:[\s-]*(?P<scale>{"|".join(_SCALES)})s?(?![\w]))?
    (?P<close_after>\))?
    (?:\s*(?P<attached>°[CF]|km|kg|cm|GHz|MHz|kHz|Hz|GB|MB|TB|KB|kB|ms|V|kW|W|x)(?![\w])
      |\s+(?P<unit>(?:[a-z€£°][\w.°/²³'-]*|USD|EUR|GBP|INR|JPY)(?:\s+[a-z][\w./'-]*){{0,2}}))?
    """,
    re.VERBOSE,
)


@dataclass(frozen=True)
class _Quantity:
    """A number that is all of a text.

    Attributes:
        value: as written, sign read, scale and percent sign not.
        scale: 1e6 for "million"; None where none is said.
        decimals: of the fraction, without zeros at its end.
        currency: one sign for all its writings; empty for none.
        unit: other words behind it.
        is_about: the text says that it is rounded.
    """

    value: float
    scale: float | None
    decimals: int
    is_percent: bool
    currency: str
    unit: str
    is_about: bool

    @property
    def is_year(self) -> bool:
        bare = not (self.is_percent or self.currency or self.unit or self.scale or self.decimals)
        return bare and self.value in _YEARS


def _quantity(text: str) -> _Quantity | None:
    first, _, rest = text.partition(" ")
    if first in _NUMBER_WORDS:
        text = f"{_NUMBER_WORDS[first]} {rest}".strip()
    found = _QUANTITY.fullmatch(text)
    if found is None:
        return None
    opened = bool(found["open"]) + bool(found["open_inside"])
    if opened != bool(found["close"]) + bool(found["close_after"]):
        return None
    number = found["number"].replace(",", "")
    is_negative = opened > 0 or "-" in (found["sign"] or "") + (found["sign_inside"] or "")
    words = (found["unit"] or "").lower().split()
    currency = _CURRENCIES.get((found["currency"] or "").lower(), "")
    if words and words[-1] in _CURRENCIES:
        currency = currency or _CURRENCIES[words.pop()]
    scale = _SCALES.get((found["scale"] or "").lower())
    unit = " ".join(word.rstrip("s") for word in words) or (found["attached"] or "").lower()
    if found["short_scale"]:
        short = found["short_scale"].lower()
        if currency:
            scale = scale or _SHORT_SCALES[short]
        elif unit:
            return None
        else:
            unit = short
    return _Quantity(
        value=-float(number) if is_negative else float(number),
        scale=scale,
        decimals=len(number.partition(".")[2].rstrip("0")),
        is_percent=found["percent"] is not None,
        currency=currency,
        unit=unit,
        is_about=found["about"] is not None,
    )


@dataclass(frozen=True)
class _Asked:
    """What a question says of how its answer is written.

    Attributes:
        scale: 1e6 for "in USD millions"; None where it names none.
    """

    scale: float | None
    is_percent: bool
    is_rounded: bool

    @classmethod
    def of(cls, question: str) -> _Asked:
        text = question.lower()
        scale = re.search(
            rf"\b(?:in|many)\s+(?:[^\s.?]+\s+){{0,2}}?({'|'.join(_SCALES)})s?\b", text
        )
        return cls(
            scale=None if scale is None else _SCALES[scale[1]],
            is_percent="percent" in text or "%" in text,
            is_rounded=re.search(r"\bround|\bapproximat", text) is not None,
        )


def _equal(said: _Quantity, gold: _Quantity, asked: _Asked) -> bool:
    if said.currency and gold.currency and said.currency != gold.currency:
        return False
    if said.unit and gold.unit and said.unit != gold.unit:
        return False
    return any(
        _close(value / scale * part, gold, asked, is_scaled=scale != 1)
        for scale in _scales_of_gold(gold, asked)
        for value in _values_said(said, gold, asked)
        for part in _percent_factors(said, gold, asked)
    )


def _scales_of_gold(gold: _Quantity, asked: _Asked) -> list[float]:
    if gold.scale is not None:
        return [gold.scale]
    return [1.0] if asked.scale is None else [asked.scale, 1.0]


def _values_said(said: _Quantity, gold: _Quantity, asked: _Asked) -> list[float]:
    """What was said, out in full: with its own scale, or with that of the question."""
    if said.scale is None:
        return [said.value] if asked.scale is None else [said.value * asked.scale, said.value]
    if gold.scale is None and asked.scale is None and gold.value:
        # "1,383 million" for a gold 1383 that does not say that it is in millions.
        return [said.value * said.scale, said.value]
    return [said.value * said.scale]


def _percent_factors(said: _Quantity, gold: _Quantity, asked: _Asked) -> list[float]:
    if said.is_percent == gold.is_percent:
        return [1.0]
    if gold.is_percent:
        return [1.0, 100.0]
    return [0.01, 1.0] if asked.is_percent else [0.01]


def _close(value: float, gold: _Quantity, asked: _Asked, *, is_scaled: bool) -> bool:
    """Equal, or rounded to it; a count must be equal."""
    if not gold.value:
        # Whatever is small, or is read in too large a unit, is near to nothing.
        return value == 0
    difference = abs(value - gold.value)
    if difference <= 1e-9 * max(1.0, abs(gold.value)):
        return True
    is_measured = gold.decimals > 0 or gold.is_percent or is_scaled or asked.is_rounded
    if is_measured and difference <= 0.5 * 10.0**-gold.decimals * (1 + 1e-9):
        return True
    is_rounded = gold.is_about or (asked.is_rounded and gold.decimals > 0)
    return is_rounded and math.isclose(value, gold.value, rel_tol=_TOLERANCE)


# --- dates ----------------------------------------------------------------------------------------
_MONTHS = {
    name: number
    for number, names in enumerate(
        "january jan|february feb|march mar|april apr|may|june jun|july jul|august aug|"
        "september sept sep|october oct|november nov|december dec".split("|"),
        start=1,
    )
    for name in names.split()
}
_MONTH = rf"(?P<month>{'|'.join(_MONTHS)})\.?"
_DATES = tuple(
    re.compile(rf"(?:\w+day,?\s+)?{pattern}", re.IGNORECASE)
    for pattern in (
        r"(?P<year>\d{4})-(?P<month>\d{1,2})-(?P<day>\d{1,2})",
        r"(?P<month>\d{1,2})/(?P<day>\d{1,2})/(?P<year>\d{4})",
        rf"{_MONTH}\s+(?P<day>\d{{1,2}})(?:st|nd|rd|th)?\s*,?\s+(?P<year>\d{{4}})",
        rf"(?P<day>\d{{1,2}})(?:st|nd|rd|th)?\s+(?:of\s+)?{_MONTH},?\s+(?P<year>\d{{4}})",
        rf"{_MONTH},?\s+(?P<year>\d{{4}})",
    )
)


@dataclass(frozen=True)
class _Date:
    """A day, or a month (`day` is None)."""

    year: int
    month: int
    day: int | None

    def holds(self, other: _Date) -> bool:
        """The same, or a day of this month."""
        same_month = (self.year, self.month) == (other.year, other.month)
        return same_month and self.day in (None, other.day)


def _date(text: str) -> _Date | None:
    for pattern in _DATES:
        if (found := pattern.fullmatch(text)) is None:
            continue
        year, named = int(found["year"]), found["month"]
        month = int(named) if named.isdigit() else _MONTHS[named.lower()]
        day = int(found["day"]) if "day" in pattern.groupindex else None
        try:
            date(year, month, day or 1)
        except ValueError:
            continue
        return _Date(year, month, day)
    return None


# --- words ----------------------------------------------------------------------------------------
def _plain(text: str) -> str:
    """One writing of dashes and quotes, single spaces."""
    text = unicodedata.normalize("NFKC", text)
    text = re.sub("[\u2010-\u2015\u2212]", "-", text)
    text = re.sub("[\u2018\u2019]", "'", text)
    return " ".join(text.split())


def _name(text: str) -> str:
    """Without case, punctuation, articles and white space; digits apart stay apart."""
    words = re.sub(r"[^\w]|_", " ", text.casefold()).split()
    # The last word is no article: "Recruiter A".
    kept = [word for word in words[:-1] if word not in ("a", "an", "the")] + words[-1:]
    return re.sub(r"(?<!\d) | (?!\d)", "", " ".join(kept))


# --- measures of wording --------------------------------------------------------------------------
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def _squad_words(text: str) -> list[str]:
    bare = text.lower().translate(_PUNCTUATION)
    return [word for word in bare.split() if word not in ("a", "an", "the")]


def exact_match(said: str, gold: str) -> float:
    """1 where both are equal in lower case without punctuation and articles, else 0.

    Source: Rajpurkar et al. 2016, SQuAD (arXiv:1606.05250), section 6.1.
    """
    return float(_squad_words(said) == _squad_words(gold))


def token_f1(said: str, gold: str) -> float:
    """Harmonic mean of the shares of words that both have; as `exact_match` where one has none."""
    ours, theirs = _squad_words(said), _squad_words(gold)
    if not ours or not theirs:
        return float(ours == theirs)
    common = sum((Counter(ours) & Counter(theirs)).values())
    return 2 * common / (len(ours) + len(theirs))


def anls(said: str, gold: str) -> float:
    """1 minus the edit distance over the longer length; 0 where half or more would be edited.

    Source: Biten et al. 2019, Scene Text Visual Question Answering (arXiv:1905.13648), section 4.
    """
    ours, theirs = said.strip().lower(), gold.strip().lower()
    longest = max(len(ours), len(theirs))
    if not longest:
        return 1.0
    if abs(len(ours) - len(theirs)) * 2 >= longest:  # no fewer edits than that
        return 0.0
    edited = edit_distance(ours, theirs) / longest
    return 1 - edited if edited < 0.5 else 0.0


def edit_distance(ours: str, theirs: str) -> int:
    row = list(range(len(theirs) + 1))
    for i, mine in enumerate(ours, start=1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(theirs, start=1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (mine != other))
    return row[-1]
