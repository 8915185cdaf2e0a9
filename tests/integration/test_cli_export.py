"""`octavo eval export` of a run folder."""

import json
from pathlib import Path

import pytest

from rag.apps.cli.app import run


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    gold = [["a.pdf", 2, 1], ["b.pdf", 1, 1]]
    row = {"id": "q", "text": "?", "type": "t", "gold": gold, "gold_mode": "any"}
    (folder / "questions.jsonl").write_text(json.dumps(row) + "\n")
    (folder / "per_query.jsonl").write_text('{"id": "q", "type": "t", "ms": 5.0}\n')
    (folder / "run.tsv").write_text("q\ta.pdf\t2\t1\t0.9\nq\ta.pdf\t1\t2\t0.5\n")
    measures = {"dataset": "mine", "dataset_digest": "ff00", "scope": "corpus", "origin": None}
    (folder / "measures.json").write_text(json.dumps(measures))
    return folder


def test_a_run_is_written_as_mteb_writes_results(run_folder: Path, tmp_path: Path) -> None:
    to = tmp_path / "made" / "Mine.json"
    assert run(["eval", "export", str(run_folder), "--format", "mteb", "-o", str(to)]) == 0
    result = json.loads(to.read_text())
    assert (result["task_name"], result["dataset_revision"]) == ("mine", "ff00")
    (scores,) = result["scores"]["test"]
    # Any one page is enough for our R@k; mteb's recall asks for both.
    assert scores["recall_at_10"] == 0.5
    assert scores["hit_rate_at_1"] == scores["mrr_at_10"] == 1.0
    assert scores["main_score"] == scores["ndcg_at_10"] == pytest.approx(0.613147)


def test_a_folder_that_is_no_run_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["eval", "export", str(tmp_path), "-o", str(tmp_path / "x.json")]) != 0
    assert "there is no run in" in capsys.readouterr().err
    (tmp_path / "answer_measures.json").write_text("{}")
    assert run(["eval", "export", str(tmp_path), "-o", str(tmp_path / "x.json")]) == 1
    assert "is a run of answers" in capsys.readouterr().err

    assert not (tmp_path / "x.json").exists()


@pytest.mark.parametrize(
    ("groups", "flags", "languages"),
    [
        ({}, [], ["und"]),
        ({"language": "klingon"}, [], ["und"]),
        ({"language": "french"}, [], ["fra-Latn"]),
        ({"language": "french"}, ["--language", "deu-Latn"], ["deu-Latn"]),
    ],
)
def test_no_language_is_claimed_that_nobody_told(
    run_folder: Path, tmp_path: Path, groups: dict[str, str], flags: list[str], languages: list[str]
) -> None:
    file = run_folder / "questions.jsonl"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"groups": groups}) + "\n")
    to = tmp_path / "x.json"
    assert run(["eval", "export", str(run_folder), "-o", str(to), *flags]) == 0
    assert json.loads(to.read_text())["scores"]["test"][0]["languages"] == languages


@pytest.mark.parametrize(
    ("file", "key"),
    [("measures.json", "scope"), ("questions.jsonl", "gold"), ("per_query.jsonl", "ms")],
)
def test_a_run_whose_files_lack_something_is_refused_by_its_name(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str, key: str
) -> None:
    held = json.loads((run_folder / file).read_text())
    del held[key]
    (run_folder / file).write_text(json.dumps(held) + "\n")
    to = tmp_path / "x.json"
    assert run(["eval", "export", str(run_folder), "-o", str(to)]) == 1
    assert f"say nothing of '{key}'" in capsys.readouterr().err
    assert not to.exists()
