"""Requests to a server of models: so many at a time, tried again within a budget, answers of
bounded size. The key goes to that server alone, and into no message.
"""

from __future__ import annotations

import json
import math
import random
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import httpx
from pydantic import SecretStr

from rag.errors import ConfigError, ModelFailed
from rag.types import Json

_MAX_ERROR_BYTES = 20_000
_CONNECT_S = 5.0
_FIRST_WAIT_S = 0.25
_LONGEST_WAIT_S = 30.0


@dataclass(frozen=True)
class ServerKind:
    """What a kind of server is called, and which settings its failures lead to.

    Attributes:
        name: as in "the embedding server 127.0.0.1:8000".
        section: of the settings that name it, as in "encoder".
        prefix: of the codes `_unreachable`, `_timeout` and `_refused`.
        bad_answer: code of an answer that is too large or no JSON object.
        for_status: next step by the status of a refusal.
        otherwise: next step of any other refusal.
        too_large: next step where an answer is larger than such a server has reason to send.
    """

    name: str
    section: str
    prefix: str
    bad_answer: str
    for_status: Mapping[int, str] = field(default_factory=dict)
    otherwise: str = ""
    too_large: str = ""

    @property
    def key_variable(self) -> str:
        return f"OCTAVO_{self.section.upper().replace('.', '__')}__API_KEY"


class _Retryable(Exception):
    """A try failed in a way that another may not; `error` is what to raise when none is left."""

    def __init__(self, error: ModelFailed, wait_s: float | None = None) -> None:
        super().__init__(error.message)
        self.error = error
        self.wait_s = wait_s  # as the server asks


class Refused(ModelFailed):
    """The server will not have the request, however often it is asked.

    Attributes:
        said: the server's own words, one short line; empty where it has none.
    """

    def __init__(
        self, message: str, *, status: int, code: str, next_step: str, said: str = ""
    ) -> None:
        super().__init__(message, code=code, next_step=next_step)
        self.status = status
        self.said = said


