"""Files that move keep their document; files that only look as if they had do not take it over."""

from __future__ import annotations

import os
import unicodedata
from pathlib import PurePath

import pytest
from synced_folder import Folder, opened

from ingestion.places import Places, is_gone, moved_from
from ingestion.source import document_id, printable
from rag.apps.service import Service
from rag.manifest import Incoming, PlacedDocument
from rag.types import Principal

N_FILES = int(os.environ.get("N_MOVED_FILES", "100"))


@pytest.fixture(name="folder")
def _folder(tmp_path):
    with opened(tmp_path) as folder:
        yield folder


def test_a_renamed_file_keeps_its_document_its_version_and_what_is_said_of_it(folder: Folder):
    folder.write("a.pdf", "# Otters\nOtters hold hands while they sleep.")
    folder.ingest(metadata={"year": 2024}, readers=["user:ann"])
    known, versions = folder.known(), folder.versions()
    (folder.docs / "a.pdf").rename(folder.docs / "b.pdf")
    assert folder.ingest() == {"b.pdf": "moved"}
    assert folder.events[0]["moved_from"] == "a.pdf"
    assert folder.totals["pages"] == {"indexed": 0, "blank": 0, "failed": 0}
    assert folder.known() == {"b.pdf": known["a.pdf"]}
    assert folder.versions() == versions
    assert folder.found("otters", filters={"source": "b.pdf", "year": 2024}) == ["b.pdf"]
    assert folder.found("otters", filters={"source": "a.pdf"}) == []
    assert folder.found("otters", by=Principal("ann")) == ["b.pdf"]
    assert folder.rows("select * from unstamped") == []
    assert folder.ingest() == {"b.pdf": "unchanged"}

    # A new file where the first one was is a document of its own, also the next time.
    folder.write("a.pdf", "# Herons\nHerons stand still.")
    assert folder.ingest() == {"a.pdf": "indexed", "b.pdf": "unchanged"}
    assert folder.known()["b.pdf"] == known["a.pdf"] != folder.known()["a.pdf"]
    assert folder.ingest() == {"a.pdf": "unchanged", "b.pdf": "unchanged"}
    folder.write("a.pdf", "# Herons\nHerons fish.")
    assert folder.sync() == {"a.pdf": "replaced", "b.pdf": "unchanged"}
    assert len(folder.known()) == 2


def test_a_copy_is_a_second_document_and_so_is_what_could_be_one_of_two(folder: Folder):
    first = folder.write("first.pdf", "# Otters\nOtters hold hands.")
    (folder.docs / "copy.pdf").write_bytes(first.read_bytes())
    assert folder.ingest() == {"copy.pdf": "indexed", "first.pdf": "indexed"}
    (folder.docs / "third.pdf").write_bytes(first.read_bytes())
    assert folder.ingest()["third.pdf"] == "indexed"
    content = first.read_bytes()
    for name in ("first.pdf", "copy.pdf"):
        (folder.docs / name).unlink()
    (folder.docs / "new.pdf").write_bytes(content)
    assert folder.sync() == {
        "new.pdf": "indexed",
        "third.pdf": "unchanged",
        "first.pdf": "missing",
        "copy.pdf": "missing",
    }


def test_a_file_of_somebody_else_is_not_taken_over(folder: Folder):
    folder.write("a.pdf")
    ann = Service(folder.engine, Principal("ann"))
    folder.ingest(by=ann)
    (folder.docs / "a.pdf").rename(folder.docs / "b.pdf")
    assert folder.ingest(by=Service(folder.engine, Principal("bob"))) == {"b.pdf": "indexed"}
    assert folder.ingest(by=ann) == {"b.pdf": "refused"}  # bob's, by now


