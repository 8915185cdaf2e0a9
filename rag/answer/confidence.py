"""How sure we are that the evidence answers a question: a logistic of a few label-free features.

The constants come from `scripts/calibrate_abstention.py`; what they reach, and on how few
questions, is in docs/calibration.md. A question near to a document but not answered by it differs
from one that is answered in what it names, and in which of its words stand together; how much of it
is covered, and by how similar words, tells the two apart little.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from rag.answer.question import Question
from rag.ports import Evidence
from rag.scoring.lexical import terms

_NEAR_TERMS = 4  # terms apart: the words of a pair may be in another order, or have one between

# Fitted: see the module's docstring.
_INTERCEPT, _PAIRS, _NAMES = -1.70, 1.67, 1.60


@dataclass(frozen=True)
class Features:
    """What the evidence holds of a question, each from 0 to 1.

    Attributes:
        pairs: share of the question's neighbouring content terms that stand together on a page.
        names: share of its names and numbers that stand on a page. Where it has none, twice the
            share of its terms that stand on one page, so that half of them are enough.
    """

    pairs: float
    names: float


def confidence_of(question: Question, evidence: Sequence[Evidence]) -> float:
    """0 to 1; 0 where the pages have no text to answer from."""
    if not has_text(evidence):
        return 0.0
    found = features(question, evidence)
    return 1 / (1 + math.exp(-(_INTERCEPT + _PAIRS * found.pairs + _NAMES * found.names)))


def has_text(evidence: Sequence[Evidence]) -> bool:
    """Whether there is anything to quote."""
    return any(len(page.text) > 0 for page in evidence)


def features(question: Question, evidence: Sequence[Evidence]) -> Features:
    wanted = {*question.terms, *question.names, *(term for pair in question.pairs for term in pair)}
    places = [_places(page, wanted) for page in evidence]
    together = [any(_stand_together(found, pair) for found in places) for pair in question.pairs]
    pairs = sum(together) / len(together) if together else 0.0
    if question.names:
        # A page need not repeat what its document is called after.
        sources = {term for page in evidence for term in terms(page.hit.source)}
        held = sources.union(*places)
        names = sum(name in held for name in question.names) / len(question.names)
    else:
        on_one_page = max(
            (sum(term in found for term in question.terms) for found in places), default=0
        )
        names = min(1.0, 2 * on_one_page / len(question.terms)) if question.terms else 0.0
    return Features(pairs, names)


def _places(page: Evidence, wanted: set[str]) -> dict[str, list[int]]:
    """Where each wanted term stands on a page, counted in terms, ascending."""
    places: dict[str, list[int]] = {}
    for place, term in enumerate(terms(page.text.text)):
        if term in wanted:
            places.setdefault(term, []).append(place)
    return places


def _stand_together(places: dict[str, list[int]], pair: tuple[str, str]) -> bool:
    first, second = (places.get(term, []) for term in pair)
    for place in first:
        at = bisect_left(second, place - _NEAR_TERMS)
        if at < len(second) and second[at] <= place + _NEAR_TERMS:
            return True
    return False
