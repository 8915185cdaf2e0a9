"""Heat maps: how much each place of a page speaks to each row of a query.

Every encoder's vectors are first brought to one form, pairs of a stored vector and a box. All maps
of a query share one range, so that a row that fits nothing stays dark beside one that fits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from rag.errors import ShapeError
from rag.geometry import Box, FloatArray
from rag.page_text import PageText, VectorWords
from rag.scoring.maxsim import similarity_map
from rag.types import VectorKind
from rag.vector_boxes import VectorBoxes

_WORD_CELLS = 128  # along the longer side: about half a line of print
_MOST_CELLS = 256  # along any side
_RANGE_FLOOR = 1e-10
WHOLE_PAGE = 0.95  # of the page's area: a vector that covers it tells no place from another


@dataclass(frozen=True, eq=False)
class PlacedVectors:
    """A page's stored vectors, and all that is known of where they look.

    Attributes:
        vectors: (n_vectors, dim) as stored.
        words: the words they stand for; None where they stand for none.
        boxes: where they look, if they stand for no words; None where nobody knows.
    """

    vectors: FloatArray
    width_pt: float
    height_pt: float
    text: PageText
    words: VectorWords | None
    boxes: VectorBoxes | None

    @property
    def are_words(self) -> bool:
        return self.words is not None

    def __len__(self) -> int:
        return len(self.vectors)


@dataclass(frozen=True, eq=False)
class Places:
    """Pairs of a stored vector and a box inside the page; special tokens have none.

    Attributes:
        boxes: (n_pairs, 4) page points, none of them empty.
        rows: (n_pairs,) the stored vector of each.
        pooled: whether a vector may stand for several boxes.
    """

    boxes: FloatArray
    rows: npt.NDArray[np.intp]
    pooled: bool

    def __len__(self) -> int:
        return len(self.rows)


def vector_places(
    text: PageText, words: VectorWords | None, boxes: VectorBoxes | None
) -> tuple[npt.NDArray[np.intp], FloatArray]:
    """Pairs (n,) of stored vector and (n, 4) box it stands for, special tokens left out.

    Args:
        text: of the page.
        words: the words of it that its vectors stand for, if they stand for words.
        boxes: where they look, if they stand for none; without either there are no pairs.
    """
    if words is not None:
        found, known, kept = text.boxes[words.words], words.rows, slice(None)
    elif boxes is not None:
        found, known = boxes.boxes, boxes.rows
        kept = boxes.kinds != VectorKind.SPECIAL
    else:
        return np.zeros(0, np.intp), np.zeros((0, 4), np.float32)
    rows = np.arange(len(found)) if known is None else known.astype(np.intp)
    return rows[kept], found[kept]


def places_of(page: PlacedVectors) -> Places:
    """The boxes of a page's vectors within its frame, those that have an area there."""
    rows, boxes = vector_places(page.text, page.words, page.boxes)
    frame = np.array([page.width_pt, page.height_pt] * 2, np.float32)
    inside = np.clip(boxes, 0, frame)
    kept = (inside[:, 2:] > inside[:, :2]).all(axis=1)
    known = page.words if page.words is not None else page.boxes
    is_pooled = known is not None and known.rows is not None
    return Places(inside[kept], rows[kept], pooled=is_pooled)


@dataclass(frozen=True, eq=False)
class HeatMap:
    """Maps over one raster that divides the page into equal cells.

    Attributes:
        labels: what each query row stands for, for people.
        values: (n_query, n_rows, n_columns) from 0 to 1 over all rows together; 0 where no vector
            looks.
        maxima: (n_query,) the best similarity with any place.
        best: (n_query, 4) page points, that place.
        pooled: vectors stand for several boxes, so that neighbours may share a value.
        whole_page: vectors look at all of the page alike, so that the map tells no place.
    """

    labels: tuple[str, ...]
    values: FloatArray
    maxima: FloatArray
    best: FloatArray
    width_pt: float
    height_pt: float
    pooled: bool
    whole_page: bool

    @property
    def n_rows(self) -> int:
        return int(self.values.shape[1])

    @property
    def n_columns(self) -> int:
        return int(self.values.shape[2])

    @cached_property
    def whole(self) -> FloatArray:
        """(n_rows, n_columns) of the whole query: the best of its rows."""
        return self.over(range(len(self.values)))

    def over(self, rows: Sequence[int]) -> FloatArray:
        """(n_rows, n_columns) the best of some query rows, on the range of all."""
        best: FloatArray = self.values[list(rows)].max(axis=0)
        return best

    def cells_box(self, top: int, left: int, bottom: int, right: int) -> Box:
        """Around cells, the last ones included."""
        height, width = self.height_pt / self.n_rows, self.width_pt / self.n_columns
        return Box(left * width, top * height, (right + 1) * width, (bottom + 1) * height)


