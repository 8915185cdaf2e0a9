"""Requests to a server of models: so many at a time, tried again within a budget, answers of
bounded size. The key goes to that server alone, and into no message.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar
from urllib.parse import urlsplit

import httpx
from pydantic import SecretStr

from rag.deadline import Deadline
from rag.errors import ModelFailed
from rag.interruptible import Call, InterruptibleNetwork
from rag.server_failures import (
    Broken,
    Failures,
    Pauses,
    Refused,
    ServerKind,
    TooLate,
    asked_wait_s,
    checked_address,
    checked_key,
)
from rag.types import Json

__all__ = [
    "Arriving",
    "Broken",
    "ModelServer",
    "Refused",
    "ServerKind",
    "TooLate",
    "checked_address",
]

T = TypeVar("T")

_MAX_ERROR_BYTES = 20_000
_CONNECT_S = 5.0
# For what a server says of a failure, which is known without it.
_SAID_WITHIN_S = 2.0
# Between two looks at whether the wait for a turn or the next try is still wanted.
_LOOK_S = 0.05


class Arriving:
    """The bytes of one answer as they come."""

    def __init__(self, chunks: Callable[[int], Iterator[bytes]], call: Call) -> None:
        self._chunks = chunks
        self._call = call

    def chunks(self, limit_bytes: int) -> Iterator[bytes]:
        """Each as it comes, cut wherever the network cuts it. To be asked for once.

        Raises:
            Broken: the connection fails, or the try takes too long.
            ModelFailed: more than `limit_bytes`; `..._timeout`, the deadline is over.
            Cancelled: the deadline was cancelled.
        """
        return self._chunks(limit_bytes)

    def hurry(self, within_s: float) -> None:
        """What is still to come is worth no more than so much time."""
        self._call.hurry(within_s)


class ModelServer:
    """One server, and the ways it fails. Thread-safe; close it.

    Args:
        url: `http` or `https`, and whatever stands before every path that is asked for.
        kind: what it is called in messages.
        timeout_s: of one try, from the first byte sent to the last byte read.
        retry_s: within which another try of the same request may begin.
        tries: of the same request at most; None is as many as `retry_s` allows.
        requests: under way at a time, over all threads.

    Raises:
        ConfigError: no such address can be asked.
    """

    def __init__(
        self,
        url: str,
        *,
        kind: ServerKind,
        max_answer_bytes: int,
        api_key: SecretStr | None = None,
        timeout_s: float = 60.0,
        retry_s: float = 120.0,
        tries: int | None = None,
        requests: int = 4,
    ) -> None:
        self._base = checked_address(url, kind)
        self.name = urlsplit(self._base).netloc
        key = checked_key(api_key, kind)
        self.failures = Failures(kind, self.name, key, timeout_s)
        self._timeout_s = timeout_s
        self._retry_s = retry_s
        self._tries = tries
        self._max_answer_bytes = max_answer_bytes
        # Compression would gain nothing on base64, and hides how much is still to come.
        headers = {"Accept-Encoding": "identity"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        self._client = httpx.Client(
            headers=headers,
            timeout=httpx.Timeout(timeout_s, connect=min(_CONNECT_S, timeout_s)),
            limits=httpx.Limits(max_connections=requests, max_keepalive_connections=requests),
            follow_redirects=False,  # the key is for this server
        )
        self._network = InterruptibleNetwork.under(self._client)
        self._slots = threading.BoundedSemaphore(requests)
        self._threads = ThreadPoolExecutor(requests, thread_name_prefix="octavo-remote")
        self._closed = threading.Event()
        self._counting = threading.Lock()
        self._n_under_way = 0
        self._calls: set[threading.Event] = set()  # of post_all, each set once nobody waits for it

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    def close(self) -> None:
        """Requests that wait are given up; those under way end, and are tried no more."""
        with self._counting:
            self._closed.set()
            is_idle = not self._n_under_way
        for give_up in list(self._calls):
            give_up.set()
        self._threads.shutdown(wait=False, cancel_futures=True)
        if is_idle:
            self._client.close()

    # --- asking ---------------------------------------------------------------------------------
    def get(self, path: str, *, retry_s: float | None = None) -> Json:
        """Raises what `post` raises."""
        return self._ask("GET", path, None, self._object, retry_s=retry_s)

    def post(
        self,
        path: str,
        body: Json,
        *,
        retry_s: float | None = None,
        deadline: Deadline | None = None,
    ) -> Json:
        """The answer to one request.

        Args:
            path: with its leading slash.
            body: sent as JSON.
            retry_s: where this request has less patience than the server's others.
            deadline: the wait for a turn, all tries, the waits between them and reading end with
                it.

        Raises:
            ModelFailed: `..._unreachable`, no connection, or 429 and 5xx to the end of the budget;
                `..._timeout`; `..._refused`, the server will not have the request; the kind's
                `bad_answer`, an answer that is too large or no JSON object.
            Cancelled: the deadline was cancelled.
        """
        return self._ask("POST", path, body, self._object, retry_s=retry_s, deadline=deadline)

    def post_stream(
        self,
        path: str,
        body: Json,
        receive: Callable[[Arriving], T],
        *,
        deadline: Deadline | None = None,
    ) -> T:
        """What `receive` makes of an answer while it arrives.

        Args:
            path: with its leading slash.
            body: sent as JSON.
            receive: called once for each try that is answered with 200. Another try follows where
                it raises Broken; anything else it raises ends the request, and comes out as it is.
            deadline: as of `post`.

        Raises:
            ModelFailed: as `post`.
            Cancelled: the deadline was cancelled.
        """
        return self._ask("POST", path, body, receive, deadline=deadline)

    def post_all(
        self, path: str, bodies: Sequence[Callable[[], Json]], *, within_s: float = math.inf
    ) -> list[Json]:
        """Answers in the order of the bodies, each made when its request is due.

        Args:
            path: with its leading slash.
            bodies: each called for what is sent as JSON.
            within_s: of all of them with all their tries; then it is `..._timeout`.

        Raises:
            ModelFailed: as `post`, of the first that failed; the others are given up.
        """
        give_up = threading.Event()
        until = time.monotonic() + within_s

        def ask(body: Callable[[], Json]) -> Json:
            return self._ask("POST", path, body(), self._object, stop=give_up, until=until)

        self._calls.add(give_up)
        futures: list[Future[Json]] = []
        try:
            with self._translated():
                futures.extend(self._threads.submit(ask, body) for body in bodies)
            if within_s == math.inf:
                return [future.result() for future in futures]
            return [future.result(max(0.0, until - time.monotonic())) for future in futures]
        except TimeoutError as error:  # of the wait here: those of a request are translated
            raise self.failures.too_slow() from error
        except CancelledError as error:  # closed by another thread before its turn came
            raise self.failures.unreachable("the connection was closed") from error
        finally:
            give_up.set()
            self._calls.discard(give_up)
            for future in futures:
                future.cancel()

    # --- tries ----------------------------------------------------------------------------------
    def _ask(
        self,
        method: str,
        path: str,
        body: Json | None,
        receive: Callable[[Arriving], T],
        *,
        retry_s: float | None = None,
        stop: threading.Event | None = None,
        until: float = math.inf,
        deadline: Deadline | None = None,
    ) -> T:
        """`stop` and `until`, of the monotonic clock, end the tries; `deadline` ends everything."""
        content = None if body is None else json.dumps(body).encode()
        end = time.monotonic() + (self._retry_s if retry_s is None else min(retry_s, self._retry_s))
        end = min(end, until)
        pauses = Pauses()
        n_tries = 0
        while True:
            self._require_time(deadline)
            try:
                return self._try(method, path, content, receive, until, deadline)
            except Broken as failed:
                self._require_time(deadline, failed.__cause__)
                n_tries += 1
                pause_s = pauses.next(failed.wait_s)
                left_s = end - time.monotonic()
                if deadline is not None:
                    left_s = min(left_s, deadline.remaining_s)
                is_last = n_tries == self._tries or pause_s > left_s
                if is_last or self._is_stopped(pause_s, stop or self._closed, deadline):
                    raise failed.error from failed.__cause__

    def _is_stopped(self, pause_s: float, stop: threading.Event, deadline: Deadline | None) -> bool:
        """Waits for the next try; whether there is to be none."""
        if deadline is None:
            return stop.wait(pause_s)
        end = time.monotonic() + pause_s
        while (left_s := end - time.monotonic()) > 0:
            self._require_time(deadline)
            if stop.wait(min(left_s, _LOOK_S)):
                return True
        return False

    def _try(
        self,
        method: str,
        path: str,
        content: bytes | None,
        receive: Callable[[Arriving], T],
        until: float,
        deadline: Deadline | None,
    ) -> T:
        with self._turn(deadline), self._under_way():
            left_s = min(self._timeout_s, until - time.monotonic())
            if left_s <= 0:
                raise self.failures.too_slow()
            if deadline is not None:
                self._require_time(deadline)
                left_s = min(left_s, deadline.remaining_s)
            end = time.monotonic() + left_s
            with (
                self._network.calling(end, deadline) as call,
                self._answered(method, path, content, call) as response,
            ):
                if response.status_code != httpx.codes.OK:
                    raise self._not_ok(response, call, content)
                return receive(Arriving(lambda limit: self._chunks(response, limit, call), call))

    @contextmanager
    def _turn(self, deadline: Deadline | None) -> Iterator[None]:
        """Waits until fewer than `requests` are under way."""
        if deadline is None:
            self._slots.acquire()
        else:
            while not self._slots.acquire(timeout=_LOOK_S):
                self._require_time(deadline)
        try:
            yield
        finally:
            self._slots.release()

    @contextmanager
    def _answered(
        self, method: str, path: str, content: bytes | None, call: Call
    ) -> Iterator[httpx.Response]:
        """The answer, before its body; what the block raises stays as it is."""
        left_s = max(0.001, call.end - time.monotonic())
        with self._translated(call.deadline):
            request = self._client.build_request(
                method,
                self._base + path,
                content=content,
                headers=None if content is None else {"Content-Type": "application/json"},
                timeout=httpx.Timeout(left_s, connect=min(_CONNECT_S, left_s)),
            )
            response = self._client.send(request, stream=True)
        try:
            yield response
        finally:
            response.close()

    @contextmanager
    def _under_way(self) -> Iterator[None]:
        """The last one closes the connections, if nobody may ask any more.

        Closed before, a socket does not wake the thread that reads from it, and that thread would
        read from whatever has the same number next.
        """
        with self._counting:
            if self._closed.is_set():
                raise self.failures.unreachable("the connection was closed")
            self._n_under_way += 1
        try:
            yield
        finally:
            with self._counting:
                self._n_under_way -= 1
                is_last = self._closed.is_set() and not self._n_under_way
            if is_last:
                self._client.close()

    @contextmanager
    def _translated(self, deadline: Deadline | None = None) -> Iterator[None]:
        try:
            yield
        except httpx.TimeoutException as error:
            self._require_time(deadline, error)
            if isinstance(error, httpx.ConnectTimeout):
                raise Broken(self.failures.unreachable("it does not answer")) from error
            raise Broken(self.failures.too_slow()) from error
        except (httpx.TransportError, httpx.StreamError) as error:
            raise self.failures.broken(str(error) or type(error).__name__) from error
        except RuntimeError as error:  # closed by another thread
            if not self._closed.is_set():
                raise
            raise self.failures.unreachable("the connection was closed") from error

    def _require_time(self, deadline: Deadline | None, cause: BaseException | None = None) -> None:
        """Raises Cancelled, or `..._timeout` where the deadline is over."""
        if deadline is None:
            return
        deadline.require_wanted()
        # A wait that ends with the deadline may end this much before it by the other clock.
        if deadline.remaining_s < 0.005:
            raise self.failures.too_late() from cause

    # --- reading --------------------------------------------------------------------------------
    def _chunks(self, response: httpx.Response, limit_bytes: int, call: Call) -> Iterator[bytes]:
        encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding not in ("", "identity"):
            raise self.failures.packed(encoding)
        announced = response.headers.get("Content-Length", "")
        if announced.isdecimal() and int(announced) > limit_bytes:
            raise self.failures.too_large(limit_bytes)
        n_bytes = 0
        raw = response.iter_raw()
        while True:
            with self._translated(call.deadline):
                chunk = next(raw, None)
            if chunk is None:
                return
            n_bytes += len(chunk)
            if n_bytes > limit_bytes:
                raise self.failures.too_large(limit_bytes)
            yield chunk
            if time.monotonic() > call.end:  # what was read before need not have waited
                self._require_time(call.deadline)
                raise Broken(self.failures.too_slow())

    def _object(self, arriving: Arriving) -> Json:
        return self.as_object(b"".join(arriving.chunks(self._max_answer_bytes)))

    def as_object(self, read: bytes) -> Json:
        """Raises ModelFailed, the kind's `bad_answer`, where it is no JSON object."""
        try:
            answer = json.loads(read)
        except (ValueError, RecursionError) as error:
            raise self.failures.no_object() from error
        if not isinstance(answer, dict):
            raise self.failures.no_object()
        return answer

    # --- what went wrong ------------------------------------------------------------------------
    def _not_ok(self, response: httpx.Response, call: Call, content: bytes | None) -> Exception:
        """The error for an answer other than 200, or another try."""
        if response.is_redirect:
            return self.failures.redirect(
                response.status_code, response.headers.get("Location", "")
            )
        call.hurry(_SAID_WITHIN_S)
        try:
            text = b"".join(self._chunks(response, _MAX_ERROR_BYTES, call)).decode(errors="replace")
        except (ModelFailed, Broken):
            text = ""
        try:
            said = json.loads(text)
        except (ValueError, RecursionError):
            said = text
        wait_s = asked_wait_s(response.headers.get("Retry-After", ""))
        sent = None if content is None else json.loads(content)
        return self.failures.failure(response.status_code, said, wait_s=wait_s, sent=sent)
