"""A copy of a data folder, taken while it is in use and nothing writes to it."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

from rag import failpoints
from rag.errors import BackendError, InputError

_CHUNK_BYTES = 1 << 22


def copied_bytes(folder: Path, parts: Iterable[str]) -> int:
    """What copying these files and folders takes."""
    return sum(path.stat().st_size for part in parts for path in _files(folder / part))


def copy_folder(folder: Path, target: Path, *, database: str, parts: Iterable[str]) -> int:
    """Copy the parts of a folder that matter; the copy appears under its name when it is whole.

    Args:
        folder: nothing writes to it but to the log of its database.
        target: is not there yet.
        database: SQLite file in the folder, copied as it is at one moment.
        parts: other files and folders in it; those that are not there are left out.

    Returns:
        Bytes copied.

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
        _copy_database(folder / database, unfinished / database)
        size_bytes = (unfinished / database).stat().st_size
        for part in parts:
            for path in _files(folder / part):
                copy = unfinished / path.relative_to(folder)
                copy.parent.mkdir(parents=True, exist_ok=True)
                size_bytes += _copy(path, copy)
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
        shutil.copyfileobj(source, target, _CHUNK_BYTES)
        target.flush()
        os.fsync(target.fileno())
        return target.tell()


def _copy_database(path: Path, copy: Path) -> None:
    with (
        contextlib.closing(sqlite3.connect(path)) as source,
        contextlib.closing(sqlite3.connect(copy)) as target,
    ):
        source.backup(target)
