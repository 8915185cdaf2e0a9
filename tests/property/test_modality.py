import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.errors import ShapeError
from rag.scoring.fusion import zscore
from rag.scoring.maxsim import maxsim
from rag.scoring.modality import (
    best_zscore,
    masked,
    modality_max,
    modality_scores,
    token_max,
)

seeds = st.integers(0, 10_000)


def page_of(seed, *, n_modalities=3):
    rng = np.random.default_rng(seed)
    query = rng.standard_normal((rng.integers(1, 5), 8)).astype(np.float32)
    page = rng.standard_normal((rng.integers(1, 12), 8)).astype(np.float32)
    return query, page, rng.integers(0, n_modalities + 1, len(page))


def test_each_modality_takes_its_own_best_rows():
    query = np.eye(2, dtype=np.float32)
    page = np.array([[0.6, 0.8], [1, 0], [-0.5, -0.25], [9, 9]], np.float32)
    of = np.array([1, 2, 3, 0])
    scores = modality_scores(query, page, of)
    assert scores == pytest.approx({1: 1.4, 2: 1.0, 3: -0.75})
    assert token_max(query, page, of) == pytest.approx(1.8)  # the row of padding is not matched
    assert modality_max(scores) == (pytest.approx(1.4), 1)
    assert masked(scores, 3) == pytest.approx(-0.75)
    assert masked(scores, 4) == -np.inf


@given(seed=seeds)
def test_no_modality_beats_the_maximum_over_tokens(seed):
    query, page, of = page_of(seed)
    scores = modality_scores(query, page, of)
    whole = token_max(query, page, of)
    assert all(score <= whole + 1e-5 for score in scores.values())
    assert modality_max(scores)[0] <= whole + 1e-5
    assert whole == pytest.approx(maxsim(query, page[of != 0]), abs=1e-4)
    for gone in scores:
        assert token_max(query, page, np.where(of == gone, 0, of)) <= whole


@given(seed=seeds)
def test_with_one_modality_all_aggregations_agree(seed):
    query, page, _ = page_of(seed)
    of = np.ones(len(page), np.int64)
    scores = modality_scores(query, page, of)
    assert modality_max(scores) == (scores[1], 1)
    assert masked(scores, 1) == token_max(query, page, of) == scores[1]


def test_a_page_of_padding_alone_scores_nothing():
    query, page, of = np.ones((1, 2), np.float32), np.ones((3, 2), np.float32), np.zeros(3, int)
    assert modality_scores(query, page, of) == {}
    assert modality_max({}) == (-np.inf, None)
    assert token_max(query, page, of) == -np.inf


def test_equal_modalities_are_told_apart_by_id():
    assert modality_max({3: 1.0, 2: 1.0}) == (1.0, 2)


@pytest.mark.parametrize("score", [modality_scores, token_max])
def test_every_row_wants_a_modality(score):
    with pytest.raises(ShapeError, match="a modality each"):
        score(np.ones((1, 2), np.float32), np.ones((3, 2), np.float32), np.ones(2, int))


# --- across encoders ----------------------------------------------------------------------------
def test_across_encoders_the_better_standard_score_is_taken():
    text, image = np.array([0.0, 10.0, 20.0]), np.array([0.3, 0.2, 0.1])
    scores, chosen = best_zscore({"text": text, "image": image})
    top = np.sqrt(1.5)
    np.testing.assert_allclose(scores, [top, 0, top], atol=1e-9)
    assert chosen[0] == "image"
    assert chosen[2] == "text"


def test_a_modality_that_a_page_lacks_is_never_chosen():
    # Without the guard page 0 would take 0 from a leg that cannot tell pages apart.
    scores, chosen = best_zscore(
        {"flat": np.array([np.nan, 5.0, 5.0]), "other": np.array([1.0, 2.0, 3.0])}
    )
    assert chosen == ("other", "flat", "other")
    assert scores[0] == zscore(np.array([1.0, 2.0, 3.0]))[0] < 0


def test_a_page_without_any_modality_takes_the_lowest():
    scores, chosen = best_zscore({"a": np.array([np.nan, 1.0, 2.0])})
    assert scores.tolist() == [scores[1], scores[1], scores[2]]
    assert chosen == (None, "a", "a")
    assert best_zscore({"a": np.array([np.nan])})[0].tolist() == [0.0]
    assert best_zscore({})[1] == ()


def test_modalities_over_different_pages_are_refused():
    with pytest.raises(ShapeError, match="lengths"):
        best_zscore({"a": np.zeros(2), "b": np.zeros(3)})
