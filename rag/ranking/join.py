"""The rankings of a question and of its parts as one."""

from __future__ import annotations

from collections.abc import Sequence

from rag.ranking.rank import Ranked
from rag.ranking.rerank import in_places
from rag.scoring.fusion import reciprocal_rank_fusion


def joined(whole: Ranked, parts: Sequence[Ranked], *, rrf_k: int) -> Ranked:
    """The question's own ranking and its parts', by reciprocal ranks, each for as much.

    Scores belong to the places, as the fusion of the whole question gave them: reciprocal ranks
    would mean nothing beside scores of questions of one part. A page that only a part found has
    the legs of that part.
    """
    rankings = {
        str(number): [record_id for record_id, _ in each.order]
        for number, each in enumerate((whole, *parts))
    }
    ids = [record_id for record_id, _ in reciprocal_rank_fusion(rankings, rrf_k=rrf_k)]
    pages = {i: page for each in (*parts, whole) for i, page in each.pages.items()}
    legs = {
        name: {
            record_id: score
            for each in (*parts, whole)
            for record_id, score in each.legs.get(name, {}).items()
        }
        for name in whole.legs
    }
    return Ranked(in_places(ids, whole.order), legs, pages, whole.asked)
