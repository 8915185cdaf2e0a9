"""Reports of several runs, and of runs over several datasets."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from report_runs import Drawing, PageSeen, answer_run, html, of_two_parts, plain, report, search_run

from eval.compare import holm
from eval.compare_many import compare_many
from eval.reports.gather import labelled
from eval.reports.parts import systems_in
from eval.reports.pictures import FOLDER, kept_pictures
from eval.reports.run_folder import read_run_folder
from eval.reports.write import ReportFormat, write_report
from rag.errors import InputError


def test_p_values_are_corrected_over_all_differences_of_the_page(tmp_path):
    runs = [search_run(tmp_path / "first", plain(8))]
    for name, better in (("second", 0.2), ("third", 0.0)):
        asked = [each | {"nDCG@10": each["nDCG@10"] - better * (i % 3)} for i, each in
                 enumerate(plain(8))]  # fmt: skip
        runs.append(search_run(tmp_path / name, asked))
    compared = report(*runs).compared
    assert [(each.first, each.second) for each in compared] == [
        ("first", "second"),
        ("first", "third"),
    ]
    differences = [each for one in compared for each in one.differences]
    assert len(differences) == 4
    assert [each.p_holm for each in differences] == holm([each.p_value for each in differences])


def test_searches_and_answers_of_the_same_runs_are_corrected_together(tmp_path):
    runs = []
    for name, worse in (("first", 0.0), ("second", 0.3)):
        asked = [each | {"nDCG@10": each["nDCG@10"] - worse} for each in plain(8)]
        run = search_run(tmp_path / name, asked)
        outcomes = ["right_cited", "wrong" if worse else "right"] * 4
        runs.append(
            answer_run(run, [{"id": f"q{i}", "outcome": o} for i, o in enumerate(outcomes)])
        )
    compared = report(*runs).compared
    assert [each.kind for each in compared] == ["searches", "answers"]
    differences = [each for one in compared for each in one.differences]
    assert [each.p_holm for each in differences] == holm([each.p_value for each in differences])


def test_runs_that_no_other_beats_in_both_are_the_front(tmp_path):
    def run(name: str, quality: float, ms: float) -> Path:
        asked = [{"id": f"q{i}", "nDCG@10": quality, "ms": ms} for i in range(3)]
        return search_run(tmp_path / name, asked)

    runs = [run("slow", 0.9, 50.0), run("fast", 0.7, 5.0), run("bad", 0.6, 20.0)]
    assert report(*runs).front == ("slow", "fast")


def test_a_smaller_index_is_on_the_front_too_but_not_for_a_few_bytes(tmp_path):
    def run(name: str, ms: float, size_bytes: int) -> Path:
        asked = [{"id": f"q{i}", "nDCG@10": 0.5, "ms": ms} for i in range(3)]
        return search_run(tmp_path / name, asked, index={"bytes_per_page": size_bytes})

    runs = [run("first", 5.0, 1000), run("second", 9.0, 990), run("small", 9.0, 100)]
    assert report(*runs).front == ("first", "small")
    assert report(*runs[:2]).front == ("first",)
    assert "bytes of the index" in html(*runs, tmp_path=tmp_path)
    assert "1,000 bytes a page" in PageSeen(html(*runs[:2], tmp_path=tmp_path)).words


def test_a_run_made_of_others_has_no_heat_of_its_own(tmp_path):
    config = {"fuses": ["first", "other"]}
    runs = [search_run(tmp_path / "first", plain())]
    runs.append(search_run(tmp_path / "fused", plain(), config=config, encoder="a + b"))
    (first, fused) = report(*runs).worst[0].seen
    assert [picture.label for picture in first.heat] == [
        "Gold page, heat map",
        "Found first, heat map",
    ]
    assert fused.heat == ()


def test_pages_that_runs_share_are_drawn_once(tmp_path):
    draw = Drawing()
    runs = [search_run(tmp_path / name, plain()) for name in ("first", "second")]
    write_report(runs, tmp_path / "r.html", draw=draw)
    assert len(draw.asked) == len(set(draw.asked)) == 4


def test_runs_that_cannot_be_compared_are_refused_with_the_reason(tmp_path):
    first = search_run(tmp_path / "first", plain())
    with pytest.raises(InputError, match="digest"):
        report(first, search_run(tmp_path / "second", plain(), dataset_digest="d2"))
    with pytest.raises(InputError, match="searches"):
        report(first, answer_run(tmp_path / "answers", [{"id": "q1"}]))


def test_questions_that_moved_are_those_whose_value_differs_widest_first(tmp_path):
    first = search_run(tmp_path / "first", plain())
    asked = plain()
    asked[2]["nDCG@10"], asked[3]["nDCG@10"] = 0.9, 0.0
    moved = report(first, search_run(tmp_path / "second", asked)).moved
    assert [(each.id, each.values) for each in moved] == [
        ("q3", {"first": 1.0, "second": 0.0}),
        ("q2", {"first": 1.0, "second": 0.9}),
    ]


def test_runs_of_the_same_name_are_told_apart_by_the_folder_around_them(tmp_path):
    runs = [read_run_folder(search_run(tmp_path / name / "run", plain())) for name in "ab"]
    assert list(labelled(runs)) == ["a/run", "b/run"]


def test_a_folder_with_a_run_over_each_dataset_is_one_run_of_parts(tmp_path):
    shown = report(of_two_parts(tmp_path / "run"))
    (run,) = shown.runs
    assert shown.n_questions == 4
    assert run.headline.value == pytest.approx((0.5 + (0.5 + 1 + 1) / 3) / 2)
    assert {group.name: group.n for group in run.groups if group.dimension == "part"} == {
        "one": 1,
        "two": 3,
    }
    assert [(each.code, each.n_questions) for each in run.notices] == [("slow", 4)]
    assert run.bytes_per_page == (10 * 100 + 30 * 300) / 40
    assert shown.worst[0].id == "one/q0"
    assert {each.page.doc for each in [p.wanted for p in shown.worst[0].pages]} == {
        "a.pdf",
        "b.pdf",
    }


def test_arms_of_one_measurement_are_compared_with_the_first_of_them(tmp_path):
    for worse, arm in enumerate(("text", "image")):
        of_two_parts(tmp_path / "out" / arm, worse / 10)
    (tmp_path / "out" / "paradigms.json").write_text(
        json.dumps({"arms": {"text": {}, "image": {}}})
    )
    assert [each.name for each in systems_in(tmp_path / "out")] == ["text", "image"]
    out = tmp_path / "report.json"
    write_report([tmp_path / "out"], out, file_format=ReportFormat.JSON)
    (compared,) = json.loads(out.read_text())["compared"]
    assert (compared["first"], compared["second"], compared["n_parts"]) == ("text", "image", 2)
    by_name = {each["measure"]: each["difference"] for each in compared["differences"]}
    assert by_name["nDCG@10"] == pytest.approx(-(0.1 + 0.1 / 3) / 2)


def test_pages_of_each_part_are_drawn_into_its_own_folder(tmp_path):
    run = of_two_parts(tmp_path / "run")
    info = write_report([run], tmp_path / "r.html", draw=Drawing())
    assert info.n_pictures == len(kept_pictures([run / "one", run / "two"])) > 4
    assert not (run / FOLDER).exists()


def test_more_wrong_answers_are_not_shown_as_a_gain(tmp_path):
    runs = [
        answer_run(tmp_path / name, [{"id": f"q{i}", "outcome": outcome} for i in range(9)])
        for name, outcome in (("first", "right_cited"), ("second", "wrong"))
    ]
    page = html(*runs, tmp_path=tmp_path)
    shown = dict(re.findall(r'<th scope="row">(\w+)</th>.*?<td class="main (up|down)">', page))
    assert shown["wrong"] == shown["right"] == "down"


def test_a_report_tells_the_differences_that_the_command_line_tells(tmp_path):
    worse = [each | {"nDCG@10": each["nDCG@10"] / (1 + i)} for i, each in enumerate(plain(8))]
    runs = [search_run(tmp_path / "a", plain(8)), search_run(tmp_path / "b", worse)]
    many = compare_many(runs, measures=["nDCG@10", "R@1"])
    (compared,) = report(*runs).compared
    assert compared.differences == many.systems[1].differences
