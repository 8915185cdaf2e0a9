"""Legs: the searches whose scores make one ranking, and which of them a mode takes."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import numpy as np

from rag.scoring.fusion import Scores, weighted_zscore_sum
from rag.types import PageField

Legs = dict[str, dict[str, float]]  # leg name -> record id -> score

# Legs on a scale of their own, where 0 means "nothing to say": they are never normalised.
CONTEXT = "context"
ABSOLUTE = frozenset({"document", "prior", CONTEXT})
# Legs whose score of a page without any of the words is 0, which is why they do not name it.
_BM25 = frozenset(
    {
        PageField.WORDS.value,
        PageField.HEADING_WORDS.value,
        PageField.CONTEXT_WORDS.value,
        PageField.CAPTION_WORDS.value,
    }
)


class Mode(StrEnum):
    """`visual`: MaxSim over page vectors alone; `text`: words alone; `hybrid`: all legs."""

    HYBRID = "hybrid"
    VISUAL = "visual"
    TEXT = "text"


def summed_zscores(legs: Mapping[str, Scores], weights: Mapping[str, float]) -> Scores:
    """(n_pages,) weighted sum of z-scores; a page without any of the words has 0 in BM25.

    Were it given the smallest score there is, as a page that MaxSim has not found, then a word that
    stands on one page alone would tell nothing.

    Args:
        legs: name to (n_pages,), NaN where a leg does not name the page; one at least.
        weights: name to weight.
    """
    filled = {name: np.nan_to_num(leg) if name in _BM25 else leg for name, leg in legs.items()}
    return weighted_zscore_sum(filled, weights)
