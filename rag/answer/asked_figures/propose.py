"""Answers to questions that ask for a figure, looked up in tables or calculated from them."""

from __future__ import annotations

from collections.abc import Sequence

from rag.answer.asked_figures.calculate import Calculator
from rag.answer.asked_figures.cells import tables_of
from rag.answer.asked_figures.find import Tables
from rag.answer.asked_figures.names import name_words
from rag.answer.asked_figures.sentences import SentenceFigure, Sentences
from rag.answer.asked_figures.stated import StatedFigure
from rag.answer.asked_figures.wanted import wanted_of
from rag.answer.asked_figures.whose import pages_of, whose
from rag.answer.asked_figures.written import draft_of, is_written_so
from rag.answer.draft import Proposal
from rag.answer.question import Question
from rag.ports import Evidence

_LEAST = 0.2
# A figure of no known name, by the words of the question alone: many questions are near to it.
_ANY_ROW, _ANY_SENTENCE = 0.9, 0.6
_OUTRIGHT = 0.8  # a sentence that has all of those words
_WRITTEN_OTHERWISE = 0.4  # in another currency, or in a scale that no page says
_OF_NOBODY_KNOWN = 0.4  # neither a page nor a file's name says whom the question is about


def figure_proposal(question: Question, evidence: Sequence[Evidence]) -> Proposal | None:
    """A figure with its sources; None where none is asked for or it is not found.

    Where the figure follows from others, the draft's claim has the formula and every operand is
    cited.
    """
    wanted = wanted_of(question.text)
    if wanted is None:
        return None
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
    if name and not named:
        confidence *= _OF_NOBODY_KNOWN
    if not is_written_so(wanted, found):
        confidence *= _WRITTEN_OTHERWISE
    return Proposal(draft_of(wanted, found), confidence) if confidence >= _LEAST else None


def _trust_in(figure: StatedFigure) -> float:
    """In a figure found by the words of the question alone."""
    if not isinstance(figure, SentenceFigure):
        return _ANY_ROW
    return _OUTRIGHT if figure.is_outright else _ANY_SENTENCE
