"""Where on a page the question was found: boxes with weights, a snippet, the words under them.

Vectors of words mark their words; vectors of places mark the regions they form and name the words
that stand there; vectors of whole pages know no place, so the question's own words are marked.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rag.geometry import Box, FloatArray, as_boxes
from rag.heatmap import HeatMap, PlacedVectors, heat_map
from rag.page_text import PageText
from rag.regions import regions
from rag.scoring.lexical import content_terms, terms
from rag.scoring.maxsim import similarity_map

_SNIPPET_WORDS = 32
_MIN_SIMILARITY = 0.5  # below it words of unlike texts meet by chance
_MAX_BOXES = 24
_LEAST_RARITY = 0.3  # of the rarest: a term that stands everywhere marks nothing
_ANYWHERE = 0.2  # weight of the page as a whole, where nothing on it can be marked


@dataclass(frozen=True)
class Highlight:
    """Boxes in page points with a weight from 0 to 1, strongest first; and words, in their order.

    Attributes:
        words: those that are marked, at most as many as boxes may be.
    """

    snippet: str
    boxes: tuple[tuple[Box, float], ...]
    words: tuple[str, ...] = ()


def highlight(query: FloatArray, page: PlacedVectors, question: str) -> Highlight:
    """What of the page speaks to the question.

    Args:
        query: (n_query, dim) unit rows.
        page: with its vectors; without any, only its first words come back.
        question: its words; empty for a query without.
    """
    if not len(page):
        return Highlight(_excerpt(page.text, 0), ())
    if page.words is not None:
        return _of_words(query, page)
    heat = heat_map(query, (), page)
    if heat.whole_page:
        return _of_terms(question, page)
    return _of_places(heat, page.text)


# --- vectors of words ---------------------------------------------------------------------------
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


def _of_words(query: FloatArray, page: PlacedVectors) -> Highlight:
    """Boxes of the words that answer each query row best, and the stretch with most of them.

    A pooled row speaks for all its words alike.
    """
    text = page.text
    if page.words is None or not len(text):
        return Highlight(_excerpt(text, 0), ())
    words = page.words.words
    similarity = page.words.spread(similarity_map(query, page.vectors).T).T  # (n_query, n_pairs)
    start = _best_window(similarity, words, len(text))
    return _marked(text, word_weights(similarity, words, len(text)), start)


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


# --- vectors of places --------------------------------------------------------------------------
def _of_places(heat: HeatMap, text: PageText) -> Highlight:
    """The map's strongest regions; the stretch of text with most of the map under it."""
    found = regions(heat, heat.whole)
    weights = found.weights_under(text.boxes)
    start = _heaviest_window(weights)
    marked = _strongest(weights * (weights >= found.threshold))
    return Highlight(
        _excerpt(text, start),
        tuple((box, round(weight, 3)) for box, weight in found.boxes[:_MAX_BOXES]),
        tuple(text.words[word] for word in sorted(marked)),
    )


def _heaviest_window(weights: FloatArray) -> int:
    """First word of the stretch whose words have most weight together; the first of equals."""
    starts = range(0, len(weights), _SNIPPET_WORDS // 4)
    sums = [float(weights[start : start + _SNIPPET_WORDS].sum()) for start in starts]
    return starts[int(np.argmax(sums))] if sums else 0


# --- vectors of whole pages ---------------------------------------------------------------------
def _of_terms(question: str, page: PlacedVectors) -> Highlight:
    """The question's own words; the page as a whole where it holds none of them."""
    weights = _term_weights(set(content_terms(question)), page.text)
    shown = _marked(page.text, weights, _heaviest_window(weights))
    if shown.boxes:
        return shown
    whole = Box(0.0, 0.0, page.width_pt, page.height_pt)
    return Highlight(shown.snippet, ((whole, _ANYWHERE),))


def _term_weights(wanted: set[str], text: PageText) -> FloatArray:
    """(n_words,) from 0 to 1: the rarer a wanted term is on the page, the more its words count."""
    held = [wanted.intersection(terms(word)) for word in text.words]
    counts = Counter(term for found in held for term in found)
    rarity = {term: math.log(1 + len(text) / count) for term, count in counts.items()}
    most = max(rarity.values(), default=1.0)
    weights = np.array(
        [max((rarity[term] / most for term in found), default=0.0) for found in held], np.float32
    )
    return weights * (weights >= _LEAST_RARITY)


# --- shared -------------------------------------------------------------------------------------
def _strongest(weights: FloatArray) -> list[int]:
    """The words of most weight, at most `_MAX_BOXES`; none without weight."""
    order = np.argsort(-weights, kind="stable")[:_MAX_BOXES]
    return [int(word) for word in order if weights[word] > 0]


def _marked(text: PageText, weights: FloatArray, start: int) -> Highlight:
    strongest = _strongest(weights)
    boxes = as_boxes(text.boxes[strongest])
    return Highlight(
        _excerpt(text, start),
        tuple(
            (box, round(float(min(1.0, weights[word])), 3))
            for word, box in zip(strongest, boxes, strict=True)
        ),
        tuple(text.words[word] for word in sorted(strongest)),
    )


def _excerpt(text: PageText, start: int) -> str:
    end = min(len(text), start + _SNIPPET_WORDS)
    before = "… " if start > 0 else ""
    after = " …" if end < len(text) else ""
    return f"{before}{text.span_text(start, end)}{after}"
