"""A page that stands on its side or upside down, read the way its words run.

Engines read such a page as upright and find words in it that nobody wrote, without confidence.
Words come back in the frame of the page as it stands.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from PIL import Image

from rag.geometry import FloatArray
from rag.page_text import PageText
from rag.types import RenderedPage

# Mean confidence of a page; docs/adr/0018-ocr.md has what was measured.
_SURE = 0.75
_LEAST_GAIN = 0.1
_LEAST_SURE = 0.6

_TURNS = (
    Image.Transpose.ROTATE_90,  # Pillow turns counterclockwise
    Image.Transpose.ROTATE_270,
    Image.Transpose.ROTATE_180,
)


def read_any_way_up(read: Callable[[RenderedPage], PageText], page: RenderedPage) -> PageText:
    """Words of a page by an engine that reads upright pages; turned where that makes it surer."""
    upright = read(page)
    if not len(upright) or confidence(upright) >= _SURE:
        return upright
    # All of them: Tesseract reads some lines that run upwards, but loses words.
    readings = [(turn, read(_turned(page, turn))) for turn in _TURNS]
    turn, text = max(readings, key=lambda each: confidence(each[1]) * len(each[1]))
    # Half the words or more: a line that runs along a margin is no reason to turn the others.
    if 2 * len(text) < len(upright) or confidence(text) < max(
        _SURE, confidence(upright) + _LEAST_GAIN
    ):
        return upright
    return dataclasses.replace(text, boxes=_turned_back(text.boxes, turn, page))


def confidence(read: PageText) -> float:
    """Mean over the words, 0 to 1; 0 of none."""
    if not len(read) or read.confidences is None:
        return 0.0
    return float(np.mean(read.confidences))


def is_unsure(read: PageText) -> bool:
    """Whether words were read of which most are wrong."""
    return len(read) > 0 and confidence(read) < _LEAST_SURE


def _turned(page: RenderedPage, turn: Image.Transpose) -> RenderedPage:
    sides_pt = (page.width_pt, page.height_pt)
    if turn is not Image.Transpose.ROTATE_180:
        sides_pt = sides_pt[::-1]
    return RenderedPage(page.image.transpose(turn), *sides_pt)


def _turned_back(boxes: FloatArray, turn: Image.Transpose, page: RenderedPage) -> FloatArray:
    """(n, 4) boxes of a turned page, in the frame of the page as it was."""
    x0, y0, x1, y1 = boxes.T
    width_pt, height_pt = page.width_pt, page.height_pt
    if turn is Image.Transpose.ROTATE_90:
        back = (width_pt - y1, x0, width_pt - y0, x1)
    elif turn is Image.Transpose.ROTATE_270:
        back = (y0, height_pt - x1, y1, height_pt - x0)
    else:
        back = (width_pt - x1, height_pt - y1, width_pt - x0, height_pt - y0)
    return np.stack(back, axis=1).astype(np.float32)
