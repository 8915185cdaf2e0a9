"""Requests to a Qdrant server: each ends in time, is made again where that may help, and fails in
our own terms.

A search has little time and a writer much: `SearchCalls` tries once more at once, `PatientCalls`
goes on until the server is back. Every request is safe to make twice, because records have ids.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol, TypeVar

import httpx
from qdrant_client import QdrantClient
from qdrant_client.common.client_exceptions import QdrantException, ResourceExhaustedResponse
from qdrant_client.http.exceptions import (
    ApiException,
    ResponseHandlingException,
    UnexpectedResponse,
)

from rag import telemetry
from rag.deadline import Cancelled, Deadline
from rag.errors import IndexUnavailable
from rag.interruptible import InterruptibleNetwork
from rag.server_failures import Pauses, asked_wait_s

_log = logging.getLogger(__name__)

T = TypeVar("T")

CHECK_SERVER = "Check that the Qdrant server of QDRANT_URL is up and reachable, then try again."
_GO_ON = (
    "Start the Qdrant server of QDRANT_URL, then run the command again: it goes on where it "
    "stopped. store.qdrant_wait_s is how long it is waited for."
)

WRITE_S = 30.0  # of one try of a writer: a body of 32 MiB over a slow line
_LONGEST_PAUSE_S = 5.0  # so that a server that is back is soon written to
_SEARCH_TRIES, _SEARCH_PAUSE_S = 2, 0.2
# After a failure searches of other threads fail at once, instead of each waiting for its own.
_DOWN_FOR_S = 1.0
_TELL_EVERY_S, _WORTH_A_WORD_S = 15.0, 1.0
_GRACE_S = 2.0  # for a request under way when its writer gives up


class Calls(Protocol):
    """How requests are made."""

    def __call__(self, doing: str, request: Callable[[], T]) -> T:
        """What `request` returns; `doing` is what fails with it, as in "searched".

        Raises:
            IndexUnavailable: `index_down`, `index_slow`, `index_busy`, `index_refused`,
                `index_lost`, `index_failed`.
        """
        ...


class Failed(Exception):
    """A try failed.

    Attributes:
        error: what to raise when there is no other try.
        is_transient: another try may do better.
        wait_s: as the server asks.
    """

    def __init__(
        self, error: IndexUnavailable, *, is_transient: bool = True, wait_s: float | None = None
    ) -> None:
        super().__init__(error.message)
        self.error = error
        self.is_transient = is_transient
        self.wait_s = wait_s


class TimeLeft:
    """What the store may still take for one search: time spent elsewhere does not count."""

    def __init__(self, seconds: float) -> None:
        self.whole_s = seconds
        self.left_s = seconds

    @contextmanager
    def spending(self) -> Iterator[None]:
        start = time.monotonic()
        try:
            yield
        finally:
            self.left_s = max(0.0, self.left_s - (time.monotonic() - start))


_of_search: ContextVar[TimeLeft | None] = ContextVar("time_left_of_search", default=None)


@contextmanager
def one_search(seconds: float | None) -> Iterator[None]:
    """Within the block all requests of this thread's searches share so much time; None ends that.

    A block inside another keeps the time of the outer one.
    """
    outer = _of_search.get()
    if seconds is not None and outer is not None:
        yield
        return
    token = _of_search.set(None if seconds is None else TimeLeft(seconds))
    try:
        yield
    finally:
        _of_search.reset(token)


class Server:
    """One client, what it is tried with, and when it last failed. Thread-safe."""

    def __init__(self, client: QdrantClient) -> None:
        # Private, and the only way to the httpx client that makes the connections.
        self._network = InterruptibleNetwork.under(client.http.client._client)
        self._down_until = 0.0
        self._why: Failed | None = None

    def attempt(
        self,
        doing: str,
        request: Callable[[], T],
        within_s: float,
        deadline: Deadline | None = None,
    ) -> T:
        """One try. Raises Failed, or Cancelled with the deadline."""
        try:
            with (
                telemetry.span("store", method=doing),
                self._network.calling(time.monotonic() + within_s, deadline),
            ):
                found = request()
        except (ApiException, QdrantException, RuntimeError, ValueError) as error:
            failed = failure(doing, error, within_s)
            if failed.is_transient:
                self._why, self._down_until = failed, time.monotonic() + _DOWN_FOR_S
            raise failed from error
        self._down_until = 0.0
        return found

    def require_not_down(self) -> None:
        """Raises Failed where another request has just failed."""
        why = self._why
        if why is not None and time.monotonic() < self._down_until:
            error = why.error
            raise Failed(
                IndexUnavailable(error.message, code=error.code, next_step=error.next_step)
            ) from why.__cause__


class SearchCalls:
    """One more try at once, within the time of a search."""

    def __init__(self, server: Server, timeout_s: float) -> None:
        self.server = server
        self.timeout_s = timeout_s

    def __call__(self, doing: str, request: Callable[[], T]) -> T:
        left = _of_search.get() or TimeLeft(self.timeout_s)
        for n_tries in range(1, _SEARCH_TRIES + 1):
            try:
                with left.spending():
                    if n_tries == 1:
                        self.server.require_not_down()
                    _require_some(left, doing)
                    return self.server.attempt(doing, request, left.left_s)
            except Failed as failed:
                pause_s = _SEARCH_PAUSE_S if failed.wait_s is None else failed.wait_s
                is_last = n_tries == _SEARCH_TRIES or pause_s >= min(1.0, left.left_s)
                if is_last or not failed.is_transient:
                    raise failed.error from failed.__cause__
                with left.spending():
                    time.sleep(pause_s)
        raise AssertionError("the loop returns or raises")


def _require_some(left: TimeLeft, doing: str) -> None:
    """Raises Failed where the time of the search is over."""
    if left.left_s <= 0:
        raise Failed(_too_slow(doing, left.whole_s))


class PatientCalls:
    """Tries until the server is back, for one writer.

    Attributes:
        waited_s: for a server that was away, in all.
    """

    def __init__(self, server: Server, wait_s: float) -> None:
        self._server = server
        self._wait_s = wait_s
        self._told_at = -math.inf
        self._gives_up = threading.Event()
        self._under_way = Deadline()
        self.waited_s = 0.0

    def give_up(self) -> None:
        """Waits end at once, a request under way gets a moment to end well."""
        self._gives_up.set()
        cut = threading.Timer(_GRACE_S, self._under_way.cancel)
        cut.daemon = True
        cut.start()

    def __call__(self, doing: str, request: Callable[[], T]) -> T:
        away_since: float | None = None
        pauses = Pauses(longest_s=_LONGEST_PAUSE_S)
        while True:
            began = time.monotonic()
            try:
                found = self._server.attempt(doing, request, WRITE_S, self._under_way)
            except Failed as failed:
                if not failed.is_transient:
                    raise failed.error from failed.__cause__
                if away_since is None:
                    away_since = began
                self._wait(failed, pauses.next(failed.wait_s), away_since)
            else:
                if away_since is not None:
                    self._told_back(time.monotonic() - away_since)
                return found

    def _wait(self, failed: Failed, pause_s: float, away_since: float) -> None:
        """Until the next try. Raises what failed where there is none, or Cancelled."""
        waited_s = time.monotonic() - away_since
        if waited_s + pause_s > self._wait_s:
            self.waited_s += waited_s
            raise IndexUnavailable(
                f"{failed.error.message}; it was waited for {waited_s:.0f} s",
                code=failed.error.code,
                next_step=_GO_ON,
            ) from failed.__cause__
        is_told = time.monotonic() - self._told_at < _TELL_EVERY_S
        if waited_s > _WORTH_A_WORD_S and not is_told:
            self._told_at = time.monotonic()
            _log.warning(
                "waiting for the store, for %.0f s at most: %s",
                self._wait_s - waited_s,
                failed.error.message,
            )
        if self._gives_up.wait(pause_s):
            raise Cancelled("nobody waits for the store any more")

    def _told_back(self, waited_s: float) -> None:
        self.waited_s += waited_s
        _log.log(
            logging.WARNING if waited_s > _WORTH_A_WORD_S else logging.INFO,
            "the store is back after %.1f s",
            waited_s,
        )


class LocalCalls:
    """The store inside qdrant-client: one request at a time, for it is not made for threads."""

    def __init__(self) -> None:
        self._lock = threading.RLock()

    def __call__(self, doing: str, request: Callable[[], T]) -> T:
        try:
            with self._lock:
                return request()
        except RuntimeError as error:
            raise _closed(doing) from error


# --- the library's errors as ours; a server's own words stay in the chained cause ----------------
def failure(doing: str, error: Exception, within_s: float) -> Failed:
    """What a failed try means.

    Raises:
        Cancelled: it was ended by whoever made it.
    """
    if isinstance(error, UnexpectedResponse):
        return _of_status(doing, error)
    if isinstance(error, QdrantException):  # 429 with a time to wait, also one that is no number
        wait_s = (
            float(error.retry_after_s) if isinstance(error, ResourceExhaustedResponse) else None
        )
        return Failed(_answered(doing, 429, "Too Many Requests", "index_busy"), wait_s=wait_s)
    source = error.source if isinstance(error, ResponseHandlingException) else error
    if isinstance(source, Cancelled):
        raise source
    if isinstance(source, httpx.TimeoutException) and not isinstance(source, httpx.ConnectTimeout):
        return Failed(_too_slow(doing, within_s))
    if isinstance(source, httpx.TransportError):
        return Failed(
            IndexUnavailable(
                f"the page index cannot be {doing}: no usable answer from the Qdrant server",
                code="index_down",
                next_step=CHECK_SERVER,
            )
        )
    if isinstance(source, RuntimeError):
        return Failed(_closed(doing), is_transient=False)
    return Failed(
        IndexUnavailable(
            f"the page index cannot be {doing}: what answers at QDRANT_URL does not answer as a "
            "Qdrant server does",
            code="index_failed",
            next_step="Check that QDRANT_URL is the server itself, and not a page in front of it.",
        )
    )


def _of_status(doing: str, error: UnexpectedResponse) -> Failed:
    status, reason = error.status_code or 0, error.reason_phrase
    wait_s = asked_wait_s(error.headers.get("Retry-After", "")) if error.headers else None
    if status in (401, 403):
        refused = _answered(doing, status, reason, "index_refused")
        refused.next_step = "Check QDRANT_API_KEY."
        return Failed(refused, is_transient=False)
    if status in (408, 429):
        return Failed(_answered(doing, status, reason, "index_busy"), wait_s=wait_s)
    if status in (502, 503, 504):
        return Failed(_answered(doing, status, reason, "index_down"), wait_s=wait_s)
    if status == 404:
        return Failed(_answered(doing, status, reason, "index_lost"), is_transient=False)
    failed = _answered(doing, status, reason, "index_failed")
    return Failed(failed, is_transient=status >= 500, wait_s=wait_s)


def _answered(doing: str, status: int, reason: str, code: str) -> IndexUnavailable:
    return IndexUnavailable(
        f"the page index cannot be {doing}: the Qdrant server answered {status} {reason}".rstrip(),
        code=code,
        next_step=CHECK_SERVER,
    )


def _too_slow(doing: str, within_s: float) -> IndexUnavailable:
    return IndexUnavailable(
        f"the page index cannot be {doing}: no usable answer from the Qdrant server within "
        f"{within_s:.2g} s",
        code="index_slow",
        next_step="See what the Qdrant server is busy with, or raise store.search_timeout_s.",
    )


def _closed(doing: str) -> IndexUnavailable:
    return IndexUnavailable(
        f"the page index cannot be {doing}: it is closed", next_step="Open it again."
    )
