"""A run folder whose files do not agree is refused by file: what is left of it is no figure."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from report_runs import answer_run, lines, plain, search_run

from eval.reports.run_folder import read_run_folder
from rag.errors import InputError

Json = dict[str, Any]


def edited(path: Path, edit: Callable[[list[Json]], list[Json]]) -> None:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text(lines(edit(rows)))


def with_value(name: str, value: Any) -> Callable[[list[Json]], list[Json]]:
    return lambda rows: [{**rows[0], name: value}, *rows[1:]]


@pytest.fixture(name="searches")
def _searches(tmp_path) -> Path:
    means = {"nDCG@10": (0.63 + 3) / 4, "R@1": 0.75}
    return search_run(tmp_path / "run", plain(), measures=means, further={})


@pytest.fixture(name="answers")
def _answers(tmp_path) -> Path:
    asked = [{"id": f"q{i}", "outcome": "right_cited", "said": "1"} for i in range(3)]
    return answer_run(tmp_path / "run", asked, means={"F1": {"value": 0.5, "n": 3}})


def refusal(folder: Path) -> InputError:
    with pytest.raises(InputError) as refused:
        read_run_folder(folder)
    assert refused.value.next_step
    return refused.value


def test_what_is_whole_is_read(searches, answers):
    assert read_run_folder(searches).sides


@pytest.mark.parametrize(
    ("file", "edit", "said"),
    [
        ("per_query.jsonl", lambda rows: rows[:2], r"has 2 questions, .* tells of 4"),
        ("per_query.jsonl", lambda rows: rows[:0], "has no question"),
        ("per_query.jsonl", lambda rows: [rows[0], *rows], "'q0' twice"),
        ("per_query.jsonl", lambda rows: [{"ms": 1.0}, *rows[1:]], "row 1 has no 'id'"),
        ("per_query.jsonl", with_value("nDCG@10", math.nan), "nDCG@10 of question 'q0' is nan"),
        ("per_query.jsonl", with_value("ms", math.inf), "ms of question 'q0' is inf"),
        ("per_query.jsonl", with_value("R@1", None), "R@1 of 3 questions, .* tells of 4"),
        ("per_query.jsonl", with_value("R@1", 1.0), "mean of R@1 is 1.0000, .* tells of 0.7500"),
        ("per_query.jsonl", with_value("id", "other"), r"questions.jsonl has 1 .* such as 'q0'"),
        ("questions.jsonl", lambda rows: rows[1:], r"has 1 questions .* such as 'q0'"),
        ("questions.jsonl", lambda rows: [*rows, {"id": "q9"}], r"has 1 questions .* 'q9'"),
    ],
)
def test_rows_that_do_not_agree_with_the_other_files_are_refused(searches, file, edit, said):
    edited(searches / file, edit)
    error = refusal(searches)
    assert error.message.startswith("run/")
    assert re.search(said, error.message), error.message


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("n_questions", -4, "tells of -4"),
        ("n_questions", None, "tells of None"),
        ("measures", "x", "measures wants an object of measures, got 'x'"),
        ("measures", {"R@1": "1"}, "R@1 wants a finite number, got '1'"),
        ("measures", {"R@7": 1.0}, "R@7 of 0 questions, and measures.json tells of 4"),
    ],
)
def test_a_head_that_does_not_agree_with_the_rows_is_refused(searches, key, value, said):
    head = json.loads((searches / "measures.json").read_text())
    (searches / "measures.json").write_text(json.dumps({**head, key: value}))
    assert said in refusal(searches).message


def test_a_run_file_of_other_questions_or_cut_short_is_refused(searches):
    run = (searches / "run.tsv").read_text()
    (searches / "run.tsv").write_text(run + "q9\ta.pdf\t1\t1\t1.0\n")
    assert "run.tsv has 1 questions that per_query.jsonl has not" in refusal(searches).message
    (searches / "run.tsv").write_text(run.splitlines(keepends=True)[0])
    assert "run.tsv has no page for 3 questions" in refusal(searches).message


@pytest.mark.parametrize("edit", [lambda rows: rows[:0], lambda rows: rows[1:], None])
def test_answers_that_were_measured_and_are_not_there_are_refused(answers, edit):
    if edit is None:
        (answers / "answers.jsonl").unlink()
    else:
        edited(answers / "answers.jsonl", edit)
    assert "run/answers.jsonl lacks the answers of" in refusal(answers).message


def test_a_measure_of_answers_counts_as_many_questions_as_are_told(answers):
    edited(answers / "answers_per_query.jsonl", with_value("F1", None))
    assert "F1 of 2 questions, and answer_measures.json tells of 3" in refusal(answers).message


def test_a_file_that_is_not_json_is_named_with_its_folder(searches):
    (searches / "measures.json").write_text("{")
    assert refusal(searches).message.startswith("run/measures.json is not JSON")
