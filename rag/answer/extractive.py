"""The embedded answer model: it answers in the words of the pages, and in no others."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from rag.answer.asked_figures.formula import amounts_of
from rag.answer.asked_figures.measures import known_measure
from rag.answer.asked_figures.names import name_words
from rag.answer.asked_figures.needed import document_of, needs_cover, searches_for
from rag.answer.asked_figures.propose import figure_proposal
from rag.answer.asked_figures.wanted import wanted_of as figure_wanted
from rag.answer.asked_figures.whose import names_several
from rag.answer.asked_lists.propose import list_proposal
from rag.answer.checks.check import Checker
from rag.answer.checks.plain_text import plain_name
from rag.answer.confidence import confidence_of
from rag.answer.draft import Draft, DraftClaim, Proposal, Source
from rag.answer.figures.words import CURRENCIES
from rag.answer.holding import has_content, trust_in_quotes
from rag.answer.orders import gives_orders
from rag.answer.passages import PassageKind, Span, column_heads
from rag.answer.question import Question
from rag.answer.ranking import RankedPassage, rank_passages
from rag.answer.short.propose import short_proposal
from rag.answer.short.wanted import Kind, asks_of_cover
from rag.answer.short.wanted import wanted_of as read_kind
from rag.ports import AnswerRequest, Delta, Evidence, FurtherSearch
from rag.settings import AnswerSettings
from rag.types import Answer, PageHit

_PASSAGES = 3
_CLOSE = 0.12  # of score: passages this near to the best are shown as well
_SAME_WORDS = 0.7  # of the shorter one: a passage that repeats another tells nothing new


class ExtractiveAnswers:
    """AnswerModel that says what the pages say: a figure of their tables or one that follows from
    them, a short answer in its sentence, or the passages that speak most to the question. Tables
    are read on every page given, passages on the best `settings.answer_pages`.

    All of it goes through the checks; where the confidence is below `settings.min_confidence` the
    answer is an abstention that names the nearest page.
    """

    model_id = "extractive"
    reads_images = False

    def __init__(self, settings: AnswerSettings) -> None:
        self._settings = settings

    def further_searches(self, question: str, hits: Sequence[PageHit]) -> list[FurtherSearch]:
        """As SearchesFurther: the statements that the figure asked for follows from, the cover
        where no file is called after whom it is of, and the pages that the question means, where
        all that was found is of one document.
        """
        document_id = document_of(question, hits)
        if document_id is None:
            return []
        wanted = [FurtherSearch(text, document_id) for text in searches_for(question)]
        is_one = all(hit.ref.document_id == document_id for hit in hits)
        meant = _pages_meant(Question(question)) if is_one else ()
        if needs_cover(question, hits):
            meant = tuple(dict.fromkeys((1, *meant)))
        if meant:
            wanted.append(FurtherSearch(question, document_id, meant))
        return wanted

    def answer(self, request: AnswerRequest) -> Answer:
        request.deadline.require_wanted()
        asked = Question(request.question)
        # Numbers go by rank; the order is that in which pages are shown, and some are shown twice.
        by_number = {page.number: page for page in request.evidence}
        pages = [by_number[number] for number in sorted(by_number)]
        # A number that names something is none to be looked up in tables and written anew.
        is_code = read_kind(asked).kind is Kind.CODE
        is_none = not has_content(asked)
        proposal = None if is_code or is_none else _surer(asked, pages)
        evidence = self._evidence(asked, pages)
        ranked = [
            each
            for each in rank_passages(asked, request.query.tokens.vectors, evidence)
            if not _gives_orders(each, evidence)
        ]
        if proposal is None or proposal.confidence < self._settings.min_confidence:
            proposal = self._read(asked, ranked, evidence)
        request.deadline.require_wanted()
        if proposal.confidence >= self._settings.min_confidence:
            answer = _checked(request, proposal)
            if not answer.abstained:
                return answer
            return _abstention(evidence, ranked, proposal.confidence, answer.unsupported)
        return _abstention(evidence, ranked, proposal.confidence)

    def _evidence(self, asked: Question, evidence: Sequence[Evidence]) -> list[Evidence]:
        """What passages are read of: the best pages, and those that the question means."""
        best = self._settings.answer_pages
        is_one = len({page.hit.ref.document_id for page in evidence}) == 1
        meant = _pages_meant(asked) if is_one else ()
        return [
            page
            for place, page in enumerate(evidence)
            if place < best or page.hit.ref.page_number in meant
        ]

    def _read(
        self, asked: Question, ranked: Sequence[RankedPassage], evidence: Sequence[Evidence]
    ) -> Proposal:
        """What is read in the words of the pages, as sure as the pages speak of what is asked."""
        if not has_content(asked) or _wants_a_figure(asked) or names_several(asked.text, evidence):
            return Proposal(Draft(), 0.0)
        found = short_proposal(asked, ranked, evidence)
        is_short = found is not None and not any(
            gives_orders(claim.text) for claim in found.draft.claims
        )
        if found is None or not is_short:
            draft = _quoted(_chosen(ranked, evidence), evidence)
            found = Proposal(draft, confidence_of(asked, evidence) if ranked else 0.0)
        if found.draft.short in CURRENCIES:
            found = replace(found, draft=_with_amount(found.draft))
        sure = trust_in_quotes(asked, found.draft, evidence, is_short=is_short)
        return replace(found, confidence=found.confidence * sure)


def _with_amount(draft: Draft) -> Draft:
    """A currency is no answer: with the amount that follows it."""
    amount = rf"{re.escape(draft.short)}\s*\d[\d.,]*\d(?:\s(?:thousand|million|billion)\b)?"
    found = [re.search(amount, claim.text) for claim in draft.claims]
    return replace(draft, short=next((each[0] for each in found if each), draft.short))


def _gives_orders(found: RankedPassage, evidence: Sequence[Evidence]) -> bool:
    text = evidence[found.page].text
    return any(gives_orders(text.span_text(*span)) for span in found.passage.spans)


def _pages_meant(asked: Question) -> tuple[int, ...]:
    """Pages that the question names by number, or the cover, where a cover would tell."""
    return asked.page_numbers or ((1,) if asks_of_cover(asked) else ())


def _surer(asked: Question, evidence: Sequence[Evidence]) -> Proposal | None:
    """A figure looked up or calculated, or what is compared and counted of what a page lists."""
    found = (figure_proposal(asked, evidence), list_proposal(asked, evidence))
    return max(filter(None, found), key=lambda each: each.confidence, default=None)


def _wants_a_figure(asked: Question) -> bool:
    """Whether nothing but a figure will do, of a stated time: one that statements state, or written
    as the question says. What stands near it is of another time or another measure.
    """
    wanted = figure_wanted(asked.text)
    if wanted is None or not wanted.periods:
        return False
    is_stated = all(known_measure(name_words(each.name)) for each in amounts_of(wanted.formula))
    return is_stated or wanted.writing.scale is not None or wanted.writing.decimals is not None


def _checked(request: AnswerRequest, proposal: Proposal) -> Answer:
    """The answer the checks leave of a proposal, told claim by claim."""
    checker = Checker(request.evidence, policy="strict", is_ours=True)
    has_told = False
    for claim in proposal.draft.claims:
        checked = checker.check(claim)
        if not checked.claim.markers:
            continue
        request.on_event(Delta(f"{' ' if has_told else ''}{checked.claim.text}"))
        has_told = True
        for citation in checked.citations:
            request.on_event(citation)
        request.on_event(checked.claim)
    return checker.answer_of(
        proposal.draft, model_id=ExtractiveAnswers.model_id, confidence=proposal.confidence
    )


def _abstention(
    evidence: Sequence[Evidence],
    ranked: Sequence[RankedPassage],
    confidence: float,
    unsupported: tuple[str, ...] = (),
) -> Answer:
    """Says that there is no answer, and names the nearest page without claiming anything of it."""
    text = "The documents do not answer this question."
    if evidence:
        nearest = evidence[ranked[0].page if ranked else 0].hit
        text += (
            f" The nearest page found is page {nearest.ref.page_number} of "
            f"{plain_name(nearest.source)}; it may not be about this."
        )
    return Answer(
        text,
        abstained=True,
        model_id=ExtractiveAnswers.model_id,
        unsupported=unsupported,
        confidence=confidence,
    )


# --- passages -----------------------------------------------------------------------------------
def _chosen(ranked: Sequence[RankedPassage], evidence: Sequence[Evidence]) -> list[RankedPassage]:
    """The best passages of the best one's page that do not repeat each other."""
    chosen: list[RankedPassage] = []
    shown: list[set[str]] = []
    for found in ranked:
        if len(chosen) == _PASSAGES or found.score < ranked[0].score - _CLOSE:
            break
        if found.page != ranked[0].page:
            continue
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


def _quoted(chosen: Sequence[RankedPassage], evidence: Sequence[Evidence]) -> Draft:
    """The chosen passages, a claim for each part that is quoted."""
    claims: dict[tuple[int, Span], DraftClaim] = {}
    for found in chosen:
        page = evidence[found.page]
        for span in _with_heads(page, found):
            quote = page.text.span_text(*span)
            source = Source(page.number, quote, span[0])
            claims.setdefault((found.page, span), DraftClaim(quote, (source,)))
    return Draft(tuple(claims.values()))


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
