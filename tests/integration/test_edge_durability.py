"""What the embedded index keeps through kills, and what it says about a folder it cannot use."""

import os
import random
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import numpy as np
import pytest

from rag.errors import IndexMismatch, IndexUnavailable
from rag.index.edge import EdgeIndex
from rag.ports import IndexSpec
from rag.types import PageField, PageRecord, SparseVector

SPEC = IndexSpec(dim=16, dense_dim=8, fde_size=64)
BATCH = 8

# Writes batches from a given number on, and prints each number that must not be lost any more.
WRITER = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
import test_edge_durability as shared
index = shared.EdgeIndex.open(Path(sys.argv[1]), shared.SPEC)
number = int(sys.argv[2])
while True:
    index.upsert([shared.record(number + i) for i in range(shared.BATCH)])
    index.flush()
    number += shared.BATCH
    print(number, flush=True)
"""


def record(number: int) -> PageRecord:
    rng = np.random.default_rng(number)
    return PageRecord(
        str(uuid.UUID(int=number)),
        {
            PageField.PATCHES: rng.standard_normal((40, SPEC.dim)).astype(np.float32),
            PageField.FDE: rng.standard_normal(SPEC.fde_size).astype(np.float32),
            PageField.WORDS: SparseVector(np.array([number], np.uint32), np.ones(1, np.float32)),
        },
        {"page_number": number, "document_id": "one"},
    )


def write_and_kill(folder: Path, first: int, n_batches: int, delay_s: float) -> int:
    """Kill a writer some time after so many batches; how many records it had acknowledged."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), str(first)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as writer:
        assert writer.stdout is not None
        for _ in range(n_batches):
            assert writer.stdout.readline(), "the writer died by itself"
        time.sleep(delay_s)
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read().split()
    assert writer.returncode == -signal.SIGKILL
    return int(rest[-1]) if rest else first + n_batches * BATCH


def test_no_acknowledged_record_is_lost_when_the_writer_is_killed(tmp_path):
    seed = random.randrange(10_000)
    chance = random.Random(seed)
    folder = tmp_path / "index"
    acknowledged = 0
    for _ in range(3):
        acknowledged = write_and_kill(
            folder, acknowledged, chance.randint(1, 4), chance.uniform(0, 0.15)
        )
    index = EdgeIndex.open(folder, SPEC)
    kept = index.ids()
    wanted = [record(number) for number in range(acknowledged)]
    assert {r.record_id for r in wanted} <= set(kept), f"seed {seed}"
    # Whole batches, at most one more than was acknowledged, and each record once.
    assert len(kept) in (acknowledged, acknowledged + BATCH), f"seed {seed}"
    assert index.payloads(kept[:acknowledged]) == {r.record_id: r.payload for r in wanted}
    patches = index.vectors(kept[:acknowledged], PageField.PATCHES)
    for each in wanted:
        np.testing.assert_allclose(
            patches[each.record_id], each.vectors[PageField.PATCHES], rtol=1e-3, atol=1e-3
        )
        (found,) = index.search(PageField.WORDS, each.vectors[PageField.WORDS], limit=2)
        assert found.record_id == each.record_id
    index.close()


# --- folders that cannot be used ----------------------------------------------------------------
def state(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of change of every file: the log alone is 64 MB of mostly nothing."""
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An index of ten records, closed."""
    index = EdgeIndex.open(tmp_path / "index", SPEC)
    index.upsert([record(number) for number in range(10)])
    index.flush()
    index.close()
    return tmp_path / "index"


def test_a_reopened_index_holds_what_was_flushed(folder):
    index = EdgeIndex.open(folder, SPEC)
    assert index.count() == 10
    index.close()


@pytest.mark.parametrize(
    "spec",
    [IndexSpec(17, 8, 64), IndexSpec(16, 9, 64), IndexSpec(16, 8, 128), IndexSpec(16, 0, 64)],
    ids=["dim", "dense_dim", "fde_size", "no dense"],
)
def test_an_index_of_another_shape_is_a_mismatch_and_stays_as_it_is(folder, spec):
    before = state(folder)
    with pytest.raises(IndexMismatch) as raised:
        EdgeIndex.open(folder, spec)
    assert raised.value.next_step
    assert state(folder) == before


@pytest.mark.parametrize("text", ["", "{", "[1, 2]"])
def test_a_garbled_schema_makes_the_index_unavailable_and_nothing_is_touched(folder, text):
    (folder / "schema.json").write_text(text)
    before = state(folder)
    with pytest.raises(IndexUnavailable) as raised:
        EdgeIndex.open(folder, SPEC)
    assert raised.value.next_step
    assert state(folder) == before


def test_a_folder_of_other_files_is_not_taken_for_a_new_index(tmp_path):
    (tmp_path / "index").mkdir()
    (tmp_path / "index" / "notes.txt").write_text("mine")
    with pytest.raises(IndexUnavailable):
        EdgeIndex.open(tmp_path / "index", SPEC)
    assert [path.name for path in (tmp_path / "index").iterdir()] == ["notes.txt"]
    assert (tmp_path / "index" / "notes.txt").read_text() == "mine"


def test_a_shard_without_its_segments_makes_the_index_unavailable(folder):
    for path in (folder / "shard" / "segments").rglob("segment.json"):
        path.write_bytes(b"\x00" * 64)
    with pytest.raises(IndexUnavailable) as raised:
        EdgeIndex.open(folder, SPEC)
    assert str(folder) not in raised.value.message
    assert raised.value.next_step


def test_an_index_left_half_made_is_made_anew(tmp_path):
    unfinished = tmp_path / "index.new" / "shard" / "segments"
    unfinished.mkdir(parents=True)
    (unfinished / "half").write_text("a kill came here")
    index = EdgeIndex.open(tmp_path / "index", SPEC)
    assert index.count() == 0
    index.close()
    assert not (tmp_path / "index.new").exists()


def test_a_second_opening_is_refused_by_name(folder):
    index = EdgeIndex.open(folder, SPEC)
    with pytest.raises(IndexUnavailable, match="another process"):
        EdgeIndex.open(folder, SPEC)
    assert index.count() == 10
    index.close()


def test_the_fde_is_scored_by_its_signs_against_a_rounded_query(folder):
    index = EdgeIndex.open(folder, SPEC)
    query = np.random.default_rng(99).standard_normal(SPEC.fde_size).astype(np.float32)
    for _ in range(2):
        found = index.search(PageField.FDE, query, limit=10)
        signs = [
            float(query @ np.sign(record(uuid.UUID(each.record_id).int).vectors[PageField.FDE]))
            for each in found
        ]
        scale, offset = np.polyfit(signs, [each.score for each in found], 1)
        fitted = scale * np.array(signs) + offset
        np.testing.assert_allclose(fitted, [e.score for e in found], atol=0.05 * np.ptp(fitted))
        index.optimize()
    index.close()


class PanicException(BaseException):
    """Stands in for the one of Edge, which cannot be made by hand."""


@pytest.mark.parametrize(
    ("raised", "seen"),
    [
        (PanicException, IndexUnavailable),
        (RuntimeError, IndexUnavailable),
        (KeyboardInterrupt, KeyboardInterrupt),
    ],
)
def test_a_panic_of_the_store_is_an_error_and_an_interrupt_stays_one(raised, seen):
    class Shard:
        def flush(self) -> None:
            raise raised

    with pytest.raises(seen):
        EdgeIndex(Shard(), SPEC).flush()
