"""A collection made again with other settings: nothing lost, nothing changed but the vectors.

Pooling stands for another encoder here: it makes other vectors, which a collection refuses.
"""

import json
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from rag.apps.cli.app import run
from rag.apps.connection import Connection
from rag.errors import IndexMismatch, InputError
from rag.settings import load_settings
from rag.testing import make_pdf
from rag.types import Notice
from rag.wiring import Engine

OCTAVO = Path(sys.executable).with_name("octavo")
POOLED = {"pooling": {"method": "runs", "factor": 2}}
PAGES = {
    "otters.pdf": ["# Otters\nOtters hold hands while they sleep.", "A grown otter eats crab."],
    "herons.pdf": ["# Herons\nHerons stand still in shallow water and wait for fish."],
    "harbour.pdf": ["# Harbour fees\nThe harbour charges 37 euros for each night."],
}


def settings(folder: Path, **overrides):
    store = {"data_dir": folder / "data"}
    return load_settings(overrides={"store": store, "render": {"workers": 1}, **overrides})


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    for name, pages in PAGES.items():
        (tmp_path / "in" / name).write_bytes(make_pdf(pages))
    with Connection(settings(tmp_path), command="test") as octavo:
        octavo.ingest([tmp_path / "in"], metadata={"year": 2024}, readers=["group:zoo"])
    return tmp_path


def found(folder: Path, question="How much does a night in the harbour cost?", **overrides):
    with Connection(settings(folder, **overrides), command="test") as octavo:
        return octavo.search(question)


def migrate(folder: Path, *, to=POOLED, on_event=lambda _: None):
    with Connection(settings(folder), command="octavo migrate") as octavo:
        return octavo.migrate(settings(folder, **to), on_event=on_event)


def test_the_collection_answers_to_the_new_settings_and_no_more_to_the_old(folder):
    before = found(folder)
    result = migrate(folder)
    assert result["switched"]
    assert result["documents"] == {"indexed": 3}
    assert result["pages"]["indexed"] == 4
    after = found(folder, **POOLED)
    assert [hit["document_id"] for hit in after["hits"]] == [
        hit["document_id"] for hit in before["hits"]
    ]
    with pytest.raises(IndexMismatch, match=r"pooling\.method 'runs'"):
        found(folder)


def test_documents_keep_identity_metadata_readers_and_who_ingested_them(folder):
    with Connection(settings(folder), command="test") as octavo:
        before = octavo.list_documents()
    migrate(folder)
    with Connection(settings(folder, **POOLED), command="test") as octavo:
        assert octavo.list_documents() == before
        again = octavo.ingest([folder / "in"])
    assert again["documents"] == {"unchanged": 3}


def test_what_is_left_of_the_old_index_is_removed_and_a_second_migration_goes_back(folder):
    collections = folder / "data" / "collections"
    config = folder / "pooled.toml"
    config.write_text('[pooling]\nmethod = "runs"\nfactor = 2\n')
    plain = folder / "plain.toml"
    plain.write_text('[pooling]\nmethod = "none"\n')
    data = ("--data-dir", str(folder / "data"))
    assert run(["migrate", "--to-config", str(config), *data]) == 0
    # Deleted when the folder is next opened: who migrated had the old one open to the end.
    assert {path.name for path in collections.iterdir()} == {"default", "default~2"}
    assert run(["status", "--config", str(config), *data]) == 0
    assert [path.name for path in collections.iterdir()] == ["default~2"]
    assert run(["migrate", "--config", str(config), "--to-config", str(plain), *data]) == 0
    (collections / "someone-elses").mkdir()  # of no collection that is known
    assert found(folder)["hits"][0]["source"] == "harbour.pdf"
    assert {path.name for path in collections.iterdir()} == {"default~3", "someone-elses"}


def test_searches_go_on_in_the_old_index_until_the_switch(folder):
    """From another process, through the socket of the process that migrates."""
    command = [str(OCTAVO), "search", "otters", "--json", "--data-dir", str(folder / "data")]
    seen = []

    def on_event(event):
        if event["event"] == "document":
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            seen.append((done.returncode, done.stdout))

    assert migrate(folder, on_event=on_event)["switched"]
    assert [code for code, _ in seen] == [0, 0, 0]
    assert all(json.loads(out)["hits"][0]["source"] == "otters.pdf" for _, out in seen)


