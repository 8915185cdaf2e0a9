"""Fetches models from a hub into a folder, for machines that reach none.

Only what is read and never run is fetched: safetensors, configurations, tokenizers, templates. Code
that lives with the weights comes along where somebody asks for it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download

from rag.errors import InputError
from rag.hub_errors import hub_errors, require_space
from rag.types import Json

# Weights as safetensors alone: the other formats run code when they are read.
_WANTED = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja")
_CODE = "*.py"
BASE_FOLDER = "base_model"
UNREACHABLE = "Run this where it can (HF_ENDPOINT names a mirror), and copy the folder."
_NO_ROOM = "Make room, or choose another folder with --to."


def wanted_files(*, code: bool) -> list[str]:
    """Patterns of the file names that are fetched and read."""
    return [*_WANTED, _CODE] if code else [*_WANTED]


@dataclass(frozen=True)
class PulledModel:
    """A model as it lies in a folder now."""

    model: str
    revision: str
    folder: Path
    n_files: int
    size_bytes: int
    base: PulledModel | None = None

    def as_dict(self) -> Json:
        return {
            "model": self.model,
            "revision": self.revision,
            "folder": str(self.folder),
            "files": self.n_files,
            "size_bytes": self.size_bytes,
            "base": None if self.base is None else self.base.as_dict(),
        }


def pull(
    model: str,
    folder: Path,
    *,
    revision: str | None = None,
    code: bool = False,
    progress: type[Any] | None = None,
) -> PulledModel:
    """A model's files in a folder; those there already are not fetched again.

    An adapter's base model comes along, in a folder of its own inside.

    Args:
        model: id on the hub, such as vidore/colqwen2.5-v0.2.
        folder: made if it is not there.
        revision: commit, branch or tag; None is the main branch. What was taken is returned.
        code: fetch the code that lives with the weights too.
        progress: class of a tqdm-like bar; None shows none.

    Raises:
        InputError: `unknown_model`, `unknown_revision`, `gated_model`, `unsafe_weights`.
        ModelFailed: `hub_unreachable`.
        BackendError: `disk_full`, `not_written`.
    """
    wanted = wanted_files(code=code)
    with hub_errors("model", model, revision, UNREACHABLE):
        planned = snapshot_download(
            model, revision=revision, local_dir=folder, allow_patterns=wanted, dry_run=True
        )
    if not any(file.filename.endswith(".safetensors") for file in planned):
        raise InputError(
            f"{model} has no weights as safetensors",
            code="unsafe_weights",
            next_step="Choose a model or revision that has them; other formats can run code when "
            "they are loaded, and are never read.",
        )
    require_space(
        "model",
        folder,
        sum(file.file_size or 0 for file in planned if file.will_download),
        _NO_ROOM,
    )
    with hub_errors("model", model, revision, UNREACHABLE):
        snapshot_download(
            model,
            revision=planned[0].commit_hash,
            local_dir=folder,
            allow_patterns=wanted,
            tqdm_class=progress,
        )
    base = _base_model(folder)
    return PulledModel(
        model=model,
        revision=planned[0].commit_hash,
        folder=folder,
        n_files=len(planned),
        size_bytes=sum(file.file_size or 0 for file in planned),
        base=None
        if base is None
        else pull(base[0], folder / BASE_FOLDER, revision=base[1], code=code, progress=progress),
    )


def _base_model(folder: Path) -> tuple[str, str | None] | None:
    """Model id and revision that an adapter goes on top of; None for whole models."""
    try:
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InputError(
            f"adapter_config.json of the model cannot be read: {error}",
            code="bad_model",
            next_step="Delete the folder and fetch the model again.",
        ) from error
    name = config.get("base_model_name_or_path")
    return (str(name), config.get("revision")) if name else None
