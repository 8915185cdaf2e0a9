"""A copy of a data folder, taken while it is in use and nothing writes to it."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from rag import failpoints
from rag.durable_files import copy_database
from rag.errors import BackendError, InputError

_CHUNK_BYTES = 1 << 16


def copied_bytes(folder: Path, parts: Iterable[str]) -> int:
    """What copying these files and folders takes; holes take nothing."""
    return sum(_disk_bytes(path) for part in parts for path in _files(folder / part))


def copy_folder(
    folder: Path,
    target: Path,
    *,
    database: str,
    parts: Iterable[str],
    finish: Callable[[Path], None] = lambda _: None,
) -> int:
    """Copy the parts of a folder that matter; the copy appears under its name when it is whole.

    Args:
        folder: nothing writes to it but to the log of its database.
        target: is not there yet.
        database: SQLite file in the folder, copied as it is at one moment.
        parts: other files and folders in it; those that are not there are left out.
        finish: what is done to the copy before it gets its name; may raise OSError.

    Returns:
        Bytes that the copied files take on the disk.

    Raises:
        InputError: `file_exists`, `not_written`.
        BackendError: `unreadable`: a file of the folder cannot be read.
    """
    if target.exists():
        raise InputError(
            f"{target.name} is there already",
            code="file_exists",
            next_step="Name a folder that is not there yet.",
        )
    unfinished = target.with_name(f".{target.name}.part-{os.getpid()}")
    try:
        unfinished.mkdir(parents=True, mode=0o700)
        copy_database(folder / database, unfinished / database)
        size_bytes = _disk_bytes(unfinished / database)
        for part in parts:
            for path in _files(folder / part):
                copy = unfinished / path.relative_to(folder)
                copy.parent.mkdir(parents=True, exist_ok=True)
                size_bytes += _copy(path, copy)
        finish(unfinished)
        failpoints.reached("snapshot_copied")
        unfinished.rename(target)
    except OSError as error:
        raise InputError(
            f"{target.name} cannot be written: {error.strerror}",
            code="not_written",
            next_step="Name a folder on a disk with room that may be written.",
        ) from error
    except sqlite3.Error as error:
        raise BackendError(
            "the manifest cannot be copied", code="manifest_unavailable", next_step="Try again."
        ) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return size_bytes


def _files(place: Path) -> Iterator[Path]:
    if place.is_file():
        yield place
    for path in sorted(place.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield path


def _copy(path: Path, copy: Path) -> int:
    with path.open("rb") as source, copy.open("xb") as target:
        while chunk := source.read(_CHUNK_BYTES):
            # An embedded index is nine megabytes in six hundred of holes; those stay holes.
            if chunk.count(0) == len(chunk):
                target.seek(len(chunk), os.SEEK_CUR)
            else:
                target.write(chunk)
        target.truncate()
        target.flush()
        os.fsync(target.fileno())
    return _disk_bytes(copy)


def _disk_bytes(path: Path) -> int:
    return path.stat().st_blocks * 512
