import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from rag.geometry import Box, as_boxes, union
from rag.testing import covers

coordinates = st.integers(-8000, 8000).map(lambda eighths: eighths / 8)  # exact in float32


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    x0, x1 = sorted((draw(coordinates), draw(coordinates)))
    y0, y1 = sorted((draw(coordinates), draw(coordinates)))
    return Box(x0, y0, x1, y1)


@given(a=boxes(), b=boxes())
def test_overlaps_have_the_same_area_both_ways_round(a: Box, b: Box) -> None:
    assert a.intersection(b).area == b.intersection(a).area


@given(a=boxes(), b=boxes())
def test_a_real_overlap_is_one_box_that_both_sides_cover(a: Box, b: Box) -> None:
    common = a.intersection(b)
    if not common.is_empty:
        assert common == b.intersection(a)
        assert covers(a, common, tolerance_pt=0)
        assert covers(b, common, tolerance_pt=0)


@given(a=boxes())
def test_a_box_overlaps_itself_entirely(a: Box) -> None:
    assert a.intersection(a) == a


@given(a=boxes(), b=boxes())
def test_covering_means_that_the_overlap_is_the_covered_box(a: Box, b: Box) -> None:
    assume(not b.is_empty)  # an empty overlap is an area of 0, and lies anywhere
    assert covers(a, b, tolerance_pt=0) == (a.intersection(b) == b)


def test_boxes_side_by_side_do_not_overlap() -> None:
    left, right, below = Box(0, 0, 10, 10), Box(10, 0, 20, 10), Box(0, 30, 10, 40)
    assert left.intersection(right).is_empty
    assert left.intersection(below).is_empty
    assert left.intersection(below).height == 0


@given(found=st.lists(boxes(), min_size=1))
def test_a_union_covers_every_box_and_no_smaller_box_does(found: list[Box]) -> None:
    around = union(found)
    assert all(covers(around, box, tolerance_pt=0) for box in found)
    assert around.x0 in {box.x0 for box in found}
    assert around.y0 in {box.y0 for box in found}
    assert around.x1 in {box.x1 for box in found}
    assert around.y1 in {box.y1 for box in found}


def test_the_union_of_no_boxes_is_empty() -> None:
    assert union([]) == Box(0, 0, 0, 0)
    assert union(iter([Box(1, 2, 3, 4)])) == Box(1, 2, 3, 4)


@given(a=boxes(), power=st.integers(-4, 4))
def test_scaling_is_undone_by_its_inverse_and_squares_the_area(a: Box, power: int) -> None:
    factor = 2.0**power  # exact in floating point
    assert a.scaled(factor).scaled(1 / factor) == a
    assert a.scaled(factor).area == a.area * factor**2


@given(a=boxes(), b=boxes())
def test_scaling_keeps_overlaps(a: Box, b: Box) -> None:
    assert a.intersection(b).scaled(2) == a.scaled(2).intersection(b.scaled(2))


@given(found=st.lists(boxes()))
def test_rows_of_an_array_become_the_boxes_they_came_from(found: list[Box]) -> None:
    array = np.array(found, dtype=np.float32).reshape(-1, 4)
    for box, original in zip(as_boxes(array), found, strict=True):
        assert box == original


def test_rounding_keeps_tenths_of_a_point() -> None:
    assert Box(0.04, 1.26, 2, 3.999).rounded() == [0.0, 1.3, 2.0, 4.0]
