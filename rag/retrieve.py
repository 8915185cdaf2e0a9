"""The read path: a question in, ranked pages out.

`rag/ranking` has the steps, a file each: `rank` finds and scores pages, `fuse` makes one ranking of
their scores, `show` says why a page is there.
"""

from __future__ import annotations

from dataclasses import dataclass

from rag.errors import InputError, NotFound
from rag.filters import Filter
from rag.patch_search import PatchSearch
from rag.ports import EncodedQuery, PageEncoder
from rag.query import Query
from rag.ranking.document_scores import DocumentScores
from rag.ranking.explain import explanation
from rag.ranking.legs import Mode
from rag.ranking.rank import Ranker, RankRequest, Stages
from rag.ranking.show import highlighted, hits
from rag.repository import CollectionReader
from rag.settings import RetrievalSettings
from rag.types import Json, Notice, PageHit, PageRef, StageReport


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
        self._ranker = Ranker(encoder, patches, DocumentScores(), settings)
        self._settings = settings

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
        mode, stages = _mode(request), Stages()
        ranked = self._ranker.rank(
            reader,
            RankRequest(request.query, request.top_k, mode, request.exact, request.scope),
            stages,
        )
        shown = ranked.order[: request.top_k]
        record_ids = [record_id for record_id, _ in shown]
        found = hits(ranked, shown, mode, self._settings)
        if request.highlights:
            with stages.stage("highlight") as counts:
                found = highlighted(
                    reader, found, record_ids, ranked.asked.encoded, request.query.text
                )
                counts.append(len(found))
        explained = None
        if request.explain:
            weights = self._settings.weights.model_dump()
            explained = explanation(
                shown, ranked.order, ranked.legs, ranked.pages, weights, request.expect
            )
        return SearchResult(
            hits=tuple(found),
            record_ids=tuple(record_ids),
            mode=mode,
            exact=request.exact,
            stages=tuple(stages.stages),
            query=ranked.asked.encoded,
            warnings=tuple(stages.warnings),
            explanation=explained,
        )
