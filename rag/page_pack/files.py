"""The files of a pack: written at given places, made durable, mapped for reading.

`header.json` names the generation whose files count; it is replaced whole. Files of any other
generation are what a compaction that was cut short left behind.
"""

from __future__ import annotations

import errno
import json
import logging
import mmap
import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from rag.durable_files import new_file, sync_file, sync_folder
from rag.errors import BackendError, IndexMismatch, PackDamaged
from rag.page_pack.layout import ENTRY, FORMAT_VERSION, PackSpec, Part, Table, intact
from rag.scoring.quantize import ByteArray

_log = logging.getLogger(__name__)

_HEADER = "header.json"
_FORMAT = "octavo-page-pack"
_STEMS = {
    Part.FP16: ("fp16", "rows"),
    Part.INT8: ("int8", "rows"),
    Part.BITS: ("bits", "blocks"),
    Part.FDE: ("fde", "signs"),
}
_TABLE = ("pages", "table")
REBUILT = "It is made anew from the index when the collection is opened."
# macOS has no fdatasync.
_sync_data = getattr(os, "fdatasync", os.fsync)


class PackFiles:
    """The files of one generation, open for reading and writing. Raises OSError from all calls."""

    def __init__(self, folder: Path, spec: PackSpec, generation: int, *, create: bool) -> None:
        self.folder = folder
        self.spec = spec
        self.generation = generation
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT | os.O_TRUNC if create else 0)
        self._descriptors: dict[Part | None, int] = {}  # None is the table
        try:
            for part in (*Part, None):
                self._descriptors[part] = os.open(folder / self.name(part), flags, 0o600)
        except OSError:
            self.close()
            raise

    @classmethod
    def create(cls, folder: Path, spec: PackSpec, generation: int) -> PackFiles:
        """Empty ones, in place of whatever has their names."""
        return cls(folder, spec, generation, create=True)

    @classmethod
    def open(cls, folder: Path, spec: PackSpec, generation: int) -> PackFiles:
        """Raises PackDamaged where one is missing."""
        try:
            return cls(folder, spec, generation, create=False)
        except FileNotFoundError as error:
            name = Path(str(error.filename)).name
            raise PackDamaged(f"{name} is missing", next_step=REBUILT) from error

    def close(self) -> None:
        """What is mapped stays so."""
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors.clear()

    def name(self, part: Part | None) -> str:
        """Of a part's file; of the table's for None."""
        stem, suffix = _TABLE if part is None else _STEMS[part]
        return f"{stem}-{self.generation}.{suffix}"

    def size_bytes(self, part: Part | None) -> int:
        return os.fstat(self._descriptors[part]).st_size

    # --- writing --------------------------------------------------------------------------------
    def write(self, part: Part, first_unit: int, data: ByteArray) -> None:
        """Rows, blocks or pages (n, unit) from `first_unit` on."""
        offset = first_unit * self.spec.unit_bytes(part)
        _write_all(self._descriptors[part], np.ascontiguousarray(data).data, offset)

    def write_entries(self, first: int, entries: Table) -> None:
        _write_all(self._descriptors[None], memoryview(entries.tobytes()), first * ENTRY.itemsize)

    def sync_data(self) -> None:
        for part in Part:
            _sync_data(self._descriptors[part])

    def sync_table(self) -> None:
        _sync_data(self._descriptors[None])

    def cut_table(self, n_entries: int) -> None:
        os.ftruncate(self._descriptors[None], n_entries * ENTRY.itemsize)

    # --- reading --------------------------------------------------------------------------------
    def read_table(self) -> Table:
        """All entries up to the last whole one; behind it is what a cut-short append left.

        Raises:
            PackDamaged: a damaged entry with whole ones behind it.
        """
        data = os.pread(self._descriptors[None], self.size_bytes(None), 0)
        n_whole = len(data) // ENTRY.itemsize
        table = np.frombuffer(data, ENTRY, n_whole)
        found = intact(table)
        n_entries = int(np.flatnonzero(found)[-1]) + 1 if found.any() else 0
        if not found[:n_entries].all():
            damaged = int(np.flatnonzero(~found)[0])
            raise PackDamaged(
                f"entry {damaged} of {n_entries} in {self.name(None)} has another checksum",
                next_step=REBUILT,
            )
        return table[:n_entries]

    def map(self, part: Part, n_units: int) -> tuple[ByteArray, weakref.ref[mmap.mmap] | None]:
        """(n_units, unit) of a part, read-only, and a reference that dies with the last user."""
        width = self.spec.unit_bytes(part)
        if not n_units:
            return np.zeros((0, width), np.uint8), None
        mapped = mmap.mmap(self._descriptors[part], n_units * width, access=mmap.ACCESS_READ)
        return np.frombuffer(mapped, np.uint8).reshape(n_units, width), weakref.ref(mapped)


