"""Where in a local copy the repositories and files of a set lie, and what of it is wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from eval.datasets.published import Wanted, missing_file
from rag.errors import InputError


def checked_parts(published: str, known: Mapping[str, object], wanted: Wanted) -> tuple[str, ...]:
    """The parts that are wanted, in the order of `known`; all where none is named.

    Raises:
        InputError: `unknown_part`.
    """
    for part in wanted.parts:
        if part not in known:
            raise InputError(
                f"{published} has no part {part!r}",
                code="unknown_part",
                next_step=f"There are {', '.join(known)}.",
            )
    return tuple(part for part in known if not wanted.parts or part in wanted.parts)


def checked_option(published: str, wanted: Wanted, name: str, known: Sequence[str]) -> str:
    """An option that has one of a few values; the first is the default.

    Raises:
        InputError: `bad_option`.
    """
    value = wanted.options.get(name, known[0])
    if value not in known:
        raise InputError(
            f"{published}: there is no {name} {value!r}",
            code="bad_option",
            next_step=f"There are {', '.join(known)}.",
        )
    return value


def file_below(source: Path, name: str, *folders: Path) -> Path | None:
    """The file that a table names, in the first of the folders that has it.

    A name in a table is no leave to read the whole disk: it has to lie below `source`.
    """
    for folder in folders or (source,):
        path = folder / name
        if path.resolve().is_relative_to(source.resolve()) and path.is_file():
            return path
    return None


def part_folders(
    source: Path,
    parts: Mapping[str, str],
    wanted: Wanted,
    *,
    published: str,
    layout: str,
    below: str = "",
) -> dict[str, Path]:
    """The folder of each wanted part that is there: part to folder.

    A copy holds a folder of each repository's name (with or without its owner's above it), or is
    that folder itself. Parts that nobody named may be missing, as long as one is there.

    Args:
        source: the local copy.
        parts: each part of the set, and the hub id of its repository.
        wanted: parts and options.
        published: name of the set, for messages.
        layout: of a local copy, for messages.
        below: another folder of the copy in which they may lie.

    Raises:
        InputError: `unknown_part`; `dataset_layout` where a named part, or all, are missing.
    """
    asked = checked_parts(published, parts, wanted)
    only_one = len({parts[part] for part in asked}) == 1
    found: dict[str, Path] = {}
    for part in asked:
        hub_id = parts[part]
        name = hub_id.rpartition("/")[2]
        places = [source / name, source / hub_id]
        if below:
            places.append(source / below / name)
        if source.resolve().name == name or only_one:
            places.append(source)
        folder = next((place for place in places if place.is_dir()), None)
        if folder is not None:
            found[part] = folder
        elif wanted.parts:
            raise missing_file(published, f"folder {name}", layout)
    if not found:
        names = dict.fromkeys(parts[part].rpartition("/")[2] for part in asked)
        raise missing_file(published, f"folder of any of {', '.join(names)}", layout)
    return found
