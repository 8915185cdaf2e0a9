"""Which files an ingest finds, how it names them, and what it says of the others."""

import hashlib
import os
from pathlib import Path

import pytest

from ingestion.source import Refusal, SourceFile, content_sha256, discover, document_id
from rag.errors import InputError
from rag.testing import make_pdf

PDF = make_pdf(["one page"])


def put(path: Path, content: bytes = PDF) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def sources(found: list[SourceFile | Refusal]) -> list[str]:
    return [entry.source for entry in found if isinstance(entry, SourceFile)]


def refusals(found: list[SourceFile | Refusal]) -> dict[str, str]:
    return {entry.source: entry.code for entry in found if isinstance(entry, Refusal)}


def test_a_folder_gives_its_documents_sorted_with_their_path_below_it(tmp_path: Path) -> None:
    for name in ("b.pdf", "a.PDF", "sub/deep/c.pdf", "sub/scan.tiff", "notes.txt", "run.py"):
        put(tmp_path / name)

    found = discover([tmp_path])

    assert sources(found) == ["a.PDF", "b.pdf", "sub/deep/c.pdf", "sub/scan.tiff"]
    assert not refusals(found)
    assert [entry.kind for entry in found if isinstance(entry, SourceFile)] == [
        "pdf",
        "pdf",
        "pdf",
        "image",
    ]


def test_a_file_given_by_name_is_known_by_its_name(tmp_path: Path) -> None:
    path = put(tmp_path / "sub" / "c.pdf")

    (entry,) = discover([path])

    assert isinstance(entry, SourceFile)
    assert (entry.source, entry.root, entry.size_bytes) == ("c.pdf", path.parent, len(PDF))
    assert entry.sha256 == hashlib.sha256(PDF).hexdigest() == content_sha256(path)


def test_a_pattern_gives_what_it_matches_sorted(tmp_path: Path) -> None:
    for name in ("b.pdf", "a.pdf", "c.png"):
        put(tmp_path / name)

    assert sources(discover([tmp_path / "*.pdf"])) == ["a.pdf", "b.pdf"]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path: Path) -> None:
    put(tmp_path / "1.pdf")

    assert sources(discover([put(tmp_path / "[1].pdf")])) == ["[1].pdf"]


def test_a_file_met_twice_comes_once(tmp_path: Path) -> None:
    path = put(tmp_path / "a.pdf")

    assert sources(discover([tmp_path, path, tmp_path / "."])) == ["a.pdf"]


def test_hidden_files_and_data_folders_of_octavo_are_left_out(tmp_path: Path) -> None:
    put(tmp_path / "a.pdf")
    put(tmp_path / ".hidden.pdf")
    put(tmp_path / ".git" / "b.pdf")
    put(tmp_path / "octavo-data" / "manifest.sqlite3")
    put(tmp_path / "octavo-data" / "sources" / "ab" / "c.pdf")
    put(tmp_path / "manual" / "sources" / "d.pdf")

    assert sources(discover([tmp_path])) == ["a.pdf", "manual/sources/d.pdf"]


def test_links_that_leave_the_folder_are_refused_and_others_are_not(tmp_path: Path) -> None:
    outside = put(tmp_path / "outside" / "secret.pdf")
    put(tmp_path / "outside" / "tool")
    inside = put(tmp_path / "in" / "a.pdf")
    (tmp_path / "in" / "file.pdf").symlink_to(outside)
    (tmp_path / "in" / "folder").symlink_to(outside.parent)
    (tmp_path / "in" / "tool").symlink_to(tmp_path / "outside" / "tool")
    (tmp_path / "in" / "same.pdf").symlink_to(inside)
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")

    found = discover([tmp_path / "in"])

    assert sources(found) == ["a.pdf", "same.pdf"]
    assert refusals(found) == {"file.pdf": "outside_root", "folder": "outside_root"}


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("report.docx", b"PK", "office_file"),
        ("sheet.ODS", b"PK", "office_file"),
        ("page.pdf", b"<html>%</html>", "not_a_pdf"),
        ("late.pdf", b" " * 1024 + PDF, "not_a_pdf"),
        ("empty.pdf", b"", "empty_file"),
        ("empty.png", b"", "empty_file"),
        ("large.pdf", PDF + b" " * 5000, "too_large"),
    ],
)
def test_what_will_not_be_read_says_why(
    tmp_path: Path, name: str, content: bytes, code: str
) -> None:
    path = put(tmp_path / name, content)

    assert refusals(discover([path], max_file_bytes=4000)) == {name: code}
    assert refusals(discover([tmp_path], max_file_bytes=4000)) == {name: code}


