"""Stages that work at the same time, each in a thread, on things that keep their order.

Queues between them are bounded: whoever is ahead waits. An error in one stage stops all of them.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sized
from contextvars import copy_context
from typing import Generic, Self, TypeVar

from rag import telemetry
from rag.telemetry import BATCH_SECONDS

Work = TypeVar("Work", bound=Sized)

# What a stage is in the middle of when the others stop; longer ones are left to end by themselves.
_STOPPING_S = 2.0
_MOST_EMPTY = 100


class Pipeline(Generic[Work]):
    """Iterate over it, as a context manager, for what comes out; leaving it drops all on its way.

    Pieces of no length (`len`) keep their place in the order, and take none in the queues.

    Attributes:
        busy_s: seconds that each stage has worked.
    """

    def __init__(
        self,
        source: Iterator[Work],
        stages: Mapping[str, Callable[[Work], None]],
        *,
        stopping: threading.Event,
        waiting: int = 1,
    ) -> None:
        """Threads start on entering.

        Args:
            source: runs in a thread too.
            stages: what each does to a piece of work, by name, in order. The last one is waited
                for without limit, so that what it writes is whole.
            stopping: set when the source and the stages should end what they do.
            waiting: pieces in the queue before each stage.
        """
        self.busy_s = dict.fromkeys(stages, 0.0)
        self._source = source
        self._stopping = stopping
        self._waiting = waiting
        self._changed = threading.Condition()
        self._queues: list[deque[Work]] = [deque() for _ in range(len(stages) + 1)]
        self._error: BaseException | None = None
        self._n_under_way = 0
        self._is_exhausted = False
        # Each in a copy of our context: logs and traces say what the work is part of.
        self._threads = [
            threading.Thread(target=copy_context().run, args=work, name=name, daemon=True)
            for name, work in (
                ("read", (self._feed,)),
                *(
                    (name, (self._run, place, name, stage))
                    for place, (name, stage) in enumerate(stages.items())
                ),
            )
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop(None)
        *others, last = self._threads
        last.join()
        until_s = time.monotonic() + _STOPPING_S
        for thread in others:
            thread.join(max(0.0, until_s - time.monotonic()))

    def __iter__(self) -> Iterator[Work]:
        """What came through all stages, in its order; then raises what a stage raised."""
        while True:
            with self._changed:
                self._changed.wait_for(self._has_news)
                if self._queues[-1]:
                    work = self._queues[-1].popleft()
                    self._n_under_way -= 1
                elif self._error is not None:
                    raise self._error
                else:
                    return
            yield work
            del work  # else it lives until the next one comes

    def _has_news(self) -> bool:
        is_over = self._is_exhausted and not self._n_under_way
        return bool(self._queues[-1]) or self._error is not None or is_over

    # --- threads --------------------------------------------------------------------------------
    def _feed(self) -> None:
        try:
            for work in self._source:
                with self._changed:
                    self._n_under_way += 1
                self._hand_on(work, 0)
                del work
                if self._stopping.is_set():
                    return
            with self._changed:
                self._is_exhausted = True
                self._changed.notify_all()
        except BaseException as error:  # noqa: BLE001  # raised where the pieces come out
            self._stop(error)

    def _run(self, place: int, name: str, stage: Callable[[Work], None]) -> None:
        try:
            while (work := self._next(self._queues[place])) is not None:
                start_s = time.monotonic()
                stage(work)
                took_s = time.monotonic() - start_s
                self.busy_s[name] += took_s
                if len(work):
                    telemetry.observe(BATCH_SECONDS, took_s, stage=name)
                self._hand_on(work, place + 1)
                del work
        except BaseException as error:  # noqa: BLE001  # raised where the pieces come out
            self._stop(error)

    def _next(self, queue: deque[Work]) -> Work | None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping.is_set() or len(queue) > 0)
            if self._stopping.is_set():
                return None
            self._changed.notify_all()
            return queue.popleft()

    def _hand_on(self, work: Work, place: int) -> None:
        queue = self._queues[place]
        is_last = place == len(self._queues) - 1

        def has_room() -> bool:
            n_filled = sum(len(other) > 0 for other in queue)
            return n_filled < self._waiting and len(queue) < _MOST_EMPTY

        with self._changed:
            # What is done waits for nobody: it is told of, even where another stage has failed.
            self._changed.wait_for(lambda: is_last or self._stopping.is_set() or has_room())
            queue.append(work)
            self._changed.notify_all()

    def _stop(self, error: BaseException | None) -> None:
        with self._changed:
            self._error = self._error or error
            self._stopping.set()
            self._changed.notify_all()
