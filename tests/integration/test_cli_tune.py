"""`octavo tune` through the real command, on a small collection that was made for it."""

from __future__ import annotations

import json
import os
import re
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rag.apps.cli.app import run
from rag.geometry import Box
from rag.patch_search import PatchSearch
from rag.testing import PdfPage, make_pdf

N_PAGES = 90
THINGS = "otter heron harbour turbine dividend storm ferry lighthouse reef anchor".split()
DEEDS = "crossed paid measured repaired counted painted guarded sold watched named".split()
PLACES = "Stavanger Brest Cadiz Tromso Galway Split Varna Gdansk Lerwick Porto".split()


def made_pages(n: int) -> list[str]:
    rng = np.random.default_rng(3)
    return [
        "\n".join(
            f"The {rng.choice(THINGS)} {rng.choice(DEEDS)} {rng.integers(10, 999)} "
            f"{rng.choice(THINGS)}s near {rng.choice(PLACES)} in {rng.integers(1900, 2020)}."
            for _ in range(6)
        )
        for _ in range(n)
    ]


class Place:
    """A data folder with one made collection, and the command in this process."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys
        self.tuned = folder / "data" / "collections" / "default" / "tuned.toml"

    def run(self, *arguments: str) -> tuple[int, str, str]:
        code = run([*arguments, "--data-dir", str(self.folder / "data")])
        out, err = self._capsys.readouterr()
        return code, out, err

    def json(self, *arguments: str) -> tuple[int, Any]:
        code, out, err = self.run(*arguments, "--json")
        return code, json.loads(out or err)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    (folder / "made.pdf").write_bytes(make_pdf(made_pages(N_PAGES)))
    assert run(["ingest", str(folder / "made.pdf"), "--data-dir", str(folder / "data")]) == 0
    return folder


@pytest.fixture
def octavo(
    made: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    monkeypatch.setenv("OCTAVO_RETRIEVAL__SCAN_PAGES", "0")
    monkeypatch.setenv("OCTAVO_RETRIEVAL__DEVICE", "cpu")
    monkeypatch.setenv("OCTAVO_RETRIEVAL__LEG_CANDIDATES", "20")
    capsys.readouterr()
    place = Place(made, capsys)
    yield place
    place.tuned.unlink(missing_ok=True)


def test_what_is_chosen_meets_the_target_is_kept_and_used_by_the_next_search(octavo):
    code, found = octavo.json("tune", "--n-queries", "12", "--k", "5")
    assert code == 0
    chosen = found["chosen"]
    assert chosen["recall"] >= 0.99
    assert chosen in found["settings"]
    assert found["current"] in found["settings"]
    assert found["pages"] == N_PAGES
    assert found["questions"] == {"from": "sampled", "n": 12, "seed": 0}
    assert "sampled_questions" in {each["code"] for each in found["warnings"]}
    assert (found["kept"], found["written"]) == (True, None)
    _, searched = octavo.json("search", "the otter in Galway", "--mode", "visual")
    assert searched["tuned"] is True
    stages = {stage["name"]: stage["candidates"] for stage in searched["stages"]}
    if chosen["first"] == "bits":
        assert stages["bits"] == chosen["int8_candidates"]
    _, examined = octavo.json("doctor")
    assert examined["tuned"]["used"] == found["tuning"]["retrieval"]
    assert examined["tuned"]["recall"] == chosen["recall"]


def test_int8_alone_finds_what_exact_maxsim_finds(octavo):
    _, found = octavo.json("tune", "--n-queries", "12", "--k", "5", "--dry-run")
    (alone,) = (each for each in found["settings"] if each["first"] == "int8")
    assert alone["recall"] == pytest.approx(1.0)
    assert alone["ndcg_loss"] == pytest.approx(0.0, abs=1e-6)
    narrow = [each for each in found["settings"] if each["first"] == "bits"]
    assert narrow
    assert all(each["hot_bytes"] < alone["hot_bytes"] for each in narrow)


def test_a_tuning_asks_for_as_many_pages_as_a_search_does(octavo, monkeypatch):
    asked: list[int] = []
    best = PatchSearch.best

    def counted(self, reader, scope, query, limit):
        asked.append(limit)
        return best(self, reader, scope, query, limit)

    monkeypatch.setattr(PatchSearch, "best", counted)
    for k in ("5", "30"):  # fewer and more than a leg hands on
        octavo.json("search", "the otter in Galway", "--mode", "visual", "--top-k", k)
        by_search = set(asked)
        asked.clear()
        octavo.json("tune", "--n-queries", "2", "--k", k, "--dry-run")
        assert len(by_search) == 1
        assert set(asked) == by_search
        asked.clear()


def test_the_same_seed_asks_the_same_and_finds_the_same(octavo):
    recalls = [
        [each["recall"] for each in octavo.json(*call)[1]["settings"]]
        for call in [("tune", "--n-queries", "6", "--dry-run")] * 2
    ]
    assert recalls[0] == recalls[1]


def test_what_the_environment_says_goes_before_what_was_tuned_and_tune_says_so(octavo, monkeypatch):
    monkeypatch.setenv("OCTAVO_RETRIEVAL__INT8_CANDIDATES", "33")
    _, found = octavo.json("tune", "--n-queries", "4", "--k", "3", "--target-recall", "0.1")
    (overruled,) = (each for each in found["warnings"] if each["code"] == "tuning_overruled")
    assert "retrieval.int8_candidates" in overruled["message"]
    _, examined = octavo.json("doctor")
    assert examined["tuned"]["used"]["int8_candidates"] == 33


def test_reset_goes_back_to_the_defaults(octavo):
    octavo.json("tune", "--n-queries", "4", "--target-recall", "0.1")
    assert octavo.tuned.exists()
    assert octavo.json("tune", "--reset") == (0, {"collection": "default", "reset": True})
    assert not octavo.tuned.exists()
    assert octavo.json("tune", "--reset") == (0, {"collection": "default", "reset": False})
    assert octavo.json("search", "otter")[1]["tuned"] is False
    assert "tuned" not in octavo.json("doctor")[1]


def test_a_settings_file_is_written_in_the_place_of_the_collections_own(octavo, tmp_path):
    file, plot = tmp_path / "tuned.toml", tmp_path / "tuned.svg"
    questions = tmp_path / "questions.txt"
    questions.write_text("Which otter crossed near Galway?\nWho sold anchors in Porto?\n")
    code, out, err = octavo.run(
        *("tune", "--queries", str(questions), "--target-recall", "0.1"),
        *("--write", str(file), "--plot", str(plot)),
    )
    assert code == 0
    assert "2 questions (from the file)" in out
    assert "chosen" in out
    assert str(file) in err
    assert plot.read_text().startswith("<svg")
    assert not octavo.tuned.exists()
    code, out, _ = octavo.run("search", "otter", "--config", str(file), "--json")
    assert (code, json.loads(out)["tuned"]) == (0, False)


def test_an_evaluation_notes_the_settings_that_were_tuned(octavo, tmp_path):
    from rag.apps.cli.evaluation.dataset_runs import what_could_matter
    from rag.settings import load_settings

    octavo.json("tune", "--n-queries", "4", "--target-recall", "0.1")
    kept = octavo.tuned.read_text()
    octavo.tuned.write_text(re.sub(r"int8_candidates = \d+", "int8_candidates = 47", kept))
    settings = load_settings(overrides={"store": {"data_dir": octavo.folder / "data"}})
    noted = what_could_matter(settings, "default")["retrieval"]
    assert noted["int8_candidates"] == 47
    assert noted["top_k"] == settings.retrieval.top_k


def test_a_dry_run_changes_nothing(octavo, tmp_path):
    code, out, err = octavo.run("tune", "--n-queries", "4", "--dry-run")
    assert code == 0
    assert "[retrieval]" in out
    assert "nothing was changed" in err
    assert not octavo.tuned.exists()


def test_a_tuning_that_cannot_be_read_is_said_and_dropped_by_reset(octavo):
    octavo.tuned.write_text("[retrieval]\n")
    code, found = octavo.json("search", "otter")
    assert (code, found["error"]["code"]) == (1, "bad_tuning")
    assert octavo.json("tune", "--reset")[0] == 0
    assert octavo.json("search", "otter")[0] == 0


def test_a_tuning_that_cannot_be_read_is_one_line_of_the_doctors(octavo):
    octavo.tuned.write_text("[retrieval]\n")
    code, found = octavo.json("doctor")
    (check,) = (each for each in found["checks"] if each["name"] == "tuning")
    assert (code, check["ok"], found["usable"]) == (1, False, False)
    assert "retrieval.candidates" in check["detail"]
    assert "--reset" in check["next_step"]
    assert found["machine"]
    assert "tuned" not in found


def test_a_folder_in_the_place_of_a_tuning_cannot_be_reset_and_is_said(octavo):
    octavo.tuned.mkdir()
    try:
        code, found = octavo.json("tune", "--reset")
    finally:
        octavo.tuned.rmdir()
    assert (code, found["error"]["code"]) == (1, "not_written")
    assert found["error"]["next_step"]


def test_one_question_is_no_questions(octavo, tmp_path):
    questions = tmp_path / "questions.txt"
    questions.write_text("Which otter crossed near Galway?\n")
    flags = ("--queries", str(questions), "--k", "3", "--target-recall", "0.1", "--dry-run")
    _, out, _ = octavo.run("tune", *flags)
    assert ", 1 question (from the file)" in out


def test_an_interrupted_tuning_says_that_it_starts_over(octavo, monkeypatch):
    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("rag.apps.cli.tune.opened", interrupted)
    code, found = octavo.json("tune")
    assert code == 130
    assert "from the start" in found["error"]["next_step"]


def test_a_collection_that_outgrew_its_tuning_says_so(octavo):
    octavo.json("tune", "--n-queries", "4", "--target-recall", "0.1")
    kept = octavo.tuned.read_text()
    octavo.tuned.write_text(kept.replace(f"pages = {N_PAGES}", f"pages = {N_PAGES // 3}"))
    _, found = octavo.json("search", "otter")
    assert "tuning_outdated" in {each["code"] for each in found["warnings"]}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("-c", "nothing"), "unknown_collection"),
        (("--k", "100"), "too_few_pages"),
        (("--queries", "missing.txt"), "bad_questions"),
    ],
)
def test_what_cannot_be_tuned_is_refused_with_a_reason(octavo, arguments, code):
    status, found = octavo.json("tune", *arguments)
    assert (status, found["error"]["code"]) == (1, code)
    assert found["error"]["next_step"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--target-recall", "0"),
        ("--target-recall", "1.5"),
        ("--target-recall", "nan"),
        ("--plot", "plot.png"),
        ("--write", "/no/such/folder/tuned.toml"),
        ("--write", "/"),
        ("--write", os.devnull),
        ("--plot", "/no/such/folder/plot.svg"),
        ("--n-queries", "99999999999999999999999"),
        ("--reset", "--dry-run"),
        ("--k", "0"),
    ],
)
def test_flags_that_make_no_sense_are_usage_errors(octavo, arguments):
    status, found = octavo.json("tune", *arguments)
    assert (status, found["error"]["code"]) == (2, "usage")


def test_pages_without_words_cannot_be_sampled_and_a_question_without_words_cannot_be_asked(
    tmp_path, capsys
):
    place = Place(tmp_path, capsys)
    (tmp_path / "blank.pdf").write_bytes(make_pdf([PdfPage()]))
    place.run("ingest", str(tmp_path / "blank.pdf"))
    status, found = place.json("tune", "--k", "1")
    assert (status, found["error"]["code"]) == (1, "too_few_pages")
    (tmp_path / "picture.pdf").write_bytes(make_pdf([PdfPage(marks=[Box(90, 90, 300, 300)])]))
    place.run("ingest", str(tmp_path / "picture.pdf"))
    status, found = place.json("tune", "--k", "1")
    assert (status, found["error"]["code"]) == (1, "no_words")
    (tmp_path / "one.pdf").write_bytes(make_pdf(["Otters hold hands."]))
    place.run("ingest", str(tmp_path / "one.pdf"))
    (tmp_path / "questions.txt").write_text("Who?\n???\n")
    questions = str(tmp_path / "questions.txt")
    status, found = place.json("tune", "--k", "1", "--queries", questions)
    assert (status, found["error"]["code"]) == (1, "empty_query")
    assert "question 2" in found["error"]["message"]


def test_where_no_setting_meets_the_target_the_best_is_shown_and_nothing_written(
    octavo, monkeypatch, tmp_path
):
    _, found = octavo.json("tune", "--n-queries", "4", "--dry-run")
    found |= {"chosen": None, "tuning": None, "kept": False, "target_recall": 1.0}

    @contextmanager
    def opened(_settings: Any, _command: str) -> Iterator[Any]:
        def tune(progress: Callable[..., None], **_: Any) -> Any:
            progress("settings", 1, 1)
            return found

        yield types.SimpleNamespace(tune=tune)

    monkeypatch.setattr("rag.apps.cli.tune.opened", opened)
    file = tmp_path / "tuned.toml"
    code, out, err = octavo.run("tune", "--write", str(file), "--target-recall", "1")
    assert code == 1
    assert "int8 alone" in out
    assert "no setting reaches recall@10 1" in err
    assert f"the best reaches {found['best']['recall']:.4f}" in err
    assert not file.exists()
