"""Laws of tuning: the choice, the measures it rests on, the grid, the sampled questions."""

from __future__ import annotations

import itertools
import math

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from eval.tuning.tune import Measured, Setting, bootstrap_interval, choose, grid, ndcg, recall
from eval.tuning.tune_questions import sample_questions
from rag.page_text import PageText
from rag.scoring.cascade import CascadeStage
from rag.settings import RetrievalSettings

settings_measured = st.lists(
    st.builds(
        Measured,
        setting=st.builds(
            Setting,
            first=st.sampled_from([CascadeStage.FDE, CascadeStage.BITS, CascadeStage.INT8]),
            candidates=st.integers(1, 5000),
            int8_candidates=st.integers(1, 500),
            scan_rows=st.just(0),
        ),
        recall=st.sampled_from([0.5, 0.9, 0.98, 0.99, 0.995, 1.0]),
        recall_low=st.just(0.0),
        recall_high=st.just(1.0),
        ndcg_loss=st.just(0.0),
        median_ms=st.sampled_from([1.0, 1.03, 1.05, 1.06, 1.1, 1.2, 3.0]),
        p95_ms=st.just(0.0),
        hot_bytes=st.sampled_from([100.0, 200.0, 300.0]),
        mapped_bytes=st.just(0.0),
    ),
    max_size=12,
)


@given(measured=settings_measured, target=st.sampled_from([0.9, 0.99, 1.0]))
def test_the_chosen_setting_meets_the_target_and_no_eligible_one_is_clearly_faster(
    measured, target
):
    chosen = choose(measured, target)
    eligible = [each for each in measured if each.recall >= target]
    if not eligible:
        assert chosen is None
        return
    assert chosen in eligible
    assert all(chosen.median_ms <= each.median_ms * 1.05 for each in eligible)
    fastest = min(each.median_ms for each in eligible)
    tied = [each for each in eligible if each.median_ms <= fastest * 1.05]
    assert chosen.hot_bytes == min(each.hot_bytes for each in tied)


@given(measured=settings_measured, data=st.data())
def test_the_choice_does_not_depend_on_the_order_of_the_grid(measured, data):
    shuffled = data.draw(st.permutations(measured))
    one, other = choose(measured, 0.9), choose(shuffled, 0.9)
    assert (one is None) == (other is None)
    if one is not None:
        keys = [
            (each.hot_bytes, each.recall, each.median_ms, each.setting.candidates)
            for each in (one, other)
        ]
        assert keys[0] == keys[1]


exact_scores = st.lists(st.integers(0, 30), min_size=1, max_size=12)


@given(scores=exact_scores, data=st.data())
def test_recall_is_the_best_overlap_with_any_exact_top_k(scores, data):
    """Copies stand in for each other: of all orders that the exact scores allow, the kindest."""
    k = data.draw(st.integers(1, len(scores)))
    found = data.draw(st.permutations(range(len(scores))))[:k]
    least = sorted(scores, reverse=True)[k - 1]
    above = [page for page, score in enumerate(scores) if score > least]
    ties = [page for page, score in enumerate(scores) if score == least]
    overlap = max(
        len(set(found) & {*above, *rest}) for rest in itertools.combinations(ties, k - len(above))
    )
    # Whoever finds more ties than the top has room for has found as many of the top.
    wanted = max(overlap, len([page for page in found if scores[page] >= least]))
    exact = np.array(scores, np.float32)
    assert recall(exact[found], exact, k) == wanted / k


@given(scores=exact_scores, data=st.data())
def test_ndcg_is_the_definition_written_out(scores, data):
    k = data.draw(st.integers(1, len(scores)))
    found = data.draw(st.permutations(scores))[:k]
    mean, best = sum(scores) / len(scores), max(scores)
    got = ndcg(np.array(found, np.float32), np.array(scores, np.float32), k)
    if best - mean < 1e-3:
        assert got == 1.0
        return

    def gain(ranked: list[int]) -> float:
        total = 0.0
        for rank, score in enumerate(ranked[:k], start=1):
            total += max(0.0, (score - mean) / (best - mean)) / math.log2(rank + 1)
        return total

    assert math.isclose(got, gain(found) / gain(sorted(scores, reverse=True)), abs_tol=1e-6)
    assert 0 <= got <= 1


