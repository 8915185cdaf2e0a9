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
from rag.wording.phrases import names, subject

_LEGAL_FORM = re.compile(r",?\s+(?:Inc|Corp|Ltd|LLC|Co|plc|AG|SE|SA|NV|GmbH)\b\.?$")
_OWNS = re.compile(r"['\u2019](?:s\b|(?=\s))")
_ALIKE = 0.9  # share of letters: a misspelt name is still known
_COVER_WORDS, _HEAD_WORDS, _FOOT_WORDS = 400, 40, 20
_LEAST_LETTERS = 8  # a shorter one, misspelt, is as likely another name


def whose(question: str, wanted: Wanted) -> str:
    """The name of whom a question is about, letters and digits alone; empty where it names nobody.

    "Return on Assets" in capitals is what is asked for, and nobody.
    """
    about = subject(question)
    if about is None:
        return ""
    words = set(name_words(about.text))
    asked = [name_words(amount.name) for amount in amounts_of(wanted.formula)]
    if any(words <= set(name) and known_measure(name) is not None for name in asked):
        return ""
    return squashed(_LEGAL_FORM.sub("", about.text))


def pages_of(name: str, evidence: Sequence[Evidence]) -> list[Evidence]:
    """The pages of documents that are somebody's: called after them, or theirs by a cover or by
    what stands at the top or the foot of a page. Customers and rivals are named on pages, too.
    """
    naming = {
        page.hit.ref.document_id for page in evidence if is_called(name, page.hit.source)
    } or {page.hit.ref.document_id for page in evidence if _heads(name, page)}
    return [page for page in evidence if page.hit.ref.document_id in naming]


def names_several(question: str, evidence: Sequence[Evidence]) -> bool:
    """Whether a question is about two: documents that are called so, or two that own something."""
    found = {squashed(_LEGAL_FORM.sub("", each.text)): each for each in names(question)}
    owners = {name for name, each in found.items() if _OWNS.match(question[each.end :])}
    if len(owners) > 1:
        return True
    called = {
        name: frozenset(page.hit.source for page in evidence if name in squashed(page.hit.source))
        for name in found
    }
    documents = [sources for sources in called.values() if sources]
    return len(documents) > 1 and not frozenset.intersection(*documents)


def _heads(name: str, page: Evidence) -> bool:
    words = page.text.words
    if page.hit.ref.page_number == 1:
        words = words[:_COVER_WORDS]
    else:
        words = (*words[:_HEAD_WORDS], *words[-_FOOT_WORDS:])
    return name in squashed(" ".join(words))


def is_called(name: str, source: str) -> bool:
    """Whether a file is called after somebody; a letter of a long name may be wrong."""
    called = squashed(source)
    if name in called:
        return True
    alike = SequenceMatcher(None, name, called[: len(name)], autojunk=False)
    return len(name) >= _LEAST_LETTERS and alike.ratio() >= _ALIKE


def squashed(text: str) -> str:
    """Letters and digits alone: a file is called "BESTBUY_2023", a company Best Buy."""
    return "".join(character for character in text.casefold() if character.isalnum())
