"""Tuned settings of a collection: what they go before, what goes before them, how they last."""

import errno
import os
from pathlib import Path

import pytest

from rag.errors import ConfigError
from rag.settings import RetrievalSettings, load_settings
from rag.tuned import (
    TunedWidths,
    Tuning,
    TuningFacts,
    file_to_write,
    read_tuning,
    tuning_path,
    with_tuning,
    write_settings,
    write_tuning,
)
from rag.wiring import Engine

TUNING = Tuning(
    retrieval=TunedWidths(candidates=300, int8_candidates=60, scan_rows=5_000),
    tuning=TuningFacts(
        pages=1000,
        questions=50,
        questions_from="sampled",
        k=10,
        target_recall=0.99,
        recall=0.994,
        recall_low=0.986,
        recall_high=1.0,
        median_ms=1.25,
    ),
)


def test_tuned_widths_take_the_place_of_defaults_and_leave_the_rest():
    used = with_tuning(RetrievalSettings(), TUNING)
    assert (used.candidates, used.int8_candidates, used.scan_rows) == (300, 60, 5_000)
    assert used.top_k == RetrievalSettings().top_k


def test_without_a_tuning_nothing_changes():
    settings = RetrievalSettings()
    assert with_tuning(settings, None) is settings


@pytest.mark.parametrize("said_in", ["flag", "environment", "file"])
def test_what_somebody_set_goes_before_what_was_tuned(said_in, tmp_path):
    file = tmp_path / "octavo.toml"
    file.write_text("[retrieval]\ncandidates = 777\n")
    settings = load_settings(
        file if said_in == "file" else None,
        overrides={"retrieval": {"candidates": 777}} if said_in == "flag" else None,
        environ={"OCTAVO_RETRIEVAL__CANDIDATES": "777"} if said_in == "environment" else {},
    )
    used = with_tuning(settings.retrieval, TUNING)
    assert (used.candidates, used.int8_candidates) == (777, 60)


def test_a_value_set_to_its_default_is_set_all_the_same():
    default = RetrievalSettings().candidates
    assert with_tuning(RetrievalSettings(candidates=default), TUNING).candidates == default


def test_what_was_written_is_read_back(tmp_path):
    path = tmp_path / "tuned.toml"
    write_tuning(path, TUNING)
    assert read_tuning(path) == TUNING
    assert [each.name for each in tmp_path.iterdir()] == ["tuned.toml"]


def test_no_file_is_no_tuning(tmp_path):
    assert read_tuning(tuning_path(tmp_path, "default")) is None


def test_a_settings_file_is_one_for_config(tmp_path):
    path = tmp_path / "mine.toml"
    write_settings(path, TUNING)
    used = load_settings(path, environ={}).retrieval
    assert (used.candidates, used.int8_candidates, used.scan_rows) == (300, 60, 5_000)


@pytest.mark.parametrize(
    "content",
    ["", "not toml", "[retrieval]\ncandidates = 0\n", "[retrieval]\nweights = 1\n", "\x00"],
)
def test_a_tuning_that_is_none_is_refused_with_a_way_to_drop_it(tmp_path, content):
    path = tuning_path(tmp_path, "reports")
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(ConfigError, match="reports") as caught:
        read_tuning(path)
    assert caught.value.code == "bad_tuning"
    assert "octavo tune --reset -c reports" in caught.value.next_step


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tuning.recall", "nan"),
        ("tuning.median_ms", "inf"),
        ("tuning.recall_low", "-0.1"),
        ("retrieval.candidates", "true"),
        ("retrieval.candidates", '"500"'),
        ("retrieval.scan_rows", "5.0"),
    ],
)
def test_a_value_of_another_kind_is_refused_by_its_name(tmp_path, field, value):
    path = tuning_path(tmp_path, "reports")
    path.parent.mkdir(parents=True)
    write_tuning(path, TUNING)
    name = field.split(".")[1]
    lines = path.read_text().splitlines()
    changed = [f"{name} = {value}" if line.startswith(f"{name} =") else line for line in lines]
    path.write_text("\n".join(changed))
    with pytest.raises(ConfigError, match=rf"cannot be used: {field}: ") as caught:
        read_tuning(path)
    assert caught.value.code == "bad_tuning"


