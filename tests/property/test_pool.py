"""Token pooling: worked numbers, laws of every variant, and Ward against a slow oracle."""

from __future__ import annotations

import builtins
import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rag.encoders.patch_layout import PatchGrid
from rag.errors import ConfigError, InputError, ShapeError
from rag.geometry import FloatArray
from rag.page_text import VectorWords
from rag.scoring import pool
from rag.scoring.pool import (
    Pooled,
    carve,
    grid_columns,
    grid_rows,
    hierarchical,
    page_pooling,
    pooling_identity,
    runs,
)
from rag.settings import PoolingSettings
from rag.types import MultiVector, VectorKind

DIM = 8
POOLINGS = {
    "hierarchical 2": lambda rows: hierarchical(rows, 2),
    "hierarchical 3": lambda rows: hierarchical(rows, 3),
    "runs 3": lambda rows: runs(rows, 3),
    "carve 0.7": lambda rows: carve(rows, 0.7),
    "carve 0.01": lambda rows: carve(rows, 0.01),
    "grid rows": lambda rows: grid_rows(in_grid(rows, n_columns=1)),
    "grid columns": lambda rows: grid_columns(in_grid(rows, n_columns=1)),
}
every_pooling = pytest.mark.parametrize("pooling", POOLINGS.values(), ids=POOLINGS.keys())


def unit(rows: FloatArray) -> FloatArray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@st.composite
def pages(draw: st.DrawFn, *, min_rows: int = 0, max_rows: int = 24) -> FloatArray:
    """Unit rows around a few themes, now and then the very same row twice."""
    n = draw(st.integers(min_rows, max_rows))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    themes = rng.standard_normal((draw(st.integers(1, 6)), DIM))
    rows = themes[rng.integers(0, len(themes), n)] + draw(st.sampled_from([0, 0.3, 2])) * (
        rng.standard_normal((n, DIM))
    )
    return unit(rows.reshape(n, DIM))


def in_grid(rows: FloatArray, *, n_columns: int) -> MultiVector:
    places = [divmod(index, n_columns) for index in range(len(rows))]
    boxes = np.array([[28 * x, 28 * y, 28 * x + 28, 28 * y + 28] for y, x in places], np.float32)
    kinds = np.full(len(rows), VectorKind.PATCH, np.uint8)
    return MultiVector(rows, boxes=boxes.reshape(-1, 4), kinds=kinds)


def as_sets(pooled: Pooled) -> set[frozenset[int]]:
    return {frozenset(rows.tolist()) for rows in pooled.members}


# --- worked numbers -----------------------------------------------------------------------------
def test_the_worked_example_pools_four_rows_to_two() -> None:
    rows = np.array([(1, 0), (0.98, 0.199), (0, 1), (0.199, 0.98)], np.float32)
    pooled = hierarchical(rows, 2)
    assert [members.tolist() for members in pooled.members] == [[0, 1], [2, 3]]
    np.testing.assert_allclose(pooled.vectors, [(0.99499, 0.10000), (0.10000, 0.99499)], atol=5e-6)


def test_five_rows_at_factor_3_are_one_and_equal_rows_merge_into_fewer_than_asked_for() -> None:
    rng = np.random.default_rng(0)
    assert len(hierarchical(unit(rng.standard_normal((5, DIM))), 3)) == 1
    same = np.repeat(unit(rng.standard_normal((1, DIM))), 4, axis=0)
    assert len(hierarchical(same, 2)) == 1  # floor(4 / 2) = 2 asked for; all merges tie at 0


def test_runs_are_of_equal_length_to_within_one() -> None:
    rows = unit(np.random.default_rng(0).standard_normal((8, DIM)))
    assert [found.tolist() for found in runs(rows, 3).members] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert [len(found) for found in runs(rows[:7], 2).members] == [3, 2, 2]


def test_the_first_row_left_is_a_centre_and_takes_what_is_near_it() -> None:
    rows = np.array([(1, 0), (0.6, 0.8), (0.8, 0.6), (0, 1)], np.float32)
    assert [found.tolist() for found in carve(rows, 0.7).members] == [[0, 2], [1, 3]]


def test_a_grid_of_two_by_three_is_pooled_along_either_axis() -> None:
    rows = unit(np.random.default_rng(0).standard_normal((6, DIM)))
    page = in_grid(rows, n_columns=3)
    assert [found.tolist() for found in grid_rows(page).members] == [[0, 1, 2], [3, 4, 5]]
    assert [found.tolist() for found in grid_columns(page).members] == [[0, 3], [1, 4], [2, 5]]
    np.testing.assert_allclose(
        grid_rows(page).vectors, unit(rows.reshape(2, 3, DIM).mean(axis=1)), atol=1e-6
    )


