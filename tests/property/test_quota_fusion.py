"""Laws of two rankings fused by quota."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from eval.paradigms.fusion import given_pages, interleaved, quotas
from eval.runs import Hit

rankings = st.lists(st.integers(1, 12), unique=True, max_size=12).map(
    lambda numbers: [Hit("a", number, float(-rank)) for rank, number in enumerate(numbers)]
)


@given(first=rankings, second=rankings, k=st.integers(1, 12))
def test_the_ranking_holds_just_the_pages_given_each_once_and_at_most_k(first, second, k):
    ranking, handed = interleaved(first, second, k=k), given_pages(first, second, k=k)
    assert len(ranking) == len({hit.page for hit in ranking}) <= k
    assert {hit.page for hit in ranking} == {hit.page for hit in handed}
    assert all(one.score > other.score for one, other in pairwise(ranking))


@given(ranking=rankings, k=st.integers(1, 12))
def test_two_equal_rankings_fuse_to_their_own_beginning(ranking, k):
    fused = interleaved(ranking, ranking, k=k)
    assert [hit.page for hit in fused] == [hit.page for hit in ranking[: quotas(k)[0]]]
