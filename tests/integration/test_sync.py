"""A collection kept equal to a folder: what comes, what goes, and what must not go by mistake."""

from __future__ import annotations

import json
import os
import shutil
import threading
from pathlib import Path

import pytest
from commands import Commands
from synced_folder import Folder, opened

from rag.apps.connection import connect
from rag.errors import InputError
from rag.settings import load_settings

NOTHING_LEFT = {
    *("documents", "versions", "past_versions", "pages", "texts", "unstamped", "jobs"),
    *("records", "packed", "sources", "images", "ocr_words"),
}


@pytest.fixture(name="folder")
def _folder(tmp_path):
    with opened(tmp_path) as folder:
        yield folder


def test_what_is_new_changed_and_gone_is_told_and_what_is_gone_goes_when_asked(
    folder: Folder, tmp_path: Path
):
    for name in ("kept.pdf", "changed.pdf", "gone.pdf", "sub/gone.pdf"):
        folder.write(name, f"# {name}\nThe tide of {name} comes and goes.")
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(folder.write("other.pdf", "# Elsewhere\nGulls."), other / "other.pdf")
    (folder.docs / "other.pdf").unlink()
    folder.ingest(other)
    # By name, so its root is not the folder that is synced; its file is in it all the same.
    folder.ingest(folder.docs / "sub" / "gone.pdf")
    assert set(folder.sync().values()) == {"indexed", "unchanged"}

    folder.write("changed.pdf", "# Changed\nHerons stand still.")
    folder.write("new.pdf", "# New\nBadgers dig.")
    (folder.docs / "gone.pdf").unlink()
    (folder.docs / "sub" / "gone.pdf").unlink()
    (other / "other.pdf").unlink()
    expected = {"kept.pdf": "unchanged", "changed.pdf": "replaced", "new.pdf": "indexed"}
    told = folder.service.rehearse_sync(folder=str(folder.docs), collection="default", prune=True)
    assert {event["source"]: event["state"] for event in told["documents"]} == {
        **{"kept.pdf": "unchanged", "changed.pdf": "would_replace", "new.pdf": "would_ingest"},
        **{"gone.pdf": "would_delete"},
    }
    assert {event["source"]: event["pages"] for event in told["documents"]} == {
        "kept.pdf": 1,
        "changed.pdf": 0,
        "new.pdf": 0,
        "gone.pdf": 1,
    }
    assert told["totals"]["documents"]["would_delete"] == 2
    assert folder.sync() == {**expected, "gone.pdf": "missing"}
    assert folder.totals["documents"] == {
        **{"unchanged": 1, "replaced": 1, "indexed": 1},
        "missing": 2,
    }
    assert "left" not in folder.totals
    assert len(folder.known()) >= 4
    assert len(folder.service.list_documents(collection="default")["documents"]) == 6

    folder.sync(prune=True)
    assert folder.totals["documents"] == {"unchanged": 3, "deleted": 2}
    assert folder.totals["left"] == dict.fromkeys(NOTHING_LEFT, 0)
    assert folder.totals["pages"]["indexed"] == 0
    assert set(folder.known()) == {"kept.pdf", "changed.pdf", "new.pdf", "other.pdf"}
    assert "gone.pdf" not in folder.found("tide")


def test_a_folder_without_files_takes_nothing_with_it_unless_told_so(folder: Folder):
    folder.write("a.pdf")
    folder.write("b.pdf")
    folder.sync()
    moved_away = folder.docs.with_name("away")
    folder.docs.rename(moved_away)
    for code in ("no_such_path", "empty_folder", "empty_folder"):
        with pytest.raises(InputError) as error:
            folder.sync(prune=True)
        assert error.value.code == code
        assert error.value.next_step
        if folder.docs.exists():  # the second time with a file that is no document of ours
            (folder.docs / "letter.docx").write_bytes(b"PK")
        folder.docs.mkdir(exist_ok=True)
    assert len(folder.known()) == 2
    with pytest.raises(InputError) as error:
        folder.sync(moved_away / "a.pdf", prune=True)
    assert error.value.code == "not_a_folder"
    assert folder.sync(prune_all=True) == {
        **{"letter.docx": "refused", "a.pdf": "deleted", "b.pdf": "deleted"}
    }
    (folder.docs / "letter.docx").unlink()
    assert folder.sync(prune_all=True) == {"letter.docx": "deleted"}
    with pytest.raises(InputError) as error:
        folder.sync(prune_all=True)
    assert error.value.code == "empty_folder"


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unreadable for root")
def test_a_folder_that_cannot_be_read_takes_nothing_with_it(folder: Folder):
    folder.write("a.pdf")
    folder.write("sub/b.pdf")
    folder.sync()
    for closed in (folder.docs / "sub", folder.docs):
        closed.chmod(0)
        try:
            if closed == folder.docs:
                with pytest.raises(InputError) as error:
                    folder.sync(prune_all=True)
                assert error.value.code == "unreadable"
            else:
                assert folder.sync(prune=True)["a.pdf"] == "unchanged"
        finally:
            closed.chmod(0o700)
        assert {"a.pdf", "sub/b.pdf"} <= set(folder.known())


