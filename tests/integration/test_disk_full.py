"""A disk that fills up: refused with a code, nobody dies of it but the index's own process, what
was acknowledged stays, and with room made the same command goes on.
"""

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import Commands

from rag import Octavo
from rag.disk_room import DiskRoom, SpareRoom, free_bytes
from rag.errors import BackendError
from rag.testing import make_pdf

PAGES = 6
DOCUMENTS = int(os.environ.get("N_FULL_DISK_DOCUMENTS", "40"))
WORDS = Path(__file__).parents[2].joinpath("README.md").read_text(encoding="utf-8").split()


class Disk:
    """A file system of 256 MiB, and a file that takes what is left of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self._filler = folder / "filler"

    def fill(self, *, but_bytes: int = 0) -> None:
        with self._filler.open("ab") as filler:
            block = b"x" * (1 << 20)
            while block and free_bytes(self.folder) > but_bytes:
                try:
                    filler.write(block[: free_bytes(self.folder) - but_bytes])
                    filler.flush()
                except OSError:
                    block = block[: len(block) // 2]

    def empty(self) -> None:
        self._filler.unlink(missing_ok=True)


def mounted(kind: str, tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    if kind == "tmpfs":
        command = ["mount", "-t", "tmpfs", "-o", "size=256m", "tmpfs", str(folder)]
    else:
        image = tmp_path / "image"
        with image.open("wb") as file:
            file.truncate(256 << 20)
        command = ["mount", "-o", "loop", str(image), str(folder)]
        made = subprocess.run(
            ["mkfs.ext4", "-q", "-m", "0", "-F", image], capture_output=True, check=False
        )
        if made.returncode:
            pytest.skip("no ext4 file system can be made here")
    if shutil.which("mount") is None:
        pytest.skip("there is no mount")
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a file system")
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    yield from mounted(getattr(request, "param", "tmpfs"), tmp_path)


def document(folder: Path, number: int) -> Path:
    path = folder / f"report-{number}.pdf"
    texts = [
        f"# Report {number} part {page}\n" + " ".join(WORDS[(number * 7 + page) * 11 :][:150])
        for page in range(PAGES)
    ]
    path.write_bytes(make_pdf(texts))
    return path


@pytest.fixture
def fills_after(monkeypatch: pytest.MonkeyPatch, disk: Disk):
    """Has another program take the whole disk right after we looked, at the n-th look."""
    real = DiskRoom.require

    def set_number(number: int | None) -> None:
        looks = 0

        def require(room: DiskRoom, n_bytes: int) -> None:
            nonlocal looks
            real(room, n_bytes)
            looks += 1
            if looks == number:
                disk.fill()

        monkeypatch.setattr(DiskRoom, "require", require)

    return set_number


def n_pages(octavo: Octavo) -> int:
    return sum(each["pages"] for each in octavo.documents())


# 1: before the file is kept; 2: before the first batch is written.
@pytest.mark.parametrize("look", [2, pytest.param(1, marks=pytest.mark.nightly)])
@pytest.mark.parametrize(
    "disk", ["tmpfs", pytest.param("ext4", marks=pytest.mark.nightly)], indirect=True
)
def test_a_disk_that_fills_up_in_the_middle_of_a_write_ends_the_ingest_and_nothing_else(
    disk, look, fills_after, tmp_path
):
    first, second = document(tmp_path, 1), document(tmp_path, 2)
    with Octavo(disk.data) as octavo:
        octavo.ingest(first)
        before = [hit["page_number"] for hit in octavo.search("part 3 of report 1")]
        fills_after(look)
        with pytest.raises(BackendError) as caught:
            octavo.ingest(second)
        assert caught.value.code == "disk_full"
        assert caught.value.next_step
        assert free_bytes(disk.folder) < DiskRoom(disk.folder).reserve_bytes
        # In the same process, and in another one, which asks it.
        assert [hit["page_number"] for hit in octavo.search("part 3 of report 1")] == before
        there = Commands(disk.data).process("search", "part 3 of report 1")
        assert [hit["page_number"] for hit in there["hits"]] == before
        assert n_pages(octavo) == PAGES
        disk.empty()
        fills_after(None)
        octavo.ingest([first, second])
        assert n_pages(octavo) == 2 * PAGES
        assert {hit["source"] for hit in octavo.search("report", top_k=12)} == {
            first.name,
            second.name,
        }


@pytest.mark.nightly
@pytest.mark.parametrize("disk", ["tmpfs", "ext4"], indirect=True)
def test_what_is_ingested_until_the_disk_is_full_is_there_and_goes_on_when_there_is_room(
    disk, tmp_path
):
    folder = tmp_path / "reports"
    folder.mkdir()
    for number in range(DOCUMENTS):
        document(folder, number)
    octavo = Commands(disk.data)
    # So that the folder's documents do not all fit.
    disk.fill(but_bytes=DiskRoom(disk.folder).reserve_bytes + 60_000_000)
    code, printed = octavo.outcome("ingest", str(folder))
    assert code != 0
    lines = [json.loads(line) for line in printed.splitlines()]
    assert lines[-1]["error"]["code"] == "disk_full"
    done = {line["source"] for line in lines if line.get("event") == "document"}
    assert len(done) < DOCUMENTS
    found = octavo("search", "report part 2")["hits"]
    assert found
    assert {hit["source"] for hit in found} <= done
    disk.empty()
    octavo.process("ingest", str(folder))
    listed = octavo("list")["documents"]
    assert sorted(each["source"] for each in listed) == sorted(
        path.name for path in folder.iterdir()
    )
    assert {each["pages"] for each in listed} == {PAGES}


@pytest.mark.nightly
def test_searches_go_on_while_the_disk_fills_up(disk, fills_after, tmp_path):
    with Octavo(disk.data) as octavo:
        octavo.ingest(document(tmp_path, 1))
        stop, failed, n_found = threading.Event(), [], []

        def search() -> None:
            while not stop.is_set():
                try:
                    n_found.append(len(octavo.search("report part", top_k=PAGES)))
                except Exception as error:  # noqa: BLE001  # whatever it is, it is a failure here
                    failed.append(error)

        searching = threading.Thread(target=search)
        searching.start()
        try:
            fills_after(2)
            with pytest.raises(BackendError):
                octavo.ingest(document(tmp_path, 2))
        finally:
            stop.set()
            searching.join()
        assert not failed
        assert n_found
        assert set(n_found) == {PAGES}


def test_room_set_aside_is_disk_until_it_is_given_back(tmp_path):
    spare = SpareRoom(tmp_path / "spare", 1_000_000)
    spare.hold()
    assert (tmp_path / "spare").stat().st_blocks * 512 >= 1_000_000
    spare.release()
    assert not list(tmp_path.iterdir())
    spare.release()


def test_the_reserve_is_a_tenth_of_the_disk_within_bounds(disk, tmp_path):
    assert DiskRoom(disk.folder).reserve_bytes == 64_000_000
    assert DiskRoom(disk.folder, 5).reserve_bytes == 5
    assert 64_000_000 <= DiskRoom(tmp_path).reserve_bytes <= 200_000_000