def heat_map(query: FloatArray, labels: Sequence[str], page: PlacedVectors) -> HeatMap:
    """The maps of a query on a page.

    Args:
        query: (n_query, dim).
        labels: of its rows; rows are counted where there are none.
        page: at least one vector.

    Raises:
        ShapeError: no query row or no page vector, or both sides differ in dim.
    """
    if not len(page):
        raise ShapeError("a heat map wants a page with at least one vector")
    similarity = similarity_map(query, page.vectors)  # (n_query, n_vectors)
    places = places_of(page)
    if not _tells_places(places, page):
        return _uniform(similarity, labels, page, places)
    pairs = similarity[:, places.rows]  # (n_query, n_pairs)
    n_rows, n_columns = _raster(places, page)
    cells, of_pair = _covered(places.boxes, page, n_rows, n_columns)
    starts = np.flatnonzero(np.diff(cells, prepend=-1))
    low, high = float(pairs.min()), float(pairs.max())
    values = np.zeros((len(query), n_rows * n_columns), np.float32)
    covered = np.maximum.reduceat(pairs[:, of_pair], starts, axis=1)
    values[:, cells[starts]] = (covered - low) / (high - low + _RANGE_FLOOR)
    return HeatMap(
        labels=_named(labels, len(query)),
        values=values.reshape(len(query), n_rows, n_columns),
        maxima=pairs.max(axis=1),
        best=places.boxes[pairs.argmax(axis=1)],
        width_pt=page.width_pt,
        height_pt=page.height_pt,
        pooled=places.pooled,
        whole_page=False,
    )


def _tells_places(places: Places, page: PlacedVectors) -> bool:
    """Whether any vector looks at less than the whole page."""
    if not len(places):
        return False
    sides = (places.boxes[:, 2:] - places.boxes[:, :2]).astype(np.float64)
    areas = np.bincount(places.rows, weights=sides.prod(axis=1))[np.unique(places.rows)]
    return bool((areas < WHOLE_PAGE * page.width_pt * page.height_pt).any())


def _uniform(
    similarity: FloatArray, labels: Sequence[str], page: PlacedVectors, places: Places
) -> HeatMap:
    """One cell: a row's value over those of the other rows is all there is to say."""
    maxima = similarity[:, np.unique(places.rows)] if len(places) else similarity
    maxima = maxima.max(axis=1)
    low, high = float(maxima.min()), float(maxima.max())
    frame = np.array([0, 0, page.width_pt, page.height_pt], np.float32)
    return HeatMap(
        labels=_named(labels, len(maxima)),
        values=((maxima - low) / (high - low + _RANGE_FLOOR)).reshape(-1, 1, 1),
        maxima=maxima,
        best=np.tile(frame, (len(maxima), 1)),
        width_pt=page.width_pt,
        height_pt=page.height_pt,
        pooled=places.pooled,
        whole_page=True,
    )


def _raster(places: Places, page: PlacedVectors) -> tuple[int, int]:
    """Rows and columns of the finest common grid: the patches', or fractions of the page."""
    if page.are_words:
        cell = max(page.width_pt, page.height_pt) / _WORD_CELLS
        width, height = cell, cell
    else:
        # A page cut into tiles is seen once more as a whole, by the fewer and larger patches; and
        # those at the page's edge may be cut short.
        sides = places.boxes[:, 2:] - places.boxes[:, :2]
        width, height = map(float, np.quantile(sides, 0.5, axis=0, method="lower"))
    n_rows, n_columns = round(page.height_pt / height), round(page.width_pt / width)
    return min(max(n_rows, 1), _MOST_CELLS), min(max(n_columns, 1), _MOST_CELLS)


def _covered(
    boxes: FloatArray, page: PlacedVectors, n_rows: int, n_columns: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """The cells whose middle lies in a box, ascending, and the pair of each.

    A box too small for any middle takes the cell it stands in.
    """
    left, right = _span(boxes[:, 0], boxes[:, 2], n_columns / page.width_pt, n_columns)
    top, bottom = _span(boxes[:, 1], boxes[:, 3], n_rows / page.height_pt, n_rows)
    widths, heights = right - left, bottom - top
    counts = widths * heights
    pair = np.repeat(np.arange(len(boxes)), counts)
    place = np.arange(len(pair)) - np.repeat(np.cumsum(counts) - counts, counts)
    row = top[pair] + place // widths[pair]
    column = left[pair] + place % widths[pair]
    cells = row * n_columns + column
    order = np.argsort(cells, kind="stable")
    return cells[order], pair[order]


def _span(
    start: FloatArray, end: FloatArray, cells_per_pt: float, n_cells: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """(n,) first cell and the one after the last; at least one."""
    near = 1e-3  # of a cell: an edge on a middle up to rounding
    first = np.ceil(start.astype(np.float64) * cells_per_pt - 0.5 - near).astype(np.intp)
    stop = np.ceil(end.astype(np.float64) * cells_per_pt - 0.5 - near).astype(np.intp)
    middle = ((start.astype(np.float64) + end) / 2 * cells_per_pt).astype(np.intp)
    is_small = stop <= first
    first = np.clip(np.where(is_small, middle, first), 0, n_cells - 1)
    stop = np.clip(np.where(is_small, middle + 1, stop), first + 1, n_cells)
    return first, stop


def _named(labels: Sequence[str], n: int) -> tuple[str, ...]:
    return tuple(labels) if len(labels) == n else tuple(f"#{i}" for i in range(1, n + 1))