def test_names_that_differ_in_how_their_letters_are_composed_are_two_files(folder: Folder):
    name = "Résumé.pdf"
    composed, decomposed = (unicodedata.normalize(form, name) for form in ("NFC", "NFD"))
    folder.write(composed, "# Otters\nOtters hold hands.")
    folder.ingest()
    if (folder.docs / decomposed).exists():
        pytest.skip("this file system takes both for one name")
    known = folder.known()
    (folder.docs / composed).rename(folder.docs / decomposed)  # as an unpacked archive has it
    assert folder.sync() == {decomposed: "moved"}
    assert folder.known() == {decomposed: known[composed]}
    folder.write(composed, "# Otters\nOtters hold hands.")
    assert folder.sync() == {composed: "indexed", decomposed: "unchanged"}


def move_a_folder(folder: Folder, n_files: int) -> None:
    for number in range(n_files):
        # The same page in two files, so that bytes alone do not tell which is which.
        text = f"The tide of {number // 2 if number < 4 else number} comes and goes."
        folder.write(f"old/{number % 3}/{number:03}.pdf", text)
    folder.sync()
    known = folder.known()
    (folder.docs / "old").rename(folder.docs / "new")
    assert set(folder.sync(prune=True).values()) == {"moved"}
    assert folder.totals["documents"] == {"moved": n_files}
    assert folder.known() == {name.replace("old/", "new/"): i for name, i in known.items()}
    assert set(folder.sync(prune=True).values()) == {"unchanged"}


def test_a_renamed_folder_takes_its_documents_along(folder: Folder):
    move_a_folder(folder, 8)
    folder.docs.rename(folder.docs.with_name("elsewhere"))
    elsewhere = folder.docs.with_name("elsewhere")
    assert set(folder.sync(elsewhere, prune=True).values()) == {"moved"}
    assert folder.events[0]["moved_from_root"] == str(folder.docs)


@pytest.mark.nightly
def test_a_renamed_folder_of_many_files_takes_its_documents_along(folder: Folder):
    move_a_folder(folder, N_FILES)


# --- which document a file is --------------------------------------------------------------------
def at(path, document="a"):
    path = PurePath(path)
    return PlacedDocument(document, str(path.parent), path.name)


def test_a_place_keeps_its_document_and_a_freed_place_gets_a_new_one(tmp_path):
    first = document_id("default", tmp_path, "a.pdf")
    places = Places("default", [at(tmp_path / "b.pdf", first)])
    assert places.document_id(tmp_path, "b.pdf") == first
    second = places.document_id(tmp_path, "a.pdf")
    assert second != first
    places.take(Incoming(second, str(tmp_path), "a.pdf"))
    assert places.document_id(tmp_path, "a.pdf") == second
    places.take(Incoming(second, str(tmp_path), "c.pdf"))
    assert places.document_id(tmp_path, "a.pdf") not in (first, second)
    assert places.document_id(tmp_path.parent, f"{tmp_path.name}/b.pdf") == first


def test_what_cannot_be_looked_at_and_what_is_no_path_is_not_gone(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir()
    assert is_gone(tmp_path / "a.pdf")
    assert not is_gone(PurePath("upload/a.pdf"))
    (tmp_path / "link.pdf").symlink_to("nowhere")
    assert not is_gone(tmp_path / "link.pdf")
    raw = os.fsdecode(os.fsencode(tmp_path) + b"/f\xfc.pdf")
    os.close(os.open(raw, os.O_CREAT))
    assert not is_gone(PurePath(printable(raw)))
    os.unlink(raw)
    assert is_gone(PurePath(printable(raw)))
    if os.geteuid():
        closed.chmod(0)
        assert not is_gone(closed / "a.pdf")
        closed.chmod(0o700)


def test_of_several_that_are_gone_the_one_of_the_same_name_moved(tmp_path):
    incoming = Incoming("new", str(tmp_path / "new"), "a.pdf")
    a, b = at(tmp_path / "old" / "a.pdf", "a"), at(tmp_path / "old" / "b.pdf", "b")
    assert moved_from(incoming, [a, b]) == a
    assert moved_from(incoming, [b]) == b
    assert moved_from(incoming, [a, at(tmp_path / "older" / "a.pdf", "c")]) is None
    assert moved_from(incoming, []) is None
