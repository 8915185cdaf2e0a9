"""Heat maps against what they must be, on grids of any shape."""

from itertools import pairwise

import numpy as np
import pytest
from fakes import grid_boxes, unit
from hypothesis import given
from hypothesis import strategies as st

from rag.errors import ShapeError
from rag.geometry import Box
from rag.heatmap import PlacedVectors, heat_map
from rag.page_text import PageText, VectorWords
from rag.regions import regions
from rag.scoring.maxsim import maxsim
from rag.scoring.pool import grid_rows
from rag.testing import covers
from rag.types import MultiVector, VectorKind
from rag.vector_boxes import VectorBoxes

DIM = 16
# Portrait, landscape, square, extremely wide, extremely tall.
SHAPES = [(595.0, 842.0, 23, 32), (960.0, 540.0, 32, 18), (448.0, 448.0, 32, 32)]
SHAPES += [(4000.0, 50.0, 80, 1), (30.0, 1700.0, 1, 60)]


def placed(vectors, boxes, *, width_pt, height_pt, kinds=None, rows=None) -> PlacedVectors:
    if kinds is None:
        kinds = np.full(len(boxes), VectorKind.PATCH, np.uint8)
    known = VectorBoxes(boxes, kinds, rows)
    return PlacedVectors(vectors, width_pt, height_pt, PageText.empty(), None, known)


def page_of_words(vectors, boxes, words, *, width_pt=600.0, height_pt=800.0) -> PlacedVectors:
    n = len(boxes)
    text = PageText(
        tuple(f"w{i}" for i in range(n)),
        np.array(boxes, np.float32).reshape(n, 4),
        np.zeros(n, np.int32),
        np.zeros(n, np.float32),
        np.zeros(n, np.bool_),
    )
    return PlacedVectors(vectors, width_pt, height_pt, text, words, None)


def random_rows(n: int, seed: int) -> np.ndarray:
    return unit(np.random.default_rng(seed).standard_normal((n, DIM)))


