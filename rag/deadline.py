"""When a piece of work must have ended, and a way to end it before."""

from __future__ import annotations

import math
import threading
import time

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

    @property
    def remaining_s(self) -> float:
        """Never negative; infinite without an end."""
        return max(0.0, self._end - time.monotonic())

    @property
    def is_cancelled(self) -> bool:
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """End the work: what waits under this deadline raises Cancelled soon."""
        self._cancelled.set()

    def wait(self, seconds: float) -> None:
        """Sleep, but no longer than until the end.

        Raises:
            Cancelled: meanwhile or before.
        """
        self._cancelled.wait(min(seconds, self.remaining_s))
        self.require_wanted()

    def require_wanted(self) -> None:
        """Raises Cancelled where `cancel` was called."""
        if self.is_cancelled:
            raise Cancelled("the answer is no longer wanted")
