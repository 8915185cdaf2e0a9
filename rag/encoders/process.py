"""An encoder whose model lives in processes of its own, one for each GPU.

A crash costs the time to load the model again, and no page unless the page is what causes it. The
parent process never loads the model, nor what it runs on.
"""

from __future__ import annotations

import contextlib
import pickle
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import connection
from typing import Any

from PIL import Image

from rag.encoders.process_child import Loaded, QueryRequest, send_pages, serve
from rag.errors import ModelFailed, PageCrashesEncoder
from rag.ports import EncodedPage, EncodedQuery, EncoderIdentity, PageEncoder, PageInput
from rag.process_failures import Failure, exit_code, how_it_ended
from rag.processes import CleanSpawnContext

# A search waits for the pages under way; a few at a time on a slow machine, many on a fast one.
_TURN_S = 2.0
_FIRST_TURN_PAGES = 4
# A process that lives for months may crash now and then.
_FORGET_CRASHES_S = 3600.0
_LEAVING_S = 2.0
# What the device cannot do any more, another process may.
_WORN_OUT = frozenset({"gpu_lost"})


class EncoderProcess:
    """PageEncoder of what `load` makes in another process. Safe for several threads.

    A batch that ends its process is tried again in a new one. If it does so twice its pages are
    tried one by one; those that end the process alone are named, and do not count as crashes of the
    encoder.
    """

    def __init__(
        self,
        load: Callable[[], PageEncoder],
        *,
        devices: Sequence[str] | None = None,
        restarts: int = 3,
    ) -> None:
        """Start a process and wait for the model; processes of other devices start with pages.

        Args:
            load: called in the process; what can be pickled, such as a function of a module.
            devices: what each process gets as CUDA_VISIBLE_DEVICES; None: one process for each GPU
                that the first one sees, and at least one.
            restarts: starts after crashes at most, within an hour.

        Raises:
            RagError: as `load` does; ModelFailed `encoder_crashed`, the process ended meanwhile.
        """
        self._load = pickle.dumps(load)
        self._crashes = _Crashes(restarts)
        self._starting = threading.Lock()
        self._is_closed = False
        self._workers = [_Worker(self._load, devices[0] if devices else None, self._crashes)]
        loaded = self._workers[0].start()
        self.identity: EncoderIdentity = loaded.identity
        self.wants_image: bool = loaded.wants_image
        self._more_devices = list(loaded.devices if devices is None else devices)[1:]

    def encode_pages(self, pages: Sequence[PageInput]) -> list[EncodedPage]:
        """As the encoder does it.

        Raises:
            PageCrashesEncoder: the others of the batch can be encoded without these.
            ModelFailed: `encoder_crashed`, more often than `restarts`, or `encoder_changed`.
        """
        workers = self._all_workers() if len(pages) > 1 else self._workers[:1]
        share = -(-len(pages) // len(workers)) or 1
        parts = [pages[start : start + share] for start in range(0, len(pages), share)]
        if len(parts) < 2:
            return [page for part in parts for page in workers[0].encode_pages(part)]
        with ThreadPoolExecutor(len(parts), thread_name_prefix="gpu") as pool:
            made = pool.map(lambda worker, part: worker.encode_pages(part), workers, parts)
            return [page for part in made for page in part]

    def encode_query(self, text: str, *, image: Image.Image | None = None) -> EncodedQuery:
        worker = min(self._workers, key=lambda each: each.is_busy)
        return worker.encode_query(text, image)

    def close(self) -> None:
        with self._starting:
            self._is_closed = True
            for worker in self._workers:
                worker.close()

    def _all_workers(self) -> list[_Worker]:
        with self._starting:
            while self._more_devices and not self._is_closed:
                worker = _Worker(self._load, self._more_devices[0], self._crashes, self.identity)
                worker.start()
                self._workers.append(worker)
                del self._more_devices[0]
            return list(self._workers)


class _Crashes:
    """How often processes may be started again, all of an encoder together."""

    def __init__(self, restarts: int) -> None:
        self._restarts = restarts
        self._lock = threading.Lock()
        self._counted = 0
        self._last_s = 0.0
        self._guilty_in_a_row = 0

    def allow_restart(self, crash: _Crashed) -> None:
        """Raises ModelFailed `encoder_crashed` when it was allowed often enough."""
        with self._lock:
            if time.monotonic() - self._last_s > _FORGET_CRASHES_S:
                self._counted = 0
            self._counted += 1
            self._last_s = time.monotonic()
            if self._counted > self._restarts:
                raise crash.as_error(
                    f"and had been started again {self._restarts} times"
                ) from crash

    def blame_page(self, crash: _Crashed, *, n_restarts: int) -> None:
        """A page explains the last `n_restarts`, unless every page seems to be at fault.

        Raises:
            ModelFailed: `encoder_crashed`.
        """
        with self._lock:
            self._guilty_in_a_row += 1
            if self._guilty_in_a_row > self._restarts:
                raise crash.as_error("at every page") from crash
            self._counted = max(0, self._counted - n_restarts)

    def went_well(self) -> None:
        with self._lock:
            self._guilty_in_a_row = 0


class _Worker:
    """One process and whoever waits for it; started again when it is asked after a crash."""

    def __init__(
        self,
        pickled_load: bytes,
        device: str | None,
        crashes: _Crashes,
        identity: EncoderIdentity | None = None,
    ) -> None:
        self._pickled_load = pickled_load
        self._device = device
        self._crashes = crashes
        self._identity = identity
        self._turns = _Turns()
        self._child: _Child | None = None
        self._crash: _Crashed | None = None
        self._is_closed = False
        self._turn_pages = _FIRST_TURN_PAGES

    @property
    def is_busy(self) -> bool:
        return self._turns.is_taken

    def start(self) -> Loaded:
        child = _Child(self._pickled_load, self._device)
        try:
            loaded = child.loaded()
        except _Crashed as crash:
            raise crash.as_error("while it loaded the model") from crash
        if self._identity is not None and loaded.identity != self._identity:
            child.end()
            raise ModelFailed(
                f"the encoder was {self._identity} and is {loaded.identity} after it was started "
                "again",
                code="encoder_changed",
                next_step="Leave the files of the model alone while they are in use.",
            )
        self._identity = loaded.identity
        self._child = child
        self._crash = None
        if self._is_closed:  # meanwhile, when there was no child to end
            child.end()
        return loaded

    def close(self) -> None:
        self._is_closed = True
        child = self._child
        if child is None:
            return
        if self.is_busy:
            child.end()  # whoever waits for its answer is told
        else:
            child.leave()

    # --- pages ----------------------------------------------------------------------------------
    def encode_pages(self, pages: Sequence[PageInput]) -> list[EncodedPage]:
        made: list[EncodedPage] = []
        while len(made) < len(pages):
            some = pages[len(made) : len(made) + self._turn_pages]
            start_s = time.monotonic()
            made += self._encoded(some)
            page_s = (time.monotonic() - start_s) / len(some)
            self._turn_pages = max(1, min(4 * self._turn_pages, int(_TURN_S / max(page_s, 1e-3))))
        return made

    def _encoded(self, pages: Sequence[PageInput]) -> list[EncodedPage]:
        crash: _Crashed
        for _ in range(2):
            try:
                return self._asked_pages(pages)
            except _Crashed as crashed:
                crash = crashed
        if len(pages) == 1:
            self._blame_page(crash, n_restarts=1)
            raise _guilty([pages[0].ref.page_number], crash)
        made: list[EncodedPage] = []
        guilty: list[int] = []
        for page in pages:
            try:
                made += self._asked_pages([page])
            except _Crashed as crashed:
                crash = crashed
                self._blame_page(crash, n_restarts=0 if guilty else 2)
                guilty.append(page.ref.page_number)
        if guilty:
            raise _guilty(guilty, crash)
        return made

    def _blame_page(self, crash: _Crashed, *, n_restarts: int) -> None:
        self._crashes.blame_page(crash, n_restarts=n_restarts)
        self._crash = None  # so that the next start does not count either

    def _asked_pages(self, pages: Sequence[PageInput]) -> list[EncodedPage]:
        made: list[EncodedPage] = self._asked(lambda pipe: send_pages(pipe, pages), is_query=False)
        return made

    # --- queries --------------------------------------------------------------------------------
    def encode_query(self, text: str, image: Image.Image | None) -> EncodedQuery:
        request = QueryRequest(text, image)
        try:
            return self._asked_query(request)
        except _Crashed:
            try:
                return self._asked_query(request)
            except _Crashed as crash:
                raise crash.as_error("twice at one query") from crash

    def _asked_query(self, request: QueryRequest) -> EncodedQuery:
        found: EncodedQuery = self._asked(lambda pipe: pipe.send(request), is_query=True)
        return found

    # --- one request ----------------------------------------------------------------------------
    def _asked(self, send: Callable[[connection.Connection], None], *, is_query: bool) -> Any:
        """The answer to what `send` sends.

        Raises:
            _Crashed: the process is gone.
            RagError: as the encoder raised it.
        """
        with self._turns.taken(first=is_query):
            child = self._ready_child()
            try:
                answer = child.ask(send)
            except _Crashed as crash:
                self._child, self._crash = None, crash
                raise self._closed() if self._is_closed else crash from None
            except BaseException:
                child.end()  # half a request or half an answer is in the pipe
                self._child = None
                raise
            if isinstance(answer, Failure):
                if answer.code in _WORN_OUT:
                    child.end()
                    self._child = None
                raise answer.as_error()
            self._crashes.went_well()
            return answer

    def _ready_child(self) -> _Child:
        if self._is_closed:
            raise self._closed()
        if self._child is None:
            if self._crash is not None:
                self._crashes.allow_restart(self._crash)
            self.start()
        assert self._child is not None
        return self._child

    def _closed(self) -> ModelFailed:
        return ModelFailed(
            "the encoder was closed while it was in use",
            code="encoder_closed",
            next_step="Run it again; what was ingested stays.",
        )


class _Child:
    """The process itself and the pipe to it; used by one thread at a time, `end` by any."""

    def __init__(self, pickled_load: bytes, device: str | None) -> None:
        context = CleanSpawnContext()
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=serve, args=(theirs, pickled_load, device), name="encoder", daemon=True
        )
        self._process.start()
        theirs.close()  # else its end would not be seen

    def loaded(self) -> Loaded:
        """Wait for the model. Raises what its `load` raised, or _Crashed."""
        try:
            answer = self.ask(lambda _: None)
        except BaseException:
            self.end()
            raise
        if isinstance(answer, Failure):
            self.leave()
            raise answer.as_error()
        assert isinstance(answer, Loaded)
        return answer

    def ask(self, send: Callable[[connection.Connection], None]) -> Any:
        try:
            send(self._pipe)
            # Its own children may hold the pipe open when it is gone.
            connection.wait([self._pipe, self._process.sentinel])
            if self._pipe.poll():
                return self._pipe.recv()
        except (EOFError, OSError):  # OSError: reset, or closed by `leave`
            pass
        raise _Crashed(self._how_it_ended())

    def leave(self) -> None:
        self._pipe.close()  # which is what it waits for
        self._process.join(_LEAVING_S)
        self.end()

    def end(self) -> None:
        self._process.kill()
        self._process.join()

    def _how_it_ended(self) -> str:
        code = exit_code(self._process, wait_s=_LEAVING_S)
        return "without an answer" if code is None else how_it_ended(code)


