"""Figures that the head of a run tells beside the means over its questions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from eval.reports.model import Further
from eval.reports.run_folder import RunFolder

# Told elsewhere in a report, or no figures.
_ELSEWHERE = frozenset(
    {
        *("measures", "by_type", "by_group", "by_kind", "by_scope", "all", "headline", "means"),
        *("wording", "latency_ms", "latency_by_stage_ms", "machine", "origin", "index", "seeds"),
        *("config", "refused", "notices", "errors", "taken_over", "from_cache", "workers"),
        *(
            "n_questions",
            "further",
            "by_part",
            "parts",
            "n_unanswerable",
            "threshold",
            "folds",
            "cached",
            "measures_version",
        ),
    }
)
# Of a curve; and of a judge what is told by group, or is no figure.
_ENDS = frozenset({"points", "by_type", "by_group", "votes", "temperature", "errors", "machine"})
_MOST = 80


def further(run: RunFolder) -> tuple[Further, ...]:
    found = [
        each
        for side in run.sides
        for key, value in side.head.items()
        if key not in _ELSEWHERE
        for each in _figures(_words(key), value)
    ]
    return tuple(found[:_MOST])


def _figures(label: str, value: Any) -> Iterator[Further]:
    """A number, {"value", "n"}, or an object of such."""
    if isinstance(value, Mapping):
        n = value.get("n")
        told = n if isinstance(n, int) else None
        for key, inner in value.items():
            if key == "value":
                yield from _figure(label, inner, told)
            elif key != "n" and key not in _ENDS:
                if isinstance(inner, Mapping):
                    yield from _figures(f"{label}, {_words(key)}", inner)
                else:
                    yield from _figure(f"{label}, {_words(key)}", inner, told)
    else:
        yield from _figure(label, value, None)


def _figure(label: str, value: Any, n: int | None) -> Iterator[Further]:
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        yield Further(label, float(value), n)


def _words(key: Any) -> str:
    return str(key).replace("_", " ")
