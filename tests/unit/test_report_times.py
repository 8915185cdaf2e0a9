"""Times in a report are those the command line tells, by name and with their unit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from report_runs import PageSeen, answer_run, html, lines, plain, report, search_run

from eval.answers.measures import wilson
from eval.answers.report import answers_report
from eval.reports.plain import milliseconds, number


def timed_run(folder: Path, n: int = 3, **head: Any) -> Path:
    """Questions of 1,000, 2,000, ... ms, of which 30 are after the pages were found."""
    asked = [{"id": f"q{i}", "outcome": "wrong" if i else "right_cited"} for i in range(n)]
    run = answer_run(folder, asked, **head)
    rows = [json.loads(row) for row in (run / "answers.jsonl").read_text().splitlines()]
    for i, row in enumerate(rows, start=1):
        row["timings_ms"] = {"total": 1000.0 * i, "retrieval": 7.0, "evidence": 10.0, "answer": 20}
    without_answer = {"id": "none", "timings_ms": {"total": 9e9}}  # is in no figure
    (run / "answers.jsonl").write_text(lines([*rows, without_answer]))
    return run


def test_a_whole_question_and_all_after_retrieval_are_told_apart(tmp_path):
    (run,) = report(timed_run(tmp_path / "run")).runs
    assert run.latency is not None
    assert (run.latency.of, run.latency.n, run.latency.quantiles_ms[50]) == (
        "a whole question",
        3,
        2000.0,
    )
    assert [(each.stage, each.n, each.p50_ms, round(each.p95_ms)) for each in run.stages] == [
        ("a whole question", 3, 2000.0, 2900),
        ("all after retrieval", 3, 30.0, 30),
        ("retrieval", 3, 7.0, 7),
        ("evidence", 3, 10.0, 10),
        ("answer", 3, 20.0, 20),
    ]


def test_the_command_line_tells_the_same_times_by_the_same_names():
    none = {"value": None, "n": 0}
    counts = dict.fromkeys(
        ("n", "answered", "counted", "right_cited", "right", "wrong", "abstained", "errors"), 0
    )
    figures = {
        **{"dataset": "d", "pages": "found", "scope": "corpus", "n_questions": 3, "answerer": "a"},
        **{"threshold": 0.5, "all": counts, "by_kind": {}, "by_scope": {}, "by_type": {}},
        "headline": {"right_cited": 0.5, "low": 0.1, "high": 0.9, "n": 2},
        **{"wording": {"F1": none}, "means": {}, "support": {"s": none}, "confidence": {"r": none}},
        "cited_pages": dict.fromkeys(("precision", "recall", "precision_of_pages"), none),
        "abstention_accuracy": {
            "value": None,
            "answerable": {"answered": 0, "n": 0},
            "unanswerable": {"abstained": 0, "n": 0},
        },
        "latency_ms": {
            "answer": {"p50": 20.0, "p95": 21.0, "n": 3},
            "after_retrieval": {"p50": 30.0, "p95": 31.0, "n": 3},
        },
        "latency_by_stage_ms": {"total": {"p50": 2000.0, "p95": 2900.0, "n": 3}},
        **{"config_hash": "c", "encoder": "", "machine": {"cores": 1, "cpu": "c"}, "commit": ""},
        **{"taken_over": {"answers": 0}, "errors": {}, "notices": {}, "abstention": None},
    }
    told = answers_report(figures)
    for line in (
        "latency    a whole question: p50 2000.0 ms, p95 2900.0 ms, of 3 questions",
        "latency    the answer alone: p50 20.0 ms, p95 21.0 ms, of 3 questions",
        "latency    all after retrieval: p50 30.0 ms, p95 31.0 ms, of 3 questions",
    ):
        assert line in told.splitlines()
    assert "[0.100, 0.900] (Wilson)" in told


@pytest.mark.parametrize(
    ("workers", "said", "not_said"),
    [
        (1, "one question after the other", "at a time"),
        (4, "4 questions at a time", "after the other"),
        (None, "named below.", "after the other"),
    ],
)
def test_how_many_questions_were_asked_at_a_time_is_told_as_it_was(
    tmp_path, workers, said, not_said
):
    head = {} if workers is None else {"workers": workers}
    words = PageSeen(html(timed_run(tmp_path / "run", **head), tmp_path=tmp_path)).words
    assert said in words
    assert not_said not in words


def test_runs_that_were_asked_otherwise_say_so_each(tmp_path):
    runs = [search_run(tmp_path / f"by{n}", plain(), workers=n) for n in (1, 2)]
    words = PageSeen(html(*runs, tmp_path=tmp_path)).words
    assert "one question after the other in by1, 2 questions at a time in by2" in words


def test_times_are_no_powers_of_ten_and_keep_their_unit(tmp_path):
    page = html(timed_run(tmp_path / "run"), tmp_path=tmp_path)
    assert "2,900.0 ms" in page
    assert "p95 2,900.0 ms</text>" in page
    assert "e+0" not in PageSeen(page).words
    assert [milliseconds(each) for each in (0.25, 1720.44, 31.0)] == [
        "0.250 ms",
        "1,720.4 ms",
        "31.0 ms",
    ]
    assert [number(each) for each in (123456.7, 0.12345, 0.00001, 0)] == [
        "123,457",
        "0.1235",
        "0.000010",
        "0",
    ]


def test_a_share_of_answers_has_the_interval_of_the_command_line(tmp_path):
    (run,) = report(timed_run(tmp_path / "run", 9)).runs
    share = run.headline
    assert (share.measure, share.method) == ("right_cited", "Wilson")
    assert (share.low, share.high) == wilson(1, 9)
    assert {each.method for each in run.figures if each.measure in ("EM", "F1")} == {"bootstrap"}
    page = html(tmp_path / "run", tmp_path=tmp_path)
    assert "Wilson's interval" in PageSeen(page).words
    assert "Wilson" not in html(search_run(tmp_path / "other", plain()), tmp_path=tmp_path)