@given(scores=exact_scores, data=st.data())
def test_the_exact_ranking_loses_nothing(scores, data):
    k = data.draw(st.integers(1, len(scores)))
    exact = np.array(scores, np.float32)
    ranked = -np.sort(-exact)[:k]
    assert recall(ranked, exact, k) == 1.0
    assert math.isclose(ndcg(ranked, exact, k), 1.0)


@given(scores=exact_scores, data=st.data())
def test_pages_not_found_are_lost_not_forgiven(scores, data):
    k = data.draw(st.integers(1, len(scores)))
    exact = np.array(scores, np.float32)
    assert recall(exact[:0], exact, k) == 0.0


@given(values=st.lists(st.sampled_from([0.0, 0.5, 0.9, 1.0]), min_size=1, max_size=60))
def test_the_interval_holds_the_mean(values):
    low, high = bootstrap_interval(np.array(values))
    mean = float(np.mean(values))
    assert low - 1e-9 <= mean <= high + 1e-9
    if len(set(values)) == 1:
        assert math.isclose(low, high)


@given(
    n_pages=st.integers(1, 20_000),
    rows_a_page=st.integers(1, 1000),
    k=st.integers(1, 100),
    retrieval=st.builds(
        RetrievalSettings,
        candidates=st.integers(1, 1000),
        int8_candidates=st.integers(1, 1000),
        scan_rows=st.integers(0, 10_000_000),
        exact_pages=st.integers(0, 200),
        leg_candidates=st.integers(1, 200),
    ),
)
def test_every_setting_of_the_grid_does_what_it_says_and_none_twice(
    n_pages, rows_a_page, k, retrieval
):
    n_rows = n_pages * rows_a_page
    settings, current = grid(n_pages, n_rows, retrieval, k=k)
    assert current in settings
    assert len(set(settings)) == len(settings)
    # What Retriever asks for, and what Cascade then does first with so many pages and rows.
    limit = max(k, retrieval.leg_candidates)
    for each in settings:
        if n_pages > max(each.candidates, limit) and n_rows > each.scan_rows:
            first = CascadeStage.FDE
        elif n_pages > max(each.int8_candidates, limit):
            first = CascadeStage.BITS
        else:
            first = CascadeStage.INT8
        assert first is each.first
        if each != current:
            assert each.int8_candidates >= max(limit, retrieval.exact_pages)


words = st.sampled_from("tide power dividend 1,234 the of harbour revenue 7 and".split())
pages = st.lists(st.lists(st.lists(words, min_size=1, max_size=15), max_size=4), max_size=6)


def page_text(lines: list[list[str]]) -> PageText:
    flat = [word for line in lines for word in line]
    numbers = [number for number, line in enumerate(lines) for _ in line]
    n = len(flat)
    return PageText(
        tuple(flat),
        np.zeros((n, 4), np.float32),
        np.array(numbers, np.int32),
        np.zeros(n, np.float32),
        np.zeros(n, np.bool_),
    )


@given(pages=pages, n=st.integers(1, 20), seed=st.integers(0, 5))
def test_sampled_questions_are_words_of_the_pages_in_their_order_and_none_comes_twice(
    pages, n, seed
):
    texts = [page_text(page) for page in pages]
    assume(any(word not in ("the", "of", "and") for text in texts for word in text.words))
    found = sample_questions(texts, n, seed=seed)
    assert 1 <= len(found) <= n
    assert len(set(found)) == len(found)
    assert found == sample_questions(texts, n, seed=seed)
    for question in found:
        asked = question.split()
        assert any(is_subsequence(asked, text.words) for text in texts)


def is_subsequence(part: list[str], whole: tuple[str, ...]) -> bool:
    rest = iter(whole)
    return all(word in rest for word in part)
