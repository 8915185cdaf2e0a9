"""Whatever a reranker says, what comes out of the stage is what went in, each page once."""

import math
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from rerank_pages import WordReranker, page

from rag.errors import ModelFailed
from rag.ports import RerankPage
from rag.ranking.rerank import rerank
from rag.settings import RerankSettings
from rag.types import Notice

_FINITE = st.floats(-1e6, 1e6)
_ORDERS = st.lists(_FINITE, max_size=12).map(
    lambda scores: [(f"r{i}", score) for i, score in enumerate(sorted(scores, reverse=True))]
)


class _Given(WordReranker):
    """Says what it was given, by record id."""

    def __init__(self, scores: dict[str, float]) -> None:
        super().__init__()
        self._scores = scores

    def scores(self, question, pages):
        return [self._scores[page.record_id] for page in pages]


class _Saying(WordReranker):
    def __init__(self, said: list[float]) -> None:
        super().__init__()
        self._said = said

    def scores(self, question, pages):
        return self._said


def _read(record_ids, with_image) -> list[RerankPage]:
    return [page(record_id) for record_id in record_ids]


def _reranked(order, scores, **changed):
    settings = RerankSettings(method="http", **changed)
    reranker = scores if hasattr(scores, "model_id") else _Given(scores)
    return rerank("why?", order, _read, reranker, settings, rrf_k=60)


@given(
    order=_ORDERS,
    said=st.lists(_FINITE, min_size=12, max_size=12),
    pages=st.integers(1, 14),
    weight=st.floats(0, 1),
)
def test_the_order_is_a_permutation_with_strictly_falling_scores(order, said, pages, weight):
    scores = {f"r{i}": score for i, score in enumerate(said)}
    found = _reranked(order, scores, pages=pages, weight=weight)
    assert sorted(i for i, _ in found.order) == sorted(i for i, _ in order)
    values = [score for _, score in found.order]
    assert all(math.isfinite(value) for value in values)
    assert all(after < before for before, after in pairwise(values))
    tail = [i for i, _ in order[pages:]]
    assert [i for i, _ in found.order[pages:]] == tail, "pages beyond are left alone"
    assert found.scores == {i: scores[i] for i, _ in order[:pages]}
    assert found.notices == ()


@given(order=_ORDERS, said=st.lists(_FINITE, min_size=12, max_size=12))
def test_all_weight_is_the_rerankers_order_and_none_is_the_order_before(order, said):
    scores = {f"r{i}": score for i, score in enumerate(said)}
    ids = [i for i, _ in order]
    wanted = sorted(ids, key=lambda i: -scores[i])  # stable: ties keep the order before
    assert [i for i, _ in _reranked(order, scores).order] == wanted
    assert [i for i, _ in _reranked(order, scores, weight=0).order] == ids


def test_a_weight_between_adds_reciprocal_ranks():
    # Before a, b, c, d; the reranker says d, c, b, a. With half of each and rrf_k 1:
    # a 1/2 + 1/5 = .70, b 1/3 + 1/4 = .583, c 1/4 + 1/3 = .583, d 1/5 + 1/2 = .70, all halved.
    order = [("a", 9.0), ("b", 7.0), ("c", 5.0), ("d", 1.0)]
    settings = RerankSettings(method="http", weight=0.5)
    reranker = _Given({"a": 0.1, "b": 0.2, "c": 0.3, "d": 0.4})
    found = rerank("why?", order, _read, reranker, settings, rrf_k=1)
    assert found.order == [("a", 9.0), ("d", 7.0), ("b", 5.0), ("c", 1.0)]
    tilted = RerankSettings(method="http", weight=0.6)
    found = rerank("why?", order, _read, reranker, tilted, rrf_k=1)
    assert [i for i, _ in found.order] == ["d", "a", "c", "b"]


def test_scores_stay_with_the_places_and_ties_fall_apart():
    order = [("a", 3.0), ("b", 3.0), ("c", 3.0), ("d", -1.0)]
    found = _reranked(order, {"a": 0.0, "b": 1.0, "c": 0.5, "d": 0.1}, pages=3)
    assert [i for i, _ in found.order] == ["b", "c", "a", "d"]
    assert found.order[0][1] == 3.0
    assert found.order[3] == ("d", -1.0)
    assert 3.0 > found.order[1][1] > found.order[2][1] > 2.999


def test_a_failing_reranker_leaves_the_order_and_says_so():
    order = [("a", 3.0), ("b", 2.0)]
    broken = WordReranker(fails=ModelFailed("the reranking server x took more than 1 s"))
    found = _reranked(order, broken)
    assert found.order == order
    assert found.scores == {}
    [notice] = found.notices
    assert notice.code == "rerank_failed"
    assert "more than 1 s" in notice.message


def test_scores_that_are_too_few_or_no_numbers_are_a_failure():
    order = [("a", 3.0), ("b", 2.0)]
    for said in ([1.0], [1.0, math.nan], [math.inf, 0.0]):
        found = _reranked(order, _Saying(said))
        assert found.order == order
        assert [notice.code for notice in found.notices] == ["rerank_failed"]


def test_nothing_found_asks_nobody_and_a_question_without_words_says_so():
    asked = WordReranker()
    assert _reranked([], asked).order == []
    settings = RerankSettings(method="http")
    found = rerank("  ", [("a", 1.0)], _read, asked, settings, rrf_k=60)
    assert found.order == [("a", 1.0)]
    assert [notice.code for notice in found.notices] == ["rerank_skipped"]
    assert asked.asked == []


def test_a_page_that_is_gone_meanwhile_stays_behind_those_that_are_there():
    def read(record_ids, with_image):
        return [page(i) for i in reversed(record_ids) if i != "a"]

    order = [("a", 3.0), ("b", 2.0), ("c", 1.0), ("d", 0.0)]
    settings = RerankSettings(method="http", pages=3)
    found = rerank("why?", order, read, _Given({"b": 0.1, "c": 0.9}), settings, rrf_k=60)
    assert [i for i, _ in found.order] == ["c", "b", "a", "d"]


def test_pixels_are_asked_for_where_they_are_wanted_and_missed_aloud():
    wanted = []

    def read(record_ids, with_image):
        wanted.append(with_image)
        return [page(i) for i in record_ids]

    order = [("a", 3.0), ("b", 2.0)]
    settings = RerankSettings(method="qwen3_vl")
    seeing = WordReranker(wants_image=True)
    found = rerank("why?", order, read, seeing, settings, rrf_k=60)
    assert [notice.code for notice in found.notices] == ["rerank_without_image"]
    rerank("why?", order, read, WordReranker(), settings, rrf_k=60)
    assert wanted == [True, False]


def test_what_a_reranker_finds_out_is_told_once():
    class Telling(WordReranker):
        told: tuple[Notice, ...] = ()

        def take_notices(self):
            taken, self.told = self.told, ()
            return list(taken)

    telling = Telling()
    telling.told = (Notice("no_token_probabilities", "the server gives none"),)
    order = [("a", 3.0), ("b", 2.0)]
    codes = [notice.code for notice in _reranked(order, telling).notices]
    assert codes == ["no_token_probabilities"]
    assert _reranked(order, telling).notices == ()
