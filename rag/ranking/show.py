"""Ranked pages as people see them: scores, a snippet, boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rag.highlight import highlight
from rag.ports import EncodedQuery
from rag.ranking.fuse import normalized
from rag.ranking.legs import Legs, Mode
from rag.ranking.rank import Ranked
from rag.repository import CollectionReader, PageSummary
from rag.settings import RetrievalSettings
from rag.types import PageField, PageHit

# The names under which raw scores are shown.
_SHOWN = {PageField.PATCHES.value: "maxsim"}


def hits(
    ranked: Ranked,
    order: Sequence[tuple[str, float]],
    mode: Mode,
    settings: RetrievalSettings,
    *,
    is_probability: bool = False,
) -> list[PageHit]:
    """The pages of `order`, (record id, score) best first, with the scores of their legs."""
    n_query = len(ranked.asked.encoded.tokens)

    def shown_score(score: float) -> float:
        return score if is_probability else normalized(score, mode, settings, n_query=n_query)

    return [
        _hit(rank, ranked.pages[record_id], score, shown_score(score), ranked.legs)
        for rank, (record_id, score) in enumerate(order, start=1)
    ]


def _hit(
    rank: int, page: PageSummary, score: float, score_normalized: float, legs: Legs
) -> PageHit:
    shown = {
        _SHOWN.get(name, name): leg[page.record_id]
        for name, leg in legs.items()
        if page.record_id in leg
    }
    return PageHit(
        rank=rank,
        ref=page.ref,
        source=page.source,
        score=score,
        score_normalized=score_normalized,
        snippet="",
        boxes=(),
        scores=shown,
    )


def highlighted(
    reader: CollectionReader,
    found: Sequence[PageHit],
    record_ids: Sequence[str],
    query: EncodedQuery,
    question: str,
) -> list[PageHit]:
    """The hits, `record_ids` one each, with snippets and boxes."""
    vectors = reader.vectors(record_ids, PageField.PATCHES)
    stored = reader.stored_pages([hit.ref for hit in found])
    nothing = np.zeros((0, query.tokens.dim), np.float32)
    marked: list[PageHit] = []
    for hit, record_id in zip(found, record_ids, strict=True):
        page = stored[hit.ref]
        placed = page.with_vectors(vectors.get(record_id, nothing))
        shown = highlight(query.tokens.vectors, placed, question)
        marked.append(replace(hit, snippet=shown.snippet, boxes=shown.boxes))
    return marked
