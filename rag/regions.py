"""The places of a heat map that stand out: cells above a threshold, joined where they touch.

The threshold is relative to the map, for similarities of different models share no scale.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rag.geometry import Box, FloatArray
from rag.heatmap import HeatMap

_CONTRAST = 0.5  # of the way from the middle of a map to its maximum
_MOST_OF_A_PAGE = 0.15  # marked; a page marked all over shows nothing
_AREA_FLOOR = 1e-9


@dataclass(frozen=True, eq=False)
class Regions:
    """What stands out on one raster, as the map `relative` (n_rows, n_columns) from 0 to 1.

    Attributes:
        boxes: page points around touching cells, with their greatest weight; strongest first.
        threshold: from which a cell or a word counts.
    """

    relative: FloatArray
    boxes: tuple[tuple[Box, float], ...]
    threshold: float
    width_pt: float
    height_pt: float

    def weights_under(self, boxes: FloatArray) -> FloatArray:
        """(n,) mean weight of the map under each of the boxes (n, 4) in page points."""
        n_rows, n_columns = self.relative.shape
        # Summed-area table, read between its entries: cells cut by a box count in part.
        sums = np.zeros((n_rows + 1, n_columns + 1))
        sums[1:, 1:] = self.relative.cumsum(axis=0, dtype=np.float64).cumsum(axis=1)
        x0, x1 = (np.clip(boxes[:, i] * n_columns / self.width_pt, 0, n_columns) for i in (0, 2))
        y0, y1 = (np.clip(boxes[:, i] * n_rows / self.height_pt, 0, n_rows) for i in (1, 3))
        total = _at(sums, y1, x1) - _at(sums, y0, x1) - _at(sums, y1, x0) + _at(sums, y0, x0)
        area = np.maximum((x1 - x0) * (y1 - y0), _AREA_FLOOR)
        means: FloatArray = np.clip(total / area, 0, 1).astype(np.float32)
        return means


def regions(heat: HeatMap, raster: FloatArray) -> Regions:
    """What stands out on one of the heat map's rasters (n_rows, n_columns).

    A raster without contrast is one region, the page.
    """
    low, high = float(np.median(raster)), float(raster.max())
    if high > low:
        relative = np.clip((raster - low) / (high - low), 0, 1).astype(np.float32)
    else:  # the greater half of the cells are the maximum
        relative = (raster >= high).astype(np.float32)
    threshold = max(_CONTRAST, float(np.quantile(relative, 1 - _MOST_OF_A_PAGE)))
    found = [
        (
            heat.cells_box(*cells.min(axis=0).tolist(), *cells.max(axis=0).tolist()),
            float(relative[cells[:, 0], cells[:, 1]].max()),
        )
        for cells in _touching(relative >= threshold)
    ]
    found.sort(key=lambda item: (-item[1], -item[0].area, item[0]))
    return Regions(relative, tuple(found), threshold, heat.width_pt, heat.height_pt)


def _touching(hot: npt.NDArray[np.bool_]) -> Iterator[npt.NDArray[np.intp]]:
    """(n, 2) rows and columns of each group of cells that share sides."""
    left = set(zip(*map(np.ndarray.tolist, np.nonzero(hot)), strict=True))
    while left:
        group = [left.pop()]
        for row, column in group:  # grows while it is walked
            near = {(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)}
            group.extend(near & left)
            left -= near
        yield np.array(group)


def _at(sums: npt.NDArray[np.float64], y: FloatArray, x: FloatArray) -> npt.NDArray[np.float64]:
    """(n,) entries at fractional places, linear between them."""
    row = np.minimum(y.astype(np.intp), sums.shape[0] - 2)
    column = np.minimum(x.astype(np.intp), sums.shape[1] - 2)
    down, across = y - row, x - column
    upper = sums[row, column] * (1 - across) + sums[row, column + 1] * across
    lower = sums[row + 1, column] * (1 - across) + sums[row + 1, column + 1] * across
    found: npt.NDArray[np.float64] = upper * (1 - down) + lower * down
    return found
