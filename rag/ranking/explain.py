"""Why pages rank as they do: what each leg gave each page, and its place in that leg."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rag.ranking.legs import Legs
from rag.repository import PageSummary
from rag.types import Json, PageRef


def explanation(
    shown: Sequence[tuple[str, float]],
    order: Sequence[tuple[str, float]],
    legs: Legs,
    pages: Mapping[str, PageSummary],
    weights: Mapping[str, float],
    expect: PageRef | None,
) -> Json:
    """What `--explain` prints.

    Args:
        shown: (record id, score) of the hits.
        order: the same of every candidate, best first.
        legs: raw scores.
        pages: of every candidate.
        weights: of the legs in the fused score.
        expect: a page to be followed, whether or not it came among the hits.
    """
    ranks = {
        name: {
            record_id: rank
            for rank, (record_id, _) in enumerate(
                sorted(leg.items(), key=lambda item: (-item[1], item[0])), start=1
            )
        }
        for name, leg in legs.items()
    }

    def row(record_id: str, rank: int, score: float) -> Json:
        page = pages[record_id]
        return {
            "rank": rank,
            "document_id": page.ref.document_id,
            "source": page.source,
            "page_number": page.ref.page_number,
            "score": score,
            "legs": {
                name: {"score": leg[record_id], "rank": ranks[name][record_id]}
                for name, leg in legs.items()
                if record_id in leg
            },
        }

    explained: Json = {
        "weights": dict(weights),
        "candidates": len(order),
        "hits": [row(record_id, rank, score) for rank, (record_id, score) in enumerate(shown, 1)],
    }
    if expect is not None:
        found = (
            row(record_id, rank, score)
            for rank, (record_id, score) in enumerate(order, start=1)
            if pages[record_id].ref == expect
        )
        explained["expected"] = next(found, {"rank": None, "candidate": False})
    return explained
