"""Figures of a report: means, their intervals, recall by k, and what is worst."""

from __future__ import annotations

import json

import pytest
from report_runs import PageSeen, answer_run, html, lines, plain, report, search_run

from eval.reports.gather import recall_by_k
from eval.reports.intervals import figures
from eval.reports.run_folder import read_run_folder


def test_a_mean_of_equal_values_is_that_value_with_no_width_around_it():
    told = figures({"m": [0.3] * 7})["m"]
    assert (told.n, told.value, told.low, told.high) == (7, pytest.approx(0.3), 0.3, 0.3)


def test_a_question_that_does_not_count_for_a_measure_is_not_in_its_mean():
    told = figures({"a": [1.0, None, 0.0], "b": [1.0, 1.0, 0.0], "none": [None, None, None]})
    assert {name: (each.n, round(each.value, 4)) for name, each in told.items()} == {
        "a": (2, 0.5),
        "b": (3, 0.6667),
    }


def test_of_several_datasets_each_is_as_heavy_as_any_other():
    told = figures({"m": [1.0, 0.0, 0.0, 0.0]}, parts=["x", "y", "y", "y"])["m"]
    assert told.value == 0.5
    # Within a part nothing differs, so no resample does.
    assert (told.low, told.high) == (0.5, 0.5)


def test_an_interval_narrows_with_the_number_of_questions():
    few, many = (figures({"m": [0.0, 1.0] * n})["m"] for n in (5, 500))
    assert few.low < many.low < 0.5 < many.high < few.high
    # 1.96 times the standard error of a share of one half.
    assert many.high - many.low == pytest.approx(2 * 1.96 * 0.5 / 1000**0.5, rel=0.1)


def test_recall_by_k_is_the_share_of_gold_pages_among_the_first_k(tmp_path):
    asked = [
        {"id": "q1", "gold": [["a.pdf", 1, 1], ["a.pdf", 2, 2], ["a.pdf", 3, 0]], "R@1": 0.0}
        | {"found": [["b.pdf", 1], ["a.pdf", 2], ["a.pdf", 3], ["a.pdf", 1]]},
        {"id": "q2", "gold": [["a.pdf", 1, 1], ["a.pdf", 2, 1]], "gold_mode": "any", "R@1": 1.0}
        | {"found": [["a.pdf", 1]]},
        {"id": "q3", "gold": [["a.pdf", 1, 1]], "found": [], "R@1": 0.0},
    ]
    run = read_run_folder(search_run(tmp_path / "run", asked))
    thirds = [round(value * 3, 6) for _, value in recall_by_k(run)]
    assert thirds == [1.0, 1.5, 1.5, 2.0]


def test_within_a_document_pages_of_others_do_not_count_for_recall(tmp_path):
    asked = [
        {"id": "q1", "doc": "a.pdf", "gold": [["a.pdf", 1, 1]], "R@1": 1.0}
        | {"found": [["b.pdf", 1], ["a.pdf", 1]]}
    ]
    run = read_run_folder(search_run(tmp_path / "run", asked, scope="document"))
    assert recall_by_k(run)[0] == (1, 1.0)


def test_the_worst_questions_come_by_value_and_then_by_id(tmp_path):
    asked = [
        {"id": name, "nDCG@10": value}
        for name, value in (("q3", 0.5), ("q1", 1.0), ("q2", 0.5), ("q0", 0.0))
    ]
    shown = report(search_run(tmp_path / "run", asked), worst=3)
    assert [each.id for each in shown.worst] == ["q0", "q2", "q3"]


def test_questions_that_cannot_be_better_are_counted_and_not_listed_as_worst(tmp_path):
    run = search_run(tmp_path / "run", plain())
    shown = report(run, worst=3)
    assert ([each.id for each in shown.worst], shown.n_below, shown.n_best) == (["q0"], 1, 3)
    words = PageSeen(html(run, tmp_path=tmp_path)).words
    assert "Questions whose nDCG@10 is below 1, lowest first; of 3 others it is 1" in words
    best = search_run(tmp_path / "best", plain()[1:])
    words = PageSeen(html(best, tmp_path=tmp_path)).words
    assert "nDCG@10 is 1 for all 3 questions: there is no worse one to show" in words
    assert 'id="worst"' not in html(run, tmp_path=tmp_path, worst=0)


