"""Connections on which every wait ends with the call it is for: at its end, or as soon as the
call's deadline is cancelled from another thread.

The client above sets a limit on each wait and none on their sum, and cannot be woken. So it is
given a network of ours, which asks the system's own and knows for which call it works.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future, InvalidStateError
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Self

import httpcore
import httpx

from rag.deadline import Deadline

# Written at a time: between two of them the end of the call is looked at again.
_WRITE_BYTES = 1 << 18


class Call:
    """What one thread asks of the network, and when it must have it.

    Attributes:
        end: of the monotonic clock; whoever reads may bring it forward.
        deadline: ends the call when it is cancelled.
    """

    def __init__(self, end: float, deadline: Deadline | None) -> None:
        self.end = end
        self.deadline = deadline

    def hurry(self, within_s: float) -> None:
        """What is still to come is worth no more than so much time."""
        self.end = min(self.end, time.monotonic() + within_s)

    def left_s(self, timeout_s: float | None, over: type[Exception]) -> float:
        """Time that one wait may take; raises `over` where there is none."""
        left_s = self.end - time.monotonic()
        if left_s <= 0:
            raise over("the call is over")
        return left_s if timeout_s is None else min(left_s, timeout_s)

    @contextmanager
    def waking(self, wake: Callable[[], object]) -> Iterator[None]:
        """Cancelling the deadline calls `wake`, and the block then ends as Cancelled."""
        if self.deadline is None:
            yield
            return
        try:
            with self.deadline.on_cancel(wake):
                yield
        except (httpcore.NetworkError, httpcore.TimeoutException, CancelledError):
            self.deadline.require_wanted()
            raise
        self.deadline.require_wanted()


class InterruptibleNetwork(httpcore.NetworkBackend):
    """The system's network for calls that end. Thread-safe."""

    def __init__(self) -> None:
        self._inner = httpcore.SyncBackend()
        self._of_thread = threading.local()

    @classmethod
    def under(cls, client: httpx.Client) -> Self:
        """A network of our own for all connections of a client, those through proxies included.

        The client takes none, and its transports take none either, though the pools below them do;
        so it is put in under names that are not public. Should they change, this fails at once.
        """
        network = cls()
        for transport in (client._transport, *client._mounts.values()):
            if transport is None:  # addresses that go through no proxy
                continue
            pool = vars(transport)["_pool"]
            assert "_network_backend" in vars(pool)
            pool._network_backend = network
        return network

    @property
    def call(self) -> Call | None:
        """What the calling thread is at."""
        return getattr(self._of_thread, "call", None)

    @contextmanager
    def calling(self, end: float, deadline: Deadline | None) -> Iterator[Call]:
        """Everything that this thread asks of the network within the block ends with the call."""
        before = self.call
        call = Call(end, deadline)
        self._of_thread.call = call
        try:
            yield call
        finally:
            self._of_thread.call = before

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        call = self.call
        if call is not None:
            timeout = call.left_s(timeout, httpcore.ConnectTimeout)
        connect = partial(
            self._inner.connect_tcp,
            host,
            port,
            timeout=timeout,
            local_address=local_address,
            socket_options=socket_options,
        )
        if call is None or call.deadline is None:
            return _Stream(self, connect())
        return _Stream(self, _elsewhere(call, connect, timeout))

    def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        return _Stream(self, self._inner.connect_unix_socket(path, timeout, socket_options))

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(seconds)


class _Stream(httpcore.NetworkStream):
    def __init__(self, network: InterruptibleNetwork, inner: httpcore.NetworkStream) -> None:
        self._network = network
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        call = self._network.call
        if call is None:
            return self._inner.read(max_bytes, timeout)
        left_s = call.left_s(timeout, httpcore.ReadTimeout)
        with call.waking(self._shut):
            return self._inner.read(max_bytes, left_s)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        call = self._network.call
        if call is None:
            self._inner.write(buffer, timeout)
            return
        for start in range(0, len(buffer), _WRITE_BYTES):
            left_s = call.left_s(timeout, httpcore.WriteTimeout)
            with call.waking(self._shut):
                self._inner.write(buffer[start : start + _WRITE_BYTES], left_s)

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        call = self._network.call
        if call is None:
            return _Stream(
                self._network, self._inner.start_tls(ssl_context, server_hostname, timeout)
            )
        left_s = call.left_s(timeout, httpcore.ConnectTimeout)
        greet = partial(self._inner.start_tls, ssl_context, server_hostname, left_s)
        if call.deadline is None:
            return _Stream(self._network, greet())
        return _Stream(self._network, _elsewhere(call, greet, left_s))

    def close(self) -> None:
        self._inner.close()

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)

    def _shut(self) -> None:
        """Wakes the thread that waits on this connection, which closing it would not."""
        connection = self._inner.get_extra_info("socket")
        if isinstance(connection, socket.socket):
            with suppress(OSError):  # it is not connected any more
                # Not the method of a TLS socket, which takes the session from under the reader.
                socket.socket.shutdown(connection, socket.SHUT_RDWR)


def _elsewhere(
    call: Call, connect: Callable[[], httpcore.NetworkStream], timeout_s: float | None
) -> httpcore.NetworkStream:
    """A connection made by a thread of its own: neither looking a name up nor the greeting of TLS
    can be woken, and the former has no limit.

    Raises:
        httpcore.ConnectTimeout: not within `timeout_s`; what comes later is closed.
        Cancelled: the call's deadline was cancelled.
    """
    came: Future[httpcore.NetworkStream] = Future()

    def work() -> None:
        try:
            stream = connect()
        except Exception as error:  # noqa: BLE001  raised again by whoever waits
            with suppress(InvalidStateError):  # nobody waits any more
                came.set_exception(error)
            return
        try:
            came.set_result(stream)
        except InvalidStateError:
            stream.close()

    threading.Thread(target=work, name="octavo-connecting", daemon=True).start()
    with call.waking(came.cancel):
        try:
            return came.result(timeout_s)
        except TimeoutError as error:
            if came.cancel():
                raise httpcore.ConnectTimeout("no connection in time") from error
            return came.result()  # it came in the last moment
