"""The dry run of a whole evaluation over many made-up pages, at a small size."""

from __future__ import annotations

import json

import pytest

from eval.bench.scale import Step, growth, main


def test_a_dry_run_finds_the_pages_asked_about_and_tells_time_and_memory(capsys):
    assert main(["--pages", "96", "--questions", "16", "--rows", "32", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["measures"]["R@10"] >= 0.9
    names = {step["name"] for step in told["steps"]}
    assert names == {"pack", "search and measure", "measure", "report"}
    assert told["packed_bytes_per_page"] > 32 * 128 * 3
    assert told["seconds"] > 0
    assert [step["n_pages"] for step in told["steps"] if step["name"] == "pack"] == [24, 48, 96]


def test_growth_is_the_exponent_of_the_time():
    steps = [
        Step("search", n_pages, n_questions, n_questions, cpu_s=n_pages**2 * n_questions)
        for n_pages, n_questions in ((10, 5), (20, 5), (20, 50))
    ]
    packed = [Step("pack", 10, 0, 10, cpu_s=1.0), Step("pack", 20, 0, 10, cpu_s=1.0)]
    assert growth([*steps, *packed]) == {
        "search": {"over_pages": 2.0, "over_questions": 1.0},
        "pack": {"over_pages": 1.0, "over_questions": None},
    }


def test_sizes_that_cannot_be_measured_are_refused(capsys):
    with pytest.raises(SystemExit):
        main(["--pages", "3"])
    assert "at least 4 pages" in capsys.readouterr().err
