"""Files that are there whole or not at all, also after a kill or a loss of power."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

TEMPORARY = ".part-"  # how a file is called until it is whole; what a kill leaves is known by it


@contextlib.contextmanager
def new_file(path: Path, *, prefix: str = TEMPORARY) -> Iterator[tuple[BinaryIO, Path]]:
    """A file that appears under its name whole, or not at all; readable by its owner only.

    Yields:
        The file, and where it is until it has its name. `sync_file` it where it has to outlive a
        loss of power.

    Raises:
        OSError: what was there before is still there.
    """
    descriptor, name = tempfile.mkstemp(prefix=prefix, dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file, temporary
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def sync_file(file: BinaryIO) -> None:
    """Make what was written to a file durable. Raises OSError."""
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make names in a folder durable. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(path: Path, data: bytes) -> None:
    """Write a file with its name. Raises OSError."""
    with new_file(path) as (file, _):
        file.write(data)
        sync_file(file)
    sync_folder(path.parent)


def copy_durably(source: Path, copy: Path) -> None:
    """Copy a file that nobody writes to, with who may read it. Raises OSError."""
    with new_file(copy) as (target, temporary):
        shutil.copy(source, temporary)
        sync_file(target)
    sync_folder(copy.parent)


def copy_database(source: Path, copy: Path) -> None:
    """Copy an SQLite file as it is at one moment, while others may write to it.

    Args:
        source: of any age, its log included.
        copy: is not there yet.

    Raises:
        OSError, sqlite3.Error: what is there of the copy is of no use.
    """
    with (
        contextlib.closing(sqlite3.connect(source)) as held,
        contextlib.closing(sqlite3.connect(copy)) as written,
    ):
        held.backup(written)
