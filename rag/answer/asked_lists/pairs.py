"""Named rows or columns of a table: which has more, how much more, what they add up to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rag.answer.asked_lists.asking import Choice
from rag.answer.asked_lists.counts import told_apart
from rag.answer.asked_lists.extremes import written
from rag.answer.asked_lists.naming import (
    asked_terms,
    held_terms,
    is_held,
    name_terms,
    names_in,
    share_held,
)
from rag.answer.asked_lists.said import quoted
from rag.answer.asked_lists.series import Entry, Series, are_alike
from rag.answer.draft import Draft, DraftClaim, Proposal, Source
from rag.ports import Evidence

_LEAST = 0.6  # of the terms of what is measured, in the head or over the table
_SURE, _SURE_OF_SUM = 0.9, 0.8  # what tables of figures are asked for elsewhere goes before a sum
_TOGETHER = re.compile(
    r"\b(?:total|in all|collectively|combined|together|altogether|sum)\b", re.IGNORECASE
)
_MORE = re.compile(
    r"\bhow (?:many|much) (?P<more>more|higher|greater|larger|bigger|longer)\b|"
    r"\bhow (?:many|much) (?:fewer|less|lower|smaller|shorter)\b",
    re.IGNORECASE,
)
_THAN = re.compile(r"\b(?:than|compared (?:to|with))\b", re.IGNORECASE)
_SAYS_LITTLE = frozenset(
    "time number total many much more value amount view together all collectively combined".split()
)
_BARE = re.compile(r"\d[\d,]*(?:\.\d+)?%?|\.\d+%?")
_OF_ALL = re.compile(
    r"(?i)^\s*(?:does|do|did|is|are|was|were|has|have)\s+(?P<first>.+?)\s+(?:(?:have|has|had)\s+)?"
    r"(?:a\s+)?(?:(?P<more>more|greater|higher|larger|bigger|longer)|less|fewer|lower|smaller|"
    r"shorter)\s*(?P<said>.*?)\s*\bthan\s+(?P<second>.+?)\s*\?*$"
)


@dataclass(frozen=True)
class _Pair:
    series: Series
    entries: tuple[Entry, ...]
    share: float


def asks_of_named(asking: str) -> bool:
    """Whether one of the questions of this file is asked, a choice of two left aside."""
    return bool(
        _OF_ALL.match(asking)
        or _MORE.search(asking)
        or (_TOGETHER.search(asking) and names_in(asking))
    )


def greater_of(
    choice: Choice, series: Sequence[Series], evidence: Sequence[Evidence]
) -> Proposal | None:
    """Which of two has more, by its name as the question writes it."""
    first, second = name_terms(choice.first), name_terms(choice.second)
    wanted = [*choice.terms, *sorted(first & second)]
    found = _only([_matching((first - second, second - first), wanted, each) for each in series])
    if found is None:
        return None
    one, other = found.entries
    if one.value == other.value:
        return None
    is_first = (one.value > other.value) == choice.wants_more
    name, rest = (choice.first, choice.second) if is_first else (choice.second, choice.first)
    if not all(
        is_held(term, held_terms((one if is_first else other).name)) for term in name_terms(name)
    ):
        name = told_apart(name, name_terms(rest))
    return _compared(name, name, found, evidence)


def is_greater(
    asking: str, series: Sequence[Series], evidence: Sequence[Evidence]
) -> Proposal | None:
    """Whether one has more than the other: yes or no."""
    asked = _OF_ALL.match(asking)
    if asked is None:
        return None
    first, second = name_terms(asked["first"]), name_terms(asked["second"])
    wanted = [*asked_terms(asked["said"]), *sorted(first & second)]
    found = _only([_matching((first - second, second - first), wanted, each) for each in series])
    if found is None:
        return None
    one, other = found.entries
    more = one.value > other.value if asked["more"] else one.value < other.value
    short = "Yes" if more else "No"
    return _compared(short, short, found, evidence)


def difference_of(
    asking: str, series: Sequence[Series], evidence: Sequence[Evidence]
) -> Proposal | None:
    """How much more one has than the other."""
    more = _MORE.search(asking)
    than = _THAN.search(asking, more.end()) if more else None
    if more is None or than is None:
        return None
    said, compared = asking[more.end() : than.start()], asking[than.end() :]
    found = _only([_apart(said, compared, each) for each in series])
    if found is None:
        return None
    one, other = found.entries
    larger, smaller = (one, other) if more["more"] else (other, one)
    if larger.value < smaller.value or min(one.value, other.value) < 0:
        return None
    return _calculated((larger, smaller), "-", found, evidence)


def total_of(
    asking: str, series: Sequence[Series], evidence: Sequence[Evidence]
) -> Proposal | None:
    """What all that are named have together."""
    names = names_in(asking)
    if len(names) < 2 or _TOGETHER.search(asking) is None:
        return None
    own = [name_terms(name) for name in names]
    common = frozenset.intersection(*own)
    named = frozenset().union(*own)
    wanted = [
        term for term in dict.fromkeys(asked_terms(_TOGETHER.sub(" ", asking))) if term not in named
    ]
    apart = tuple(terms - common or terms for terms in own)
    found = _only([_matching(apart, wanted, each) for each in series])
    if found is None or any(entry.value < 0 for entry in found.entries):
        return None
    return _calculated(found.entries, "+", found, evidence)


# --- finding --------------------------------------------------------------------------------------
def _only(found: Sequence[_Pair | None]) -> _Pair | None:
    """The one that says most; None where another says as much of other figures."""
    pairs = sorted((each for each in found if each is not None), key=lambda pair: -pair.share)
    if not pairs:
        return None
    best = pairs[0]
    values = [entry.value for entry in best.entries]
    if any(
        pair.share >= best.share - 1e-9 and [entry.value for entry in pair.entries] != values
        for pair in pairs[1:]
    ):
        return None
    return best


def _matching(
    names: Sequence[frozenset[str]], wanted: Sequence[str], series: Series
) -> _Pair | None:
    """The entries of these names, each found once, in a series of what is wanted."""
    entries: list[Entry] = []
    for name in names:
        if not name:
            return None
        held = [
            entry
            for entry in series.entries
            if all(is_held(term, held_terms(entry.name)) for term in name)
        ]
        exact = [entry for entry in held if name_terms(entry.name) <= name] or held
        if len(exact) != 1 or exact[0] in entries:
            return None
        entries.append(exact[0])
    return _pair(entries, wanted, series)


def _apart(said: str, compared: str, series: Series) -> _Pair | None:
    """The entry that is named before "than" and the one after it."""
    parts = [frozenset(asked_terms(said)) | name_terms(said), name_terms(compared)]
    entries = []
    for part in parts:
        named = [e for e in series.entries if e.name and name_terms(e.name) <= part]
        if len(named) != 1:
            return None
        entries.append(named[0])
    if entries[0] == entries[1]:
        return None
    named_terms = name_terms(entries[0].name) | name_terms(entries[1].name)
    wanted = [term for term in dict.fromkeys(asked_terms(said)) if term not in named_terms]
    return _pair(entries, wanted, series)


def _pair(entries: Sequence[Entry], wanted: Sequence[str], series: Series) -> _Pair | None:
    telling = [term for term in wanted if term not in _SAYS_LITTLE] or list(wanted)
    if not telling or not are_alike(entries):
        return None
    head = share_held(telling, held_terms(series.head))
    share = share_held(telling, held_terms(series.head, series.around, series.names_head))
    if not head or share < _LEAST:
        return None
    return _Pair(series, tuple(entries), (head + share) / 2)


# --- telling --------------------------------------------------------------------------------------
def _compared(short: str, said: str, found: _Pair, evidence: Sequence[Evidence]) -> Proposal:
    entries = found.entries
    values = "; ".join(f"{entry.name} {entry.figure.text}" for entry in entries)
    claim = DraftClaim(f"{said}: {found.series.head}: {values}", _sources(found, evidence))
    return Proposal(Draft((claim,), short=short), _SURE * found.share)


def _calculated(
    entries: Sequence[Entry], sign: str, found: _Pair, evidence: Sequence[Evidence]
) -> Proposal | None:
    figures = [_BARE.search(entry.figure.text) for entry in entries]
    bare = [figure[0] for figure in figures if figure is not None]
    if len(bare) != len(entries):
        return None
    value = entries[0].value
    for entry in entries[1:]:
        value += entry.value if sign == "+" else -entry.value
    if any(entry.figure.value in (None, 0.0) for entry in entries):
        return None
    scales = {round(entry.value / (entry.figure.value or 1.0), 6) for entry in entries}
    if len(scales) > 1:
        return None
    (scale,) = scales
    decimals = max(entry.figure.decimals for entry in entries)
    unit = "%" if entries[0].figure.unit == "%" else ""
    short = f"{value / scale:,.{decimals}f}{unit}"
    word = written(entries[0]).removeprefix(entries[0].figure.text)
    values = "; ".join(f"{entry.name} {entry.figure.text}" for entry in entries)
    what = "Total" if sign == "+" else "Difference"
    claim = DraftClaim(
        f"{what} of {found.series.head}: {short}{word} ({values})",
        _sources(found, evidence),
        f" {sign} ".join(f"{found.series.head} of {entry.name}" for entry in entries),
        f" {sign} ".join(bare),
    )
    return Proposal(Draft((claim,), short=f"{short}{word}"), _SURE_OF_SUM * found.share)


def _sources(found: _Pair, evidence: Sequence[Evidence]) -> tuple[Source, ...]:
    spans = [s for entry in found.entries for s in (*entry.name_spans, *entry.spans)]
    return quoted(evidence, found.series.page, [*found.series.head_spans, *spans])
