"""Where the figures of a run come from: what its heads tell of dataset, code, machine and seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from eval.reports.model import Fact, NoticeSeen
from eval.reports.run_folder import RunFolder
from rag.types import Json

# Label and key of a head; an object is told as one fact for each of its entries.
_TOLD = (
    ("Dataset", "dataset"),
    ("Origin", "origin"),
    ("Digest of the dataset", "dataset_digest"),
    ("Scope", "scope"),
    ("Pages answered from", "pages"),
    ("Questions", "n_questions"),
    ("Questions without an answer", "n_unanswerable"),
    ("Collection", "collection"),
    ("Encoder", "encoder"),
    ("Answered by", "answerer"),
    ("Judge", "judge"),
    ("Threshold", "threshold"),
    ("Config hash", "config_hash"),
    ("Index", "index"),
    ("Seeds", "seeds"),
    ("Commit", "commit"),
    ("Machine", "machine"),
    ("Finished", "finished_at"),
    ("Command", "command"),
)


def facts(run: RunFolder) -> tuple[Fact, ...]:
    told: dict[Fact, None] = {}
    for side in run.sides:
        for label, key in _TOLD:
            if key in side.head:
                told |= dict.fromkeys(_facts(label, side.head[key]))
    return tuple(told)


def _facts(label: str, value: Any) -> Iterator[Fact]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _facts(f"{label}, {str(key).replace('_', ' ')}", inner)
    elif isinstance(value, list | tuple):
        if value:
            yield Fact(label, ", ".join(map(str, value)))
    elif value not in (None, ""):
        yield Fact(label, str(value))


def notices(run: RunFolder) -> tuple[NoticeSeen, ...]:
    """Errors of answers among them: both say what part of the questions was not as it should be.
    Documents and pages that are missing come first.
    """
    seen = (
        (code, each)
        for side in run.sides
        for key in ("errors", "notices")
        for code, each in _mapping(side.head.get(key)).items()
    )
    told = [
        NoticeSeen(str(code), int(each.get("questions") or 0), str(each.get("message") or ""))
        for code, each in seen
        if isinstance(each, Mapping)
    ]
    return tuple(sorted(dict.fromkeys(told), key=lambda each: not each.is_grave))


def refused(run: RunFolder) -> dict[str, str]:
    return {
        str(query_id): str(reason)
        for side in run.sides
        for query_id, reason in _mapping(side.head.get("refused")).items()
    }


def bytes_per_page(head: Json) -> float | None:
    value = _mapping(head.get("index")).get("bytes_per_page")
    return float(value) if isinstance(value, int | float) and value > 0 else None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
