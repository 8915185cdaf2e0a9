"""Laws of the answer rules of published sets."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.answers.answer_string import says_answer
from eval.answers.list_match import list_exact_match, list_f1
from eval.answers.mmlongbench_rule import rule_score

FORMATS = ("Int", "Float", "Str", "List", "None")
texts = st.text(max_size=20) | st.sampled_from(["a 1 b", "two", "2", "page 3", "10%", "the", "-"])
lists = st.lists(texts, max_size=4)
words = st.lists(st.text("ab12é ", min_size=1, max_size=5).map(str.strip), max_size=6)


@given(said=texts, gold=texts, form=st.sampled_from(FORMATS))
def test_a_rule_score_is_a_share_and_an_equal_answer_is_right(said, gold, form):
    assert 0 <= rule_score(said, gold, form) <= 1
    assert rule_score(gold, gold, form) == 1


@given(said=texts, gold=texts)
def test_which_side_words_stand_on_does_not_matter_unless_they_must_be_exact(said, gold):
    both = {rule_score(said, gold, "Str"), rule_score(gold, said, "Str")}
    assert len(both) == 1 or 0 in both


@given(said=st.floats(-1e6, 1e6), gold=st.floats(-1e6, 1e6))
def test_ten_per_cent_off_is_wrong_unless_both_are_near_nothing(said, gold):
    far = all(
        abs(said - gold * factor) > 0.1 * max(abs(said), abs(gold * factor)) + 0.01
        for factor in (0.01, 1, 100)
    )
    if far:
        assert rule_score(str(said), str(gold), "Float") == 0
    assert rule_score(str(gold * 100), str(gold), "Float") == 1


@given(items=st.lists(st.text("abcdefg", min_size=3, max_size=9), min_size=1, max_size=5))
def test_the_order_of_a_list_does_not_count(items):
    assert rule_score(json.dumps(items[::-1]), json.dumps(items), "List") == 1


@given(said=lists, gold=lists)
def test_list_measures_are_shares_and_exact_lists_are_right(said, gold):
    exact = list_exact_match(said, gold)
    assert 0 <= list_f1(said, gold) <= 1
    assert exact == list_exact_match(gold, said)
    assert list_exact_match(gold, gold[::-1]) == 1
    assert list_f1(gold, gold[::-1]) == 1


@given(said=st.lists(st.text("abc ", max_size=6)), gold=st.lists(st.text("abc ", max_size=6)))
def test_without_numbers_neither_side_of_a_list_f1_is_before_the_other(said, gold):
    assert list_f1(said, gold) == pytest.approx(list_f1(gold, said))


@given(before=words, answer=words.filter(any), after=words)
def test_a_page_says_what_stands_in_it(before, answer, after):
    text = " ".join([*before, *answer, *after])
    assert says_answer(text, [" ".join(answer)])
    assert says_answer(text.upper(), [" ".join(answer)])
    assert not says_answer(text, ["xyz"])