class ModelServer:
    """One server, and the ways it fails. Thread-safe; close it.

    Args:
        url: `http` or `https`, and whatever stands before every path that is asked for.
        kind: what it is called in messages.
        timeout_s: of one try, from the first byte sent to the last byte read.
        retry_s: within which another try of the same request may begin.
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
        requests: int = 4,
    ) -> None:
        self._kind = kind
        self._base = checked_address(url, kind)
        self.name = urlsplit(self._base).netloc
        self._key = _checked_key(api_key, kind)
        self._timeout_s = timeout_s
        self._retry_s = retry_s
        self._max_answer_bytes = max_answer_bytes
        # Compression would gain nothing on base64, and hides how much is still to come.
        headers = {"Accept-Encoding": "identity"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        self._client = httpx.Client(
            headers=headers,
            timeout=httpx.Timeout(timeout_s, connect=min(_CONNECT_S, timeout_s)),
            limits=httpx.Limits(max_connections=requests, max_keepalive_connections=requests),
            follow_redirects=False,  # the key is for this server
        )
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
        return self._ask("GET", path, None, retry_s, self._closed)

    def post(self, path: str, body: Json, *, retry_s: float | None = None) -> Json:
        """The answer to one request.

        Args:
            path: with its leading slash.
            body: sent as JSON.
            retry_s: where this request has less patience than the server's others.

        Raises:
            ModelFailed: `..._unreachable`, no connection, or 429 and 5xx to the end of the budget;
                `..._timeout`; `..._refused`, the server will not have the request; the kind's
                `bad_answer`, an answer that is too large or no JSON object.
        """
        return self._ask("POST", path, body, retry_s, self._closed)

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
        deadline = time.monotonic() + within_s

        def ask(body: Callable[[], Json]) -> Json:
            return self._ask("POST", path, body(), None, give_up, deadline)

        self._calls.add(give_up)
        futures: list[Future[Json]] = []
        try:
            with self._translated():
                futures.extend(self._threads.submit(ask, body) for body in bodies)
            if within_s == math.inf:
                return [future.result() for future in futures]
            return [future.result(max(0.0, deadline - time.monotonic())) for future in futures]
        except TimeoutError as error:  # of the wait here: those of a request are translated
            raise self._too_slow() from error
        except CancelledError as error:  # closed by another thread before its turn came
            raise self._unreachable("the connection was closed") from error
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
        retry_s: float | None,
        stop: threading.Event,
        deadline: float = math.inf,
    ) -> Json:
        content = None if body is None else json.dumps(body).encode()
        end = time.monotonic() + (self._retry_s if retry_s is None else min(retry_s, self._retry_s))
        wait_s = _FIRST_WAIT_S
        end = min(end, deadline)
        while True:
            try:
                return self._try(method, path, content, deadline)
            except _Retryable as failed:
                # Spread, so that requests turned away together do not come back together.
                pause_s = failed.wait_s
                if pause_s is None:
                    pause_s = wait_s * random.uniform(0.5, 1.5)
                wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
                if time.monotonic() + pause_s > end or stop.wait(pause_s):
                    raise failed.error from failed.__cause__

    def _try(self, method: str, path: str, content: bytes | None, deadline: float) -> Json:
        headers = None if content is None else {"Content-Type": "application/json"}
        with self._slots, self._translated(), self._under_way():
            left_s = min(self._timeout_s, deadline - time.monotonic())
            if left_s <= 0:
                raise self._too_slow()
            end = time.monotonic() + left_s
            with self._client.stream(
                method,
                self._base + path,
                content=content,
                headers=headers,
                timeout=httpx.Timeout(left_s, connect=min(_CONNECT_S, left_s)),
            ) as response:
                if response.status_code != httpx.codes.OK:
                    raise self._refusal(response, end)
                return self._json(self._read(response, self._max_answer_bytes, end))

    @contextmanager
    def _under_way(self) -> Iterator[None]:
        """The last one closes the connections, if nobody may ask any more.

        Closed before, a socket does not wake the thread that reads from it, and that thread would
        read from whatever has the same number next.
        """
        with self._counting:
            if self._closed.is_set():
                raise self._unreachable("the connection was closed")
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
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except httpx.TimeoutException as error:
            if isinstance(error, httpx.ConnectTimeout):
                raise _Retryable(self._unreachable("it does not answer")) from error
            raise _Retryable(self._too_slow()) from error
        except (httpx.TransportError, httpx.StreamError) as error:
            raise _Retryable(self._unreachable(str(error) or type(error).__name__)) from error
        except RuntimeError as error:  # closed by another thread
            if not self._closed.is_set():
                raise
            raise self._unreachable("the connection was closed") from error

    def _read(self, response: httpx.Response, limit: int, end: float) -> bytes:
        encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding not in ("", "identity"):
            raise self._packed(encoding)
        announced = response.headers.get("Content-Length", "")
        read = bytearray()
        if announced.isdecimal() and int(announced) > limit:
            raise self._too_large(limit)
        for piece in response.iter_raw():
            read += piece
            if len(read) > limit:
                raise self._too_large(limit)
            if time.monotonic() > end:  # the client's own limit is on each wait, not on their sum
                raise _Retryable(self._too_slow())
        return bytes(read)

    def _json(self, read: bytes) -> Json:
        try:
            answer = json.loads(read)
        except (ValueError, RecursionError) as error:
            raise self._no_object() from error
        if not isinstance(answer, dict):
            raise self._no_object()
        return answer

    # --- what went wrong ------------------------------------------------------------------------
    def _refusal(self, response: httpx.Response, end: float) -> Exception:
        """The error for an answer other than 200, or another try."""
        kind, status = self._kind, response.status_code
        code = f"{kind.prefix}_refused"
        if response.is_redirect:
            target = urlsplit(response.headers.get("Location", "")).netloc or self.name
            return Refused(
                f"the {kind.name} {self.name} sends its callers to {plain(target)}",
                status=status,
                code=code,
                next_step=f"Set {kind.section}.url to that address where you trust it; redirects "
                "are not followed, because the key would go along.",
            )
        said = self._said(response, end)
        words = f": {said}" if said else ""
        if status in (429, 408) or status >= 500:
            return _Retryable(
                self._unreachable(f"it answers {status}{words}"), wait_s=_retry_after(response)
            )
        return Refused(
            f"the {kind.name} {self.name} answers {status}{words}",
            status=status,
            code=code,
            said=said,
            next_step={
                401: f"Give its key as {kind.key_variable}.",
                403: f"Give a key that may use this model as {kind.key_variable}.",
                **kind.for_status,
            }.get(status, kind.otherwise),
        )

    def _said(self, response: httpx.Response, end: float) -> str:
        """The server's own words in one line; nothing where it says none."""
        try:
            text = self._read(response, _MAX_ERROR_BYTES, end).decode(errors="replace")
        except (ModelFailed, _Retryable, httpx.HTTPError):
            return ""
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            found = text
        for key in ("error", "message", "detail"):
            if isinstance(found, dict) and key in found:
                found = found[key]
        return plain(self._without_key(found if isinstance(found, str) else json.dumps(found)))

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text

    def _unreachable(self, why: str) -> ModelFailed:
        kind = self._kind
        return ModelFailed(
            f"the {kind.name} {self.name} cannot be used: {plain(self._without_key(why))}",
            code=f"{kind.prefix}_unreachable",
            next_step=f"See that it runs and that {kind.section}.url is its address, then run this "
            "again; `octavo doctor` asks it.",
        )

    def _too_slow(self) -> ModelFailed:
        kind = self._kind
        return ModelFailed(
            f"the {kind.name} {self.name} took more than {self._timeout_s:g} s for a request",
            code=f"{kind.prefix}_timeout",
            next_step=f"Raise {kind.section}.timeout_s, or lower {kind.section}.requests so that "
            "fewer wait at once.",
        )

    def _too_large(self, limit: int) -> ModelFailed:
        kind = self._kind
        return ModelFailed(
            f"the {kind.name} {self.name} answers with more than {limit / 1e6:g} MB",
            code=kind.bad_answer,
            next_step=kind.too_large,
        )

    def _packed(self, encoding: str) -> ModelFailed:
        """A few kilobytes may unpack to more than the memory there is, so none is unpacked."""
        kind = self._kind
        return ModelFailed(
            f"the {kind.name} {self.name} answers in the encoding {plain(encoding)}, and was asked "
            "for none",
            code=kind.bad_answer,
            next_step=f"Turn compression off in what stands before {kind.section}.url.",
        )

    def _no_object(self) -> ModelFailed:
        kind = self._kind
        return ModelFailed(
            f"the {kind.name} {self.name} answers with something that is no JSON object",
            code=kind.bad_answer,
            next_step=f"Check that {kind.section}.url is the server itself, and not a page in "
            "front of it.",
        )


