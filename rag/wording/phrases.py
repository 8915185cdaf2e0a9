"""Names and periods in an English question, and where they stand. Read by their form alone: no list
of companies, so a name that looks like no name is missed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rag.scoring.lexical import is_content_word


@dataclass(frozen=True)
class Phrase:
    """Text at [start, end) of a question."""

    start: int
    end: int
    text: str


_YEAR = r"(?:19|20)\d\d"
_PERIOD = re.compile(
    rf"\b(?:Q[1-4]\s+(?:of\s+)?)?(?:(?:FY|CY|F|fiscal(?:\s+year)?)\s?)?{_YEAR}"
    rf"(?:\s?[-\u2013/]\s?(?:{_YEAR}|\d\d))?(?!\d|[.,]\d)\b"
    r"|\bFY\s?'?\d\d\b|\bQ[1-4]\b",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\W_](?:[\w.&\-]*[^\W_])?")
# They open a sentence with a capital and are no name.
_OPENERS = frozenset(
    """according among answer are as assume based base calculate can compare compared comparing
    considering contrast could define describe did do does during enumerate explain find for from
    give has have how if in is list name please provide regarding roughly round should show state
    summarise summarize tell the under using was were what when where which who whose why with
    would write and also then so but of at by about thanks hello hi""".split()
)
# Written like names, and said of any company.
_TERMS = frozenset(
    """usd eur gbp us gaap ifrs eps ebit ebitda capex opex cogs ceo cfo coo cto cagr roa roe roi
    roce ppe pp&e ppne r&d m&a p&l sg&a esg ipo it hr ai kpi faq gdp arpu id url pdf q1 q2 q3 q4 fy
    i ii iii iv v january february march april may june july august september october november
    december jan feb mar apr jun jul aug sep sept oct nov dec monday tuesday wednesday thursday
    friday saturday sunday figure table page slide section chart appendix note item part chapter
    """.split()
)
_SUFFIX = re.compile(r",?\s+(?:Inc|Corp|Ltd|LLC|Co|plc|AG|SE|SA|NV|GmbH)\b\.?")
_JOINS = re.compile(r"\s+(?:(?:&|of|de|van|von)\s+)?")


def periods(text: str) -> list[Phrase]:
    """Years and quarters, with what belongs to them: "Q2 of FY2024", "2013-2014"."""
    return [Phrase(*found.span(), found.group()) for found in _PERIOD.finditer(text)]


def names(text: str) -> list[Phrase]:
    """Runs of words written with a capital, or with letters behind digits, that are no period."""
    taken = periods(text)
    found: list[Phrase] = []
    for match in _WORD.finditer(text):
        start, end = match.span()
        if found and start < found[-1].end:  # "Inc", taken with the name before
            continue
        if any(each.start < end and start < each.end for each in taken) or not _is_name_word(
            match.group(), opens=_opens_sentence(text, start)
        ):
            continue
        if found and _JOINS.fullmatch(text, found[-1].end, start):
            start = found.pop().start
        suffix = _SUFFIX.match(text, end)
        end = suffix.end() if suffix else end
        found.append(Phrase(start, end, text[start:end]))
    return found


_BEFORE_SUBJECT = re.compile(
    r"\b(?:for|of|at|by|from|about|do|does|did|is|are|was|were|has|have|had|can|will)\s+$", re.I
)


def subject(text: str) -> Phrase | None:
    """The name a question is about: the one that owns something, or stands where a doer stands."""
    found = names(text)
    owners = [each for each in found if re.match(r"['\u2019]s?\b", text[each.end :])]
    doers = [each for each in found if _BEFORE_SUBJECT.search(text[: each.start])]
    likely = owners or doers or found
    return likely[0] if likely else None


def _is_name_word(word: str, *, opens: bool) -> bool:
    bare = word.lower().removesuffix("'s")
    if bare in _TERMS or not is_content_word(word):
        return False
    if word[0].isdigit():
        return any(char.isupper() for char in word[1:])
    return len(word) > 1 and word[0].isupper() and not (opens and bare in _OPENERS)


def _opens_sentence(text: str, start: int) -> bool:
    before = text[:start].rstrip()
    return not before or before[-1] in ".?!:;"


def replaced(text: str, changes: Sequence[tuple[Phrase, str]]) -> str:
    """The text with each phrase written otherwise; phrases do not overlap."""
    for phrase, new in sorted(changes, key=lambda change: -change[0].start):
        text = text[: phrase.start] + new + text[phrase.end :]
    return text


def tidied(text: str) -> str:
    """Single spaces, none before a comma or stop."""
    return re.sub(r"\s+([,.;:?!])", r"\1", " ".join(text.split()))


def said_in(name: str, text: str) -> bool:
    """Whether the text holds that name or period, in any case and as whole words."""
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text, re.IGNORECASE) is not None
