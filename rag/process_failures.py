"""What goes wrong in a process of ours, on its way to the process that started it."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

from rag import errors
from rag.errors import RagError

# Of 1000: what the kernel ends first when memory runs out. What such a process holds can be had
# again.
_OOM_SCORE = "500"


@dataclass(frozen=True)
class Failure:
    """An error on its way through a pipe."""

    kind: str  # a class of rag.errors
    code: str
    message: str
    next_step: str

    @classmethod
    def of_ours(cls, error: RagError) -> Failure:
        """As the nearest class of rag.errors."""
        kind = next(each for each in type(error).__mro__ if each.__module__ == errors.__name__)
        return cls(kind.__name__, error.code, error.message, error.next_step)

    def as_error(self) -> RagError:
        kind: type[RagError] = getattr(errors, self.kind)
        return kind(self.message, code=self.code, next_step=self.next_step)


def how_it_ended(exit_code: int) -> str:
    """In words that go on from "the process ended"."""
    if exit_code >= 0:
        return f"with exit code {exit_code}"
    with contextlib.suppress(ValueError):
        return f"by {signal.Signals(-exit_code).name}"
    return f"by signal {-exit_code}"


def exit_code(process: BaseProcess, *, wait_s: float) -> int | None:
    """None where it closed its pipe, but stays; then it is ended."""
    process.join(wait_s)
    code = process.exitcode
    if code is None:
        process.kill()
        process.join()
    return code


def may_be_lost() -> None:
    """Called by a process that can be started again: no core file, and the first to go.

    Results of the command line go to stdout, and libraries print: what this process prints goes to
    stderr.
    """
    os.dup2(2, 1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE, encoding="ascii")
