"""Which files a data folder held when it was last closed: sizes, digests, and the small ones whole.

Written by the process that owned the folder, after everything in it was closed.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import mmap
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rag.durable_files import write_durably
from rag.integrity.digests import content_digest
from rag.integrity.places import INDEX, SOURCES, WRITTEN_ONCE, is_passing
from rag.types import Json

_FORMAT, _VERSION = "octavo-inventory", 1
# Kept whole in the inventory, so that most damage to small files is undone byte for byte.
_SMALL_BYTES = 4096
# Times of files come in ticks: one that was written so shortly before it was read may have been
# written again in the same tick.
_TICK_NS = 20_000_000


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file as it was.

    Attributes:
        digest: of its contents; "" for a source, whose name is its digest.
        content: of a small one.
        is_settled: whether an equal time of change means equal contents.
    """

    size_bytes: int
    mtime_ns: int
    inode: int
    digest: str
    content: bytes | None = None
    is_settled: bool = True

    def looks_like(self, status: os.stat_result) -> bool:
        return (
            self.is_settled
            and self.size_bytes == status.st_size
            and self.mtime_ns == status.st_mtime_ns
            and self.inode == status.st_ino
        )


@dataclass(frozen=True)
class Inventory:
    """Files by their path below the data folder, with `/`.

    Attributes:
        folders: when something was last added to or taken from the folders of files that are
            written once.
        verified: what `verify` last found, None before it ran.
    """

    files: Mapping[str, FileEntry]
    folders: Mapping[str, int] = field(default_factory=dict)
    verified: Json | None = None

    def with_files(self, files: Mapping[str, FileEntry], *, below: str) -> Inventory:
        """`files` in place of all that lie below a path."""
        others = {
            path: entry for path, entry in self.files.items() if not path.startswith(f"{below}/")
        }
        return Inventory({**others, **files}, self.folders, self.verified)

    # --- on disk --------------------------------------------------------------------------------
    @classmethod
    def load(cls, path: Path) -> Inventory:
        """Raises OSError, or ValueError for anything that `save` did not write."""
        written = json.loads(path.read_bytes())
        if not isinstance(written, dict) or written.pop("checksum", None) != _checksum(written):
            raise ValueError(f"{path.name} has another checksum")
        if written.get("format") != _FORMAT or written.get("version") != _VERSION:
            raise ValueError(f"{path.name} is no inventory that this program reads")
        small = {name: base64.b64decode(text) for name, text in written["contents"].items()}
        files = {
            name: FileEntry(size, mtime, inode, digest, small.get(name), bool(settled))
            for name, (size, mtime, inode, digest, settled) in written["files"].items()
        }
        return cls(files, written["folders"], written.get("verified"))

    def save(self, path: Path) -> None:
        """Whole or not at all, durably. Raises OSError."""
        written: Json = {
            "format": _FORMAT,
            "version": _VERSION,
            "files": {
                name: [each.size_bytes, each.mtime_ns, each.inode, each.digest, each.is_settled]
                for name, each in self.files.items()
            },
            "folders": dict(self.folders),
            "verified": self.verified,
            "contents": {
                name: base64.b64encode(each.content).decode()
                for name, each in self.files.items()
                if each.content is not None
            },
        }
        text = json.dumps({**written, "checksum": _checksum(written)}, separators=(",", ":"))
        write_durably(path, text.encode())


