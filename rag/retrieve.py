"""The read path: a question in, ranked pages out.

`rag/wording` reads the question, `rag/ranking` has the steps, a file each: `route` says what is
looked for, `rank` finds and scores pages, `fuse` makes one ranking of their scores, `refine` moves
the query, `rerank` reads the best pages again, `select` says how many come back, `show` why.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from rag import telemetry
from rag.deadline import Deadline
from rag.errors import BackendError, InputError, NotFound
from rag.filters import Filter
from rag.patch_search import PatchSearch
from rag.ports import ChatModel, EncodedQuery, PageEncoder, Reranker
from rag.query import Query, encode
from rag.ranking.documents import RankedDocument, best_documents, inside
from rag.ranking.expected import Search, followed
from rag.ranking.explain import explanation
from rag.ranking.join import joined
from rag.ranking.legs import Mode
from rag.ranking.length import shortened, shortened_turns
from rag.ranking.rank import DocumentCaches, Ranked, Ranker, RankRequest, Stages
from rag.ranking.rerank import LEG as RERANK_LEG
from rag.ranking.rerank import Reranked, page_reader, rerank, rerank_failed
from rag.ranking.route import ROUTES, Route, RouteName, choose_route, whole_document
from rag.ranking.select import require_relevance, selected
from rag.ranking.show import highlighted, hits
from rag.repository import CollectionReader
from rag.settings import RerankSettings, RetrievalSettings
from rag.telemetry import SEARCHES
from rag.types import Json, Notice, PageHit, PageRef, StageReport
from rag.wording.decompose import parts
from rag.wording.dialogue import Turn, standalone

_TRIES = 3  # where documents are replaced all the time, the last one counts
_PAGES_OF_A_DOCUMENT = 3  # shown of each where documents are looked for


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
        by_document: look for documents; the hits are the best page of each.
        history: questions and answers before, oldest first, which a follow-up is read with.
        deadline: of the chat models that are asked meanwhile; None is no end.
    """

    question: str | Query
    top_k: int = 5
    mode: Mode = Mode.HYBRID
    exact: bool = False
    scope: Filter | None = None
    highlights: bool = True
    explain: bool = False
    expect: PageRef | None = None
    by_document: bool = False
    history: tuple[Turn, ...] = ()
    deadline: Deadline | None = None

    @property
    def query(self) -> Query:
        return self.question if isinstance(self.question, Query) else Query(self.question)


@dataclass(frozen=True)
class SearchResult:
    """What was found.

    Attributes:
        record_ids: one a hit, for whoever reads the pages next.
        query: the question as vectors.
        question: as it was searched for: a follow-up has what was said before in it.
        parts: what else was searched for, where it asks several things.
        documents: where documents were looked for, with their best pages.
        route: which evidence it was taken to want.
    """

    hits: tuple[PageHit, ...]
    record_ids: tuple[str, ...]
    mode: Mode
    exact: bool
    stages: tuple[StageReport, ...]
    query: EncodedQuery
    question: str
    route: Route
    parts: tuple[str, ...] = ()
    documents: tuple[RankedDocument, ...] = ()
    warnings: tuple[Notice, ...] = ()
    explanation: Json | None = None


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


@dataclass(frozen=True)
class SearchModels:
    """Models that a search asks where its settings say so, each made when it is first wanted."""

    reranker: Callable[[RerankSettings], Reranker | None] = lambda _: None
    chat: Callable[[], ChatModel | None] = lambda: None