class _Crashed(Exception):
    """The process is gone; `str` says how. Raised among these classes, never to others."""

    def as_error(self, when: str) -> ModelFailed:
        return ModelFailed(
            f"the process of the encoder ended {self}, {when}",
            code="encoder_crashed",
            next_step="SIGKILL is what the system sends when memory runs out: set "
            "encoder.batch_size or encoder.max_patches lower, or choose a smaller model. What was "
            "ingested stays; run it again to go on.",
        )


def _guilty(page_numbers: list[int], crash: _Crashed) -> PageCrashesEncoder:
    numbers = ", ".join(map(str, page_numbers))
    return PageCrashesEncoder(
        f"page {numbers}: ended the process of the encoder {crash}, again and again",
        page_numbers=tuple(page_numbers),
        next_step="Ingest the document again with other encoder settings, such as a lower "
        "encoder.max_patches.",
    )


class _Turns:
    """A lock that queries get before pages."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._n_queries = 0
        self.is_taken = False

    @contextlib.contextmanager
    def taken(self, *, first: bool) -> Iterator[None]:
        with self._changed:
            self._n_queries += first
            try:
                self._changed.wait_for(lambda: not self.is_taken and (first or not self._n_queries))
            finally:
                self._n_queries -= first
            self.is_taken = True
        try:
            yield
        finally:
            with self._changed:
                self.is_taken = False
                self._changed.notify_all()
