"""The manifest's version protocol, and what it refuses."""

import dataclasses
import sqlite3
import threading

import numpy as np
import pytest

from rag.errors import BackendError, ConfigError, IndexMismatch, InputError
from rag.manifest import (
    DocumentState,
    Incoming,
    Manifest,
    PageRow,
    PageState,
    StagedVersion,
    Unchanged,
    page_record_id,
)
from rag.page_text import PageText, VectorWords
from rag.types import VectorKind
from rag.vector_boxes import VectorBoxes

TEXT = PageText(
    ("Net", "sales"),
    np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.float32),
    np.array([0, 0], np.int32),
    np.array([10, 10], np.float32),
    np.array([True, False]),
)
INCOMING = Incoming("doc", "/in", "a.pdf", "a" * 64, n_pages=3)


@pytest.fixture
def manifest(tmp_path):
    opened = Manifest.in_folder(tmp_path)
    opened.ensure_collection("default", {"encoder": "words@1", "dim": 384})
    yield opened
    opened.close()


def page_row(version: StagedVersion, number: int, state=PageState.INDEXED) -> PageRow:
    return PageRow(
        number,
        state,
        612.0,
        792.0,
        content_hash=f"hash {number}",
        reason="render_timeout" if state is PageState.FAILED else "",
        record_id=page_record_id(version.version_id, number)
        if state is PageState.INDEXED
        else None,
        text=TEXT,
        vector_words=VectorWords(np.array([0, 1, 1], np.int32)),
    )


def begin(manifest: Manifest, incoming: Incoming = INCOMING, *, by="owner") -> StagedVersion:
    return manifest.begin_version("default", incoming, ingested_by=by)


def publish(manifest: Manifest, version: StagedVersion, **changes) -> None:
    numbers = range(1, version.n_pages + 1)
    manifest.record_pages(version.version_id, [page_row(version, n) for n in numbers])
    arguments = {"state": DocumentState.INDEXED, "features": {}, "priors": {}} | changes
    manifest.publish(version.version_id, **arguments)


# --- collections --------------------------------------------------------------------------------
def test_another_identity_is_refused_by_name_and_changes_nothing(manifest):
    with pytest.raises(IndexMismatch) as caught:
        manifest.ensure_collection("default", {"encoder": "words@2", "dim": 384})
    assert "words@1" in caught.value.message
    assert "words@2" in caught.value.message
    assert "dim" not in caught.value.message
    assert caught.value.next_step
    assert manifest.identity("default") == {"encoder": "words@1", "dim": 384}
    manifest.ensure_collection("default", {"encoder": "words@1", "dim": 384})


@pytest.mark.parametrize("name", ["", "a b", "../up", "a" * 65, "ä", "a\n"])
def test_a_collection_name_is_checked(manifest, name):
    with pytest.raises(InputError, match="collection name"):
        manifest.ensure_collection(name, {})
    assert manifest.collections() == ["default"]


def test_what_was_written_is_there_after_reopening(manifest, tmp_path):
    publish(manifest, begin(manifest))
    manifest.close()
    again = Manifest.in_folder(tmp_path)
    assert again.document("default", "doc").n_pages == 3
    again.close()


# --- versions -----------------------------------------------------------------------------------
def test_a_staging_version_is_invisible_until_it_is_published(manifest):
    version = begin(manifest)
    assert manifest.visibility("default") == (0, [version.version_id])
    assert manifest.live_state("default").documents == ()
    publish(manifest, version)
    assert manifest.visibility("default") == (1, [])
    (document,) = manifest.live_state("default").documents
    assert (document.version_id, document.state) == (version.version_id, DocumentState.INDEXED)


def test_what_pages_hold_comes_back_as_it_went_in(manifest):
    version = begin(manifest)
    publish(manifest, version, features={"title": "Sales"}, priors={2: 0.5})
    state = manifest.live_state("default")
    infos = state.pages[version.version_id]
    assert [(i.page_number, i.prior, i.content_hash) for i in infos] == [
        (1, 0.0, "hash 1"),
        (2, 0.5, "hash 2"),
        (3, 0.0, "hash 3"),
    ]
    assert state.features == {version.version_id: {"title": "Sales"}}
    row = manifest.texts(version.version_id, [2, 99])[2]
    assert row.text.words == TEXT.words
    np.testing.assert_array_equal(row.text.boxes, TEXT.boxes)
    np.testing.assert_array_equal(row.vector_words.words, [0, 1, 1])


