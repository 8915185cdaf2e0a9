"""Figures of answers beside right and wrong: exact figures, tokens, refusals, groups, stages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.answers.judged import Decision, judge
from eval.answers.measures import answer_figures
from eval.answers.numeric import numeric_match
from eval.answers.refusals import abstention_accuracy, scores_over_both
from eval.answers.spending import Prices, prices_given, spending
from eval.datasets.folder import PageKey, Query
from rag.errors import InputError

GOLD = (PageKey("a.pdf", 1), PageKey("a.pdf", 2))


def judged(said, answer, *, abstained=False, pages=((("a.pdf"), 1),), error=None, **query):
    asked = Query(**{"id": "q", "text": "How?", "answer": answer, "type": "t", **query})
    row = {
        "answer": said,
        "short": said,
        "abstained": abstained,
        "confidence": 0.1 if abstained else 0.9,
        "citations": [{"source": doc, "page_number": page} for doc, page in pages],
        "timings_ms": {"search": 4.0, "answer": 10.0, "total": 15.0},
        "error": error,
    }
    return judge(asked, row, GOLD, threshold=0.45)


@pytest.mark.parametrize(
    ("said", "gold", "score"),
    [
        ("2013", "2018", 0.0),  # ANLS: 0.75
        ("2018", "2018", 1.0),
        ("in 2018, 5,818 units", "5818 (2018)", 1.0),
        ("5,818", "5818.00", 1.0),
        ("$(5.20)", "-5.2", 1.0),
        ("- $5.2", "(5.2)", 1.0),
        ("2018-2019", "2018 to 2019", 1.0),
        ("1,23,456", "123456", 1.0),
        ("12%", "12", 1.0),
        ("5.8 million", "5800000", 0.0),
        ("5818 of 9", "5818", 0.0),
        ("", "7", 0.0),
        ("none", "seven", None),
    ],
)
def test_figures_match_digit_by_digit(said, gold, score):
    assert numeric_match(said, gold) == score


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_two_numbers_match_exactly_where_they_are_equal_however_thousands_are_written(one, other):
    assert numeric_match(f"{one:,} units", f"It was {one}") == 1
    assert numeric_match(f"{one:,}", str(other)) == float(one == other)


def test_the_best_of_several_gold_answers_counts():
    found = judged("Big Apple", "New York", answers=("NYC", "big apple"))
    assert (found.exact, found.f1, found.anls, found.is_right) == (1.0, 1.0, 1.0, True)
    assert judged("Boston", "New York", answers=("NYC",)).exact == 0
    assert judged("12", "twelve", answers=("12 units", "13")).numeric == 1


def test_measures_are_told_by_type_by_group_and_of_how_many():
    answers = [
        judged("5", "5", type="sum", groups={"domain": "law", "language": "en"}),
        judged("6", "5", type="sum", groups={"domain": "law"}, pages=[("a.pdf", 1), ("b.pdf", 1)]),
        judged("", "7", type="name", groups={"domain": "energy"}, abstained=True),
        judged("Graz", "Graz", type="name"),
    ]
    figures = answer_figures(answers, [], threshold=0.45)
    assert figures["means"]["numeric_match"] == {"value": pytest.approx(1 / 3), "n": 3}
    assert figures["means"]["EM"] == {"value": 0.5, "n": 4}
    assert figures["means"]["page_precision"] == {"value": pytest.approx(2.5 / 3), "n": 3}
    assert figures["means"]["page_recall"] == {"value": 0.5, "n": 3}
    law = figures["by_group"]["domain"]["law"]
    assert (law["n"], law["right"], law["means"]["numeric_match"]["value"]) == (2, 1, 0.5)
    assert list(figures["by_group"]) == ["domain", "language"]
    assert figures["by_group"]["language"]["en"]["n"] == 1
    assert figures["by_type"]["sum"]["means"]["EM"] == {"value": 0.5, "n": 2}
    assert figures["latency_by_stage_ms"]["search"] == {"p50": 4.0, "p95": 4.0, "n": 4}


def test_rules_of_published_sets_are_told_where_questions_have_them():
    answers = [judged("5.02", "5", answer_format="Float"), judged("x", "y")]
    assert answers[0].values["rule_score"] == 1
    assert "rule_score" not in answers[1].values
    withheld = judged("5", "5", answer_format="Float", abstained=True)
    assert withheld.values["rule_score"] == 0
    figures = answer_figures([*answers, withheld], [], threshold=0.45)
    assert figures["means"]["rule_score"] == {"value": 0.5, "n": 2}


def test_refusing_is_right_for_the_unanswerable_alone():
    answers = [
        judged("5", "5", answer_format="Int"),
        judged("6", "5", answer_format="Int"),
        judged("", "5", answer_format="Int", abstained=True),
        judged("", "5", answer_format="Int", error={"code": "chat_timeout"}),
    ]
    without = [Decision(0.1, is_answered=False), Decision(0.8, is_answered=True)]
    told_apart = abstention_accuracy(answers, without)
    # 2 of 3 answered (one failed), 1 of 2 refused.
    assert told_apart["value"] == pytest.approx(3 / 5)
    assert told_apart["answerable"] == {"answered": 2, "n": 3}
    assert told_apart["unanswerable"] == {"abstained": 1, "n": 2}
    both = scores_over_both(answers, without)["rule_score"]
    # One score of 1: precision over the 3 answered, recall over the 4 with an answer.
    assert both["accuracy"] == pytest.approx(2 / 6)
    assert (both["precision"], both["recall"]) == (pytest.approx(1 / 3), 0.25)
    assert both["F1"] == pytest.approx(2 * (1 / 3) * 0.25 / (1 / 3 + 0.25))
    assert abstention_accuracy([], [])["value"] is None


def usage(prompt, completion, cached=None):
    told = {"prompt_tokens": prompt, "completion_tokens": completion}
    return {"usage": told if cached is None else {**told, "cached_tokens": cached}}


def test_tokens_are_summed_and_cost_what_the_prices_say_and_no_more_is_made_up():
    rows = [usage(1000, 100, cached=400), usage(500, 50), {"abstained": True}]
    bare = spending(rows, None)
    assert bare["tokens"] == {"prompt": 1500, "completion": 150, "cached": 400, "n": 2}
    assert bare["cost"] is None
    # (1100 x 2 + 400 x 0.5 + 150 x 8) / 1e6; without a price of its own, cached costs as the rest.
    cost = spending(rows, Prices(2.0, 8.0, 0.5))["cost"]
    assert (cost["value"], cost["mean"]) == (pytest.approx(0.0036), pytest.approx(0.0018))
    assert spending(rows, Prices(2.0, 8.0))["cost"]["value"] == pytest.approx(0.0042)
    assert spending([], Prices(1, 1)) == {
        "tokens": {"prompt": 0, "completion": 0, "cached": 0, "n": 0},
        "cost": None,
    }


def test_half_a_price_is_refused():
    assert prices_given(None, None) is None
    assert prices_given(1.0, 2.0) == Prices(1.0, 2.0)
    for prompt, completion, cached in ((1.0, None, None), (None, 1.0, None), (None, None, 1.0)):
        with pytest.raises(InputError, match="both"):
            prices_given(prompt, completion, cached)
    with pytest.raises(InputError, match="below zero"):
        prices_given(-1.0, 2.0)
