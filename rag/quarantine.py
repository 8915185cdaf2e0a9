"""Files whose reading ended the process that did it, again and again: they are read no more.

What counts is a process that died, or had to be ended because it took too long, over a page that no
reader could read. A page that another reader reads is no loss, and counts nothing.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rag.errors import DocumentError

MOST_TIMES = 3


@dataclass(frozen=True)
class Fatal:
    """How often reading a file ended a process, and how the last time."""

    n_times: int
    reason: str


class FatalFiles(Protocol):
    """Where it is kept, by the SHA-256 of the bytes."""

    def of(self, sha256: str) -> Fatal | None: ...

    def add(self, sha256: str, n_more: int, reason: str) -> Fatal:
        """Raises BackendError: it cannot be kept."""
        ...

    def forget(self, sha256: str) -> None: ...


class FatalFilesInMemory:
    """For readers without a data folder."""

    def __init__(self) -> None:
        self._known: dict[str, Fatal] = {}
        self._lock = threading.Lock()

    def of(self, sha256: str) -> Fatal | None:
        return self._known.get(sha256)

    def add(self, sha256: str, n_more: int, reason: str) -> Fatal:
        with self._lock:
            before = self._known.get(sha256)
            found = Fatal(n_more + (before.n_times if before else 0), reason)
            self._known[sha256] = found
        return found

    def forget(self, sha256: str) -> None:
        self._known.pop(sha256, None)


def refuse_fatal(files: FatalFiles, sha256: str, name: str) -> None:
    """Raises DocumentError `quarantined` for what ended its process too often."""
    found = files.of(sha256)
    if found is not None and found.n_times >= MOST_TIMES:
        raise quarantined(name, found)


def quarantined(name: str, found: Fatal) -> DocumentError:
    return DocumentError(
        f"reading {name} ended {found.n_times} processes, the last with {found.reason}; it is not "
        "read any more",
        code="quarantined",
        next_step="Open it in a PDF viewer, save it anew and ingest that, or try this file again "
        "with --force.",
    )


def sha256_of(path: Path) -> str | None:
    """Of a file's bytes, in hex; None where it is gone."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
