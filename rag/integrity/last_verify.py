"""What `verify` last found, kept in the inventory for whoever asks how the folder is."""

from __future__ import annotations

import contextlib
import dataclasses
from datetime import UTC, datetime
from pathlib import Path

from rag.integrity.inventory import Inventory
from rag.integrity.places import INVENTORY, INVENTORY_BEFORE
from rag.types import Json


def note_verified(folder: Path, *, ok: bool, n_damaged: int, deep: bool) -> None:
    """Never fails: what cannot be noted was verified all the same."""
    found = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "ok": ok,
        "damaged": n_damaged,
        "deep": deep,
    }
    path = folder / INVENTORY
    with contextlib.suppress(OSError, ValueError):
        dataclasses.replace(Inventory.load(path), verified=found).save(path)


def last_verified(folder: Path) -> Json | None:
    """None where nobody verified, or nothing is noted."""
    for name in (INVENTORY, INVENTORY_BEFORE):
        with contextlib.suppress(OSError, ValueError):
            return Inventory.load(folder / name).verified
    return None
