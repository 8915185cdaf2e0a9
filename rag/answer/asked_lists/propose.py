"""Answers to questions that compare, add, count or order what a page lists."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from rag.answer.asked_lists.asking import (
    bound_in,
    choice_in,
    counted_in,
    neighbour_in,
    place_in,
    superlative_in,
)
from rag.answer.asked_lists.counts import (
    captions_counted,
    count_of_items,
    item_at,
    longer_list,
    neighbour_of,
)
from rag.answer.asked_lists.enumerations import enumerations_of
from rag.answer.asked_lists.extremes import extreme_of
from rag.answer.asked_lists.naming import held_terms, is_held, plain_terms
from rag.answer.asked_lists.pairs import (
    asks_of_named,
    difference_of,
    greater_of,
    is_greater,
    total_of,
)
from rag.answer.asked_lists.rows import asks_of_rows, rows_counted
from rag.answer.asked_lists.series import series_of
from rag.answer.draft import Proposal
from rag.answer.question import Question
from rag.ports import Evidence

# Sums are told as their page writes figures; rounding and other scales are not done here.
_WRITTEN_ANEW = re.compile(
    r"\bround|\bdecimal|\bsignificant|\bin (?:\S+ )?(?:thousands|millions|billions)\b",
    re.IGNORECASE,
)
_UNNAMED = 0.5  # what a name of the question that stands on no page cited costs


def list_proposal(question: Question, evidence: Sequence[Evidence]) -> Proposal | None:
    """What was asked of a list or a table's rows, quoted and with its arithmetic; else None.

    None is returned where no list is meant, where two are meant as much, and where the most is
    shared by two.
    """
    found = max(_proposals(question, evidence), key=lambda each: each.confidence, default=None)
    return None if found is None else _with_names(question, found, evidence)


def _proposals(question: Question, evidence: Sequence[Evidence]) -> Iterator[Proposal]:
    asking = question.asking
    found: list[Proposal | None] = []
    counted, place, beside = counted_in(asking), place_in(asking), neighbour_in(asking)
    choice, superlative = choice_in(asking), superlative_in(asking)
    if counted or place or beside or choice:
        lists = enumerations_of(evidence)
        if counted is not None:
            found.append(count_of_items(counted, lists, evidence))
            found.append(captions_counted(counted, evidence))
        if place is not None:
            found.append(item_at(place, lists, evidence))
        if beside is not None:
            found.append(neighbour_of(beside, lists, evidence))
        if choice is not None:
            found.append(longer_list(choice, lists, evidence))
    counts_rows = counted is not None and asks_of_rows(asking)
    if superlative or choice or counts_rows or asks_of_named(asking):
        series = series_of(evidence)
        if counts_rows:
            found.append(rows_counted(asking, series, evidence))
        if superlative is not None:
            found.append(extreme_of(superlative, series, evidence))
        if choice is not None:
            found.append(greater_of(choice, series, evidence))
        found.append(is_greater(asking, series, evidence))
        if not _WRITTEN_ANEW.search(question.text):
            found += [ask(asking, series, evidence) for ask in (difference_of, total_of)]
    yield from (each for each in found if each is not None)


def _with_names(question: Question, found: Proposal, evidence: Sequence[Evidence]) -> Proposal:
    """Less sure by the names of the question that the cited pages and their documents lack."""
    cited = {source.evidence for claim in found.draft.claims for source in claim.sources}
    held = frozenset[str]().union(
        *(held_terms(page.text.text, page.hit.source) for page in evidence if page.number in cited)
    )
    numbers = {str(page.hit.ref.page_number) for page in evidence if page.number in cited}
    bound = bound_in(question.asking)
    if bound is not None:  # what is compared with need not stand there
        numbers.update(plain_terms(bound[0].amount))
    names = [name for name in question.names if name not in numbers]
    missing = sum(not is_held(name, held) for name in names) / len(names) if names else 0.0
    return replace(found, confidence=found.confidence * (1 - _UNNAMED * missing))
