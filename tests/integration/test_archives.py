"""Collections as a whole, through the command line: exported, imported, copied, dropped."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import sqlite3
import tarfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from damaged_folder import copy_folder
from ingest_place import Place, place

from rag.apps.connection import Connection
from rag.encoders.words import WordsEncoder
from rag.settings import load_settings

__all__ = ["place"]  # a fixture, found by its name
EXPECTED = {"a.pdf": 3, "b.pdf": 1, "c.pdf": 2}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Ingested once, not to be written to; `all.tar` beside it is an export of it."""
    made = Place(tmp_path_factory.mktemp("whole"))
    for name, n_pages in EXPECTED.items():
        made.write(name, n_pages)
    ended = made.here("ingest", made.docs, "--metadata", "year=2024", "--readers", "group:all")
    assert ended.code == 0
    written = made.here("export", archive_of(made))
    assert written.code == 0, written.err
    assert (written.json[-1]["documents"], written.json[-1]["pages"]) == (3, 6)
    return made


def archive_of(whole: Place) -> Path:
    return whole.docs.with_name("all.tar")


@pytest.fixture
def archive(whole: Place, tmp_path: Path) -> Path:
    """An export of what is in `whole`."""
    return Path(shutil.copy(archive_of(whole), tmp_path))


@pytest.fixture
def filled(whole: Place, place: Place) -> Place:
    """A copy of what is in `whole`, and of its files, which are others to an ingest."""
    shutil.copytree(whole.docs, place.docs, dirs_exist_ok=True)
    copy_folder(whole.data, place.data)
    return place


@pytest.fixture
def elsewhere(tmp_path: Path, place: Place) -> Place:
    (tmp_path / "elsewhere").mkdir()
    made = Place(tmp_path / "elsewhere")
    return made


def hits(place: Place, question: str = "the tide of b.pdf") -> list[object]:
    found = place.here("search", question, "-k", "10").json[0]["hits"]
    return [(hit["source"], hit["page_number"], hit["score"], hit["boxes"]) for hit in found]


def opened(place: Place) -> Connection:
    settings = load_settings(overrides={"store": {"data_dir": place.data}})
    return Connection(settings, command="test")


def listed(place: Place) -> list[dict[str, object]]:
    shown = place.here("list").json[0]["documents"]
    return [
        {key: each[key] for key in ("source", "pages", "metadata", "readers")} for each in shown
    ]


