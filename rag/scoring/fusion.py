"""Joining the scores of several searches ("legs") over one population of pages.

Legs are arrays aligned to one list of page ids. NaN, or the -inf that MaxSim gives a page without
rows, is a page that the leg has no score for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from rag.errors import InputError, ShapeError

Scores = npt.NDArray[np.float64]

_MIN_SIGMA = 1e-9  # below this a leg tells no page from another


def zscore(scores: Scores) -> Scores:
    """Scores in standard deviations from their mean; all 0 where they do not differ.

    A missing page takes the smallest score there is, before mean and deviation are taken: 0 would
    call it average. All 0 where every score is missing.
    """
    filled = _impute_minimum(scores)
    sigma = filled.std() if filled.size else 0.0
    if sigma < _MIN_SIGMA:
        return np.zeros_like(filled)
    return np.asarray((filled - filled.mean()) / sigma)


def min_max(scores: Scores) -> Scores:
    """Scores moved to [0, 1]; missing pages take the smallest; all 0 where they do not differ."""
    filled = _impute_minimum(scores)
    span = np.ptp(filled) if filled.size else 0.0
    if span < _MIN_SIGMA:
        return np.zeros_like(filled)
    return np.asarray((filled - filled.min()) / span)


def weighted_zscore_sum(legs: Mapping[str, Scores], weights: Mapping[str, float]) -> Scores:
    """Sum of weight * z-score over the legs, one value a page.

    Unchanged under s -> a * s + b with a > 0 in any leg.

    Args:
        legs: name to (n_pages,), aligned to one id list; NaN where a leg lacks the page.
        weights: name to weight.

    Raises:
        ShapeError: legs of different lengths.
        InputError: a leg without a weight.
    """
    lengths = {name: len(scores) for name, scores in legs.items()}
    if len(set(lengths.values())) > 1:
        raise ShapeError(f"legs want one score for each page of one list, got lengths {lengths}")
    total = np.zeros(next(iter(lengths.values()), 0))
    for name, scores in legs.items():
        total += _weight(weights, name) * zscore(scores)
    return total


def reciprocal_rank_fusion(
    rankings: Mapping[str, Sequence[str]],
    *,
    rrf_k: int,
    weights: Mapping[str, float] | None = None,
) -> list[tuple[str, float]]:
    """Sum of weight / (rrf_k + rank) over the rankings that hold a page, rank from 1.

    Args:
        rankings: name to page ids, best first; the first place counts where an id repeats.
        rrf_k: flattens the head of a ranking.
        weights: name to weight; None weighs all alike.

    Returns:
        (page id, score), best first; ties by id.

    Raises:
        InputError: a ranking without a weight, where weights are given.

    Source: Cormack, Clarke & Buettcher 2009, Reciprocal Rank Fusion.
    """
    fused: dict[str, float] = {}
    for name, ranking in rankings.items():
        weight = 1.0 if weights is None else _weight(weights, name)
        for rank, page_id in enumerate(dict.fromkeys(ranking), start=1):
            fused[page_id] = fused.get(page_id, 0.0) + weight / (rrf_k + rank)
    return sorted(fused.items(), key=lambda item: (-item[1], item[0]))


def ranked(ids: Sequence[str], scores: Scores) -> list[tuple[str, float]]:
    """Ids with their scores, best first; ties by id."""
    pairs = zip(ids, scores.tolist(), strict=True)
    return sorted(pairs, key=lambda item: (-item[1], item[0]))


def aligned(ids: Sequence[str], leg: Mapping[str, float]) -> Scores:
    """A leg's scores in the order of `ids`, NaN for those it lacks."""
    return np.array([leg.get(page_id, np.nan) for page_id in ids], dtype=np.float64)


def _weight(weights: Mapping[str, float], name: str) -> float:
    if name not in weights:
        raise InputError(f"leg {name!r} has no weight; there are weights for {sorted(weights)}")
    return weights[name]


def _impute_minimum(scores: Scores) -> Scores:
    missing = ~np.isfinite(scores)
    if missing.all():
        return np.zeros(len(scores))
    return np.where(missing, scores[~missing].min(), scores).astype(np.float64)