@pytest.mark.parametrize(("width_pt", "height_pt", "n_columns", "n_rows"), SHAPES)
def test_the_one_patch_that_equals_the_query_is_the_maximum(width_pt, height_pt, n_columns, n_rows):
    boxes = grid_boxes(width_pt, height_pt, n_columns, n_rows)
    vectors = random_rows(len(boxes), 1)
    for target in {0, len(boxes) // 3, len(boxes) - 1}:
        heat = heat_map(
            vectors[[target]], ["q"], placed(vectors, boxes, width_pt=width_pt, height_pt=height_pt)
        )
        assert (heat.n_rows, heat.n_columns) == (n_rows, n_columns)
        assert (heat.pooled, heat.whole_page) == (False, False)
        hottest = np.unravel_index(np.argmax(heat.whole), heat.whole.shape)
        assert hottest == divmod(target, n_columns)
        assert heat.whole.max() == pytest.approx(1)
        np.testing.assert_allclose(heat.best[0], boxes[target])
        (box, weight) = regions(heat, heat.whole).boxes[0]
        assert weight == 1
        assert covers(box, Box(*boxes[target].tolist()), tolerance_pt=width_pt / 1e4)


@given(
    seed=st.integers(0, 999),
    n_query=st.integers(1, 6),
    n_columns=st.integers(1, 9),
    n_rows=st.integers(2, 9),
    special=st.booleans(),
)
def test_maxima_add_up_to_the_score_unless_a_special_token_takes_part(
    seed, n_query, n_columns, n_rows, special
):
    boxes = grid_boxes(600, 800, n_columns, n_rows)
    vectors = random_rows(len(boxes) + special, seed)
    kinds = np.full(len(vectors), VectorKind.PATCH, np.uint8)
    if special:
        boxes = np.vstack([np.array([[0, 0, 600, 800]], np.float32), boxes])  # whatever it says
        kinds[0] = VectorKind.SPECIAL
    query = random_rows(n_query, seed + 1000)
    page = placed(vectors, boxes, width_pt=600, height_pt=800, kinds=kinds)
    heat = heat_map(query, (), page)
    score = maxsim(query, vectors)
    assert heat.maxima.sum() <= score + 1e-4
    np.testing.assert_allclose(heat.maxima, (query @ vectors[special:].T).max(axis=1), atol=1e-5)
    if not special:
        assert heat.maxima.sum() == pytest.approx(score, abs=1e-4)


@given(seed=st.integers(0, 999))
def test_the_order_of_page_rows_changes_nothing(seed):
    boxes = grid_boxes(600, 800, 6, 8)
    vectors, query = random_rows(48, seed), random_rows(3, seed + 1000)
    order = np.random.default_rng(seed).permutation(48)
    one = heat_map(query, (), placed(vectors, boxes, width_pt=600, height_pt=800))
    other = heat_map(query, (), placed(vectors[order], boxes[order], width_pt=600, height_pt=800))
    np.testing.assert_allclose(one.values, other.values, atol=1e-5)
    np.testing.assert_allclose(one.maxima, other.maxima, atol=1e-6)
    boxes_of = [[box for box, _ in regions(heat, heat.whole).boxes] for heat in (one, other)]
    assert boxes_of[0] == boxes_of[1]


def test_all_tokens_share_one_range_so_that_an_uninformative_one_stays_dark():
    boxes = grid_boxes(600, 800, 6, 8)
    axes = np.eye(DIM, dtype=np.float32)
    vectors = np.tile(axes[2], (48, 1))
    vectors[7] = axes[0]
    vectors[9] = unit(0.1 * axes[1] + axes[2])
    heat = heat_map(axes[:2], ["yes", "no"], placed(vectors, boxes, width_pt=600, height_pt=800))
    assert heat.values[0].max() == pytest.approx(1)
    assert heat.values[1].max() < 0.2
    np.testing.assert_array_equal(heat.whole, heat.values.max(axis=0))


def test_of_tiles_and_the_whole_that_cover_a_cell_the_better_counts():
    fine, coarse = grid_boxes(600, 800, 12, 16), grid_boxes(600, 800, 3, 4)
    axes = np.eye(DIM, dtype=np.float32)
    vectors = np.tile(axes[1], (len(fine) + len(coarse), 1))
    vectors[0] = axes[0]  # the fine patch at the top left
    vectors[len(fine) + 11] = unit(axes[0] + axes[1])  # the coarse one at the bottom right
    page = placed(vectors, np.vstack([fine, coarse]), width_pt=600, height_pt=800)
    heat = heat_map(axes[:1], (), page)
    assert (heat.n_rows, heat.n_columns) == (16, 12)
    assert heat.whole[0, 0] == pytest.approx(1)
    np.testing.assert_allclose(heat.whole[12:, 8:], np.sqrt(0.5), atol=1e-4)
    assert heat.whole[1:12].max() == 0


def test_patches_cut_short_at_the_edge_keep_their_places():
    x = np.append(np.arange(0, 600, 28.0), 600)  # the last one is 12 wide
    boxes = np.array([[a, 100 * r, b, 100 * r + 100] for r in range(8) for a, b in pairwise(x)])
    vectors = random_rows(len(boxes), 3)
    page = placed(vectors, boxes.astype(np.float32), width_pt=600, height_pt=800)
    for target in (0, 21, 30, len(boxes) - 2):
        heat = heat_map(vectors[[target]], (), page)
        row, column = np.unravel_index(np.argmax(heat.whole), heat.whole.shape)
        cell = heat.cells_box(row, column, row, column)
        shared = cell.intersection(Box(*boxes[target]))
        assert shared.width > 0.4 * (boxes[target][2] - boxes[target][0])
        assert shared.height == pytest.approx(100)


def test_a_pooled_vector_lights_all_its_members():
    boxes, kinds = grid_boxes(600, 800, 6, 8), np.full(48, VectorKind.PATCH, np.uint8)
    pooled = grid_rows(MultiVector(random_rows(48, 5), boxes, kinds))
    page = placed(
        pooled.vectors, boxes, width_pt=600, height_pt=800, kinds=kinds, rows=pooled.cluster_of
    )
    heat = heat_map(pooled.vectors[[3]], (), page)
    assert heat.pooled
    np.testing.assert_allclose(heat.whole[3], 1, atol=1e-5)
    assert (np.ptp(heat.whole, axis=1) == 0).all()


@pytest.mark.parametrize("known", ["box", "special", "nothing"])
def test_a_vector_of_the_whole_page_tells_no_place(known):
    vectors = random_rows(1, 1)
    boxes = {
        "box": VectorBoxes(np.array([[0, 0, 600, 800]], np.float32), np.zeros(1, np.uint8)),
        "special": VectorBoxes(
            np.zeros((1, 4), np.float32), np.full(1, VectorKind.SPECIAL, np.uint8)
        ),
        "nothing": None,
    }[known]
    page = PlacedVectors(vectors, 600, 800, PageText.empty(), None, boxes)
    heat = heat_map(vectors, ["all of it"], page)
    assert heat.whole_page
    assert heat.values.shape == (1, 1, 1)
    assert heat.maxima[0] == pytest.approx(1)
    assert tuple(heat.best[0]) == (0, 0, 600, 800)
    assert np.isfinite(heat.values).all()


def test_words_stand_where_they_are_printed():
    boxes = [[100, 100, 160, 112], [165, 100, 171, 112], [100, 700, 101, 700.5]]
    vectors = np.eye(3, DIM, dtype=np.float32)
    page = page_of_words(vectors, boxes, VectorWords(np.arange(3, dtype=np.int32)))
    heat = heat_map(vectors, ["a", "b", "c"], page)
    assert (heat.n_rows, heat.n_columns) == (128, 96)
    cell = 800 / 128
    for row, (x0, y0, x1, y1) in enumerate(boxes):
        hot = np.argwhere(heat.values[row] > 0.5)
        assert len(hot)
        centres = (hot[:, ::-1] + 0.5) * cell
        assert (centres[:, 0] > x0 - cell).all()
        assert (centres[:, 0] < x1 + cell).all()
        assert (centres[:, 1] > y0 - cell).all()
        assert (centres[:, 1] < y1 + cell).all()


def test_a_page_without_vectors_has_no_map():
    nothing = PlacedVectors(np.zeros((0, DIM), np.float32), 600, 800, PageText.empty(), None, None)
    with pytest.raises(ShapeError, match="at least one vector"):
        heat_map(random_rows(1, 1), (), nothing)


def test_rows_without_labels_are_counted():
    boxes = grid_boxes(600, 800, 2, 2)
    page = placed(random_rows(4, 1), boxes, width_pt=600, height_pt=800)
    assert heat_map(random_rows(2, 2), (), page).labels == ("#1", "#2")


# --- what stands out ----------------------------------------------------------------------------
def test_touching_cells_are_one_region_and_the_strongest_comes_first():
    boxes = grid_boxes(600, 800, 6, 8)
    axes = np.eye(DIM, dtype=np.float32)
    vectors = np.tile(axes[1], (48, 1))
    for cell, strength in ((0, 0.7), (1, 0.8), (6, 0.75), (40, 0.95), (20, 0.2)):
        vectors[cell] = strength * axes[0] + np.sqrt(1 - strength**2) * axes[1]
    heat = heat_map(axes[:1], (), placed(vectors, boxes, width_pt=600, height_pt=800))
    found = regions(heat, heat.whole)
    assert [box for box, _ in found.boxes] == [(400, 600, 500, 700), (0, 0, 200, 200)]
    assert [weight for _, weight in found.boxes] == pytest.approx([1, 0.8 / 0.95], abs=1e-4)
    under = found.weights_under(
        np.array([[400, 600, 500, 700], [450, 610, 550, 620], [250, 250, 260, 260]], np.float32)
    )
    assert under == pytest.approx([1, 0.5, 0], abs=1e-4)


def test_a_flat_map_is_one_region():
    boxes = grid_boxes(600, 800, 3, 4)
    vectors = np.tile(random_rows(1, 1), (12, 1))
    heat = heat_map(vectors[:1], (), placed(vectors, boxes, width_pt=600, height_pt=800))
    found = regions(heat, heat.whole)
    assert found.boxes == (((0, 0, 600, 800), 1.0),)
