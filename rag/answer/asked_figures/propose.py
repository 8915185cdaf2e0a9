"""Answers to questions that ask for a figure, looked up in tables or calculated from them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rag.answer.asked_figures.calculate import Calculator
from rag.answer.asked_figures.cells import tables_of
from rag.answer.asked_figures.find import Tables
from rag.answer.asked_figures.names import name_words
from rag.answer.asked_figures.sentences import SentenceFigure, Sentences
from rag.answer.asked_figures.wanted import wanted_of
from rag.answer.asked_figures.written import draft_of
from rag.answer.draft import Proposal
from rag.answer.question import Question
from rag.ports import Evidence
from rag.wording.phrases import subject

_LEAST = 0.2
_LEGAL_FORM = re.compile(r",?\s+(?:Inc|Corp|Ltd|LLC|Co|plc|AG|SE|SA|NV|GmbH)\b\.?$")
# A figure of no known name, by the words of the question alone: many questions are near to it.
_ANY_ROW, _ANY_SENTENCE = 0.9, 0.6


def figure_proposal(question: Question, evidence: Sequence[Evidence]) -> Proposal | None:
    """A figure with its sources; None where none is asked for or it is not found.

    Where the figure follows from others, the draft's claim has the formula and every operand is
    cited.
    """
    wanted = wanted_of(question.text)
    if wanted is None:
        return None
    evidence = _about_the_same(question.text, evidence)
    sources = frozenset("".join(name_words(page.hit.source)) for page in evidence)
    tables = tables_of(evidence)
    calculator = Calculator(Tables(tables), Sentences(evidence, tables), wanted, sources)
    found = calculator.calculate(wanted.formula)
    if found is None or not found.operands:
        return None
    confidence = found.score
    if found.is_figure and found.measure is None:
        is_told = isinstance(found.operands[0].figure, SentenceFigure)
        confidence *= _ANY_SENTENCE if is_told else _ANY_ROW
    return Proposal(draft_of(wanted, found), confidence) if confidence >= _LEAST else None


def _about_the_same(question: str, evidence: Sequence[Evidence]) -> Sequence[Evidence]:
    """The pages of documents that name whom the question is about; all where none does.

    Statements of all companies have the same rows: a figure of another one is no answer.
    """
    about = subject(question)
    name = "" if about is None else _squashed(_LEGAL_FORM.sub("", about.text))
    if not name:
        return evidence
    naming = {
        page.hit.ref.document_id
        for page in evidence
        if name in _squashed(page.hit.source) or name in _squashed(page.text.text)
    }
    return [page for page in evidence if page.hit.ref.document_id in naming] or evidence


def _squashed(text: str) -> str:
    """Letters and digits alone: a file is called "BESTBUY_2023", a company Best Buy."""
    return "".join(character for character in text.casefold() if character.isalnum())
