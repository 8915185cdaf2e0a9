"""What a question of a list asks for: a count, an order, the most or the least, one of two."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from rag.answer.asked_lists.naming import asked_terms

_WORD = r"[\w'\u2019.&/-]+"
_COUNTED = re.compile(rf"\b(?:how many|number of)\s+((?:{_WORD}\s*)+)", re.IGNORECASE)
# How many is asked of what is drawn or written somewhere, which words do not tell.
_SEEN = re.compile(
    r"\b(?:colou?rs?|icons?|images?|pictures?|photos?|figures?|charts?|graphs?|diagrams?|logos?|"
    r"signatures?|pages?|slides?|words?|arrows?|bars?|lines?|dots?|circles?|people|persons?|"
    r"tables?|shapes?|symbols?)\b",
    re.IGNORECASE,
)
_PHRASE_ENDS = frozenset(
    """is are was were be been do does did has have had can could will would should may might must
    in of on at by for from to with that which who used per during among under over than there the
    gives give gets get shows show reports report achieves achieve reaches reach accounts account
    sees saw takes take makes made holds hold received receives ranks rank produces performs scores
    generates generated grew contains comes spends spent earns earned uses sold sells
    include includes appear make makes need needed required listed mentioned shown given introduced
    and or all""".split()
)
# Words for an entry of any list, and words of asking that no heading need repeat.
_ANY_ENTRY = frozenset("step item point stage bullet entry thing instruction".split())
_SAYS_LITTLE = _ANY_ENTRY | frozenset(
    """many much number total all together introduce require required need needed take list listed
    mention mentioned show shown given present provide provided describe described following follow
    according document paper report slide page guide guidebook guideline handbook manual include
    included introduced involved presented displayed used use recommended
    different distinct type kind exist state stated there altogether involve name""".split()
)
_ORDINALS = {
    word: number
    for number, words in enumerate(
        "first|1st second|2nd third|3rd fourth|4th fifth|5th sixth|6th seventh|7th eighth|8th "
        "ninth|9th tenth|10th".split(),
        start=1,
    )
    for word in words.split("|")
} | {"last": -1, "final": -1}
_ORDINAL = "|".join(_ORDINALS)
_NTH = re.compile(
    rf"\b(?:what|which)(?: is| was|'s)? the ({_ORDINAL}) ((?:{_WORD}\s*)+)", re.IGNORECASE
)
_BETWEEN = re.compile(r"\bcomes? between (.+?) and (.+?)\s*\?*$", re.IGNORECASE)
_NEXT = re.compile(
    r"^(?:.*[,;]\s*)?(?:what|which(?: \w+){0,2}) (?:comes?|is|follows|goes|happens)"
    r"(?: directly| immediately| right)? (after|before) (.+?)\s*\?*$",
    re.IGNORECASE,
)
_EXTREMES = {
    **dict.fromkeys(
        "most highest largest greatest biggest maximum max longest tallest fastest oldest "
        "strongest heaviest".split(),
        "most",
    ),
    **dict.fromkeys(
        "least fewest lowest smallest minimum min shortest slowest youngest weakest "
        "lightest".split(),
        "least",
    ),
}
_EXTREME = "|".join(_EXTREMES)
_SUPERLATIVE = re.compile(
    rf"\b(?:the\s+)?(?:(?P<rank>{_ORDINAL})[\s-]+)?(?P<extreme>{_EXTREME})\b(?!\s+recent)",
    re.IGNORECASE,
)
_CHOICE = re.compile(r"\b(?:which|what|who)\b\s*(?P<noun>(?:(?!the\b)[\w'\u2019-]+\s+){0,5})", re.I)
_COMPARED = re.compile(
    r"\b(?P<more>more|greater|higher|larger|bigger|longer)\b|"
    r"\b(?:less|fewer|lower|smaller|shorter)\b",
    re.IGNORECASE,
)
_EITHER = re.compile(
    r"(?:[,:;\u2014\u2013]|\bbetween)\s*(?P<first>[^,:;]+?),?\s+(?:or|and)\s+(?P<second>[^,:;]+?)\s*\?*$",
    re.IGNORECASE,
)

_AMOUNT = (
    r"(?P<amount>[$\u20ac\u00a3]?\s?\d[\d,]*(?:\.\d+)?\s?"
    r"(?:%|(?:thousand|million|billion|[KMBkmb]\b))?)"
)
_BOUND = re.compile(
    rf"\b(?:(?P<over>(?:is |are )?(?:over|above|more than|greater than|higher than|larger than|"
    rf"exceed\w*))|(?P<least>at least)|(?:below|under|less than|fewer than|lower than|"
    rf"smaller than))\s+{_AMOUNT}",
    re.IGNORECASE,
)

End = Literal["most", "least"]


@dataclass(frozen=True)
class Counted:
    """How many of what: `noun` are its terms, `terms` all that a heading may say of it."""

    noun: tuple[str, ...]
    terms: tuple[str, ...]

    @property
    def is_any(self) -> bool:
        return bool(set(self.noun) & _ANY_ENTRY)


@dataclass(frozen=True)
class Superlative:
    """Which of all has the most or the least.

    Attributes:
        rank: 1 for the most, 2 for the second.
        noun: terms of what is chosen from; empty where the question does not say.
        terms: of what is measured, and of which rows.
        wants_value: the figure is asked for, and not whose it is.
    """

    end: End
    rank: int
    noun: tuple[str, ...]
    terms: tuple[str, ...]
    wants_value: bool


@dataclass(frozen=True)
class Choice:
    """Which of two has more, or less; `terms` are of what is measured."""

    first: str
    second: str
    wants_more: bool
    terms: tuple[str, ...]


@dataclass(frozen=True)
class Bound:
    """What is counted must be more, at least, or less than an amount, written as asked."""

    relation: Literal["more", "least", "less"]
    amount: str

    def holds(self, value: float, limit: float) -> bool:
        if self.relation == "less":
            return value < limit
        return value > limit or (self.relation == "least" and value == limit)


@dataclass(frozen=True)
class Place:
    """An entry by its place: the `number`-th, counted from the end where negative."""

    number: int
    of: Counted


@dataclass(frozen=True)
class Neighbour:
    """The entry between two, or right before or after one."""

    after: str
    before: str


def counted_in(asking: str) -> Counted | None:
    found = _COUNTED.search(asking)
    if found is None:
        return None
    noun = _head_of(found[1])
    if not noun or _SEEN.search(" ".join(found[1].split()[: len(noun) + 1])):
        return None
    return Counted(noun, _telling(asking))


def bound_in(asking: str) -> tuple[Bound, str] | None:
    """The bound of what is counted, and the question without it."""
    found = _BOUND.search(asking)
    if found is None:
        return None
    relation: Literal["more", "least", "less"] = (
        "more" if found["over"] else "least" if found["least"] else "less"
    )
    rest = f"{asking[: found.start()]} {asking[found.end() :]}"
    return Bound(relation, found["amount"].strip()), rest


def place_in(asking: str) -> Place | None:
    found = _NTH.search(asking)
    if found is None or _SUPERLATIVE.search(asking):
        return None
    noun = _head_of(found[2])
    if not noun or _SEEN.search(" ".join(found[2].split()[: len(noun)])):
        return None
    rest = asking[: found.start(1)] + asking[found.end(1) :]
    return Place(_ORDINALS[found[1].lower()], Counted(noun, _telling(rest)))


def neighbour_in(asking: str) -> Neighbour | None:
    if (both := _BETWEEN.search(asking)) is not None:
        return Neighbour(both[1], both[2])
    if (one := _NEXT.search(asking)) is not None:
        return Neighbour(one[2], "") if one[1].lower() == "after" else Neighbour("", one[2])
    return None


def superlative_in(asking: str) -> Superlative | None:
    found = _SUPERLATIVE.search(asking)
    if found is None or _COUNTED.search(asking):
        return None
    if len(list(_SUPERLATIVE.finditer(asking))) > 1:
        return None
    rank = _ORDINALS[found["rank"].lower()] if found["rank"] else 1
    choice = _CHOICE.search(asking)
    if rank < 1 or choice is None:
        return None
    noun = _head_of(choice["noun"])
    wants_value = choice[0].lower().startswith("what") and not noun
    rest = f"{asking[: found.start()]} {asking[found.end() :]}"
    words = tuple(term for term in dict.fromkeys(asked_terms(rest)) if term not in _SAYS_LITTLE)
    terms = tuple(term for term in words if term not in noun)
    if not terms:
        return None
    return Superlative(
        "most" if _EXTREMES[found["extreme"].lower()] == "most" else "least",
        rank,
        noun,
        terms,
        wants_value,
    )


def choice_in(asking: str) -> Choice | None:
    compared = _COMPARED.search(asking)
    if (
        compared is None
        or re.match(r"(?i)\s*(?:which|what|who|between|of|do|does|did)\b", asking) is None
    ):
        return None
    either = _EITHER.search(asking, compared.end())
    if either is None or re.search(r"(?i)\bthan\b|\bhow (?:much|many)\b", asking):
        return None
    said = asking[compared.end() : either.start()]
    terms = [term for term in asked_terms(said) if term not in ("time",)]
    return Choice(
        either["first"].strip(), either["second"].strip(), bool(compared["more"]), tuple(terms)
    )


def _telling(asking: str) -> tuple[str, ...]:
    terms = dict.fromkeys(asked_terms(asking))
    return tuple(term for term in terms if term not in _SAYS_LITTLE)


def _head_of(phrase: str) -> tuple[str, ...]:
    """Terms before the first verb or preposition; "types of wheels" are wheels."""
    words = re.sub(r"(?i)^\s*(?:different\s+)?(?:types?|kinds?|sorts?)\s+of\s+", "", phrase).split()
    kept: list[str] = []
    for word in words:
        if word.strip("?.,").lower() in _PHRASE_ENDS:
            break
        kept += asked_terms(word)
    return tuple(kept[:4])
