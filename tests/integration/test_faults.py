"""Ingest when something goes wrong: kills, interrupts, two at once, a full disk, other settings.

The commands that are killed or that meet are processes of their own; the others run in this one,
because each start costs a second or two.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from rag.apps.cli.app import run
from rag.apps.ownership import read_owner
from rag.encoders.words import WordsEncoder
from rag.settings import load_settings
from rag.testing import PdfPage, make_pdf
from rag.types import Principal
from rag.wiring import Engine

OCTAVO = Path(sys.executable).with_name("octavo")
MARK = "OCTAVO_TEST_MARK"
ENDLESS = PdfPage(endless=True)


class Ended(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def error(self) -> dict[str, str]:
        """The one error said; a second line would not parse."""
        found: dict[str, str] = json.loads(self.err)["error"]
        return found


class Place:
    """A folder of PDFs and a data folder, and the command run on them."""

    def __init__(self, place: Path) -> None:
        self.docs, self.data = place / "docs", place / "data"
        self.docs.mkdir()
        self.mark = uuid.uuid4().hex

    def write(self, name: str, n_pages: int, word: str = "tide") -> None:
        pages = [
            f"# {word} {number}\nThe {word} of {name} on page {number} comes and goes."
            for number in range(1, n_pages + 1)
        ]
        (self.docs / name).write_bytes(make_pdf(pages))

    def here(self, *arguments: str | Path) -> Ended:
        """A command in this process."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run([*map(str, arguments), "--json", "--data-dir", str(self.data)])
        return Ended(code, out.getvalue(), err.getvalue())

    def start(self, *arguments: str | Path, **environment: str) -> subprocess.Popen[str]:
        """A command in a process of its own, at the head of a group as in a terminal."""
        return subprocess.Popen(
            [OCTAVO, *arguments, "--json", "--data-dir", self.data],
            env=os.environ | {MARK: self.mark, "OCTAVO_RENDER__WORKERS": "2"} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def wait_for(self, happened: Callable[[], bool], within_s: float = 60.0) -> None:
        deadline = time.monotonic() + within_s
        while not happened():
            assert time.monotonic() < deadline, "it did not happen"
            time.sleep(0.02)

    def n_acknowledged(self) -> int:
        """Pages that the manifest holds, seen from outside."""
        return self._counted("select count(*) from pages")

    def is_indexed(self, source: str) -> bool:
        """Whether the manifest says so of the document, seen from outside."""
        return bool(
            self._counted(
                "select count(*) from documents where source = ? and state = 'indexed'", source
            )
        )

    def _counted(self, query: str, *values: str) -> int:
        manifest = self.data / "manifest.sqlite3"
        if not manifest.exists():
            return 0
        with contextlib.closing(sqlite3.connect(manifest, timeout=10)) as connection:
            try:
                return int(connection.execute(query, values).fetchone()[0])
            except sqlite3.OperationalError:  # no tables yet
                return 0

    def processes(self) -> dict[int, str]:
        """Command lines, by id, of all living processes that `start` is the ancestor of."""
        wanted = f"{MARK}={self.mark}".encode()
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if wanted in (folder / "environ").read_bytes().split(b"\0"):
                    found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
        return found

    def check_whole(self, expected: dict[str, int]) -> None:
        """The manifest, the index and the kept files hold these documents, each page once."""
        with Engine(load_settings(overrides={"store": {"data_dir": self.data}})) as engine:
            reader = engine.reader(Principal.owner(), "default")
            documents = reader.documents()
            assert {document.source: document.n_pages for document in documents} == expected
            assert {str(document.state) for document in documents} == {"indexed"}
            ids = reader.ids()
            refs = Counter(page.ref for page in reader.pages(ids).values())
            assert set(refs.values()) == {1}
            assert Counter(ref.document_id for ref in refs) == {
                document.document_id: document.n_pages for document in documents
            }
            # What the index holds beyond what is visible would be left of another version.
            assert engine._index("default").count() == len(ids) == sum(expected.values())
            for document in documents:
                for number in range(1, document.n_pages + 1):
                    text = reader.page(document.document_id, number).text.text
                    assert f"of {document.source} on page {number} " in text
            kept = [path.name for path in (self.data / "sources").rglob("*") if path.is_file()]
            assert sorted(kept) == sorted(f"{document.sha256}.pdf" for document in documents)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setenv("OCTAVO_RENDER__WORKERS", "1")  # what runs here starts no more than it needs
    made = Place(tmp_path)
    yield made
    for process in made.processes():
        os.kill(process, signal.SIGKILL)


# --- kill -9 ------------------------------------------------------------------------------------
def kill_again_and_again(place: Place, *, kills: int, seed: int) -> None:
    """Kill ingests at random moments, half of them or more while they replace what is there."""
    moments = random.Random(seed)
    expected = {f"{letter}.pdf": 3 + number % 3 for number, letter in enumerate("abcdefghijkl")}
    for name, n_pages in expected.items():
        place.write(name, n_pages)
    n_found = 0
    for turn in range(kills):
        is_complete = n_found == sum(expected.values())
        force = ["--force"] if is_complete or turn >= kills // 2 else []
        before = place.n_acknowledged()
        process = place.start("ingest", place.docs, *force, OCTAVO_STORE__BATCH_PAGES="2")
        if turn % 5 == 0:  # while it starts, else while it writes
            place.wait_for(lambda: is_owner(place, process))  # noqa: B023 - called at once
        else:
            place.wait_for(
                lambda: place.n_acknowledged() != before or process.poll() is not None  # noqa: B023
            )
        time.sleep(moments.uniform(0.0, 1.5))
        process.kill()
        process.communicate()
        place.wait_for(lambda: not place.processes(), within_s=5.0)
        answer = place.here("search", "tide", "-k", "50", "--mode", "text")
        if answer.code:
            assert answer.error["code"] == "unknown_collection", answer.err
            assert n_found == 0
            continue
        hits = [(hit["source"], hit["page_number"]) for hit in answer.json[0]["hits"]]
        assert len(set(hits)) == len(hits)
        assert len(hits) >= n_found, "what was searchable is not any more"
        n_found = len(hits)
    assert place.here("ingest", place.docs).code == 0
    place.check_whole(expected)


def is_owner(place: Place, process: subprocess.Popen[str]) -> bool:
    owner = read_owner(place.data)
    return owner is not None and owner.pid == process.pid


def test_ten_kills_at_any_moment_lose_nothing_and_leave_nothing(place: Place) -> None:
    kill_again_and_again(place, kills=10, seed=20240601)


@pytest.mark.nightly
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", range(5))
def test_fifty_kills_lose_nothing_either(place: Place, seed: int) -> None:
    kill_again_and_again(place, kills=50, seed=seed)


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
    answers = iter([10**12] * 5)  # document a, its two batches, document b, its first batch
    real = shutil.disk_usage

    def disk_usage(path: Any) -> Any:
        return real(path)._replace(free=next(answers, 1_000_000))

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
    """SHA-256 by path; without what says who is at work."""
    passing = {"owner.lock", "owner.json", "manifest.sqlite3-wal", "manifest.sqlite3-shm"}
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
