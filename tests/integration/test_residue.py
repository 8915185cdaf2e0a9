"""After `rm` nothing of a document is left, in the counts and in the bytes of the files."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from synced_folder import Folder, opened

from rag.ocr.cache import FOLDER as OCR_FOLDER
from rag.types import PageRef

PHRASE = "Quetzalcoatlus"


@pytest.fixture(name="folder")
def _folder(tmp_path):
    with opened(tmp_path) as folder:
        yield folder


def holding(data: Path, *words: str) -> Counter[str]:
    """Files of the data folder, by the place they are in, in which one of the words is written."""
    found: Counter[str] = Counter()
    for path in data.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            if any(word.encode() in content for word in words):
                found[path.relative_to(data).parts[0]] += 1
    return found


def test_nothing_is_left_of_a_deleted_document_in_counts_and_in_files(folder: Folder):
    name = "secret-pterosaur.pdf"
    # The phrase as a heading and in the text: in words, in features and in the search's own view.
    path = folder.write(name, f"# {PHRASE}\n{PHRASE} flies over the harbour.", f"More {PHRASE}.")
    folder.write("other.pdf", "# Otters\nOtters hold hands.")
    folder.ingest(path, metadata={"codename": "Zanzibarbar"})
    folder.ingest()
    folder.write(name, f"# {PHRASE}\n{PHRASE} sleeps.", f"More {PHRASE}.")  # and a past version
    folder.ingest()
    document_id = folder.known()[name]
    reader = folder.engine.repository.reader(folder.service._principal, "default")
    sha256 = reader.document(document_id).sha256
    reader.page_image(PageRef(document_id, 1), 50)
    words = folder.data / OCR_FOLDER / "ab" / f"ab-cd-{sha256}"
    words.parent.mkdir(parents=True)
    words.write_bytes(b"what OCR read")
    job_id = folder.rows("select job_id from jobs limit 1")[0][0]
    with folder.engine.repository._manifest._writing() as connection:
        connection.exec_driver_sql(
            "update jobs set request = ? where job_id = ?",
            (json.dumps({"paths": [str(path), "/elsewhere/x.pdf"], "force": False}), job_id),
        )
    marks = (PHRASE, PHRASE.lower(), name, "Zanzibarbar", sha256, document_id)
    # The words of pages are packed; what the whole document is known by is readable.
    for mark in (PHRASE.lower(), name, "Zanzibarbar", sha256, document_id):
        assert set(holding(folder.data, mark)) & {"manifest.sqlite3", "manifest.sqlite3-wal"}, mark
    told = folder.service.delete(documents=[name], collection="default")
    assert told["left"] == dict.fromkeys(told["left"], 0)
    assert set(told["left"]) == {
        *("documents", "versions", "past_versions", "pages", "texts", "unstamped", "jobs"),
        *("records", "packed", "sources", "images", "ocr_words"),
    }
    assert not words.exists()
    assert folder.rows(f"select request from jobs where job_id = '{job_id}'") == [
        ('{"paths": ["/elsewhere/x.pdf"], "force": false}',)
    ]
    # The embedded index alone keeps bytes of what it deleted (docs/adr/0044): where its file was
    # and what was said of it, but none of its words.
    assert set(holding(folder.data, *marks)) <= {"collections"}
    assert not holding(folder.data, PHRASE, PHRASE.lower())
    assert folder.found(PHRASE) == ["other.pdf"]  # which says something else


def test_bytes_that_another_document_has_too_stay_and_do_not_count(folder: Folder):
    path = folder.write("a.pdf", f"# {PHRASE}\n{PHRASE} flies.")
    (folder.docs / "b.pdf").write_bytes(path.read_bytes())
    folder.ingest()
    told = folder.service.delete(documents=["a.pdf"], collection="default")
    assert set(told["left"].values()) == {0}
    assert folder.found(PHRASE) == ["b.pdf"]
    told = folder.service.delete(documents=["b.pdf"], collection="default")
    assert set(told["left"].values()) == {0}
    assert not holding(folder.data, PHRASE)
    assert not [path for path in (folder.data / "sources").rglob("*") if path.is_file()]


def test_what_is_left_is_counted_and_not_hidden(folder: Folder, monkeypatch):
    folder.write("a.pdf")
    folder.ingest()
    writer = folder.engine.writer(folder.service._principal, "default")
    monkeypatch.setattr(type(writer), "_sweep_retired", lambda _, **__: None)
    left = folder.service.delete(documents=["a.pdf"], collection="default")["left"]
    assert {kind for kind, count in left.items() if count} == {
        *("versions", "pages", "texts", "records", "packed"),
    }
