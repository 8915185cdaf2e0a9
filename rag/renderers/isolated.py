"""Reading files nobody trusts: in processes of their own, with limits of time, memory and pixels.

A failure is a value (`PageFailure`) where a page fails, a DocumentError where a file does; a page
that hangs or crashes its process costs that page alone.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError
from concurrent.futures import wait as wait_for
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pebble

from rag import telemetry
from rag.errors import BackendError, DocumentError, RagError
from rag.ocr.cache import OcrCache
from rag.ocr.choose import ChosenEngine, choose_engine
from rag.ocr.tesseract import has_library
from rag.ports import PdfInfo, ScannedPage
from rag.quarantine import (
    MOST_TIMES,
    Fatal,
    FatalFiles,
    FatalFilesInMemory,
    quarantined,
    refuse_fatal,
    sha256_of,
)
from rag.renderers import worker
from rag.renderers.choose import fallback_renderers
from rag.renderers.image_renderer import IMAGE_SUFFIXES
from rag.renderers.ocr_pages import DocumentOcr, OcrPlan
from rag.renderers.reader_pools import LOOK_UP_S, ReaderPools, Task, end_left_behind, stalled
from rag.telemetry import READER_DEATHS
from rag.types import RenderedPage

if TYPE_CHECKING:
    from rag.settings import OcrSettings, RenderSettings  # pydantic: reading processes do without

_MAX_TIMEOUTS = 2  # of one document; its remaining pages are not tried
_MIN_RETRY_S = 1.0
# Of processor time, to what a task may take by the clock: OCR may use several threads.
_CPU_FACTOR, _MORE_CPU_S = 4, 10
# What loading an engine may map: RapidOCR 0.9 GB with its libraries, Tesseract 0.2.
_OCR_MEMORY_BYTES = 2_000_000_000


@dataclass(frozen=True)
class PageFailure:
    """A page that could not be read, or not be encoded.

    Attributes:
        reason: `render_failed`, `render_timeout`, `render_crashed`, `out_of_memory`,
            `document_too_slow`, `document_stalled`, `quarantined`, the code of the DocumentError
            that all readers gave, or `page_crashes_encoder`.
    """

    page_number: int
    reason: str
    message: str


class IsolatedReader:
    """Reads documents in worker processes. Use as a context manager; safe for several threads.

    Processes start with the first file and end with the reader, or with the process that holds it.
    """

    def __init__(
        self,
        settings: RenderSettings,
        *,
        ocr: OcrSettings | None = None,
        ocr_cache: OcrCache | None = None,
        fatal_files: FatalFiles | None = None,
        readable: Sequence[Path] = (),
    ) -> None:
        """Nothing is started or asked for yet.

        Args:
            settings: of reading.
            ocr: of reading words from pixels; None reads none.
            ocr_cache: what was read of pages before.
            fatal_files: where files are noted that end the processes; None forgets them.
            readable: folders that files are read from again and again.
        """
        self._settings = settings
        self._ocr_settings = ocr if ocr is not None and ocr.mode != "off" else None
        self._ocr_cache = ocr_cache
        self._ocr_known: str | RagError | None = None
        self._pdf_renderers = tuple(fallback_renderers(settings.renderer))
        self.fatal_files = fatal_files or FatalFilesInMemory()
        self._pools = ReaderPools(settings, self._limits, readable)

    def __enter__(self) -> IsolatedReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the processes; reading again starts new ones."""
        self._pools.close()

    def will_read(self, paths: Sequence[Path]) -> None:
        """Files and folders about to be read; told beforehand, they cost no restart each."""
        self._pools.may_read(paths)

    def open(
        self,
        path: Path,
        *,
        password: str | None = None,
        sha256: str | None = None,
        again: bool = False,
    ) -> PdfInfo:
        """What the first reader that can open the file says of it.

        Args:
            path: of the file.
            password: of the file.
            sha256: of its bytes; None asks nobody whether it is quarantined.
            again: try it whatever it did, and forget that.

        Raises:
            DocumentError: codes of PageRenderer, and `render_timeout`, `render_crashed`,
                `out_of_memory`, `document_stalled`, `quarantined`.
        """
        if sha256 is not None:
            if again:
                self.fatal_files.forget(sha256)
            refuse_fatal(self.fatal_files, sha256, path.name)
        request = worker.ReadRequest(path, self._renderers_for(path), password)
        task = self._started(worker.open_document, request)
        try:
            info = self._result(task)
        except DocumentError:
            self._note_losses(path, task, sha256)
            raise
        assert isinstance(info, PdfInfo)
        return info

    def scan(
        self,
        path: Path,
        page_numbers: Iterable[int],
        *,
        password: str | None = None,
        want_image: bool = False,
        kept_as: str | None = None,
        stopping: threading.Event | None = None,
    ) -> Iterator[ScannedPage | PageFailure]:
        """Read pages, several at a time; they come in the order asked for.

        One file cannot hold up an ingest: after two pages that exceeded their time the rest fails
        as `document_too_slow`, after three processes that ended over pages which nobody could read
        as `quarantined`, and when no page comes to an end for long as `document_stalled`.

        Args:
            path: of the file.
            page_numbers: from 1.
            password: of the file.
            want_image: also render at the settings' dpi.
            kept_as: SHA-256 of the file where it is kept; what OCR reads is kept with it.
            stopping: when it is set, what is being read is given up and nothing more comes.

        Raises:
            ConfigError: as `ocr_engine`.
        """
        ocr = None
        if self._ocr_settings is not None:
            plan = OcrPlan(self._ocr_settings, self.ocr_engine, self._ocr_cache)
            ocr = DocumentOcr(plan, self._settings, self._ocr_identity, kept_as=kept_as)
        document = _Document(path, kept_as, self._renderers_for(path))
        waiting = iter(page_numbers)
        running: deque[_Page] = deque()
        while document.ended_by is None:
            # Two a process: one is read while the other's result travels.
            for number in itertools.islice(waiting, 2 * self._settings.workers - len(running)):
                request = self._request(path, number, password, want_image=want_image)
                request = dataclasses.replace(request, renderers=document.renderers)
                running.append(_Page(number, self._started(worker.scan_page, request)))
            if not running:
                return
            outcome = self._first_outcome(running, ocr, stopping, document)
            if outcome is None:
                if document.ended_by is not None:
                    break
                for page in running:
                    page.task.give_up()
                return
            page = running.popleft()
            self._learn(document, page, outcome)
            yield outcome
        assert document.ended_by is not None
        for page in running:
            # Ends the process that hangs on it; no effect where it is done.
            page.task.give_up()
        for page in running:
            yield self._given_up(page, ocr, document.ended_by)
        for number in waiting:
            yield dataclasses.replace(document.ended_by, page_number=number)

    def _learn(self, document: _Document, page: _Page, outcome: ScannedPage | PageFailure) -> None:
        """What a page says of those that follow it."""
        if page.n_processes and len(document.renderers) > page.n_processes:
            # The reader that it ended is asked last: others may do, and a process costs a second.
            ended, others = (
                document.renderers[: page.n_processes],
                document.renderers[page.n_processes :],
            )
            document.renderers = (*others, *ended)
        if not isinstance(outcome, PageFailure):
            document.read_last_s = time.monotonic()
            return
        if outcome.reason == "render_timeout":
            document.n_timeouts += 1
        found = self._note_losses(document.path, page.task, document.sha256)
        if found is not None and found.n_times >= MOST_TIMES:
            error = quarantined(document.path.name, found)
            document.ended_by = PageFailure(0, error.code, error.message)
        elif document.n_timeouts >= _MAX_TIMEOUTS:
            document.ended_by = self._too_slow(document.path)
        elif (
            outcome.reason != "render_timeout"  # counted above
            and time.monotonic() - document.read_last_s
            > _MAX_TIMEOUTS * self._settings.page_timeout_s
        ):
            # A file may claim thousands of pages that it does not have.
            document.ended_by = self._none_read(document.path)

    def _note_losses(self, path: Path, task: Task, sha256: str | None) -> Fatal | None:
        """Processes that a file's reading ended, noted by its bytes; None where there are none."""
        if not task.n_ended:
            return None
        telemetry.count(READER_DEATHS, task.n_ended)
        sha256 = sha256 or sha256_of(path)
        return (
            None if sha256 is None else self.fatal_files.add(sha256, task.n_ended, task.ended_how)
        )

    @functools.cached_property
    def ocr_engine(self) -> ChosenEngine | None:
        """Who reads words from pixels; None where it is off, or nobody is installed.

        Raises:
            ConfigError: as `choose_engine`.
        """
        if self._ocr_settings is None:
            return None
        return choose_engine(self._ocr_settings.engine, self._ocr_settings.languages)

    @property
    def misses_ocr(self) -> bool:
        """Whether words should be read from pixels, and nobody is installed who could."""
        return self._ocr_settings is not None and self.ocr_engine is None

    def render(
        self,
        path: Path,
        page_number: int,
        *,
        dpi: float | None = None,
        max_px: int | None = None,
        password: str | None = None,
    ) -> RenderedPage:
        """One page as pixels; the settings' dpi and max_px where none are given.

        Raises:
            DocumentError: as `open`, and `render_failed`.
        """
        request = dataclasses.replace(
            self._request(path, page_number, password),
            dpi=dpi or self._settings.dpi,
            max_px=min(max_px or self._settings.max_px, self._settings.max_px),
        )
        page = self._result(self._started(worker.render_page, request))
        assert isinstance(page, RenderedPage)
        return page

    def _renderers_for(self, path: Path) -> tuple[str, ...]:
        return ("image",) if path.suffix.lower() in IMAGE_SUFFIXES else self._pdf_renderers

    def _request(
        self, path: Path, page_number: int, password: str | None, *, want_image: bool = False
    ) -> worker.PageRequest:
        return worker.PageRequest(
            path=path,
            page_number=page_number,
            renderers=self._renderers_for(path),
            dpi=self._settings.dpi,
            max_px=self._settings.max_px,
            password=password,
            want_image=want_image,
            ocr_mode="off" if self._ocr_settings is None else self._ocr_settings.mode,
        )

    # --- from one step of a page to the next ----------------------------------------------------
    def _first_outcome(
        self,
        running: Sequence[_Page],
        ocr: DocumentOcr | None,
        stopping: threading.Event | None,
        document: _Document,
    ) -> ScannedPage | PageFailure | None:
        """What becomes of the first page, while the others go on too; None where it is given up."""
        first, *others = running
        n_done, since_s = 0, time.monotonic()
        while first.outcome is None:
            for page in others:
                # Failures wait for their turn: another reader may be asked, and waited for.
                if page.has_succeeded:
                    self._go_on(page, ocr)
            if first.task.future.done():
                self._go_on(first, ocr)
                continue
            if stopping is not None and stopping.is_set():
                return None
            if n_done != (n_done := sum(page.task.future.done() for page in running)):
                since_s = time.monotonic()
            if time.monotonic() - since_s > self._settings.stall_timeout_s:
                document.ended_by = self._stalled(document.path)
                self._pools.drop()
                return None
            tasks = [page.task for page in running if not page.task.future.done()]
            for task in tasks:
                task.end_if_overdue()
            wait_for(
                [task.future for task in tasks], timeout=LOOK_UP_S, return_when=FIRST_COMPLETED
            )
        return first.outcome

    def _go_on(self, page: _Page, ocr: DocumentOcr | None) -> None:
        """The next step of a page whose task has ended."""
        if page.outcome is not None:
            return
        if page.scanned is not None and ocr is not None:
            page.outcome = self._ocr_outcome(page.scanned, page.task, ocr)
            return
        try:
            scanned = self._result(page.task)
        except DocumentError as error:
            page.outcome = PageFailure(page.number, error.code, error.message)
            return
        finally:
            page.n_processes = page.task.n_ended
        assert isinstance(scanned, worker.Scanned)
        asked = page.task.request
        assert isinstance(asked, worker.PageRequest)
        wanted = scanned.page if ocr is None else ocr.request(scanned, asked)
        if isinstance(wanted, ScannedPage):
            page.outcome = wanted
        else:
            page.scanned = scanned
            page.task = self._ocr_task(worker.read_words, wanted)

    def _given_up(
        self, page: _Page, ocr: DocumentOcr | None, ended_by: PageFailure
    ) -> ScannedPage | PageFailure:
        """What there is of a page when its file is read no further; no step of it is begun."""
        if page.outcome is None and page.has_succeeded:
            if page.scanned is None:
                page.scanned = page.task.future.result()
            else:
                self._go_on(page, ocr)
        if page.outcome is None and page.scanned is not None:
            page.outcome = page.scanned.page if ocr is None else ocr.cut_short(page.scanned)
        return page.outcome or dataclasses.replace(ended_by, page_number=page.number)

    def _ocr_outcome(self, scanned: worker.Scanned, task: Task, ocr: DocumentOcr) -> ScannedPage:
        try:
            read = self._result(task)
        except DocumentError as error:
            return ocr.failed(scanned, error)
        except BackendError as error:
            if error.code != "ocr_failed":
                raise
            return ocr.failed(scanned, error)
        assert isinstance(read, worker.ReadPixels)
        assert isinstance(task.request, worker.OcrRequest)
        return ocr.finished(scanned, read, task.request)

    def _ocr_identity(self, request: worker.OcrRequest) -> str:
        """Of the engine, from a process that loaded it; asked once."""
        if self._ocr_known is None:
            try:
                self._ocr_known = str(self._result(self._ocr_task(worker.ocr_identity, request)))
            except DocumentError as error:
                self._ocr_known = error
            except BackendError as error:
                if error.code != "ocr_failed":
                    raise
                self._ocr_known = error
        if isinstance(self._ocr_known, RagError):
            raise self._ocr_known
        return self._ocr_known

    def _ocr_task(self, function: Callable[[Any], Any], request: worker.OcrRequest) -> Task:
        assert self._ocr_settings is not None
        return self._started(function, request, timeout_s=self._ocr_settings.page_timeout_s)

    def _too_slow(self, path: Path) -> PageFailure:
        return PageFailure(
            0,
            "document_too_slow",
            f"{_MAX_TIMEOUTS} other pages of {path.name} took longer than "
            f"{self._settings.page_timeout_s:g} s each; this one was not tried",
        )

    def _none_read(self, path: Path) -> PageFailure:
        return PageFailure(
            0,
            "document_too_slow",
            f"for {_MAX_TIMEOUTS * self._settings.page_timeout_s:g} s no page of {path.name} could "
            "be read; this one was not tried",
        )

    def _stalled(self, path: Path) -> PageFailure:
        error = stalled(path, self._settings.stall_timeout_s)
        return PageFailure(0, error.code, error.message)

    # --- tasks in processes ---------------------------------------------------------------------
    def _limits(self, readable: tuple[Path, ...]) -> tuple[tuple[str, ...], worker.Limits]:
        """What a new process loads, and what it may have."""
        settings, ocr = self._settings, self._ocr_settings
        longest_s = max(settings.page_timeout_s, ocr.page_timeout_s if ocr else 0.0)
        runs_tesseract = (
            ocr is not None
            and self.ocr_engine is not None
            and self.ocr_engine.name == "tesseract"
            and not has_library()
        )
        limits = worker.Limits(
            memory_bytes=settings.worker_memory_bytes,
            ocr_memory_bytes=0 if ocr is None else _OCR_MEMORY_BYTES,
            cpu_s=_CPU_FACTOR * longest_s + _MORE_CPU_S,
            is_confined=settings.sandbox != "off",
            readable=readable,
            may_start_programs="pdf2image" in self._pdf_renderers or runs_tesseract,
        )
        return self._pdf_renderers, limits

    def _started(
        self,
        function: Callable[[Any], Any],
        request: worker.ReadRequest,
        *,
        timeout_s: float | None = None,
    ) -> Task:
        task = Task(function, request, timeout_s or self._settings.page_timeout_s)
        self._pools.schedule(task)
        return task

    def _result(self, task: Task) -> Any:
        """Wait for a task; one whose process ended is given to the next reader."""
        name = task.request.path.name
        while True:
            if not task.wait(self._settings.stall_timeout_s + task.timeout_s):
                self._pools.drop()
                raise stalled(task.request.path, self._settings.stall_timeout_s)
            try:
                return task.future.result()
            except pebble.ProcessExpired as error:
                task.count_ended(error.exitcode)
                end_left_behind(error.pid)
                others = task.request.renderers[1:]
                left_s = task.deadline_s - time.monotonic()
                if task.is_overdue:
                    raise self._timed_out(name) from error
                if not others or left_s < _MIN_RETRY_S:
                    raise DocumentError(
                        f"reading {name} ended the process that did it",
                        code="render_crashed",
                        next_step="Open it in a PDF viewer and save it anew.",
                    ) from error
                task.request = dataclasses.replace(task.request, renderers=others)
                task.timeout_s = left_s
                self._pools.schedule(task)
            except (BrokenProcessPool, CancelledError) as error:
                if task.is_overdue:
                    task.count_ended(None)
                    raise self._timed_out(name) from error
                if task.n_closed != self._pools.n_closed:
                    raise BackendError(
                        "the reader was closed while it read",
                        code="reader_closed",
                        next_step="Run it again; what was ingested stays.",
                    ) from error
                # Not this task's doing: an idle process was ended from outside.
                if task.n_pools_lost:
                    raise BackendError(
                        "the processes that read pages do not stay alive",
                        code="reader_failed",
                        next_step="Look for memory limits of this machine or container, and at "
                        "render.worker_memory_bytes.",
                    ) from error
                task.n_pools_lost += 1
                self._pools.schedule(task)

    def _timed_out(self, name: str) -> DocumentError:
        return DocumentError(
            f"{name} took longer than {self._settings.page_timeout_s:g} s to read",
            code="render_timeout",
            next_step="Raise render.page_timeout_s if the file is worth waiting for.",
        )


@dataclass
class _Document:
    """A file whose pages are read.

    Attributes:
        sha256: of its bytes, where it is known already.
        renderers: who is asked for its next page, in their order.
        read_last_s: when a page was read, or none was yet; of time.monotonic.
        ended_by: what is said of pages that are not tried; None while they are.
    """

    path: Path
    sha256: str | None
    renderers: tuple[str, ...]
    n_timeouts: int = 0
    read_last_s: float = field(default_factory=time.monotonic)
    ended_by: PageFailure | None = None


@dataclass(eq=False)
class _Page:
    """A page on its way.

    Attributes:
        task: under way for it.
        n_processes: that ended over it, while the file was read.
        scanned: what was read of the file, when the task is to read its pixels.
    """

    number: int
    task: Task
    n_processes: int = 0
    scanned: worker.Scanned | None = None
    outcome: ScannedPage | PageFailure | None = None

    @property
    def has_succeeded(self) -> bool:
        future = self.task.future
        return future.done() and not future.cancelled() and future.exception() is None
