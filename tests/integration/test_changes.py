"""Metadata and readers changed in place: safe at every moment, and nothing is read again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from commands import Commands
from synced_folder import Folder, opened

from ingestion import filling
from ingestion.render import PageBatch
from rag.errors import InputError, NotFound
from rag.filters import Condition, Filter
from rag.renderers.isolated import PageFailure
from rag.types import Principal

ANN, BOB = Principal("ann"), Principal("bob")
TWO = {"year": 2024}


@pytest.fixture(name="folder")
def _folder(tmp_path):
    with opened(tmp_path) as folder:
        yield folder


@contextmanager
def somebody_writing(folder: Folder) -> Iterator[None]:
    """Nobody can finish a change meanwhile: another thread writes."""
    taken, done = threading.Event(), threading.Event()

    def hold() -> None:
        with folder.engine.repository._write_lock:
            taken.set()
            done.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    taken.wait(60)
    try:
        yield
    finally:
        done.set()
        thread.join()


def payloads(folder: Folder) -> list[dict]:
    index = folder.engine._index("default")
    return list(index.payloads(index.ids()).values())


def set_(folder: Folder, *names: str, **changes):
    told = folder.service.change_documents(documents=names, collection="default", **changes)
    return [document["state"] for document in told["documents"]]


def test_what_a_document_says_changes_without_a_new_version(folder: Folder):
    folder.write("a.pdf", "# Otters\nOtters hold hands.", "Otters sleep.")
    folder.write("b.pdf", "# Herons\nHerons stand still.")
    folder.ingest(metadata=TWO | {"draft": True}, readers=["user:ann"])
    before, steps = folder.versions(), folder.rows("select version_id, created_at from versions")
    assert set_(folder, "a.pdf", metadata={"year": 2025}, remove_metadata=["draft"]) == ["changed"]
    assert set_(folder, "a.pdf", metadata={"year": 2025}) == ["unchanged"]
    assert set_(folder, "a.pdf", "b.pdf", readers=["user:ann", "user:bob"]) == ["changed"] * 2
    assert folder.found("otters", filters={"year": 2025}) == ["a.pdf", "a.pdf"]
    assert folder.found("otters", filters={"draft": True}) == ["b.pdf"]
    assert folder.found("herons", by=BOB)[0] == "b.pdf"

    # An ingest that says something else does the same, and says what it did.
    told = folder.ingest(folder.docs / "b.pdf", metadata={"year": 1999}, readers=["*"])
    assert told == {"b.pdf": "changed"}
    assert folder.ingest(folder.docs / "b.pdf", metadata={"year": 1999}) == {"b.pdf": "unchanged"}
    assert folder.found("herons", by=Principal("zoe"), filters={"year": 1999}) == ["b.pdf"]
    assert folder.versions() == before
    assert folder.rows("select version_id, created_at from versions") == steps
    assert folder.rows("select * from unstamped") == []
    assert {p["source"]: (p["metadata"], p["readers"]) for p in payloads(folder)} == {
        "a.pdf": ({"year": 2025}, ["user:ann", "user:bob"]),
        "b.pdf": ({"year": 1999}, ["*"]),
    }


def test_what_makes_no_sense_or_is_not_allowed_changes_nothing(folder: Folder):
    folder.write("a.pdf")
    folder.ingest(readers=["user:ann", "user:bob"])
    for changes, code in (
        ({}, "nothing_to_change"),
        ({"readers": ["ann"]}, "bad_input"),
        ({"readers": ["user:ann\x1b[31m"]}, "bad_input"),
        ({"metadata": {"share": float("inf")}}, "bad_metadata"),
        ({"metadata": {"name": "\ud800"}}, "bad_metadata"),
        ({"metadata": TWO, "remove_metadata": ["year"]}, "bad_input"),
    ):
        with pytest.raises(InputError) as error:
            set_(folder, "a.pdf", **changes)
        assert error.value.code == code
    with pytest.raises(NotFound):
        set_(folder, "a.pdf", "missing.pdf", metadata=TWO)
    folder.service = type(folder.service)(folder.engine, BOB)
    with pytest.raises(InputError) as error:
        set_(folder, "a.pdf", readers=["*"])
    assert error.value.code == "not_permitted"
    assert folder.rows("select metadata, readers from documents") == [
        ("{}", '["user:ann", "user:bob"]')
    ]


@pytest.mark.parametrize(
    "step",
    [
        "change_noted",
        pytest.param("payload_changed", marks=pytest.mark.nightly),
        pytest.param("change_done", marks=pytest.mark.nightly),
    ],
)
def test_a_reader_who_was_taken_off_finds_nothing_wherever_the_change_was_killed(
    tmp_path: Path, step: str
):
    with opened(tmp_path) as folder:
        folder.write("a.pdf", "# Otters\nOtters hold hands.")
        folder.write("b.pdf", "# Gulls\nGulls hold no hands.")
        folder.ingest(readers=["user:ann"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OCTAVO_FAILPOINT", step)
        octavo = Commands(tmp_path / "data")
        with octavo.started("set", "a.pdf", "--readers", "user:bob") as running:
            running.communicate(timeout=100)
        assert running.returncode == -9
    with opened(tmp_path) as folder:
        stale = [p for p in payloads(folder) if p["readers"] == ["user:ann"]]
        assert len(stale) == (2 if step == "change_noted" else 1)
        with somebody_writing(folder):
            assert folder.found("otters hold hands", by=ANN) == ["b.pdf"]
            assert folder.found("otters hold hands", by=BOB) == ["a.pdf"]
            ann = folder.engine.repository.reader(ANN, "default")
            every = Filter(must=(Condition("page_number", "$gte", 1),))
            assert ann.n_pages(every) == len(ann.ids(every)) == len(ann.packed(every).among) == 1
            assert [document.source for document in ann.documents()] == ["b.pdf"]
        # The next search finishes what nobody else is about to.
        assert folder.found("otters hold hands", by=ANN) == ["b.pdf"]
        assert folder.rows("select * from unstamped") == []
        assert {p["source"]: p["readers"] for p in payloads(folder)} == {
            "a.pdf": ["user:bob"],
            "b.pdf": ["user:ann"],
        }


def test_a_change_that_was_cut_short_is_finished_by_the_next_write(folder: Folder, monkeypatch):
    folder.write("a.pdf", "# Otters\nOtters hold hands.")
    folder.ingest(metadata=TWO)
    writer = folder.engine.writer(folder.service._principal, "default")
    monkeypatch.setattr(type(writer), "finish_changes", lambda _: None)
    assert set_(folder, "a.pdf", metadata={"year": 2025}) == ["changed"]
    assert [p["metadata"] for p in payloads(folder)] == [TWO]
    monkeypatch.undo()
    folder.write("b.pdf")
    folder.ingest()
    assert {p["source"]: p["metadata"] for p in payloads(folder)} == {
        "a.pdf": {"year": 2025},
        "b.pdf": {},
    }


def test_readers_taken_off_while_a_new_version_comes_are_off_it_too(folder: Folder, monkeypatch):
    folder.write("a.pdf", "# Otters\nOtters hold hands.")
    folder.ingest(readers=["user:ann"])
    folder.write("a.pdf", "# Otters\nOtters hold their paws.")
    writer = folder.engine.writer(folder.service._principal, "default")
    publish = type(writer).publish
    seen = []

    def publish_later(self, version, **options):
        set_(folder, "a.pdf", readers=["user:bob"])
        publish(self, version, **options)
        seen.append(folder.rows("select count(*) from unstamped"))

    monkeypatch.setattr(type(writer), "publish", publish_later)
    assert folder.ingest() == {"a.pdf": "replaced"}
    assert seen == [[(0,)]]
    assert [p["readers"] for p in payloads(folder)] == [["user:bob"]]
    assert folder.found("paws", by=BOB) == ["a.pdf"]
    with pytest.raises(NotFound):
        folder.found("paws", by=ANN)


def test_failed_pages_are_read_again_when_asked_for(folder: Folder, monkeypatch):
    read_pages = filling.read_pages

    def without_the_second(*arguments, **options):
        for batch in read_pages(*arguments, **options):
            kept = [page for page in batch.read if page.page_number != 2]
            yield PageBatch(kept, [*batch.failures, PageFailure(2, "render_timeout", "slow")])

    monkeypatch.setattr(filling, "read_pages", without_the_second)
    folder.write("a.pdf", "# Otters\nOtters hold hands.", "Otters sleep.")
    assert folder.ingest() == {"a.pdf": "partial"}
    monkeypatch.undo()
    assert folder.ingest() == {"a.pdf": "unchanged"}
    assert [page["page_number"] for page in folder.events[0]["failed_pages"]] == [2]
    assert folder.sync(retry_failed=True) == {"a.pdf": "replaced"}
    assert folder.events[0]["failed_pages"] == []
    assert folder.events[0]["reused_pages"] == 1
    assert folder.sync(retry_failed=True) == {"a.pdf": "unchanged"}
