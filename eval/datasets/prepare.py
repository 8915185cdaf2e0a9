"""From a published set to dataset folders: where it comes from, which revision it is, what it is
called.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eval.datasets.documents import Sample
from eval.datasets.folder import Origin
from eval.datasets.hub import fetch
from eval.datasets.local_copy import checked_parts, part_folders
from eval.datasets.published import LoaderInfo, Wanted
from eval.datasets.writer import Prepared, write_part
from rag.errors import InputError

HUB = "hub"
HUB_FOLDER = "hub-copies"  # below the folder that is written to
MADE_FILE = "made.json"  # of a copy that is none: of what made it, in the published layout

# Part, documents done, and how many there are, if known.
Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class Source:
    """A local copy of a set.

    Attributes:
        revisions: hub id to commit, of what was fetched; others are told by their bytes.
        instead_of: the set's own repository to the one that was fetched for it.
        given_revision: what the user says the copy is of.
        made_by: source and licence of a set that was made up in the published layout; they stand
            in place of the published ones.
    """

    folder: Path
    revisions: Mapping[str, str] = field(default_factory=dict)
    given_revision: str | None = None
    instead_of: Mapping[str, str] = field(default_factory=dict)
    made_by: Mapping[str, str] = field(default_factory=dict)


def local_source(folder: Path, *, revision: str | None = None) -> Source:
    """A copy on disk.

    Raises:
        InputError: it is not there, or empty.
    """
    if not folder.is_dir():
        raise InputError(
            f"there is no folder {folder}",
            code="no_source",
            next_step="SOURCE is the folder of a local copy, `hub`, or an id on the hub "
            "(OWNER/NAME).",
        )
    if not any(folder.iterdir()):
        raise InputError(
            f"the folder {folder} is empty",
            code="no_source",
            next_step="`octavo eval sets --json` tells what a local copy has to look like.",
        )
    made = folder / MADE_FILE
    made_by = json.loads(made.read_bytes()) if made.is_file() else {}
    return Source(folder, given_revision=revision, made_by=made_by)


def hub_source(
    info: LoaderInfo,
    to: Path,
    wanted: Wanted,
    *,
    hub_id: str | None = None,
    revision: str | None = None,
    progress: type[Any] | None = None,
) -> Source:
    """A copy of the wanted parts, fetched below `to`, and the commits it was taken at.

    Args:
        info: the set.
        to: folder that is written to.
        wanted: parts and options.
        hub_id: another repository in the same layout; None takes the set's own.
        revision: of the one repository that is fetched.
        progress: class of a tqdm-like bar.

    Raises:
        InputError: `no_hub`, `one_revision`; as `fetch`.
        BackendError: as `fetch`.
    """
    own_ids = _hub_ids(info, wanted)
    hub_ids = own_ids if hub_id is None else (hub_id,)
    if hub_id is not None and hub_id not in info.hub_ids and len(own_ids) > 1:
        raise InputError(
            f"{info.name} lies in {len(own_ids)} repositories, and {hub_id} is none of them",
            code="one_repository",
            next_step="Name the part that it stands for with --part.",
        )
    if not hub_ids:
        raise InputError(
            f"{info.name} is on no hub",
            code="no_hub",
            next_step=f"Get it from {info.home}; {info.layout}" if info.home else info.layout,
        )
    if revision is not None and len(hub_ids) > 1:
        raise InputError(
            f"{info.name} lies in {len(hub_ids)} repositories, and each has revisions of its own",
            code="one_revision",
            next_step="Name one part with --part, or leave --revision out.",
        )
    folder = to / HUB_FOLDER
    revisions = {}
    for each in hub_ids:
        fetched = fetch(
            each,
            folder / each.rpartition("/")[2],
            layout=info.layout,
            revision=revision,
            patterns=info.hub_files,
            progress=progress,
        )
        revisions[each] = fetched.revision
    if hub_id is not None and hub_id not in info.hub_ids:
        instead_of = dict.fromkeys(own_ids, hub_id)
        return Source(folder / hub_id.rpartition("/")[2], revisions, instead_of=instead_of)
    if len(info.hub_ids) == 1:
        return Source(folder / info.hub_ids[0].rpartition("/")[2], revisions)
    return Source(folder, revisions)


def prepare(
    info: LoaderInfo,
    source: Source,
    to: Path,
    wanted: Wanted,
    *,
    sample: Sample | None = None,
    progress: Progress | None = None,
) -> Iterator[Prepared]:
    """Writes each wanted part as a dataset folder below `to`, and tells of it.

    Raises:
        InputError: `unknown_part`, `unknown_option`; of the loader; as `write_part`.
        BackendError: as `write_part`.
    """
    for name in wanted.options:
        if name not in info.options:
            raise InputError(
                f"{info.name} has no option {name!r}",
                code="unknown_option",
                next_step=f"There are {', '.join(info.options) or 'none'}.",
            )
    if info.parts:
        checked_parts(info.name, info.parts, wanted)
    revisions = _Revisions(info, source)
    shared: dict[str, Path] = {}
    for part in info.load(source.folder, wanted):
        hub_id = info.parts.get(part.name) or (info.hub_ids[0] if len(info.hub_ids) == 1 else "")
        hub_id = source.instead_of.get(hub_id, hub_id)
        origin = Origin(
            published=info.name,
            part=part.name,
            source=source.made_by.get("source") or hub_id or info.home or ", ".join(info.hub_ids),
            revision=revisions.of(part.name, hub_id),
            licence=source.made_by.get("licence", info.licence),
            main_measure=part.main_measure,
            scope=info.scope,
            sampled=None if sample is None else sample.as_dict(),
            options=dict(wanted.options),
        )
        prepared = write_part(
            part,
            to / folder_name(info.name, part.name, sample),
            origin,
            sample=sample,
            unsampled=to / folder_name(info.name, part.name),
            sibling=shared.get(hub_id),
            progress=None if progress is None else _of_part(progress, part.name or info.name),
        )
        # Parts of one repository are often the same pages with other questions.
        shared[hub_id] = prepared.folder
        yield prepared


def folder_name(published: str, part: str, sample: Sample | None = None) -> str:
    """Name of a part's folder: `vidore-v3-hr`, with what was sampled behind it."""
    name = "-".join(each for each in (published, part) if each)
    if sample is not None:
        name += f"-sample-{sample.n_others}-seed-{sample.seed}"
    return "".join(each if each.isalnum() or each in "-_." else "_" for each in name)


