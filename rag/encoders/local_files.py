"""Which files of a model lie on this machine, in a folder or the hub's cache. Fetches nothing: to
look at what a server runs is no reason to download it.
"""

from __future__ import annotations

import json
from pathlib import Path

from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import HFValidationError

from rag.encoders.hub import BASE_FOLDER
from rag.types import Json


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


def has_weights(model: str, *, revision: str | None = None) -> bool:
    """Whether all its weights are here; an adapter's with its base's."""
    config, adapter = (
        find_file(model, name, revision=revision) for name in ("config.json", "adapter_config.json")
    )
    if config is None and adapter is not None:
        weights = find_file(model, "adapter_model.safetensors", revision=revision)
        pulled = adapter.parent / BASE_FOLDER
        described = _read(adapter)
        base = str(pulled if pulled.is_dir() else described.get("base_model_name_or_path") or "")
        return bool(weights and base) and has_weights(base, revision=described.get("revision"))
    index = find_file(model, "model.safetensors.index.json", revision=revision)
    if index is None:
        return find_file(model, "model.safetensors", revision=revision) is not None
    shards = set(_read(index).get("weight_map", {}).values())
    return bool(shards) and all((index.parent / shard).is_file() for shard in shards)


def _read(path: Path) -> Json:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
