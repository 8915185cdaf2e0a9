"""The embedded index in a process of its own, whose end costs a call and no page.

A full disk ends whoever writes to a mapped file (SIGBUS), and the store keeps Python's global lock
while it searches and writes: both stay over there (docs/adr/0046).
"""

from __future__ import annotations

import contextlib
import logging
import pickle
import queue
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from rag import telemetry
from rag.disk_room import SpareRoom, disk_full, is_full
from rag.errors import IndexDied, IndexUnavailable, RagError
from rag.filters import Filter
from rag.geometry import FloatArray
from rag.index.contract import check_records
from rag.index.process_child import CLOSE, OPEN, Found, Refused, Request, serve
from rag.ports import IndexSpec
from rag.process_failures import exit_code, how_it_ended
from rag.processes import CleanSpawnContext
from rag.telemetry import STORE_DEATHS
from rag.types import Candidate, Json, PageField, PageRecord, SparseVector

_log = logging.getLogger(__name__)

_AGAIN = "Run the command again: what was acknowledged stays."
_CALLS_AT_ONCE = 8  # more wait; the store uses every core for one search already
_LEAVING_S = 5.0
# So many ends within so long, and it is not started again before the first is so long ago.
_MOST_DEATHS, _DEATHS_WITHIN_S = 3, 60.0


class IndexProcess:
    """PageIndex over one Edge shard in another process. Safe for several threads.

    A read that is cut short by the end of the process is asked once more, of a new process. A write
    is not: whoever wrote repeats the whole batch, which changes nothing where it was written
    already. `flush` fails when the process that took the writes before it is gone.
    """

    def __init__(
        self,
        folder: Path,
        spec: IndexSpec,
        *,
        child: IndexChild | None = None,
        spare: SpareRoom | None = None,
    ) -> None:
        """Open the index in `folder`; make it where there is none.

        Args:
            folder: of the index.
            spec: of its records.
            child: a process that is started and not in use.
            spare: room that is given up when the disk is full; held from the first write on.

        Raises:
            IndexUnavailable: as EdgeIndex; `index_died`, the process ended meanwhile.
            IndexMismatch: as EdgeIndex.
            BackendError: `disk_full`.
        """
        self._folder = folder
        self._spec = spec
        self._spare = spare
        self._lock = threading.Lock()  # of what follows
        self._child: IndexChild | None = None
        self._waiting_child = child
        self._deaths: deque[_Death] = deque(maxlen=_MOST_DEATHS)
        self._is_closed = False
        self._has_unflushed = self._lost_unflushed = False
        self._read(lambda child: child.ask("count"))

    # --- writing --------------------------------------------------------------------------------
    def upsert(self, records: Sequence[PageRecord]) -> None:
        if not records:
            return
        if self._spare is not None:
            self._spare.hold()
        try:
            self._write("upsert", records)
        except (pickle.PicklingError, TypeError, AttributeError):  # nothing was sent
            check_records(records, self._spec)  # which says what is wrong with them
            raise

    def delete(self, where: Filter) -> None:
        self._write("delete", where)

    def set_payload(self, where: Filter, changes: Json) -> None:
        self._write("set_payload", where, changes)

    def flush(self) -> None:
        self._require_same_process()
        self._write("flush")
        self._has_unflushed = False

    def optimize(self) -> None:
        self._require_same_process()
        self._write("optimize")
        self._has_unflushed = False

    # --- reading --------------------------------------------------------------------------------
    def search(
        self,
        page_field: PageField,
        query: FloatArray | SparseVector,
        *,
        limit: int,
        where: Filter | None = None,
        record_ids: Sequence[str] | None = None,
    ) -> list[Candidate]:
        return self.search_many([(page_field, query, limit)], where=where, record_ids=record_ids)[0]

    def search_many(
        self,
        queries: Sequence[tuple[PageField, FloatArray | SparseVector, int]],
        *,
        where: Filter | None = None,
        record_ids: Sequence[str] | None = None,
    ) -> list[list[Candidate]]:
        found: list[Found] = self._ask("search_many", queries, where=where, record_ids=record_ids)
        return [each.candidates() for each in found]

    def vectors(self, record_ids: Sequence[str], page_field: PageField) -> dict[str, FloatArray]:
        found: dict[str, FloatArray] = self._ask("vectors", record_ids, page_field)
        return found

    def payloads(self, record_ids: Sequence[str]) -> dict[str, Json]:
        found: dict[str, Json] = self._ask("payloads", record_ids)
        return found

    def records(self, record_ids: Sequence[str]) -> list[PageRecord]:
        found: list[PageRecord] = self._ask("records", record_ids)
        return found

    def ids(self, where: Filter | None = None) -> list[str]:
        found: list[str] = self._ask("ids", where)
        return found

    def count(self, where: Filter | None = None) -> int:
        found: int = self._ask("count", where)
        return found

    def state(self) -> Json:
        """Its process, if there is one, and how many ended by themselves lately."""
        with self._lock:
            child = self._child
            return {
                "pid": None if child is None or child.is_ended else child.pid,
                "deaths": len(self._deaths),
            }

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            child, self._child = self._child or self._waiting_child, None
        try:
            if child is not None:
                child.ask(CLOSE)
        except _Died:  # its log has what was written
            _log.warning("the process of the page index ended before it was closed")
        finally:
            if child is not None:
                child.leave()
            if self._spare is not None:
                self._spare.release()

    # --- one call -------------------------------------------------------------------------------
    def _ask(self, method: str, *arguments: Any, **options: Any) -> Any:
        with telemetry.span("store", method=method):
            return self._read(lambda child: child.ask(method, *arguments, **options))

    def _read(self, call: Any) -> Any:
        try:
            return call(self._ready_child())
        except _Died as died:
            self._note(died)
        try:
            return call(self._ready_child())
        except _Died as died:
            raise self._note(died).as_error() from died

    def _write(self, method: str, *arguments: Any) -> None:
        try:
            with telemetry.span("store", method=method):
                child = self._ready_child()
                self._has_unflushed = True
                child.ask(method, *arguments)
        except _Died as died:
            death = self._note(died)
            self._lost_unflushed = False  # whoever wrote hears of it here
            raise death.as_error() from died

    def _require_same_process(self) -> None:
        with self._lock:
            was_lost, self._lost_unflushed = self._lost_unflushed, False
        if was_lost:
            raise IndexDied(
                "the process of the page index ended before what it was given was flushed",
                next_step=_AGAIN,
            )

    def _ready_child(self) -> IndexChild:
        """The process with the index open; a new one where there is none.

        Raises:
            _Died: while it opened.
        """
        with self._lock:
            if self._is_closed:
                raise IndexUnavailable("the page index was closed while it was in use")
            if self._child is not None and self._child.is_ended:  # by a call that was interrupted
                self._child = None
                self._lost_unflushed |= self._has_unflushed
                self._has_unflushed = False
            if self._child is None:
                self._require_not_dying()
                child, self._waiting_child = self._waiting_child or IndexChild(), None
                try:
                    child.ask(OPEN, self._folder, self._spec)
                except RagError:
                    child.leave()
                    raise
                self._child = child
            return self._child

    def _require_not_dying(self) -> None:
        if len(self._deaths) < _MOST_DEATHS:
            return
        last = self._deaths[-1]
        if time.monotonic() - self._deaths[0].at_s > _DEATHS_WITHIN_S:
            return
        if last.was_full and not is_full(self._folder.parent):
            self._deaths.clear()
            return
        raise last.as_error(is_started_again=False)

    def _note(self, died: _Died) -> _Death:
        """What a death was; counted once, however many calls it cut short."""
        with self._lock:
            child = died.child
            if child.death is None:
                was_full = is_full(self._folder.parent)
                child.death = _Death(str(died), was_full, time.monotonic())
                self._deaths.append(child.death)
                self._lost_unflushed |= self._has_unflushed
                self._has_unflushed = False
                if was_full and self._spare is not None:
                    self._spare.release()
                telemetry.count(STORE_DEATHS)
                _log.warning("the process of the page index ended %s", died)
            if self._child is child:
                self._child = None
            return child.death


