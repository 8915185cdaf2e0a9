"""Fetches models from a hub into a folder, for machines that reach none.

Only what is read and never run is fetched: safetensors, configurations, tokenizers, templates. Code
that lives with the weights comes along where somebody asks for it.
"""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    DryRunError,
    GatedRepoError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from rag.errors import BackendError, InputError, ModelFailed, RagError
from rag.types import Json

# Weights as safetensors alone: the other formats run code when they are read.
_WANTED = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja")
_CODE = "*.py"
BASE_FOLDER = "base_model"
_RESERVE_BYTES = 200_000_000


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
    with hub_errors(model, revision):
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
    _require_space(folder, sum(file.file_size or 0 for file in planned if file.will_download))
    with hub_errors(model, revision):
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


def _require_space(folder: Path, size_bytes: int) -> None:
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < size_bytes + _RESERVE_BYTES:
        raise BackendError(
            f"the model takes {size_bytes / 1e9:.1f} GB and {free / 1e9:.1f} GB of disk are free",
            code="disk_full",
            next_step="Make room, or choose another folder with --to.",
        )


@contextmanager
def hub_errors(model: str, revision: str | None) -> Iterator[None]:
    """What the hub's client raises, as errors of our own."""
    try:
        yield
    except Exception as error:  # its transport's errors, of changing libraries
        # The client raises what its transport raises, and that library has changed its name twice.
        raise _as_ours(error, model, revision) from error


def _as_ours(error: BaseException, model: str, revision: str | None) -> RagError:
    if isinstance(error, DryRunError) and error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, GatedRepoError):
        return InputError(
            f"{model} wants its terms accepted first",
            code="gated_model",
            next_step="Accept them on the model's page, then set HF_TOKEN to a token of yours.",
        )
    if isinstance(error, RevisionNotFoundError):
        return InputError(
            f"{model} has no revision {revision!r}",
            code="unknown_revision",
            next_step="Look at the model's history for a commit, or leave --revision out.",
        )
    if isinstance(error, RepositoryNotFoundError | HFValidationError):
        return InputError(
            f"the hub has no model {model!r} that you may see",
            code="unknown_model",
            next_step="Write it as OWNER/NAME; for a private one set HF_TOKEN.",
        )
    if isinstance(error, OSError) and error.errno in (
        errno.EACCES,
        errno.EROFS,
        errno.ENOSPC,
        errno.ENOTDIR,
        errno.EEXIST,
    ):
        return BackendError(
            f"the model cannot be written: {error.strerror}",
            code="not_written",
            next_step="Check the folder given with --to, and the room on its disk.",
        )
    return ModelFailed(
        f"the model hub cannot be reached ({type(error).__name__})",
        code="hub_unreachable",
        next_step="Run this where it can (HF_ENDPOINT names a mirror), and copy the folder.",
    )