def test_pages_the_caller_has_are_not_read_again(manifest):
    version = begin(manifest)
    publish(manifest, version)
    state = manifest.live_state("default", have={version.version_id})
    assert len(state.documents) == 1
    assert state.pages == {}


def test_an_interrupted_version_goes_on_where_it_stopped(manifest):
    first = begin(manifest)
    manifest.record_pages(first.version_id, [page_row(first, 1), page_row(first, 3)])
    again = begin(manifest)
    assert again.version_id == first.version_id
    assert again.is_resumed
    assert again.recorded == {1, 3}


@pytest.mark.parametrize(
    "change",
    [
        {"sha256": "b" * 64},
        {"metadata": {"year": 2024}},
        {"readers": ("*",)},
        {"source": "moved/a.pdf"},
    ],
)
def test_anything_else_than_the_same_file_starts_over(manifest, change):
    first = begin(manifest)
    manifest.record_pages(first.version_id, [page_row(first, 1)])
    second = begin(manifest, dataclasses.replace(INCOMING, **change))
    assert second.version_id != first.version_id
    assert second.recorded == frozenset()
    assert manifest.retired("default") == [first.version_id]


def test_somebody_elses_staging_is_not_gone_on_with(manifest):
    first = begin(manifest, dataclasses.replace(INCOMING, readers=("*",)), by="ann")
    second = begin(manifest, dataclasses.replace(INCOMING, readers=("*",)), by="bob")
    assert second.version_id != first.version_id


def test_the_same_file_again_is_unchanged_even_before_it_is_opened(manifest):
    version = begin(manifest)
    publish(manifest, version)
    unopened = dataclasses.replace(INCOMING, n_pages=0)
    assert manifest.find_unchanged("default", unopened, ingested_by="owner") == Unchanged(
        "doc", version.version_id
    )
    assert manifest.visibility("default") == (1, [])


@pytest.mark.parametrize("change", [{"readers": ("*",)}, {"metadata": {"year": 1}}])
def test_new_readers_or_metadata_make_a_new_version(manifest, change):
    publish(manifest, begin(manifest))
    changed = dataclasses.replace(INCOMING, **change)
    assert manifest.find_unchanged("default", changed, ingested_by="owner") is None
    publish(manifest, begin(manifest, changed))
    document = manifest.document("default", "doc")
    assert (document.readers, document.metadata) == (
        change.get("readers", ("user:owner",)),
        change.get("metadata", {}),
    )


def test_until_it_is_published_a_document_keeps_its_old_readers(manifest):
    publish(manifest, begin(manifest))
    begin(manifest, dataclasses.replace(INCOMING, readers=("*",)))
    assert manifest.document("default", "doc").readers == ("user:owner",)


def test_readers_and_metadata_left_out_stay_as_they_were(manifest):
    publish(
        manifest,
        begin(manifest, dataclasses.replace(INCOMING, readers=("group:x",), metadata={"y": 1})),
    )
    replacing = begin(manifest, dataclasses.replace(INCOMING, sha256="b" * 64))
    assert (replacing.readers, replacing.metadata) == (("group:x",), {"y": 1})


def test_publishing_replaces_the_version_before_at_once(manifest):
    first = begin(manifest)
    publish(manifest, first)
    second = begin(manifest, dataclasses.replace(INCOMING, sha256="b" * 64))
    assert second.replaces == first.version_id
    publish(manifest, second)
    assert manifest.visibility("default") == (2, [first.version_id])
    assert manifest.document("default", "doc").version_id == second.version_id
    manifest.forget_version(first.version_id)
    left = {"documents": 1, "versions": 1, "pages": 3, "past_versions": 2}
    assert manifest.left_of("default", "doc") == left


def test_a_version_with_a_page_unaccounted_for_is_not_published(manifest):
    version = begin(manifest)
    manifest.record_pages(version.version_id, [page_row(version, 1), page_row(version, 3)])
    with pytest.raises(BackendError) as caught:
        manifest.publish(version.version_id, state=DocumentState.INDEXED, features={}, priors={})
    assert caught.value.code == "incomplete_version"
    assert "page 2" in caught.value.message
    assert manifest.document("default", "doc") is None


def test_publishing_twice_and_adding_pages_after_it_change_nothing(manifest):
    version = begin(manifest)
    publish(manifest, version)
    publish(manifest, version)
    assert not manifest.takes_pages(version.version_id)
    assert manifest.visibility("default") == (1, [])


