"""Layout recall and MMDocIR's average precision, by areas that can be counted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.layout_recall import PageBox, layout_recall, map_mmdocir
from rag.geometry import Box

LEFT_HALF = PageBox(1, Box(0, 0, 0.5, 1))
TOP_HALF = PageBox(1, Box(0, 0, 1, 0.5))
WHOLE = PageBox(1, Box(0, 0, 1, 1))

GRID = 8
cells = st.tuples(*[st.integers(0, GRID)] * 4).map(
    lambda c: Box(min(c[0], c[2]), min(c[1], c[3]), max(c[0], c[2]), max(c[1], c[3]))
)
page_boxes = st.lists(st.builds(PageBox, st.integers(1, 2), cells), max_size=5)


@pytest.mark.parametrize(
    ("retrieved", "gold", "recall"),
    [
        ([WHOLE], [LEFT_HALF], 1),
        ([TOP_HALF], [LEFT_HALF], 0.5),
        ([TOP_HALF, TOP_HALF, TOP_HALF], [LEFT_HALF], 0.5),  # overlap counts once
        ([LEFT_HALF], [LEFT_HALF, LEFT_HALF], 1),  # as does a gold box that is listed twice
        ([LEFT_HALF], [LEFT_HALF, TOP_HALF], 2 / 3),
        ([PageBox(2, WHOLE.box)], [LEFT_HALF], 0),  # of another page
        ([], [LEFT_HALF], 0),
        ([WHOLE], [], 0),
        ([WHOLE], [PageBox(1, Box(0.5, 0.5, 0.5, 0.9))], 0),  # gold without area
    ],
)
def test_layout_recall_is_the_gold_area_that_is_covered(retrieved, gold, recall):
    assert layout_recall(retrieved, gold) == pytest.approx(recall)


@given(retrieved=page_boxes, gold=page_boxes)
def test_layout_recall_equals_counting_cells(retrieved, gold):
    def cells_of(boxes):
        return {
            (page, x, y)
            for page, box in boxes
            for x in range(int(box.x0), int(box.x1))
            for y in range(int(box.y0), int(box.y1))
        }

    wanted = cells_of(gold)
    expected = len(cells_of(retrieved) & wanted) / len(wanted) if wanted else 0
    assert layout_recall(retrieved, gold) == pytest.approx(expected)


def test_their_average_precision_divides_by_what_was_found():
    # Proper: (1 + 2/3) / 3.
    assert map_mmdocir(["a", "x", "b"], {"a", "b", "c"}, k=3) == pytest.approx((1 + 2 / 3) / 2)
    assert map_mmdocir(["a", "x", "b"], {"a", "b", "c"}, k=1) == 1
    assert map_mmdocir(["x"], {"a"}, k=5) == 0
    assert map_mmdocir([], set(), k=5) == 0
