"""How many of the ranked pages come back: so many, or those that speak to the question, maybe none.

Source: the RS score and up-to-k selection of "Re-ranking the context for multimodal retrieval
augmented generation" (arXiv:2501.04695), with a reranker's probability in place of its own model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from rag.errors import ConfigError, InputError
from rag.settings import RerankSettings, SelectSettings
from rag.types import Notice


def up_to_k(relevance: Mapping[str, float], threshold: float, k: int) -> list[tuple[str, float]]:
    """The pages that are relevant enough, best first, and k of them at most.

    Args:
        relevance: record id -> 0 to 1. A page without one is not among them.
        threshold: what a page needs; 0 keeps the best min(k, n).
        k: from 0.

    Returns:
        (record id, relevance), a beginning of the pages sorted by relevance and then record id.

    Raises:
        InputError: a relevance or threshold that is no number from 0 to 1, a negative k.
    """
    if k < 0 or not all(0 <= value <= 1 for value in (threshold, *relevance.values())):
        raise InputError(
            "up to k wants relevance and threshold from 0 to 1 and k from 0",
            next_step="Give it probabilities, as a reranker with is_probability makes them.",
        )
    ranked = sorted(relevance.items(), key=lambda each: (-each[1], each[0]))
    return [(record_id, value) for record_id, value in ranked[:k] if value >= threshold]


def require_relevance(select: SelectSettings, rerank: RerankSettings) -> None:
    """See at once that up_to_k has something to cut at, before any question is asked.

    Raises:
        ConfigError: `no_relevance`, up_to_k over scores that are no probabilities.
    """
    if select.method == "up_to_k" and rerank.method == "none":
        raise no_relevance("no reranker is set")


def no_relevance(why: str) -> ConfigError:
    return ConfigError(
        f"retrieval.select.method up_to_k cuts at a probability of relevance, and {why}; fused "
        "scores are none",
        code="no_relevance",
        next_step="Set retrieval.rerank.method to a reranker that gives probabilities, or "
        "retrieval.select.method to top_k.",
    )


def selected(
    relevance: Mapping[str, float],
    settings: SelectSettings,
    k: int,
    *,
    is_probability: bool,
) -> tuple[list[tuple[str, float]], tuple[Notice, ...]]:
    """`up_to_k` by the settings, and a notice where fewer than k pages are left.

    Args:
        relevance: what a reranker said of the pages it read, by record id.
        settings: the threshold.
        k: pages that come back at most.
        is_probability: as the reranker has it.

    Raises:
        ConfigError: `no_relevance`, scores that are no probabilities.
    """
    if not is_probability or not all(map(math.isfinite, relevance.values())):
        raise no_relevance("the reranker's scores are none")
    kept = up_to_k(relevance, settings.threshold, k)
    left_out = min(k, len(relevance)) - len(kept)
    if not left_out:
        return kept, ()
    said = f"{left_out} of the best {len(kept) + left_out} pages are below a relevance of "
    return kept, (Notice("not_relevant", f"{said}{settings.threshold:g} and were left out."),)