def test_an_overtaken_version_takes_no_pages_and_is_not_published(manifest):
    first = begin(manifest)
    begin(manifest, dataclasses.replace(INCOMING, sha256="b" * 64))
    for call in (
        lambda: manifest.takes_pages(first.version_id),
        lambda: manifest.record_pages(first.version_id, [page_row(first, 1)]),
        lambda: publish(manifest, first),
    ):
        with pytest.raises(BackendError) as caught:
            call()
        assert caught.value.code == "version_superseded"


@pytest.mark.parametrize("numbers", [[0], [4], [1, 1]])
def test_a_page_outside_the_file_or_twice_is_refused(manifest, numbers):
    version = begin(manifest)
    with pytest.raises(InputError, match="outside"):
        manifest.record_pages(version.version_id, [page_row(version, n) for n in numbers])


def test_a_live_version_cannot_be_forgotten(manifest):
    version = begin(manifest)
    publish(manifest, version)
    manifest.forget_version(version.version_id)
    assert manifest.left_of("default", "doc")["pages"] == 3


# --- failures and deletion ----------------------------------------------------------------------
ERROR = {"code": "password_required", "message": "locked", "next_step": "Unlock it."}


def test_a_refused_file_is_listed_without_a_version(manifest):
    manifest.record_failure(
        "default", INCOMING, state=DocumentState.REFUSED, error=ERROR, ingested_by="ann"
    )
    document = manifest.document("default", "doc")
    assert (document.state, document.error, document.version_id) == (
        DocumentState.REFUSED,
        ERROR,
        None,
    )
    assert (document.n_pages, document.readers) == (0, ("user:ann",))


def test_a_good_document_that_fails_later_stays_live_until_it_is_good_again(manifest):
    version = begin(manifest)
    publish(manifest, version, state=DocumentState.PARTIAL)
    other = dataclasses.replace(INCOMING, sha256="b" * 64)
    staged = begin(manifest, other)
    manifest.record_failure(
        "default", other, state=DocumentState.FAILED, error=ERROR, ingested_by="owner"
    )
    document = manifest.document("default", "doc")
    assert (document.state, document.version_id) == (DocumentState.FAILED, version.version_id)
    assert manifest.retired("default") == [staged.version_id]
    assert manifest.find_unchanged("default", INCOMING, ingested_by="owner")
    document = manifest.document("default", "doc")
    assert (document.state, document.error) == (DocumentState.PARTIAL, None)
    assert manifest.visibility("default")[0] == 3


def test_a_deleted_document_leaves_nothing_once_it_is_swept(manifest):
    version = begin(manifest)
    publish(manifest, version)
    manifest.delete_document("default", "doc")
    assert manifest.document("default", "doc") is None
    assert manifest.visibility("default") == (2, [version.version_id])
    manifest.forget_version(version.version_id)
    assert set(manifest.left_of("default", "doc").values()) == {0}
    assert manifest.texts(version.version_id, [1, 2, 3]) == {}
    assert manifest.used_bytes() == set()


def test_documents_of_two_collections_do_not_meet(manifest):
    manifest.ensure_collection("other", {})
    publish(manifest, begin(manifest))
    publish(manifest, manifest.begin_version("other", INCOMING, ingested_by="owner"))
    manifest.delete_document("other", "doc")
    assert manifest.document("default", "doc") is not None
    assert manifest.is_used(INCOMING.sha256)


