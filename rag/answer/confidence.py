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

from rag.answer.question import OCR_CONFUSED, Question
from rag.ports import Evidence
from rag.scoring.lexical import terms

_APART = 0.2  # what a pair counts whose terms stand on one page, and not near each other
_NEAR_TERMS = 4  # terms apart: the words of a pair may be in another order, or have one between

# Fitted, see the module's docstring; the intercept then moved so that the cut that was chosen is
# the default of `answer.min_confidence`.
_INTERCEPT, _PAIRS, _MISSING = -0.21, 2.08, -4.28


@dataclass(frozen=True)
class Features:
    """What the evidence holds of a question, each from 0 to 1.

    Attributes:
        pairs: share of the question's neighbouring content terms that stand together on a page;
            two that stand apart on one page count a little.
        missing: share of its names and numbers that stand on no page; 0 where it has none.
    """

    pairs: float
    missing: float


def confidence_of(question: Question, evidence: Sequence[Evidence]) -> float:
    """0 to 1; 0 where the pages have no text to answer from."""
    if not has_text(evidence):
        return 0.0
    found = features(question, evidence)
    weighed = _INTERCEPT + _PAIRS * found.pairs + _MISSING * found.missing
    return 1 / (1 + math.exp(-weighed))


def has_text(evidence: Sequence[Evidence]) -> bool:
    """Whether there is anything to quote."""
    return any(len(page.text) > 0 for page in evidence)


def features(question: Question, evidence: Sequence[Evidence]) -> Features:
    wanted = {*question.terms, *question.names, *(term for pair in question.pairs for term in pair)}
    places = [_places(page, wanted) for page in evidence]
    together = [
        max((_standing(found, pair) for found in places), default=0.0) for pair in question.pairs
    ]
    # A page need not repeat what its document is called after, nor its own number.
    held = {term for page in evidence for term in terms(page.hit.source)}.union(*places)
    held.update(
        str(number)
        for number in question.page_numbers
        if any(page.hit.ref.page_number == number for page in evidence)
    )
    missing = [name not in held for name in question.names]
    return Features(
        pairs=sum(together) / len(together) if together else 0.0,
        missing=sum(missing) / len(missing) if missing else 0.0,
    )


def _places(page: Evidence, wanted: set[str]) -> dict[str, list[int]]:
    """Where each wanted term stands on a page, counted in terms, ascending.

    What OCR takes for another letter is read as the term that is wanted, where no word says that.
    """
    places: dict[str, list[int]] = {}
    said = terms(page.text.text)
    for place, term in enumerate(said):
        if term in wanted:
            places.setdefault(term, []).append(place)
    if page.text.is_ocr.any():
        misread = {term.translate(OCR_CONFUSED): term for term in wanted if term not in places}
        for place, term in enumerate(said):
            meant = misread.get(term.translate(OCR_CONFUSED))
            if meant is not None:
                places.setdefault(meant, []).append(place)
    return places


def _standing(places: dict[str, list[int]], pair: tuple[str, str]) -> float:
    """1 for terms near each other, less for those on one page, 0 for those that are not."""
    first, second = (places.get(term, []) for term in pair)
    for place in first:
        at = bisect_left(second, place - _NEAR_TERMS)
        if at < len(second) and second[at] <= place + _NEAR_TERMS:
            return 1.0
    return _APART if first and second else 0.0
