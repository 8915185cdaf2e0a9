"""Ingest when something goes wrong: kills, interrupts, two at once, a full disk, other settings.

The commands that are killed or that meet are processes of their own; the others run in this one,
because each start costs a second or two.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from ingest_place import Place, place

from rag.encoders.words import WordsEncoder
from rag.testing import PdfPage, make_pdf

ENDLESS = PdfPage(endless=True)
__all__ = ["place"]  # a fixture, found by its name


# --- two at once, and Ctrl-C --------------------------------------------------------------------
def test_while_one_ingests_others_look_and_a_second_ingest_is_refused_by_name(
    place: Place,
) -> None:
    place.write("a.pdf", 3)
    (place.docs / "b.pdf").write_bytes(make_pdf([ENDLESS, "# Never reached"]))
    first = place.start("ingest", place.docs)
    assert first.stdout is not None
    assert json.loads(first.stdout.readline())["source"] == "a.pdf"  # the next one takes 30 s

    began = time.monotonic()
    refused = place.here("ingest", place.docs / "a.pdf")
    assert time.monotonic() - began < 5.0
    assert refused.code == 1
    assert refused.error["code"] == "data_folder_busy"
    assert f"process {first.pid} (octavo ingest)" in refused.error["message"]

    assert place.here("search", "tide").json[0]["hits"][0]["source"] == "a.pdf"
    assert [each["source"] for each in place.here("list").json[0]["documents"]] == ["a.pdf"]
    picture = place.data.with_name("page.png")
    assert place.here("page", "a.pdf", "2", "-o", picture, "--dpi", "30").code == 0
    assert picture.exists()
    assert first.poll() is None

    os.killpg(first.pid, signal.SIGINT)
    out, err = first.communicate(timeout=30)
    assert (first.returncode, out) == (130, "")
    assert json.loads(err)["error"]["code"] == "interrupted"
    place.wait_for(lambda: not place.processes(), within_s=5.0)


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The document of every page that the encoder of this process is given."""
    numbers: list[str] = []
    real = WordsEncoder.encode_pages

    def encode_pages(self: WordsEncoder, pages: Any) -> Any:
        numbers.extend(page.ref.document_id for page in pages)
        return real(self, pages)

    monkeypatch.setattr(WordsEncoder, "encode_pages", encode_pages)
    return numbers


def test_after_ctrl_c_the_next_ingest_encodes_what_is_missing_and_no_more(
    place: Place, encoded: list[str]
) -> None:
    expected = {"a.pdf": 4, "b.pdf": 40}
    for name, n_pages in expected.items():
        place.write(name, n_pages)
    process = place.start("ingest", place.docs, OCTAVO_STORE__BATCH_PAGES="2")
    # Pages become durable a little ahead of the documents that they complete.
    place.wait_for(lambda: place.is_indexed("a.pdf") and place.n_acknowledged() >= 10)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert json.loads(err)["error"]["code"] == "interrupted"
    place.wait_for(lambda: not place.processes(), within_s=5.0)
    done = place.n_acknowledged()
    assert 10 <= done < 44

    # Given by name this time: it is the same document.
    resumed = place.here("ingest", *(place.docs / name for name in expected))
    assert resumed.code == 0
    assert [event["state"] for event in resumed.json[:2]] == ["unchanged", "indexed"]
    assert len(encoded) == 44 - done
    place.check_whole(expected)


def test_ctrl_c_is_one_line_however_early_it_comes(place: Place) -> None:
    place.write("a.pdf", 30)

    def libraries_load(process: subprocess.Popen[str]) -> bool:
        # Before our own code has begun the answer is Python's.
        return has_loaded(process.pid, "pydantic_core")

    def readers_start(_: subprocess.Popen[str]) -> bool:
        readers = [pid for pid, line in place.processes().items() if "spawn_main" in line]
        return any(has_loaded(pid, "multiarray") for pid in readers)

    for moment, after_s in [(libraries_load, 0.0), (libraries_load, 0.3), (readers_start, 0.0)]:
        process = place.start("ingest", place.docs)
        place.wait_for(lambda: moment(process))  # noqa: B023 - called at once
        time.sleep(after_s)
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=30)
        assert process.returncode == 130, err
        assert json.loads(err)["error"]["code"] == "interrupted"
        place.wait_for(lambda: not place.processes(), within_s=5.0)


def has_loaded(pid: int, library: str) -> bool:
    with contextlib.suppress(OSError):
        return library in Path("/proc", str(pid), "maps").read_text()
    return False


# --- the disk -----------------------------------------------------------------------------------
def test_a_full_disk_is_refused_before_it_is_written_and_the_next_run_goes_on(
    place: Place, encoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place.write("a.pdf", 3)
    place.write("b.pdf", 6)
    monkeypatch.setenv("OCTAVO_STORE__BATCH_PAGES", "2")
    real = shutil.disk_usage

    def disk_usage(path: Any) -> Any:
        """Full once document a and the first batch of document b are there."""
        return real(path)._replace(free=10**12 if place.n_acknowledged() < 5 else 1_000_000)

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", disk_usage)
        full = place.here("ingest", place.docs)
        assert full.code == 1
        assert full.error["code"] == "disk_full"
        assert "1 MB of disk are free" in full.error["message"]
        assert [(event["source"], event["state"]) for event in full.json] == [("a.pdf", "indexed")]
        assert place.here("ingest", place.docs, "--force").error["code"] == "disk_full"
        found = place.here("search", "tide", "--mode", "text").json[0]["hits"]
        assert {hit["source"] for hit in found} == {"a.pdf"}
        assert place.n_acknowledged() == 5
    encoded.clear()
    assert place.here("ingest", place.docs).code == 0
    assert len(encoded) == 4
    place.check_whole({"a.pdf": 3, "b.pdf": 6})


def test_a_document_can_be_deleted_while_the_disk_is_full(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.write("a.pdf", 1)
    place.here("ingest", place.docs)
    real = shutil.disk_usage
    monkeypatch.setattr(shutil, "disk_usage", lambda path: real(path)._replace(free=0))
    removed = place.here("rm", "a.pdf")
    assert removed.code == 0
    assert set(removed.json[0]["left"].values()) == {0}


# --- other settings -----------------------------------------------------------------------------
def contents(folder: Path) -> dict[str, str]:
    """SHA-256 by path; without what says who is at work, and in which state it was left."""
    logs = {"manifest.sqlite3-wal", "manifest.sqlite3-shm"}
    passing = {"owner.lock", "owner.json", "inventory.json", *logs}
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in passing
    }


def test_an_index_of_another_fde_is_refused_before_anything_is_written(
    place: Place, tmp_path: Path
) -> None:
    place.write("a.pdf", 2)
    assert place.here("ingest", place.docs).code == 0
    place.write("b.pdf", 1)
    other = tmp_path / "other.toml"
    other.write_text("[fde]\nseed = 1\n")
    before = contents(place.data)
    for command in (("search", "tide"), ("ingest", str(place.docs)), ("rm", "a.pdf")):
        ended = place.here(*command, "--config", other)
        assert ended.code == 1
        assert ended.error["code"] == "index_mismatch", command
        assert ended.error["next_step"]
        assert contents(place.data) == before, command
    assert len(place.here("search", "tide", "--mode", "text").json[0]["hits"]) == 2
