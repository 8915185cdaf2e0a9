"""The embedded answer model: it answers in the words of the pages, and in no others."""

from __future__ import annotations

from collections.abc import Sequence

from rag.answer.citations import cite
from rag.answer.confidence import confidence_of
from rag.answer.passages import PassageKind, Span, column_heads
from rag.answer.question import Question
from rag.answer.ranking import RankedPassage, rank_passages
from rag.ports import AnswerRequest, Evidence
from rag.settings import AnswerSettings
from rag.types import Answer, Citation

_PASSAGES = 3
_CLOSE = 0.12  # of score: passages this near to the best are shown as well
_SAME_WORDS = 0.7  # of the shorter one: a passage that repeats another tells nothing new


class ExtractiveAnswers:
    """AnswerModel that quotes the one to three passages that speak most to the question.

    Every citation is held against its page; where the confidence is below
    `settings.min_confidence` the answer is an abstention.
    """

    model_id = "extractive"
    reads_images = False

    def __init__(self, settings: AnswerSettings) -> None:
        self._settings = settings

    def answer(self, request: AnswerRequest) -> Answer:
        asked, evidence = Question(request.question), request.evidence
        ranked = rank_passages(asked, request.query.tokens.vectors, evidence)
        confidence = confidence_of(asked, evidence)
        unsupported: tuple[str, ...] = ()
        if ranked and confidence >= self._settings.min_confidence:
            citations, unsupported = _citations(evidence, _chosen(ranked, evidence))
            if citations:
                return Answer(
                    text=" ".join(map(_sentence, citations)),
                    abstained=False,
                    model_id=self.model_id,
                    citations=citations,
                    unsupported=unsupported,
                    confidence=confidence,
                )
        return abstention(
            evidence,
            ranked,
            confidence=confidence,
            model_id=self.model_id,
            unsupported=unsupported,
        )


def abstention(
    evidence: Sequence[Evidence],
    ranked: Sequence[RankedPassage],
    *,
    confidence: float,
    model_id: str,
    unsupported: tuple[str, ...] = (),
) -> Answer:
    """Says that there is no answer, and names the nearest page without claiming anything of it."""
    text = "The documents do not answer this question."
    if evidence:
        nearest = evidence[ranked[0].page if ranked else 0].hit
        text += (
            f" The nearest page found is page {nearest.ref.page_number} of {nearest.source}; "
            "it may not be about this."
        )
    return Answer(
        text, abstained=True, model_id=model_id, unsupported=unsupported, confidence=confidence
    )


def _chosen(ranked: Sequence[RankedPassage], evidence: Sequence[Evidence]) -> list[RankedPassage]:
    """The best passages that do not repeat each other."""
    chosen: list[RankedPassage] = []
    shown: list[set[str]] = []
    for found in ranked:
        if len(chosen) == _PASSAGES or found.score < ranked[0].score - _CLOSE:
            break
        words = {
            word
            for start, end in found.passage.spans
            for word in evidence[found.page].text.words[start:end]
        }
        if all(
            len(words & before) <= _SAME_WORDS * min(len(words), len(before)) for before in shown
        ):
            chosen.append(found)
            shown.append(words)
    return chosen


def _citations(
    evidence: Sequence[Evidence], chosen: Sequence[RankedPassage]
) -> tuple[tuple[Citation, ...], tuple[str, ...]]:
    """The chosen passages as checked quotes, and the text of what is not found on its page."""
    citations: list[Citation] = []
    unsupported: list[str] = []
    tried: set[tuple[int, Span]] = set()
    for found in chosen:
        page = evidence[found.page]
        for span in _with_heads(page, found):
            if (found.page, span) in tried:
                continue
            tried.add((found.page, span))
            quote = page.text.span_text(*span)
            citation = cite(page, quote, marker=len(citations) + 1, near=span[0])
            if citation is None:
                unsupported.append(quote)
            else:
                citations.append(citation)
    return tuple(citations), tuple(unsupported)


def _with_heads(page: Evidence, found: RankedPassage) -> list[Span]:
    """The spans of a passage; a table row after the line that names its columns."""
    spans = list(found.passage.spans)
    if found.passage.kind is not PassageKind.ROW:
        return spans
    heads = column_heads(page.text, found.passage)
    if heads is None or heads in spans:
        return spans
    if len(spans) == 1 and heads[1] == spans[0][0]:
        return [(heads[0], spans[0][1])]
    return [heads, *spans]


def _sentence(citation: Citation) -> str:
    stop = "" if citation.quote.endswith((".", "!", "?")) else "."
    return f"{citation.quote} [{citation.marker}]{stop}"
