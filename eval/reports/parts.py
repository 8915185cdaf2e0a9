"""A run over several datasets, one folder a part, taken as one; and folders of such runs.

Questions are named `part/id`. Nothing is averaged here: a head of the whole holds what the parts
tell alike, and sums and lists of what they tell apart.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from eval.reports.run_folder import RunFolder, Side, has_run, read_run_folder
from rag.errors import InputError
from rag.types import Json

PART = "part"
_MOST_NAMED = 3


def systems_in(folder: Path) -> list[Path]:
    """The folder, or those below it that it names as arms of one measurement."""
    if has_run(folder) or not folder.is_dir():
        return [folder]
    for path in sorted(folder.glob("*.json")):
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        arms = told.get("arms") if isinstance(told, dict) else None
        if isinstance(arms, dict):
            found = [folder / name for name in arms if name and Path(name).name == name]
            if found and all(map(Path.is_dir, found)):
                return found
    return [folder]


def read_system(folder: Path) -> RunFolder:
    """A run, or the runs right below the folder as the parts of one.

    Raises:
        InputError: there is no run in the folder, or an ill-written one.
    """
    below = [] if has_run(folder) else sorted(filter(has_run, folder.glob("*")))
    if not below:
        return read_run_folder(folder)
    return _merged(folder, [read_run_folder(path) for path in below])


def _merged(folder: Path, parts: Sequence[RunFolder]) -> RunFolder:
    searches = [part.searches for part in parts if part.searches is not None]
    answers = [part.answers for part in parts if part.answers is not None]
    for side in (searches, answers):
        if side and len(side) < len(parts):
            raise InputError(
                f"some parts of {folder.name} are runs of searches alone, and others of answers",
                next_step="Make a report of each part.",
            )
    names = [part.name for part in parts]
    return RunFolder(
        folder=folder,
        name=folder.resolve().name,
        searches=_side(names, searches),
        answers=_side(names, answers),
        found=_keyed(names, [part.found for part in parts]),
        answered=_keyed(names, [part.answered for part in parts]),
        questions={
            _key(part.name, query_id): replace(
                asked,
                id=_key(part.name, query_id),
                part=part.name,
                groups={PART: part.name, **asked.groups},
            )
            for part in parts
            for query_id, asked in part.questions.items()
        },
        has_questions=all(part.has_questions for part in parts),
        parts=tuple(parts),
    )


def _side(names: Sequence[str], sides: Sequence[Side]) -> Side | None:
    if not sides:
        return None
    measures = dict.fromkeys(measure for side in sides for measure in side.measures)
    return Side(
        head=_head(names, [side.head for side in sides]),
        rows=_keyed(names, [side.rows for side in sides]),
        measures=tuple(measures),
    )


def _keyed(names: Sequence[str], of_parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        _key(name, query_id): value
        for name, by_id in zip(names, of_parts, strict=True)
        for query_id, value in by_id.items()
    }


def _key(part: str, query_id: str) -> str:
    return f"{part}/{query_id}"


# --- heads ----------------------------------------------------------------------------------------
_SUMMED = ("n_questions", "n_unanswerable", "taken_over")
_COUNTED = ("notices", "errors")
_APART = frozenset({"index", "refused", "collection", *_SUMMED, *_COUNTED})


def _head(names: Sequence[str], heads: Sequence[Json]) -> Json:
    merged: Json = {}
    for key in dict.fromkeys(key for head in heads for key in head):
        values = [head.get(key) for head in heads]
        if key not in _APART:
            merged[key] = _told(names, values)
        elif key in _SUMMED and all(isinstance(value, int) for value in values):
            merged[key] = sum(values)
    merged["dataset"] = _dataset(names, heads)
    merged["refused"] = _keyed(names, [head.get("refused") or {} for head in heads])
    merged["index"] = _index(heads)
    for key in _COUNTED:
        merged[key] = _counted(names, [head.get(key) for head in heads])
    return merged


def _told(names: Sequence[str], values: Sequence[Any]) -> Any:
    """What all tell alike; else texts and numbers by part, and of objects what is in them."""
    if all(value == values[0] for value in values):
        return values[0]
    if all(isinstance(value, Mapping) for value in values):
        keys = dict.fromkeys(key for value in values for key in value)
        return {key: _told(names, [value.get(key) for value in values]) for key in keys}
    if any(isinstance(value, Mapping | list) for value in values):
        return None
    said = [f"{name}: {value}" for name, value in zip(names, values, strict=True) if value]
    return "; ".join(said)


def _dataset(names: Sequence[str], heads: Sequence[Json]) -> str:
    origins = [head.get("origin") for head in heads]
    published = {str(o.get("published")) for o in origins if isinstance(o, Mapping)}
    if len(published) == 1 and all(isinstance(o, Mapping) for o in origins):
        return published.pop()
    return ", ".join(names) if len(names) <= _MOST_NAMED else f"{len(names)} datasets"


def _index(heads: Sequence[Json]) -> Json:
    """Bytes per page over the pages of all parts, where each tells both."""
    told = [head["index"] for head in heads if isinstance(head.get("index"), Mapping)]
    sizes = [(each.get("bytes_per_page"), each.get("pages")) for each in told]
    if len(sizes) < len(heads) or not all(
        isinstance(size, int | float) and isinstance(pages, int) and pages > 0
        for size, pages in sizes
    ):
        return {}
    n_pages = sum(pages for _, pages in sizes)
    return {
        "pages": n_pages,
        "bytes_per_page": round(sum(size * pages for size, pages in sizes) / n_pages),
    }


def _counted(names: Sequence[str], of_parts: Iterable[Any]) -> Json:
    """Numbers of questions are summed; messages are named by part where they differ."""
    merged: Json = {}
    messages: dict[str, dict[str, str]] = {}
    for name, notices in zip(names, of_parts, strict=True):
        for code, each in notices.items() if isinstance(notices, Mapping) else ():
            if isinstance(each, Mapping):
                seen = merged.setdefault(code, {"questions": 0, "message": ""})
                seen["questions"] += int(each.get("questions") or 0)
                messages.setdefault(code, {})[name] = str(each.get("message") or "")
    for code, by_part in messages.items():
        told = dict.fromkeys(by_part.values())
        said = [f"{name}: {message}" for name, message in by_part.items()]
        merged[code]["message"] = "; ".join(told if len(told) == 1 else said)
    return merged
