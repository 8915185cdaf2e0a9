"""Reading in processes: what comes back, and that no file can harm the process that asks."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest
from PIL import Image

from ingestion.render import open_document, read_pages
from ingestion.source import SourceFile, discover
from rag.errors import DocumentError
from rag.geometry import Box
from rag.ports import ScannedPage
from rag.renderers import isolated, worker
from rag.renderers.isolated import IsolatedReader, PageFailure
from rag.settings import RenderSettings
from rag.testing import PdfPage, make_pdf

ENDLESS = PdfPage(endless=True)


@pytest.fixture(scope="module")
def reader() -> Iterator[IsolatedReader]:
    with IsolatedReader(RenderSettings(renderer="pypdfium2", page_timeout_s=10)) as reader:
        yield reader


@pytest.fixture
def pdf(tmp_path: Path) -> Path:
    return tmp_path / "made.pdf"


def pages_of(outcomes: Iterator[ScannedPage | PageFailure]) -> list[ScannedPage]:
    pages = []
    for outcome in outcomes:
        assert isinstance(outcome, ScannedPage), outcome
        pages.append(outcome)
    return pages


def until(condition: Callable[[], object], *, limit_s: float = 10.0) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


# --- what comes back ----------------------------------------------------------------------------
def test_pages_come_in_the_order_asked_for(reader: IsolatedReader, pdf: Path) -> None:
    pdf.write_bytes(make_pdf([f"page {n}" for n in range(1, 31)], title="Thirty"))

    assert reader.open(pdf).n_pages == 30
    pages = pages_of(reader.scan(pdf, range(1, 31)))
    backwards = pages_of(reader.scan(pdf, [30, 7, 1]))

    assert [(page.page_number, page.text.text) for page in pages] == [
        (n, f"page {n}") for n in range(1, 31)
    ]
    assert [page.page_number for page in backwards] == [30, 7, 1]
    assert {page.image for page in pages} == {None}


def test_no_pages_asked_for_are_no_pages(reader: IsolatedReader, pdf: Path) -> None:
    pdf.write_bytes(make_pdf(["one"]))

    assert list(reader.scan(pdf, [])) == []


def test_pixels_come_where_they_are_wanted(reader: IsolatedReader, pdf: Path) -> None:
    pdf.write_bytes(make_pdf(["one", "two"]))

    for page in pages_of(reader.scan(pdf, [1, 2], want_image=True)):
        assert page.image is not None
        assert page.image.image.size == (1275, 1650)
    assert reader.render(pdf, 1).image.size == (1275, 1650)
    assert reader.render(pdf, 1, dpi=72).image.size == (612, 792)
    assert reader.render(pdf, 1, max_px=10_000).image.width < 100


def test_ink_is_told_from_none(reader: IsolatedReader, pdf: Path) -> None:
    dot = Box(300.3, 300.3, 301.3, 301.3)
    whole = Box(0, 0, 612, 792)
    made = [PdfPage(), PdfPage(marks=[dot]), "words", PdfPage(marks=[whole])]
    pdf.write_bytes(make_pdf(made))

    pages = pages_of(reader.scan(pdf, range(1, 5)))

    assert [page.has_ink for page in pages] == [False, True, True, False]


@pytest.mark.parametrize(
    ("paint", "expected"),
    [("white", False), ((255, 255, 245), False), ((235, 235, 235), True), ("black", True)],
)
def test_ink_is_what_differs_visibly_from_the_paper(
    paint: str | tuple[int, int, int], *, expected: bool
) -> None:
    image = Image.new("RGB", (50, 50), "white")
    image.paste(paint, (10, 10, 11, 11))

    assert worker.has_ink(image) is expected


def test_equal_pages_have_equal_hashes_and_others_not(reader: IsolatedReader, pdf: Path) -> None:
    other = Path(pdf.parent, "other.pdf")
    pdf.write_bytes(make_pdf(["same", "text", PdfPage(marks=[Box(9, 9, 99, 99)]), "same"]))
    other.write_bytes(make_pdf(["same"], title="Another document"))

    first = [page.content_hash for page in pages_of(reader.scan(pdf, range(1, 5)))]
    again = [page.content_hash for page in pages_of(reader.scan(other, [1]))]

    assert len(set(first)) == 3
    assert first[0] == first[3] == again[0]


def test_errors_of_a_file_come_back_whole(reader: IsolatedReader, pdf: Path) -> None:
    pdf.write_bytes(make_pdf(["secret"], password="right"))

    with pytest.raises(DocumentError) as caught:
        reader.open(pdf)
    assert caught.value.code == "password_required"
    assert caught.value.next_step
    assert pages_of(reader.scan(pdf, [1], password="right"))[0].text.text == "secret"
    (failure,) = reader.scan(pdf, [1], password="wrong")
    assert isinstance(failure, PageFailure)
    assert failure.reason == "wrong_password"


def test_a_page_that_is_not_there_fails_alone(reader: IsolatedReader, pdf: Path) -> None:
    pdf.write_bytes(make_pdf(["one", "two"]))

    outcomes = list(reader.scan(pdf, [2, 3, 1]))

    assert [type(outcome) for outcome in outcomes] == [ScannedPage, PageFailure, ScannedPage]
    assert isinstance(outcomes[1], PageFailure)
    assert outcomes[1].reason == "render_failed"


def test_image_files_are_documents(reader: IsolatedReader, tmp_path: Path) -> None:
    path = tmp_path / "scan.PNG"
    Image.effect_noise((300, 200), 90).save(path)

    (file,) = discover([path])
    assert isinstance(file, SourceFile)
    assert open_document(reader, file.path, max_pages=1).n_pages == 1
    (batch,) = read_pages(reader, file.path, [1], batch_pages=10, want_image=True)
    (page,) = batch.read
    assert (page.has_ink, len(page.text)) == (True, 0)


def test_a_document_with_too_many_pages_is_refused(reader: IsolatedReader, pdf: Path) -> None:
    pdf.write_bytes(make_pdf(["page"] * 5))
    (file,) = discover([pdf])
    assert isinstance(file, SourceFile)

    assert open_document(reader, file.path, max_pages=5).n_pages == 5
    assert [len(batch) for batch in read_pages(reader, file.path, range(1, 6), batch_pages=2)] == [
        2,
        2,
        1,
    ]
    with pytest.raises(DocumentError) as caught:
        open_document(reader, file.path, max_pages=4)
    assert caught.value.code == "too_many_pages"


def test_a_file_that_one_reader_refuses_is_read_by_another(
    reader: IsolatedReader, pdf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pdf.write_bytes(make_pdf(["first", "second"]))
    monkeypatch.setattr(reader, "_pdf_renderers", ("image", "pypdfium2"))

    assert reader.open(pdf).n_pages == 2
    pages = pages_of(reader.scan(pdf, [1, 2]))

    assert [page.text.text for page in pages] == ["first", "second"]


# --- limits -------------------------------------------------------------------------------------
def test_a_page_without_end_costs_its_time_and_no_more(pdf: Path) -> None:
    pdf.write_bytes(make_pdf(["one", ENDLESS, "three", "four"]))
    with IsolatedReader(RenderSettings(renderer="pypdfium2", page_timeout_s=1.5)) as reader:
        reader.open(pdf)
        started = time.monotonic()
        outcomes = list(reader.scan(pdf, range(1, 5)))
        took_s = time.monotonic() - started
        again = pages_of(reader.scan(pdf, [1]))

    assert [getattr(outcome, "reason", "read") for outcome in outcomes] == [
        "read",
        "render_timeout",
        "read",
        "read",
    ]
    assert took_s < 5
    assert again[0].text.text == "one"


def test_after_two_such_pages_the_rest_is_not_tried(pdf: Path) -> None:
    pdf.write_bytes(make_pdf([ENDLESS] * 60))
    with IsolatedReader(RenderSettings(renderer="pypdfium2", page_timeout_s=1)) as reader:
        started = time.monotonic()
        outcomes = list(reader.scan(pdf, range(1, 61)))
        took_s = time.monotonic() - started

    reasons = [outcome.reason for outcome in outcomes if isinstance(outcome, PageFailure)]
    assert reasons == ["render_timeout"] * 2 + ["document_too_slow"] * 58
    assert [outcome.page_number for outcome in outcomes] == list(range(1, 61))
    assert took_s < 10


def test_a_page_that_ends_its_process_fails_alone(
    pdf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isolated, "fallback_renderers", lambda name: [name])
    pdf.write_bytes(make_pdf(["one", ENDLESS, "three"]))
    with IsolatedReader(RenderSettings(renderer="pypdfium2", page_timeout_s=20)) as reader:
        outcomes = reader.scan(pdf, [1, 2, 3])
        first = next(outcomes)
        killer = threading.Thread(target=kill_the_busy_one, args=(os.getpid(),))
        killer.start()
        second, third = outcomes
        killer.join()

    assert isinstance(first, ScannedPage)
    assert isinstance(second, PageFailure)
    assert second.reason == "render_crashed"
    assert isinstance(third, ScannedPage)


def test_a_crash_of_one_reader_leaves_the_page_to_the_next(pdf: Path, tmp_path: Path) -> None:
    # An image renderer asked for a PDF fails at once, so the second try ends here, not in time.
    pdf.write_bytes(make_pdf([ENDLESS]))
    with IsolatedReader(RenderSettings(renderer="pypdfium2", page_timeout_s=20)) as reader:
        reader._pdf_renderers = ("pypdfium2", "image")
        outcomes = reader.scan(pdf, [1])
        killer = threading.Thread(target=kill_the_busy_one, args=(os.getpid(),))
        killer.start()
        (failure,) = outcomes
        killer.join()

    assert isinstance(failure, PageFailure)
    assert failure.reason == "damaged"  # what the image reader says of a PDF


@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="poppler's programs are missing")
def test_programs_that_a_process_runs_end_with_it(pdf: Path) -> None:
    pytest.importorskip("pdf2image", reason="pdf2image is not installed", exc_type=ImportError)
    pdf.write_bytes(make_pdf([ENDLESS]))
    with IsolatedReader(RenderSettings(renderer="pdf2image", page_timeout_s=2)) as reader:
        (failure,) = reader.scan(pdf, [1])

    assert isinstance(failure, PageFailure)
    assert failure.reason == "render_timeout"
    until(lambda: not [p for p in psutil.process_iter(["cmdline"]) if str(pdf) in cmdline(p)])


def test_processes_that_die_idle_are_replaced(pdf: Path) -> None:
    pdf.write_bytes(make_pdf(["one"]))
    with IsolatedReader(RenderSettings(renderer="pypdfium2")) as reader:
        pages_of(reader.scan(pdf, [1]))
        for process in workers_of(os.getpid()):
            process.kill()
        assert pages_of(reader.scan(pdf, [1]))[0].text.text == "one"


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux only")
def test_a_file_that_takes_too_much_memory_fails_alone(pdf: Path, tmp_path: Path) -> None:
    large = tmp_path / "large.png"  # some kilobytes, 100 million pixels
    Image.new("1", (10_000, 10_000), 1).save(large)
    pdf.write_bytes(make_pdf(["one"]))
    settings = RenderSettings(renderer="pypdfium2", worker_memory_bytes=200_000_000)

    with IsolatedReader(settings) as reader:
        (failure,) = reader.scan(large, [1])
        page = pages_of(reader.scan(pdf, [1]))[0]

    assert isinstance(failure, PageFailure)
    assert failure.reason == "out_of_memory"
    assert page.text.text == "one"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_processes_have_limits_and_import_no_more_than_they_read_with(pdf: Path) -> None:
    pdf.write_bytes(make_pdf(["one"]))
    with IsolatedReader(RenderSettings(worker_memory_bytes=500_000_000)) as reader:
        reader.open(pdf)
        processes = workers_of(os.getpid())
        assert len(processes) == 2
        for process in processes:
            until(partial(limit_of, process, "Max address space"))
            address_space = limit_of(process, "Max address space")
            assert address_space is not None
            assert 500_000_000 < address_space < 4_000_000_000
            assert limit_of(process, "Max core file size") == 0
            mapped = Path(f"/proc/{process.pid}/maps").read_text(encoding="utf-8")
            for name in ("onnxruntime", "llvmlite", "numba", "torch"):
                assert name not in mapped


def limit_of(process: psutil.Process, name: str) -> int | None:
    """A limit of a process; None for unlimited."""
    for line in Path(f"/proc/{process.pid}/limits").read_text(encoding="ascii").splitlines():
        if line.startswith(name):
            soft = line.removeprefix(name).split()[0]
            return None if soft == "unlimited" else int(soft)
    raise AssertionError(f"no limit {name!r}")


# --- ends ---------------------------------------------------------------------------------------
def workers_of(pid: int) -> list[psutil.Process]:
    found = []
    for process in psutil.Process(pid).children(recursive=True):
        try:
            if "spawn_main" in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def cmdline(process: psutil.Process) -> list[str]:
    return process.info["cmdline"] or []  # set by process_iter


def busy_worker(pid: int) -> psutil.Process:
    """The worker that computes; the others wait for work."""
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        for process in workers_of(pid):
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.cpu_percent(0.4) > 30:
                    return process
    raise AssertionError("no worker computes")


def kill_the_busy_one(pid: int) -> None:
    busy_worker(pid).kill()


ASKING = """
import sys
from functools import partial
from pathlib import Path
from rag.renderers.isolated import IsolatedReader
from rag.settings import RenderSettings

