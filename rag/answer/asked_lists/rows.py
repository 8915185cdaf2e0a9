"""How many rows of a table there are, or have more or less of something than the question says."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rag.answer.asked_lists.asking import Bound, Counted, bound_in, counted_in
from rag.answer.asked_lists.naming import held_terms, is_held, share_held
from rag.answer.asked_lists.said import source_of
from rag.answer.asked_lists.series import Entry, Series, are_alike
from rag.answer.checks.arithmetic import COUNT_OF_SOURCES
from rag.answer.draft import Draft, DraftClaim, Proposal
from rag.answer.figures.read import Figure, figures_in
from rag.ports import Evidence

_LEAST = 0.6  # of the question's terms, in the heads or over the table
_MOST_ROWS = 25
_SURE_OF_BOUND, _SURE_OF_ALL = 0.85, 0.6
# A table need not have all there are; it has all that it lists.
_LISTED = re.compile(
    r"\b(?:listed|shown|given|presented|in the (?:table|list)|does the (?:table|list))\b",
    re.IGNORECASE,
)


def asks_of_rows(asking: str) -> bool:
    return bound_in(asking) is not None or _LISTED.search(asking) is not None


def rows_counted(
    asking: str, series: Sequence[Series], evidence: Sequence[Evidence]
) -> Proposal | None:
    """The rows of one table that are named by what is counted; each is named and cited."""
    bound = bound_in(asking)
    counted = counted_in(bound[1] if bound else asking)
    if counted is None or not asks_of_rows(asking):
        return None
    found: dict[tuple[str, ...], tuple[float, Series, tuple[Entry, ...]]] = {}
    for each in series:
        share = _share(counted, each, has_bound=bound is not None)
        entries = _counted(each, bound[0] if bound else None)
        if share >= _LEAST and entries:
            names = tuple(entry.name for entry in entries)
            if share > found.get(names, (0.0,))[0]:
                found[names] = (share, each, entries)
    ordered = sorted(found.values(), key=lambda each: -each[0])
    if not ordered or (len(ordered) > 1 and ordered[1][0] >= ordered[0][0]):
        return None
    share, chosen, entries = ordered[0]
    return _told(counted, chosen, entries, bound[0] if bound else None, share, evidence)


def _share(counted: Counted, series: Series, *, has_bound: bool) -> float:
    """How much of the question the table accounts for; 0 where its rows are not what is counted."""
    if not series.by_row or not is_held(counted.noun[-1], held_terms(series.names_head)):
        return 0.0
    measured = [term for term in counted.terms if term not in counted.noun]
    if not measured:
        return 0.0 if has_bound else 1.0
    head = held_terms(series.head)
    if has_bound and not any(is_held(term, head) for term in measured):
        return 0.0
    return share_held(measured, held_terms(series.head, series.around))


def _counted(series: Series, bound: Bound | None) -> tuple[Entry, ...]:
    entries = tuple(entry for entry in series.entries if not entry.is_sum)
    if not 1 < len(entries) <= _MOST_ROWS:
        return ()
    if bound is None:
        return entries
    limit = _amount(bound)
    if limit is None or limit.value is None or not are_alike(entries):
        return ()
    # Without a word of scale the question means figures as they are written.
    is_scaled = limit.scale != 1.0
    return tuple(
        entry
        for entry in entries
        if bound.holds(
            entry.value if is_scaled else entry.figure.value or 0.0, limit.value * limit.scale
        )
    )


def _amount(bound: Bound) -> Figure | None:
    found = figures_in(bound.amount.split())
    return found[0] if len(found) == 1 else None


def _told(
    counted: Counted,
    series: Series,
    entries: Sequence[Entry],
    bound: Bound | None,
    share: float,
    evidence: Sequence[Evidence],
) -> Proposal:
    noun = " ".join(counted.noun)
    if bound is None:
        said = "; ".join(entry.name for entry in entries)
    else:
        said = "; ".join(f"{entry.name} {entry.figure.text}" for entry in entries)
    sources = tuple(source_of(evidence, series.page, _row(entry)) for entry in entries)
    claim = DraftClaim(
        f"{len(entries)} rows of {noun}: {said}",
        sources,
        f"number of rows of {noun}",
        COUNT_OF_SOURCES,
    )
    sure = (_SURE_OF_BOUND if bound else _SURE_OF_ALL) * share
    return Proposal(Draft((claim,), short=str(len(entries))), sure)


def _row(entry: Entry) -> tuple[int, int]:
    """One place for each row: its label, and its figure where that follows in reading order."""
    label, figure = entry.name_spans[0], entry.spans[-1]
    return (label[0], figure[1]) if label[1] == figure[0] else label
