"""Which words of a file nobody sees on the page: off it, too small, or all but without ink.

Words that only a program reads are how a document speaks to a program behind its reader's back, so
they stay out of everything that is searched or quoted. What is only hard to see is shown: a word
wrongly hidden is lost. Pixels decide, so any reader's words can be asked about; see
docs/adr/0023-hidden-text.md.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops

from rag.page_text import PageText
from rag.types import RenderedPage

_BoolArray = npt.NDArray[np.bool_]
_IntArray = npt.NDArray[np.integer[Any]]

# Type below this cannot be read on paper; of a tiny page, below this share of its longer side.
_LEAST_SIZE_PT = 1.0
_LEAST_SIZE_SHARE = 1 / 500
# A line of such type has even words and words with ink, by chance of their letters; by its own rule
# it is one or the other. Only beside type that is larger by far: a page may be tiny as a whole.
_LEAST_LINE_PT = 2.0
_LEAST_LINE_SHARE = 1 / 250
_LARGER_TYPE = 3.0
# Out of 255, between neighbouring pixels. A flat ground has 0 in every reader's rendering.
_LEAST_STEP = 4
# What half a line of print has at the least. At 40 dpi and 3 to 12 pt, grey of 0.96 on white (a
# contrast of 1.09 to 1) has 4 to 8, of 0.85 12 and more.
_LEAST_LINE_STEP = 8
# Words of a line that has less have the same faint ink, unless they reach this.
_CLEAR_STEP = 16
_FATE_SHARE = 0.5  # of the letters of a line
_LEAST_LETTERS = 4  # of a line; less of them may have no stroke where one looks
# A word of letters has ink half way up its box, and what covers a word may end at its rims.
_RIM_SHARES = (0.3, 0.2)  # of the box, above and below
# A single letter, or so few pixels of a word, may be thin and lie beside its box: fonts tell
# heights wrongly, OCR places. Ink near it that is no other word's then counts as its own.
_SURE_LETTERS, _SURE_LENGTH_PX, _SURE_HEIGHT_PX = 2, 3, 2
_MOST_HEIGHT = 2.2  # of a line, in sizes of its type
_BESIDE_PT = 3.0


def split_hidden(
    text: PageText, small: RenderedPage, *, width_pt: float, height_pt: float
) -> tuple[PageText, PageText]:
    """The words that people see, and those that they do not.

    Args:
        text: of the page, boxes in its frame.
        small: the page at 40 dpi or more.
        width_pt: of the page.
        height_pt: of the page.
    """
    if not len(text):
        return text, text
    longer_side_pt = max(width_pt, height_pt)
    hidden = (
        _is_off_page(text, width_pt, height_pt)
        | _is_too_small(text, longer_side_pt)
        | _is_in_tiny_line(text, longer_side_pt)
        | _is_too_faint(text, small)
    )
    if not hidden.any():
        return text, PageText.empty()
    return text.chosen(~hidden), text.chosen(hidden)


def _is_off_page(text: PageText, width_pt: float, height_pt: float) -> _BoolArray:
    """(n_words,) whether the middle of a word lies off the page: what is left of it is no word."""
    x, y = (text.boxes[:, 0] + text.boxes[:, 2]) / 2, (text.boxes[:, 1] + text.boxes[:, 3]) / 2
    outside: _BoolArray = (x < 0) | (x > width_pt) | (y < 0) | (y > height_pt)
    return outside


def _is_too_small(text: PageText, longer_side_pt: float) -> _BoolArray:
    """(n_words,) whether the type is too small to read.

    The box has to agree: readers tell sizes before some of a page's scalings.
    """
    least_pt = min(_LEAST_SIZE_PT, _LEAST_SIZE_SHARE * longer_side_pt)
    sides = text.boxes[:, 2:] - text.boxes[:, :2]  # (n_words, 2)
    is_known = text.sizes_pt > 0
    small_type = is_known & (text.sizes_pt < least_pt) & (sides.min(axis=1) < 2 * least_pt)
    small_box = ~is_known & (sides.max(axis=1) < least_pt)
    too_small: _BoolArray = small_type | small_box
    return too_small


def _is_in_tiny_line(text: PageText, longer_side_pt: float) -> _BoolArray:
    """(n_words,) whether a word is in a line too small to read, on a page that has larger type."""
    least_pt = min(_LEAST_LINE_PT, _LEAST_LINE_SHARE * longer_side_pt)
    sides = text.boxes[:, 2:] - text.boxes[:, :2]  # (n_words, 2)
    is_known = text.sizes_pt > 0
    is_tiny: _BoolArray = is_known & (text.sizes_pt < least_pt) & (sides.min(axis=1) < 2 * least_pt)
    if not is_tiny.any() or text.sizes_pt.max() < _LARGER_TYPE * least_pt:
        return np.zeros(len(text), np.bool_)
    return is_tiny & (_share_in_line(text, is_tiny) > _FATE_SHARE)


def _is_too_faint(text: PageText, small: RenderedPage) -> _BoolArray:
    """(n_words,) whether a word is told from its ground by nothing that people see.

    Words of a line share their fate, or half a sentence would stay that stands nowhere.
    """
    image = small.image.convert("RGB")
    across, down = _differences(image, (1, 0)), _differences(image, (0, 1))

    def lacks(step: int) -> _BoolArray:
        return _has_no_ink(text, small, across >= step, down >= step)

    without_ink, is_faint = lacks(_LEAST_STEP), lacks(_LEAST_LINE_STEP)
    if not is_faint.any():
        return without_ink
    in_faint_line = _share_in_line(text, is_faint) >= _FATE_SHARE
    too_faint: _BoolArray = without_ink | (in_faint_line & lacks(_CLEAR_STEP))
    return too_faint


def _share_in_line(text: PageText, chosen: _BoolArray) -> npt.NDArray[np.float64]:
    """(n_words,) what the words chosen are of the letters of a word's line; 0 of few letters."""
    n_letters = np.array([sum(map(str.isalnum, word)) for word in text.words])
    _, line = np.unique(text.lines, return_inverse=True)
    of_line = np.bincount(line, weights=n_letters)
    shares = np.bincount(line, weights=n_letters * chosen) / np.maximum(of_line, 1)
    shares[of_line < _LEAST_LETTERS] = 0
    of_words: npt.NDArray[np.float64] = shares[line]
    return of_words


