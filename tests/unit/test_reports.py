"""What a report says of where it comes from, its forms, and what it refuses."""

from __future__ import annotations

import json
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
from report_runs import PageSeen, html, plain, report, search_run

from eval.reports.write import ReportFormat, write_report
from rag.errors import ConfigError, InputError

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("file_format", list(ReportFormat))
def test_the_same_run_gives_the_same_file(tmp_path, file_format):
    run = search_run(tmp_path / "run", plain())
    files = [tmp_path / name for name in ("one", "two")]
    for file in files:
        write_report([run], file, file_format=file_format)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_run_from_before_questions_were_kept_is_shown_by_id_and_says_so(tmp_path):
    run = search_run(tmp_path / "run", plain())
    (run / "questions.jsonl").unlink()
    page = html(run, tmp_path=tmp_path)
    assert "Question q0" in PageSeen(page).words
    assert "has no questions.jsonl" in PageSeen(page).words
    assert 'id="recall"' not in page


def test_figures_name_their_dataset_code_machine_and_how_to_make_them_again(tmp_path):
    origin = {"published": "a set", "revision": "r9", "licence": "CC-BY-NC-4.0"}
    run = search_run(tmp_path / "my run", plain(), origin=origin, seeds={"fde": 7})
    words = PageSeen(html(run, tmp_path=tmp_path)).words
    for told in ("a set", "r9", "CC-BY-NC-4.0", "words@1", "c1", "abc", "a CPU", "Seeds, fde"):
        assert told in words
    assert "octavo eval report 'my run' -o report.html" in words
    assert str(tmp_path) not in words


LOST = {
    "slow": {"questions": 2, "message": "it took long"},
    "documents_unread": {"questions": 0, "message": "evil.pdf could not be read"},
    "gold_page_missing": {"questions": 1, "message": "page 77 of a.pdf"},
}


def test_documents_and_pages_that_are_missing_are_told_before_any_figure(tmp_path):
    head = {"notices": LOST, "refused": {"q1": "too long"}}
    run = search_run(tmp_path / "run", plain(), **head)
    page = html(run, tmp_path=tmp_path)
    before = PageSeen(page[: page.index('id="headline"')]).words
    told = "documents_unread gold_page_missing slow refused".split()
    assert sorted(told, key=before.index) == told
    assert "documents_unread: " in before
    assert "gold_page_missing, 1 question: page 77 of a.pdf" in before
    assert "refused, 1 question" in before
    assert page.count('class="grave"') == 3
    for file_format in (ReportFormat.MARKDOWN, ReportFormat.LATEX):
        write_report([run], tmp_path / "r", file_format=file_format)
        text = (tmp_path / "r").read_text().replace("\\", "")
        assert text.index("documents_unread") < text.index("nDCG@10")


def test_what_the_parts_of_a_run_could_not_read_is_told_by_part(tmp_path):
    for part in ("one", "two", "three"):
        message = {"questions": 1, "message": f"{part}.pdf"}
        head = {"notices": {"documents_unread": message, "slow": LOST["slow"]}}
        search_run(tmp_path / "run" / part, plain(), dataset_digest=part, **head)
    (run,) = report(tmp_path / "run").runs
    assert [(each.code, each.n_questions, each.message) for each in run.notices] == [
        ("documents_unread", 3, "one: one.pdf; three: three.pdf; two: two.pdf"),
        ("slow", 6, "it took long"),
    ]


def test_json_holds_the_figures_and_no_pictures(tmp_path):
    out = tmp_path / "report.json"
    write_report([search_run(tmp_path / "run", plain())], out, file_format=ReportFormat.JSON)
    told = json.loads(out.read_text())
    (run,) = told["runs"]
    assert run["figures"][0]["value"] == pytest.approx((0.63 + 3) / 4)
    assert told["worst"][0]["gold"] == [{"doc": "a.pdf", "page_number": 1}]
    assert "wanted" not in out.read_text()


def test_without_jinja2_html_is_refused_and_markdown_is_not(tmp_path, monkeypatch):
    run = search_run(tmp_path / "run", plain())
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ConfigError) as refused:
        write_report([run], tmp_path / "r.html")
    assert refused.value.code == "extra_missing"
    write_report([run], tmp_path / "r.md", file_format=ReportFormat.MARKDOWN)


def test_a_folder_without_a_run_or_with_an_empty_one_is_refused(tmp_path):
    with pytest.raises(InputError, match="no run"):
        write_report([tmp_path], tmp_path / "r.html")
    run = search_run(tmp_path / "run", plain())
    (run / "per_query.jsonl").write_text("")
    with pytest.raises(InputError, match="no question"):
        write_report([run], tmp_path / "r.html")


def test_a_file_that_cannot_be_written_is_an_error_that_names_it(tmp_path):
    run = search_run(tmp_path / "run", plain())
    with pytest.raises(InputError, match="cannot write"):
        write_report([run], tmp_path / "nowhere" / "r.html")


def test_templates_and_styles_are_part_of_the_wheel():
    told = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = told["tool"]["setuptools"]["package-data"]["*"]
    files = [
        path.name
        for path in (ROOT / "eval/reports").rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    ]
    assert len(files) >= 6
    assert all(any(fnmatch(name, pattern) for pattern in patterns) for name in files)
