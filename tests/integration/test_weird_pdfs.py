"""Odd PDFs of the wild: each ends in pages or in a typed error, in time and within memory."""

import csv
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from rag.errors import DocumentError
from rag.ports import ScannedPage
from rag.renderers.isolated import IsolatedReader, PageFailure
from rag.settings import RenderSettings

pytestmark = pytest.mark.devset

MAX_FILE_S = 60.0
MAX_MEMORY_BYTES = 4 << 30
REASONS = {
    "damaged",
    "not_a_pdf",
    "zero_pages",
    "render_failed",
    "render_timeout",
    "render_crashed",
    "out_of_memory",
    "document_too_slow",
    "quarantined",
}
LONG = {"many_pages", "slow"}  # kinds left to the night where the first reader takes long over them


@dataclass(frozen=True)
class OddFile:
    path: Path
    kind: str
    outcome: str  # what MuPDF made of it: pages, error, password
    n_pages: int | None
    password: str | None


@pytest.fixture(scope="module")
def odd_files(devset: Path) -> list[OddFile]:
    with (devset / "weird" / "manifest.tsv").open(encoding="utf-8", newline="") as file:
        return [
            OddFile(
                path=devset / "weird" / "docs" / row["file"],
                kind=row["kind"],
                outcome=row["mupdf"],
                n_pages=int(row["pages"]) if row["pages"] else None,
                password=row["password"] or None,
            )
            for row in csv.DictReader(file, delimiter="\t")
        ]


@pytest.fixture
def memory() -> Iterator[list[int]]:
    """The bytes resident in this process and all below it, every 0.2 s."""
    seen = [0]
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.2):
            total = 0
            for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
                try:
                    total += process.memory_info().rss
                except psutil.Error:
                    continue
            seen.append(total)

    thread = threading.Thread(target=watch)
    thread.start()
    yield seen
    stop.set()
    thread.join()


def read(reader: IsolatedReader, file: OddFile) -> list[ScannedPage | PageFailure]:
    """All pages, in order and in time, or nothing where the file is refused with a known code."""
    started = time.monotonic()
    outcomes: list[ScannedPage | PageFailure] = []
    refusal = None
    try:
        info = reader.open(file.path, password=file.password)
        outcomes = list(reader.scan(file.path, range(1, info.n_pages + 1), password=file.password))
    except DocumentError as error:
        refusal = error
    assert time.monotonic() - started < MAX_FILE_S, file
    assert (refusal is None) == bool(outcomes), file
    assert [outcome.page_number for outcome in outcomes] == list(range(1, len(outcomes) + 1))
    failures = [outcome for outcome in outcomes if isinstance(outcome, PageFailure)]
    told = [(failure.reason, failure.message) for failure in failures]
    told += [(refusal.code, refusal.message)] if refusal else []
    assert {reason for reason, _ in told} <= REASONS, (file, told)
    assert not [message for _, message in told if str(file.path.parent) in message]
    return outcomes


def read_all(renderer: str, files: list[OddFile]) -> None:
    with IsolatedReader(RenderSettings.model_validate({"renderer": renderer})) as reader:
        reader.will_read([file.path for file in files])
        for file in files:
            outcomes = read(reader, file)
            if file.outcome == "error" or file.kind == "page_error":
                continue  # what one reader refuses, another may mend
            pages = [outcome for outcome in outcomes if isinstance(outcome, ScannedPage)]
            assert len(pages) == len(outcomes) > 0, (file, outcomes)
            if file.outcome == "pages":
                assert len(outcomes) == file.n_pages, file


def test_every_odd_file_ends_in_pages_or_a_typed_error(
    odd_files: list[OddFile], memory: list[int]
) -> None:
    assert len(odd_files) == 61
    read_all("pypdfium2", odd_files)
    assert 0 < max(memory) < MAX_MEMORY_BYTES


def test_so_they_do_for_the_fastest_reader_installed(
    odd_files: list[OddFile], memory: list[int]
) -> None:
    read_all("auto", [file for file in odd_files if file.kind not in LONG])
    assert max(memory) < MAX_MEMORY_BYTES


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("renderer", "left_out"),
    [("auto", ""), ("pdf2image", "many_pages")],  # poppler reads 6 pages a second
)
def test_so_they_do_for_every_reader(
    odd_files: list[OddFile], memory: list[int], renderer: str, left_out: str
) -> None:
    read_all(renderer, [file for file in odd_files if file.kind != left_out])
    assert max(memory) < MAX_MEMORY_BYTES


def test_locked_files_ask_for_the_password_that_opens_them(odd_files: list[OddFile]) -> None:
    locked = [file for file in odd_files if file.password]
    assert len(locked) >= 4
    with IsolatedReader(RenderSettings()) as reader:
        reader.will_read([file.path for file in locked])
        for file in locked:
            for password, code in ((None, "password_required"), ("no such", "wrong_password")):
                with pytest.raises(DocumentError) as caught:
                    reader.open(file.path, password=password)
                assert caught.value.code == code
            assert all(isinstance(outcome, ScannedPage) for outcome in read(reader, file))


def test_no_process_is_left_behind() -> None:
    left = psutil.Process(os.getpid()).children(recursive=True)
    assert not [process for process in left if "spawn_main" in " ".join(process.cmdline())]
