"""The read path: a question in, ranked pages out.

Every leg (words, headings, dense windows, MaxSim) hands on its best pages; the documents that fit
the question best are searched once more; all legs then score the union, and the z-scores are summed
with the document's score and the page's prior. MaxSim is approximate until the end, where the pages
that are shown get their exact scores.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from rag.errors import InputError, NotFound
from rag.filters import Condition, Filter
from rag.geometry import FloatArray
from rag.highlight import highlight
from rag.patch_search import PatchSearch
from rag.ports import EncodedQuery, PageEncoder
from rag.query import Query, QueryVectors, encode
from rag.ranking.explain import explanation
from rag.ranking.fuse import fused, normalized
from rag.ranking.legs import Legs, Mode
from rag.repository import CollectionReader, PageSummary
from rag.scoring.cascade import StageClock
from rag.scoring.document import DocumentFeatures, DocumentScorer
from rag.scoring.fusion import zscore
from rag.scoring.lexical import content_terms, query_vector
from rag.settings import RetrievalSettings
from rag.types import Json, Notice, PageField, PageHit, PageRef, SparseVector, StageReport

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
# The names under which raw scores are shown.
_SHOWN = {PageField.PATCHES.value: "maxsim"}


@dataclass(frozen=True)
class SearchRequest:
    """What is looked for, and how.

    Attributes:
        question: any text with at least one word, or a query with more than text in it.
        top_k: pages that come back.
        mode: which legs take part; without text only `visual` has something to look for, and it
            is what hybrid then means.
        exact: score every page in scope exactly; no first stage, nothing approximated.
        scope: from `CollectionReader.scope`; None is everything the reader may see.
        highlights: find boxes and snippets, which costs the vectors of each hit.
        explain: say what each leg gave each hit.
        expect: a page that `explain` follows through the stages.
    """

    question: str | Query
    top_k: int = 5
    mode: Mode = Mode.HYBRID
    exact: bool = False
    scope: Filter | None = None
    highlights: bool = True
    explain: bool = False
    expect: PageRef | None = None

    @property
    def query(self) -> Query:
        return self.question if isinstance(self.question, Query) else Query(self.question)


@dataclass(frozen=True)
class SearchResult:
    """`record_ids` (one a hit) and `query` are for whoever reads the pages next."""

    hits: tuple[PageHit, ...]
    record_ids: tuple[str, ...]
    mode: Mode
    exact: bool
    stages: tuple[StageReport, ...]
    query: EncodedQuery
    warnings: tuple[Notice, ...] = ()
    explanation: Json | None = None


@dataclass
class _Stages(StageClock):
    """What the stages of one search leave for the later ones and for the result."""

    warnings: list[Notice] = field(default_factory=list)
    maxsim: dict[str, float] = field(default_factory=dict)  # exact, by record id


def _mode(request: SearchRequest) -> Mode:
    """The legs that have something to look for.

    Raises:
        InputError: `mode_not_possible`, words alone, for what words cannot say.
    """
    query = request.query
    if request.mode is Mode.TEXT and not query.is_words_alone:
        raise InputError(
            "the text mode looks for the words of the query alone, without image, page or "
            "arithmetic",
            code="mode_not_possible",
            next_step="Use the mode hybrid or visual.",
        )
    is_wordless = (query.image is not None or query.like is not None) and not query.has_text
    return Mode.VISUAL if is_wordless else request.mode


class Retriever:
    """Searches one collection. Thread-safe."""

    def __init__(
        self, encoder: PageEncoder, patches: PatchSearch, settings: RetrievalSettings
    ) -> None:
        self._encoder = encoder
        self._settings = settings
        self._patches = patches
        self._scorers: dict[tuple[str, int, frozenset[str]], DocumentScorer] = {}
        self._scorers_lock = threading.Lock()

    def search(self, reader: CollectionReader, request: SearchRequest) -> SearchResult:
        """The best pages for a question, of those the reader may see.

        Raises:
            InputError: a query without words, image or page, one that encoder or mode cannot
                search with, top_k below 1.
            IndexMismatch: the collection was made again by another encoder meanwhile.
        """
        if request.top_k < 1:
            raise InputError(
                f"top_k wants at least 1, got {request.top_k}",
                next_step="Set top_k to the number of pages that should come back.",
            )
        while True:
            generation = reader.generation
            try:
                found = self._search(reader, request)
            except NotFound:
                # A document that was there for one stage may be gone for the next.
                if reader.generation == generation:
                    raise
            else:
                reader.require_same_index()
                return found

    def _search(self, reader: CollectionReader, request: SearchRequest) -> SearchResult:
        text, mode = request.query.text, _mode(request)
        stages = _Stages()
        with stages.stage("encode"):
            asked = encode(request.query, self._encoder, reader)
        query = asked.encoded
        stages.warnings += asked.notices
        vectors = self._query_vectors(text, asked, mode)
        documents = self._document_scores(reader, text) if mode is Mode.HYBRID else {}
        pool = self._candidates(reader, request, vectors, asked, documents, stages)
        if asked.left_out in pool:
            pool.remove(asked.left_out)
            stages.maxsim.pop(asked.left_out, None)
        with stages.stage("score") as counts:
            legs = self._score(reader, request, vectors, pool, stages.maxsim)
            counts.append(len(pool))
        with stages.stage("fusion") as counts:
            pages = reader.pages(pool)
            ids = sorted(pages)
            legs = self._with_document_and_prior(legs, ids, pages, documents, mode)
            order = fused(ids, legs, mode, self._settings)
            counts.append(len(order[: request.top_k]))
        if PageField.PATCHES in vectors and not request.exact:
            with stages.stage("exact") as counts:
                best = [i for i, _ in order[: max(request.top_k, self._settings.exact_pages)]]
                inexact = [record_id for record_id in best if record_id not in stages.maxsim]
                legs[PageField.PATCHES.value] |= self._patches.scores(
                    reader, request.scope, query.tokens.vectors, inexact, exact=True
                )
                order = fused(ids, legs, mode, self._settings)
                counts.append(len(inexact))
        hits = [
            self._hit(rank, pages[record_id], score, legs, mode, len(query.tokens))
            for rank, (record_id, score) in enumerate(order[: request.top_k], start=1)
        ]
        if request.highlights:
            with stages.stage("highlight") as counts:
                hits = self._highlighted(reader, hits, order, query, text)
                counts.append(len(hits))
        return SearchResult(
            hits=tuple(hits),
            record_ids=tuple(record_id for record_id, _ in order[: request.top_k]),
            mode=mode,
            exact=request.exact,
            stages=tuple(stages.stages),
            query=query,
            warnings=tuple(stages.warnings),
            explanation=explanation(
                order[: request.top_k],
                order,
                legs,
                pages,
                self._settings.weights.model_dump(),
                request.expect,
            )
            if request.explain
            else None,
        )

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
        request: SearchRequest,
        vectors: dict[PageField, LegQuery],
        asked: QueryVectors,
        documents: dict[str, float],
        stages: _Stages,
    ) -> list[str]:
        """Record ids that all legs will score."""
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
            stages.maxsim |= {each.record_id: each.score for each in close.candidates}
            pool.update(stages.maxsim)
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
        request: SearchRequest,
        vectors: dict[PageField, LegQuery],
        pool: Sequence[str],
        maxsim: dict[str, float],
    ) -> Legs:
        """Every leg's own score for every page of the pool it has something for.

        Scores in `maxsim` are taken as they are; other pages get theirs from int8.
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
            others = [record_id for record_id in pool if record_id not in maxsim]
            legs[PageField.PATCHES.value] = maxsim | self._patches.scores(
                reader, request.scope, patches, others
            )
        return legs

    def _document_scores(self, reader: CollectionReader, question: str) -> dict[str, float]:
        """Document id -> standard deviations from the mean of all documents the reader may see."""
        features = reader.document_features()
        key = (reader.collection, reader.generation, frozenset(name for name, _ in features))
        with self._scorers_lock:
            scorer = self._scorers.get(key)
        if scorer is None:
            scorer = DocumentScorer(
                [(name, DocumentFeatures.model_validate(found)) for name, found in features]
            )
            with self._scorers_lock:
                if len(self._scorers) >= 8:
                    self._scorers.pop(next(iter(self._scorers)))
                self._scorers[key] = scorer
        scores = scorer.scores(question)
        return dict(zip(scores, zscore(np.array(list(scores.values()))).tolist(), strict=True))

    def _with_document_and_prior(
        self,
        legs: Legs,
        ids: Sequence[str],
        pages: dict[str, PageSummary],
        documents: dict[str, float],
        mode: Mode,
    ) -> Legs:
        if mode is not Mode.HYBRID:
            return legs
        return {
            **legs,
            "document": {i: documents.get(pages[i].ref.document_id, 0.0) for i in ids},
            "prior": {i: pages[i].prior for i in ids},
        }

    # --- what is shown --------------------------------------------------------------------------
    def _hit(
        self, rank: int, page: PageSummary, score: float, legs: Legs, mode: Mode, n_query: int
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
            score_normalized=normalized(score, mode, self._settings, n_query=n_query),
            snippet="",
            boxes=(),
            scores=shown,
        )

    def _highlighted(
        self,
        reader: CollectionReader,
        hits: Sequence[PageHit],
        order: Sequence[tuple[str, float]],
        query: EncodedQuery,
        question: str,
    ) -> list[PageHit]:
        record_ids = [record_id for record_id, _ in order[: len(hits)]]
        vectors = reader.vectors(record_ids, PageField.PATCHES)
        stored = reader.stored_pages([hit.ref for hit in hits])
        nothing = np.zeros((0, query.tokens.dim), np.float32)
        found: list[PageHit] = []
        for hit, record_id in zip(hits, record_ids, strict=True):
            page = stored[hit.ref]
            placed = page.with_vectors(vectors.get(record_id, nothing))
            shown = highlight(query.tokens.vectors, placed, question)
            found.append(replace(hit, snippet=shown.snippet, boxes=shown.boxes))
        return found
