"""Answer rules of published sets, by numbers that can be checked by hand."""

from __future__ import annotations

import builtins
import sys

import pytest

from eval.answers.answer_string import AnswerMatcher, says_answer
from eval.answers.list_match import list_exact_match, list_f1
from eval.answers.mmlongbench_rule import items_of, rule_score
from eval.answers.rules import rule_scores
from eval.datasets.folder import Query
from rag.errors import ConfigError


@pytest.mark.parametrize(
    ("said", "gold", "score"),
    [
        ("19", "19", 1),
        ("19.0", "19", 1),
        ("19.7", "19", 1),  # as published: a fraction is cut off
        ("18", "19", 0),
        ("nineteen", "19", 0),
        ("nan", "19", 0),
        ("inf", "19", 0),
        ("", "19", 0),
        ("about 8", "about 8", 1),  # a gold answer that is no number is compared as text
        ("about 9", "about 8", 0),
    ],
)
def test_whole_numbers_must_be_equal(said, gold, score):
    assert rule_score(said, gold, "Int") == score


@pytest.mark.parametrize(
    ("said", "gold", "score"),
    [
        ("18.29%", "18.29%", 1),
        ("0.1829", "18.29%", 1),
        ("1829", "18.29%", 1),
        ("18.4", "18.29", 1),  # within 1 %
        ("18.6", "18.29", 0),
        ("0.004", "0.001", 0),
        ("0.0042", "0.004", 1),  # rounded to the three decimals of the shorter
        ("0.5", "0.52", 0),  # two decimals at least
        ("$ 5 (USD)", "5", 1),
        ("five", "5", 0),
        ("inf", "5", 0),
    ],
)
def test_fractions_are_equal_within_a_hundredth_after_rounding_or_as_percent(said, gold, score):
    assert rule_score(said, gold, "Float") == score


@pytest.mark.parametrize(
    ("said", "gold", "score"),
    [
        ("Less well-off", "less well-off", 1),
        ("pepsi cola", "pepsi", 0),  # half of it edited
        ("pepsi", "pepsi!", 5 / 6),
        ("'Europe' (EU)", "Europe", 1),
        ("https://w.wiki/6gh", "https://w.wiki/6gb", 0),
        ("map.ipynb", "maps.ipynb", 0),
        ("page 12", "page 13", 0),
        ("555-1234", "555-1235", 0),
        ("2015-2016", "2015-2017", 0),
        ("2020-01-01", "2020-01-02", 0),
        ("9 a.m.", "8 a.m.", 0),
        ("a@b.org", "a@c.org", 0),
        ("Not answerable", "Not answerable", 1),
        ("", "", 1),
    ],
)
def test_words_are_equal_by_edit_distance_or_to_the_letter(said, gold, score):
    assert rule_score(said, gold, "Str") == pytest.approx(score)


@pytest.mark.parametrize(
    ("said", "gold", "score"),
    [
        ("['10%', 'White']", "['White', '10%']", 1),  # "10" stands first: exact
        ('["white", "10"]', "['White', '10%']", 1),
        ("['White', '11%']", "['White', '10%']", 0),
        ("['1.5', 'whites']", "['1.5', 'white']", 0),  # a number stands first: exact
        ("['Circle']", "['Circle', 'Rectangle']", 0),
        ("['Circle', 'Rectangles']", "['Circle', 'Rectangle']", 0.9),
        ("TIME", "['TIME']", 1),
        ("['TIME'", "['TIME']", 2 / 3),  # no list, so one answer that is spelt otherwise
        ("[1, 2]", "[2, 1]", 1),
    ],
)
def test_lists_are_as_good_as_their_worst_item(said, gold, score):
    assert rule_score(said, gold, "List") == pytest.approx(score)


def test_a_list_of_another_length_scores_nothing():
    assert rule_score("['Circle']", "['Circle', 'Rectangle']", "List") == 0
    assert rule_score("[]", "[]", "List") == 1


