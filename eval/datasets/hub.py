"""Fetches repositories of datasets from a hub, at one commit, into a folder that can be carried
elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rag.errors import InputError
from rag.hub_errors import hub_errors, require_space

_NO_ROOM = "Make room, choose another folder with --to, or fewer parts with --part."


@dataclass(frozen=True)
class Fetched:
    """A repository as it lies in a folder now."""

    hub_id: str
    revision: str
    folder: Path
    size_bytes: int


def fetch(
    hub_id: str,
    folder: Path,
    *,
    layout: str,
    revision: str | None = None,
    patterns: tuple[str, ...] = (),
    progress: type[Any] | None = None,
) -> Fetched:
    """The files of a repository; those there already are not fetched again.

    Args:
        hub_id: as vidore/esg_reports_v2.
        folder: made where it is not there.
        layout: of a local copy, told where the hub cannot be reached.
        revision: commit, branch or tag; None is the main branch. What was taken is returned.
        patterns: of the files that are wanted; none is all.
        progress: class of a tqdm-like bar; None shows none.

    Raises:
        InputError: `unknown_dataset`, `unknown_revision`, `gated_dataset`.
        BackendError: `hub_unreachable`, `disk_full`, `not_written`.
    """
    from huggingface_hub import snapshot_download

    wanted = list(patterns) or None
    with hub_errors("dataset", hub_id, revision, _unreachable(hub_id, layout)):
        planned = snapshot_download(
            hub_id,
            repo_type="dataset",
            revision=revision,
            local_dir=folder,
            allow_patterns=wanted,
            dry_run=True,
        )
    if not planned:
        raise InputError(
            f"{hub_id} has none of the files that are wanted ({', '.join(patterns) or 'any'})",
            code="dataset_layout",
            next_step=f"The published layout is wanted: {layout}",
        )
    require_space(
        "dataset",
        folder,
        sum(file.file_size or 0 for file in planned if file.will_download),
        _NO_ROOM,
    )
    commit = planned[0].commit_hash
    with hub_errors("dataset", hub_id, revision, _unreachable(hub_id, layout)):
        snapshot_download(
            hub_id,
            repo_type="dataset",
            revision=commit,
            local_dir=folder,
            allow_patterns=wanted,
            tqdm_class=progress,
        )
    return Fetched(hub_id, commit, folder, sum(file.file_size or 0 for file in planned))


def _unreachable(hub_id: str, layout: str) -> str:
    return (
        f"Fetch it where it can be (`hf download --repo-type dataset {hub_id} "
        f"--local-dir {hub_id.rpartition('/')[2]}`; HF_ENDPOINT names a mirror), copy the folder "
        f"here and give it in place of hub. {layout}"
    )
