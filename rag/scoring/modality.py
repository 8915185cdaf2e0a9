"""CLaMR: pages whose vectors are of several modalities, each scored on its own.

A modality that a page lacks scores -inf there, never 0. Plain MaxSim over all rows is for vectors
of one joint encoder; rows of different encoders are in different spaces, and for those the
z-scored modality scores are compared (`best_zscore`).

Source: the authors' code (meetdavidwan/clamr, commit 353c30e) read for its behaviour.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from rag.errors import ShapeError
from rag.geometry import FloatArray
from rag.scoring.fusion import Scores, zscore
from rag.scoring.maxsim import similarity_map

PADDING = 0

ModalityIds = npt.NDArray[np.integer]


def modality_scores(
    query: FloatArray, page: FloatArray, modalities: ModalityIds
) -> dict[int, float]:
    """MaxSim against the page's rows of each modality; those the page lacks are absent.

    Args:
        query: (n_query, dim), at least one row.
        page: (n_page, dim).
        modalities: (n_page,) what each row is of; 0 is padding, which nothing is matched with.

    Raises:
        ShapeError: a row without a modality, or as `maxsim`.
    """
    if modalities.shape != (len(page),):
        raise ShapeError(f"{len(page)} page rows want a modality each, got {modalities.shape}")
    similarity = similarity_map(query, page)  # (n_query, n_page)
    present = sorted({int(each) for each in modalities} - {PADDING})
    return {each: _bests(similarity[:, modalities == each]) for each in present}


def token_max(query: FloatArray, page: FloatArray, modalities: ModalityIds) -> float:
    """MaxSim over all rows but padding, -inf without any: each query row chooses its modality.

    Raises:
        ShapeError: as `modality_scores`.
    """
    if modalities.shape != (len(page),):
        raise ShapeError(f"{len(page)} page rows want a modality each, got {modalities.shape}")
    return _bests(similarity_map(query, page)[:, modalities != PADDING])


def modality_max(scores: Mapping[int, float]) -> tuple[float, int | None]:
    """The best of a page's modality scores and whose it is, ties by id; (-inf, None) of none.

    Never above `token_max`, and equal to it for one modality.
    """
    if not scores:
        return -np.inf, None
    best = min(scores, key=lambda each: (-scores[each], each))
    return scores[best], best


def masked(scores: Mapping[int, float], modality: int) -> float:
    """A page's score in one modality, -inf where it lacks it."""
    return scores.get(modality, -np.inf)


def best_zscore(modalities: Mapping[str, Scores]) -> tuple[Scores, tuple[str | None, ...]]:
    """Each page's best modality across encoders, in standard deviations from that one's mean.

    Args:
        modalities: name to (n_pages,) scores, NaN or -inf where a page lacks the modality: it is
            then not chosen, however low the others are.

    Returns:
        (n_pages,) scores, where a page that lacks all takes the smallest there is; and the name
        chosen for each page, the first in order among equals, None where it lacks all.

    Raises:
        ShapeError: modalities of different lengths.
    """
    lengths = {name: len(scores) for name, scores in modalities.items()}
    if len(set(lengths.values())) > 1:
        raise ShapeError(f"modalities want one score for each page, got lengths {lengths}")
    if not modalities:
        return np.zeros(0), ()
    names = list(modalities)
    stacked = np.stack(
        [np.where(np.isfinite(s), zscore(s), -np.inf) for s in modalities.values()]
    )  # (n_modalities, n_pages)
    best = stacked.max(axis=0)
    lacking = ~np.isfinite(best)
    chosen = [names[i] for i in stacked.argmax(axis=0)]
    lowest = best[~lacking].min() if not lacking.all() else 0.0
    return np.where(lacking, lowest, best), tuple(
        None if gone else name for name, gone in zip(chosen, lacking.tolist(), strict=True)
    )


def _bests(similarity: FloatArray) -> float:
    """Sum over query rows of the best of (n_query, n)."""
    return float(similarity.max(axis=1).sum(dtype=np.float64)) if similarity.shape[1] else -np.inf
