"""Processes that meet in one data folder, and clocks that jump: exact counts, no lock left."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from ingest_place import OCTAVO, Place, place

from rag import Octavo
from rag.apps.ownership import read_owner

__all__ = ["place"]  # a fixture, found by its name
DAY_S, YEAR_S = 86_400, 365 * 86_400
STEPPED_CLOCK = Path(__file__).parents[1] / "stepped_clock"


def ingested_at_last(place: Place, *paths: Path, within_s: float = 120.0) -> None:
    """Ingest, and again while another has the folder."""
    deadline = time.monotonic() + within_s
    while True:
        start = time.monotonic()
        process = place.start("ingest", *paths)
        _, err = process.communicate(timeout=within_s)
        if process.returncode == 0:
            return
        error = json.loads(err)["error"]
        assert error["code"] == "data_folder_busy", error
        assert "octavo ingest" in error["message"], "who has it is said by name"
        assert time.monotonic() - start < 60.0  # 5 s, and the start of a process on a busy machine
        assert time.monotonic() < deadline, "the folder was never free"


def test_of_two_writers_each_comes_to_its_turn_and_nothing_is_lost(place: Place) -> None:
    first, second = {"a.pdf": 30, "b.pdf": 2}, {"c.pdf": 3, "d.pdf": 1}
    for name, n_pages in (first | second).items():
        place.write(name, n_pages)
    writer = place.start("ingest", *(place.docs / name for name in first))
    place.wait_for(lambda: place.n_acknowledged() > 0)
    os.killpg(writer.pid, signal.SIGSTOP)  # they meet, however fast the machine is
    try:
        refused = place.here("ingest", *(place.docs / name for name in second))
    finally:
        os.killpg(writer.pid, signal.SIGCONT)
    assert refused.code == 1
    assert refused.error["code"] == "data_folder_busy"
    assert f"process {writer.pid} (octavo ingest)" in refused.error["message"]
    ingested_at_last(place, *(place.docs / name for name in second))
    _, err = writer.communicate(timeout=120)
    assert writer.returncode == 0, err
    place.check_whole(first | second)
    assert read_owner(place.data) is None


def test_two_threads_of_one_process_write_to_one_collection(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    monkeypatch.setenv("OCTAVO_DATA_DIR", str(place.data))
    expected = {f"{letter}.pdf": 3 for letter in "abcdef"}
    for name, n_pages in expected.items():
        place.write(name, n_pages)
    names = list(expected)
    with Octavo() as octavo, ThreadPoolExecutor(2) as pool:
        # The middle two are given to both.
        halves = [names[:4], names[2:]]
        list(pool.map(lambda half: octavo.ingest([place.docs / name for name in half]), halves))
    place.check_whole(expected)


@pytest.mark.parametrize("n_readers", [3, pytest.param(10, marks=pytest.mark.nightly)])
def test_readers_beside_a_writer_see_whole_documents_and_no_error(
    place: Place, n_readers: int
) -> None:
    place.write("a.pdf", 3)
    assert place.here("ingest", place.docs).code == 0
    expected = {"a.pdf": 3} | {f"{number:02}.pdf": 2 for number in range(12)}
    for name, n_pages in expected.items():
        place.write(name, n_pages)
    writer = place.start("ingest", place.docs)
    readers = [
        place.start("search", "tide", "-k", "50", "--mode", "text") for _ in range(n_readers)
    ]
    for reader in readers:
        out, err = reader.communicate(timeout=120)
        assert reader.returncode == 0, err
        hits = json.loads(out)["hits"]
        pages = [(hit["source"], hit["page_number"]) for hit in hits]
        assert len(set(pages)) == len(pages)
        for source in {hit["source"] for hit in hits}:
            assert sum(name == source for name, _ in pages) == expected[source]
        assert ("a.pdf", 1) in pages
    _, err = writer.communicate(timeout=120)
    assert writer.returncode == 0, err
    place.check_whole(expected)


@pytest.fixture
def clock(tmp_path: Path) -> Callable[[float], dict[str, str]]:
    """Sets the clock of processes that are started with what it gives, also of those that run."""
    file = tmp_path / "clock"

    def set_to(offset_s: float) -> dict[str, str]:
        temporary = file.with_suffix(".new")
        temporary.write_text(str(offset_s))
        temporary.replace(file)
        return {"PYTHONPATH": str(STEPPED_CLOCK), "CLOCK_OFFSET_FILE": str(file)}

    return set_to


def documents_of(place: Place) -> list[dict[str, float]]:
    with contextlib.closing(sqlite3.connect(place.data / "manifest.sqlite3")) as connection:
        rows = connection.execute("select updated_at from documents")
        return [{"updated_at": row[0]} for row in rows]


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param((0, -DAY_S), marks=pytest.mark.nightly),
        pytest.param((0, YEAR_S), marks=pytest.mark.nightly),
        (YEAR_S, -DAY_S),
    ],
)
def test_a_clock_that_is_set_in_the_middle_of_an_ingest_changes_no_count(
    place: Place, clock: Callable[[float], dict[str, str]], steps: tuple[float, float]
) -> None:
    expected = {"a.pdf": 3, "b.pdf": 12, "c.pdf": 2}
    for name, n_pages in expected.items():
        place.write(name, n_pages)
    environment = clock(steps[0]) | {"OCTAVO_STORE__BATCH_PAGES": "2"}
    writer = place.start("ingest", place.docs, **environment)
    place.wait_for(lambda: place.n_acknowledged() >= 5)
    clock(steps[1])
    _, err = writer.communicate(timeout=120)
    assert writer.returncode == 0, err
    place.wait_for(lambda: not place.processes())
    place.check_whole(expected)
    assert read_owner(place.data) is None
    # Killed under one clock, gone on with under another.
    place.write("b.pdf", 20, word="wave")
    writer = place.start("ingest", place.docs, **clock(steps[0]) | environment)
    place.wait_for(lambda: place.n_acknowledged() > sum(expected.values()))
    writer.kill()
    writer.communicate()
    place.wait_for(lambda: not place.processes())
    ended = subprocess.run(
        [OCTAVO, "ingest", place.docs, "--json", "--data-dir", place.data],
        env=os.environ | clock(steps[1]),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    now = time.time()
    # The clock was theirs, or these tests show nothing.
    ages = [document["updated_at"] - now for document in documents_of(place)]
    assert any(abs(age - steps[1]) < 600 for age in ages)
    expected["b.pdf"] = 20
    place.check_whole(expected, word_of=lambda name: "wave" if name == "b.pdf" else "tide")