@dataclass(frozen=True)
class _Death:
    how: str
    was_full: bool
    at_s: float  # on the monotonic clock

    def as_error(self, *, is_started_again: bool = True) -> RagError:
        if self.was_full:
            return disk_full(f"the process of the page index ended {self.how}")
        if is_started_again:
            return IndexDied(
                f"the process of the page index ended {self.how}",
                next_step=f"{_AGAIN} SIGKILL is what the system sends when memory runs out.",
            )
        return IndexUnavailable(
            f"the process of the page index ended {_MOST_DEATHS} times within "
            f"{_DEATHS_WITHIN_S:.0f} s, the last time {self.how}",
            code="index_keeps_dying",
            next_step="It is started again after a minute. See `octavo verify` and the memory and "
            "disk that are free.",
        )


class IndexChild:
    """The process and the pipes to it, one for each call under way; `end` by any thread.

    It opens nothing before it is asked to, so that it can start while the encoder loads.
    """

    def __init__(self) -> None:
        context = CleanSpawnContext()
        pairs = [context.Pipe() for _ in range(_CALLS_AT_ONCE)]
        self._process = context.Process(
            target=serve, args=([theirs for _, theirs in pairs],), name="index", daemon=True
        )
        self._process.start()
        self._pipes = [ours for ours, _ in pairs]
        # The one used last first: its thread over there has memory of its own already.
        self._free: queue.LifoQueue[Connection] = queue.LifoQueue()
        for ours, theirs in pairs:
            theirs.close()  # else its end would not be seen
            self._free.put(ours)
        self.is_ended = False  # by us
        self.death: _Death | None = None  # once it is noted

    @property
    def pid(self) -> int | None:
        return self._process.pid

    def ask(self, method: str, *arguments: Any, **options: Any) -> Any:
        """The answer to one request.

        Raises:
            _Died: the process is gone.
            RagError: as the index raised it.
        """
        request = Request(method, arguments, options)
        message = pickle.dumps(request, pickle.HIGHEST_PROTOCOL)
        del request, arguments
        with self._pipe() as pipe:
            pipe.send_bytes(message)
            del message
            answer = pickle.loads(pipe.recv_bytes())
        if isinstance(answer, Refused):
            raise answer.failure.as_error() from _StoreSaid(answer.cause)
        return answer

    @contextlib.contextmanager
    def _pipe(self) -> Iterator[Connection]:
        pipe = self._free.get()
        try:
            yield pipe
        except (EOFError, OSError) as error:
            raise _Died(self, self._how_it_ended()) from error
        except BaseException:
            self.end()  # half a request or half an answer is in the pipe
            raise
        finally:
            self._free.put(pipe)

    def leave(self) -> None:
        for pipe in self._pipes:
            pipe.close()  # which is what it waits for
        self._process.join(_LEAVING_S)
        self.end()

    def end(self) -> None:
        self.is_ended = True
        self._process.kill()
        self._process.join()

    def _how_it_ended(self) -> str:
        code = exit_code(self._process, wait_s=_LEAVING_S)
        return "without an answer" if code is None else how_it_ended(code)


class _Died(Exception):
    """The process is gone; `str` says how. Raised among these classes, never to others."""

    def __init__(self, child: IndexChild, how: str) -> None:
        super().__init__(how)
        self.child = child


class _StoreSaid(Exception):
    """What the store said in the other process, for whoever reads causes."""