print("main runs", flush=True)
path = Path(sys.argv[1])
with IsolatedReader(RenderSettings(renderer="pypdfium2", page_timeout_s=60)) as reader:
    print(reader.open(path).n_pages, flush=True)
    for outcome in reader.scan(path, [1, 2]):
        print(outcome.page_number, flush=True)
"""


@pytest.fixture
def asking(tmp_path: Path, pdf: Path) -> Iterator[subprocess.Popen[str]]:
    """A plain script, with no `__main__` guard, that reads a page and hangs at the second."""
    pdf.write_bytes(make_pdf(["one", ENDLESS]))
    script = tmp_path / "script.py"
    script.write_text(ASKING, encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, str(script), str(pdf)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_processes_end_with_the_one_that_asked(
    asking: subprocess.Popen[str], how: signal.Signals
) -> None:
    assert asking.stdout is not None
    assert [asking.stdout.readline() for _ in range(3)] == ["main runs\n", "2\n", "1\n"]
    busy_worker(asking.pid)
    children = workers_of(asking.pid)
    assert len(children) == 2  # one in an endless page, one idle

    asking.send_signal(how)

    asking.wait(timeout=10)
    until(lambda: not any(alive(child) for child in children))
    assert asking.stdout.read() == ""  # no process ran the script again


def alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def test_a_wake_up_lost_to_ctrl_c_does_not_keep_the_processes_from_ending(pdf: Path) -> None:
    pdf.write_bytes(make_pdf(["one page"]))
    reader = IsolatedReader(RenderSettings(renderer="pypdfium2"))
    reader.open(pdf)
    not_empty = reader._pools._pool._context.task_queue.not_empty
    until(lambda: not_empty._waiters)
    # What an interrupted notify leaves: a waiter that has been woken and is still in the list.
    stale = threading.Lock()
    stale.acquire()
    not_empty._waiters.appendleft(stale)
    closing = threading.Thread(target=reader.close, daemon=True)
    closing.start()
    closing.join(timeout=30)
    assert not closing.is_alive()