def _has_no_ink(
    text: PageText, small: RenderedPage, across: _BoolArray, down: _BoolArray
) -> _BoolArray:
    """(n_words,) whether the pixels of a word are one even ground.

    Args:
        text: of the page.
        small: the page.
        across: (height_px, width_px - 1), whether pixel x + 1 differs from pixel x.
        down: (height_px - 1, width_px), the same of rows.
    """
    width_px, height_px = small.image.size

    px_per_pt = small.px_per_pt
    boxes = text.boxes.astype(np.float64) * px_per_pt
    limits = np.array([width_px, height_px, width_px, height_px])

    def is_flat(pixels: _IntArray) -> _BoolArray:
        flat: _BoolArray = _n_inside(across, pixels, "x") + _n_inside(down, pixels, "y") == 0
        return flat

    cores = _nearest_pixels(_without_rims(boxes), limits)
    sizes_px = cores[:, 2:] - cores[:, :2]
    is_sure: _BoolArray = (
        np.array([sum(map(str.isalnum, word)) >= _SURE_LETTERS for word in text.words])
        & _fits_its_type(text)
        & (sizes_px.max(axis=1) >= _SURE_LENGTH_PX)
        & (sizes_px.min(axis=1) >= _SURE_HEIGHT_PX)
    )
    without_ink: _BoolArray = is_sure & is_flat(cores)
    is_suspect = without_ink | is_flat(_nearest_pixels(boxes, limits))
    suspects = np.flatnonzero(is_suspect & ~is_sure)
    if not len(suspects):
        return without_ink

    outer = _whole_pixels(boxes, _BESIDE_PT * px_per_pt, limits)
    # What a pixel of a neighbour's box shows, or of its rim, is the neighbour's.
    rim = _whole_pixels(boxes, 1.0, limits)
    taken = np.zeros((height_px, width_px), np.bool_)
    for x0, y0, x1, y1 in rim[~is_suspect]:
        taken[y0:y1, x0:x1] = True
    for word in suspects:
        x0, y0, x1, y1 = outer[word]
        if x0 >= x1 or y0 >= y1:
            without_ink[word] = True
            continue
        free = ~taken[y0:y1, x0:x1]
        has_ink = (across[y0:y1, x0 : x1 - 1] & free[:, 1:] & free[:, :-1]).any() or (
            down[y0 : y1 - 1, x0:x1] & free[1:] & free[:-1]
        ).any()
        without_ink[word] = not has_ink
    return without_ink


