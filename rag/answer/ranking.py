"""Which passages of the evidence speak most to a question.

The rules are general: late interaction, the question's terms weighted by how rare they are on these
pages, figures where a quantity or a time is asked for. None knows a subject.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rag.answer.passages import Passage, PassageKind, cut_passages
from rag.answer.question import Question
from rag.geometry import FloatArray
from rag.ports import Evidence
from rag.scoring.lexical import terms
from rag.scoring.maxsim import similarity_map

# Weights of a passage's score, in units of full coverage; chosen by hand on the development set.
_SIMILARITY = 1.0
_PAGE_COVERAGE = 0.35  # a term the page says elsewhere: in a heading, a column's head, a caption
_FIGURE = 0.15
_RANK = 0.04  # a rank of the page
_LENGTH = 0.005  # a word of the passage
_YEAR = re.compile(r"(?:19|20)\d\d")


@dataclass(frozen=True)
class RankedPassage:
    """A passage with its score; `page` is an index into the evidence."""

    page: int
    passage: Passage
    score: float


class _Page:
    """One page, read once: its passages with their terms, and the similarities of its words.

    A passage that ends by asking is left out: a question on a page answers none.

    `known` holds the terms of words met before; most words of a document are.
    """

    def __init__(self, query: FloatArray, evidence: Evidence, known: dict[str, list[str]]) -> None:
        for word in evidence.text.words:
            if word not in known:
                known[word] = terms(word)
        word_terms = [known[word] for word in evidence.text.words]
        self.terms = frozenset(term for found in word_terms for term in found)
        self.passages = [
            (passage, _terms_of(passage, word_terms))
            for passage in cut_passages(evidence.text)
            if not evidence.text.words[passage.spans[-1][1] - 1].endswith("?")
        ]
        order = np.argsort(evidence.vector_words, kind="stable")
        self._words: npt.NDArray[np.int32] = evidence.vector_words[order]
        self._similarity: FloatArray = (
            similarity_map(query, evidence.vectors)[:, order]  # (n_query, n_page)
            if len(evidence.vectors)
            else np.zeros((len(query), 0), np.float32)
        )

    def similarity_of(self, passage: Passage) -> float:
        """Mean over the query rows of their best similarity in the passage; 0 without vectors."""
        best = np.zeros(len(self._similarity), np.float32)
        for span in passage.spans:
            first, last = np.searchsorted(self._words, span)
            if first < last:
                np.maximum(best, self._similarity[:, first:last].max(axis=1), out=best)
        return float(best.mean()) if len(best) else 0.0


def _heads_columns(held: set[str]) -> bool:
    """Whether terms are those of a table's head: several years, and no other figure."""
    figures = [term for term in held if term[0].isdigit()]
    return len(figures) > 1 and all(_YEAR.fullmatch(figure) for figure in figures)


def _terms_of(passage: Passage, word_terms: Sequence[Sequence[str]]) -> set[str]:
    return {
        term for start, end in passage.spans for found in word_terms[start:end] for term in found
    }


def term_weights(wanted: Sequence[str], passages: Sequence[set[str]]) -> dict[str, float]:
    """Inverse document frequency of the wanted terms, a passage being a document."""
    counts = Counter(term for held in passages for term in held if term in wanted)
    return {term: math.log(1 + (len(passages) + 0.5) / (counts[term] + 0.5)) for term in wanted}


def rank_passages(
    question: Question, query: FloatArray, evidence: Sequence[Evidence]
) -> list[RankedPassage]:
    """All passages that say more than the question itself, best first.

    Args:
        question: as asked.
        query: (n_query, dim) unit rows.
        evidence: pages, best first.
    """
    known: dict[str, list[str]] = {}
    pages = [_Page(query, page, known) for page in evidence]
    wanted = set(question.terms)
    weights = term_weights(
        question.terms,
        [
            held & wanted
            for page in pages
            for passage, held in page.passages
            if passage.kind is not PassageKind.LINES
        ],
    )
    total = sum(weights.values())

    def coverage(held: set[str] | frozenset[str]) -> float:
        """Share of the question's terms, by weight."""
        return sum(weights[term] for term in wanted & held) / total if total else 0.0

    ranked: list[RankedPassage] = []
    for index, page in enumerate(pages):
        page_coverage = coverage(page.terms)
        for passage, held in page.passages:
            if held <= wanted or all(term[0].isdigit() for term in held):
                continue  # it repeats the question, or is figures without what they count
            if passage.kind is not PassageKind.SENTENCE and _heads_columns(held):
                continue  # it says what stands below it, not what that is
            covered = coverage(held)
            similarity = page.similarity_of(passage)
            has_figure = any(term[0].isdigit() for term in held - wanted)
            score = (
                covered
                + _PAGE_COVERAGE * (page_coverage - covered)
                + _SIMILARITY * similarity
                + _FIGURE * (question.asks_figure and has_figure)
                - _RANK * index
                - _LENGTH * passage.n_words
            )
            ranked.append(RankedPassage(index, passage, score))
    ranked.sort(key=lambda found: (-found.score, found.page, found.passage.spans))
    return ranked
