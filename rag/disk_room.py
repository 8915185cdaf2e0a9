"""Room on the disk: what is kept free, what is refused for want of it, and a last piece set aside.

A full disk ends the embedded index in the middle of a write (SIGBUS), so writes are refused
before. Other programs fill disks too, between our look and our write; for that there is the piece
set aside.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

from rag.errors import BackendError

_log = logging.getLogger(__name__)

# Of what stays free where no setting says so. The index takes disk in pieces of 32 MB, two at a
# time, and on a small disk a fixed amount would leave nothing to use.
_MOST_RESERVED_BYTES = 200_000_000
_LEAST_RESERVED_BYTES = 64_000_000
_RESERVED_SHARE = 0.1
# Less is a full disk: nobody is told of free bytes that the next write cannot have.
_FULL_BELOW_BYTES = 8_000_000
# What opening the index takes on a file system that gives holes their blocks when they are read
# (33 MB on tmpfs), and the manifest's log.
SPARE_BYTES = 48_000_000
_NEXT_STEP = "Make room in the data folder and run the command again: it goes on where it stopped."


def free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def is_full(folder: Path) -> bool:
    return free_bytes(folder) < _FULL_BELOW_BYTES


def disk_full(doing: str) -> BackendError:
    """`doing` goes on from "the disk is full:"."""
    return BackendError(f"the disk is full: {doing}", code="disk_full", next_step=_NEXT_STEP)


class DiskRoom:
    """The disk of a data folder, of which a reserve stays free.

    Args:
        folder: on it.
        reserve_bytes: None: a tenth of the disk, at least 64 MB and at most 200 MB.
        free_bytes: of the disk that a folder is on.
    """

    def __init__(
        self,
        folder: Path,
        reserve_bytes: int | None = None,
        free_bytes: Callable[[Path], int] = free_bytes,
    ) -> None:
        self.folder = folder
        self._reserve_bytes = reserve_bytes
        self._free_bytes = free_bytes

    @property
    def reserve_bytes(self) -> int:
        if self._reserve_bytes is not None:
            return self._reserve_bytes
        share = int(_RESERVED_SHARE * shutil.disk_usage(self.folder).total)
        return min(_MOST_RESERVED_BYTES, max(_LEAST_RESERVED_BYTES, share))

    def has(self, n_bytes: int) -> bool:
        """Whether so much can be written and the reserve still stays free."""
        return self._free_bytes(self.folder) >= self.reserve_bytes + n_bytes

    def require(self, n_bytes: int) -> None:
        """Raises BackendError `disk_full`."""
        free, wanted = self._free_bytes(self.folder), self.reserve_bytes + n_bytes
        if free < wanted:
            raise BackendError(
                f"{free / 1e6:.0f} MB of disk are free where {wanted / 1e6:.0f} MB are wanted",
                code="disk_full",
                next_step=_NEXT_STEP,
            )


class SpareRoom:
    """A file that takes up disk while somebody writes, and is removed when the disk is full.

    Then the index can be opened again and searched, and the manifest can note how a write ended.
    It is there only as long as the folder is open.
    """

    def __init__(self, path: Path, size_bytes: int = SPARE_BYTES) -> None:
        self._path = path
        self._size_bytes = size_bytes
        self._lock = threading.Lock()
        self._is_held = False

    def hold(self) -> None:
        """Take it, where the disk has plenty; costs nothing when it is held."""
        with self._lock:
            if self._is_held or free_bytes(self._path.parent) < 2 * self._size_bytes:
                return
            try:
                with self._path.open("wb") as file:
                    os.posix_fallocate(file.fileno(), 0, self._size_bytes)
            except OSError:  # a file system without it, or somebody took the room just now
                self._remove()
                return
            self._is_held = True

    def release(self) -> None:
        """Give the room to whoever needs it now."""
        with self._lock:
            if self._is_held:
                _log.info("the room set aside for a full disk is given back")
            self._remove()

    def _remove(self) -> None:
        self._is_held = False
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
