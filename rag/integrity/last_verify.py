"""What `verify` last found, kept beside the data for whoever asks how the folder is."""

from __future__ import annotations

import contextlib
import json
import os
from datetime import UTC, datetime
from pathlib import Path

from rag.integrity.places import VERIFIED
from rag.types import Json


def note_verified(folder: Path, *, ok: bool, n_damaged: int, deep: bool) -> None:
    """Never fails: a folder that cannot be written is verified all the same."""
    found = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "ok": ok,
        "damaged": n_damaged,
        "deep": deep,
    }
    part = folder / f"{VERIFIED}.part"
    with contextlib.suppress(OSError):
        part.write_text(json.dumps(found), encoding="utf-8")
        os.replace(part, folder / VERIFIED)


def last_verified(folder: Path) -> Json | None:
    """None where nobody verified, or what is noted is not readable."""
    try:
        found = json.loads((folder / VERIFIED).read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
