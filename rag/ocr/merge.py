"""A page's own words and those that OCR read, made the words of the page.

Own words are exact where they are right, so they stay unless the pixels contradict them. Nothing is
found twice: where both have a word, one is kept.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from rag.geometry import FloatArray
from rag.page_text import PageText

# Reasons why the own words are in doubt; of others they stay, and OCR adds to them.
_IN_DOUBT = frozenset({"looks_wrong", "unmapped_glyphs"})
# Of the area of the smaller of two words: the same place on the page.
_SAME_PLACE = 0.3
# Share of words that both have, of all that either has: the two read the same page.
_AGREE = 0.5
# Mean confidence: of a page of clean type 0.9 and more, of texture taken for type below 0.6.
_SURE = 0.7
_FEW_WORDS = 5
_MARKS = re.compile(r"\W+")
_ROWS_AT_ONCE = 512


def merged(own: PageText, read: PageText, reason: str) -> PageText:
    """The words of a page that has both.

    Args:
        own: of the file, as people see them.
        read: by OCR, with confidences.
        reason: why the page was read, as `needs_ocr` says it, or another for pages whose own words
            will do.

    Returns:
        `own` itself where OCR has nothing to add.
    """
    if not len(own):
        return read if len(read) else own
    if reason in _IN_DOUBT:
        return read if _is_better(read, own) else own
    added = read.chosen(~overlaps(read.boxes, own.boxes))
    return _interleaved(own, added) if len(added) else own


def _is_better(read: PageText, own: PageText) -> bool:
    """Whether OCR read something else than the own words, and is sure of it."""
    if len(read) < _FEW_WORDS or agreement(own.words, read.words) >= _AGREE:
        return False
    assert read.confidences is not None
    return float(np.mean(read.confidences)) >= _SURE


def agreement(own: Sequence[str], read: Sequence[str]) -> float:
    """Words that both have, as often as both have them, over those that either has; 0 to 1.

    Case and marks do not count.
    """
    first, second = _normalised(own), _normalised(read)
    either = (first | second).total()
    return (first & second).total() / either if either else 0.0


def _normalised(words: Sequence[str]) -> Counter[str]:
    found = Counter(_MARKS.sub("", word).casefold() for word in words)
    del found[""]
    return found


def overlaps(boxes: FloatArray, others: FloatArray) -> npt.NDArray[np.bool_]:
    """(n,) whether a box of `boxes` (n, 4) stands where one of `others` (m, 4) does."""
    # In single precision a box that shares just `_SAME_PLACE` falls on either side by rounding.
    exact, others_exact = boxes.astype(np.float64), others.astype(np.float64)
    area, other_area = _areas(exact), _areas(others_exact)
    found = np.zeros(len(boxes), np.bool_)
    for start in range(0, len(boxes), _ROWS_AT_ONCE):
        some = exact[start : start + _ROWS_AT_ONCE, None]  # (rows, 1, 4)
        sides = np.minimum(some[..., 2:], others_exact[:, 2:]) - np.maximum(
            some[..., :2], others_exact[:, :2]
        )
        shared = np.prod(np.maximum(sides, 0), axis=2)  # (rows, m)
        smaller = np.minimum(area[start : start + _ROWS_AT_ONCE, None], other_area)
        found[start : start + _ROWS_AT_ONCE] = (
            (shared > 0) & (shared >= _SAME_PLACE * smaller)
        ).any(axis=1)
    return found


def _areas(boxes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    sides = boxes[:, 2:] - boxes[:, :2]
    areas: npt.NDArray[np.float64] = sides[:, 0] * sides[:, 1]
    return areas


def _interleaved(own: PageText, added: PageText) -> PageText:
    """All words of both, line by line from the top; either's own order of lines stays."""
    lines = _top_first(
        [(own, start, end) for start, end in own.line_spans],
        [(added, start, end) for start, end in added.line_spans],
    )
    confidences = {id(text): _confidences(text) for text in (own, added)}
    return PageText(
        tuple(word for text, start, end in lines for word in text.words[start:end]),
        np.concatenate([text.boxes[start:end] for text, start, end in lines]),
        np.repeat(np.arange(len(lines)), [end - start for _, start, end in lines]).astype(np.int32),
        np.concatenate([text.sizes_pt[start:end] for text, start, end in lines]),
        np.concatenate([text.bold[start:end] for text, start, end in lines]),
        np.concatenate([confidences[id(text)][start:end] for text, start, end in lines]),
    )


def _confidences(text: PageText) -> FloatArray:
    if text.confidences is None:
        return np.full(len(text), np.nan, np.float32)
    return text.confidences


_Line = tuple[PageText, int, int]


def _top_first(first: list[_Line], second: list[_Line]) -> list[_Line]:
    taken: list[_Line] = []
    i = j = 0
    while i < len(first) and j < len(second):
        if _middle(second[j]) < _middle(first[i]):
            taken.append(second[j])
            j += 1
        else:
            taken.append(first[i])
            i += 1
    return [*taken, *first[i:], *second[j:]]


def _middle(line: _Line) -> float:
    text, start, end = line
    return float(text.boxes[start:end, [1, 3]].mean())