def test_a_migration_that_was_stopped_goes_on_where_it_stopped(folder):
    class Stop(Exception):
        pass

    def stop(event):
        if event["event"] == "document":
            raise Stop

    with pytest.raises(Stop):
        migrate(folder, on_event=stop)
    assert found(folder)["hits"][0]["source"] == "harbour.pdf"  # as it was
    result = migrate(folder)
    assert result["switched"]
    assert sum(result["documents"].values()) == 2  # one was done


def test_a_document_deleted_meanwhile_does_not_come_back(folder):
    deleted = threading.Event()
    with Connection(settings(folder), command="octavo migrate") as octavo:

        def delete_first(event):
            if event["event"] == "document" and not deleted.is_set():
                deleted.set()
                octavo.delete([event["source"]])

        assert octavo.migrate(settings(folder, **POOLED), on_event=delete_first)["switched"]
    with Connection(settings(folder, **POOLED), command="test") as octavo:
        assert len(octavo.list_documents()["documents"]) == 2


def test_a_protected_document_stops_the_switch_until_its_password_is_given(folder):
    (folder / "safe.pdf").write_bytes(make_pdf(["The safe holds gold."], password="sesame"))
    with Connection(settings(folder), command="test") as octavo:
        octavo.ingest([folder / "safe.pdf"], password="sesame")
    refused = migrate(folder)
    assert not refused["switched"]
    assert refused["documents"] == {"indexed": 3, "refused": 1}
    assert found(folder, "gold in the safe")["hits"][0]["source"] == "safe.pdf"
    with Connection(settings(folder), command="test") as octavo:
        result = octavo.migrate(settings(folder, **POOLED), password="sesame")
    assert result["switched"]
    assert found(folder, "gold in the safe", **POOLED)["hits"][0]["source"] == "safe.pdf"


def test_a_document_that_was_refused_before_is_still_listed_as_refused(folder):
    (folder / "in" / "broken.pdf").write_bytes(b"%PDF-1.7 nothing more")
    with Connection(settings(folder), command="test") as octavo:
        octavo.ingest([folder / "in"])
    assert migrate(folder)["switched"]
    with Connection(settings(folder, **POOLED), command="test") as octavo:
        states = {each["source"]: each["state"] for each in octavo.list_documents()["documents"]}
    assert states.pop("broken.pdf") in ("refused", "failed")
    assert set(states.values()) == {"indexed"}


def test_the_same_settings_are_refused_and_write_nothing(folder):
    with pytest.raises(InputError, match="made by words") as refused:
        migrate(folder, to={})
    assert refused.value.code == "same_encoder"


def test_an_unfinished_migration_can_be_abandoned(folder, capsys):
    def stop(_event):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        migrate(folder, on_event=stop)
    data = ("--data-dir", str(folder / "data"))
    assert run(["migrate", "--abandon", "--json", *data]) == 0
    assert json.loads(capsys.readouterr().out)["abandoned"] is True
    with sqlite3.connect(folder / "data" / "manifest.sqlite3") as manifest:
        assert manifest.execute("SELECT name FROM collections").fetchall() == [("default",)]
    manifest.close()
    assert [path.name for path in (folder / "data" / "collections").iterdir()] == ["default"]


def test_migrate_without_a_target_is_a_usage_error(folder, capsys):
    assert run(["migrate", "--data-dir", str(folder / "data")]) == 2
    assert "--to-encoder" in capsys.readouterr().err


def test_a_search_in_flight_at_the_switch_ends_as_it_began(folder):
    """Threads search without pause; each answer is the old collection's or the clear refusal."""
    with Connection(settings(folder), command="octavo migrate") as octavo:
        octavo.open()
        outcomes, stop = [], threading.Event()

        def search():
            while not stop.is_set():
                try:
                    outcomes.append(octavo.search("herons")["hits"][0]["source"])
                except IndexMismatch:
                    outcomes.append("refused")
                    return

        threads = [threading.Thread(target=search) for _ in range(2)]
        for thread in threads:
            thread.start()
        assert octavo.migrate(settings(folder, **POOLED))["switched"]
        deadline = time.monotonic() + 20
        while any(thread.is_alive() for thread in threads) and time.monotonic() < deadline:
            time.sleep(0.05)
        stop.set()
        for thread in threads:
            thread.join()
    assert set(outcomes) == {"herons.pdf", "refused"}


def test_what_the_new_encoder_has_to_tell_is_told(folder, monkeypatch):
    told = [Notice("places_unknown", "Some pages have no boxes.")]
    monkeypatch.setattr(Engine, "take_encoder_notices", lambda _engine: told)
    assert migrate(folder)["warnings"] == [told[0].as_dict()]
