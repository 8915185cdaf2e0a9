import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rag.errors import ShapeError
from rag.geometry import FloatArray
from rag.scoring.maxsim import maxsim, maxsim_many, similarity_map

DIM = 4


def matrices(min_rows: int = 1, max_rows: int = 6) -> st.SearchStrategy[FloatArray]:
    return st.integers(min_rows, max_rows).flatmap(
        lambda rows: arrays(np.float32, (rows, DIM), elements=st.floats(-1, 1, width=32))
    )


def rows(*values: tuple[float, ...]) -> FloatArray:
    return np.array(values, dtype=np.float32)


def slow_maxsim(query: FloatArray, page: FloatArray) -> float:
    return sum(
        max(sum(float(a) * float(b) for a, b in zip(q, p, strict=True)) for p in page)
        for q in query
    )


def test_the_worked_example_scores_1_8() -> None:
    query, page = rows((1, 0), (0, 1)), rows((0.6, 0.8), (1, 0))
    assert maxsim(query, page) == pytest.approx(1.8)
    np.testing.assert_allclose(maxsim_many(query, [page]), [1.8], rtol=1e-6)
    np.testing.assert_allclose(similarity_map(query, page), [[0.6, 1.0], [0.8, 0.0]])


def test_a_negative_best_match_stays_negative_beside_longer_pages() -> None:
    query, page = rows((1, 0)), rows((-0.6, 0.8))
    longer = rows((1, 0), (0, 1), (0.6, 0.8))
    assert maxsim(query, page) == pytest.approx(-0.6)
    np.testing.assert_allclose(maxsim_many(query, [longer, page, longer]), [1, -0.6, 1], rtol=1e-6)


@given(query=matrices(), page=matrices())
def test_the_oracle_equals_loops_over_rows_and_coordinates(
    query: FloatArray, page: FloatArray
) -> None:
    assert maxsim(query, page) == pytest.approx(slow_maxsim(query, page), abs=1e-9)


@given(query=matrices(), pages=st.lists(matrices(min_rows=0), max_size=6))
def test_many_ragged_pages_score_as_the_oracle_says(
    query: FloatArray, pages: list[FloatArray]
) -> None:
    expected = [maxsim(query, page) for page in pages]
    np.testing.assert_allclose(maxsim_many(query, pages), expected, rtol=1e-5, atol=1e-5)


def test_a_page_scores_the_same_bits_alone_and_among_others_in_any_order() -> None:
    rng = np.random.default_rng(7)
    query = rng.standard_normal((17, 128)).astype(np.float32)
    lengths = (1, 2, 3, 15, 16, 17, 64, 401, 1030)
    pages = [rng.standard_normal((n, 128)).astype(np.float32) for n in lengths]
    alone = [maxsim_many(query, [page])[0] for page in pages]
    assert maxsim_many(query, pages).tolist() == alone
    assert maxsim_many(query, pages[::-1]).tolist() == alone[::-1]


@given(query=matrices(), page=matrices(), data=st.data())
def test_the_order_and_repetition_of_page_rows_do_not_matter(
    query: FloatArray, page: FloatArray, data: st.DataObject
) -> None:
    order = data.draw(st.permutations(range(len(page))))
    again = data.draw(st.lists(st.sampled_from(range(len(page)))))
    assert maxsim(query, page[[*order, *again]]) == pytest.approx(maxsim(query, page), abs=1e-9)


@given(query=matrices(), page=matrices(), more=matrices())
def test_another_page_row_never_lowers_the_score(
    query: FloatArray, page: FloatArray, more: FloatArray
) -> None:
    assert maxsim(query, np.vstack([page, more])) >= maxsim(query, page) - 1e-9


@given(first=matrices(), second=matrices(), page=matrices())
def test_scores_add_over_query_rows(
    first: FloatArray, second: FloatArray, page: FloatArray
) -> None:
    joint = maxsim(np.vstack([first, second]), page)
    assert joint == pytest.approx(maxsim(first, page) + maxsim(second, page), abs=1e-9)


@given(query=matrices(), page=matrices(max_rows=1))
def test_a_page_of_one_row_scores_its_product_with_the_sum_of_the_query(
    query: FloatArray, page: FloatArray
) -> None:
    expected = query.astype(np.float64).sum(axis=0) @ page[0].astype(np.float64)
    assert maxsim(query, page) == pytest.approx(expected, abs=1e-9)


@given(query=matrices(), page=matrices())
def test_the_best_of_the_similarity_map_adds_up_to_the_score(
    query: FloatArray, page: FloatArray
) -> None:
    best = similarity_map(query, page).max(axis=1)
    assert best.sum(dtype=np.float64) == pytest.approx(maxsim(query, page), abs=1e-5)


def test_a_page_without_rows_scores_minus_infinity() -> None:
    query, nothing = rows((1, 0)), np.zeros((0, 2), np.float32)
    assert maxsim(query, nothing) == -np.inf
    assert maxsim_many(query, [nothing, rows((1, 0))]).tolist() == [-np.inf, 1.0]
    assert maxsim_many(query, []).shape == (0,)
    assert similarity_map(query, nothing).shape == (1, 0)


def test_half_precision_pages_are_scored_in_single_precision() -> None:
    page = np.full((1, 2), 300, np.float16)
    assert maxsim_many(rows((300, 300)), [page]).tolist() == [180_000.0]


@pytest.mark.parametrize(
    ("query", "page"),
    [
        (np.zeros((0, 2), np.float32), rows((1, 0))),
        (rows((1, 0)), rows((1, 0, 0))),
        (np.zeros(2, np.float32), rows((1, 0))),
        (rows((1, 0)), np.zeros(2, np.float32)),
    ],
    ids=["query without rows", "other dim", "query not a matrix", "page not a matrix"],
)
def test_sides_that_do_not_fit_are_refused(query: FloatArray, page: FloatArray) -> None:
    with pytest.raises(ShapeError):
        maxsim(query, page)
    with pytest.raises(ShapeError):
        maxsim_many(query, [page])
    with pytest.raises(ShapeError):
        similarity_map(query, page)
