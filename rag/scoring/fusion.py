"""Joining the scores of several searches ("legs") over one population of pages.

Legs are arrays aligned to one list of page ids. NaN, or the -inf that MaxSim gives a page without
rows, is a page that the leg has no score for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest

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
    return _weighted_sum(legs, weights, zscore)


def weighted_min_max(legs: Mapping[str, Scores], weights: Mapping[str, float]) -> Scores:
    """Weighted mean of the legs' scores moved to [0, 1]; what a leg lacks counts 0.

    Unchanged under s -> a * s + b with a > 0 in any leg. All 0 where all weights are.

    Raises:
        ShapeError, InputError: as `weighted_zscore_sum`.
    """
    return _weighted_mean(legs, weights, min_max)


def weighted_softmax(legs: Mapping[str, Scores], weights: Mapping[str, float]) -> Scores:
    """Weighted mean of the legs' scores as probabilities over pages; what a leg lacks counts 0.

    Notices the scale of a leg, not its origin: BM25, with differences of 10, puts nearly all on
    one page; cosines spread it over all. All 0 where all weights are.

    Raises:
        ShapeError, InputError: as `weighted_zscore_sum`.
    """
    return _weighted_mean(legs, weights, softmax)


def softmax(scores: Scores, *, temperature: float = 1.0) -> Scores:
    """Probabilities over the pages that have a score, 0 for the others."""
    missing = ~np.isfinite(scores)
    if missing.all():
        return np.zeros(len(scores))
    shifted = np.where(missing, -np.inf, scores - scores[~missing].max())
    odds = np.exp(shifted / temperature)
    return np.asarray(odds / odds.sum(), np.float64)


def ranks(scores: Scores) -> Scores:
    """Places from 1, best first; tied pages share the best of theirs, a missing page has NaN.

    Shared, because a leg may give many pages one score (all pages of a document): an order among
    them by id would count as if the leg had told them apart.
    """
    held = np.isfinite(scores)
    placed = np.full(len(scores), np.nan)
    placed[held] = 1 + np.searchsorted(np.sort(-scores[held]), -scores[held])
    return placed


def reciprocal_ranks(
    legs: Mapping[str, Scores], weights: Mapping[str, float], *, rrf_k: int
) -> Scores:
    """`reciprocal_rank_fusion` of legs that are scores, with `ranks`: 0 where no leg has a page.

    Raises:
        ShapeError, InputError: as `weighted_zscore_sum`.
    """
    return _weighted_sum(legs, weights, lambda leg: np.nan_to_num(1.0 / (rrf_k + ranks(leg))))


def average_rank(legs: Mapping[str, Scores], weights: Mapping[str, float]) -> Scores:
    """1 / weighted mean of `ranks`, so up to 1; a page that a leg lacks stands one place below.

    All 0 where all weights are.

    Raises:
        ShapeError, InputError: as `weighted_zscore_sum`.
    """

    def placed(leg: Scores) -> Scores:
        return np.nan_to_num(ranks(leg), nan=1.0 + np.isfinite(leg).sum())

    mean = _weighted_mean(legs, weights, placed)
    return np.divide(1.0, mean, out=np.zeros_like(mean), where=mean > 0)


def shared_zscores(first: Scores, second: Scores, *, second_share: float) -> Scores:
    """Two kinds of evidence, each in its own standard deviations, mixed by one share (UCMR).

    Unchanged under s -> a * s + b with a > 0 on either side. The population is the pages handed
    in; a missing page takes the smallest score of its side.

    Args:
        first: (n_pages,), text.
        second: (n_pages,), image.
        second_share: 0 is the first alone, 1 the second alone.

    Source: unified cross-modal retrieval (UCMR) of CMRAG, by its reviews.
    """
    return (1.0 - second_share) * zscore(first) + second_share * zscore(second)


def interleaved(*rankings: Sequence[str]) -> list[str]:
    """Page ids of n rankings in turn, each once: the first n * m hold the best m of each.

    Source: text and image evidence side by side, without a common score (UniDoc-Bench).
    """
    turns = zip_longest(*rankings)
    return list(dict.fromkeys(page_id for turn in turns for page_id in turn if page_id is not None))


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


def _weighted_sum(
    legs: Mapping[str, Scores], weights: Mapping[str, float], value: Callable[[Scores], Scores]
) -> Scores:
    lengths = {name: len(scores) for name, scores in legs.items()}
    if len(set(lengths.values())) > 1:
        raise ShapeError(f"legs want one score for each page of one list, got lengths {lengths}")
    total = np.zeros(next(iter(lengths.values()), 0))
    for name, scores in legs.items():
        total += _weight(weights, name) * value(scores)
    return total


def _weighted_mean(
    legs: Mapping[str, Scores], weights: Mapping[str, float], value: Callable[[Scores], Scores]
) -> Scores:
    total = _weighted_sum(legs, weights, value)
    whole = sum(weights[name] for name in legs)
    return total / whole if whole else total


def _impute_minimum(scores: Scores) -> Scores:
    missing = ~np.isfinite(scores)
    if missing.all():
        return np.zeros(len(scores))
    return np.where(missing, scores[~missing].min(), scores).astype(np.float64)
