"""How long the questions of a run took, and how they were asked meanwhile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from eval.reports.model import Latency, StageTime
from eval.reports.run_folder import RunFolder, is_number

SEARCH, WHOLE_QUESTION, AFTER_RETRIEVAL = "a search", "a whole question", "all after retrieval"
_QUANTILES = (5, 25, 50, 75, 95)
_TOTAL = "total"


def latency(run: RunFolder) -> Latency | None:
    """Of searches, or of whole questions where answers alone were asked for."""
    if run.searches is not None:
        of, times = SEARCH, [row.get("ms") for row in run.searches.rows.values()]
    else:
        of, times = WHOLE_QUESTION, [each.get(_TOTAL) for each in _timings(run)]
    told = [float(each) for each in times if each is not None and is_number(each)]
    if not told:
        return None
    quantiles = np.percentile(told, _QUANTILES)
    return Latency(
        of=of,
        n=len(told),
        quantiles_ms={q: float(value) for q, value in zip(_QUANTILES, quantiles, strict=True)},
        values_ms=tuple(told),
    )


def stages(run: RunFolder) -> tuple[StageTime, ...]:
    """Of the whole question, of all that comes after its pages are found, then of each stage."""
    timings = _timings(run)
    after = [each["answer"] + each.get("evidence", 0.0) for each in timings if "answer" in each]
    names = dict.fromkeys(name for each in timings for name in each if name != _TOTAL)
    times = {
        WHOLE_QUESTION: [each[_TOTAL] for each in timings if _TOTAL in each],
        AFTER_RETRIEVAL: after,
        **{name.replace("_", " "): [t[name] for t in timings if name in t] for name in names},
    }
    return tuple(_stage(name, values) for name, values in times.items() if values)


def asked_at_a_time(run: RunFolder) -> str:
    told = {part.head.get("workers") for part in run.parts or (run,)}
    numbers = sorted(each for each in told if isinstance(each, int))
    if not numbers or len(numbers) < len(told):
        return ""
    if numbers == [1]:
        return "one question after the other"
    least_to_most = f"{numbers[0]} to {numbers[-1]}" if len(numbers) > 1 else f"{numbers[0]}"
    return f"{least_to_most} questions at a time"


def _timings(run: RunFolder) -> list[dict[str, float]]:
    """Of the questions that figures are of: those without an answer are in none."""
    if run.answers is None:
        return []
    rows = [run.answered.get(query_id, {}).get("timings_ms") for query_id in run.answers.rows]
    return [
        {str(name): float(ms) for name, ms in row.items() if is_number(ms)}
        for row in rows
        if isinstance(row, Mapping)
    ]


def _stage(name: str, times_ms: Sequence[float]) -> StageTime:
    p50, p95 = np.percentile(times_ms, (50, 95))
    return StageTime(name, len(times_ms), float(p50), float(p95))
