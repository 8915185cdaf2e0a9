"""One ranking from the legs of a search."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from rag.ranking.legs import ABSOLUTE, Legs, Mode
from rag.scoring.fusion import aligned, ranked, reciprocal_rank_fusion, weighted_zscore_sum
from rag.settings import RetrievalSettings
from rag.types import PageField

# They only shape how a score is shown from 0 to 1: the BM25 sum shown as a half, and about the
# standard deviation of fused scores (legs of weight 1, 1, .5, .5, .5 and a document score times 2).
_HALF_BM25 = 10.0
_FUSED_SPREAD = 3.0


def fused(
    ids: Sequence[str], legs: Legs, mode: Mode, settings: RetrievalSettings
) -> list[tuple[str, float]]:
    """Record ids with their scores, best first. Ties by record id."""
    if mode is Mode.VISUAL:
        # A page without vectors was not found: it has no score, not a low one.
        maxsim = legs[PageField.PATCHES.value]
        found = [record_id for record_id in ids if record_id in maxsim]
        return ranked(found, aligned(found, maxsim))
    weights = settings.weights.model_dump()
    if mode is Mode.TEXT:
        # BM25 scores share a scale, and 0 is their own word for "no such term".
        found = sorted({record_id for leg in legs.values() for record_id in leg} & set(ids))
        summed = sum(
            weights[name] * np.nan_to_num(aligned(found, leg)) for name, leg in legs.items()
        )
        return ranked(found, np.asarray(summed, np.float64))
    if settings.fusion == "rrf":
        rankings = {
            name: [i for i, _ in sorted(leg.items(), key=lambda item: (-item[1], item[0]))]
            for name, leg in legs.items()
        }
        return reciprocal_rank_fusion(rankings, rrf_k=settings.rrf_k, weights=weights)
    summed = weighted_zscore_sum(
        {name: aligned(ids, leg) for name, leg in legs.items() if name not in ABSOLUTE}, weights
    )
    for name in ABSOLUTE & legs.keys():
        summed = summed + weights[name] * aligned(ids, legs[name])
    return ranked(ids, summed)


def normalized(score: float, mode: Mode, settings: RetrievalSettings, *, n_query: int) -> float:
    """0 to 1, higher is better: mean similarity for MaxSim, else a squashed fused score."""
    if mode is Mode.VISUAL:
        return min(1.0, max(0.0, score / n_query))
    if settings.fusion == "rrf":
        best = sum(settings.weights.model_dump().values()) / (settings.rrf_k + 1)
        return float(min(1.0, score / best))
    if mode is Mode.TEXT:
        return score / (score + _HALF_BM25)
    return 1.0 / (1.0 + math.exp(-score / _FUSED_SPREAD))
