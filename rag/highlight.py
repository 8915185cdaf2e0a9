"""Where on a page the question was found: boxes with weights, and a snippet around them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rag.geometry import Box, FloatArray
from rag.page_text import PageText
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
    query: FloatArray, page: FloatArray, page_words: npt.NDArray[np.int32], n_words: int
) -> FloatArray:
    """How much each word of the page speaks to the question.

    Args:
        query: (n_query, dim) unit rows.
        page: (n_page, dim) unit rows.
        page_words: (n_page,) the word each row stands for.
        n_words: words on the page.

    Returns:
        (n_words,) the best similarity with any query row, 0 where it is below chance.
    """
    weights = np.zeros(n_words, np.float32)
    if len(page):
        best = similarity_map(query, page).max(axis=0)  # (n_page,)
        np.maximum.at(weights, page_words, np.where(best >= _MIN_SIMILARITY, best, 0))
    return weights


def highlight(
    query: FloatArray, page: FloatArray, page_words: npt.NDArray[np.int32] | None, text: PageText
) -> Highlight:
    """Boxes of the words that answer each query row best, and the stretch with most of them."""
    if page_words is None or not len(page) or not len(text):
        return Highlight(_excerpt(text, 0), ())
    similarity = similarity_map(query, page)  # (n_query, n_page)
    start = _best_window(similarity, page_words, len(text))
    weights = word_weights(query, page, page_words, len(text))
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
