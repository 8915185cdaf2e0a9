"""Where a file of a model lies on this machine, in a folder or the hub's cache. Fetches nothing: to
look at what a server runs is no reason to download it.
"""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import HFValidationError


def find_file(model: str, name: str, *, revision: str | None = None) -> Path | None:
    """One file of a model: a folder, or an id on the hub."""
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder / name if (folder / name).is_file() else None
    try:
        found = try_to_load_from_cache(model, name, revision=revision)
    except HFValidationError:  # a name that a server made up
        return None
    return Path(found) if isinstance(found, str) else None
