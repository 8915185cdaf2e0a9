"""What answers are worth, and which threshold is worth most."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.answers.abstention import auc_interval, least_misled, roc
from eval.answers.folds import AnsweredAt, best_threshold, fold_answers
from eval.answers.judged import Decision, decision_of, judge, said_of
from eval.answers.measures import answer_figures, cited_pages, outcome_figures, wilson
from eval.answers.report import abstention_report, answers_report
from eval.datasets.folder import PageKey, Query
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


def judge_row(asked, given, *, threshold=0.45):
    return judge(asked, given, GOLD, threshold=threshold)


def decided(score, threshold=0.45):
    return Decision(score, is_answered=score >= threshold)


def judged(identity="q1", *, score=0.5, is_right=True, cites_gold=True, kind="number", at=0.45):
    return replace(
        judge_row(query(), row()),
        id=identity,
        decision=decided(score, at),
        is_right=is_right,
        cites_gold=cites_gold,
        kind=kind,
    )


def asked_at(threshold, scores, *, wrong=(), without=()):
    """A model whose threshold is a filter and nothing else: id to score."""
    answers = [
        judged(name, score=score, is_right=name not in wrong, at=threshold)
        for name, score in scores.items()
    ]
    return AnsweredAt(answers, {f"u{i}": decided(s, threshold) for i, s in enumerate(without)})


@pytest.mark.parametrize(
    ("given", "outcome"),
    [
        (row(), "right_cited"),
        (row(pages=[("a.pdf", 3)]), "right"),
        (row(pages=[("b.pdf", 1)]), "right"),
        (row(pages=[]), "right"),
        (row(short="5,819"), "wrong"),
        (row(abstained=True), "abstained"),
        (row(error={"code": "chat_timeout"}), "error"),
    ],
)
def test_an_answer_is_right_by_a_gold_page_right_wrong_withheld_or_failed(given, outcome):
    assert judge_row(query(), given).outcome == outcome


def test_an_answer_counts_as_it_was_given_and_its_confidence_as_it_was_told():
    assert decision_of(row(confidence=0.3), 0.45) == Decision(0.3, is_answered=True)
    withheld = row(abstained=True, confidence=0.3)
    assert decision_of(withheld, 0.45) == Decision(0.3, is_answered=False)
    of_its_own = row(abstained=True, confidence=0.9)
    assert decision_of(of_its_own, 0.45) == Decision(-1.0, is_answered=False)
    failed = {"error": {"code": "x"}, "abstained": True, "confidence": 0.0}
    assert decision_of(failed, 0.45) == Decision(-1.0, is_answered=False)


def test_without_a_short_answer_only_the_whole_text_counts():
    assert said_of({"short": "", "answer": "It is 978 [1]. So [2]."}) == "It is 978. So"
    assert judge_row(query("978"), row(short="", answer="978 [1].")).is_right
    assert not judge_row(query("978"), row(short="", answer="It is 978 [1].")).is_right


def test_units_of_the_question_are_heeded():
    asked = query("5818", text="How many dollars? Answer in USD millions.")
    assert judge_row(asked, row(short="$5.818 billion")).is_right
    assert not judge_row(query("5818"), row(short="$5.818 billion")).is_right


def test_cited_pages_count_once_and_recall_follows_what_is_needed():
    twice = [("a.pdf", 1), ("a.pdf", 1), ("a.pdf", 9)]
    found = judge_row(query(), row(pages=twice))
    assert (found.n_cited, found.n_cited_gold, found.recall) == (2, 1, 0.5)
    assert judge_row(query(gold_mode="any"), row(pages=twice)).recall == 1
    uncited, withheld = row(pages=[]), row(abstained=True, confidence=0.1)
    judged_rows = [judge_row(query(), each) for each in (row(), uncited, withheld)]
    figures = cited_pages([found, *judged_rows])
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
    )
)
def test_every_counted_question_has_one_outcome(answers):
    figures = outcome_figures(answers)
    parts = [figures[key] for key in ("right", "wrong", "abstained", "errors")]
    assert sum(parts) == figures["counted"] <= figures["n"]
    assert figures["right_cited"] <= figures["right"]
    assert figures["answered"] <= figures["n"]


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
    two = [decided(0.1), decided(0.6)]
    figures = answer_figures([judged(score=0.9), failed], two, threshold=0.45)
    found = figures["abstention"]
    assert (found["auc"], found["answerable"], found["refused"]) == (1.0, 1, 0)
    assert (found["unanswerable"], found["abstained"]) == (2, 1)
    assert answer_figures([failed], two, threshold=0.45)["abstention"] is None


def test_the_report_of_withheld_answers_states_shares_and_denominators():
    answers = [judged(score=score) for score in (0.9, 0.8, 0.7, 0.2)]
    without = [decided(score) for score in (0.75, 0.1, -1.0, -1.0)]
    figures = answer_figures(answers, without, threshold=0.45)
    report = abstention_report(figures["abstention"], 0.45)
    assert "threshold 0.450: answers 75% of 4 answerable and 25% of 4 unanswerable" in report
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


GRID = (0.2, 0.5, 0.7)


def test_the_threshold_is_chosen_by_what_it_separates():
    scores = {"a": 0.8, "b": 0.6, "c": 0.9}
    with_others = {t: asked_at(t, scores, wrong="b", without=[0.65, 0.6]) for t in GRID}
    assert best_threshold(with_others) == 0.7  # 2 of 3 answered, none misled
    alone = {t: asked_at(t, scores, wrong="b") for t in GRID}
    assert best_threshold(alone) == 0.7  # the wrong one is below
    assert (
        best_threshold({t: asked_at(t, {"a": 0.9}) for t in GRID}) == 0.2
    )  # of equals, the lowest


def test_a_fold_is_measured_with_what_the_other_folds_chose():
    # Fold 1 alone would choose 0.2 and be right; fold 2 has taught it to withhold below 0.7.
    scores = {"a1": 0.3, "b1": 0.6, "b2": 0.8}
    at = {t: asked_at(t, scores, wrong=["b1"]) for t in GRID}
    found = fold_answers(at, {"a1": 1, "b1": 2, "b2": 2}, threshold=0.2)
    first, second = found["folds"]
    assert (first["threshold"], second["threshold"]) == (0.7, 0.2)
    assert (first["as_it_is"]["right"], first["held_out"]["right"]) == (1, 0)
    assert (found["as_it_is"]["right"], found["held_out"]["right"]) == (2, 1)
    assert found["difference"]["right_cited"] == pytest.approx(-1 / 3)
    assert sum(fold["held_out"]["n"] for fold in found["folds"]) == found["held_out"]["n"] == 3


def test_folds_hold_out_what_was_answered_with_the_chosen_threshold_and_no_other_answer():
    # Below 0.5 this model takes another way, which is wrong, as the embedded one may.
    low = AnsweredAt([judged("a", is_right=False), judged("b", is_right=False)], {})
    high = AnsweredAt([judged("a"), judged("b")], {})
    found = fold_answers({0.2: low, 0.5: high}, {"a": 1, "b": 2}, threshold=0.2)
    assert [fold["threshold"] for fold in found["folds"]] == [0.5, 0.5]
    assert (found["as_it_is"]["right"], found["held_out"]["right"]) == (0, 2)


def test_folds_without_a_question_that_counts_are_refused():
    with pytest.raises(InputError, match="counts"):
        fold_answers({0.5: AnsweredAt([judged(kind=None)], {})}, {"q1": 1}, threshold=0.5)
