"""The index in a process of its own: what its death costs, and what is left of it. Nothing is."""

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from commands import Commands

from rag.errors import IndexDied, IndexMismatch, IndexUnavailable, ShapeError
from rag.filters import Condition, Filter
from rag.index.process import IndexProcess
from rag.ports import IndexSpec
from rag.testing import make_pdf
from rag.types import PageField, PageRecord

SPEC = IndexSpec(dim=16, dense_dim=8, fde_size=64)

# Writes one record, flushes it, says the number of the index's process, and waits to be killed.
OWNER = f"""
import sys, time
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_index_process import SPEC, IndexProcess, child_of, record
if __name__ == "__main__":
    index = IndexProcess(Path(sys.argv[1]), SPEC)
    index.upsert([record(1)])
    index.flush()
    print(child_of(index), flush=True)
    while sys.argv[2] == "writes":
        index.upsert([record(number) for number in range(2, 40)])
    time.sleep(60)
"""


def record(number: int) -> PageRecord:
    rng = np.random.default_rng(number)
    return PageRecord(
        str(uuid.UUID(int=number)),
        {
            PageField.PATCHES: rng.standard_normal((40, SPEC.dim)).astype(np.float32),
            PageField.FDE: rng.standard_normal(SPEC.fde_size).astype(np.float32),
        },
        {"page_number": number, "document_id": "one"},
    )


def child_of(index: IndexProcess) -> int:
    assert index._child is not None
    assert index._child.pid is not None
    return index._child.pid


def is_gone(pid: int, *, within_s: float = 5.0) -> bool:
    """Ended, and nobody's zombie."""
    deadline = time.monotonic() + within_s
    while psutil.pid_exists(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not psutil.pid_exists(pid)


@pytest.fixture
def index(tmp_path: Path) -> Iterator[IndexProcess]:
    opened = IndexProcess(tmp_path / "index", SPEC)
    yield opened
    opened.close()


def kill(index: IndexProcess) -> int:
    pid = child_of(index)
    os.kill(pid, signal.SIGKILL)
    return pid


def test_a_read_after_a_death_is_answered_as_if_nothing_had_happened(index):
    index.upsert([record(1), record(2)])
    index.flush()
    before = kill(index)
    assert index.ids() == [str(uuid.UUID(int=1)), str(uuid.UUID(int=2))]
    assert child_of(index) != before
    assert is_gone(before)


def test_a_write_that_a_death_cuts_short_says_so_and_again_is_as_if_it_were_once(index):
    index.upsert([record(1)])
    index.flush()
    kill(index)
    with pytest.raises(IndexDied, match="SIGKILL") as caught:
        index.upsert([record(2)])
    assert (caught.value.code, bool(caught.value.next_step)) == ("index_died", True)
    index.upsert([record(2)])
    index.flush()
    assert index.count() == 2


def test_a_flush_does_not_vouch_for_writes_that_another_process_took(index):
    index.upsert([record(1)])
    kill(index)
    index.count()
    with pytest.raises(IndexDied):
        index.flush()
    index.upsert([record(1)])
    index.flush()
    assert index.count() == 1


def test_a_process_that_keeps_dying_is_left_alone_for_a_while(index, monkeypatch):
    for _ in range(3):
        kill(index)
        with pytest.raises(IndexDied):
            index.upsert([record(1)])
        if len(index._deaths) < 3:
            index.count()
    with pytest.raises(IndexUnavailable) as caught:
        index.count()
    assert caught.value.code == "index_keeps_dying"
    assert index._child is None
    monkeypatch.setattr("rag.index.process._DEATHS_WITHIN_S", 0.0)
    assert index.count() == 0


def test_errors_come_back_as_they_were_raised(index, tmp_path):
    rows = np.ones((1, SPEC.dim + 1), np.float32)
    with pytest.raises(ShapeError, match="patches"):
        index.search(PageField.PATCHES, rows, limit=1)
    unsendable = PageRecord(str(uuid.UUID(int=1)), {}, {"key": threading.Lock()})
    with pytest.raises(ShapeError, match="not JSON"):
        index.upsert([unsendable])
    index.close()
    with pytest.raises(IndexUnavailable, match="closed"):
        index.count()
    with pytest.raises(IndexMismatch, match="dim 17"):
        IndexProcess(tmp_path / "index", IndexSpec(17, 8, 64))
    assert not [each for each in psutil.Process().children() if each.status() == "zombie"]


def test_several_threads_are_answered_each_its_own_also_through_deaths(index):
    records = [record(number) for number in range(1, 41)]
    index.upsert(records)
    index.flush()
    wrong: list[object] = []
    stop = threading.Event()

    def read(number: int) -> None:
        wanted = str(uuid.UUID(int=number))
        while not stop.is_set():
            try:
                found = index.payloads([wanted])
            except IndexUnavailable:
                continue  # twice in one call
            if found != {wanted: {"page_number": number, "document_id": "one"}}:
                wrong.append(found)

    threads = [threading.Thread(target=read, args=(number,)) for number in range(1, 13)]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    kill(index)
    time.sleep(0.2)
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(index._deaths) == 1
    index.delete(Filter(must=(Condition("page_number", "$gt", 10),)))
    index.flush()
    assert index.count() == 10


def started_owner(folder: Path, doing: str) -> tuple[subprocess.Popen[str], int]:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(folder), doing],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert owner.stdout is not None
    return owner, int(owner.stdout.readline())


@pytest.mark.parametrize("doing", ["writes", pytest.param("waits", marks=pytest.mark.nightly)])
def test_it_ends_with_a_killed_owner_and_whoever_comes_next_finds_what_was_flushed(tmp_path, doing):
    owner, pid = started_owner(tmp_path / "index", doing)
    with owner:
        owner.kill()
        # At once, while the other one may still hold the lock.
        index = IndexProcess(tmp_path / "index", SPEC)
        assert str(uuid.UUID(int=1)) in index.ids()
        index.close()
    assert is_gone(pid)


@pytest.mark.nightly  # waits out the five seconds
def test_who_comes_while_another_has_it_open_waits_and_is_then_told(tmp_path):
    first = IndexProcess(tmp_path / "index", SPEC)
    opened: list[IndexProcess] = []
    waiting = threading.Thread(target=lambda: opened.append(IndexProcess(first._folder, SPEC)))
    waiting.start()
    time.sleep(1.0)
    assert not opened
    first.close()
    waiting.join()
    with pytest.raises(IndexUnavailable, match="another process has the page index open"):
        IndexProcess(tmp_path / "index", SPEC)
    opened[0].close()


def test_ctrl_c_is_not_heard_and_no_process_is_left(tmp_path):
    (tmp_path / "one.pdf").write_bytes(make_pdf(["# Tides\nThe tide came in at noon."] * 10))
    octavo = Commands(tmp_path / "data")
    with octavo.started("ingest", str(tmp_path / "one.pdf")) as running:
        parent = psutil.Process(running.pid)
        deadline = time.monotonic() + 60
        children: list[psutil.Process] = []
        while not (tmp_path / "data" / "collections").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.5)
        children = parent.children(recursive=True)
        assert children
        for each in children:  # as a terminal does, which sends it to all
            if each.is_running():
                each.send_signal(signal.SIGINT)
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=60)
    assert "Traceback" not in errors
    assert all(is_gone(each.pid) for each in children)
    octavo("ingest", str(tmp_path / "one.pdf"))
    assert len(octavo("search", "tide", "--top-k", "50")["hits"]) == 10
