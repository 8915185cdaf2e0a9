"""Is one run better than another, or was it luck? Paired bootstrap over the questions of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eval.measures import NAMES
from eval.reports.damage import checked_rows
from eval.runs import read_json, read_json_lines
from rag.errors import InputError

_CELLS_AT_ONCE = 1 << 21  # of the table of draws: 16 MiB
_MEASURE_ANEW = (
    "Runs of older versions hold fewer measures, and others by the same name: run it again with "
    "the same --out, which asks nothing twice and measures anew."
)
Values = Mapping[str, Mapping[str, float]]  # question id -> measure -> value
_Matrix = np.ndarray[tuple[int, int], np.dtype[np.float64]]


@dataclass(frozen=True)
class Difference:
    """Second run minus first, for one measure.

    Attributes:
        low: with `high`, holds the true difference in 95 of 100 cases.
        p_value: two-sided; 1 where the runs never differ.
        p_holm: p_value corrected for all measures looked at together.
    """

    measure: str
    first: float
    second: float
    difference: float
    low: float
    high: float
    p_value: float
    p_holm: float


@dataclass(frozen=True)
class Comparison:
    dataset: str
    scope: str
    n_questions: int
    n_resamples: int
    differences: tuple[Difference, ...]


def compare_runs(
    first: Path,
    second: Path,
    *,
    measures: Sequence[str] = NAMES,
    n_resamples: int = 10_000,
    seed: int = 0,
) -> Comparison:
    """Compare two folders that `evaluate` wrote.

    Raises:
        InputError: a folder without its files; runs over different datasets, scopes, questions, or
            measured by different rules.
    """
    heads = [read_json(folder / "measures.json") for folder in (first, second)]
    for key in ("dataset_digest", "scope"):
        ours, theirs = (head.get(key) for head in heads)
        if ours != theirs:
            raise InputError(
                f"{first.name} and {second.name} differ in {key}: {ours!r} and {theirs!r}",
                next_step="Compare runs over the same version of one dataset, in the same scope.",
            )
    names = (first.name, second.name)
    check_measured_alike(names, heads)
    rows = [
        rows_by_id(folder, "measures.json", head, "per_query.jsonl")
        for folder, head in zip((first, second), heads, strict=True)
    ]
    check_asked_alike(names, rows)
    return Comparison(
        dataset=str(heads[0].get("dataset", "")),
        scope=str(heads[0].get("scope", "")),
        n_questions=len(rows[0]),
        n_resamples=n_resamples,
        differences=paired_bootstrap(
            rows[0], rows[1], measures=measures, n_resamples=n_resamples, seed=seed
        ),
    )


def paired_bootstrap(
    first: Values, second: Values, *, measures: Sequence[str], n_resamples: int, seed: int
) -> tuple[Difference, ...]:
    """Difference of the means of each measure, with what resampling the questions says about it.

    Both sides of a question are drawn together, and the same draws serve every measure. The p value
    inverts the percentile interval: it is below 0.05 where that interval leaves out 0.

    Raises:
        InputError: sides over different questions or over none, a measure that a row lacks.
    """
    return paired_bootstrap_of_means(
        [(first, second)], measures=measures, n_resamples=n_resamples, seed=seed
    )


def paired_bootstrap_of_means(
    pairs: Sequence[tuple[Values, Values]],
    *,
    measures: Sequence[str],
    n_resamples: int,
    seed: int,
) -> tuple[Difference, ...]:
    """The same for the mean over datasets, each dataset as heavy as any other.

    Questions are resampled within their dataset: the datasets themselves are taken as they are.

    Args:
        pairs: first and second run over each dataset.
        measures: to compare.
        n_resamples: of the questions.
        seed: of the draws.

    Raises:
        InputError: as `paired_bootstrap`.
    """
    (differences,) = paired_bootstrap_of_many(
        [first for first, _ in pairs],
        [[second for _, second in pairs]],
        measures=measures,
        n_resamples=n_resamples,
        seed=seed,
    )
    return differences


def paired_bootstrap_of_many(
    first: Sequence[Values],
    others: Sequence[Sequence[Values]],
    *,
    measures: Sequence[str],
    n_resamples: int,
    seed: int,
) -> tuple[tuple[Difference, ...], ...]:
    """Each of several runs less the first, over datasets as heavy as each other.

    One set of draws serves all runs and measures, and all their p values are corrected together.

    Args:
        first: what the others are held against, for each dataset.
        others: of each run, the same datasets in the same order.
        measures: to compare.
        n_resamples: of the questions, within their dataset.
        seed: of the draws.

    Returns:
        For each of the others, a difference for each measure.

    Raises:
        InputError: as `paired_bootstrap`.
    """
    draws = np.random.default_rng(seed)
    n_columns = len(others) * len(measures)
    means = np.zeros((1 + len(others), len(measures)))
    resampled = np.zeros((n_resamples, n_columns))
    for part, ours in enumerate(first):
        sides = [ours, *(other[part] for other in others)]
        if not ours or any(side.keys() != ours.keys() for side in sides):
            raise InputError(
                "a paired comparison wants the same questions on both sides, at least one"
            )
        ids = sorted(ours)
        values = np.stack([_matrix(side, ids, measures) for side in sides])
        means += values.mean(axis=1) / len(first)
        gains = np.hstack(list(values[1:] - values[0]))  # (n_questions, n_columns)
        resampled += _resampled_means(gains, n_resamples, draws) / len(first)
    # Rounded, so that gains and losses that cancel give 0 and not 1e-17.
    resampled = np.round(resampled, 12)
    low, high = np.percentile(resampled, [2.5, 97.5], axis=0)
    # One is added: no number of resamples shows that something never happens.
    tail = np.minimum((resampled <= 0).sum(axis=0), (resampled >= 0).sum(axis=0)) + 1
    p_values = np.minimum(1.0, 2 * tail / (n_resamples + 1)).tolist()
    p_holm = holm(p_values)
    return tuple(
        tuple(
            Difference(
                measure=measure,
                first=float(means[0, column]),
                second=float(means[1 + run, column]),
                difference=float(round(means[1 + run, column] - means[0, column], 12)),
                low=float(low[at]),
                high=float(high[at]),
                p_value=p_values[at],
                p_holm=p_holm[at],
            )
            for column, measure in enumerate(measures)
            for at in (run * len(measures) + column,)
        )
        for run in range(len(others))
    )


def _resampled_means(gains: _Matrix, n_resamples: int, draws: np.random.Generator) -> _Matrix:
    """(n_questions, n_columns) to the mean over questions of each resample, (n_resamples,
    n_columns).
    """
    n_questions = len(gains)
    rows_at_once = max(1, _CELLS_AT_ONCE // n_questions)
    means = np.empty((n_resamples, gains.shape[1]))
    for start in range(0, n_resamples, rows_at_once):
        n_rows = min(rows_at_once, n_resamples - start)
        # How often each question is drawn says all about a resample: (n_rows, n_questions).
        weights = draws.multinomial(
            n_questions, np.full(n_questions, 1 / n_questions), size=n_rows
        ).astype(np.float64)
        means[start : start + n_rows] = weights @ gains / n_questions
    return means


def holm(p_values: Sequence[float]) -> list[float]:
    """P values corrected for being looked at together, in the order they came in.

    Source: Holm 1979, A simple sequentially rejective multiple test procedure.
    """
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected


# --- what runs must share ------------------------------------------------------------------------
def check_measured_alike(names: Sequence[str], heads: Sequence[Mapping[str, Any]]) -> None:
    """Raises InputError where a name of a measure means different things in two runs.

    Args:
        names: of the runs.
        heads: their `measures.json`.
    """
    versions = [int(head.get("measures_version", 1)) for head in heads]
    for name, version in zip(names, versions, strict=True):
        if version != versions[0]:
            raise InputError(
                f"{names[0]} was measured by version {versions[0]} of the rules, {name} by "
                f"version {version}",
                next_step=_MEASURE_ANEW,
            )


def check_asked_alike(names: Sequence[str], rows: Sequence[Values]) -> None:
    """Raises InputError where a run lacks a question that another has.

    Args:
        names: of the runs.
        rows: their figures, by question.
    """
    for name, of_run in zip(names, rows, strict=True):
        if odd := sorted(rows[0].keys() ^ of_run.keys()):
            raise InputError(
                f"{names[0]} and {name} asked different questions: "
                f"{len(odd)} are in one of them only, such as {odd[0]!r}",
                next_step="Run both with the same --limit.",
            )


def rows_by_id(
    folder: Path, head_name: str, head: Mapping[str, Any], rows_name: str
) -> dict[str, dict[str, Any]]:
    """Figures of each question of a run, once they are finite and those that its head counts.

    Args:
        folder: of the run.
        head_name: of the file that `head` was read from.
        head: of the run.
        rows_name: of the file with a row a question.

    Raises:
        InputError: a file that was cut, or edited, or that another run wrote.
    """
    rows = read_json_lines(folder / rows_name)
    return checked_rows(folder, head_name, dict(head), rows_name, rows)


def _matrix(side: Values, ids: Sequence[str], measures: Sequence[str]) -> _Matrix:
    """(n_questions, n_measures)."""
    for name in measures:
        for each in ids:
            if not _is_figure(side[each].get(name)):
                raise InputError(
                    f"no measure {name!r} in the rows of a run; there are "
                    f"{', '.join(key for key, value in side[each].items() if _is_figure(value))}",
                    next_step=_MEASURE_ANEW,
                )
    return np.array([[side[i][name] for name in measures] for i in ids], dtype=np.float64)


def _is_figure(value: object) -> bool:
    return isinstance(value, int | float)
