"""A question in, an answer with citations out: search, gather evidence, have it answered.

Whatever an answer model does, the pages found come back; an answer that failed says why.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from rag import telemetry
from rag.answer.evidence.gather import gather
from rag.deadline import Cancelled, Deadline
from rag.errors import BackendError, InputError, RagError
from rag.filters import Condition, Filter
from rag.ports import (
    AnswerModel,
    AnswerRequest,
    FurtherSearch,
    OnAnswerEvent,
    SearchesFurther,
    unheard,
)
from rag.ranking.documents import inside
from rag.ranking.legs import Mode
from rag.repository import CollectionReader
from rag.retrieve import Retriever, SearchRequest, SearchResult
from rag.scoring.cascade import StageClock
from rag.server_failures import one_line
from rag.settings import AnswerSettings
from rag.telemetry import ANSWERS
from rag.types import Answer, Notice, PageRef, StageReport
from rag.wording.dialogue import Turn

_log = logging.getLogger(__name__)

_FURTHER_PAGES = 2  # of each search that an answer model wants beside the question
# Notices of a search that say why it hands on no page.
_LEAVE_NO_PAGE = frozenset({"not_relevant", "route_none"})


@dataclass(frozen=True)
class AskRequest:
    """What is asked, and of which pages.

    Attributes:
        question: any text with at least one word.
        scope: from `CollectionReader.scope`; None is everything the reader may see.
        history: questions and answers before, oldest first, which a follow-up is read with.
        from_pages: answer from these pages and search for none.
        on_found: hears of the pages before anything is answered.
        on_event: hears the answer as it comes.
        deadline: of the answer, the reading of the question and the search included; None is the
            setting's. Whoever keeps it can cancel.
    """

    question: str
    mode: Mode = Mode.HYBRID
    scope: Filter | None = None
    history: tuple[Turn, ...] = ()
    from_pages: tuple[PageRef, ...] = ()
    on_found: Callable[[SearchResult], None] = lambda _: None
    on_event: OnAnswerEvent = unheard
    deadline: Deadline | None = None


@dataclass(frozen=True)
class AskResult:
    """An answer and what it was made from.

    Attributes:
        error: why there is no answer, where the answer model failed; the pages are there.
    """

    answer: Answer
    search: SearchResult
    stages: tuple[StageReport, ...]
    warnings: tuple[Notice, ...] = ()
    error: RagError | None = field(default=None, compare=False)


class Asker:
    """Answers from one collection. Thread-safe."""

    def __init__(self, retriever: Retriever, model: AnswerModel, settings: AnswerSettings) -> None:
        self._retriever = retriever
        self._model = model
        self._settings = settings

    def ask(self, reader: CollectionReader, request: AskRequest) -> AskResult:
        """Answer from the best pages in scope, or abstain; no model is asked where there are none.

        Raises:
            InputError: a question without words.
            NotFound: of `from_pages`, one that is not there.
            ConfigError: evidence that the answer model cannot read.
            Cancelled: the deadline was.
        """
        with (
            telemetry.counted(ANSWERS) as outcome,
            telemetry.span("ask", collection=reader.collection) as span,
        ):
            result = self._asked(reader, request)
            if result.error is None:
                outcome.said = "abstained" if result.answer.abstained else "answered"
            span.tell(outcome=outcome.said, citations=len(result.answer.citations))
            return result

    def _asked(self, reader: CollectionReader, request: AskRequest) -> AskResult:
        deadline = request.deadline or Deadline(self._settings.deadline_s)
        asked = SearchRequest(
            request.question,
            self._n_pages,
            mode=request.mode,
            scope=request.scope,
            history=request.history,
            deadline=deadline,
        )
        if request.from_pages:
            found = self._retriever.given(reader, asked, request.from_pages)
        else:
            found = self._further(reader, asked, self._retriever.search(reader, asked))
        request.on_found(found)
        if not found.hits:
            return AskResult(self._nothing_found(found), found, found.stages)
        clock = StageClock()
        with clock.stage("evidence") as counts:
            gathered = gather(
                reader,
                found.hits,
                found.record_ids,
                query=found.query,
                settings=self._settings,
                route=found.route,
                reads_images=self._model.reads_images,
                deadline=deadline,
                scope=request.scope,
            )
            counts.append(len(gathered.evidence))
        with clock.stage("answer") as counts:
            answer, error = self._answered(
                AnswerRequest(
                    found.question, found.query, gathered.evidence, request.on_event, deadline
                )
            )
            counts.append(len(gathered.evidence))
        return AskResult(
            answer,
            found,
            (*found.stages, *clock.stages),
            (*gathered.notices, *answer.notices),
            error,
        )

    def _further(
        self, reader: CollectionReader, asked: SearchRequest, found: SearchResult
    ) -> SearchResult:
        """With the pages that the answer model wants beside those found, after them."""
        if not found.hits or not isinstance(self._model, SearchesFurther):
            return found
        start = time.perf_counter()
        hits, record_ids = list(found.hits), list(found.record_ids)
        for further in self._model.further_searches(found.question, found.hits):
            more = self._retriever.search(
                reader,
                replace(
                    asked,
                    question=further.text,
                    top_k=len(further.page_numbers) or _FURTHER_PAGES,
                    scope=_narrowed(asked.scope, further),
                    highlights=False,
                    history=(),
                ),
            )
            seen = {hit.ref for hit in hits}
            for hit, record_id in zip(more.hits, more.record_ids, strict=True):
                if hit.ref not in seen:
                    hits.append(replace(hit, rank=len(hits) + 1))
                    record_ids.append(record_id)
        n_more = len(hits) - len(found.hits)
        return replace(
            found,
            hits=tuple(hits),
            record_ids=tuple(record_ids),
            stages=(*found.stages, StageReport("further", n_more, _ms_since(start))),
        )

    @property
    def _n_pages(self) -> int:
        """How many pages an answer is looked for on."""
        chosen = self._settings
        if chosen.model == "extractive":
            # A figure stands on one of several statements, and reading tables costs little.
            return max(chosen.answer_pages, chosen.table_pages)
        if self._model.reads_images and self._retriever.looks_at_pixels:
            # The best pages by their words and the best by their pixels need not be the same.
            return chosen.answer_pages + chosen.image_pages
        return chosen.answer_pages

    def _answered(self, request: AnswerRequest) -> tuple[Answer, RagError | None]:
        try:
            return self._model.answer(request), None
        except Cancelled:
            raise
        except (BackendError, InputError) as error:
            name, why = one_line(self._model.model_id), one_line(error.message)
            _log.warning("no answer by %s: %s", name, why)
            return Answer("", abstained=True, model_id=self._model.model_id), error

    def _nothing_found(self, found: SearchResult) -> Answer:
        """An abstention that says why there is nothing to answer from."""
        reasons = [each.message for each in found.warnings if each.code in _LEAVE_NO_PAGE]
        is_searched = all(each.code != "route_none" for each in found.warnings)
        if is_searched or not reasons:
            reasons.insert(0, "No page was found that answers this question.")
        text = " ".join(reasons)
        return Answer(text, abstained=True, model_id=self._model.model_id)


def _narrowed(scope: Filter | None, further: FurtherSearch) -> Filter:
    narrowed = inside(scope, [further.document_id])
    if not further.page_numbers:
        return narrowed
    return Filter(must=(narrowed, Condition("page_number", "$in", further.page_numbers)))


def _ms_since(start: float) -> float:
    return (time.perf_counter() - start) * 1000
