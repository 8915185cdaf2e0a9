"""Is one run better than another, or was it luck? Paired bootstrap over the questions of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eval.measures import NAMES
from eval.runs import read_json, read_json_lines
from rag.errors import InputError


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
        InputError: a folder without its files; runs over different datasets, scopes, questions.
    """
    heads = [read_json(folder / "measures.json") for folder in (first, second)]
    for key in ("dataset_digest", "scope"):
        ours, theirs = (head.get(key) for head in heads)
        if ours != theirs:
            raise InputError(
                f"{first.name} and {second.name} differ in {key}: {ours!r} and {theirs!r}",
                next_step="Compare runs over the same version of one dataset, in the same scope.",
            )
    rows = [_rows_by_id(folder / "per_query.jsonl") for folder in (first, second)]
    if odd := sorted(rows[0].keys() ^ rows[1].keys()):
        raise InputError(
            f"{first.name} and {second.name} asked different questions: "
            f"{len(odd)} are in one of them only, such as {odd[0]!r}",
            next_step="Run both with the same --limit.",
        )
    return Comparison(
        dataset=str(heads[0].get("dataset", "")),
        scope=str(heads[0].get("scope", "")),
        n_questions=len(rows[0]),
        n_resamples=n_resamples,
        differences=paired_bootstrap(
            rows[0], rows[1], measures=measures, n_resamples=n_resamples, seed=seed
        ),
    )


Values = Mapping[str, Mapping[str, float]]  # question id -> measure -> value


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
    draws = np.random.default_rng(seed)
    means = np.zeros((2, len(measures)))
    resampled = np.zeros((n_resamples, len(measures)))
    for first, second in pairs:
        if first.keys() != second.keys() or not first:
            raise InputError(
                "a paired comparison wants the same questions on both sides, at least one"
            )
        ids = sorted(first)
        values = [_matrix(side, ids, measures) for side in (first, second)]
        means += [side.mean(axis=0) / len(pairs) for side in values]
        # How often each question is drawn says all about a resample: (n_resamples, n_questions).
        weights = draws.multinomial(len(ids), np.full(len(ids), 1 / len(ids)), size=n_resamples)
        resampled += weights @ (values[1] - values[0]) / len(ids) / len(pairs)
    # Rounded, so that gains and losses that cancel give 0 and not 1e-17.
    resampled = np.round(resampled, 12)
    low, high = np.percentile(resampled, [2.5, 97.5], axis=0)
    # One is added: no number of resamples shows that something never happens.
    tail = np.minimum((resampled <= 0).sum(axis=0), (resampled >= 0).sum(axis=0)) + 1
    p_values = np.minimum(1.0, 2 * tail / (n_resamples + 1)).tolist()
    return tuple(
        Difference(
            measure=measure,
            first=float(means[0, column]),
            second=float(means[1, column]),
            difference=float(round(means[1, column] - means[0, column], 12)),
            low=float(low[column]),
            high=float(high[column]),
            p_value=p_values[column],
            p_holm=p_holm,
        )
        for column, (measure, p_holm) in enumerate(zip(measures, holm(p_values), strict=True))
    )


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


def _rows_by_id(path: Path) -> dict[str, dict[str, Any]]:
    try:
        return {str(row["id"]): row for row in read_json_lines(path)}
    except KeyError as error:
        raise InputError(f"{path.parent.name}/{path.name}: a row has no 'id'") from error


def _matrix(
    side: Mapping[str, Mapping[str, float]], ids: Sequence[str], measures: Sequence[str]
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    try:
        return np.array([[side[i][name] for name in measures] for i in ids], dtype=np.float64)
    except KeyError as error:
        raise InputError(
            f"no measure {error.args[0]!r} in the rows of a run; there are {', '.join(NAMES)}"
        ) from error