# --- the database -------------------------------------------------------------------------------
def test_commits_survive_power_loss_and_references_hold(manifest):
    with manifest._reading() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_many_threads_write_without_losing_anything(manifest):
    def ingest(number: int) -> None:
        incoming = dataclasses.replace(INCOMING, document_id=f"doc{number}", sha256=str(number))
        publish(manifest, begin(manifest, incoming))

    threads = [threading.Thread(target=ingest, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(manifest.live_state("default").documents) == 12
    assert manifest.visibility("default") == (12, [])


def test_tables_of_another_schema_are_refused(tmp_path):
    Manifest.in_folder(tmp_path).close()
    with sqlite3.connect(tmp_path / "manifest.sqlite3") as connection:
        connection.execute("UPDATE about SET value = '99'")
    connection.close()
    with pytest.raises(IndexMismatch, match="schema 99"):
        Manifest.in_folder(tmp_path)


def test_a_damaged_file_is_named_as_such(tmp_path):
    (tmp_path / "manifest.sqlite3").write_bytes(b"not a database at all" * 100)
    with pytest.raises(BackendError) as caught:
        Manifest.in_folder(tmp_path)
    assert caught.value.code == "manifest_damaged"


def test_a_url_without_a_driver_is_a_matter_of_settings():
    with pytest.raises(ConfigError):
        Manifest("nosuch://host/name")


def test_jobs_say_what_became_of_them(manifest):
    job_id = manifest.start_job("ingest", subject="ann")
    manifest.finish_job(job_id, state="done", totals={"pages": 3})
    (job,) = manifest.jobs()
    assert (job.kind, job.subject, job.state, job.totals) == ("ingest", "ann", "done", {"pages": 3})
    assert job.finished_at >= job.started_at


# --- names --------------------------------------------------------------------------------------
def test_a_record_id_is_the_same_every_time_and_another_for_every_page():
    ids = {page_record_id(version, page) for version in ("v1", "v2") for page in (1, 2, 11)}
    assert len(ids) == 6
    assert page_record_id("v1", 1) in ids


def test_boxes_of_vectors_come_back_as_they_were_stored(manifest):
    version = begin(manifest)
    boxes = VectorBoxes(
        np.array([[0, 0, 0, 0], [0, 0, 50, 50], [50, 0, 100, 50]], np.float32),
        np.array([VectorKind.SPECIAL, VectorKind.PATCH, VectorKind.PATCH], np.uint8),
        np.array([0, 1, 1], np.int32),
    )
    row = dataclasses.replace(page_row(version, 1), vector_words=None, vector_boxes=boxes)
    manifest.record_pages(version.version_id, [row])
    found = manifest.texts(version.version_id, [1])[1]
    assert found.vector_words is None
    np.testing.assert_array_equal(found.vector_boxes.boxes, boxes.boxes)
    np.testing.assert_array_equal(found.vector_boxes.kinds, boxes.kinds)
    np.testing.assert_array_equal(found.vector_boxes.rows, boxes.rows)


def test_hidden_words_the_ocr_engine_and_the_caption_of_a_page_are_kept(manifest):
    version = begin(manifest)
    caption = {"title": "Größe"}
    row = dataclasses.replace(
        page_row(version, 1), hidden=TEXT, ocr="tesseract 5.5.0 eng", caption=caption
    )
    manifest.record_pages(version.version_id, [row, page_row(version, 2), page_row(version, 3)])
    manifest.publish(version.version_id, state=DocumentState.INDEXED, features={}, priors={})
    first, second, _ = manifest.live_state("default").pages[version.version_id]
    assert (first.ocr, first.n_hidden_words) == ("tesseract 5.5.0 eng", len(TEXT))
    assert (second.ocr, second.n_hidden_words) == (None, None)
    texts = manifest.texts(version.version_id, [1, 2])
    assert (texts[1].hidden.words, texts[1].caption) == (TEXT.words, caption)
    assert (texts[2].hidden.words, texts[2].caption) == ((), None)


def test_captions_are_found_by_document_and_content_alone(manifest):
    version = begin(manifest)
    row = dataclasses.replace(page_row(version, 1), content_hash="seen", caption={"title": "a"})
    manifest.record_pages(version.version_id, [row, page_row(version, 2)])
    assert manifest.captions("doc", {"seen", "other"}) == {"seen": [{"title": "a"}]}
    assert manifest.captions("doc", set()) == {}
    assert manifest.captions("another", {"seen"}) == {}
    assert manifest.captions("doc", {row.content_hash + "x"}) == {}


def test_two_encoders_are_told_apart_by_name_and_the_way_out_is_said(manifest):
    manifest.ensure_collection("seen", {"encoder": "colpali@1", "encoder.model": "m", "dim": 1})
    with pytest.raises(IndexMismatch) as refused:
        manifest.ensure_collection("seen", {"encoder": "words@2", "encoder.window": 9, "dim": 2})
    assert refused.value.message == (
        "collection 'seen' holds dim 1; encoder 'colpali@1'; encoder.model 'm', "
        "but the settings ask for dim 2; encoder 'words@2'"
    )
    assert "octavo migrate" in refused.value.next_step


def test_what_another_version_made_is_not_sent_to_settings_or_to_migrate(manifest):
    manifest.ensure_collection("seen", {"encoder": "words@1", "schema": 1})
    with pytest.raises(IndexMismatch, match="schema 1") as refused:
        manifest.ensure_collection("seen", {"encoder": "words@1", "schema": 2})
    assert "--encoder" not in refused.value.next_step
    assert "octavo migrate" not in refused.value.next_step
    assert "--data-dir" in refused.value.next_step