def _of_part(progress: Progress, name: str) -> Callable[[int, int | None], None]:
    return lambda done, whole: progress(name, done, whole)


def _hub_ids(info: LoaderInfo, wanted: Wanted) -> tuple[str, ...]:
    """The repositories that the wanted parts lie in."""
    if not info.parts:
        return info.hub_ids
    parts = checked_parts(info.name, info.parts, wanted)
    found = dict.fromkeys(info.parts[part] for part in parts)
    return tuple(found) if "" not in found else info.hub_ids


class _Revisions:
    """The revision of each part: as fetched, as given, or by the bytes it lies in."""

    def __init__(self, info: LoaderInfo, source: Source) -> None:
        self._info = info
        self._source = source
        self._digests: dict[Path, str] = {}

    def of(self, part: str, hub_id: str) -> str:
        if self._source.given_revision is not None:
            return self._source.given_revision
        fetched = self._source.revisions
        if hub_id in fetched:
            return fetched[hub_id]
        if fetched:
            return ", ".join(f"{each}@{commit}" for each, commit in fetched.items())
        folder = self._folder(part)
        if folder not in self._digests:
            self._digests[folder] = f"sha256:{_digest(folder)}"
        return self._digests[folder]

    def _folder(self, part: str) -> Path:
        info, folder = self._info, self._source.folder
        if not info.parts.get(part):
            return folder
        try:
            found = part_folders(
                folder, info.parts, Wanted((part,)), published=info.name, layout=info.layout
            )
        except InputError:  # laid out otherwise: the whole copy tells it
            return folder
        return found[part]


def _digest(folder: Path) -> str:
    """SHA-256 over the files of a copy by name; hidden files and descriptions do not count."""
    digest = hashlib.sha256()
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    for name in sorted(paths):
        hidden = any(each.startswith(".") for each in name.split("/"))
        if hidden or name.endswith(".md") or not paths[name].is_file():
            continue
        with paths[name].open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{name}\n{content}\n".encode())
    return digest.hexdigest()
