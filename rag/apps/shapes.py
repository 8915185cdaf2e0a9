"""What was found, as JSON in the shapes of the interface."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import assert_never

from rag.ask import AskResult
from rag.manifest import PastVersion
from rag.manifest.conversations import Conversation
from rag.ports import AnswerEvent, Delta, Restarted
from rag.repository import PageSummary
from rag.retrieve import SearchResult
from rag.types import Citation, Claim, Json, PageHit, StageReport


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


def timings(start: float, stages: Iterable[StageReport]) -> Json:
    """Milliseconds by stage, and since `start`, of `time.perf_counter`, in all."""
    return {
        **{stage.name: round(stage.ms, 2) for stage in stages},
        "total": round((time.perf_counter() - start) * 1000, 2),
    }


def page_found(hit: PageHit) -> Json:
    return {
        "document_id": hit.ref.document_id,
        "source": hit.source,
        "page_number": hit.ref.page_number,
        "score": round(hit.score, 6),
    }


def pages_found(question: str, found: SearchResult) -> Json:
    """The first event of a streamed answer."""
    return {
        "event": "search_results",
        "question": question,
        "searched_for": found.question,
        "pages": [page_found(hit) for hit in found.hits],
    }


def event_told(event: AnswerEvent) -> Json:
    """What an answer model told while it answered; only a `claim` and a `citation` are checked."""
    match event:
        case Delta():
            return {"event": "delta", "text": event.text}
        case Restarted():
            return {"event": "restarted"}
        case Citation():
            return {"event": "citation", **citation_given(event)}
        case Claim():
            return {"event": "claim", **claim_given(event)}
        case other:
            assert_never(other)


def citation_given(citation: Citation) -> Json:
    return {
        "marker": citation.marker,
        "document_id": citation.ref.document_id,
        "source": citation.source,
        "page_number": citation.ref.page_number,
        "quote": citation.quote,
        "boxes": [box.rounded() for box in citation.boxes],
        "verified": citation.verified,
        "visual": citation.is_visual,
    }


def claim_given(claim: Claim) -> Json:
    shown: Json = {
        "text": claim.text,
        "state": claim.state.value,
        "markers": list(claim.markers),
        "reasons": list(claim.reasons),
    }
    if claim.calculation is not None:
        shown["calculation"] = {
            "formula": claim.calculation.formula,
            "expression": claim.calculation.expression,
            "value": claim.calculation.value,
        }
    return shown


def answer_given(question: str, collection: str, result: AskResult) -> Json:
    answer, support = result.answer, result.answer.support
    shown: Json = {
        "question": question,
        "collection": collection,
        "answer": answer.text,
        "short": answer.short,
        "abstained": answer.abstained,
        "confidence": round(answer.confidence, 4),
        "model_id": answer.model_id,
        "citations": [citation_given(citation) for citation in answer.citations],
        "claims": [claim_given(claim) for claim in answer.claims],
        "unsupported": list(answer.unsupported),
        "support": None
        if support is None
        else {
            "citation_precision": round(support.citation_precision, 4),
            "citation_recall": round(support.citation_recall, 4),
        },
        "pages": [page_found(hit) for hit in result.search.hits],
        "error": None if result.error is None else result.error.as_dict(),
        "warnings": [warning.as_dict() for warning in (*result.search.warnings, *result.warnings)],
    }
    if answer.prompt_hash:
        shown["prompt_hash"] = answer.prompt_hash
    if answer.usage is not None:
        shown["usage"] = {
            "prompt_tokens": answer.usage.prompt,
            "completion_tokens": answer.usage.completion,
            "cached_tokens": answer.usage.cached,
        }
    return shown


def version_kept(version: PastVersion) -> Json:
    return {
        "version_id": version.version_id,
        "sha256": version.sha256,
        "source": version.source,
        "pages": version.n_pages,
        "reused_pages": version.n_reused,
        "ingested_by": version.ingested_by,
        "published_at": version.published_at,
        "ended_at": version.ended_at,
    }


def conversation_kept(conversation: Conversation) -> Json:
    return {
        "conversation_id": conversation.conversation_id,
        "collection": conversation.collection,
        "title": conversation.title,
        "turns": conversation.n_exchanges,
        "created_at": conversation.created_at,
        "updated_at": conversation.updated_at,
    }
