"""Which row or column has the most or the least of something, and how much that is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rag.answer.asked_lists.asking import Superlative
from rag.answer.asked_lists.naming import held_terms, is_held, plain_terms
from rag.answer.asked_lists.said import quoted
from rag.answer.asked_lists.series import Entry, Series, are_alike
from rag.answer.draft import Draft, DraftClaim, Proposal
from rag.ports import Evidence

_LEAST = 0.55  # of the question's terms, counted by where they stand
_HEAD, _AROUND, _PAGE = 1.0, 0.8, 0.4  # what a term counts in the head, over the table, elsewhere
_MOST_ENTRIES = 25
_SURE = 0.95
_TIMES = frozenset({"year", "quarter", "month", "date", "period", "day"})
_RANKS = {2: "second", 3: "third", 4: "fourth", 5: "fifth"}
_SCALES = {1000: "thousand", 1_000_000: "million", 1_000_000_000: "billion"}
_BARE = re.compile(r"[\d][\d,]*(?:\.\d+)?%?|\.\d+%?")


@dataclass(frozen=True)
class Fit:
    """A series with the entries that are meant, and how much of the question it accounts for.

    Attributes:
        narrowed: terms of the question that only some of its names have.
    """

    series: Series
    entries: tuple[Entry, ...]
    narrowed: frozenset[str]
    score: float


def extreme_of(
    asked: Superlative, series: Sequence[Series], evidence: Sequence[Evidence]
) -> Proposal | None:
    """The one with the most or the least; None where two series that are as good tell two."""
    fits = [fit for each in series if (fit := fit_of(asked, each, evidence)) is not None]
    best = max((fit.score for fit in fits), default=0.0)
    if best < _LEAST:
        return None
    told: dict[str, tuple[Fit, list[Entry]]] = {}
    for fit in fits:
        if fit.score < best - 1e-9:
            continue
        ordered = sorted(fit.entries, key=lambda entry: entry.value, reverse=asked.end == "most")
        values = [entry.value for entry in ordered]
        if asked.rank >= len(values) or values.count(values[asked.rank - 1]) > 1:
            return None
        told.setdefault(ordered[asked.rank - 1].name, (fit, ordered))
    if len(told) != 1:
        return None
    ((fit, ordered),) = told.values()
    return _proposal(asked, fit, ordered, evidence)


def fit_of(asked: Superlative, series: Series, evidence: Sequence[Evidence]) -> Fit | None:
    entries = tuple(entry for entry in series.entries if not entry.is_sum)
    head = held_terms(series.head)
    around = held_terms(series.around, series.names_head)
    names = [held_terms(entry.name) for entry in entries]
    page = held_terms(evidence[series.page].text.text)
    in_head = [term for term in asked.terms if is_held(term, head)]
    if not in_head:
        return None
    narrowed = frozenset(
        term
        for term in asked.terms
        if term not in in_head
        and not is_held(term, around)
        and 0 < sum(is_held(term, name) for name in names) < len(names)
    )
    entries = tuple(
        entry
        for entry, name in zip(entries, names, strict=True)
        if all(is_held(term, name) for term in narrowed)
    )
    if not 1 < len(entries) <= _MOST_ENTRIES or not are_alike(entries):
        return None
    if not asked.wants_value and not _are_named(asked, entries):
        return None
    weights = {
        term: _HEAD
        if term in in_head or term in narrowed
        else _AROUND
        if is_held(term, around)
        else _PAGE
        if is_held(term, page)
        else 0.0
        for term in asked.terms
    }
    return Fit(series, entries, narrowed, sum(weights.values()) / len(weights))


def _are_named(asked: Superlative, entries: Sequence[Entry]) -> bool:
    """Whether their names may be what is chosen from: times where a time is asked for, else no
    bare numbers.
    """
    are_numbers = [not any(map(str.isalpha, entry.name)) for entry in entries]
    if _TIMES & set(asked.noun):
        return all(any(map(str.isdigit, entry.name)) for entry in entries)
    return not any(are_numbers)


def _proposal(
    asked: Superlative, fit: Fit, ordered: Sequence[Entry], evidence: Sequence[Evidence]
) -> Proposal | None:
    chosen = ordered[asked.rank - 1]
    short = written(chosen) if asked.wants_value else _own_name(chosen.name, fit.narrowed)
    if not short:
        return None
    claim = DraftClaim(
        f"{chosen.name} has the {_rank_of(asked)} {fit.series.head}: "
        + "; ".join(f"{entry.name} {written(entry)}" for entry in ordered),
        quoted(
            evidence,
            fit.series.page,
            [*fit.series.head_spans, *(s for e in ordered for s in (*e.name_spans, *e.spans))],
        ),
        f"{_rank_of(asked)} {fit.series.head}",
        _expression(asked, ordered),
    )
    return Proposal(Draft((claim,), short=short), _SURE * fit.score)


def _rank_of(asked: Superlative) -> str:
    end = "highest" if asked.end == "most" else "lowest"
    return f"{_RANKS.get(asked.rank, '')} {end}".strip()


def _expression(asked: Superlative, entries: Sequence[Entry]) -> str:
    """The most or least of all, to be done again; a loss or another rank is not written so."""
    figures = [_BARE.search(entry.figure.text) for entry in entries]
    if asked.rank != 1 or any(entry.value < 0 for entry in entries):
        return ""
    name = "max" if asked.end == "most" else "min"
    return f"{name}({', '.join(found[0] for found in figures if found is not None)})"


def written(entry: Entry) -> str:
    """The figure as its page writes it; an amount of money with its table's word of scale."""
    is_money = bool(entry.figure.unit) and entry.figure.unit != "%"
    if is_money and entry.figure.value and entry.figure.scale == 1.0:
        word = _SCALES.get(round(entry.value / entry.figure.value))
        return f"{entry.figure.text} {word}" if word else entry.figure.text
    return entry.figure.text


def _own_name(name: str, narrowed: frozenset[str]) -> str:
    """A name without what the question said of it: "0.1" of "ChatGPT (0.1)", asked of ChatGPT."""
    words = name.split()
    own = [word for word in words if not (set(plain_terms(word)) & narrowed)]
    said = " ".join(own) if narrowed and own else name
    if said.startswith("(") and said.endswith(")"):
        said = said[1:-1]
    return said.strip(" *:\u2020\u2021|")
