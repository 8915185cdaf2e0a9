"""Reading processes and what is asked of them: started, watched by a clock nobody sets, replaced.

A new set of processes takes over when the old one has read enough files, may not read the next one,
or hangs; the old one finishes what it was given, unless it hangs.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import wait as wait_for
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pebble

from rag.errors import DocumentError
from rag.processes import ChosenVariablesContext
from rag.renderers import worker
from rag.renderers.sandbox import passed_on, probe, require

if TYPE_CHECKING:
    from rag.settings import RenderSettings  # pydantic: reading processes do without

LOOK_UP_S = 0.1
_MOST_READABLE = 5000  # places that are remembered
_SelfDescribed = tuple[tuple[str, ...], worker.Limits]


@dataclass(eq=False)
class Task:
    """Something asked of a reading process; tried again, it is the same task.

    Attributes:
        timeout_s: it may take, from when a process takes it up.
        deadline_s: of time.monotonic, for a second try.
        n_closed: times the reader had been closed when it began.
        n_pools_lost: times it was begun again because all processes were gone.
        n_ended: processes that ended over it.
        ended_how: the last of them.
        is_overdue: its process is ended because it took too long.
    """

    function: Callable[[Any], Any]
    request: worker.ReadRequest
    timeout_s: float
    future: Any = None  # pebble.ProcessFuture
    deadline_s: float = field(init=False)
    n_closed: int = 0
    n_pools_lost: int = 0
    n_ended: int = 0
    ended_how: str = ""
    is_overdue: bool = False
    _running_since_s: float | None = None

    def __post_init__(self) -> None:
        self.deadline_s = time.monotonic() + self.timeout_s

    def begun(self, future: Any, n_closed: int) -> None:
        self.future, self.n_closed, self._running_since_s = future, n_closed, None

    def wait(self, most_s: float) -> bool:
        """Until it is done, or its time is over; False where it does not even end then."""
        until_s = time.monotonic() + most_s
        while not self.future.done():
            if time.monotonic() > until_s:
                return False
            self.end_if_overdue()
            wait_for([self.future], timeout=LOOK_UP_S)
        return True

    def end_if_overdue(self) -> None:
        """End the process that takes longer over it than it may.

        Not left to the pool, whose clock is the machine's: set forward it would end all that is
        read, set back it would wait for as long.
        """
        if self.future.done() or not self.future.running():
            return
        now_s = time.monotonic()
        if self._running_since_s is None:
            self._running_since_s = now_s
        elif now_s - self._running_since_s > self.timeout_s:
            self.is_overdue = True
            self.future.cancel()

    def give_up(self) -> None:
        """Ends the process that is at it; no effect where it is done."""
        self.future.cancel()

    def count_ended(self, exit_code: int | None) -> None:
        """A process ended over it; None where it was ended for the time it took."""
        self.n_ended += 1
        if exit_code in (None, -signal.SIGXCPU):
            self.is_overdue = True
            self.ended_how = "render_timeout"
        else:
            self.ended_how = "render_crashed"


class ReaderPools:
    """Where tasks go; safe for several threads."""

    def __init__(
        self,
        settings: RenderSettings,
        limits: Callable[[tuple[Path, ...]], _SelfDescribed],
        readable: Sequence[Path] = (),
    ) -> None:
        """Nothing is started yet.

        Args:
            settings: of reading.
            limits: what a process loads and may have that is to read these places.
            readable: folders that every process may read.
        """
        self._settings = settings
        self._limits = limits
        self._lock = threading.Lock()
        self._pool: Any = None
        self._leaving: list[tuple[Any, threading.Thread]] = []
        self._always_readable = readable
        self._readable: dict[Path, tuple[int, int]] = {}  # places that the processes may read
        self._n_files = 0
        self._was_asked = False
        self.n_closed = 0

    def schedule(self, task: Task) -> None:
        """Hand a task to a process. Raises ConfigError `sandbox_missing`."""
        self.may_read([task.request.path])
        with self._lock:
            if task.function is worker.open_document:
                self._n_files += 1
                if self._n_files > self._settings.files_per_process:
                    self._retire()
            if self._pool is None or not self._pool.active:
                self._pool = self._new_pool()
                self._n_files = 1
            future = self._pool.schedule(worker.perform, args=(task.function, task.request))
            task.begun(future, self.n_closed)

    def may_read(self, paths: Sequence[Path]) -> None:
        """Files and folders that are read from now on; others may not be read any more."""
        if self._settings.sandbox == "off":
            return
        with self._lock:
            new: dict[Path, tuple[int, int]] = {}
            for path in paths:
                real = Path(os.path.realpath(path))
                if not any(self._may_read(place, new) for place in (real, *real.parents)):
                    new[real] = _inode(real)
            if not new:
                return
            if len(self._readable) + len(new) > _MOST_READABLE:
                self._readable.clear()
            for path in self._always_readable:
                real = Path(os.path.realpath(path))
                new[real] = _inode(real)
            self._readable |= new
            self._retire()

    def _may_read(self, place: Path, new: dict[Path, tuple[int, int]]) -> bool:
        known = self._readable.get(place) or new.get(place)
        return known is not None and known == _inode(place)

    def drop(self) -> None:
        """Leave the processes to themselves until they are ended: they hang."""
        with self._lock:
            pool, self._pool = self._pool, None
            if pool is not None:
                self._leave(pool, pool.stop)

    def close(self) -> None:
        """End the processes; another task starts new ones."""
        with self._lock:
            pool, self._pool = self._pool, None
            leaving, self._leaving = self._leaving, []
            self.n_closed += 1
        for old, _ in leaving:
            old.stop()
        if pool is not None:
            pool.stop()
            _join(pool)
        for _, thread in leaving:
            thread.join()

    def _retire(self) -> None:
        """Let the processes finish what they have; new ones are started for what comes."""
        pool, self._pool = self._pool, None
        if pool is not None:
            self._leave(pool, pool.close)

    def _leave(self, pool: Any, end: Callable[[], None]) -> None:
        def leave() -> None:
            end()
            _join(pool)

        thread = threading.Thread(target=leave, name="leaving readers", daemon=True)
        thread.start()
        self._leaving = [(old, each) for old, each in self._leaving if each.is_alive()]
        self._leaving.append((pool, thread))

    def _new_pool(self) -> Any:
        if self._settings.sandbox == "require" and not self._was_asked:
            require(probe())
            self._was_asked = True
        renderers, limits = self._limits(tuple(self._readable))
        return pebble.ProcessPool(
            max_workers=self._settings.workers,
            max_tasks=self._settings.pages_per_process,
            initializer=worker.start,
            initargs=(renderers, limits),
            context=ChosenVariablesContext(passed_on),
        )


def end_left_behind(pid: int) -> None:
    """What a reading process that is gone has started: all of it is in its group."""
    with contextlib.suppress(OSError):  # nobody is left in it
        os.killpg(pid, signal.SIGKILL)


def stalled(path: Path, timeout_s: float) -> DocumentError:
    return DocumentError(
        f"no page of {path.name} came to an end for {timeout_s:g} s; it is read no further",
        code="document_stalled",
        next_step="Raise render.stall_timeout_s if the file is worth waiting for.",
    )


def _join(pool: Any) -> None:
    # `join` wakes the pool's scheduler once. A Ctrl-C in the middle of handing a task over
    # (Condition.notify, before it forgets the waiter) leaves a waiter behind that swallows
    # one call, and the join would wait for ever: so there are two.
    pool._context.task_queue.put(None)
    pool.join()


def _inode(path: Path) -> tuple[int, int]:
    """Of what is there now: another folder under the same name is another place."""
    try:
        found = os.stat(path)
    except OSError:
        return (0, 0)
    return found.st_dev, found.st_ino
