"""What a judge preferred stands in the report of a run it was asked about."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from report_runs import PageSeen, answer_run, html, report

from eval.reports.write import ReportFormat, write_report
from rag.errors import InputError

ROW = {"measure": "cites_page", "first": 0.25, "second": 0.75, "difference": 0.5}
ROW |= {"low": 0.125, "high": 0.875, "p_value": 0.01, "p_holm": 0.03}
FIGURES = {
    **{"other": "better", "judge": {"model_id": "a judge", "votes": 3}, "n_resamples": 10_000},
    **{"n_judged": 8, "first_better": 1, "second_better": 5, "ties": 2, "left_out": 4},
    "failures": {"pairwise": {"unparsed": 1}},
    "orders_disagree": {"value": 0.25, "n": 8},
    "differences": [ROW],
    "notices": {"judge_of_same_family": "kin <b>of</b> it"},
    "errors": {},
}


def judged_run(folder: Path, **told: Any) -> Path:
    run = answer_run(folder, [{"id": "q1", "outcome": "wrong"}])
    (run / "judge_pairwise_better.json").write_text(json.dumps({**FIGURES, **told}))
    return run


def test_which_of_two_runs_is_better_is_shown_with_interval_and_judge(tmp_path):
    page = html(judged_run(tmp_path / "run"), tmp_path=tmp_path)
    words = " ".join(PageSeen(page[page.index('id="preferred"') :]).words.split())
    for told in (
        "better was better in 5, run in 1 of 8 pairs; 2 ties (25 % of the pairs",
        "Left out 4 questions; 1 could not be read. Judge: a judge, 3 readings",
        "cites page",
        "+0.500",
        "[+0.125, +0.875]",
        "0.0300 *",
        "judge_of_same_family: kin <b>of</b> it",
    ):
        assert told in words
    write_report([tmp_path / "run"], tmp_path / "r.md", file_format=ReportFormat.MARKDOWN)
    assert "[+0.1250, +0.8750]" in (tmp_path / "r.md").read_text()


def test_a_run_over_several_datasets_tells_which_part_was_judged(tmp_path):
    judged_run(tmp_path / "run" / "one")
    answer_run(tmp_path / "run" / "two", [{"id": "q1"}], dataset_digest="d2")
    assert [each.first for each in report(tmp_path / "run").preferred] == ["run/one"]


@pytest.mark.parametrize(
    "told", [{"judge": None}, {"differences": [{**ROW, "low": None}]}, {"n_judged": "x"}]
)
def test_a_file_that_no_judge_wrote_is_refused_by_name(tmp_path, told):
    run = judged_run(tmp_path / "run", **told)
    with pytest.raises(InputError, match=r"run/judge_pairwise_better\.json is not as") as refused:
        report(run)
    assert "--pairwise better" in refused.value.next_step
