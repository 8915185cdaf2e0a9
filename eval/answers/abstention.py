"""When to answer and when to abstain: confidences of questions that have an answer against those
of questions that have none.

A question is answered where its confidence is at least the threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rag.errors import InputError


@dataclass(frozen=True)
class RocPoint:
    """What one threshold does.

    Attributes:
        answered: share of the answerable questions that are answered (true positive rate).
        misled: share of the unanswerable questions that are answered all the same (false positive
            rate).
    """

    threshold: float
    answered: float
    misled: float


@dataclass(frozen=True)
class Roc:
    """Every threshold that makes a difference, from answering nothing to answering everything.

    Attributes:
        auc: chance that an answerable question has more confidence than an unanswerable one, ties
            counting half; 0.5 is guessing.
    """

    points: tuple[RocPoint, ...]
    auc: float
    n_answerable: int
    n_unanswerable: int


def roc(scores_answerable: Sequence[float], scores_unanswerable: Sequence[float]) -> Roc:
    """The curve over all thresholds.

    A threshold stands half way between the confidences it separates: on other questions a threshold
    that equals a confidence seen here would be decided by rounding.

    Raises:
        InputError: no question on one of the sides, or a confidence that is not finite.
    """
    positive = np.asarray(scores_answerable, dtype=np.float64)
    negative = np.asarray(scores_unanswerable, dtype=np.float64)
    if not positive.size or not negative.size:
        raise InputError(
            "a ROC wants answerable and unanswerable questions, got "
            f"{positive.size} and {negative.size}"
        )
    if not (np.isfinite(positive).all() and np.isfinite(negative).all()):
        raise InputError("a ROC wants finite confidences")
    seen = np.unique(np.concatenate([positive, negative]))[::-1]
    thresholds = [np.inf, *((seen[:-1] + seen[1:]) / 2), -np.inf]
    points = tuple(
        RocPoint(
            threshold=float(threshold),
            answered=float((positive >= least).mean()),
            misled=float((negative >= least).mean()),
        )
        for threshold, least in zip(thresholds, [np.inf, *seen], strict=True)
    )
    # Straight lines between points count a tie half.
    auc = float(
        np.trapezoid([point.answered for point in points], [point.misled for point in points])
    )
    return Roc(points, auc, int(positive.size), int(negative.size))


def choose_threshold(curve: Roc) -> RocPoint:
    """The threshold to abstain below: the largest difference of the two shares (Youden's J).

    Args:
        curve: from questions that were not used to make the confidence.

    Returns:
        The point; of equals the higher threshold, which abstains more.
    """
    return max(curve.points, key=lambda point: point.answered - point.misled)


def least_misled(curve: Roc, *, answered: float) -> RocPoint:
    """The threshold that misleads least while at least a share of the answerable is answered."""
    return next(point for point in curve.points if point.answered >= answered - 1e-9)


def auc_interval(
    scores_answerable: Sequence[float],
    scores_unanswerable: Sequence[float],
    *,
    n_resamples: int = 10_000,
    seed: int = 0,
) -> tuple[float, float]:
    """The 95 % percentile bootstrap interval of the AUC; each side is resampled by itself.

    Raises:
        InputError: as `roc`.
    """
    roc(scores_answerable, scores_unanswerable)
    positive = np.asarray(scores_answerable, dtype=np.float64)
    negative = np.asarray(scores_unanswerable, dtype=np.float64)
    difference = positive[:, None] - negative[None, :]
    wins = (difference > 0) + 0.5 * (difference == 0)  # (n_answerable, n_unanswerable)
    draws = np.random.default_rng(seed)

    def weights(n: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
        return draws.multinomial(n, np.full(n, 1 / n), size=n_resamples) / n

    resampled = ((weights(len(positive)) @ wins) * weights(len(negative))).sum(axis=1)
    low, high = np.percentile(resampled, [2.5, 97.5])
    return float(low), float(high)


def roc_text(curve: Roc, *, chosen: RocPoint | None = None, width: int = 51) -> str:
    """The curve for a terminal: `*` the curve, `.` guessing, `O` the chosen threshold."""
    height = (width + 1) // 2  # a character is about twice as high as wide
    grid = [[" "] * width for _ in range(height)]

    def place(misled: float, answered: float, mark: str) -> None:
        grid[round((1 - answered) * (height - 1))][round(misled * (width - 1))] = mark

    for step in np.linspace(0, 1, width):
        place(step, step, ".")
    for misled, answered in _along(curve, 4 * width):
        place(misled, answered, "*")
    if chosen is not None:
        place(chosen.misled, chosen.answered, "O")
    lines = [f"answered   AUC {curve.auc:.3f}"]
    lines += [
        f"{label:>4} |{''.join(row)}".rstrip()
        for label, row in zip(["1", *[""] * (height - 2), "0"], grid, strict=True)
    ]
    lines.append("     +" + "-" * width)
    lines.append("      0" + "misled".center(width - 2) + "1")
    if chosen is not None:
        lines.append(_sentence(curve, chosen))
    return "\n".join(lines)


def _along(curve: Roc, n_points: int) -> list[tuple[float, float]]:
    """(misled, answered) at even steps along the curve, corners included."""
    corners = np.array([(point.misled, point.answered) for point in curve.points])
    # Steps count both ways, so that upright stretches are drawn through as well.
    walked = np.concatenate([[0.0], np.abs(np.diff(corners, axis=0)).sum(axis=1).cumsum()])
    steps = np.unique(np.concatenate([np.linspace(0, walked[-1], n_points), walked]))
    misled = np.interp(steps, walked, corners[:, 0])
    answered = np.interp(steps, walked, corners[:, 1])
    return list(zip(misled.tolist(), answered.tolist(), strict=True))


def _sentence(curve: Roc, chosen: RocPoint) -> str:
    return (
        f"threshold {chosen.threshold:.3f}: answers {chosen.answered:.0%} of "
        f"{curve.n_answerable} answerable and {chosen.misled:.0%} of {curve.n_unanswerable} "
        "unanswerable questions"
    )
