"""A data folder opened with an eye on what may have happened to it, and closed with an inventory.

Open, check, mark, work, copy the manifest, write the inventory: in this order. Whoever is killed in
between leaves the mark, and the inventory then counts for nothing but what never changes.
"""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rag import failpoints
from rag.durable_files import copy_durably, sync_folder
from rag.errors import BackendError
from rag.integrity import file_checks
from rag.integrity.damage import Damage
from rag.integrity.file_checks import Left
from rag.integrity.inventory import Inventory, take_inventory
from rag.integrity.places import (
    COLLECTIONS,
    DAMAGED,
    DERIVED,
    INVENTORY,
    INVENTORY_BEFORE,
    MANIFEST,
    MANIFEST_COPY,
    MANIFEST_LOGS,
    PACK,
    Kind,
    collection_folder,
    kind_of,
)
from rag.types import Json

_log = logging.getLogger(__name__)

# Looked at whenever the folder is opened. Sources are held to their names by `verify`, words that
# OCR read carry a checksum, and a tuning is a settings file that people may change.
_CHECKED_AT_OPENING = frozenset(
    {Kind.MANIFEST, Kind.MANIFEST_COPY, Kind.INDEX, Kind.FDE, Kind.PACK, Kind.IMAGE}
)


@dataclass
class _Opened:
    before: Inventory | None
    n_times: int = 1
    has_failed: bool = False


_lock = threading.Lock()
_opened: dict[Path, _Opened] = {}  # by folder; several engines of this process may share one


def opening(folder: Path) -> None:
    """Call it before anything of the folder is opened, and `closed` when everything is closed.

    What is made from the rest is set aside where it is damaged, and made again.

    Raises:
        BackendError: `data_damaged`, naming the file; nothing was touched.
    """
    key = folder.resolve()
    with _lock:
        if (held := _opened.get(key)) is not None:
            held.n_times += 1
            return
        _opened[key] = _Opened(_checked(folder))


def closed(folder: Path, *, has_failed: bool = False) -> None:
    """The last one out writes the inventory.

    Args:
        folder: in which nothing is open any more.
        has_failed: something could not be closed; what the files hold is anybody's guess.
    """
    key = folder.resolve()
    with _lock:
        held = _opened.get(key)
        if held is None:
            return
        held.n_times -= 1
        held.has_failed |= has_failed
        if held.n_times:
            return
        del _opened[key]
        if not held.has_failed:
            _leave(folder, held.before)


def take_stock(copy: Path) -> None:
    """Write the inventory of a copied data folder, which nobody has opened yet. Raises OSError.

    Its manifest may say that there was one, and a folder that misses it is damaged.
    """
    take_inventory(copy).save(copy / INVENTORY)


def last_close(folder: Path) -> Json | None:
    """How the folder was left before this process opened it; None where that is not known.

    `at` is when an inventory was last written, which a kill since then does not change.
    """
    held = _opened.get(folder.resolve())
    try:
        written = (folder / INVENTORY_BEFORE).stat().st_mtime
    except OSError:
        return None
    at = datetime.fromtimestamp(written, UTC).isoformat(timespec="seconds")
    return {"clean": held is not None and held.before is not None, "at": at}


def set_aside(folder: Path, path: str, *, stamp: str | None = None) -> str | None:
    """Move a file or folder into `damaged/<time>/`; None where it is not there. Raises OSError."""
    target = Path(DAMAGED) / (stamp or time_stamp()) / path
    if not (folder / path).exists():
        return None
    (folder / target).parent.mkdir(parents=True, exist_ok=True)
    shutil.move(folder / path, folder / target)
    sync_folder((folder / target).parent)
    sync_folder((folder / path).parent)
    failpoints.reached("damage_set_aside")
    return str(target)


def time_stamp() -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())


# --- opening ------------------------------------------------------------------------------------
def _checked(folder: Path) -> Inventory | None:
    held = file_checks.held_inventory(folder)
    if held.left in (Left.UNREADABLE, Left.MISSING):
        raise _refused(
            f"{INVENTORY} is {'missing' if held.left is Left.MISSING else 'not what was written'}"
        )
    if held.inventory is None:
        return None
    try:
        found = list(file_checks.changed_since(folder, held.inventory, _CHECKED_AT_OPENING))
        fatal = [each for each in found if kind_of(each.path or "") not in DERIVED]
        if fatal:
            others = f", and {len(fatal) - 1} more" if len(fatal) > 1 else ""
            raise _refused(f"{fatal[0].message}{others}")
        _drop_derived(folder, found)
        os.replace(folder / INVENTORY, folder / INVENTORY_BEFORE)
        sync_folder(folder)
    except OSError as error:
        raise BackendError(
            f"the data folder cannot be checked: {error.strerror}",
            code="data_unreadable",
            next_step="Check that its files may be read and written.",
        ) from error
    return held.inventory


def _refused(what: str) -> BackendError:
    return BackendError(
        f"the data folder is damaged: {what}",
        code="data_damaged",
        next_step="Run `octavo verify` to see everything that is damaged, then `octavo repair`.",
    )


def _drop_derived(folder: Path, found: list[Damage]) -> None:
    stamp = time_stamp()
    for damage in found:
        path = damage.path or ""
        if kind_of(path) is Kind.PACK:
            path = f"{COLLECTIONS}/{collection_folder(path)}/{PACK}"
        if set_aside(folder, path, stamp=stamp) is not None or damage.kind == "missing_file":
            _log.warning("%s: it is made again", damage.message)


# --- closing ------------------------------------------------------------------------------------
def _leave(folder: Path, before: Inventory | None) -> None:
    """Never fails: without an inventory the folder is one whose contents alone can be checked."""
    try:
        if not (folder / MANIFEST).exists():
            return
        if before is None:
            file_checks.note_written(folder)
        if any((folder / name).exists() for name in MANIFEST_LOGS):
            return  # somebody else has the manifest open
        # After a crash nobody has looked at it yet, and the copy may be the better one.
        if before is None and file_checks.check_manifest(folder):
            return
        copy_manifest(folder, before)
        found = take_inventory(folder, before)
        found.save(folder / INVENTORY)
        (folder / INVENTORY_BEFORE).unlink(missing_ok=True)
    except (OSError, sqlite3.Error):
        _log.warning("no inventory of the data folder could be written", exc_info=True)
        return
    failpoints.reached("inventory_written")


def copy_manifest(folder: Path, before: Inventory | None) -> None:
    """A copy of what cannot be made again, where it changed since the last one. Raises OSError."""
    status = (folder / MANIFEST).stat()
    known = None if before is None else before.files.get(MANIFEST)
    copied = folder / MANIFEST_COPY
    if known is not None and known.looks_like(status) and copied.exists():
        return
    copy_durably(folder / MANIFEST, copied)
    failpoints.reached("manifest_copied")
