"""Boxes of vectors come out of their bytes as they went in."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rag.vector_boxes import VectorBoxes


@given(n=st.integers(0, 40), pooled=st.booleans(), seed=st.integers(0, 2**32 - 1))
def test_bytes_give_back_the_same_boxes(n, pooled, seed):
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, max(n, 1), n, dtype=np.int32) if pooled else None
    boxes = VectorBoxes(
        rng.uniform(0, 800, (n, 4)).astype(np.float32),
        rng.integers(0, 5, n, dtype=np.uint8),
        rows,
    )
    again = VectorBoxes.from_bytes(boxes.to_bytes())
    np.testing.assert_array_equal(again.boxes, boxes.boxes)
    np.testing.assert_array_equal(again.kinds, boxes.kinds)
    assert (again.rows is None) == (rows is None)
    if rows is not None:
        np.testing.assert_array_equal(again.rows, rows)


def test_a_regular_grid_takes_few_bytes():
    y, x = np.mgrid[:32, :32].astype(np.float32).reshape(2, -1) * 20
    grid = VectorBoxes(np.stack([x, y, x + 20, y + 20], 1), np.zeros(1024, np.uint8))
    assert len(grid.to_bytes()) < 1000
