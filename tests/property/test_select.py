"""Laws of the selection of pages by relevance (up to k)."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.errors import ConfigError, InputError
from rag.ranking.select import require_relevance, selected, up_to_k
from rag.settings import RerankSettings, SelectSettings

# Few different values, so that ties and values at the threshold come up.
chances = st.sampled_from(np.linspace(0, 1, 11).round(1).tolist()) | st.floats(0, 1)
relevances = st.dictionaries(st.text("abcdef", min_size=1, max_size=3), chances, max_size=12)


@given(relevances, chances, st.integers(0, 15))
def test_what_is_kept_begins_the_ranking_by_relevance(relevance, threshold, k):
    kept = up_to_k(relevance, threshold, k)
    whole = sorted(relevance.items(), key=lambda each: (-each[1], each[0]))
    assert len(kept) <= k
    assert kept == whole[: len(kept)]
    assert all(value >= threshold for _, value in kept)


@given(relevances, st.integers(0, 15))
def test_a_threshold_of_nothing_keeps_k_or_all_there_are(relevance, k):
    assert len(up_to_k(relevance, 0.0, k)) == min(k, len(relevance))


@given(relevances, chances, chances, st.integers(0, 15))
def test_a_higher_threshold_never_adds_a_page(relevance, one, other, k):
    low, high = sorted((one, other))
    assert set(up_to_k(relevance, high, k)) <= set(up_to_k(relevance, low, k))


@given(relevances, chances)
def test_with_room_for_all_the_threshold_alone_decides(relevance, threshold):
    wanted = {record_id for record_id, value in relevance.items() if value >= threshold}
    assert {record_id for record_id, _ in up_to_k(relevance, threshold, 100)} == wanted


@pytest.mark.parametrize(
    ("relevance", "threshold", "k"),
    [({"a": 1.2}, 0.5, 1), ({"a": float("nan")}, 0.5, 1), ({}, -0.1, 1), ({}, 0.5, -1)],
)
def test_what_is_no_probability_is_refused(relevance, threshold, k):
    with pytest.raises(InputError):
        up_to_k(relevance, threshold, k)


def test_what_is_left_out_is_told():
    settings = SelectSettings(method="up_to_k", threshold=0.5)
    relevance = {"a": 0.9, "b": 0.4, "c": 0.3}
    kept, notices = selected(relevance, settings, 2, is_probability=True)
    assert kept == [("a", 0.9)]
    assert [each.code for each in notices] == ["not_relevant"]
    assert "1 of the best 2 pages" in notices[0].message
    assert selected({"a": 0.9}, settings, 2, is_probability=True) == ([("a", 0.9)], ())
    assert selected({}, settings, 2, is_probability=True) == ([], ())


def test_scores_that_are_no_probabilities_are_a_matter_of_settings():
    settings = SelectSettings(method="up_to_k")
    with pytest.raises(ConfigError) as caught:
        selected({"a": 3.0}, settings, 2, is_probability=False)
    assert caught.value.code == "no_relevance"
    with pytest.raises(ConfigError, match="no reranker") as caught:
        require_relevance(settings, RerankSettings())
    assert "retrieval.rerank.method" in caught.value.next_step
    require_relevance(SelectSettings(), RerankSettings())
    require_relevance(settings, RerankSettings(method="vlm_yes_no"))