def test_a_text_that_only_begins_as_a_list_is_one_item():
    assert items_of("[Smith 2020] says") == ("[Smith 2020] says",)
    assert items_of("['a', 2]") == ("a", "2")
    assert items_of("[1](2)") == ("[1](2)",)
    assert items_of("[" * 5000) == ("[" * 5000,)


@pytest.mark.parametrize(
    ("said", "gold", "exact", "f1"),
    [
        (["2 dogs", "a cat"], ["Cat", "two dogs"], 1, 1),
        (["cat"], ["cat", "dog"], 0, 0.5),
        (["cat", "cat"], ["cat"], 0, 0.5),
        (["cat", "dog", "cow"], ["cat"], 0, 0.33),
        (["the red cat"], ["red dog"], 0, 0.5),
        (["12 dogs"], ["13 dogs"], 0, 0),  # the numbers differ
        (["13 dogs"], ["dogs"], 0, 0.67),  # the gold answer holds none
        (["1,000"], ["1000"], 1, 1),
        (["well-known"], ["well known"], 1, 1),
        ([""], ["the"], 1, 1),
        ([""], ["cat"], 0, 0),
        ([], ["cat"], 0, 0),
        ([], [], 1, 1),
        # The best pairing: "p q" with "p" would leave "p q r" to "p".
        (["p q", "p"], ["p", "p q r"], 0, 0.9),
    ],
)
def test_lists_are_paired_the_best_way(said, gold, exact, f1):
    assert list_exact_match(said, gold) == exact
    assert list_f1(said, gold) == pytest.approx(f1)


def test_one_answer_needs_no_scipy_and_several_say_what_to_install(monkeypatch):
    real = builtins.__import__

    def without_scipy(name, *arguments, **named):
        if name.startswith("scipy"):
            raise ImportError(name)
        return real(name, *arguments, **named)

    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    monkeypatch.setattr(builtins, "__import__", without_scipy)
    assert list_f1(["a cat"], ["cat", "dog"]) == 0.5
    with pytest.raises(ConfigError) as failure:
        list_f1(["cat", "dog"], ["dog", "cat"])
    assert failure.value.code == "extra_missing"


@pytest.mark.parametrize(
    ("text", "answer", "is_said"),
    [
        ("Paris is the capital of France.", "the Capital of france", True),
        ("Paris, the capital", "paris the", False),  # a comma is a word
        ("In 1,000 years", "1,000", True),
        ("In 1,000 years", "1", True),
        ("thousand", "thou", False),
        ("Crème brûlée", "creme", False),
        ("Crème brûlée", "cre", False),
        ("Cre\u0300me", "Crème", True),
        ("zero\u200bwidth sign", "zero width", True),
        ("anything", "", False),
        ("", "anything", False),
    ],
)
def test_a_page_says_an_answer_word_by_word(text, answer, is_said):
    assert says_answer(text, [answer]) is is_said


def test_only_the_first_words_of_a_page_are_looked_at():
    text = "word " * 499 + "north south"
    assert says_answer(text, ["north"])
    assert not says_answer(text, ["south"])
    assert not says_answer(text, ["north south"])
    assert says_answer(text, ["north south"], n_words=None)


def test_answers_of_many_questions_are_found_in_one_pass():
    matcher = AnswerMatcher({"q1": ["New York"], "q2": ["York", "Leeds"], "q3": ["New York City"]})
    assert matcher.said_in("In New York they say") == {"q1", "q2"}
    assert matcher.said_in("New York City") == {"q1", "q2", "q3"}
    assert matcher.said_in("new") == set()


def _query(answer, *, answer_format=None, answers=()):
    return Query(
        id="q", text="?", answer=answer, type="t", answer_format=answer_format, answers=answers
    )


def test_rules_go_by_the_answer_format_and_take_the_best_gold_answer():
    assert rule_scores("8", _query("8")) == {}
    assert rule_scores("8", _query("8", answer_format="Int")) == {"rule_score": 1}
    assert rule_scores("9", _query("8", answer_format="Int", answers=("9",))) == {"rule_score": 1}
    assert rule_scores("['b', 'a']", _query("['a', 'b']", answer_format="List")) == {
        "rule_score": 1,
        "list_em": 1,
        "list_f1": 1,
    }
