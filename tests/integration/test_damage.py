"""Damage to a data folder that was closed: named, refused at opening, and mended."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from commands import Commands
from damaged_folder import (
    MUTATIONS,
    Answers,
    answers,
    copy_folder,
    damage,
    files_of,
    make_folder,
    named,
    same,
)

from rag.integrity.places import DERIVED, Kind, kind_of

N_QUERIES = 50


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be written to."""
    data = make_folder(tmp_path_factory.mktemp("whole"))
    assert Commands(data)("verify")["ok"]
    return data


@pytest.fixture(scope="module")
def expected(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Answers:
    copied = copy_folder(whole, tmp_path_factory.mktemp("expected") / "data")
    return answers(copied, N_QUERIES)


def hold_to_it(whole: Path, expected: Answers, to: Path, path: str, how: str) -> list[str]:
    """What is wrong with how damage to one file is found and mended; nothing, it is hoped."""
    data = copy_folder(whole, to)
    before = Commands(data)
    damage(data / path, how)
    code, printed = before.outcome("verify")
    report = json.loads(printed.splitlines()[-1])
    wrong = []
    if code != 1 or report.get("ok", True) or path not in named(report):
        wrong.append(f"verify ended with {code} and named {sorted(map(str, named(report)))}")
    code, printed = before.outcome("repair")
    if code != 0:
        wrong.append(f"repair ended with {code}: {printed[-2000:]}")
        return wrong
    if not same(expected, answers(data, N_QUERIES)):
        wrong.append("other answers after repair")
    after = before("verify")
    records = before("verify")["checked"]["records"]
    if not after["ok"] or records != 21:
        wrong.append(f"after repair: {after['damage']}, {records} records")
    return wrong


def one_of_each_kind(data: Path) -> dict[str, str]:
    """A file by what it stands for."""
    wanted = {
        "manifest": lambda path: path == "manifest.sqlite3",
        "source": lambda path: path.startswith("sources/"),
        "segment": lambda path: path.endswith("vector_storage-patches/vectors/chunk_0.mmap"),
        "id tracker": lambda path: path.endswith("mutable_id_tracker.mappings"),
        "packed": lambda path: path.endswith("fp16-1.rows"),
        "schema": lambda path: path.endswith("schema.json"),
        "fde": lambda path: path.endswith("fde.npz"),
        "inventory": lambda path: path == "inventory.json",
    }
    files = files_of(data)
    return {name: next(filter(is_it, files)) for name, is_it in wanted.items()}


def test_damage_to_several_files_is_named_and_mended_at_once(whole, tmp_path):
    few = 8
    expected = answers(copy_folder(whole, tmp_path / "expected"), few)
    kinds = one_of_each_kind(whole)
    # What is put back, what is made again with all of the index, and what says how it was.
    for cases in (
        {"manifest": "flipped", "source": "halved", "id tracker": "flipped", "schema": "removed"},
        {"segment": "halved", "fde": "flipped", "packed": "flipped"},
        {"inventory": "flipped"},
    ):
        data = copy_folder(whole, tmp_path / "data")
        for name, how in cases.items():
            damage(data / kinds[name], how)
        octavo = Commands(data)
        code, printed = octavo.outcome("verify")
        assert code == 1
        assert named(json.loads(printed.splitlines()[-1])) >= {kinds[name] for name in cases}
        result = octavo("repair")
        assert result["ok"]
        assert result["checked"]["records"] == 21
        assert same(expected, answers(data, few))
        assert octavo("verify", "--quick")["ok"]


@pytest.mark.nightly
@pytest.mark.timeout(14_400)
def test_damage_to_any_file_is_named_and_mended(whole, expected, tmp_path):
    share, shares = map(int, os.environ.get("N_DAMAGE_SHARE", "0/1").split("/"))
    cases = [(path, how) for path in files_of(whole) for how in MUTATIONS][share::shares]
    wrong = {}
    for number, (path, how) in enumerate(cases):
        found = hold_to_it(whole, expected, tmp_path / "data", path, how)
        print(number, path, how, found or "ok", flush=True)  # noqa: T201 - an hour without a word
        if found:
            wrong[f"{path} {how}"] = found
    assert not wrong, json.dumps(wrong, indent=1)


def test_opening_refuses_what_cannot_be_made_again_and_names_it(whole, tmp_path):
    for name, path in one_of_each_kind(whole).items():
        if kind_of(path) in DERIVED | {Kind.SOURCE}:
            continue
        data = copy_folder(whole, tmp_path / "data")
        damage(data / path, "flipped")
        error = Commands(data).refused("search", "harbour")
        assert error["code"] == "data_damaged", name
        assert path in error["message"]
        assert "octavo repair" in error["next_step"]
        # Nothing was blessed by trying.
        assert Commands(data).refused("search", "harbour")["code"] == "data_damaged"


def test_opening_makes_again_what_is_derived(whole, expected, tmp_path):
    data = copy_folder(whole, tmp_path / "data")
    derived = [path for path in files_of(data) if kind_of(path) in DERIVED]
    assert {kind_of(path) for path in derived} == DERIVED
    for path in derived:
        damage(data / path, "flipped")
    assert same(expected, answers(data, N_QUERIES))
    result = Commands(data)("page", "scan.pdf", "1", "-o", str(tmp_path / "page.png"))
    assert result["width_px"] > 100
    found = named(json.loads(Commands(data).outcome("verify")[1].splitlines()[-1]))
    # Words that OCR read are looked at when they are wanted: verify alone names them.
    assert {kind_of(path or "") for path in found} == {Kind.OCR}


@pytest.mark.parametrize("command", ["verify", "repair"])
def test_a_folder_of_somebody_else_is_neither_judged_nor_written_to(tmp_path, command):
    (tmp_path / "letter.txt").write_text("dear")
    assert Commands(tmp_path).refused(command)["code"] == "no_data_folder"
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]