def _fits_its_type(text: PageText) -> _BoolArray:
    """(n_words,) whether a box is as high and long as its letters can be; readers tell some that
    reach over several lines.
    """
    sides = text.boxes[:, 2:] - text.boxes[:, :2]  # (n_words, 2)
    n_chars = np.array([len(word) for word in text.words])
    fits: _BoolArray = (sides.min(axis=1) <= _MOST_HEIGHT * text.sizes_pt) & (
        sides.max(axis=1) <= (n_chars + 1) * text.sizes_pt
    )
    return fits | (text.sizes_pt <= 0)


def _without_rims(boxes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(n, 4) boxes less high by `_RIM_SHARES`; what is higher than wide, whose line may run upwards
    or be short, less wide as well.
    """
    sides = boxes[:, 2:] - boxes[:, :2]  # (n, 2)
    is_high = sides[:, 1] > sides[:, 0]
    above, below = _RIM_SHARES
    cores = boxes.copy()
    cores[:, 1] += above * sides[:, 1]
    cores[:, 3] -= below * sides[:, 1]
    cores[is_high, 0] += below * sides[is_high, 0]
    cores[is_high, 2] -= below * sides[is_high, 0]
    return cores


def _nearest_pixels(boxes: npt.NDArray[np.float64], limits: _IntArray) -> _IntArray:
    """(n, 4) pixels that lie within a box by half at least, within the image; one at the least."""
    nearest: _IntArray = np.clip(np.rint(boxes), 0, limits).astype(np.int64)
    nearest[:, :2] = np.minimum(nearest[:, :2], limits[:2] - 1)
    nearest[:, 2:] = np.maximum(nearest[:, 2:], nearest[:, :2] + 1)
    return nearest


def _whole_pixels(boxes: npt.NDArray[np.float64], beside_px: float, limits: _IntArray) -> _IntArray:
    """(n, 4) every pixel that a box grown by `beside_px` touches, within the image."""
    low = np.floor(boxes[:, :2] - beside_px)
    high = np.ceil(boxes[:, 2:] + beside_px)
    within: _IntArray = np.clip(np.hstack([low, high]), 0, limits).astype(np.int64)
    return within


def _differences(image: Image.Image, apart: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """How far a pixel is from the one (x, y) pixels on, in the colour channel where most."""
    x, y = apart
    width_px, height_px = image.size
    difference = ImageChops.difference(
        image.crop((0, 0, width_px - x, height_px - y)), image.crop((x, y, width_px, height_px))
    )
    red, green, blue = difference.split()
    return np.asarray(ImageChops.lighter(ImageChops.lighter(red, green), blue))


def _n_inside(steps: _BoolArray, boxes: _IntArray, axis: str) -> _IntArray:
    """(n,) steps between two pixels of a box; boxes (n, 4) in whole pixels."""
    total: _IntArray = np.zeros((steps.shape[0] + 1, steps.shape[1] + 1), np.int32)
    np.cumsum(np.cumsum(steps, axis=0), axis=1, out=total[1:, 1:])
    x0, y0, x1, y1 = boxes.T
    if axis == "x":
        x1 = np.maximum(x1 - 1, x0)
    else:
        y1 = np.maximum(y1 - 1, y0)
    x0, x1 = np.minimum(x0, steps.shape[1]), np.minimum(x1, steps.shape[1])
    y0, y1 = np.minimum(y0, steps.shape[0]), np.minimum(y1, steps.shape[0])
    inside: _IntArray = total[y1, x1] - total[y0, x1] - total[y1, x0] + total[y0, x0]
    return inside
