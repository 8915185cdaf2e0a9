"""What the process of an index does: open it, then answer requests, several at a time.

The process may end at any moment; `process.py` is the other side. Results go through the pipe as
few large objects: thousands of small ones take longer to pack than to find.
"""

from __future__ import annotations

import importlib
import os
import pickle
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rag.errors import IndexUnavailable, RagError
from rag.ports import IndexSpec, PageIndex
from rag.process_failures import Failure, may_be_lost
from rag.processes import end_with_parent
from rag.types import Candidate

OPEN, CLOSE = "open", "close"
# What the one before left: a killed owner's process ends a moment after its owner.
_LOCK_WAIT_S = 5.0
_STORE = "rag.index.edge"


@dataclass(frozen=True)
class Request:
    method: str  # OPEN, CLOSE or one of PageIndex
    arguments: tuple[Any, ...]
    options: dict[str, Any]


@dataclass(frozen=True)
class Found:
    """Candidates of one search."""

    record_ids: list[str]
    scores: npt.NDArray[np.float64]

    @classmethod
    def of(cls, candidates: Sequence[Candidate]) -> Found:
        return cls(
            [each.record_id for each in candidates],
            np.array([each.score for each in candidates], np.float64),
        )

    def candidates(self) -> list[Candidate]:
        return list(map(Candidate, self.record_ids, self.scores.tolist()))


@dataclass(frozen=True)
class Refused:
    """An error, and the words of the store, which may name paths, for its cause."""

    failure: Failure
    cause: str


def serve(pipes: Sequence[Connection]) -> None:
    """Main function of the process: one thread answers one pipe. It ends when they are closed."""
    end_with_parent()
    # A panic of the store prints where it was built; what it says travels as a cause.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    may_be_lost()
    # The store itself, which the other side does without; read while it is busy with its encoder.
    importlib.import_module(_STORE)
    served = _Served()
    threads = [threading.Thread(target=_answer_all, args=(pipe, served)) for pipe in pipes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    served.close()


class _Served:
    """The index, once it is open."""

    def __init__(self) -> None:
        self._index: PageIndex | None = None

    def answer(self, request: Request) -> Any:
        match request.method:
            case "open":
                self._open(*request.arguments)
                return None
            case "close":
                self.close()
                return None
            case "search_many":
                found = self._opened().search_many(*request.arguments, **request.options)
                return [Found.of(candidates) for candidates in found]
            case method:
                return getattr(self._opened(), method)(*request.arguments, **request.options)

    def close(self) -> None:
        index, self._index = self._index, None
        if index is not None:
            index.close()

    def _open(self, folder: Path, spec: IndexSpec) -> None:
        from rag.index.edge import EdgeIndex

        self._index = EdgeIndex.open(folder, spec, lock_wait_s=_LOCK_WAIT_S)

    def _opened(self) -> PageIndex:
        if self._index is None:
            raise IndexUnavailable("the page index was closed while it was in use")
        return self._index


def _answer_all(pipe: Connection, served: _Served) -> None:
    try:
        while True:
            request: Request = pickle.loads(pipe.recv_bytes())
            answer = _outcome(served, request)
            del request  # records of a batch are let go of before the next one comes
            pipe.send_bytes(pickle.dumps(answer, pickle.HIGHEST_PROTOCOL))
            del answer
    except (EOFError, OSError):
        return  # the other side closed the pipe, or is gone


def _outcome(served: _Served, request: Request) -> Any:
    try:
        return served.answer(request)
    except RagError as error:
        cause = error.__cause__
        said = "" if cause is None else f"{type(cause).__name__}: {cause}"
        return Refused(Failure.of_ours(error), said)
    except Exception as error:  # noqa: BLE001  # the other side raises it
        unforeseen = IndexUnavailable(f"the process of the page index failed at {request.method}")
        return Refused(Failure.of_ours(unforeseen), f"{type(error).__name__}: {error}")