def test_of_several_runs_a_question_is_perfect_only_where_it_is_in_all(tmp_path):
    other = plain()
    other[3]["nDCG@10"] = 0.9
    runs = [search_run(tmp_path / "a", plain()), search_run(tmp_path / "b", other)]
    shown = report(*runs)
    assert ([each.id for each in shown.worst], shown.n_best) == (["q0", "q3"], 2)


def test_the_main_measure_is_what_the_authors_of_the_dataset_rank_by(tmp_path):
    head = {"origin": {"published": "set", "main_measure": "R@1"}}
    assert report(search_run(tmp_path / "run", plain(), **head)).main == "R@1"
    assert report(search_run(tmp_path / "other", plain())).main == "nDCG@10"


def test_an_answer_that_can_be_neither_right_nor_wrong_counts_for_the_wording_alone(tmp_path):
    asked = [
        {"id": "q1", "outcome": "right_cited"},
        {"id": "q2", "outcome": "wrong"},
        {"id": "q3", "outcome": "wrong", "kind": None},
    ]
    told = {f.measure: f for f in report(answer_run(tmp_path / "run", asked)).runs[0].figures}
    assert (told["right_cited"].n, told["right_cited"].value) == (2, 0.5)
    assert told["F1"].n == 3


def test_answers_that_no_rule_can_count_are_headed_by_their_wording(tmp_path):
    run = report(answer_run(tmp_path / "run", [{"id": "q1", "kind": None}])).runs[0]
    assert (run.main, run.headline.n) == ("EM", 1)
    assert "F1" in html(tmp_path / "run", tmp_path=tmp_path)


def test_what_a_judge_said_stands_beside_the_answers_and_an_abstention_is_not_complete(tmp_path):
    asked = [
        {"id": "q1", "answer": "1", "outcome": "right_cited"},
        {"id": "q2", "answer": "2", "outcome": "abstained"},
        {"id": "q3", "answer": "3", "outcome": "wrong"},
    ]
    run = answer_run(tmp_path / "run", asked)
    rows = (run / "answers_per_query.jsonl").read_text().splitlines()
    with_gold = [json.dumps(json.loads(row) | {"gold": "x"}) + "\n" for row in rows]
    (run / "answers_per_query.jsonl").write_text("".join(with_gold))
    judged = {"completeness": {"value": 0.8}, "faithfulness": {"value": 1.0}}
    unread = {"completeness": {"value": None}, "faithfulness": {"value": None}}
    (run / "judge.jsonl").write_text(
        json.dumps({"id": "q1", **judged}) + "\n" + json.dumps({"id": "q3", **unread}) + "\n"
    )
    (run / "judge_measures.json").write_text(json.dumps({"model_id": "a judge"}))
    shown = report(run).runs[0]
    told = {f.measure: (f.n, f.value) for f in shown.figures}
    assert told["completeness"] == (2, 0.4)
    assert told["faithfulness"] == (1, 1.0)
    assert "a judge" in {fact.value for fact in shown.facts}


def test_a_group_without_a_figure_says_that_it_is_not_counted(tmp_path):
    asked = [
        {"id": "q1", "outcome": "right_cited"},
        {"id": "q2", "outcome": "wrong", "kind": None},
    ]
    run = answer_run(tmp_path / "run", asked)
    rows = [json.loads(row) for row in (run / "questions.jsonl").read_text().splitlines()]
    rows[0]["type"], rows[1]["type"] = "table", "heading"
    (run / "questions.jsonl").write_text(lines(rows))
    page = html(run, tmp_path=tmp_path)
    assert page.count("not counted</text>") == 1


def test_a_dimension_that_says_the_same_as_another_is_told_once(tmp_path):
    asked = [each | {"groups": {"kind": each["type"], "half": f"{i % 3}"}} for i, each in
             enumerate(plain())]  # fmt: skip
    (run,) = report(search_run(tmp_path / "run", asked)).runs
    assert list(dict.fromkeys(group.dimension for group in run.groups)) == ["type", "half"]
