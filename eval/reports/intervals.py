"""How sure a mean over questions is: the percentile bootstrap, as comparisons use it.

Shares of answers that are right, wrong or abstained from have Wilson's interval, as on the command
line: of few questions, or where none or all are right, a bootstrap is too sure of a share.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from eval.answers.measures import wilson

BOOTSTRAP, WILSON = "bootstrap", "Wilson"
N_RESAMPLES = 10_000
_MOST_AT_ONCE = 2_000_000  # questions drawn at once: memory of a batch of resamples


@dataclass(frozen=True)
class Figure:
    """A mean over questions.

    Attributes:
        n: questions that have a value.
        low: with `high`, 95 % of resamples of the questions have their mean within, or the 95 %
            interval of a share.
        method: of the interval.
    """

    measure: str
    n: int
    value: float
    low: float
    high: float
    method: str = BOOTSTRAP


def figures(
    values: Mapping[str, Sequence[float | None]],
    *,
    parts: Sequence[str] | None = None,
    shares: Collection[str] = (),
    seed: int = 0,
) -> dict[str, Figure]:
    """The mean of each measure with its interval; the same draws serve all it can.

    Args:
        values: measure to its value at each question, in the same order of questions; None where a
            question does not count for it. A measure without any value is left out.
        parts: the dataset of each question. The mean is that of the parts, each as heavy as any
            other, and questions are drawn within their part; without, all are of one.
        shares: measures that are 0 or 1; without `parts` they have Wilson's interval.
        seed: of the draws.
    """
    by_questions: dict[tuple[int, ...], list[str]] = {}
    for measure, column in values.items():
        counted = tuple(i for i, value in enumerate(column) if value is not None)
        if counted:
            by_questions.setdefault(counted, []).append(measure)
    found: dict[str, Figure] = {}
    for counted, measures in by_questions.items():
        matrix = np.array([[values[name][i] for name in measures] for i in counted], np.float64)
        members: dict[str, list[int]] = {}
        for place, i in enumerate(counted):
            members.setdefault("" if parts is None else parts[i], []).append(place)
        of_parts = [matrix[places] for places in members.values()]
        means = np.mean([part.mean(axis=0) for part in of_parts], axis=0)
        for name, *told in zip(measures, means, *_bounds(of_parts, seed), strict=True):
            value, low, high = map(float, told)
            found[name] = Figure(name, len(counted), value, low, high)
            if name in shares and parts is None:
                found[name] = _as_share(found[name])
    return {measure: found[measure] for measure in values if measure in found}


def _as_share(figure: Figure) -> Figure:
    low, high = wilson(round(figure.value * figure.n), figure.n)
    return Figure(figure.measure, figure.n, figure.value, low, high, WILSON)


def _bounds(
    of_parts: Sequence[npt.NDArray[np.float64]], seed: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """(n_questions, n_measures) of each part -> the ends of the intervals, (n_measures,) each."""
    random = np.random.default_rng(seed)
    means = sum(_resampled(values, random) for values in of_parts) / len(of_parts)
    # Rounded, so that a mean of equal values is that value and not 1e-17 beside it.
    low, high = np.percentile(np.round(means, 12), [2.5, 97.5], axis=0)
    return low, high


def _resampled(
    values: npt.NDArray[np.float64], random: np.random.Generator
) -> npt.NDArray[np.float64]:
    """(n_questions, n_measures) values -> means of the resamples, (N_RESAMPLES, n_measures)."""
    n = len(values)
    at_once = max(1, min(N_RESAMPLES, _MOST_AT_ONCE // n))
    means = []
    for start in range(0, N_RESAMPLES, at_once):
        size = min(at_once, N_RESAMPLES - start)
        drawn = random.integers(n, size=(size, n)) + n * np.arange(size)[:, None]
        # How often each question is drawn says all about a resample.
        weights = np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n)
        means.append(weights @ values / n)
    return np.concatenate(means)