def _checksum(written: Json) -> str:
    canonical = json.dumps(written, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


# --- what there is now --------------------------------------------------------------------------
def take_inventory(folder: Path, before: Inventory | None = None) -> Inventory:
    """The files as they are. What looks as it did before keeps its digest and is not read.

    Raises:
        OSError: a file cannot be read.
    """
    held = Inventory({}) if before is None else before
    files: dict[str, FileEntry] = {}
    folders: dict[str, int] = {}
    for area in WRITTEN_ONCE:
        found, times = _written_once(folder, area, held)
        files |= found
        folders |= times
    files |= take_files(folder, held, without=WRITTEN_ONCE)
    return Inventory(files, folders, held.verified)


def take_files(
    folder: Path, held: Inventory, *, below: str = "", without: tuple[str, ...] = ()
) -> dict[str, FileEntry]:
    """Entries of the files below a path, which nothing has open."""
    sees_maps = _notes_mapped_writes(folder)
    files: dict[str, FileEntry] = {}
    for path, status in walk(folder, below=below, without=without):
        entry = held.files.get(path)
        may_be_kept = sees_maps or f"/{INDEX}/" not in path
        if entry is None or not may_be_kept or not entry.looks_like(status):
            entry = _entry(folder / path, status)
        files[path] = entry
    return files


def take_file(folder: Path, held: Inventory, path: str) -> FileEntry:
    """The entry of one file, which nothing has open. Raises OSError."""
    status = (folder / path).stat()
    entry = held.files.get(path)
    if entry is not None and entry.looks_like(status):
        return entry
    return _entry(folder / path, status)


def walk(
    folder: Path, *, below: str = "", without: tuple[str, ...] = ()
) -> Iterator[tuple[str, os.stat_result]]:
    """Every file that an inventory lists, by path, with what `stat` says. Links are not followed.

    Raises:
        OSError: a folder cannot be read.
    """
    waiting = [below]
    while waiting:
        at = waiting.pop()
        try:
            entries = sorted(os.scandir(folder / at), key=lambda entry: entry.name)
        except FileNotFoundError:
            continue
        for entry in entries:
            path = f"{at}/{entry.name}" if at else entry.name
            if path in without or is_passing(path):
                continue
            if entry.is_dir(follow_symlinks=False):
                waiting.append(path)
            elif entry.is_file(follow_symlinks=False):
                with contextlib.suppress(FileNotFoundError):
                    yield path, entry.stat(follow_symlinks=False)


def _entry(path: Path, status: os.stat_result) -> FileEntry:
    content = path.read_bytes() if status.st_size <= _SMALL_BYTES else None
    read_at_ns = time.time_ns()
    return FileEntry(
        status.st_size,
        status.st_mtime_ns,
        status.st_ino,
        content_digest(path),
        content,
        is_settled=status.st_mtime_ns < read_at_ns - _TICK_NS,
    )


def _written_once(
    folder: Path, area: str, held: Inventory
) -> tuple[dict[str, FileEntry], dict[str, int]]:
    """Files of an area, and when each of its folders last changed.

    The files never change in place, so an unchanged folder holds what it held.
    """
    known: dict[str, dict[str, FileEntry]] = {}
    for path, entry in held.files.items():
        if path.startswith(f"{area}/"):
            known.setdefault(path.rpartition("/")[0], {})[path] = entry
    files: dict[str, FileEntry] = {}
    folders: dict[str, int] = {}
    try:
        below = [entry for entry in os.scandir(folder / area) if entry.is_dir()]
    except FileNotFoundError:
        return {}, {}
    for each in below:
        at = f"{area}/{each.name}"
        changed_ns = each.stat().st_mtime_ns
        folders[at] = changed_ns
        if held.folders.get(at) == changed_ns:
            files |= known.get(at, {})
            continue
        for path, status in walk(folder, below=at):
            before = known.get(at, {}).get(path)
            is_same = before is not None and (before.size_bytes, before.inode) == (
                status.st_size,
                status.st_ino,
            )
            if is_same and before is not None:
                files[path] = before
            elif area == SOURCES:
                files[path] = FileEntry(status.st_size, status.st_mtime_ns, status.st_ino, "")
            else:
                files[path] = FileEntry(
                    status.st_size,
                    status.st_mtime_ns,
                    status.st_ino,
                    content_digest(folder / path),
                )
    return files, folders


def _notes_mapped_writes(folder: Path) -> bool:
    """Whether writing to a mapped file changes its time on this file system, as on tmpfs it may
    not; an embedded index writes in no other way.
    """
    try:
        with tempfile.NamedTemporaryFile(prefix=".inventory-", dir=folder) as file:
            file.write(bytes(mmap.PAGESIZE))
            file.flush()
            os.utime(file.name, ns=(0, 0))
            with mmap.mmap(file.fileno(), mmap.PAGESIZE) as mapped:
                mapped[0] = 1
            return os.fstat(file.fileno()).st_mtime_ns != 0
    except OSError:
        return False
