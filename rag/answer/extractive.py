"""The embedded answer model: it answers in the words of the pages, and in no others."""

from __future__ import annotations

from collections.abc import Sequence

from rag.answer.citations import cite
from rag.ports import EncodedQuery, Evidence
from rag.scoring.lexical import content_terms, terms
from rag.settings import AnswerSettings
from rag.types import Answer, Citation

_QUOTES = 2


class ExtractiveAnswers:
    """AnswerModel that quotes the lines of the evidence that speak most to the question."""

    model_id: str = "extractive"

    def __init__(self, settings: AnswerSettings) -> None:
        self._settings = settings

    def answer(self, question: str, query: EncodedQuery, evidence: Sequence[Evidence]) -> Answer:
        wanted = set(content_terms(question))
        scored: list[tuple[float, int, int]] = []
        for index, page in enumerate(evidence):
            for start, end in page.text.line_spans:
                held = wanted & set(terms(page.text.span_text(start, end)))
                if held:
                    scored.append((-len(held) / len(wanted) + 0.02 * index, index, start))
        scored.sort()
        confidence = max(0.0, min(1.0, -scored[0][0])) if scored else 0.0
        has_vectors = len(query.tokens) > 0
        if not scored or not has_vectors or confidence < self._settings.min_confidence:
            return self._abstention(evidence, confidence)
        citations: list[Citation] = []
        for _, index, start in scored[:_QUOTES]:
            page = evidence[index]
            end = next(end for first, end in page.text.line_spans if first == start)
            citation = cite(
                page, page.text.span_text(start, end), marker=len(citations) + 1, near=start
            )
            if citation is not None:
                citations.append(citation)
        return Answer(
            text=" ".join(f"{citation.quote} [{citation.marker}]" for citation in citations),
            abstained=False,
            model_id=self.model_id,
            citations=tuple(citations),
            confidence=confidence,
        )

    def _abstention(self, evidence: Sequence[Evidence], confidence: float) -> Answer:
        text = "The documents do not answer this question."
        if evidence:
            nearest = evidence[0].hit
            text += f" The nearest page is page {nearest.ref.page_number} of {nearest.source}."
        return Answer(text, abstained=True, model_id=self.model_id, confidence=confidence)