def test_a_file_that_is_refused_now_keeps_what_was_read_of_it(folder: Folder):
    folder.write("a.pdf", "# Otters\nOtters hold hands.")
    folder.write("b.pdf")
    folder.sync()
    content = (folder.docs / "a.pdf").read_bytes()
    (folder.docs / "a.pdf").write_bytes(b"half of a copy")
    os.mkfifo(folder.docs / "pipe.pdf")
    (folder.docs / "out.pdf").symlink_to("/etc/hostname")
    assert folder.sync(prune=True) == {
        **{"a.pdf": "refused", "b.pdf": "unchanged", "pipe.pdf": "refused", "out.pdf": "refused"}
    }
    assert folder.found("otters")[0] == "a.pdf"
    (folder.docs / "a.pdf").write_bytes(content)
    assert folder.sync(metadata={"year": 2025})["a.pdf"] == "changed"
    states = {
        document["source"]: document["state"]
        for document in folder.service.list_documents(collection="default")["documents"]
    }
    assert states["a.pdf"] == "indexed"


def test_searches_see_one_version_or_the_other_while_a_document_is_replaced(folder: Folder):
    folder.write("a.pdf", "# Otters\nOtters old hold hands.")
    folder.sync()
    seen, stop = [], threading.Event()

    def search() -> None:
        while not stop.is_set():
            hits = folder.service.search(query="otters", collection="default", top_k=5)["hits"]
            seen.append([hit["snippet"] for hit in hits])

    searching = threading.Thread(target=search)
    searching.start()
    try:
        for number in range(4):
            folder.write("a.pdf", f"# Otters\nOtters number {number} hold hands.")
            assert folder.sync() == {"a.pdf": "replaced"}
    finally:
        stop.set()
        searching.join()
    assert len(seen) > 4
    assert {len(snippets) for snippets in seen} == {1}
    assert len({snippets[0] for snippets in seen}) > 1


def test_a_sync_that_was_killed_while_it_deleted_ends_its_work_the_next_time(tmp_path: Path):
    with opened(tmp_path) as folder:
        for name in ("a.pdf", "b.pdf", "kept.pdf"):
            folder.write(name)
        folder.sync()
        for name in ("a.pdf", "b.pdf"):
            (folder.docs / name).unlink()
    octavo = Commands(tmp_path / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OCTAVO_FAILPOINT", "records_deleted")
        with octavo.started("sync", str(tmp_path / "docs"), "--prune") as running:
            running.communicate(timeout=100)
        assert running.returncode == -9
    code, printed = octavo.outcome("sync", str(tmp_path / "docs"), "--prune")
    assert code == 0, printed
    totals = json.loads(printed.splitlines()[-1])
    assert totals["documents"] == {"unchanged": 1, "deleted": 1}
    assert set(totals["left"].values()) == {0}
    with opened(tmp_path) as folder:
        assert list(folder.known()) == ["kept.pdf"]
        assert folder.rows("select count(*) from versions") == [(1,)]
        assert folder.engine._index("default").count() == 1

    # Somebody else is at work in the folder: refused, as an ingest is.
    settings = load_settings(overrides={"store": {"data_dir": tmp_path / "data"}})
    with connect(settings, command="octavo serve") as held:
        held.open()
        with octavo.started("sync", str(tmp_path / "docs"), "--prune") as running:
            _, errors = running.communicate(timeout=100)
        assert running.returncode == 1
        assert json.loads(errors)["error"]["code"] == "data_folder_busy"
        # What it would do can be asked of whoever is.
        told = octavo.process("sync", str(tmp_path / "docs"), "--prune", "--dry-run")
    assert told["documents"] == {"unchanged": 1}


def test_a_rehearsal_makes_no_data_folder(tmp_path: Path):
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "a.pdf").write_bytes(b"%PDF-1.4")
    told = Commands(tmp_path / "data")("sync", str(docs), "--dry-run")
    assert told["documents"] == {"would_ingest": 1}
    assert not (tmp_path / "data").exists()
