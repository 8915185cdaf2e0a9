"""What can go wrong with a hub, as errors of our own; for models and for datasets alike."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from huggingface_hub.errors import (
    DryRunError,
    GatedRepoError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from rag.errors import BackendError, InputError, ModelFailed, RagError

_RESERVE_BYTES = 200_000_000
_NOT_WRITTEN = (errno.EACCES, errno.EROFS, errno.ENOSPC, errno.ENOTDIR, errno.EEXIST)


@contextmanager
def hub_errors(
    kind: Literal["model", "dataset"], name: str, revision: str | None, unreachable: str
) -> Iterator[None]:
    """Translate what is raised inside.

    Args:
        kind: of repository; codes end with it.
        name: of the repository, as OWNER/NAME.
        revision: as asked for; None is the newest.
        unreachable: the next step where the hub cannot be reached.

    Raises:
        InputError: `gated_...`, `unknown_revision`, `unknown_...`.
        BackendError: `not_written`, `hub_unreachable`; the latter a ModelFailed for a model.
    """
    try:
        yield
    except Exception as error:  # what its transport raises, a library that changed its name twice
        raise _as_ours(error, kind, name, revision, unreachable) from error


def require_space(
    kind: Literal["model", "dataset"], folder: Path, size_bytes: int, next_step: str
) -> None:
    """Before anything is fetched: room for it, and some that stays free.

    Raises:
        BackendError: `disk_full`.
    """
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < size_bytes + _RESERVE_BYTES:
        raise BackendError(
            f"the {kind} takes {size_bytes / 1e9:.1f} GB and {free / 1e9:.1f} GB of disk are free",
            code="disk_full",
            next_step=next_step,
        )


def _as_ours(
    error: BaseException, kind: str, name: str, revision: str | None, unreachable: str
) -> RagError:
    if isinstance(error, DryRunError) and error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, GatedRepoError):
        return InputError(
            f"{name} wants its terms accepted first",
            code=f"gated_{kind}",
            next_step=f"Accept them on the {kind}'s page, then set HF_TOKEN to a token of yours.",
        )
    if isinstance(error, RevisionNotFoundError):
        return InputError(
            f"{name} has no revision {revision!r}",
            code="unknown_revision",
            next_step=f"Look at the {kind}'s history for a commit, or leave --revision out.",
        )
    if isinstance(error, RepositoryNotFoundError | HFValidationError):
        return InputError(
            f"the hub has no {kind} {name!r} that you may see",
            code=f"unknown_{kind}",
            next_step="Write it as OWNER/NAME; for a private one set HF_TOKEN.",
        )
    if isinstance(error, OSError) and error.errno in _NOT_WRITTEN:
        return BackendError(
            f"the {kind} cannot be written: {error.strerror}",
            code="not_written",
            next_step="Check the folder given with --to, and the room on its disk.",
        )
    failed = ModelFailed if kind == "model" else BackendError
    return failed(
        f"the {kind} hub cannot be reached ({type(error).__name__})",
        code="hub_unreachable",
        next_step=unreachable,
    )
