"""A question in, an answer with citations out: search, read the pages found, answer from them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rag.filters import Filter
from rag.ports import AnswerModel, AnswerRequest, Evidence
from rag.ranking.legs import Mode
from rag.repository import CollectionReader
from rag.retrieve import Retriever, SearchRequest, SearchResult
from rag.settings import AnswerSettings
from rag.types import Answer, Notice, PageField, StageReport
from rag.wording.dialogue import Turn

# Notices of a search that say why it hands on no page.
_LEAVE_NO_PAGE = frozenset({"not_relevant", "route_none"})


@dataclass(frozen=True)
class AskResult:
    answer: Answer
    search: SearchResult
    stages: tuple[StageReport, ...]
    warnings: tuple[Notice, ...] = ()


class Asker:
    """Answers from one collection. Thread-safe where the answer model is."""

    def __init__(self, retriever: Retriever, model: AnswerModel, settings: AnswerSettings) -> None:
        self._retriever = retriever
        self._model = model
        self._settings = settings

    def ask(
        self,
        reader: CollectionReader,
        question: str,
        *,
        mode: Mode = Mode.HYBRID,
        scope: Filter | None = None,
        history: tuple[Turn, ...] = (),
    ) -> AskResult:
        """Answer from the best pages in scope, or abstain; no model is asked where there are none.

        Raises:
            InputError: a question without words.
        """
        request = SearchRequest(
            question, self._settings.answer_pages, mode=mode, scope=scope, history=history
        )
        found = self._retriever.search(reader, request)
        if not found.hits:
            return AskResult(self._nothing_found(found), found, found.stages)
        start = time.perf_counter()
        evidence, without = self._evidence(reader, found)
        answer = self._model.answer(AnswerRequest(found.question, found.query, evidence))
        answered = StageReport("answer", len(found.hits), (time.perf_counter() - start) * 1000)
        return AskResult(answer, found, (*found.stages, answered), _degraded(evidence, without))

    def _nothing_found(self, found: SearchResult) -> Answer:
        """An abstention that says why there is nothing to answer from."""
        reasons = [each.message for each in found.warnings if each.code in _LEAVE_NO_PAGE]
        is_searched = all(each.code != "route_none" for each in found.warnings)
        if is_searched or not reasons:
            reasons.insert(0, "No page was found that answers this question.")
        text = " ".join(reasons)
        return Answer(text, abstained=True, model_id=self._model.model_id)

    def _evidence(
        self, reader: CollectionReader, found: SearchResult
    ) -> tuple[list[Evidence], int]:
        """The pages found, and how many have words that none of their vectors stands for."""
        vectors = reader.vectors(found.record_ids, PageField.PATCHES)
        stored = reader.stored_pages([hit.ref for hit in found.hits])
        nothing = np.zeros((0, found.query.tokens.dim), np.float32)
        evidence: list[Evidence] = []
        without = 0
        for number, (hit, record_id) in enumerate(
            zip(found.hits, found.record_ids, strict=True), start=1
        ):
            words = stored[hit.ref].vector_words if record_id in vectors else None
            without += record_id in vectors and words is None and len(stored[hit.ref].text) > 0
            evidence.append(
                Evidence(
                    number=number,
                    hit=hit,
                    text=stored[hit.ref].text,
                    vectors=nothing if words is None else words.spread(vectors[record_id]),
                    vector_words=np.zeros(0, np.int32) if words is None else words.words,
                )
            )
        return evidence, without


def _degraded(evidence: Sequence[Evidence], without: int) -> tuple[Notice, ...]:
    """What the reader of the answer should know, where pages have vectors of places alone."""
    if not without:
        return ()
    return (
        Notice(
            "no_word_vectors",
            f"{without} of the {len(evidence)} pages read have vectors of places, not of words; "
            "answers on them are found by the words of the question alone",
        ),
    )