def read_header(folder: Path, spec: PackSpec) -> int | None:
    """The generation that counts; None where there is no pack.

    Raises:
        IndexMismatch: `pack_foreign`: another format, or another spec than is asked for.
        PackDamaged: no JSON, or JSON of something else.
    """
    try:
        text = (folder / _HEADER).read_bytes()
    except FileNotFoundError:
        return None
    try:
        header: Any = json.loads(text)
        found = {name: header[name] for name in _header(spec, 0)}
        generation = found.pop("generation")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise PackDamaged(f"{_HEADER} is no header of a pack", next_step=REBUILT) from error
    if type(generation) is not int or generation < 1:
        raise PackDamaged(f"{_HEADER} names no generation", next_step=REBUILT)
    wanted = _header(spec, generation)
    differing = [name for name in found if found[name] != wanted[name]]
    if differing:
        raise IndexMismatch(
            f"{_HEADER} has "
            + ", ".join(f"{name} {found[name]!r:.40}" for name in differing)
            + "; wanted are "
            + ", ".join(f"{name} {wanted[name]!r:.40}" for name in differing),
            code="pack_foreign",
            next_step=REBUILT,
        )
    return generation


def write_header(folder: Path, spec: PackSpec, generation: int) -> None:
    """Make a generation the one that counts. Its files have to be durable before.

    Raises:
        OSError: the generation before is the one that counts.
    """
    with new_file(folder / _HEADER) as (file, _):
        file.write(json.dumps(_header(spec, generation)).encode())
        sync_file(file)
    _sync_names(folder)


def remove_others(folder: Path, files: PackFiles) -> None:
    """Drop everything that is not of the generation that counts."""
    kept = {_HEADER, *(files.name(part) for part in (*Part, None))}
    for path in folder.iterdir():
        if path.name not in kept and path.is_file():
            path.unlink()
    _sync_names(folder)


@contextmanager
def file_errors(doing: str) -> Iterator[None]:
    """What the disk refuses, as BackendError `disk_full` or `pack_failed`."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise BackendError(
                f"the disk is full: packed page vectors cannot be {doing}",
                code="disk_full",
                next_step="Make room in the data folder and run the command again.",
            ) from error
        raise BackendError(
            f"packed page vectors cannot be {doing}: {error.strerror}",
            code="pack_failed",
            next_step="Run the command again. If it says the same, delete the collection's folder "
            "'packed' in the data folder: it is made anew from the index, which has every page.",
        ) from error


def _header(spec: PackSpec, generation: int) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "version": FORMAT_VERSION,
        "generation": generation,
        **asdict(spec),
    }


def _write_all(descriptor: int, data: memoryview, offset: int) -> None:
    data = data.cast("B") if data.nbytes else data
    done = 0
    while done < data.nbytes:
        done += os.pwrite(descriptor, data[done:], offset + done)


def _sync_names(folder: Path) -> None:
    """Make names durable that are changed already. Never fails, since they are: at worst a crash
    brings the earlier ones back, and the pack is made anew.
    """
    try:
        sync_folder(folder)
    except OSError:
        _log.warning("renamed or removed pack files are not yet durable", exc_info=True)
