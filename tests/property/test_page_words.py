"""Windows over a page's words: nothing is left out, and nothing is too long."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rerank_pages import page

from rag.rerankers.page_words import MOST_WINDOWS, estimated_costs, fitting_words, passages, windows


@given(costs=st.lists(st.integers(1, 9), max_size=60), room=st.integers(1, 30))
def test_every_word_is_in_a_window_and_no_window_is_above_the_room(costs, room):
    spans = windows(costs, room=room)
    covered = {place for start, end in spans for place in range(start, end)}
    assert covered == set(range(len(costs)))
    for start, end in spans:
        assert sum(costs[start:end]) <= room or end - start == 1
    for (start, end), (next_start, next_end) in pairwise(spans):
        assert start < next_start <= end < next_end
        assert sum(costs[next_start:end]) <= room // 4


def test_windows_worked_by_hand():
    assert windows([2] * 6, room=8) == [(0, 4), (3, 6)]
    assert windows([9, 1, 1], room=4) == [(0, 1), (1, 3)]
    assert windows([], room=4) == []


@given(
    words=st.lists(st.text("abc0", min_size=1, max_size=30), max_size=80), room=st.integers(8, 64)
)
def test_passages_fit_the_room_and_begin_with_the_title(words, room):
    found = passages(
        page("a", " ".join(words), source="docs/net_income_2022.pdf"),
        "b",
        costs=lambda words: [1] * len(words),
        room=room,
    )
    assert 1 <= len(found) <= MOST_WINDOWS
    assert all(len(text.split()) <= room for text in found)
    assert all(text.startswith("net income") for text in found)


def test_a_page_without_words_is_its_title():
    assert passages(page("a"), "?", costs=estimated_costs, room=100) == ["report"]


def test_of_many_windows_those_with_the_questions_terms_stay_in_their_order():
    words = ["filler"] * 1000
    words[100], words[905] = "dividend", "dividends"
    found = passages(
        page("a", " ".join(words)),
        "What dividend is proposed?",
        costs=lambda words: [1] * len(words),
        room=50,
        most=3,
    )
    assert len(found) == 3
    assert "dividend" in found[-2] + found[-3]
    assert "dividends" in found[-1]


def test_a_word_longer_than_the_room_stands_alone():
    found = passages(
        page("a", "x" * 5000 + " y"), "?", costs=lambda words: [len(w) for w in words], room=40
    )
    assert found[-1].endswith("y")


@pytest.mark.parametrize(
    ("word", "cost"), [("income", 2), ("a", 1), ("1,234.50", 4), ("\u5e74\u5ea6\u5831\u544a", 4)]
)
def test_costs_are_estimated_by_script(word, cost):
    assert estimated_costs([word]) == [cost]


def test_a_question_is_cut_after_the_words_that_fit():
    def by_length(words):
        return [len(word) for word in words]

    assert fitting_words("one two three", costs=by_length, room=6) == "one two"
    assert fitting_words("", costs=by_length, room=6) == ""