def checked_address(url: str, kind: ServerKind) -> str:
    """The address without its trailing slash.

    Raises:
        ConfigError: it is none, or holds a password or a query.
    """
    none = ConfigError(
        f"{kind.section}.url is no address of a server",
        next_step="Write it like http://127.0.0.1:8000.",
    )
    try:
        parts = urlsplit(url.strip())
        has_port = parts.port != 0  # raises for one that no server can have
        httpx.URL(url.strip())
    except (ValueError, httpx.InvalidURL) as error:
        raise none from error
    if parts.scheme not in ("http", "https") or not parts.hostname or not has_port:
        raise none
    # Either would end up in logs of the libraries below.
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigError(
            f"{kind.section}.url holds more than an address",
            next_step="Leave out what stands before @ or after ?; a key goes into "
            f"{kind.key_variable}.",
        )
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def _checked_key(api_key: SecretStr | None, kind: ServerKind) -> str:
    """The key as a header can carry it; the library below would quote it when it complains."""
    key = "" if api_key is None else api_key.get_secret_value().strip()
    if not (key.isascii() and key.isprintable()):
        raise ConfigError(
            f"the key of the {kind.name} holds characters that no key has",
            next_step=f"Give it again as {kind.key_variable}, in one line.",
        )
    return key


def plain(text: str) -> str:
    """One short line of what somebody else wrote."""
    line = re.sub(r"[A-Za-z0-9+/=]{200,}", "...", " ".join(text.split()))  # an image it echoes
    line = "".join(each for each in line if each.isprintable())
    return line if len(line) <= 300 else line[:300] + "..."


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds that the server asks to be left alone; None where it does not say."""
    asked = response.headers.get("Retry-After", "").strip()
    if asked.isdecimal():
        return float(asked)
    try:
        when = parsedate_to_datetime(asked)
    except ValueError:
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.now(UTC)).total_seconds())
