"""Manifests that older programs wrote: dumps of real ones, made by the code of their time."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import inspect

from rag.errors import BackendError, IndexMismatch
from rag.manifest import DocumentState, Incoming, Manifest, PageRow, PageState, schema

DUMPS = Path(__file__).parents[1] / "older_manifests"
OLDER = range(1, schema.SCHEMA_VERSION)


def written_by(version: int, folder: Path) -> Path:
    path = folder / "manifest.sqlite3"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript((DUMPS / f"schema-{version}.sql").read_text(encoding="utf-8"))
    return path


def version_in(path: Path) -> str:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        found: tuple[str] = connection.execute(
            "SELECT value FROM about WHERE key = 'schema'"
        ).fetchone()
        return found[0]


@pytest.mark.parametrize("version", OLDER)
def test_an_older_manifest_is_brought_up_to_date_with_all_it_held(tmp_path, version):
    written_by(version, tmp_path)
    for _ in range(2):  # brought up to date, then found as it should be
        with contextlib.closing(Manifest.in_folder(tmp_path)) as opened:
            bad, good = sorted(
                opened.live_state("default").documents, key=lambda each: each.document_id
            )
            assert (bad.state, bad.error["code"]) == (DocumentState.REFUSED, "not_a_pdf")
            assert (good.source, good.state) == ("a.pdf", DocumentState.PARTIAL)
            assert (good.metadata, good.readers) == ({"year": 2024}, ("group:finance",))
            infos = opened.live_state("default").pages[good.version_id]
            assert [(info.state, info.prior) for info in infos] == [
                (PageState.INDEXED, 0.0),
                (PageState.INDEXED, 0.5),
                (PageState.FAILED, 0.0),
            ]
            assert opened.texts(good.version_id, [1])[1].text.words == ("Net", "sales")
            assert {job.state for job in opened.jobs()} >= {"done"}


@pytest.mark.parametrize("version", OLDER)
def test_what_is_brought_up_to_date_has_the_tables_of_a_new_one(tmp_path, version):
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    written_by(version, tmp_path / "old")
    shapes = []
    for name in ("old", "new"):
        with contextlib.closing(Manifest.in_folder(tmp_path / name)) as opened:
            found = inspect(opened._engine)
            shape = {}
            for table in found.get_table_names():
                columns = {each["name"]: str(each["type"]) for each in found.get_columns(table)}
                shape[table] = (columns, {each["name"] for each in found.get_indexes(table)})
            shapes.append(shape)
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("version", OLDER)
def test_a_document_is_ingested_into_what_was_brought_up_to_date(tmp_path, version):
    written_by(version, tmp_path)
    with contextlib.closing(Manifest.in_folder(tmp_path)) as opened:
        incoming = Incoming("new", "/in", "c.pdf", "c" * 64, n_pages=1)
        staged = opened.begin_version("default", incoming, ingested_by="owner")
        opened.record_pages(staged.version_id, [PageRow(1, PageState.BLANK)])
        opened.publish(staged.version_id, state=DocumentState.INDEXED, features={}, priors={})
        assert opened.document("default", "new").n_pages == 1


def test_the_manifest_as_it_was_is_kept_beside(tmp_path):
    path = written_by(3, tmp_path)
    before = path.read_bytes()
    Manifest.in_folder(tmp_path).close()
    copy = tmp_path / "backups" / "manifest-schema3.sqlite3"
    assert version_in(copy) == "3"
    with (
        contextlib.closing(sqlite3.connect(copy)) as kept,
        contextlib.closing(sqlite3.connect(":memory:")) as old,
    ):
        (tmp_path / "before.sqlite3").write_bytes(before)
        old.executescript((DUMPS / "schema-3.sql").read_text(encoding="utf-8"))
        assert list(kept.iterdump()) == list(old.iterdump())
    # Put back by hand it is opened, and brought up to date, once more.
    copy.replace(path)
    Manifest.in_folder(tmp_path).close()
    assert version_in(path) == str(schema.SCHEMA_VERSION)


def test_a_new_manifest_needs_no_copy(tmp_path):
    for _ in range(2):
        Manifest.in_folder(tmp_path).close()
    assert not (tmp_path / "backups").exists()


def test_an_upgrade_that_is_cut_short_leaves_the_old_manifest_and_is_made_up_for(
    tmp_path, monkeypatch
):
    path = written_by(2, tmp_path)
    with monkeypatch.context() as broken:
        columns = (*schema.ADDED_IN[3], ("pages", "prior"))  # the last one is there already
        broken.setitem(schema.ADDED_IN, 3, columns)
        with pytest.raises(BackendError):
            Manifest.in_folder(tmp_path)
    assert version_in(path) == "2"
    with contextlib.closing(sqlite3.connect(path)) as held:
        assert "ocr" not in {row[1] for row in held.execute("PRAGMA table_info(pages)")}
    Manifest.in_folder(tmp_path).close()
    assert version_in(path) == str(schema.SCHEMA_VERSION)


def test_where_no_copy_can_be_kept_nothing_is_changed(tmp_path):
    path = written_by(3, tmp_path)
    before = path.read_bytes()
    (tmp_path / "backups").mkdir()
    # A folder in the way of the copy: permissions would not hold for the superuser.
    (tmp_path / "backups" / ".part-manifest-schema3.sqlite3").mkdir()
    with pytest.raises(BackendError):
        Manifest.in_folder(tmp_path)
    assert version_in(path) == "3"
    assert path.read_bytes() == before


@pytest.mark.parametrize("version", [str(schema.SCHEMA_VERSION + 1), "99", "x", ""])
def test_a_manifest_of_a_newer_program_is_refused_and_left_alone(tmp_path, version):
    path = written_by(3, tmp_path)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE about SET value = ? WHERE key = 'schema'", (version,))
    before = path.read_bytes()
    with pytest.raises(IndexMismatch, match=f"schema {version}"):
        Manifest.in_folder(tmp_path)
    assert path.read_bytes() == before
    assert not (tmp_path / "backups").exists()