def test_a_folder_in_the_place_of_a_tuning_is_to_be_removed(tmp_path):
    path = tuning_path(tmp_path, "reports")
    path.mkdir(parents=True)
    with pytest.raises(ConfigError, match="directory") as caught:
        read_tuning(path)
    assert "Remove the folder" in caught.value.next_step


def test_a_link_stays_and_what_it_leads_to_is_written(tmp_path):
    file, link = tmp_path / "mine.toml", tmp_path / "link.toml"
    file.write_text("old")
    link.symlink_to(file)
    write_settings(link, TUNING)
    assert link.is_symlink()
    assert "candidates = 300" in file.read_text()
    assert {each.name for each in tmp_path.iterdir()} == {"mine.toml", "link.toml"}


def test_a_link_that_leads_nowhere_yet_is_written_through(tmp_path):
    link = tmp_path / "link.toml"
    link.symlink_to(tmp_path / "mine.toml")
    write_settings(link, TUNING)
    assert link.is_symlink()
    assert (tmp_path / "mine.toml").is_file()


@pytest.mark.parametrize("kind", ["device", "root", "folder", "pipe", "loop", "below a file"])
def test_what_is_no_regular_file_is_not_replaced(tmp_path, kind):
    path = tmp_path / "place"
    if kind == "device":
        path = Path(os.devnull)
    elif kind == "root":
        path = Path("/")
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "loop":
        path.symlink_to(path)
    else:
        path.write_text("")
        path = path / "mine.toml"
    for refusing in (file_to_write, lambda path: write_settings(path, TUNING)):
        with pytest.raises(ConfigError) as caught:
            refusing(path)
        assert (caught.value.code, bool(caught.value.next_step)) == ("not_written", True)
    assert not Path(os.devnull).is_file()


def test_a_full_disk_is_said_and_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "mine.toml"
    path.write_text("old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("rag.tuned.os.fsync", full)
    with pytest.raises(ConfigError, match="No space") as caught:
        write_settings(path, TUNING)
    assert (caught.value.code, bool(caught.value.next_step)) == ("disk_full", True)
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["mine.toml"]


@pytest.mark.parametrize("reason", [errno.ENOSPC, errno.EACCES])
def test_a_tuning_of_a_collection_that_cannot_be_written_is_an_error_with_a_next_step(
    tmp_path, monkeypatch, reason
):
    tuning_path(tmp_path, "default").parent.mkdir(parents=True)

    def refused(*_: object) -> None:
        raise OSError(reason, os.strerror(reason))

    with Engine(load_settings(overrides={"store": {"data_dir": tmp_path}}, environ={})) as engine:
        monkeypatch.setattr("rag.tuned.os.fsync", refused)
        with pytest.raises(ConfigError, match=os.strerror(reason)) as caught:
            engine.keep_tuning("default", TUNING)
        monkeypatch.undo()
    assert caught.value.code in ("not_written", "disk_full")
    assert caught.value.next_step


def test_a_place_that_cannot_be_written_is_said(tmp_path):
    with pytest.raises(ConfigError, match=r"mine\.toml"):
        write_settings(Path(tmp_path / "nowhere" / "mine.toml"), TUNING)


@pytest.mark.parametrize(("n_pages", "outdated"), [(0, False), (2000, False), (2001, True)])
def test_a_collection_of_more_than_twice_the_pages_has_outgrown_it(n_pages, outdated):
    assert TUNING.outdated_by(n_pages) is outdated


@pytest.mark.parametrize("tuning", [TUNING, None])
def test_a_tuning_that_the_disk_refuses_is_an_error_with_a_next_step(tmp_path, tuning):
    path = tuning_path(tmp_path, "default")
    with Engine(load_settings(overrides={"store": {"data_dir": tmp_path}}, environ={})) as engine:
        (path / "in the way").mkdir(parents=True)  # a folder is neither replaced nor unlinked
        with pytest.raises(ConfigError, match=r"tuned\.toml of collection 'default'") as raised:
            engine.keep_tuning("default", tuning)
    assert (raised.value.code, bool(raised.value.next_step)) == ("not_written", True)
