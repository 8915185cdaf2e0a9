"""Answers to questions that ask for a figure, looked up in tables or calculated from them."""

from __future__ import annotations

from collections.abc import Sequence

from rag.answer.asked_figures.calculate import Calculator
from rag.answer.asked_figures.cells import tables_of
from rag.answer.asked_figures.doubts import each_of, trust
from rag.answer.asked_figures.find import Tables
from rag.answer.asked_figures.names import name_words
from rag.answer.asked_figures.sentences import SentenceFigure, Sentences
from rag.answer.asked_figures.stated import StatedFigure
from rag.answer.asked_figures.wanted import Wanted, wanted_of
from rag.answer.asked_figures.whose import names_several, pages_of, whose
from rag.answer.asked_figures.written import draft_of, is_written_so
from rag.answer.draft import Draft, Proposal
from rag.answer.question import Question
from rag.ports import Evidence

_LEAST = 0.2
# A figure of no known name, by the words of the question alone: many questions are near to it.
_ANY_ROW, _ANY_SENTENCE = 0.9, 0.6
_OUTRIGHT = 0.8  # a sentence that has all of those words
_WRITTEN_OTHERWISE = 0.4  # in another currency, or in a scale that no page says


def figure_proposal(question: Question, evidence: Sequence[Evidence]) -> Proposal | None:
    """A figure with its sources; None where none is asked for or it is not found.

    Where the figure follows from others, the draft's claim has the formula and every operand is
    cited.
    """
    wanted = wanted_of(question.text)
    if wanted is None or names_several(question.text, evidence):
        return None
    several = each_of(question.text, wanted)
    if len(several) < 2:
        return _proposed(question, wanted, evidence)
    found = [_proposed(question, each, evidence) for each in several]
    proposals = [each for each in found if each is not None]
    if len(proposals) < len(several):
        return None
    claims = tuple(claim for each in proposals for claim in each.draft.claims)
    shorts = [each.draft.short for each in proposals]
    return Proposal(Draft(claims, "; ".join(shorts)), min(each.confidence for each in proposals))


def _proposed(question: Question, wanted: Wanted, evidence: Sequence[Evidence]) -> Proposal | None:
    name = whose(question.text, wanted)
    named = pages_of(name, evidence) if name else []
    evidence = named or evidence
    sources = frozenset("".join(name_words(page.hit.source)) for page in evidence)
    tables = tables_of(evidence)
    calculator = Calculator(Tables(tables), Sentences(evidence, tables), wanted, sources)
    found = calculator.calculate(wanted.formula)
    if found is None or not found.operands:
        return None
    confidence = found.score
    if found.is_figure and found.measure is None:
        confidence *= _trust_in(found.operands[0].figure)
    confidence *= trust(question.text, wanted, found, name, is_named=bool(named))
    if not is_written_so(wanted, found):
        confidence *= _WRITTEN_OTHERWISE
    return Proposal(draft_of(wanted, found), confidence) if confidence >= _LEAST else None


def _trust_in(figure: StatedFigure) -> float:
    """In a figure found by the words of the question alone."""
    if not isinstance(figure, SentenceFigure):
        return _ANY_ROW
    return _OUTRIGHT if figure.is_outright else _ANY_SENTENCE