def test_vectors_of_no_patch_stay_beside_the_grid() -> None:
    rows = unit(np.random.default_rng(0).standard_normal((5, DIM)))
    grid = in_grid(rows[:4], n_columns=2)
    page = MultiVector(
        rows,
        boxes=np.vstack([grid.boxes, np.zeros((1, 4), np.float32)]),
        kinds=np.array([VectorKind.PATCH] * 4 + [VectorKind.SPECIAL], np.uint8),
    )
    assert [found.tolist() for found in grid_rows(page).members] == [[0, 1], [2, 3], [4]]


@pytest.mark.parametrize("side_pt", [20, 2000], ids=["stamp", "poster"])
def test_tiles_and_the_whole_page_after_them_are_pooled_apart(side_pt) -> None:
    tiles, whole = PatchGrid(2, 4), PatchGrid(2, 2)  # one height, two widths
    boxes = np.vstack(
        [
            np.zeros((1, 4), np.float32),
            tiles.boxes(side_pt, side_pt)[[0, 1, 4, 5]],  # the left tile, row by row
            np.zeros((1, 4), np.float32),
            tiles.boxes(side_pt, side_pt)[[2, 3, 6, 7]],
            np.zeros((1, 4), np.float32),
            whole.boxes(side_pt, side_pt),
        ]
    )
    special = ~boxes.any(axis=1)
    page = MultiVector(
        unit(np.random.default_rng(0).standard_normal((len(boxes), DIM))),
        boxes=boxes,
        kinds=np.where(special, VectorKind.SPECIAL, VectorKind.PATCH).astype(np.uint8),
    )
    assert [found.tolist() for found in grid_rows(page).members] == [
        *([0], [1, 2, 6, 7], [3, 4, 8, 9], [5], [10], [11, 12], [13, 14])
    ]
    assert [found.tolist() for found in grid_columns(page).members] == [
        *([0], [1, 3], [2, 4], [5], [6, 8], [7, 9], [10], [11, 13], [12, 14])
    ]


@given(n_rows=st.integers(1, 30), n_columns=st.integers(1, 30), width=st.floats(10, 3000))
def test_every_grid_of_a_page_of_any_size_is_pooled(n_rows, n_columns, width) -> None:
    grid = PatchGrid(n_rows, n_columns)
    rows = unit(np.random.default_rng(0).standard_normal((len(grid), DIM)))
    page = MultiVector(rows, boxes=grid.boxes(width, 800))
    assert [len(found) for found in grid_rows(page).members] == [n_columns] * n_rows
    assert [len(found) for found in grid_columns(page).members] == [n_rows] * n_columns


# --- laws ---------------------------------------------------------------------------------------
@every_pooling
@given(rows=pages())
def test_members_part_the_rows_and_means_have_unit_length(pooling, rows) -> None:
    before = rows.copy()
    pooled = pooling(rows)
    assert sorted(itertools.chain(*(found.tolist() for found in pooled.members))) == list(
        range(len(rows))
    )
    assert len(pooled.members) == len(pooled.vectors) == len(as_sets(pooled))
    assert pooled.vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(pooled.vectors, axis=1), 1, atol=1e-6)
    for number, members in enumerate(pooled.members):
        assert (pooled.cluster_of[members] == number).all()
        mean = rows[members].astype(np.float64).mean(axis=0)
        if np.linalg.norm(mean) > 1e-3:
            np.testing.assert_allclose(pooled.vectors[number], unit(mean[None])[0], atol=1e-5)
    firsts = [int(members[0]) for members in pooled.members]
    assert firsts == sorted(firsts)
    np.testing.assert_array_equal(rows, before)


@given(rows=pages())
def test_factor_1_changes_nothing(rows) -> None:
    for pooled in (hierarchical(rows, 1), runs(rows, 1)):
        np.testing.assert_array_equal(pooled.vectors, rows)
        assert pooled.cluster_of.tolist() == list(range(len(rows)))


@every_pooling
def test_a_page_of_one_row_or_none_stays_as_it_is(pooling) -> None:
    row = unit(np.random.default_rng(0).standard_normal((1, DIM)))
    np.testing.assert_allclose(pooling(row).vectors, row, atol=1e-7)
    assert pooling(row[:0]).vectors.shape == (0, DIM)
    assert pooling(row[:0]).members == ()