def test_junk_before_the_header_is_forgiven(tmp_path: Path) -> None:
    assert sources(discover([put(tmp_path / "a.pdf", b"junk\n" + PDF)])) == ["a.pdf"]


def test_another_type_is_refused_by_name_and_ignored_in_a_folder(tmp_path: Path) -> None:
    put(tmp_path / "a.pdf")
    path = put(tmp_path / "song.mp3")

    assert refusals(discover([path])) == {"song.mp3": "unsupported_type"}
    assert not refusals(discover([tmp_path]))


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not hold for the superuser")
def test_a_file_without_permission_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path / "a.pdf")
    path.chmod(0)

    assert refusals(discover([tmp_path])) == {"a.pdf": "unreadable"}


def test_a_link_to_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").symlink_to(tmp_path / "gone.pdf")

    assert refusals(discover([tmp_path])) == {"a.pdf": "unreadable"}
    with pytest.raises(InputError, match="cannot be read") as caught:
        content_sha256(tmp_path / "a.pdf")
    assert caught.value.code == "unreadable"


@pytest.mark.parametrize("name", ["nothing.pdf", "nothing", "*.pdf"])
def test_a_path_with_nothing_behind_it_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError) as caught:
        discover([tmp_path / name])
    assert caught.value.code == "no_such_path"


@pytest.mark.parametrize("name", [None, "notes.txt"])
def test_a_folder_without_documents_is_an_error(tmp_path: Path, name: str | None) -> None:
    if name is not None:
        put(tmp_path / name)
    with pytest.raises(InputError) as caught:
        discover([tmp_path])
    assert caught.value.code == "empty_folder"


def test_a_document_has_one_name_whether_its_folder_or_itself_was_given(tmp_path: Path) -> None:
    path = put(tmp_path / "sub" / "a.pdf")
    ways = [discover([tmp_path]), discover([path]), discover([tmp_path / "sub" / ".." / "sub"])]

    names = {
        document_id("default", entry.root, entry.source)
        for (entry,) in ways
        if isinstance(entry, SourceFile)
    }

    expected = hashlib.sha256(f"default\0{path.as_posix()}".encode()).hexdigest()[:16]
    assert names == {expected}
    assert document_id("other", tmp_path, "sub/a.pdf") not in names


def test_a_relative_root_names_the_same_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "a.pdf")
    monkeypatch.chdir(tmp_path)

    assert document_id("c", Path(), "a.pdf") == document_id("c", tmp_path, "a.pdf")
    assert sources(discover([Path("a.pdf")])) == ["a.pdf"]


@pytest.mark.timeout(10)
def test_a_pipe_that_nobody_writes_to_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "endless.pdf")
    (refusal,) = discover([tmp_path])
    assert isinstance(refusal, Refusal)
    assert refusal.code == "unsupported_type"


def test_pdfs_beside_a_data_folder_are_found_and_those_inside_of_it_are_not(tmp_path: Path) -> None:
    (tmp_path / "manifest.sqlite3").write_bytes(b"")
    for name in ("sources/ab/kept.pdf", "collections/c/x.pdf", "mine.pdf", "years/1999.pdf"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(make_pdf(["page"]))
    assert [file.source for file in discover([tmp_path])] == ["mine.pdf", "years/1999.pdf"]


def test_what_a_data_folder_set_aside_is_left_out(tmp_path: Path) -> None:
    put(tmp_path / "mine.pdf")
    put(tmp_path / "manifest.sqlite3")
    put(tmp_path / "sources" / "ab" / "kept.pdf")
    put(tmp_path / "damaged" / "20260101T000000Z" / "sources" / "ab" / "kept.pdf")

    assert sources(discover([tmp_path])) == ["mine.pdf"]


@pytest.mark.parametrize("inside", ["sources", "sources/ab", "damaged"])
def test_the_inside_of_a_data_folder_is_not_read_as_documents(tmp_path: Path, inside: str) -> None:
    put(tmp_path / "manifest.sqlite3")
    put(tmp_path / "sources" / "ab" / "kept.pdf")
    put(tmp_path / "damaged" / "kept.pdf")

    with pytest.raises(InputError) as raised:
        discover([tmp_path / inside])

    assert raised.value.code == "own_folder"
