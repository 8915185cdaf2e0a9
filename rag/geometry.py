"""Boxes on a page, all in one frame.

Page coordinates are PDF points, origin top left, after /Rotate, on the visible (crop) box.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]


class Box(NamedTuple):
    """A rectangle in page points; `x0 <= x1`, `y0 <= y1`, y grows downwards."""

    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def width(self) -> float:
        return max(0.0, self.x1 - self.x0)

    @property
    def height(self) -> float:
        return max(0.0, self.y1 - self.y0)

    @property
    def area(self) -> float:
        return self.width * self.height

    @property
    def is_empty(self) -> bool:
        return self.area == 0.0

    def intersection(self, other: Box) -> Box:
        x0, y0 = max(self.x0, other.x0), max(self.y0, other.y0)
        return Box(x0, y0, max(x0, min(self.x1, other.x1)), max(y0, min(self.y1, other.y1)))

    def scaled(self, factor: float) -> Box:
        return Box(self.x0 * factor, self.y0 * factor, self.x1 * factor, self.y1 * factor)

    def rounded(self) -> list[float]:
        """As JSON shows it: tenths of a point."""
        return [round(float(value), 1) for value in self]


def union(boxes: Iterable[Box]) -> Box:
    """The smallest box around all of them; an empty box at the origin for none."""
    found = list(boxes)
    if not found:
        return Box(0.0, 0.0, 0.0, 0.0)
    return Box(
        min(box.x0 for box in found),
        min(box.y0 for box in found),
        max(box.x1 for box in found),
        max(box.y1 for box in found),
    )


def as_boxes(array: FloatArray) -> list[Box]:
    """(n, 4) rows as boxes."""
    return [Box(*map(float, row)) for row in array]
