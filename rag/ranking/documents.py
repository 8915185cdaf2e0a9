"""Documents first, then their pages: what is found where whole documents are looked for.

Stage 1 keeps the documents that fit the question best, by what they are called and by the mean of
their pages; stage 2 ranks their pages by all legs; a document is as good as its best page.
Source: IDentIfy (documents by the mean of their sections, then sections), with pages as sections.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rag.filters import Condition, Filter
from rag.repository import CollectionReader, PageSummary


@dataclass(frozen=True)
class RankedDocument:
    """A document with its best pages.

    Attributes:
        score: its best page's.
        pages: (record id, score), best first.
    """

    document_id: str
    source: str
    score: float
    pages: tuple[tuple[str, float], ...]


def documents_in(reader: CollectionReader, scope: Filter | None) -> frozenset[str]:
    """Documents with a page in the scope."""
    return frozenset(page.ref.document_id for page in reader.pages(reader.ids(scope)).values())


def first_documents(
    by_name: Mapping[str, float],
    by_vector: Mapping[str, float],
    among: frozenset[str],
    *,
    limit: int,
) -> tuple[str, ...]:
    """The documents that stage 2 looks into, best first; ties by id.

    Args:
        by_name: document id to z-score, from `DocumentScores`.
        by_vector: document id to z-score, from `DocumentVectors`; a document without pooled vectors
            is as bad as the worst.
        among: documents in scope.
        limit: `context.documents`.
    """
    worst = min(by_vector.values(), default=0.0)
    score = {name: by_name.get(name, 0.0) + by_vector.get(name, worst) for name in among}
    return tuple(sorted(score, key=lambda name: (-score[name], name))[:limit])


def inside(scope: Filter | None, documents: Sequence[str]) -> Filter:
    """The scope, of these documents alone."""
    narrowed = Condition("document_id", "$in", tuple(documents))
    return Filter(must=(*((scope,) if scope else ()), narrowed))


def best_documents(
    order: Sequence[tuple[str, float]],
    pages: Mapping[str, PageSummary],
    *,
    limit: int,
    pages_each: int,
) -> list[RankedDocument]:
    """Documents by their best page, ties by document id.

    Args:
        order: (record id, score) of every candidate, best first.
        pages: of every candidate.
        limit: documents that come back.
        pages_each: pages shown of each, at least 1.
    """
    found: dict[str, list[tuple[str, float]]] = {}
    for record_id, score in sorted(order, key=lambda item: (-item[1], item[0])):
        found.setdefault(pages[record_id].ref.document_id, []).append((record_id, score))
    ranked = [
        RankedDocument(
            document_id=document_id,
            source=pages[best[0][0]].source,
            score=best[0][1],
            pages=tuple(best[: max(1, pages_each)]),
        )
        for document_id, best in found.items()
    ]
    return sorted(ranked, key=lambda each: (-each.score, each.document_id))[:limit]