# --- export and import --------------------------------------------------------------------------
def test_what_is_exported_is_imported_without_encoding_and_found_the_same(
    filled: Place,
    archive: Path,
    elsewhere: Place,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def encode_pages(*_: object) -> None:
        raise AssertionError("a page was encoded")

    monkeypatch.setattr(WordsEncoder, "encode_pages", encode_pages)
    brought = elsewhere.here("import", archive)
    assert brought.code == 0, brought.err
    assert brought.json[-1]["documents"] == {"indexed": 3}
    assert brought.json[-1]["pages"] == {"indexed": 6, "blank": 0, "failed": 0}
    assert listed(elsewhere) == listed(filled)
    assert hits(elsewhere) == hits(filled)
    picture = tmp_path / "page.png"
    assert elsewhere.here("page", "a.pdf", "2", "-o", picture, "--dpi", "30").code == 0
    again = elsewhere.here("import", archive)
    assert again.json[-1]["documents"] == {"unchanged": 3}
    assert elsewhere.here("import", archive, "--into", "other").code == 0
    assert [each["name"] for each in elsewhere.here("collections").json[0]["collections"]] == [
        "default",
        "other",
    ]


def test_an_import_killed_at_a_step_is_ended_by_the_same_command(
    archive: Path, elsewhere: Place, tmp_path: Path
) -> None:
    for step in ("archive_unpacked:2", "import_switched:1"):
        process = elsewhere.start("import", archive, OCTAVO_FAILPOINT=step)
        _, err = process.communicate(timeout=60)
        assert process.returncode == -9, err
    assert elsewhere.here("import", archive).code == 0
    elsewhere.check_whole(EXPECTED)


def test_an_export_killed_before_its_end_leaves_no_archive(filled: Place, tmp_path: Path) -> None:
    archive = tmp_path / "all.tar"
    process = filled.start("export", archive, OCTAVO_FAILPOINT="archive_written")
    process.communicate(timeout=60)
    assert process.returncode == -9
    assert not archive.exists()
    assert filled.here("export", archive).code == 0
    assert filled.here("export", archive).error["code"] == "file_exists"


def test_an_archive_of_another_encoder_is_refused(
    archive: Path, elsewhere: Place, tmp_path: Path
) -> None:
    other = elsewhere.here("import", archive, "--set", "fde.seed=9")
    assert other.code == 1
    assert other.error["code"] == "index_mismatch"
    assert elsewhere.here("list").error["code"] == "unknown_collection"


def test_an_export_beside_an_ingest_holds_whole_documents(filled: Place, tmp_path: Path) -> None:
    with opened(filled) as octavo, ThreadPoolExecutor(1) as pool:
        filled.write("d.pdf", 8)
        ingest = pool.submit(octavo.ingest, [filled.docs / "d.pdf"])
        octavo.export(tmp_path / "all.tar")
        ingest.result()
    with tarfile.open(tmp_path / "all.tar") as tar:
        contents = json.load(tar.extractfile("contents.json"))
    assert contents["n_pages"] in (6, 14)


Change = Callable[[tarfile.TarInfo, bytes], tuple[tarfile.TarInfo, bytes]]


def rewritten(archive: Path, target: Path, change: Change, *extra: tarfile.TarInfo) -> Path:
    with tarfile.open(archive) as source, tarfile.open(target, "w") as tar:
        for info in source:
            changed, data = change(info, source.extractfile(info).read())
            changed.size = len(data)
            tar.addfile(changed, io.BytesIO(data))
        for info in extra:
            tar.addfile(info, io.BytesIO(b"x" * info.size))
    return target


def untouched(info: tarfile.TarInfo, data: bytes) -> tuple[tarfile.TarInfo, bytes]:
    return info, data


def named(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    info.size = 1 if kind == tarfile.REGTYPE else 0
    return info


@pytest.mark.parametrize(
    "extra",
    [
        named("../outside.txt"),
        named("/tmp/outside.txt"),
        named("documents/1/../../outside.txt"),
        named("documents/1/document.json", tarfile.SYMTYPE, "/etc/passwd"),
        named("documents/9/document.json", tarfile.LNKTYPE, "documents/1/document.json"),
        named("sources/" + "a" * 64 + ".pdf", tarfile.FIFOTYPE),
        named("documents/9", tarfile.DIRTYPE),
        named("contents.json"),
        named("somebody.exe"),
    ],
    ids=lambda info: f"{info.name[:30]} {info.type.decode()}",
)
def test_an_archive_that_leads_out_or_holds_more_is_refused(
    archive: Path, elsewhere: Place, tmp_path: Path, extra: tarfile.TarInfo
) -> None:
    bad = rewritten(archive, tmp_path / "bad.tar", untouched, extra)
    refused = elsewhere.here("import", bad)
    assert refused.code == 1
    assert refused.error["code"] == "unsafe_archive"
    assert refused.error["next_step"]
    assert not (tmp_path / "outside.txt").exists()
    assert elsewhere.here("list").error["code"] == "unknown_collection"


def test_every_damage_of_an_archive_is_told_before_anything_is_imported(
    archive: Path, elsewhere: Place, tmp_path: Path
) -> None:
    whole = archive.read_bytes()
    with tarfile.open(archive) as tar:
        places = {info.name: (info.offset_data, info.size) for info in tar}
    damaged = {
        name: whole[:start] + bytes([whole[start] ^ 0xFF]) + whole[start + 1 :]
        for name, (start, _) in places.items()
    }
    damaged |= {f"cut {share}": whole[: int(share * len(whole))] for share in (0, 0.1, 0.5, 0.98)}
    damaged |= {"not a tar": b"%PDF-1.7", "gzip": b"\x1f\x8b" + whole}
    for name, data in damaged.items():
        (tmp_path / "bad.tar").write_bytes(data)
        refused = elsewhere.here("import", tmp_path / "bad.tar")
        assert refused.code == 1, name
        assert refused.error["code"] == "bad_archive", name
    assert elsewhere.here("import", tmp_path / "missing.tar").error["code"] == "no_such_path"
    assert elsewhere.here("list").error["code"] == "unknown_collection"


def test_what_an_archive_says_falsely_with_right_digests_is_refused(
    archive: Path, elsewhere: Place, tmp_path: Path
) -> None:
    def lying(name: str, lie: Callable[[dict[str, object]], None]) -> Path:
        """The archive with one member changed, and the list of members made to agree."""
        with tarfile.open(archive) as tar:
            held = {info.name: tar.extractfile(info).read() for info in tar}
        said = json.loads(held[name])
        lie(said)
        held[name] = json.dumps(said).encode()
        contents = json.loads(held["contents.json"])
        if name != "contents.json":
            digest = hashlib.sha256(held[name]).hexdigest()
            contents["members"][name] = {"size_bytes": len(held[name]), "sha256": digest}
            held["contents.json"] = json.dumps(contents).encode()
        held["contents.sha256"] = hashlib.sha256(held["contents.json"]).hexdigest().encode()
        path = tmp_path / "lie.tar"
        with tarfile.open(path, "w") as tar:
            for member, data in held.items():
                info = tarfile.TarInfo(member)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        return path

    first = "documents/1/document.json"
    lies: list[tuple[str, Callable[[dict[str, object]], None]]] = [
        (first, lambda said: said.update(n_pages=99)),
        (first, lambda said: said.update(state="refused")),
        (first, lambda said: said.update(sha256="0" * 64)),
        (first, lambda said: said.update(more=1)),
        (first, lambda said: said.update(readers=["everybody"])),
        (first, lambda said: said.update(metadata={"n": float("inf")})),
        (first, lambda said: said["runs"][0].update(arrays="documents/7/pages-1.npz")),
        (first, lambda said: said["runs"][0]["pages"][0].update(state="gone")),
        ("contents.json", lambda said: said.update(documents=["documents/7/document.json"])),
        ("contents.json", lambda said: said.update(format="x")),
    ]
    for name, lie in lies:
        refused = elsewhere.here("import", lying(name, lie))
        assert refused.code == 1
        assert refused.error["code"] == "bad_archive"
    newer = elsewhere.here("import", lying("contents.json", lambda said: said.update(format=2)))
    assert newer.error["code"] == "archive_of_newer_program"
    # The file of a document is kept under the digest of its bytes, whatever the archive says.
    swapped = elsewhere.here(
        "import", lying(first, lambda said: said.update(file=said["file"], source="../../x.pdf"))
    )
    assert swapped.code == 0
    assert not list(tmp_path.rglob("x.pdf"))


# --- snapshots ----------------------------------------------------------------------------------
def test_a_snapshot_taken_under_load_opens_and_holds_whole_documents(
    filled: Place, elsewhere: Place, tmp_path: Path
) -> None:
    filled.write("d.pdf", 20)
    seen: list[int] = []
    stop = threading.Event()
    with opened(filled) as octavo, ThreadPoolExecutor(2) as pool:

        def search() -> None:
            while not stop.is_set():
                found = octavo.search("tide", mode="text", top_k=50)["hits"]
                seen.append(len(found))

        searching = pool.submit(search)
        try:
            ingest = pool.submit(octavo.ingest, [filled.docs / "d.pdf"])
            told = octavo.snapshot(tmp_path / "copy")
            ingest.result()
        finally:
            stop.set()
        searching.result()
    assert told["size_bytes"] > 0
    assert set(seen) <= {6, 26}
    elsewhere.data = tmp_path / "copy"
    found = {each["source"]: each["pages"] for each in listed(elsewhere)}
    assert found in (EXPECTED, EXPECTED | {"d.pdf": 20})
    # What was being written when it was taken is written by the same command here.
    assert elsewhere.here("ingest", filled.docs / "d.pdf").code == 0
    elsewhere.check_whole(EXPECTED | {"d.pdf": 20})


def test_a_snapshot_is_refused_where_it_cannot_be(filled: Place, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    for target, code in (
        (tmp_path / "there", "file_exists"),
        (filled.data / "copy", "inside_folder"),
        (Path("/dev/null/copy"), "not_written"),
    ):
        refused = filled.here("snapshot", target)
        assert (refused.code, refused.error["code"]) == (1, code)
    process = filled.start("snapshot", tmp_path / "copy", OCTAVO_FAILPOINT="snapshot_copied")
    process.communicate(timeout=60)
    assert not (tmp_path / "copy").exists()
    assert filled.here("snapshot", tmp_path / "copy").code == 0


# --- dropped ------------------------------------------------------------------------------------
def test_a_dropped_collection_leaves_nothing_and_others_alone(filled: Place) -> None:
    filled.here("ingest", filled.docs / "a.pdf", "-c", "kept")
    unsure = filled.here("collections", "drop", "default")
    assert (unsure.code, unsure.error["code"]) == (2, "usage")
    dropped = filled.here("collections", "drop", "default", "--yes")
    assert dropped.code == 0, dropped.err
    assert set(dropped.json[0]["left"].values()) == {0}
    assert filled.here("list").error["code"] == "unknown_collection"
    assert filled.here("list", "-c", "kept").json[0]["documents"][0]["source"] == "a.pdf"
    assert len(list((filled.data / "sources").rglob("*.pdf"))) == 1
    assert not (filled.data / "collections" / "default").exists()
    for held in filled.data.glob("manifest.sqlite3*"):
        assert b"b.pdf" not in held.read_bytes()
    missing = filled.here("collections", "drop", "default", "--yes")
    assert missing.error["code"] == "unknown_collection"


def test_a_collection_made_again_after_a_drop_is_another_one(filled: Place) -> None:
    with opened(filled) as octavo:
        assert len(octavo.search("tide", top_k=10)["hits"]) == 6
        octavo.drop_collection("default")
        octavo.ingest([filled.docs / "b.pdf"])
        found = octavo.search("tide", top_k=10)["hits"]
        assert [(hit["source"], hit["page_number"]) for hit in found] == [("b.pdf", 1)]
    # Of another encoder or other settings too.
    assert filled.here("collections", "drop", "default", "--yes").code == 0
    assert filled.here("ingest", filled.docs, "--set", "fde.seed=9").code == 0
    assert (
        len(filled.here("search", "tide", "-k", "10", "--set", "fde.seed=9").json[0]["hits"]) == 6
    )


def test_a_drop_that_is_killed_is_invisible_and_ends_the_next_time(filled: Place) -> None:
    process = filled.start(
        "collections", "drop", "default", "--yes", OCTAVO_FAILPOINT="collection_dropped"
    )
    process.communicate(timeout=60)
    assert process.returncode == -9
    assert filled.here("list").error["code"] == "unknown_collection"
    assert not list((filled.data / "sources").rglob("*.pdf"))
    assert not (filled.data / "collections" / "default").exists()
    with sqlite3.connect(filled.data / "manifest.sqlite3") as connection:
        for table in ("collections", "documents", "versions", "pages", "page_texts"):
            assert connection.execute(f"select count(*) from {table}").fetchone() == (
                0,
            )  # names of ours
