"""What engines read, lines of words in pixels, made the text of a page in points."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rag.page_text import PageText
from rag.types import RenderedPage

# Controls, direction marks, private use, not-a-character. The joiners U+200C and U+200D stay: they
# are spelling in Persian and Indic scripts.
_INVISIBLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ue000-\uf8ff\ufeff"
    "\ufff9-\uffff]"
)


@dataclass(frozen=True)
class ReadWord:
    """A word where it stands.

    Attributes:
        box_px: x0, y0, x1, y1 from the top left of the image.
        confidence: 0 to 1.
    """

    word: str
    box_px: tuple[float, float, float, float]
    confidence: float


@dataclass(frozen=True)
class ReadLine:
    """Words of one line; `size_px` is the size of its type."""

    words: tuple[ReadWord, ...]
    size_px: float


def page_text(lines: Sequence[ReadLine], page: RenderedPage) -> PageText:
    """Lines in the order given; words without a visible character or outside the image left out."""
    words: list[str] = []
    boxes: list[tuple[float, float, float, float]] = []
    numbers: list[int] = []
    sizes: list[float] = []
    confidences: list[float] = []
    width_px, height_px = page.image.size
    for number, line in enumerate(lines):
        for read in line.words:
            x0, y0, x1, y1 = read.box_px
            x0, x1 = max(0.0, x0), min(float(width_px), x1)
            y0, y1 = max(0.0, y0), min(float(height_px), y1)
            if x0 >= x1 or y0 >= y1:
                continue
            for word in _INVISIBLE.sub("", read.word).split():
                words.append(word)
                boxes.append((x0, y0, x1, y1))
                numbers.append(number)
                sizes.append(line.size_px)
                confidences.append(min(1.0, max(0.0, read.confidence)))
    if not words:
        return PageText.empty()
    pt_per_px = (page.width_pt / width_px, page.height_pt / height_px)
    return PageText(
        tuple(words),
        (np.array(boxes) * np.array(pt_per_px * 2)).astype(np.float32),
        np.array(numbers, np.int32),
        (np.array(sizes) * pt_per_px[1]).astype(np.float32),
        np.zeros(len(words), np.bool_),
        np.array(confidences, np.float32),
    )
