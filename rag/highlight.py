"""Where on a page the question was found: boxes with weights, and a snippet around them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rag.geometry import Box, FloatArray
from rag.page_text import PageText, VectorWords
from rag.scoring.maxsim import similarity_map

_SNIPPET_WORDS = 32
_MIN_SIMILARITY = 0.5  # below it words of unlike texts meet by chance
_MAX_BOXES = 24


@dataclass(frozen=True)
class Highlight:
    """`boxes`: page points with a weight from 0 to 1, strongest first."""

    snippet: str
    boxes: tuple[tuple[Box, float], ...]


def word_weights(
    similarity: FloatArray, page_words: npt.NDArray[np.int32], n_words: int
) -> FloatArray:
    """How much each word of the page speaks to the question.

    Args:
        similarity: (n_query, n_pairs) of the question with the vector of each pair.
        page_words: (n_pairs,) the word of each pair.
        n_words: words on the page.

    Returns:
        (n_words,) the best similarity with any query row, 0 where it is below chance.
    """
    weights = np.zeros(n_words, np.float32)
    best = similarity.max(axis=0)  # (n_pairs,)
    np.maximum.at(weights, page_words, np.where(best >= _MIN_SIMILARITY, best, 0))
    return weights


def highlight(
    query: FloatArray, page: FloatArray, vector_words: VectorWords | None, text: PageText
) -> Highlight:
    """Boxes of the words that answer each query row best, and the stretch with most of them.

    Args:
        query: (n_query, dim) unit rows.
        page: (n_page, dim) unit rows, as stored; a pooled row speaks for all its words alike.
        vector_words: the words they stand for; None where they stand for none.
        text: of the page.
    """
    if vector_words is None or not len(page) or not len(text):
        return Highlight(_excerpt(text, 0), ())
    words = vector_words.words
    similarity = vector_words.spread(similarity_map(query, page).T).T  # (n_query, n_pairs)
    start = _best_window(similarity, words, len(text))
    weights = word_weights(similarity, words, len(text))
    strongest = np.argsort(-weights, kind="stable")[:_MAX_BOXES]
    return Highlight(
        _excerpt(text, start),
        tuple(
            (Box(*map(float, text.boxes[word])), round(float(min(1.0, weights[word])), 3))
            for word in strongest
            if weights[word] > 0
        ),
    )


def _best_window(similarity: FloatArray, page_words: npt.NDArray[np.int32], n_words: int) -> int:
    """First word of the stretch whose words together score highest by MaxSim."""
    best_start, best_score = 0, -np.inf
    for start in range(0, n_words, _SNIPPET_WORDS // 4):
        inside = (page_words >= start) & (page_words < start + _SNIPPET_WORDS)
        if inside.any():
            score = float(similarity[:, inside].max(axis=1).sum())
            if score > best_score:
                best_start, best_score = start, score
    return best_start


def _excerpt(text: PageText, start: int) -> str:
    end = min(len(text), start + _SNIPPET_WORDS)
    before = "… " if start > 0 else ""
    after = " …" if end < len(text) else ""
    return f"{before}{text.span_text(start, end)}{after}"
