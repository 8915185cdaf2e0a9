"""Ingests killed at every step that writes, and at any moment: nothing lost, doubled or half done.

What is acknowledged is a row of the manifest; it is compared with what the encoder was given, with
the index, and with the folder that was ingested.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from counting_encoders import LOG
from ingest_place import Place

from rag.failpoints import VARIABLE, Step
from rag.testing import make_pdf

_log = logging.getLogger(__name__)  # seen with --log-cli-level=INFO

ENCODER = ("--encoder", "custom:counting_encoders:counted_words")
BATCH_PAGES = 2
# Encoded and not yet acknowledged: a batch in each stage and in the queue before each.
MOST_IN_FLIGHT = 6 * BATCH_PAGES

INGESTING: tuple[Step, ...] = (
    "source_kept",
    "version_begun",
    "pages_read",
    "pages_encoded",
    "pages_made",
    "pack_discarded",
    "upserted",
    "flushed",
    "packed",
    "pages_recorded",
    "published",
)
REPLACING: tuple[Step, ...] = ("records_deleted", "version_forgotten", "source_released")
# A process each, so that a commit tries some of them.
SOME_INGESTING: tuple[Step, ...] = ("version_begun", "upserted", "flushed", "pages_recorded")
SOME_REPLACING: tuple[Step, ...] = ("published", "version_forgotten")
# At how many documents and kills the tests of every commit, and those of the night, are.
FEW, MANY = 8, int(os.environ.get("N_KILL_DOCUMENTS", "150"))
N_KILLS = int(os.environ.get("N_KILLS", "200"))
KILLS_A_TEST = 20


class Killed(Place):
    """Documents that are ingested by processes which do not live long."""

    def __init__(self, place: Path, n_documents: int) -> None:
        super().__init__(place)
        self.log = place / "encoded.txt"
        self.log.touch()
        self.found: set[str] = set()
        self.n_lost: list[int] = []  # of each kill, pages that were encoded for nothing
        self.expected = {f"{number:03}.pdf": 1 + number % 3 for number in range(n_documents)}
        self.edition = dict.fromkeys(self.expected, "first")
        for name in self.expected:
            self.write_edition(name, "first")

    def write_edition(self, name: str, edition: str) -> None:
        self.edition[name] = edition
        pages = [
            f"# {edition} {number}\nThe {edition} of {name} on page {number} comes and goes."
            for number in range(1, self.expected[name] + 1)
        ]
        (self.docs / name).write_bytes(make_pdf(pages))

    def begin(self, *arguments: str | Path, **environment: str) -> subprocess.Popen[str]:
        return self.start(
            *arguments,
            *ENCODER,
            **environment,
            **{
                LOG: str(self.log),
                "PYTHONPATH": str(Path(__file__).parents[1]),
                "OCTAVO_STORE__BATCH_PAGES": str(BATCH_PAGES),
                "OCTAVO_RENDER__WORKERS": "1",
            },
        )

    def ended(self, process: subprocess.Popen[str]) -> str:
        """What it said on stderr, once nothing of it lives."""
        _, err = process.communicate(timeout=300)
        self.wait_for(lambda: not self.processes(), within_s=60.0)
        return err

    def acknowledged(self) -> set[tuple[str, int]]:
        """(document id, page number) of pages of live and staged versions."""
        manifest = self.data / "manifest.sqlite3"
        if not manifest.exists():
            return set()
        with contextlib.closing(sqlite3.connect(manifest, timeout=10)) as connection:
            try:
                rows = connection.execute(
                    "select versions.version_id, page_number from pages join versions using "
                    "(version_id) where versions.state != 'retired'"
                )
                return set(rows)
            except sqlite3.OperationalError:  # no tables yet
                return set()

    def encoded(self) -> list[str]:
        return self.log.read_text(encoding="utf-8").splitlines()

    def check_after_a_kill(self, before: set[tuple[str, int]], n_encoded_before: int) -> None:
        """Nothing acknowledged is gone, and little that was encoded is to be encoded again."""
        after = self.acknowledged()
        n_new = len(after - before)
        n_encoded = len(self.encoded()) - n_encoded_before
        self.n_lost.append(n_encoded - n_new)
        assert n_encoded - n_new <= MOST_IN_FLIGHT, "more was lost than was in flight"
        self.check_what_is_found()

    def check_what_is_found(self) -> None:
        """A search sees each page once, and of no document a part."""
        answer = self.here("search", "comes", "-k", "50", "--mode", "text")
        if answer.code:
            assert answer.error["code"] == "unknown_collection", answer.err
            assert not self.found
            return
        hits = [(hit["source"], hit["page_number"]) for hit in answer.json[0]["hits"]]
        assert len(set(hits)) == len(hits)
        documents = self.here("list").json[0]["documents"]
        for each in documents:
            assert each["pages"] == self.expected[each["source"]], "a document is there in part"
        found = {each["source"] for each in documents}
        assert self.found <= found, "what was searchable is not any more"
        assert len(hits) == min(50, sum(self.expected[source] for source in found))
        self.found = found

    def check_complete(self) -> None:
        """The command once more, and all is as in the folder, each page once."""
        process = self.begin("ingest", self.docs)
        assert process.wait(timeout=600) == 0, self.ended(process)
        self.ended(process)
        encoded = len(self.encoded())
        again = self.begin("ingest", self.docs)
        out, err = again.communicate(timeout=600)
        assert again.returncode == 0, err
        _log.info("%d kills, pages encoded for nothing: %s", len(self.n_lost), self.n_lost)
        assert out.count('"unchanged"') >= len(self.expected)
        assert len(self.encoded()) == encoded, "what is whole was encoded again"
        self.check_editions()

    def check_editions(self) -> None:
        self.check_whole(self.expected, word_of=lambda name: self.edition[name])


@pytest.fixture
def few(tmp_path: Path) -> Iterator[Killed]:
    yield from _made(tmp_path, FEW)


@pytest.fixture
def many(tmp_path: Path) -> Iterator[Killed]:
    yield from _made(tmp_path, MANY)


def _made(folder: Path, n_documents: int) -> Iterator[Killed]:
    made = Killed(folder, n_documents)
    yield made
    for process in made.processes():
        os.kill(process, signal.SIGKILL)


def kill_at(killed: Killed, step: Step, nth: int, *command: str | Path) -> None:
    before, n_encoded = killed.acknowledged(), len(killed.encoded())
    process = killed.begin(*command, **{VARIABLE: f"{step}:{nth}"})
    err = killed.ended(process)
    assert process.returncode == -signal.SIGKILL, f"{step}:{nth} was not reached: {err}"
    killed.check_after_a_kill(before, n_encoded)
    if command[0] == "ingest" and step not in REPLACING:
        assert before <= killed.acknowledged() or step in ("published", "source_released")


def replace_some(killed: Killed, edition: str, every: int = 4) -> None:
    for number, name in enumerate(killed.expected):
        if number % every == 0:
            killed.write_edition(name, edition)


@pytest.mark.parametrize(
    "steps", [SOME_INGESTING, pytest.param(INGESTING, marks=pytest.mark.nightly)]
)
def test_an_ingest_that_is_killed_at_several_steps_in_turn_comes_to_its_end(
    few: Killed, steps: tuple[Step, ...]
) -> None:
    for step in steps:
        kill_at(few, step, 2, "ingest", few.docs)
    few.check_complete()


@pytest.mark.parametrize(
    "steps",
    [SOME_REPLACING, pytest.param(("published", *REPLACING), marks=pytest.mark.nightly)],
)
def test_new_editions_killed_at_steps_that_drop_the_old_ones(
    few: Killed, steps: tuple[Step, ...]
) -> None:
    process = few.begin("ingest", few.docs)
    few.ended(process)
    for number, step in enumerate(steps):
        replace_some(few, f"edition{number}")
        kill_at(few, step, 1, "ingest", few.docs)
    process = few.begin("rm", "003.pdf", **{VARIABLE: "document_deleted"})
    few.ended(process)
    assert process.returncode == -signal.SIGKILL
    (few.docs / "003.pdf").unlink()
    del few.expected["003.pdf"]
    few.check_complete()


@pytest.mark.nightly
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("step", [*INGESTING, *REPLACING])
def test_many_documents_killed_at_a_step(many: Killed, step: Step) -> None:
    rng = random.Random(step)
    if step in REPLACING:
        many.ended(many.begin("ingest", many.docs))
        replace_some(many, "second")
    kill_at(many, step, rng.randint(1, 20), "ingest", many.docs)
    many.check_complete()


@pytest.mark.nightly
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(-(-N_KILLS // KILLS_A_TEST)))
def test_many_documents_killed_at_any_moment(many: Killed, seed: int) -> None:
    kill_at_any_moment(many, random.Random(seed), KILLS_A_TEST)


def test_documents_killed_at_any_moment(few: Killed) -> None:
    kill_at_any_moment(few, random.Random(7), 2)


def kill_at_any_moment(killed: Killed, rng: random.Random, n_kills: int) -> None:
    n_editions = 0
    for _ in range(n_kills):
        before, n_encoded = killed.acknowledged(), len(killed.encoded())
        process = killed.begin("ingest", killed.docs)
        time.sleep(rng.uniform(0.2, 5.0))
        is_done = process.poll() is not None
        process.kill()
        killed.ended(process)
        killed.check_after_a_kill(before, n_encoded)
        if is_done:  # there is nothing left to kill: something new is written
            n_editions += 1
            replace_some(killed, f"edition{n_editions}", every=rng.randint(2, 5))
    killed.check_complete()
