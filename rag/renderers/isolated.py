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
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pebble

from rag.errors import BackendError, DocumentError, RagError
from rag.ocr.cache import OcrCache
from rag.ocr.choose import ChosenEngine, choose_engine
from rag.ports import PdfInfo, ScannedPage
from rag.processes import CleanSpawnContext
from rag.renderers import worker
from rag.renderers.choose import fallback_renderers
from rag.renderers.image_renderer import IMAGE_SUFFIXES
from rag.renderers.ocr_pages import DocumentOcr, OcrPlan
from rag.types import RenderedPage

if TYPE_CHECKING:
    from rag.settings import OcrSettings, RenderSettings  # pydantic: reading processes do without

_MAX_TIMEOUTS = 2  # of one document; its remaining pages are not tried
_PAGES_PER_PROCESS = 2000  # then a fresh one: libraries leak
_MIN_RETRY_S = 1.0
_LOOK_UP_S = 0.1
# What loading an engine may map: RapidOCR 0.9 GB with its libraries, Tesseract 0.2.
_OCR_MEMORY_BYTES = 2_000_000_000


@dataclass(frozen=True)
class PageFailure:
    """A page that could not be read, or not be encoded.

    Attributes:
        reason: `render_failed`, `render_timeout`, `render_crashed`, `out_of_memory`,
            `document_too_slow`, the code of the DocumentError that all readers gave, or
            `page_crashes_encoder`.
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
    ) -> None:
        """Nothing is started or asked for yet.

        Args:
            settings: of reading.
            ocr: of reading words from pixels; None reads none.
            ocr_cache: what was read of pages before.
        """
        self._settings = settings
        self._ocr_settings = ocr if ocr is not None and ocr.mode != "off" else None
        self._ocr_cache = ocr_cache
        self._ocr_known: str | RagError | None = None
        self._pdf_renderers = tuple(fallback_renderers(settings.renderer))
        self._pool: Any = None
        self._pool_lock = threading.Lock()
        self._n_closed = 0

    def __enter__(self) -> IsolatedReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the processes; reading again starts new ones."""
        with self._pool_lock:
            pool, self._pool = self._pool, None
            self._n_closed += 1
        if pool is not None:
            pool.stop()
            # `join` wakes the pool's scheduler once. A Ctrl-C in the middle of handing a task over
            # (Condition.notify, before it forgets the waiter) leaves a waiter behind that swallows
            # one call, and the join would wait for ever: so there are two.
            pool._context.task_queue.put(None)
            pool.join()

    def open(self, path: Path, *, password: str | None = None) -> PdfInfo:
        """What the first reader that can open the file says of it.

        Raises:
            DocumentError: codes of PageRenderer, and `render_timeout`, `render_crashed`,
                `out_of_memory`.
        """
        request = worker.ReadRequest(path, self._renderers_for(path), password)
        info = self._result(self._started(worker.open_document, request))
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

        After two pages that exceeded their time the rest fails as `document_too_slow`, so that one
        file cannot hold up an ingest.

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
        waiting = iter(page_numbers)
        running: deque[_Page] = deque()
        n_timeouts = 0
        while n_timeouts < _MAX_TIMEOUTS:
            # Two a process: one is read while the other's result travels.
            for number in itertools.islice(waiting, 2 * self._settings.workers - len(running)):
                request = self._request(path, number, password, want_image=want_image)
                running.append(_Page(number, self._started(worker.scan_page, request)))
            if not running:
                return
            outcome = self._first_outcome(running, ocr, stopping)
            if outcome is None:
                for page in running:
                    page.task.future.cancel()
                return
            running.popleft()
            if isinstance(outcome, PageFailure):
                n_timeouts += outcome.reason == "render_timeout"
            yield outcome
        for page in running:
            # Ends the process that hangs on it; no effect where it is done.
            page.task.future.cancel()
        for page in running:
            yield self._given_up(path, page, ocr)
        for number in waiting:
            yield self._too_slow(path, number)

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
        self, running: Sequence[_Page], ocr: DocumentOcr | None, stopping: threading.Event | None
    ) -> ScannedPage | PageFailure | None:
        """What becomes of the first page, while the others go on too; None where it is given up."""
        first, *others = running
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
            futures = [page.task.future for page in running if not page.task.future.done()]
            wait_for(futures, timeout=_LOOK_UP_S, return_when=FIRST_COMPLETED)
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
        self, path: Path, page: _Page, ocr: DocumentOcr | None
    ) -> ScannedPage | PageFailure:
        """What there is of a page when its file is read no further; no step of it is begun."""
        if page.outcome is None and page.has_succeeded:
            if page.scanned is None:
                page.scanned = page.task.future.result()
            else:
                self._go_on(page, ocr)
        if page.outcome is None and page.scanned is not None:
            page.outcome = page.scanned.page if ocr is None else ocr.cut_short(page.scanned)
        return page.outcome or self._too_slow(path, page.number)

    def _ocr_outcome(self, scanned: worker.Scanned, task: _Task, ocr: DocumentOcr) -> ScannedPage:
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

    def _ocr_task(self, function: Callable[[Any], Any], request: worker.OcrRequest) -> _Task:
        assert self._ocr_settings is not None
        return self._started(function, request, timeout_s=self._ocr_settings.page_timeout_s)

    def _too_slow(self, path: Path, page_number: int) -> PageFailure:
        return PageFailure(
            page_number,
            "document_too_slow",
            f"{_MAX_TIMEOUTS} other pages of {path.name} took longer than "
            f"{self._settings.page_timeout_s:g} s each; this one was not tried",
        )

    # --- tasks in processes ---------------------------------------------------------------------
    def _started(
        self,
        function: Callable[[Any], Any],
        request: worker.ReadRequest,
        *,
        timeout_s: float | None = None,
        n_pools_lost: int = 0,
    ) -> _Task:
        timeout_s = timeout_s or self._settings.page_timeout_s
        with self._pool_lock:
            if self._pool is None or not self._pool.active:
                self._pool = self._new_pool()
            future = self._pool.schedule(function, args=(request,), timeout=timeout_s)
            n_closed = self._n_closed
        deadline_s = time.monotonic() + timeout_s
        return _Task(function, request, future, deadline_s, n_pools_lost, n_closed)

    def _new_pool(self) -> Any:
        return pebble.ProcessPool(
            max_workers=self._settings.workers,
            max_tasks=_PAGES_PER_PROCESS,
            initializer=worker.start,
            initargs=(
                self._pdf_renderers,
                self._settings.worker_memory_bytes,
                0 if self._ocr_settings is None else _OCR_MEMORY_BYTES,
            ),
            context=CleanSpawnContext(),
        )

    def _result(self, task: _Task) -> Any:
        """Wait for a task; one whose process ended is given to the next reader."""
        name = task.request.path.name
        while True:
            try:
                return task.future.result()
            except TimeoutError as error:
                raise DocumentError(
                    f"{name} took longer than {self._settings.page_timeout_s:g} s to read",
                    code="render_timeout",
                    next_step="Raise render.page_timeout_s if the file is worth waiting for.",
                ) from error
            except pebble.ProcessExpired as error:
                others = task.request.renderers[1:]
                left_s = task.deadline_s - time.monotonic()
                if not others or left_s < _MIN_RETRY_S:
                    raise DocumentError(
                        f"reading {name} ended the process that did it", code="render_crashed"
                    ) from error
                request = dataclasses.replace(task.request, renderers=others)
                task = self._started(task.function, request, timeout_s=left_s)
            except (BrokenProcessPool, CancelledError) as error:
                if task.n_closed != self._n_closed:
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
                task = self._started(task.function, task.request, n_pools_lost=1)


@dataclass(frozen=True)
class _Task:
    function: Callable[[Any], Any]
    request: worker.ReadRequest
    future: Any  # pebble.ProcessFuture
    deadline_s: float  # of time.monotonic, for a second try
    n_pools_lost: int
    n_closed: int  # times the reader had been closed when it began


@dataclass(eq=False)
class _Page:
    """A page on its way.

    Attributes:
        task: under way for it.
        scanned: what was read of the file, when the task is to read its pixels.
    """

    number: int
    task: _Task
    scanned: worker.Scanned | None = None
    outcome: ScannedPage | PageFailure | None = None

    @property
    def has_succeeded(self) -> bool:
        future = self.task.future
        return future.done() and not future.cancelled() and future.exception() is None
