"""One question to a ranking of pages: first stage, every leg's scores, fusion, exact MaxSim.

Every leg (words, headings, dense windows, MaxSim) hands on its best pages; the documents that fit
the question best are searched once more; all legs then score the union, and are fused with the
document's score and the page's prior. MaxSim is approximate until the end, where the pages that may
be shown get their exact scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rag.filters import Condition, Filter
from rag.geometry import FloatArray
from rag.patch_search import PatchSearch
from rag.ports import PageEncoder
from rag.query import Query, QueryVectors, encode
from rag.ranking.document_scores import DocumentScores
from rag.ranking.fuse import fused
from rag.ranking.legs import Legs, Mode
from rag.repository import CollectionReader, PageSummary
from rag.scoring.cascade import StageClock
from rag.scoring.lexical import content_terms, query_vector
from rag.settings import RetrievalSettings
from rag.types import Notice, PageField, SparseVector

LegQuery = FloatArray | SparseVector

_FIELDS = {
    Mode.VISUAL: (PageField.PATCHES,),
    Mode.TEXT: (PageField.WORDS, PageField.HEADING_WORDS),
    Mode.HYBRID: (
        PageField.WORDS,
        PageField.DENSE,
        PageField.PATCHES,
        PageField.HEADING_WORDS,
        PageField.HEADINGS,
    ),
}


@dataclass(frozen=True)
class RankRequest:
    """What is ranked for, and how deep.

    Attributes:
        query: has words, an image or a page.
        top_k: pages that must be exact at the end, at least.
        mode: which legs take part.
        exact: score every page in scope exactly; no first stage, nothing approximated.
        scope: None is everything the reader may see.
    """

    query: Query
    top_k: int
    mode: Mode
    exact: bool
    scope: Filter | None


@dataclass
class Stages(StageClock):
    """What the stages of one search leave for its result."""

    warnings: list[Notice] = field(default_factory=list)


@dataclass
class Ranked:
    """Every candidate of one question.

    Attributes:
        order: (record id, fused score), best first.
        legs: raw scores.
        pages: of every candidate.
        asked: the question as vectors.
    """

    order: list[tuple[str, float]]
    legs: Legs
    pages: dict[str, PageSummary]
    asked: QueryVectors


class Ranker:
    """Ranks pages of one collection. Thread-safe."""

    def __init__(
        self,
        encoder: PageEncoder,
        patches: PatchSearch,
        document_scores: DocumentScores,
        settings: RetrievalSettings,
    ) -> None:
        self._encoder = encoder
        self._patches = patches
        self._document_scores = document_scores
        self._settings = settings

    def rank(self, reader: CollectionReader, request: RankRequest, stages: Stages) -> Ranked:
        """All candidates, best first; the first ones with exact scores."""
        settings, mode, text = self._settings, request.mode, request.query.text
        with stages.stage("encode"):
            asked = encode(request.query, self._encoder, reader)
        stages.warnings += asked.notices
        vectors = self._query_vectors(text, asked, mode)
        documents = self._document_scores(reader, text) if mode is Mode.HYBRID else {}
        exact_maxsim: dict[str, float] = {}
        pool = self._candidates(reader, request, vectors, asked, documents, stages, exact_maxsim)
        if asked.left_out in pool:
            pool.remove(asked.left_out)
            exact_maxsim.pop(asked.left_out, None)
        with stages.stage("score") as counts:
            legs = self._score(reader, request, vectors, pool, exact_maxsim)
            counts.append(len(pool))
        with stages.stage("fusion") as counts:
            pages = reader.pages(pool)
            ids = sorted(pages)
            if mode is Mode.HYBRID:
                legs |= _document_and_prior(pages, documents)
            order = fused(ids, legs, mode, settings)
            counts.append(len(order))
        if PageField.PATCHES in vectors and not request.exact:
            with stages.stage("exact") as counts:
                best = [i for i, _ in order[: max(request.top_k, settings.exact_pages)]]
                inexact = [record_id for record_id in best if record_id not in exact_maxsim]
                legs[PageField.PATCHES.value] |= self._patches.scores(
                    reader, request.scope, asked.encoded.tokens.vectors, inexact, exact=True
                )
                order = fused(ids, legs, mode, settings)
                counts.append(len(inexact))
        return Ranked(order, legs, pages, asked)

    # --- first stage ----------------------------------------------------------------------------
    def _query_vectors(
        self, question: str, asked: QueryVectors, mode: Mode
    ) -> dict[PageField, LegQuery]:
        terms = query_vector(content_terms(question))
        everything: dict[PageField, LegQuery] = {
            PageField.PATCHES: asked.encoded.tokens.vectors,
            PageField.HEADINGS: asked.headings,
            PageField.DENSE: asked.encoded.dense[None],
            PageField.WORDS: terms,
            PageField.HEADING_WORDS: terms,
        }
        return {name: everything[name] for name in _FIELDS[mode]}

    def _candidates(
        self,
        reader: CollectionReader,
        request: RankRequest,
        vectors: dict[PageField, LegQuery],
        asked: QueryVectors,
        documents: dict[str, float],
        stages: Stages,
        exact_maxsim: dict[str, float],
    ) -> list[str]:
        """Record ids that all legs will score; exact MaxSim, where it is known, is added."""
        settings, scope = self._settings, request.scope
        if request.exact or reader.n_pages(scope) <= settings.scan_pages:
            with stages.stage("scan") as counts:
                everything = reader.ids(scope)
                counts.append(len(everything))
            return everything
        first: list[tuple[PageField, LegQuery, int]] = [
            (name, vector, settings.leg_candidates)
            for name, vector in vectors.items()
            if name is not PageField.PATCHES
        ]
        pool: set[str] = set()
        if first:
            with stages.stage("legs") as counts:
                for found in reader.search_many(first, scope):
                    pool.update(candidate.record_id for candidate in found)
                counts.append(len(pool))
        if PageField.PATCHES in vectors:
            limit = max(settings.leg_candidates, request.top_k) + (asked.left_out is not None)
            close = self._patches.best(reader, scope, asked.encoded.tokens.vectors, limit)
            stages.stages += close.stages
            stages.warnings += close.warnings
            exact_maxsim |= {each.record_id: each.score for each in close.candidates}
            pool.update(exact_maxsim)
        best = sorted(documents, key=lambda name: (-documents[name], name))
        if best and settings.top_documents:
            with stages.stage("documents") as counts:
                named = tuple(best[: settings.top_documents])
                inside = Filter(
                    must=(*((scope,) if scope else ()), Condition("document_id", "$in", named))
                )
                before = len(pool)
                again = [(name, vector, settings.document_candidates) for name, vector, _ in first]
                for found in reader.search_many(again, inside):
                    pool.update(candidate.record_id for candidate in found)
                counts.append(len(pool) - before)
        return sorted(pool)

    # --- scoring and fusion ---------------------------------------------------------------------
    def _score(
        self,
        reader: CollectionReader,
        request: RankRequest,
        vectors: dict[PageField, LegQuery],
        pool: Sequence[str],
        exact_maxsim: dict[str, float],
    ) -> Legs:
        """Every leg's own score for every page of the pool it has something for.

        Scores in `exact_maxsim` are taken as they are; other pages get theirs from int8.
        """
        if not pool:
            return {name.value: {} for name in vectors}
        by_store = [name for name in vectors if request.exact or name is not PageField.PATCHES]
        wanted = [(name, vectors[name], len(pool)) for name in by_store]
        found = reader.search_many(wanted, request.scope, record_ids=pool) if wanted else []
        legs = {
            name.value: {candidate.record_id: candidate.score for candidate in candidates}
            for name, candidates in zip(by_store, found, strict=True)
        }
        patches = vectors.get(PageField.PATCHES)
        if patches is not None and not request.exact:
            assert not isinstance(patches, SparseVector)
            others = [record_id for record_id in pool if record_id not in exact_maxsim]
            legs[PageField.PATCHES.value] = exact_maxsim | self._patches.scores(
                reader, request.scope, patches, others
            )
        return legs


def _document_and_prior(pages: dict[str, PageSummary], documents: dict[str, float]) -> Legs:
    return {
        "document": {i: documents.get(page.ref.document_id, 0.0) for i, page in pages.items()},
        "prior": {i: page.prior for i, page in pages.items()},
    }
