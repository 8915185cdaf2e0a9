"""What answers are worth, at any threshold."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.abstention import auc_interval, least_misled, roc
from eval.answer_folds import best_threshold, decided, fold_answers
from eval.answer_measures import (
    answer_figures,
    cited_pages,
    judge,
    outcome_figures,
    said_of,
    score_of,
    wilson,
)
from eval.answer_report import abstention_report, answers_report
from eval.datasets import PageKey, Query
from rag.errors import InputError

GOLD = (PageKey("a.pdf", 1), PageKey("a.pdf", 2))


def query(answer="5818", gold_mode="all", text="How many?"):
    return Query(id="q1", text=text, answer=answer, type="t", doc="a.pdf", gold_mode=gold_mode)


def row(short="5,818", pages=(("a.pdf", 1),), confidence=0.5, **rest):
    citations = [{"source": source, "page_number": number} for source, number in pages]
    return {
        "answer": f"It is {short} [1].",
        "short": short,
        "abstained": False,
        "confidence": confidence,
        "citations": citations,
        **rest,
    }


def judged(identity="q1", *, score=0.5, is_right=True, cites_gold=True, kind="number"):
    found = judge(query(), row(confidence=max(score, 0)), GOLD)
    return replace(
        found, id=identity, score=score, is_right=is_right, cites_gold=cites_gold, kind=kind
    )


@pytest.mark.parametrize(
    ("given", "outcome"),
    [
        (row(), "right_cited"),
        (row(pages=[("a.pdf", 3)]), "right"),
        (row(pages=[("b.pdf", 1)]), "right"),
        (row(pages=[]), "right"),
        (row(short="5,819"), "wrong"),
        (row(confidence=0.3), "abstained"),
        (row(abstained=True), "abstained"),
        (row(error={"code": "chat_timeout"}), "error"),
    ],
)
def test_an_answer_is_right_by_a_gold_page_right_wrong_withheld_or_failed(given, outcome):
    assert judge(query(), given, GOLD).outcome(0.45) == outcome


def test_what_a_model_abstains_from_no_threshold_answers():
    found = judge(query(), row(abstained=True, confidence=0.9), GOLD)
    assert found.outcome(0.0) == "abstained"
    assert score_of({"error": {"code": "x"}, "abstained": False, "confidence": 1.0}) < 0


def test_without_a_short_answer_only_the_whole_text_counts():
    assert said_of({"short": "", "answer": "It is 978 [1]. So [2]."}) == "It is 978. So"
    assert judge(query("978"), row(short="", answer="978 [1]."), GOLD).is_right
    assert not judge(query("978"), row(short="", answer="It is 978 [1]."), GOLD).is_right


def test_units_of_the_question_are_heeded():
    asked = query("5818", text="How many dollars? Answer in USD millions.")
    assert judge(asked, row(short="$5.818 billion"), GOLD).is_right
    assert not judge(query("5818"), row(short="$5.818 billion"), GOLD).is_right


def test_cited_pages_count_once_and_recall_follows_what_is_needed():
    twice = [("a.pdf", 1), ("a.pdf", 1), ("a.pdf", 9)]
    found = judge(query(), row(pages=twice), GOLD)
    assert (found.n_cited, found.n_cited_gold, found.recall) == (2, 1, 0.5)
    assert judge(query(gold_mode="any"), row(pages=twice), GOLD).recall == 1
    uncited, withheld = row(pages=[]), row(confidence=0.1)
    judged_rows = [judge(query(), each, GOLD) for each in (row(), uncited, withheld)]
    figures = cited_pages([found, *judged_rows], 0.3)
    assert figures["precision"] == {"value": 0.75, "n": 2}
    assert figures["precision_of_pages"] == {"value": pytest.approx(2 / 3), "n": 3}


@given(
    st.lists(
        st.builds(
            judged,
            score=st.sampled_from([-1.0, 0.0, 0.2, 0.5, 1.0]),
            is_right=st.booleans(),
            cites_gold=st.booleans(),
            kind=st.sampled_from(["number", "name", None]),
        ),
        min_size=1,
        max_size=8,
    ),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_every_counted_question_has_one_outcome_and_a_higher_threshold_answers_no_more(
    answers, one, other
):
    low, high = sorted((one, other))
    less, more = outcome_figures(answers, high), outcome_figures(answers, low)
    for figures in (less, more):
        parts = [figures[key] for key in ("right", "wrong", "abstained", "errors")]
        assert sum(parts) == figures["counted"] <= figures["n"]
        assert figures["right_cited"] <= figures["right"]
    for key in ("right", "wrong", "answered", "right_cited"):
        assert less[key] <= more[key]


def test_means_say_of_how_many_and_are_none_of_none():
    figures = answer_figures([judged(score=0.1)], [], threshold=0.45)
    assert figures["cited_pages"]["precision"] == {"value": None, "n": 0}
    assert figures["support"]["citation_recall"] == {"value": None, "n": 0}
    assert figures["wording"]["EM"] == {"value": 0.0, "n": 1}  # withheld, and in the mean
    assert figures["headline"] == {
        "right_cited": 0.0,
        "low": 0.0,
        "high": pytest.approx(0.793, abs=1e-3),
        "n": 1,
    }
    assert figures["abstention"] is None


def test_no_question_that_counts_is_no_headline():
    figures = answer_figures([judged(kind=None)], [], threshold=0.45)
    assert figures["headline"]["right_cited"] is None
    full = {
        **figures,
        "dataset": "d",
        "scope": "corpus",
        "pages": "found",
        "n_questions": 1,
        "answerer": "extractive",
        "encoder": "",
        "config_hash": "c",
        "machine": {"cores": 1, "cpu": "x"},
        "commit": "",
        "taken_over": {"answers": 2, "commits": ["abc", "def+changes"]},
        "errors": {},
        "notices": {},
    }
    report = answers_report(full)
    assert "headline   - right" in report
    assert "taken over 2 answers of an earlier run; commits abc, def+changes" in report


def test_the_interval_of_a_share_is_wilsons():
    # Worked by hand: 5 of 10 and 0 of 10 at z = 1.96.
    assert wilson(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)


def test_questions_that_failed_take_no_part_in_the_curve():
    failed = replace(judged(score=-1.0), error="chat_timeout")
    figures = answer_figures([judged(score=0.9), failed], [0.1, 0.6], threshold=0.5)
    found = figures["abstention"]
    assert (found["auc"], found["answerable"], found["refused"]) == (1.0, 1, 0)
    assert (found["unanswerable"], found["abstained"]) == (2, 1)
    assert answer_figures([failed], [0.1], threshold=0.5)["abstention"] is None


def test_the_report_of_withheld_answers_states_shares_and_denominators():
    answers = [judged(score=score) for score in (0.9, 0.8, 0.7, 0.2)]
    figures = answer_figures(answers, [0.75, 0.1, -1.0, -1.0], threshold=0.5)
    report = abstention_report(figures["abstention"], 0.5)
    assert "threshold 0.500: answers 75% of 4 answerable and 25% of 4 unanswerable" in report
    assert "abstains from 0.750 of the unanswerable, refuses 0.250 of the answerable" in report


def test_the_interval_of_an_auc_holds_it_and_is_the_same_every_time():
    answerable, unanswerable = [0.9, 0.8, 0.7, 0.4, 0.3], [0.6, 0.35, 0.2]
    low, high = auc_interval(answerable, unanswerable)
    assert low < roc(answerable, unanswerable).auc < high
    assert auc_interval(answerable, unanswerable) == (low, high)
    assert auc_interval([1.0, 0.9], [0.1]) == (1.0, 1.0)
    assert auc_interval([0.5, 0.5], [0.5]) == (0.5, 0.5)  # ties count half
    with pytest.raises(InputError):
        auc_interval([], [0.1])


def test_the_interval_of_an_auc_shrinks_as_questions_come():
    few = auc_interval([0.9, 0.5, 0.3], [0.6, 0.2, 0.4])
    many = auc_interval([0.9, 0.5, 0.3] * 20, [0.6, 0.2, 0.4] * 20)
    assert many[1] - many[0] < 0.5 * (few[1] - few[0])


def test_the_least_misled_point_answers_enough_and_no_higher_threshold_does():
    curve = roc([0.9, 0.8, 0.7, 0.2], [0.75, 0.5, 0.1])
    point = least_misled(curve, answered=0.75)
    assert (point.answered, point.misled) == (0.75, pytest.approx(1 / 3))
    assert least_misled(curve, answered=1.0).misled == pytest.approx(2 / 3)


def test_the_threshold_is_chosen_by_what_it_separates():
    answers = [judged(score=0.8), judged(score=0.6, is_right=False), judged(score=0.9)]
    assert best_threshold(answers, [0.7, 0.65]) == pytest.approx(0.75)
    assert best_threshold(answers, []) == pytest.approx(0.7)  # the wrong one below
    assert best_threshold([judged(score=0.9)], []) == 0.0
    assert best_threshold([judged(score=-1.0)], [0.9]) == 1.0  # answer nothing, as a setting


def test_a_fold_is_measured_with_what_the_other_folds_chose():
    # Fold 1 alone would choose 0 and be right; fold 2 has taught it to withhold below 0.7.
    answers = [
        judged("a1", score=0.3),
        judged("b1", score=0.6, is_right=False),
        judged("b2", score=0.8),
    ]
    found = fold_answers(answers, {}, {"a1": 1, "b1": 2, "b2": 2}, threshold=0.0)
    first, second = found["folds"]
    assert first["threshold"] == pytest.approx(0.7)
    assert (first["as_it_is"]["right"], first["held_out"]["right"]) == (1, 0)
    assert second["threshold"] == 0.0
    assert (found["as_it_is"]["right"], found["held_out"]["right"]) == (2, 1)
    assert found["difference"]["right_cited"] == pytest.approx(-1 / 3)
    assert sum(fold["held_out"]["n"] for fold in found["folds"]) == found["held_out"]["n"] == 3


def test_folds_without_a_question_that_counts_are_refused():
    with pytest.raises(InputError, match="counts"):
        fold_answers([judged(kind=None)], {}, {"q1": 1}, threshold=0.5)


def test_applying_a_threshold_keeps_every_outcome():
    answers = [judged(score=score) for score in (-1.0, 0.0, 0.4, 0.6)]
    for threshold in (0.0, 0.4, 0.5, 1.0):
        assert [each.outcome(0.5) for each in decided(answers, threshold)] == [
            each.outcome(threshold) for each in answers
        ]
