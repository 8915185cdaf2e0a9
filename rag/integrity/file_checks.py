"""The files of a data folder held to the inventory of when it was last closed."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath

from rag.integrity.damage import Damage, mended_by
from rag.integrity.digests import content_digest, file_sha256
from rag.integrity.inventory import FileEntry, Inventory, walk
from rag.integrity.places import (
    INVENTORY,
    INVENTORY_BEFORE,
    MANIFEST,
    SOURCES,
    Kind,
    collection_folder,
    kind_of,
)

Tell = Callable[[int], None]  # hears of bytes that were read


class Left(StrEnum):
    """How the folder was left, by what it says of itself."""

    CLOSED = "closed"  # there is an inventory to hold it to
    OPEN = "open"  # whoever had it open was killed: contents alone can be checked
    UNKNOWN = "unknown"  # nobody ever wrote an inventory, as programs before it did not
    UNREADABLE = "unreadable"  # there is one, and it is damaged
    MISSING = "missing"  # there was one


@dataclass(frozen=True)
class HeldInventory:
    """What is known of the files; the inventory is there where the folder was closed."""

    left: Left
    inventory: Inventory | None = None


def held_inventory(folder: Path) -> HeldInventory:
    try:
        return HeldInventory(Left.CLOSED, Inventory.load(folder / INVENTORY))
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return HeldInventory(Left.UNREADABLE)
    if (folder / INVENTORY_BEFORE).exists():
        return HeldInventory(Left.OPEN)
    return HeldInventory(Left.MISSING if _was_written_once(folder) else Left.UNKNOWN)


_NOTED = "inventory"  # a key of `about`


def note_written(folder: Path) -> None:
    """Say in the manifest that there is an inventory, so that a missing one is missed."""
    with _manifest(folder) as connection:
        connection.execute("INSERT OR IGNORE INTO about (key, value) VALUES (?, '1')", (_NOTED,))


def _was_written_once(folder: Path) -> bool:
    try:
        with _manifest(folder) as connection:
            query = "SELECT 1 FROM about WHERE key = ?"
            return connection.execute(query, (_NOTED,)).fetchone() is not None
    except sqlite3.Error:
        return False


class _manifest:  # noqa: N801 - used as a function
    """A connection that is closed, where sqlite3's own context manager leaves it open."""

    def __init__(self, folder: Path) -> None:
        if not (folder / MANIFEST).exists():
            raise sqlite3.OperationalError("no manifest")
        self._connection = sqlite3.connect(folder / MANIFEST)

    def __enter__(self) -> sqlite3.Connection:
        return self._connection

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._connection.commit()
        self._connection.close()


# --- files --------------------------------------------------------------------------------------
def changed_since(folder: Path, inventory: Inventory, kinds: Iterable[Kind]) -> Iterator[Damage]:
    """Files of these kinds that are gone, or look otherwise and hold something else."""
    wanted = frozenset(kinds)
    for path, entry in inventory.files.items():
        if kind_of(path) not in wanted:
            continue
        try:
            status = os.stat(folder / path, follow_symlinks=False)
        except OSError:
            yield missing_file(path)
            continue
        looks_the_same = (status.st_size, status.st_mtime_ns, status.st_ino) == (
            entry.size_bytes,
            entry.mtime_ns,
            entry.inode,
        )
        if not looks_the_same and (found := _wrong(folder, path, entry)) is not None:
            yield found


def check_files(folder: Path, inventory: Inventory, tell: Tell = lambda _: None) -> list[Damage]:
    """Every listed file read and held to its digest."""
    found = []
    for path, entry in inventory.files.items():
        damage = _wrong(folder, path, entry)
        if damage is not None:
            found.append(damage)
        tell(entry.size_bytes)
    return found


def unlisted(folder: Path, inventory: Inventory) -> list[str]:
    """Files that are there and that nobody knows."""
    return [path for path, _ in walk(folder) if path not in inventory.files]


def check_source(folder: Path, path: str) -> Damage | None:
    """A kept file is named after its own SHA-256."""
    if _source_is_whole(folder / path):
        return None
    return changed_file(path) if (folder / path).exists() else missing_file(path)


def check_unlisted_sources(folder: Path, known: Iterable[str]) -> Iterator[Damage]:
    """Kept files that no inventory speaks of are held to their names all the same."""
    listed = frozenset(known)
    for path, _ in walk(folder, below=SOURCES):
        if path not in listed and (found := check_source(folder, path)) is not None:
            yield found


def check_manifest(folder: Path) -> list[Damage]:
    """What the database says of itself: pages and indexes of the file, keys that lead nowhere."""
    if not (folder / MANIFEST).exists():
        return [missing_file(MANIFEST)]
    try:
        with _manifest(folder) as connection:
            wrong = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(3)")]
            dangling = connection.execute("PRAGMA foreign_key_check").fetchall()
    except sqlite3.Error as error:
        wrong, dangling = [str(error)], []
    said = [line for line in wrong if line != "ok"]
    if dangling:
        said.append(f"{len(dangling)} rows name others that are not there")
    return [
        Damage(
            "damaged_manifest",
            f"the manifest is damaged: {'; '.join(said)}",
            mended_by(Kind.MANIFEST),
            path=MANIFEST,
        )
        for _ in said[:1]
    ]


def missing_file(path: str) -> Damage:
    kind = kind_of(path)
    return Damage(
        "missing_file",
        f"{path} is missing ({kind})",
        mended_by(kind),
        path=path,
        collection=collection_folder(path),
    )


def changed_file(path: str) -> Damage:
    kind = kind_of(path)
    return Damage(
        "changed_file",
        f"{path} is not what was written ({kind})",
        mended_by(kind),
        path=path,
        collection=collection_folder(path),
    )


def _wrong(folder: Path, path: str, entry: FileEntry) -> Damage | None:
    if kind_of(path) is Kind.SOURCE and not entry.digest:
        return check_source(folder, path)
    try:
        is_whole = content_digest(folder / path) == entry.digest
    except FileNotFoundError:
        return missing_file(path)
    except OSError:  # a bad sector, or a folder in its place
        is_whole = False
    return None if is_whole else changed_file(path)


def _source_is_whole(path: Path) -> bool:
    try:
        return file_sha256(path) == PurePosixPath(path.name).stem
    except OSError:
        return False
