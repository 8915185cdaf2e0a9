"""One question to a ranking of pages: first stage, every leg's scores, fusion, exact MaxSim.

Every leg (words, headings, dense windows, MaxSim) hands on its best pages; the documents that fit
the question best are searched once more; all legs then score the union, and are fused with the
document's score, what its context says of it, and the page's prior. MaxSim is approximate until the
end, where the pages that may be shown get their exact scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from rag.filters import Filter
from rag.geometry import FloatArray
from rag.index.contract import SPARSE_FIELDS
from rag.patch_search import PatchSearch
from rag.ports import PageEncoder
from rag.query import Query, QueryVectors, encode
from rag.ranking.context import named_page_ids, named_pages, with_context
from rag.ranking.document_scores import DocumentScores
from rag.ranking.document_vectors import DocumentVectors
from rag.ranking.documents import documents_in, first_documents
from rag.ranking.documents import inside as within
from rag.ranking.expected import Cut, legs_of
from rag.ranking.fuse import fused
from rag.ranking.legs import Legs, Mode
from rag.ranking.refine import patch_access, refine
from rag.repository import CollectionReader, PageSummary
from rag.scoring.cascade import StageClock
from rag.scoring.lexical import query_vector
from rag.settings import RetrievalSettings
from rag.types import Candidate, Notice, PageField, SparseVector
from rag.wording.variants import query_terms

LegQuery = FloatArray | SparseVector

_FIELDS = {
    Mode.VISUAL: (PageField.PATCHES,),
    Mode.TEXT: (
        PageField.WORDS,
        PageField.HEADING_WORDS,
        PageField.CONTEXT_WORDS,
        PageField.CAPTION_WORDS,
    ),
    Mode.HYBRID: (
        PageField.WORDS,
        PageField.DENSE,
        PageField.PATCHES,
        PageField.HEADING_WORDS,
        PageField.HEADINGS,
        PageField.CONTEXT_WORDS,
        PageField.CAPTION_WORDS,
        PageField.CAPTIONS,
    ),
}
# The store looks through every page for a field, also where no page has it.
_OF_CAPTIONS = frozenset({PageField.CAPTION_WORDS, PageField.CAPTIONS})


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
    cuts: dict[str, Cut] = field(default_factory=dict)  # by leg, of those that cut


def _cut(candidates: Sequence[Candidate]) -> Cut:
    return Cut(len(candidates), candidates[-1].score if candidates else 0.0)


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


@dataclass(frozen=True)
class DocumentCaches:
    """What is kept of documents between searches, whatever settings they are made with."""

    scores: DocumentScores = field(default_factory=DocumentScores)
    vectors: DocumentVectors = field(default_factory=DocumentVectors)


class Ranker:
    """Ranks pages of one collection. Thread-safe."""

    def __init__(self, encoder: PageEncoder, patches: PatchSearch, caches: DocumentCaches) -> None:
        self._encoder = encoder
        self._patches = patches
        self._caches = caches

    def rank(
        self,
        reader: CollectionReader,
        request: RankRequest,
        settings: RetrievalSettings,
        stages: Stages,
    ) -> Ranked:
        """All candidates, best first; the first ones with exact scores."""
        text = request.query.text
        with stages.stage("encode"):
            asked = encode(request.query, self._encoder, reader)
        stages.warnings += asked.notices
        documents = self._caches.scores.known(reader)
        known = _Documents(documents.languages, documents.has_captions)
        if request.mode is Mode.HYBRID:
            known = replace(known, scores=documents.scores(text))
            if settings.context.document_vector:
                by_vector = self._caches.vectors(reader, asked.encoded.dense)
                known = replace(known, vector_scores=by_vector)
        return _Search(self._patches, reader, request, settings, asked, known, stages).run()

    def scores_of(
        self,
        reader: CollectionReader,
        request: RankRequest,
        settings: RetrievalSettings,
        asked: QueryVectors,
        record_id: str,
    ) -> dict[str, float]:
        """What each leg says of a page, whether or not it would hand it on."""
        documents = self._caches.scores.known(reader)
        known = _Documents(documents.languages, documents.has_captions)
        stages = Stages()
        search = _Search(self._patches, reader, request, settings, asked, known, stages)
        return legs_of(search.own_scores(record_id), record_id)

    def documents(
        self,
        reader: CollectionReader,
        request: RankRequest,
        settings: RetrievalSettings,
        stages: Stages,
    ) -> tuple[str, ...]:
        """The documents in scope that fit the question best, best first."""
        with stages.stage("first documents") as counts:
            dense = encode(request.query, self._encoder, reader).encoded.dense
            found = first_documents(
                self._caches.scores.known(reader).scores(request.query.text),
                self._caches.vectors(reader, dense),
                documents_in(reader, request.scope),
                limit=max(settings.context.documents, request.top_k),
            )
            counts.append(len(found))
        return found


@dataclass(frozen=True)
class _Documents:
    """What is known of the documents before any page is looked at.

    Attributes:
        languages: other than English that they are in.
        has_captions: whether a page of theirs is described.
        scores: document id -> how well it fits, in standard deviations; hybrid only.
        vector_scores: the same by the mean of its pages' vectors, where that is wanted.
    """

    languages: frozenset[str]
    has_captions: bool
    scores: Mapping[str, float] = field(default_factory=dict)
    vector_scores: Mapping[str, float] = field(default_factory=dict)


class _Search:
    """One ranking under way."""

    def __init__(
        self,
        patches: PatchSearch,
        reader: CollectionReader,
        request: RankRequest,
        settings: RetrievalSettings,
        asked: QueryVectors,
        documents: _Documents,
        stages: Stages,
    ) -> None:
        self._patches = patches
        self._reader = reader
        self._request = request
        self._settings = settings
        self._asked = asked
        self._documents = documents
        self._stages = stages
        self._vectors = self._query_vectors()
        self._exact_maxsim: dict[str, float] = {}  # by record id, where it is known

    def run(self) -> Ranked:
        mode, settings, stages = self._request.mode, self._settings, self._stages
        pool = self._candidates()
        if self._asked.left_out in pool:
            pool.remove(self._asked.left_out)
            self._exact_maxsim.pop(self._asked.left_out, None)
        with stages.stage("score") as counts:
            legs = self._legs(pool)
            counts.append(len(pool))
        with stages.stage("fusion") as counts:
            pages = self._reader.pages(pool)
            order = fused(sorted(pages), legs, mode, settings)
            counts.append(len(order))
        if PageField.PATCHES in self._vectors and not self._request.exact:
            with stages.stage("exact") as counts:
                width, known = max(self._request.top_k, settings.exact_pages), {*self._exact_maxsim}
                # What is made exact may fall, and a page come up that is not exact yet.
                while inexact := [i for i, _ in order[:width] if i not in known]:
                    known.update(inexact)
                    legs[PageField.PATCHES.value] |= self._maxsim(inexact, exact=True)
                    order = fused(sorted(pages), legs, mode, settings)
                    counts.append(len(inexact))
        ranked = Ranked(order, legs, pages, self._asked)
        if settings.refine.method == "gqr" and mode is Mode.HYBRID:
            self._refine(ranked)
        return ranked

    def own_scores(self, record_id: str) -> Legs:
        return self._searched([record_id])

    def _refine(self, ranked: Ranked) -> None:
        access = patch_access(
            self._reader,
            self._patches,
            self._request.scope,
            self._legs,
            limit=max(self._settings.leg_candidates, self._request.top_k),
            left_out=self._asked.left_out,
        )
        tokens = self._asked.encoded.tokens.vectors
        refined = refine(ranked.order, ranked.legs, tokens, access, self._settings, self._stages)
        self._stages.warnings += refined.notices
        ranked.pages |= self._reader.pages(refined.new)
        ranked.order = [each for each in refined.order if each[0] in ranked.pages]
        ranked.legs = refined.legs

    # --- first stage ----------------------------------------------------------------------------
    def _query_vectors(self) -> dict[PageField, LegQuery]:
        """What each leg that counts for something looks for, of those that can find something."""
        encoded = self._asked.encoded
        terms = query_vector(
            query_terms(
                self._request.query.text,
                languages=self._documents.languages,
                variants=self._settings.wording.variants,
            )
        )
        everything: dict[PageField, LegQuery] = {
            PageField.PATCHES: encoded.tokens.vectors,
            PageField.HEADINGS: self._asked.headings,
            PageField.DENSE: encoded.dense[None],
            PageField.CAPTIONS: encoded.dense[None],
            **dict.fromkeys(SPARSE_FIELDS, terms),
        }
        weights = self._settings.weights.model_dump()
        return {
            name: everything[name]
            for name in _FIELDS[self._request.mode]
            if (weights[name.value] or name is PageField.PATCHES)
            and (name not in _OF_CAPTIONS or self._documents.has_captions)
        }

    def _candidates(self) -> list[str]:
        """Record ids that all legs will score."""
        reader, request, settings = self._reader, self._request, self._settings
        scope, stages = request.scope, self._stages
        if request.exact or reader.n_pages(scope) <= settings.scan_pages:
            with stages.stage("scan") as counts:
                everything = reader.ids(scope)
                counts.append(len(everything))
            return everything
        first: list[tuple[PageField, LegQuery, int]] = [
            (name, vector, settings.leg_candidates)
            for name, vector in self._vectors.items()
            if name is not PageField.PATCHES
        ]
        pool: set[str] = set()
        if first:
            with stages.stage("legs") as counts:
                handed_on = reader.search_many(first, scope)
                for (name, _, _), found in zip(first, handed_on, strict=True):
                    pool.update(candidate.record_id for candidate in found)
                    stages.cuts[name.value] = _cut(found)
                counts.append(len(pool))
        if PageField.PATCHES in self._vectors:
            limit = max(settings.leg_candidates, request.top_k) + (self._asked.left_out is not None)
            tokens = self._asked.encoded.tokens.vectors
            close = self._patches.best(reader, scope, tokens, limit)
            stages.stages += close.stages
            stages.warnings += close.warnings
            stages.cuts[PageField.PATCHES.value] = _cut(close.candidates)
            self._exact_maxsim |= {each.record_id: each.score for each in close.candidates}
            pool.update(self._exact_maxsim)
        scores = self._documents.scores
        best = sorted(scores, key=lambda name: (-scores[name], name))
        if best and settings.top_documents:
            with stages.stage("documents") as counts:
                before = len(pool)
                pool.update(self._in_documents(best[: settings.top_documents], first))
                if settings.context.named_page:
                    pool.update(self._named())
                counts.append(len(pool) - before)
        return sorted(pool)

    def _in_documents(
        self, documents: Sequence[str], first: Sequence[tuple[PageField, LegQuery, int]]
    ) -> set[str]:
        """What every leg finds in the documents that fit best."""
        inside = within(self._request.scope, documents)
        again = [(name, vector, self._settings.document_candidates) for name, vector, _ in first]
        return {
            candidate.record_id
            for candidates in self._reader.search_many(again, inside)
            for candidate in candidates
        }

    def _named(self) -> list[str]:
        """Pages that the question names, of the documents in scope that fit best and have them."""
        numbers = named_pages(self._request.query.text)
        scores = self._documents.scores
        ids = named_page_ids(self._reader, self._request.scope, tuple(scores), numbers)
        document_of = {i: page.ref.document_id for i, page in self._reader.pages(ids).items()}
        best = sorted(set(document_of.values()), key=lambda name: (-scores[name], name))
        kept = best[: self._settings.top_documents]
        return [record_id for record_id, name in document_of.items() if name in kept]

    # --- scores ---------------------------------------------------------------------------------
    def _legs(self, pool: Sequence[str]) -> Legs:
        """Every leg's own score for every page of the pool it has something for."""
        legs = self._searched(pool)
        if self._request.mode is not Mode.HYBRID:
            return legs
        pages = self._reader.pages(pool)
        legs |= {
            "document": {
                i: self._documents.scores.get(page.ref.document_id, 0.0)
                for i, page in pages.items()
            },
            "prior": {i: page.prior for i, page in pages.items()},
        }
        return with_context(
            legs,
            pages,
            self._settings,
            question=self._request.query.text,
            document_vectors=self._documents.vector_scores,
        )

    def _searched(self, pool: Sequence[str]) -> Legs:
        """Exact MaxSim is taken where it is known; other pages get theirs from int8."""
        if not pool:
            return {name.value: {} for name in self._vectors}
        by_store = [
            name for name in self._vectors if self._request.exact or name is not PageField.PATCHES
        ]
        wanted = [(name, self._vectors[name], len(pool)) for name in by_store]
        scope = self._request.scope
        found = self._reader.search_many(wanted, scope, record_ids=pool) if wanted else []
        legs = {
            name.value: {candidate.record_id: candidate.score for candidate in candidates}
            for name, candidates in zip(by_store, found, strict=True)
        }
        if PageField.PATCHES in self._vectors and not self._request.exact:
            known = {i: self._exact_maxsim[i] for i in pool if i in self._exact_maxsim}
            others = [record_id for record_id in pool if record_id not in known]
            legs[PageField.PATCHES.value] = known | self._maxsim(others)
        return legs

    def _maxsim(self, record_ids: Sequence[str], *, exact: bool = False) -> dict[str, float]:
        tokens = self._asked.encoded.tokens.vectors
        return self._patches.scores(
            self._reader, self._request.scope, tokens, record_ids, exact=exact
        )