@given(rows=pages(min_rows=1), factor=st.integers(1, 30))
def test_no_more_vectors_than_the_factor_leaves(rows, factor) -> None:
    assert len(hierarchical(rows, factor)) <= max(len(rows) // factor, 1)
    assert len(runs(rows, factor)) == max(len(rows) // factor, 1)


@given(rows=pages(), similarity=st.floats(0.05, 0.99))
def test_carved_rows_are_near_their_centre_and_centres_far_from_another(rows, similarity) -> None:
    found = carve(rows, similarity).members
    centres = rows[[members[0] for members in found]].reshape(-1, DIM)
    for centre, members in zip(centres, found, strict=True):
        assert (rows[members[1:]] @ centre > similarity - 1e-5).all()
    between = centres @ centres.T - 2 * np.eye(len(centres))
    assert (between < similarity + 1e-5).all()


@given(rows=pages(min_rows=2), factor=st.integers(2, 5), seed=st.integers(0, 2**32 - 1))
def test_the_order_of_rows_does_not_matter_to_ward(rows, factor, seed) -> None:
    assume(gap_at_the_cut(rows, max(len(rows) // factor, 1)) > 1e-4)
    order = np.random.default_rng(seed).permutation(len(rows))
    shuffled = {
        frozenset(order[members].tolist()) for members in hierarchical(rows[order], factor).members
    }
    assert shuffled == as_sets(hierarchical(rows, factor))


def test_where_members_cancel_the_first_of_them_stands_for_all() -> None:
    rows = np.array([(0, 1), (0, -1)], np.float32)
    np.testing.assert_array_equal(runs(rows, 2).vectors, [(0, 1)])


# --- Ward, from its definition ------------------------------------------------------------------
def slow_ward(rows: FloatArray, n_clusters: int) -> tuple[set[frozenset[int]], list[float]]:
    """Merge the two clusters whose joining adds least to the sum of squares, until so few are left.

    Returns the clusters and the cost of every merge, the first one not made last.
    """
    observations = 1 - rows.astype(np.float64) @ rows.astype(np.float64).T
    clusters = [[index] for index in range(len(rows))]
    costs: list[float] = []

    def cost(one: list[int], other: list[int]) -> float:
        apart = observations[one].mean(axis=0) - observations[other].mean(axis=0)
        weight = 2 * len(one) * len(other) / (len(one) + len(other))
        return float(np.sqrt(weight * apart @ apart))

    while len(clusters) > 1:
        one, other = min(
            itertools.combinations(range(len(clusters)), 2),
            key=lambda pair: cost(clusters[pair[0]], clusters[pair[1]]),
        )
        costs.append(cost(clusters[one], clusters[other]))
        if len(clusters) == n_clusters:
            break
        clusters[one] += clusters.pop(other)
    return {frozenset(members) for members in clusters}, costs


def gap_at_the_cut(rows: FloatArray, n_clusters: int) -> float:
    """How clearly merges differ in cost: at a tie neither side has to be right."""
    _, costs = slow_ward(rows, 1)
    return float(np.diff(sorted(costs), prepend=0).min()) if len(rows) > n_clusters else 1.0


@settings(deadline=None)
@given(rows=pages(min_rows=2, max_rows=16), factor=st.integers(2, 5))
def test_hierarchical_equals_ward_from_its_definition_where_no_merges_tie(rows, factor) -> None:
    n_clusters = max(len(rows) // factor, 1)
    assume(gap_at_the_cut(rows, n_clusters) > 1e-4)
    expected, _ = slow_ward(rows, n_clusters)
    assert as_sets(hierarchical(rows, factor)) == expected


def test_linkage_looks_at_rows_of_the_distances_not_at_the_distances() -> None:
    # Read as distances the same matrix parts these rows otherwise.
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    rows = unit(np.random.default_rng(3).standard_normal((24, DIM)))
    distance = 1 - rows @ rows.T
    as_distances = fcluster(linkage(squareform(distance, checks=False), "ward"), 8, "maxclust")
    otherwise = {
        frozenset(np.flatnonzero(as_distances == label).tolist()) for label in set(as_distances)
    }
    expected, _ = slow_ward(rows, 8)
    assert as_sets(hierarchical(rows, 3)) == expected != otherwise


def test_a_long_page_is_clustered_in_blocks_of_neighbours(monkeypatch) -> None:
    rows = unit(np.random.default_rng(0).standard_normal((20, DIM)))
    monkeypatch.setattr(pool, "MAX_WARD_ROWS", 10)
    halves = [hierarchical(rows[:10], 2), hierarchical(rows[10:], 2)]
    whole = hierarchical(rows, 2)
    np.testing.assert_array_equal(whole.vectors, np.vstack([half.vectors for half in halves]))
    assert len(whole) == 10


# --- what is refused ----------------------------------------------------------------------------
@every_pooling
@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_a_row_without_a_direction_is_named(pooling, value) -> None:
    rows = unit(np.random.default_rng(0).standard_normal((4, DIM)))
    rows[2] = value
    with pytest.raises(ShapeError, match=r"row 2|NaN"):
        pooling(rows)


def test_a_factor_below_1_and_a_similarity_of_0_are_refused() -> None:
    rows = unit(np.random.default_rng(0).standard_normal((4, DIM)))
    for pooling in (hierarchical, runs):
        with pytest.raises(InputError, match="factor"):
            pooling(rows, 0)
    with pytest.raises(InputError, match="above 0"):
        carve(rows, 0.0)
    with pytest.raises(ShapeError, match=r"\(n, dim\)"):
        runs(rows[0], 2)


def test_a_page_whose_vectors_stand_in_no_grid_is_refused() -> None:
    rows = unit(np.random.default_rng(0).standard_normal((5, DIM)))
    with pytest.raises(ShapeError, match="5 patches at 2 heights and 3 places"):
        grid_rows(in_grid(rows, n_columns=3))
    with pytest.raises(ShapeError, match="boxes"):
        grid_rows(MultiVector(rows))
    with pytest.raises(ShapeError, match="empty"):
        grid_rows(MultiVector(rows, boxes=np.zeros((5, 4), np.float32)))


def test_without_scipy_the_settings_are_refused_with_what_to_do(monkeypatch) -> None:
    real = builtins.__import__

    def without_scipy(name, *arguments, **named):
        if name.startswith("scipy"):
            raise ImportError(name)
        return real(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", without_scipy)
    with pytest.raises(ConfigError, match="scipy") as caught:
        page_pooling(PoolingSettings(method="hierarchical"))
    assert "octavo[pooling]" in caught.value.next_step
    assert page_pooling(PoolingSettings(method="runs")) is not None


# --- settings -----------------------------------------------------------------------------------
def test_settings_that_leave_pages_as_they_are_have_no_identity_and_no_pooling() -> None:
    for settings_ in (
        PoolingSettings(),
        PoolingSettings(method="none", factor=5),
        PoolingSettings(method="runs", factor=1),
        PoolingSettings(method="hierarchical", factor=1),
    ):
        assert pooling_identity(settings_) == {}
        assert page_pooling(settings_) is None


def test_the_identity_names_what_changes_the_vectors_and_nothing_else() -> None:
    assert pooling_identity(PoolingSettings(method="runs", min_similarity=0.5)) == {
        "method": "runs",
        "factor": 3,
    }
    assert pooling_identity(PoolingSettings(method="carve", factor=9)) == {
        "method": "carve",
        "min_similarity": 0.7,
    }
    assert pooling_identity(PoolingSettings(method="grid_rows")) == {"method": "grid_rows"}


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("hierarchical", lambda page: hierarchical(page.vectors, 2)),
        ("runs", lambda page: runs(page.vectors, 2)),
        ("carve", lambda page: carve(page.vectors, 0.5)),
        ("grid_rows", grid_rows),
        ("grid_columns", grid_columns),
    ],
)
def test_every_method_of_the_settings_is_the_function_of_its_name(method, expected) -> None:
    page = in_grid(unit(np.random.default_rng(0).standard_normal((12, DIM))), n_columns=4)
    chosen = page_pooling(PoolingSettings(method=method, factor=2, min_similarity=0.5))
    assert chosen is not None
    np.testing.assert_array_equal(chosen(page).vectors, expected(page).vectors)


# --- the words of pooled vectors ----------------------------------------------------------------
@given(
    words=st.lists(st.integers(0, 2**31 - 1), max_size=20),
    rows=st.none() | st.integers(0, 2**32 - 1),
)
def test_the_words_of_vectors_come_back_as_they_were_stored(words, rows) -> None:
    pairs = VectorWords(
        np.array(words, np.int32),
        None
        if rows is None
        else np.random.default_rng(rows).integers(0, 9, len(words)).astype(np.int32),
    )
    back = VectorWords.from_bytes(pairs.to_bytes())
    np.testing.assert_array_equal(back.words, pairs.words)
    assert (back.rows is None) == (pairs.rows is None)
    if pairs.rows is not None:
        np.testing.assert_array_equal(back.rows, pairs.rows)


@given(rows=pages(min_rows=1))
def test_a_pooled_vector_is_spread_over_every_word_it_stands_for(rows) -> None:
    pooled = carve(rows, 0.7)
    words = np.arange(len(rows), dtype=np.int32) * 2
    spread = VectorWords(words, pooled.cluster_of).spread(pooled.vectors)
    for vector, members in zip(pooled.vectors, pooled.members, strict=True):
        for row in members:
            np.testing.assert_array_equal(spread[row], vector)


def test_words_and_rows_of_different_lengths_are_refused() -> None:
    with pytest.raises(ShapeError, match="2 words"):
        VectorWords(np.zeros(2, np.int32), np.zeros(3, np.int32))
