"""`octavo eval limit` on a small copy of LIMIT."""

import json
from pathlib import Path

import pytest
from commands import Commands

from eval.datasets.folder import load_dataset
from eval.limit.construction import LimitSet, LimitSpec, write_published
from rag.apps.cli.app import run


def test_a_copy_is_searched_by_all_arms_and_the_figures_kept(tmp_path: Path) -> None:
    write_published(LimitSet(LimitSpec(10, 10, 6)), tmp_path / "copy")
    octavo = Commands(tmp_path / "data")
    told = octavo("eval", "limit", str(tmp_path / "copy"), "--out", str(tmp_path / "out"))
    assert told["n_documents"] == 10
    assert told["arms"]["bm25"]["R@2"] == 1.0
    kept = json.loads((tmp_path / "out" / "limit.json").read_text())
    assert kept["arms"] == told["arms"]
    assert (tmp_path / "out" / "recall.svg").read_text().startswith("<svg")
    assert len((tmp_path / "out" / "per_query.jsonl").read_text().splitlines()) == 10
    assert not (tmp_path / "data").exists()  # nothing is indexed


def test_a_folder_that_is_no_copy_is_refused_by_its_missing_file(tmp_path: Path) -> None:
    error = Commands(tmp_path / "data").refused("eval", "limit", str(tmp_path), "--small")
    assert error["code"] == "dataset_layout"
    assert "corpus.jsonl" in error["next_step"]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    error = Commands(tmp_path / "data").refused("eval", "limit", str(tmp_path / "none"))
    assert error["message"] == f"there is no folder {tmp_path / 'none'}"


def test_a_copy_of_the_full_set_is_not_taken_for_the_small_one(tmp_path: Path) -> None:
    write_published(LimitSet(LimitSpec(12, 15, 6)), tmp_path / "copy")  # 6 of 12 answer
    error = Commands(tmp_path / "data").refused("eval", "limit", str(tmp_path / "copy"), "--small")
    assert error["code"] == "unknown_part"
    assert error["next_step"] == "There are full."


def test_a_copy_is_rendered_as_a_dataset_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_published(LimitSet(LimitSpec(5, 10, 6)), tmp_path / "copy")
    arguments = ["limit", str(tmp_path / "copy"), "--to", str(tmp_path / "made"), "--json"]
    assert run(["eval", "prepare", *arguments]) == 0
    (prepared,) = json.loads(capsys.readouterr().out)["prepared"]
    dataset = load_dataset(Path(prepared["folder"]))
    assert dataset.name == "limit-small"
    assert len(dataset.documents) == 5
    assert all(len(grades) == 2 for grades in dataset.qrels.values())
    assert dataset.origin is not None
    assert dataset.origin.main_measure == "R@2"
    assert any("made here" in note for note in dataset.origin.notes)
