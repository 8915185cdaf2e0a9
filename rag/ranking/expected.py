"""Why a page was not returned, or where it came: one sentence, and the same as data.

Every page ends at one of these, asked in this order: it is not there, it has no record, it was
filtered out, no leg handed it on, it was dropped after the fusion, or others were better.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rag.errors import NotFound
from rag.filters import Condition, Filter
from rag.manifest import PageState
from rag.ranking.legs import Legs
from rag.repository import CollectionReader
from rag.types import Json, PageRef


@dataclass(frozen=True)
class Cut:
    """What a leg handed on: so many pages, of which the last had this score."""

    n_pages: int
    score: float


@dataclass(frozen=True)
class Search:
    """What a search did, as far as a page can get lost in it.

    Attributes:
        ranked: (record id, fused score) of every candidate, best first, before anybody read again.
        order: the same after that.
        shown: what came back.
        relevance: what a reranker said, by record id; empty where none read.
        threshold: relevance that a page needs to come back; None where none is needed.
        cuts: by leg, of those that handed on only their best.
        scores_of: scores of a page by leg, whether or not it was a candidate.
        left_out: the page that was asked for others like it.
        is_routed: whether the question was searched for at all.
    """

    scope: Filter | None
    top_k: int
    ranked: Sequence[tuple[str, float]] = ()
    order: Sequence[tuple[str, float]] = ()
    shown: Sequence[tuple[str, float]] = ()
    relevance: Mapping[str, float] = field(default_factory=dict)
    threshold: float | None = None
    by_document: bool = False
    cuts: Mapping[str, Cut] = field(default_factory=dict)
    scores_of: Any = None
    left_out: str | None = None
    is_routed: bool = True


def unknown(error: NotFound) -> Json:
    """Of a document that is not there, or not for this reader; nothing tells the two apart."""
    return _lost("unknown_document", f"{error.message[:1].upper()}{error.message[1:]}.")


def followed(reader: CollectionReader, ref: PageRef, search: Search) -> Json:
    """`outcome` and `why` of a page, with the figures of where it was lost."""
    try:
        document = reader.document(ref.document_id)
    except NotFound as error:
        return unknown(error)
    name = f"Page {ref.page_number} of {document.source}"
    if not document.n_pages:
        return _without_pages(reader, ref, name, document.error)
    if ref.page_number > document.n_pages:
        return _beyond_the_end(reader, ref, document.source, document.n_pages)
    page = reader.stored_pages([ref])[ref]
    if page.state is PageState.FAILED:
        return _lost("page_failed", f"{name} could not be read: {page.reason}.")
    if page.record_id is None:
        return _lost("page_blank", f"{name} is blank, and blank pages are not searched.")
    if not search.is_routed:
        return _lost("not_searched", "The question was taken to want no document.")
    if page.record_id == search.left_out:
        return _lost("asked_page", f"{name} is the one that others like it were asked for.")
    if not reader.ids(_and_page(None, ref)):
        return _lost(
            "no_record", f"{name} is not in the index; run `octavo verify` to see what is damaged."
        )
    out_by = [said for part, said in _parts(search.scope) if not reader.ids(_and_page(part, ref))]
    if out_by:
        return _lost(
            "filtered", f"{name} is outside of where was looked: {'; '.join(out_by)}.", by=out_by
        )
    return _ranked(reader, page.record_id, name, search)


def _without_pages(reader: CollectionReader, ref: PageRef, name: str, error: Json | None) -> Json:
    if reader.is_being_filled(ref.document_id):
        return _lost("not_published", f"{name} is being ingested, and not visible yet.")
    said = f": {error['message']}" if error else ""
    return _lost(
        "document_failed", f"{name} is not there: its document could not be ingested{said}."
    )


def _beyond_the_end(reader: CollectionReader, ref: PageRef, source: str, n_pages: int) -> Json:
    had = [each for each in reader.versions(ref.document_id) if each.n_pages >= ref.page_number]
    if had:
        return _lost(
            "version_replaced",
            f"{source} has {n_pages} pages now; version {had[0].version_id}, which had page "
            f"{ref.page_number}, was replaced.",
        )
    if reader.is_being_filled(ref.document_id):
        return _lost(
            "not_published",
            f"{source} has {n_pages} pages; a new version is being ingested, and not visible yet.",
        )
    return _lost("unknown_page", f"{source} has {n_pages} pages, and no page {ref.page_number}.")


# --- what the search did with it ----------------------------------------------------------------
def _ranked(reader: CollectionReader, record_id: str, name: str, search: Search) -> Json:
    shown = _place(search.shown[: search.top_k], record_id)
    if shown is not None:
        return {"outcome": "returned", "why": f"{name} came back at rank {shown[0]}."}
    fused, ordered = _place(search.ranked, record_id), _place(search.order, record_id)
    packed = record_id not in reader.packed(None).missing
    if fused is None:
        return _no_candidate(name, record_id, search) | {"packed": packed}
    rank, score = fused
    if record_id in search.relevance and search.threshold is not None:
        relevance = search.relevance[record_id]
        if relevance < search.threshold:
            return _lost(
                "not_relevant",
                f"{name} was ranked {rank}, and its relevance of {relevance:.3f} is below "
                f"{search.threshold:g}.",
                relevance=relevance,
                threshold=search.threshold,
                stage="select",
            )
    if ordered is None:
        return _lost(
            "other_document",
            f"{name} was ranked {rank} with {score:.3f}, and only pages of the best document "
            "come back for such a question.",
            stage="route",
        )
    if search.by_document and _is_of_a_shown_document(reader, record_id, search):
        return _lost(
            "same_document",
            f"{name} was ranked {rank} with {score:.3f}; a better page stands for its document.",
            stage="documents",
        )
    stage = "rerank" if search.relevance and rank <= search.top_k else "fusion"
    rank, score = ordered
    if search.threshold is not None and search.relevance and record_id not in search.relevance:
        return _lost(
            "not_reranked",
            f"{name} was ranked {rank}, behind the {len(search.relevance)} pages that were read "
            "again, and only those come back.",
            stage="rerank",
        )
    cut = search.order[min(search.top_k, len(search.order)) - 1][1]
    return _lost(
        "below_cut",
        f"{name} was ranked {rank} with {score:.3f} by {stage}; the best {search.top_k} came back, "
        f"down to {cut:.3f}.",
        stage=stage,
        cut={"rank": search.top_k, "score": cut},
    )


def _no_candidate(name: str, record_id: str, search: Search) -> Json:
    scores: Mapping[str, float] = {} if search.scores_of is None else search.scores_of(record_id)
    legs = {
        leg: {"score": scores.get(leg), "cut": cut.score, "handed_on": cut.n_pages}
        for leg, cut in search.cuts.items()
    }
    said = ", ".join(
        f"{leg} {'nothing' if each['score'] is None else format(each['score'], '.3f')} where the "
        f"last of {each['handed_on']} had {each['cut']:.3f}"
        for leg, each in legs.items()
    )
    stage = "first documents" if search.by_document and not legs else "first stage"
    return _lost(
        "no_candidate",
        f"{name} was lost in the {stage}: {said or 'no leg handed it on'}.",
        stage=stage,
        legs_cut=legs,
    )


def _is_of_a_shown_document(reader: CollectionReader, record_id: str, search: Search) -> bool:
    pages = reader.pages([record_id, *(i for i, _ in search.shown)])
    mine = pages[record_id].ref.document_id if record_id in pages else None
    return any(page.ref.document_id == mine for i, page in pages.items() if i != record_id)


def _place(order: Sequence[tuple[str, float]], record_id: str) -> tuple[int, float] | None:
    for rank, (other, score) in enumerate(order, start=1):
        if other == record_id:
            return rank, score
    return None


def _lost(outcome: str, why: str, **figures: Any) -> Json:
    return {"outcome": outcome, "why": why, **figures}


# --- filters ------------------------------------------------------------------------------------
def _and_page(part: Condition | Filter | None, ref: PageRef) -> Filter:
    this = (
        Condition("document_id", "$eq", ref.document_id),
        Condition("page_number", "$eq", ref.page_number),
    )
    return Filter(must=this if part is None else (part, *this))


def _parts(scope: Filter | None) -> Iterator[tuple[Condition | Filter, str]]:
    """What a scope asks for, one thing at a time, as people gave it."""
    if scope is None:
        return
    for part in scope.must:
        if isinstance(part, Filter) and not part.should and not part.must_not:
            yield from _parts(part)
        else:
            yield part, _said(part)
    if scope.should:
        yield Filter(should=scope.should), _said(Filter(should=scope.should))
    for part in scope.must_not:
        yield Filter(must_not=(part,)), f"not {_said(part)}"


def _said(part: Condition | Filter) -> str:
    if isinstance(part, Condition):
        value = list(part.value) if isinstance(part.value, tuple) else part.value
        return f"{part.key.removeprefix('metadata.')} {part.operator} {value!r}"
    every = [_said(each) for each in part.must] + [f"not {_said(each)}" for each in part.must_not]
    if part.should:
        every.append(f"({' or '.join(map(_said, part.should))})")
    return " and ".join(every)


def legs_of(legs: Legs, record_id: str) -> dict[str, float]:
    return {name: leg[record_id] for name, leg in legs.items() if record_id in leg}
