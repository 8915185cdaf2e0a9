"""A page, or a part of one, as a query: the vectors the index keeps of what is there.

No model is asked, so every encoder's collection can be searched by its own pages.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rag.errors import InputError
from rag.geometry import Box, FloatArray
from rag.heatmap import WHOLE_PAGE, vector_places
from rag.repository import CollectionReader, StoredPage
from rag.types import PageField, PageRef

IntArray = npt.NDArray[np.intp]

_MIN_SHARE = 0.5  # of a vector's own area that has to lie in the region
_SLACK_PT = 0.5  # frames and boxes are shown rounded, and what was shown may be handed in


@dataclass(frozen=True)
class PageRegion:
    """A page, or what of it lies in `box` (page points)."""

    ref: PageRef
    box: Box | None = None


@dataclass(frozen=True, eq=False)
class RegionVectors:
    """What is stored of a region.

    Attributes:
        vectors: (n, dim) rows as they are kept for MaxSim; at least one.
        labels: the words of each row, or else its first box.
    """

    vectors: FloatArray
    labels: tuple[str, ...]


def region_vectors(reader: CollectionReader, page: StoredPage, box: Box | None) -> RegionVectors:
    """The stored vectors of a page that stand for what is in the box; special tokens never do.

    A vector belongs to the region that holds at least half of its own area; where none does, to
    every region it touches.

    Raises:
        InputError: `bad_region`, a box that is none or leaves the page; `empty_region`, nothing
            that has a vector is in it.
    """
    inside = None if box is None else _placed(box, page)
    stored = None
    if page.record_id is not None:
        stored = reader.vectors([page.record_id], PageField.PATCHES).get(page.record_id)
    if stored is None:
        raise _empty(page, None)
    rows, boxes = _places(page)
    if inside is None:
        chosen: IntArray = np.unique(rows)
    else:
        shares = _shares(rows, boxes, inside, n_rows=len(stored))
        chosen = np.flatnonzero(shares >= _MIN_SHARE)
        if not len(chosen):
            chosen = np.flatnonzero(shares > 0)
    if not len(chosen):
        raise _empty(page, inside)
    return RegionVectors(stored[chosen], _labels(page, rows, boxes, chosen))


def is_one_vector(page: StoredPage) -> bool:
    """Whether one vector stands for the whole page, so that no part of it can be told apart."""
    rows, boxes = _places(page)
    if len(np.unique(rows)) != 1:
        return False
    covered = Box(*map(float, boxes[0])).area
    return len(rows) == 1 and covered >= WHOLE_PAGE * page.width_pt * page.height_pt


def _placed(box: Box, page: StoredPage) -> Box:
    """The box within the page's frame."""
    if not all(map(math.isfinite, box)) or box.x0 >= box.x1 or box.y0 >= box.y1:
        raise InputError(
            f"{_coordinates(box)} is no region",
            code="bad_region",
            next_step=f"Give left, top, right, bottom, in points. {_frame(page)}",
        )
    frame = Box(0.0, 0.0, page.width_pt, page.height_pt)
    inside = box.intersection(frame)
    beyond = max(abs(given - cut) for given, cut in zip(box, inside, strict=True))
    if beyond > _SLACK_PT or inside.is_empty:
        raise InputError(
            f"the region {_coordinates(box)} is not on page {page.ref.page_number} of "
            f"{page.source}",
            code="bad_region",
            next_step=_frame(page),
        )
    return inside


def _places(page: StoredPage) -> tuple[IntArray, FloatArray]:
    return vector_places(page.text, page.vector_words, page.vector_boxes)


def _shares(rows: IntArray, boxes: FloatArray, region: Box, *, n_rows: int) -> FloatArray:
    """(n_rows,): which part of each vector's boxes, taken together, lies in the region."""
    low, high = boxes[:, :2].astype(np.float64), boxes[:, 2:].astype(np.float64)
    first, last = np.array(region[:2]), np.array(region[2:])
    lengths = high - low
    overlaps = np.clip(np.minimum(high, last) - np.maximum(low, first), 0, None)
    # A box without a width or height, of a word in a broken font, is in or out as a whole.
    within = ((low >= first) & (high <= last)).astype(np.float64)
    parts = np.where(lengths > 0, overlaps / np.where(lengths > 0, lengths, 1), within)
    areas = np.maximum(lengths, 1e-3).prod(axis=1)
    inside = np.bincount(rows, parts.prod(axis=1) * areas, minlength=n_rows)
    whole = np.bincount(rows, areas, minlength=n_rows)
    shares: FloatArray = (inside / np.maximum(whole, 1e-12)).astype(np.float32)
    return shares


def _labels(
    page: StoredPage, rows: IntArray, boxes: FloatArray, chosen: IntArray
) -> tuple[str, ...]:
    named: dict[int, list[str]] = {int(row): [] for row in chosen}
    for pair, row in enumerate(rows.tolist()):
        if row not in named:
            continue
        if page.vector_boxes is None and page.vector_words is not None:
            named[row].append(page.text.words[page.vector_words.words[pair]])
        elif not named[row]:
            named[row].append(",".join(f"{value:.0f}" for value in boxes[pair]))
    return tuple(" ".join(words) for words in named.values())


def _empty(page: StoredPage, box: Box | None) -> InputError:
    what = f"page {page.ref.page_number} of {page.source}"
    if box is None:
        return InputError(
            f"{what} has no vectors to search with",
            code="empty_region",
            next_step="Choose a page with something on it; `octavo show` lists them.",
        )
    return InputError(
        f"nothing in the region {_coordinates(box)} of {what} has a vector",
        code="empty_region",
        next_step=f"Choose a larger region. {_frame(page)}",
    )


def _coordinates(box: Box) -> str:
    return ",".join(f"{value:g}" for value in box)


def _frame(page: StoredPage) -> str:
    return (
        f"The page is {page.width_pt:g} x {page.height_pt:g} points, counted from its top left "
        "corner."
    )
