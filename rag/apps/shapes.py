"""What was found, as JSON in the shapes of the interface."""

from __future__ import annotations

import time
from collections.abc import Mapping

from rag.ask import AskResult
from rag.repository import PageSummary
from rag.retrieve import SearchResult
from rag.types import Json, PageHit


def hit_found(hit: PageHit) -> Json:
    return {
        "rank": hit.rank,
        "document_id": hit.ref.document_id,
        "source": hit.source,
        "page_number": hit.ref.page_number,
        "score": round(hit.score, 6),
        "score_normalized": round(hit.score_normalized, 4),
        "snippet": hit.snippet,
        "boxes": [{"box": box.rounded(), "weight": weight} for box, weight in hit.boxes],
        "scores": {name: round(score, 4) for name, score in hit.scores.items()},
    }


def documents_found(
    found: SearchResult, pages: Mapping[str, PageSummary], granularity: str
) -> Json:
    """The documents found, best first, where documents were looked for."""
    if granularity == "page":
        return {}
    return {
        "documents": [
            {
                "rank": rank,
                "document_id": document.document_id,
                "source": document.source,
                "score": document.score,
                "pages": [
                    {"page_number": pages[record_id].ref.page_number, "score": score}
                    for record_id, score in document.pages
                    if record_id in pages
                ],
            }
            for rank, document in enumerate(found.documents, start=1)
            # As with hits: one that went away meanwhile is not named.
            if document.pages[0][0] in pages
        ]
    }


def timings(start: float, found: SearchResult) -> Json:
    return {
        **{stage.name: round(stage.ms, 2) for stage in found.stages},
        "total": round((time.perf_counter() - start) * 1000, 2),
    }


def answer_given(question: str, collection: str, result: AskResult) -> Json:
    answer = result.answer
    return {
        "question": question,
        "collection": collection,
        "answer": answer.text,
        "abstained": answer.abstained,
        "confidence": round(answer.confidence, 4),
        "model_id": answer.model_id,
        "citations": [
            {
                "marker": citation.marker,
                "document_id": citation.ref.document_id,
                "source": citation.source,
                "page_number": citation.ref.page_number,
                "quote": citation.quote,
                "boxes": [box.rounded() for box in citation.boxes],
                "verified": citation.verified,
            }
            for citation in answer.citations
        ],
        "unsupported": list(answer.unsupported),
        "pages": [
            {
                "document_id": hit.ref.document_id,
                "source": hit.source,
                "page_number": hit.ref.page_number,
                "score": round(hit.score, 6),
            }
            for hit in result.search.hits
        ],
        "warnings": [warning.as_dict() for warning in (*result.search.warnings, *result.warnings)],
    }