class Retriever:
    """Searches one collection. Thread-safe."""

    def __init__(
        self,
        encoder: PageEncoder,
        patches: PatchSearch,
        settings: RetrievalSettings,
        models: SearchModels | None = None,
        caches: DocumentCaches | None = None,
    ) -> None:
        require_relevance(settings.select, settings.rerank)
        self._encoder = encoder
        self._ranker = Ranker(encoder, patches, caches or DocumentCaches())
        self._settings = settings
        self._models = models or SearchModels()

    @property
    def looks_at_pixels(self) -> bool:
        """Whether MaxSim compares pictures of pages, beside legs that compare words."""
        return self._encoder.wants_image

    def search(self, reader: CollectionReader, request: SearchRequest) -> SearchResult:
        """The best pages for a question, of those the reader may see.

        Raises:
            InputError: a query without words, image or page, one that encoder or mode cannot
                search with, top_k below 1.
            IndexMismatch: the collection was made again by another encoder meanwhile.
            IndexUnavailable: the store fails, or takes more than the time of a search.
            Cancelled: the deadline was.
        """
        if request.top_k < 1:
            raise InputError(
                f"top_k wants at least 1, got {request.top_k}",
                next_step="Set top_k to the number of pages that should come back.",
            )
        with (
            telemetry.counted(SEARCHES) as outcome,
            telemetry.span(
                "search",
                collection=reader.collection,
                mode=str(request.mode),
                top_k=request.top_k,
                exact=request.exact,
            ) as span,
            reader.one_search(),
        ):
            found = self._searched(reader, request)
            outcome.said = "found" if found.hits else "nothing"
            span.tell(hits=len(found.hits))
            return found

    def _searched(self, reader: CollectionReader, request: SearchRequest) -> SearchResult:
        n_tries = 0
        while True:
            n_tries += 1
            before = reader.snapshot()
            try:
                found = self._search(reader, request)
            except NotFound:
                # A document that was there for one stage may be gone for the next.
                if reader.generation == before.generation:
                    raise
            else:
                # A version replaced between two stages is found by the first and lost by the next.
                if n_tries < _TRIES and reader.has_lost(before):
                    continue
                reader.require_same_index()
                return found

    def given(
        self, reader: CollectionReader, request: SearchRequest, refs: Sequence[PageRef]
    ) -> SearchResult:
        """These pages in their order as if they had been found, without a search or a score.

        Raises:
            NotFound: a page that is not there, or not for this reader.
            InputError: a query without words.
        """
        stages = Stages()
        request = self._standing_alone(self._shortened(request, stages), stages)
        stored = reader.stored_pages(refs)
        pages = [stored[ref] for ref in dict.fromkeys(refs)]
        return SearchResult(
            hits=tuple(
                PageHit(rank, page.ref, page.source, 0.0, 0.0, "", ())
                for rank, page in enumerate(pages, start=1)
            ),
            record_ids=tuple(page.record_id or "" for page in pages),
            mode=request.mode,
            exact=request.exact,
            stages=tuple(stages.stages),
            query=encode(request.query, self._encoder, reader).encoded,
            question=request.query.text,
            route=ROUTES[RouteName.TEXT_IMAGE],
            warnings=tuple(stages.warnings),
        )

    def _search(self, reader: CollectionReader, request: SearchRequest) -> SearchResult:
        stages = Stages()
        request = self._standing_alone(self._shortened(request, stages), stages)
        mode = _mode(request)
        route = self._route(request, mode, stages)
        if not route.searches:
            return self._not_searched(reader, request, mode, route, stages)
        settings = self._settings.model_copy(
            update={"weights": route.weights(self._settings.weights)}
        )
        ranked, parts = self._ranked(reader, request, mode, settings, stages)
        everything = list(ranked.order)
        # Who looks for documents is not answered with one of them.
        if route.granularity == "document" and not request.by_document:
            ranked.order = whole_document(
                ranked.order, lambda record_id: ranked.pages[record_id].ref.document_id
            )
        reranked = self._reranked(reader, request, ranked, stages)
        documents: list[RankedDocument] = []
        shown, is_probability = self._selected(request, ranked, reranked, stages)
        if request.by_document:
            documents = best_documents(
                shown, ranked.pages, limit=request.top_k, pages_each=_PAGES_OF_A_DOCUMENT
            )
            shown = [each.pages[0] for each in documents]
        shown = shown[: request.top_k]
        record_ids = [record_id for record_id, _ in shown]
        found = hits(ranked, shown, mode, settings, is_probability=is_probability)
        if request.highlights:
            with stages.stage("highlight") as counts:
                found = highlighted(
                    reader, found, record_ids, ranked.asked.encoded, request.query.text
                )
                counts.append(len(found))
        explained = None
        if request.explain:
            weights = settings.weights.model_dump()
            explained = explanation(
                shown, ranked.order, ranked.legs, ranked.pages, weights, request.expect
            )
            if request.expect is not None:
                explained["expected"] |= followed(
                    reader,
                    request.expect,
                    Search(
                        scope=request.scope,
                        top_k=request.top_k,
                        ranked=everything,
                        order=ranked.order,
                        shown=shown,
                        relevance=reranked.scores,
                        threshold=(
                            None
                            if self._settings.select.method == "top_k"
                            else self._settings.select.threshold
                        ),
                        by_document=request.by_document,
                        cuts=stages.cuts,
                        scores_of=partial(
                            self._ranker.scores_of,
                            reader,
                            RankRequest(
                                request.query, request.top_k, mode, request.exact, request.scope
                            ),
                            settings,
                            ranked.asked,
                        ),
                        left_out=ranked.asked.left_out,
                    ),
                )
        return SearchResult(
            hits=tuple(found),
            record_ids=tuple(record_ids),
            mode=mode,
            exact=request.exact,
            stages=tuple(stages.stages),
            query=ranked.asked.encoded,
            question=request.query.text,
            route=route,
            parts=parts,
            documents=tuple(documents),
            warnings=tuple(stages.warnings),
            explanation=explained,
        )

    # --- the question ---------------------------------------------------------------------------
    def _shortened(self, request: SearchRequest, stages: Stages) -> SearchRequest:
        query, notices = shortened(request.query)
        history, of_history = shortened_turns(request.history)
        stages.warnings += (*notices, *of_history)
        return replace(request, question=query, history=history)

    def _standing_alone(self, request: SearchRequest, stages: Stages) -> SearchRequest:
        if not request.history:
            return request
        method = self._settings.wording.dialogue
        chat = self._models.chat() if method == "chat" else None
        with stages.stage("dialogue"):
            text, notices = standalone(
                request.query.text, request.history, method, chat, request.deadline
            )
        query, of_length = shortened(replace(request.query, text=text))
        stages.warnings += (*notices, *of_length)
        return replace(request, question=query)

    def _route(self, request: SearchRequest, mode: Mode, stages: Stages) -> Route:
        if mode is not Mode.HYBRID or not request.query.is_words_alone:
            return ROUTES[RouteName.TEXT_IMAGE]  # who says what to look for has chosen
        chosen = self._settings.route
        chat = self._models.chat() if chosen.method == "chat" else None
        route, notices = choose_route(request.query.text, chosen, chat, request.deadline)
        stages.warnings += notices
        return route

    def _not_searched(
        self,
        reader: CollectionReader,
        request: SearchRequest,
        mode: Mode,
        route: Route,
        stages: Stages,
    ) -> SearchResult:
        explained = None
        if request.explain:
            weights = self._settings.weights.model_dump()
            explained = explanation((), (), {}, {}, weights, request.expect)
            if request.expect is not None:
                nothing = Search(request.scope, request.top_k, is_routed=False)
                explained["expected"] |= followed(reader, request.expect, nothing)
        return SearchResult(
            hits=(),
            record_ids=(),
            mode=mode,
            exact=request.exact,
            stages=tuple(stages.stages),
            query=encode(request.query, self._encoder, reader).encoded,
            question=request.query.text,
            route=route,
            warnings=tuple(stages.warnings),
            explanation=explained,
        )

    # --- the pages ------------------------------------------------------------------------------
    def _ranked(
        self,
        reader: CollectionReader,
        request: SearchRequest,
        mode: Mode,
        settings: RetrievalSettings,
        stages: Stages,
    ) -> tuple[Ranked, tuple[str, ...]]:
        """Every candidate, and the parts that were searched for beside the whole question."""
        wanted = RankRequest(request.query, request.top_k, mode, request.exact, request.scope)
        if request.by_document:
            documents = self._ranker.documents(reader, wanted, settings, stages)
            wanted = replace(wanted, scope=inside(request.scope, documents))
        ranked = self._ranker.rank(reader, wanted, settings, stages)
        method = settings.wording.decompose
        if method == "none" or not request.query.is_words_alone:
            return ranked, ()
        chat = self._models.chat() if method == "chat" else None
        texts, notices = parts(request.query.text, method, chat, request.deadline)
        stages.warnings += notices
        if len(texts) < 2:
            return ranked, ()
        with stages.stage("parts") as counts:
            others = [
                self._ranker.rank(
                    reader,
                    replace(wanted, query=replace(request.query, text=text)),
                    settings,
                    Stages(),
                )
                for text in texts
            ]
            ranked = joined(ranked, others)
            counts.append(len(ranked.order))
        return ranked, texts

    def _reranked(
        self, reader: CollectionReader, request: SearchRequest, ranked: Ranked, stages: Stages
    ) -> Reranked:
        chosen = self._settings.rerank
        if chosen.method == "none":
            return Reranked(ranked.order)
        with stages.stage("rerank") as counts:
            try:
                reranker = self._models.reranker(chosen)
            except BackendError as error:
                stages.warnings.append(rerank_failed(error))
                return Reranked(ranked.order)
            assert reranker is not None  # there is a method
            found = rerank(
                request.query.text,
                ranked.order,
                page_reader(reader, ranked.pages),
                reranker,
                chosen,
                rrf_k=self._settings.rrf_k,
                deadline=request.deadline,
            )
            counts.append(len(found.scores))
        stages.warnings += found.notices
        ranked.order = found.order
        if found.scores:
            ranked.legs = {**ranked.legs, RERANK_LEG: found.scores}
        return found

    def _selected(
        self, request: SearchRequest, ranked: Ranked, reranked: Reranked, stages: Stages
    ) -> tuple[list[tuple[str, float]], bool]:
        """(record id, score) of the pages that may come back, and whether scores are relevance."""
        if self._settings.select.method == "top_k":
            return ranked.order, False
        if not ranked.order:
            return [], False
        if not reranked.scores:
            stages.warnings.append(
                Notice(
                    "not_selected",
                    "pages that do not speak to the question were not left out: none was reranked",
                )
            )
            return ranked.order, False
        kept, notices = selected(
            reranked.scores,
            self._settings.select,
            len(reranked.scores) if request.by_document else request.top_k,
            is_probability=reranked.is_probability,
        )
        stages.warnings += notices
        return kept, True
