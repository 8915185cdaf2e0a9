"""Whom a question for a figure is about, and which pages are of them.

Statements of all companies have the same rows: a figure of another one is no answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher

from rag.answer.asked_figures.formula import amounts_of
from rag.answer.asked_figures.measures import known_measure
from rag.answer.asked_figures.names import name_words
from rag.answer.asked_figures.wanted import Wanted
from rag.ports import Evidence
from rag.wording.phrases import subject

_LEGAL_FORM = re.compile(r",?\s+(?:Inc|Corp|Ltd|LLC|Co|plc|AG|SE|SA|NV|GmbH)\b\.?$")
_ALIKE = 0.9  # share of letters: a misspelt name is still known
_LEAST_LETTERS = 8  # a shorter one, misspelt, is as likely another name


def whose(question: str, wanted: Wanted) -> str:
    """The name of whom a question is about, letters and digits alone; empty where it names nobody.

    "Return on Assets" in capitals is what is asked for, and nobody.
    """
    about = subject(question)
    if about is None:
        return ""
    words = set(name_words(about.text))
    names = [name_words(amount.name) for amount in amounts_of(wanted.formula)]
    if any(words <= set(name) and known_measure(name) is not None for name in names):
        return ""
    return _squashed(_LEGAL_FORM.sub("", about.text))


def pages_of(name: str, evidence: Sequence[Evidence]) -> list[Evidence]:
    """The pages of documents that name somebody, in their file's name or on a page of them."""
    naming = {
        page.hit.ref.document_id
        for page in evidence
        if is_called(name, page.hit.source) or name in _squashed(page.text.text)
    }
    return [page for page in evidence if page.hit.ref.document_id in naming]


def is_called(name: str, source: str) -> bool:
    """Whether a file is called after somebody; a letter of a long name may be wrong."""
    called = _squashed(source)
    if name in called:
        return True
    alike = SequenceMatcher(None, name, called[: len(name)], autojunk=False)
    return len(name) >= _LEAST_LETTERS and alike.ratio() >= _ALIKE


def _squashed(text: str) -> str:
    """Letters and digits alone: a file is called "BESTBUY_2023", a company Best Buy."""
    return "".join(character for character in text.casefold() if character.isalnum())
