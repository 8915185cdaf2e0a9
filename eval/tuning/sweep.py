"""What a sweep measured: rows of settings over datasets, each against the first row.

The headline is the mean over the datasets (and scopes) of a sweep, each as heavy as any other; its
intervals resample the questions within each. A row that was skipped, or whose search said that
something did not work, is listed and never among the best.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from eval.compare import Difference, Values, holm, paired_bootstrap_of_means
from eval.documents_read import PAGE_MISSING, UNREAD
from eval.measures import NAMES
from eval.run_eval import Evaluation
from eval.runs import read_json_lines
from eval.tuning.sweep_plan import Row, describe
from rag.settings import dotted
from rag.types import Json

MEASURES = ("nDCG@5", "nDCG@10", "R@10")
HEADLINE = "nDCG@10"
# What a search says that did what it was told, and what is of the documents, whoever searches them.
# Any other notice marks its row.
_HARMLESS = frozenset(
    {
        *("tuning_outdated", "pages_packed_anew", "query_thinned"),
        *("decomposed", "follow_up", "not_relevant", "route_none"),
        *(UNREAD, PAGE_MISSING),
    }
)


@dataclass(frozen=True)
class Part:
    """A dataset in a scope."""

    dataset: str
    scope: str

    def __str__(self) -> str:
        return f"{self.dataset}, scope {self.scope}"


@dataclass
class RowOutcome:
    """What a row gave.

    Attributes:
        skipped: why there are no figures; "" where there are.
        runs: the run folder and figures of each part.
        of_pages: what was said while the row's pages were made, by code; nothing where they were
            there already.
    """

    row: Row
    skipped: str = ""
    runs: dict[Part, tuple[Path, Evaluation]] = field(default_factory=dict)
    of_pages: dict[str, str] = field(default_factory=dict)


def degraded(evaluations: Iterable[Evaluation]) -> dict[str, int]:
    """Code to the questions whose search said that something did not work."""
    found: dict[str, int] = {}
    for evaluation in evaluations:
        for code, seen in evaluation.notices.items():
            if code not in _HARMLESS:
                found[code] = found.get(code, 0) + int(seen["questions"])
    return found


def sweep_result(
    outcomes: Sequence[RowOutcome], *, n_resamples: int = 10_000, seed: int = 0
) -> Json:
    """What `sweep.json` holds.

    Args:
        outcomes: the rows; the first that was not skipped is what others are compared with.
        n_resamples: of the paired bootstrap.
        seed: of its draws.
    """
    measured = [outcome for outcome in outcomes if not outcome.skipped]
    baseline = measured[0] if measured else None
    parts = list(baseline.runs) if baseline else []
    values = {
        id(outcome): {part: _values(folder) for part, (folder, _) in outcome.runs.items()}
        for outcome in measured
    }
    rows = []
    for outcome in outcomes:
        row: Json = {
            "name": outcome.row.name,
            "settings": dotted(outcome.row.changes),
            "skipped": outcome.skipped or None,
            "degraded": degraded(e for _, e in outcome.runs.values()),
            "of_pages": outcome.of_pages,
        }
        if not outcome.skipped and baseline is not None:
            ours, theirs = values[id(outcome)], values[id(baseline)]

            def compared(chosen: Sequence[Part], ours: Any = ours, theirs: Any = theirs) -> Json:
                pairs = [(theirs[part], ours[part]) for part in chosen]
                return _compared(pairs, n_resamples, seed)

            row["mean"] = {
                "measures": _mean([e.measures for _, e in outcome.runs.values()]),
                "latency_ms": _mean([e.latency_ms for _, e in outcome.runs.values()]),
                "intervals": compared(parts),
            }
            row["parts"] = [
                {
                    "dataset": part.dataset,
                    "scope": part.scope,
                    "out": str(folder),
                    "config_hash": evaluation.config_hash,
                    "n_questions": evaluation.n_questions,
                    "refused": len(evaluation.refused),
                    "notices": evaluation.notices,
                    "measures": evaluation.measures,
                    "latency_ms": evaluation.latency_ms,
                    "intervals": compared([part]),
                }
                for part, (folder, evaluation) in outcome.runs.items()
            ]
        rows.append(row)
    _correct_together(rows)
    first = next(iter(baseline.runs.values()))[1] if baseline else None
    return {
        "baseline": baseline.row.name if baseline else None,
        "parts": [asdict(part) for part in parts],
        "measures": list(MEASURES),
        "n_resamples": n_resamples,
        "seed": seed,
        "rows": rows,
        "front": front(rows),
        "machine": first.machine if first else {},
        "commit": first.commit if first else "",
    }


def front(rows: Sequence[Mapping[str, Any]], measure: str = HEADLINE) -> list[str]:
    """Names of the rows that no other is both better and faster than, fastest first."""
    sound = [row for row in rows if row["skipped"] is None and not row["degraded"]]
    best: list[str] = []
    highest = float("-inf")
    for row in sorted(
        sound, key=lambda row: (row["mean"]["latency_ms"]["p50"], -row["mean"]["measures"][measure])
    ):
        if row["mean"]["measures"][measure] > highest:
            highest = row["mean"]["measures"][measure]
            best.append(str(row["name"]))
    return best


# --- tables -------------------------------------------------------------------------------------
def sweep_report(result: Json) -> str:
    """The headline, a table for each part where there are several, and what the marks mean."""
    parts, rows = result["parts"], result["rows"]
    blocks = []
    if len(parts) > 1:
        blocks.append(_block(f"mean over {len(parts)} datasets and scopes", rows, None, result))
    for index, part in enumerate(parts):
        n = next(row["parts"][index]["n_questions"] for row in rows if row.get("parts"))
        head = f"{part['dataset']}, scope {part['scope']}, {n} questions"
        blocks.append(_block(head, rows, index, result))
    skipped = [f"skipped    {row['name']}: {row['skipped']}" for row in rows if row["skipped"]]
    degraded = [
        f"degraded   {row['name']}: {code} at {n} questions"
        for row in rows
        for code, n in row["degraded"].items()
    ]
    said = [
        f"pages      {row['name']}: {message}"
        for row in rows
        for message in row["of_pages"].values()
    ]
    n_corrected = len(MEASURES) * max(0, sum(1 for row in rows if row["skipped"] is None) - 1)
    smallest_p_holm = min(1.0, n_corrected * 2 / (result["n_resamples"] + 1))
    notes = [
        f"differences from {result['baseline']}, 95 % intervals: paired bootstrap over questions",
        "*  the interval leaves out 0, as one in 20 does of rows that differ in nothing",
        f"** so it does when corrected for all {n_corrected} differences of its table (Holm)",
        f"front of {HEADLINE} against p50: {', '.join(result['front']) or '-'}",
    ]
    if smallest_p_holm >= 0.05:
        notes.append(
            f"note: with {n_corrected} differences and {result['n_resamples']} resamples no "
            f"corrected p is below {smallest_p_holm:.2f}; give fewer rows"
        )
    if not parts:
        return "\n".join([*skipped, "no row could be measured"])
    return "\n\n".join([*blocks, "\n".join([*notes, *skipped, *degraded, *said])])


def _block(head: str, rows: Sequence[Json], index: int | None, result: Json) -> str:
    table = [["", *(cell for name in MEASURES for cell in (name, "")), "p50 ms", "p95 ms", ""]]
    for row in rows:
        if row["skipped"] is not None:
            table.append([row["name"], *[""] * (2 * len(MEASURES) + 2), "skipped"])
            continue
        figures = row["mean"] if index is None else row["parts"][index]
        cells = [str(row["name"])]
        for name in MEASURES:
            cells.append(f"{figures['measures'][name]:.4f}")
            cells.append(_difference(figures["intervals"][name], row["name"] == result["baseline"]))
        cells += [f"{figures['latency_ms'][key]:.1f}" for key in ("p50", "p95")]
        cells.append(
            "degraded" if row["degraded"] else "front" if row["name"] in result["front"] else ""
        )
        table.append(cells)
    return "\n".join([head, "", *_aligned(table)])


def _difference(interval: Mapping[str, Any], is_baseline: bool) -> str:
    if is_baseline:
        return f"[{interval['low']:.3f}, {interval['high']:.3f}]   "
    mark = "**" if interval["p_holm"] < 0.05 else "* " if interval["excludes_0"] else "  "
    low, high = interval["difference_low"], interval["difference_high"]
    return f"{interval['difference']:+.4f} [{low:+.4f}, {high:+.4f}] {mark}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    last = len(widths) - 1
    return [
        "  ".join(
            cell.ljust(width) if index in (0, last) else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


# --- arithmetic ---------------------------------------------------------------------------------
def _values(folder: Path) -> dict[str, dict[str, float]]:
    """Question id to its measures, of a run folder."""
    return {
        str(row["id"]): {name: float(row[name]) for name in MEASURES}
        for row in read_json_lines(folder / "per_query.jsonl")
    }


def _compared(pairs: Sequence[tuple[Values, Values]], n_resamples: int, seed: int) -> Json:
    """For each measure its own interval, and that of its difference from the baseline."""
    options: dict[str, Any] = {"measures": MEASURES, "n_resamples": n_resamples, "seed": seed}
    nothing = [
        ({key: dict.fromkeys(MEASURES, 0.0) for key in second}, second) for _, second in pairs
    ]
    alone = paired_bootstrap_of_means(nothing, **options)
    differences = paired_bootstrap_of_means(pairs, **options)
    return {
        own.measure: _interval(own, difference)
        for own, difference in zip(alone, differences, strict=True)
    }


def _interval(own: Difference, difference: Difference) -> Json:
    return {
        "low": own.low,
        "high": own.high,
        "difference": difference.difference,
        "difference_low": difference.low,
        "difference_high": difference.high,
        "p_value": difference.p_value,
        "p_holm": difference.p_value,
        "excludes_0": difference.low > 0 or difference.high < 0,
    }


def _correct_together(rows: Sequence[Json]) -> None:
    """Holm over all that a table shows: the rows that are compared with the first, by each measure.

    So a row of a sweep has the corrected p of the same runs in `eval compare` by these measures.
    """
    compared = [row for row in rows if row["skipped"] is None][1:]
    if not compared:
        return
    tables = [[row["mean"] for row in compared]]
    tables += [list(part) for part in zip(*(row["parts"] for row in compared), strict=True)]
    for table in tables:
        intervals = [figures["intervals"][name] for figures in table for name in MEASURES]
        corrected = holm([interval["p_value"] for interval in intervals])
        for interval, p_holm in zip(intervals, corrected, strict=True):
            interval["p_holm"] = p_holm


def _mean(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = [name for name in (*NAMES, "p50", "p95") if all(name in row for row in rows)]
    return {name: sum(row[name] for row in rows) / len(rows) for name in names}


def row_title(row: Mapping[str, Any]) -> str:
    """A row with what it sets, for a tooltip."""
    return f"{row['name']}: {describe(row['settings'])}"
