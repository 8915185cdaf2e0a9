"""Quarters, halves and ordinals of text: "Q3", "the fourth quarter", "1H23", "the 27th"."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal["quarter", "half", "ordinal"]


@dataclass(frozen=True)
class Counted:
    """The how-manieth of something.

    Attributes:
        kind: what is counted; "ordinal" for anything but quarters and halves.
        number: 1 for the first.
        text: as written.
        start: first character.
        end: after the last.
        is_spelled: whether it is a word and no digits.
    """

    kind: Kind
    number: int
    text: str
    start: int
    end: int
    is_spelled: bool


_TENS = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth".split()
_TEENS = "thirteenth fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth twentieth"
_SPELLED = {word: number for number, word in enumerate([*_TENS, *_TEENS.split()], start=1)}
_SPELLED |= {f"twenty-{word}": 20 + number for number, word in enumerate(_TENS[:9], start=1)}
_SPELLED |= {"thirtieth": 30, "thirty-first": 31}

_WORD = "|".join(sorted(_SPELLED, key=len, reverse=True))
_ORDINAL = re.compile(rf"(?<![\w.,/])(?:(\d+)(?:st|nd|rd|th)|({_WORD}))\b", re.IGNORECASE)
_ONE = rf"(?:\d+(?:st|nd|rd|th)|{_WORD})\b"
# "first, second and third quarters"; heads of columns leave out the commas.
_LIST = re.compile(
    rf"(?<![\w.,/])({_ONE}(?:(?:\s|,|&|/|-|\u2013|\b(?:and|or|to|through|versus|vs)\b)+{_ONE})*)"
    r"[\s-]+(?:(?:fiscal|financial|calendar)\s+)?(?:(quarter)|(?:calendar[\s-])?(hal(?:f|ves)))",
    re.IGNORECASE,
)
_YEAR = r"(?:(?:19|20)\d\d|\d\d)?(?!\w)"
_QUARTER = re.compile(
    rf"(?<![\w.])(?:Q([1-4])(?:[FC]Y)?{_YEAR}|([1-4])Q(?:[FC]Y)?{_YEAR})"
    r"|\bquarter ([1-4])(?![\d.,]*\d)",
    re.IGNORECASE,
)
_HALF = re.compile(rf"(?<![\w.])(?:H([12]){_YEAR}|([12])H{_YEAR})")
_SIX_MONTHS = re.compile(r"\bsix[\s-]months?\b|\bhalf[\s-]year", re.IGNORECASE)


def counted_in(text: str) -> list[Counted]:
    """All of a text, quarters and halves first; a word is none where it counts neither."""
    found: list[Counted] = []
    for match in _LIST.finditer(text):
        kind: Kind = "quarter" if match[2] else "half"
        ordinals = _ORDINAL.finditer(text, match.start(1), match.end(1))
        found += [_counted(kind, one) for one in ordinals]
    for kind, pattern in (("quarter", _QUARTER), ("half", _HALF)):
        for match in pattern.finditer(text):
            number = int(next(filter(None, match.groups())))
            found.append(Counted(kind, number, match.group(), *match.span(), is_spelled=False))
    taken = {place for each in found for place in range(each.start, each.end)}
    return found + [
        _counted("ordinal", match)
        for match in _ORDINAL.finditer(text)
        if match.start() not in taken
    ]


def tells(text: str) -> set[tuple[Kind, int]]:
    """What a page counts; six months may be a first half, and what is a quarter is an ordinal."""
    counted = counted_in(text)
    told = {(each.kind, each.number) for each in counted}
    told |= {("ordinal", each.number) for each in counted}
    if _SIX_MONTHS.search(text):
        told.add(("half", 1))
    return told


def _counted(kind: Kind, match: re.Match[str]) -> Counted:
    number = int(match[1][:9]) if match[1] else _SPELLED[match[2].lower()]
    return Counted(kind, number, match.group(), *match.span(), is_spelled=match[2] is not None)
