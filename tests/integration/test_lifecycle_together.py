"""What one part of a document's life does to another: drops, copies, syncs and jobs that meet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import Commands
from synced_folder import Folder, opened

from rag import AsyncOctavo, Octavo
from rag.apps.service import Service
from rag.errors import IndexUnavailable, InputError, RagError
from rag.types import PageRecord, Principal
from rag.wiring import engine


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Iterator[Folder]:
    with opened(tmp_path) as folder:
        yield folder


def refusal(call: Callable[[], object]) -> RagError:
    with pytest.raises(RagError) as raised:
        call()
    return raised.value


# --- copies -------------------------------------------------------------------------------------
def test_a_copy_of_a_folder_that_was_closed_before_opens_and_is_whole(tmp_path: Path) -> None:
    with opened(tmp_path) as folder:
        folder.write("a.pdf")
        folder.ingest()
    copy = tmp_path / "copy"
    with opened(tmp_path) as folder:
        folder.found("tide")
        taken = folder.service.snapshot(path=str(copy))
    on_disk = sum(path.stat().st_blocks * 512 for path in copy.rglob("*") if path.is_file())
    assert taken["size_bytes"] <= on_disk < 60_000_000, "the holes of the index were filled"
    octavo = Commands(copy)
    verified = octavo("verify")
    assert verified["ok"], verified["damage"]
    assert verified["files_checked"]
    assert octavo("search", "tide")["hits"][0]["source"] == "a.pdf"
    assert octavo("verify")["ok"]


def test_damaged_vectors_are_not_exported_as_sound_ones(folder: Folder) -> None:
    folder.write("a.pdf")
    folder.ingest()
    index = folder.engine.page_index("default")
    (record,) = index.records(index.ids())
    vectors = dict(record.vectors)
    vectors["dense"] = -vectors["dense"]
    index.upsert([PageRecord(record.record_id, vectors, record.payload)])
    index.flush()
    archive = folder.docs / "all.tar"
    refused = refusal(lambda: folder.service.export(collection="default", path=str(archive)))
    assert refused.code == "data_damaged"
    assert "page 1 of 'a.pdf'" in refused.message
    assert not archive.exists()


# --- drops --------------------------------------------------------------------------------------
def test_a_collection_that_is_written_to_is_not_dropped(folder: Folder) -> None:
    for name in ("a.pdf", "b.pdf"):
        folder.write(name)
    codes: list[str] = []

    def drop(event: dict[str, Any]) -> None:
        if event["event"] == "document" and not codes:
            drops = refusal(lambda: folder.service.drop_collection(collection="default"))
            codes.append(drops.code)

    totals = folder.service.ingest(paths=[folder.docs], collection="default", on_event=drop)
    assert codes == ["collection_in_use"]
    assert totals["documents"] == {"indexed": 2}
    assert set(folder.service.drop_collection(collection="default")["left"].values()) == {0}


def test_a_collection_made_while_a_drop_waits_for_the_server_keeps_its_index(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write("a.pdf")
    folder.ingest()

    def is_away(*_: object) -> None:
        raise IndexUnavailable("the server does not answer", next_step="Start it.")

    with monkeypatch.context() as patched:
        patched.setattr(engine, "delete_index", is_away)
        refusal(lambda: folder.service.drop_collection(collection="default"))
        # The old index lies where the new one would.
        assert isinstance(refusal(folder.ingest), IndexUnavailable)
    assert folder.ingest() == {"a.pdf": "indexed"}
    folder.engine.remove_unused()
    assert folder.found("tide") == ["a.pdf"]
    assert folder.service.verify_records()["ok"]


def test_a_drop_cut_short_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut_short(_: object, place: Path) -> None:
        for path in sorted((place / "index").rglob("*"))[::2]:
            if path.is_file():
                path.unlink()
        raise IndexUnavailable("cut short", next_step="Again.")

    with opened(tmp_path) as folder:
        folder.write("a.pdf")
        folder.ingest()
        monkeypatch.setattr(engine, "delete_index", cut_short)
        refusal(lambda: folder.service.drop_collection(collection="default"))
    octavo = Commands(tmp_path / "data")
    assert octavo("verify")["damage"] == []
    monkeypatch.undo()
    assert octavo("collections")["collections"] == []
    assert not (tmp_path / "data" / "collections" / "default").exists()


def test_what_was_known_of_dropped_documents_is_forgotten(tmp_path: Path) -> None:
    harbour, copper = "# Harbour\nThe harbour tide", "# Copper\nThe copper valve"

    def scores(folder: Folder) -> list[tuple[str, float]]:
        found = folder.service.search(query="harbour", collection="default", top_k=5)
        return [(hit["source"], hit["score"]) for hit in found["hits"]]

    with opened(tmp_path) as folder:
        folder.write("a.pdf", harbour)
        folder.write("b.pdf", copper)
        folder.ingest()
        scores(folder)
        folder.service.drop_collection(collection="default")
        folder.write("a.pdf", copper)
        folder.write("b.pdf", harbour)
        folder.ingest()
        after = scores(folder)
    with opened(tmp_path) as folder:
        assert scores(folder) == after


# --- whoever may not see it ---------------------------------------------------------------------
def test_a_sync_tells_nobody_of_documents_that_are_not_theirs(folder: Folder) -> None:
    folder.ingest(folder.write("secret.pdf"))
    mine = folder.write("mine.pdf")
    bob = Service(folder.engine, Principal("bob"))
    folder.ingest(mine, by=bob)
    (folder.docs / "secret.pdf").unlink()

    def told(by: Service, **options: bool) -> str:
        heard: list[Any] = []
        heard.append(
            by.sync(folder=folder.docs, collection="default", on_event=heard.append, **options)
        )
        heard.append(by.rehearse_sync(folder=str(folder.docs), collection="default", **options))
        return str(heard)

    secret_id = folder.known()["secret.pdf"]
    for options in ({}, {"prune": True}):
        said = told(bob, **options)
        assert "'mine.pdf'" in said
        for foreign in ("secret.pdf", secret_id, "missing", "delete"):
            assert foreign not in said
    mine.unlink()
    (folder.docs / "empty").mkdir()
    emptied = refusal(lambda: told(bob))
    assert emptied.code == "empty_folder"
    assert "1 document is known" in emptied.message
    carl = Service(folder.engine, Principal("carl"))
    assert "known" not in refusal(lambda: told(carl)).message
    assert folder.service.sync(folder=folder.docs, collection="default", prune_all=True)[
        "documents"
    ] == {"deleted": 2}


def test_what_is_about_the_whole_folder_is_for_its_owner(folder: Folder, tmp_path: Path) -> None:
    folder.ingest(folder.write("secret.pdf"))
    bob = Service(folder.engine, Principal("bob"))
    copy = tmp_path / "copy"
    for call in (bob.verify_records, lambda: bob.snapshot(path=str(copy)), bob.run_jobs):
        refused = refusal(call)
        assert isinstance(refused, InputError)
        assert refused.code == "not_permitted"
        assert "secret" not in str(refused.as_dict())
    assert not copy.exists()


# --- from Python --------------------------------------------------------------------------------
def test_python_does_what_the_commands_do(tmp_path: Path) -> None:
    with opened(tmp_path) as folder:
        written = folder.write("a.pdf")
        folder.write("b.pdf")
    with Octavo(tmp_path / "data") as octavo:
        assert octavo.enqueue_sync(folder.docs)["state"] == "queued"
        assert [job["state"] for job in octavo.run_jobs()["jobs"]] == ["done"]
        (job,) = octavo.jobs(state="done")
        assert len(octavo.job(job["job_id"])["documents"]) == 2
        changed = octavo.change("a.pdf", metadata={"year": 2024})
        assert changed["documents"][0]["metadata"] == {"year": 2024}
        written.unlink()
        assert octavo.sync(folder.docs, prune=True)["documents"] == {"unchanged": 1, "deleted": 1}
        assert len(octavo.show("b.pdf")["versions"]) == 1
        assert octavo.verify()["ok"]
        assert octavo.export(tmp_path / "all.tar")["documents"] == 1
        octavo.drop_collection("default")
        assert octavo.import_archive(tmp_path / "all.tar")["documents"] == {"indexed": 1}
        cancelled = octavo.change_job(octavo.enqueue(folder.docs)["job_id"], "cancel")
        assert cancelled["state"] == "cancelled"
    with Octavo(tmp_path / "data") as octavo:
        asynchronous = AsyncOctavo(octavo)
        assert len(asyncio.run(asynchronous.jobs(state="done"))) == 3
        assert asyncio.run(asynchronous.show("b.pdf"))["pages"] == 1
