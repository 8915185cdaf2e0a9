"""When a piece of work must have ended, and a way to end it before."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rag.errors import BackendError


class Cancelled(BackendError):
    """Whoever asked no longer wants to know."""

    code = "cancelled"


class Deadline:
    """A moment that is not moved by tries and waits on the way to it. Thread-safe.

    Args:
        seconds: from now; None is no end.
    """

    def __init__(self, seconds: float | None = None) -> None:
        self._end = math.inf if seconds is None else time.monotonic() + seconds
        self._cancelled = threading.Event()
        # A callback may ask this deadline, so the lock is one that its own thread can take again.
        self._telling = threading.RLock()
        self._callbacks: dict[object, Callable[[], object]] = {}

    @property
    def remaining_s(self) -> float:
        """Never negative; infinite without an end."""
        return max(0.0, self._end - time.monotonic())

    @property
    def is_over(self) -> bool:
        return self.remaining_s == 0

    @property
    def is_cancelled(self) -> bool:
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """End the work: what waits under this deadline raises Cancelled soon."""
        with self._telling:
            self._cancelled.set()
            while self._callbacks:
                self._callbacks.popitem()[1]()

    @contextmanager
    def on_cancel(self, callback: Callable[[], object]) -> Iterator[None]:
        """Within the block, `cancel` calls `callback`: once, in the thread that cancels.

        It never runs after the block. It is short, raises nothing, and waits for no other thread:
        it is how whoever blocks is woken.

        Raises:
            Cancelled: before the block began.
        """
        key = object()
        with self._telling:
            self.require_wanted()
            self._callbacks[key] = callback
        try:
            yield
        finally:
            with self._telling:
                self._callbacks.pop(key, None)

    def wait(self, seconds: float) -> None:
        """Sleep, but no longer than until the end.

        Raises:
            Cancelled: meanwhile or before.
        """
        # No lock can be waited for longer than that, some three hundred years.
        self._cancelled.wait(min(seconds, self.remaining_s, threading.TIMEOUT_MAX))
        self.require_wanted()

    def require_wanted(self) -> None:
        """Raises Cancelled where `cancel` was called."""
        if self.is_cancelled:
            raise Cancelled("the answer is no longer wanted")
