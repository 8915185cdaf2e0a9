"""What holds a draft to the pages it was made from: no statement is shown as supported unless here.

Every answer, quoted or generated, goes through one `Checker`: claims in, checked claims out, and of
them an `Answer` (docs/adr/0029-checks-of-answers.md).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from rag.answer.checks.arithmetic import (
    COUNT_OF_SOURCES,
    Recomputed,
    comes_to,
    count_of,
    recompute,
)
from rag.answer.checks.citations import cite
from rag.answer.checks.page_figures import PageFigures
from rag.answer.checks.plain_text import plain, plain_name
from rag.answer.draft import Draft, DraftClaim, Source
from rag.answer.figures.read import Figure, figures_in
from rag.errors import InputError
from rag.language.detection import ENGLISH, page_language, question_language
from rag.ports import Evidence
from rag.scoring.lexical import content_terms, terms
from rag.types import (
    Answer,
    Calculation,
    Citation,
    Claim,
    ClaimState,
    Notice,
    Support,
    TokenUsage,
)

Policy = Literal["strict", "flag"]

_NOTHING_STANDS = "Nothing of the answer could be found on the pages shown."
_NO_ANSWER = "The documents do not answer this question."
_MARK = "[unsupported]"
_TOLD_CHARS = 160  # of a quote that is not found; a model may have made up a page of it
_REASON_CHARS = 400


@dataclass(frozen=True)
class CheckedClaim:
    """A claim with what was found of it.

    Attributes:
        claim: its markers point to `citations` and to those made for claims before.
        citations: made for this claim, in the order of their markers; none for a claim that is
            left out.
        dropped: sources that did not hold, a sentence each.
    """

    claim: Claim
    citations: tuple[Citation, ...]
    dropped: tuple[str, ...]


@dataclass
class _Sources:
    """What of a claim's sources holds.

    Attributes:
        held: citations, their markers still 0, and whether an image was seen.
        quoted: pages whose words are quoted.
        seen: pages that were seen and not read.
        dropped: why others do not hold.
    """

    held: list[tuple[Source, Citation]] = field(default_factory=list)
    quoted: list[Evidence] = field(default_factory=list)
    seen: list[Evidence] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Counted:
    checked: CheckedClaim
    n_offered: int
    n_held: int
    recomputed: Recomputed | None


class Checker:
    """Checks the claims of one answer, in their order. Not thread-safe: one for each answer."""

    def __init__(self, evidence: Sequence[Evidence], *, policy: Policy) -> None:
        self._pages = {page.number: page for page in evidence}
        self._figures = {page.number: PageFigures(page) for page in evidence}
        self._policy = policy
        self._counted: dict[DraftClaim, _Counted] = {}
        self._citations: dict[tuple[object, ...], Citation] = {}

    def check(self, draft: DraftClaim) -> CheckedClaim:
        """The claim, held against its pages; the same claim again is not checked again."""
        if draft not in self._counted:
            self._counted[draft] = self._count(draft)
        return self._counted[draft].checked

    def answer_of(
        self,
        draft: Draft,
        *,
        model_id: str,
        confidence: float | None = None,
        prompt_hash: str = "",
        usage: TokenUsage | None = None,
        notices: Sequence[Notice] = (),
    ) -> Answer:
        """The answer a draft comes to; claims checked before are not checked again.

        Args:
            draft: what the model said.
            model_id: of the model.
            confidence: 0 to 1; None takes how far the answer is supported.
            prompt_hash: of the prompt's files.
            usage: tokens, where they were counted.
            notices: what the reader should know.
        """
        claims = () if draft.abstained else tuple(dict.fromkeys(draft.claims))
        checked = [self.check(claim) for claim in claims]
        support = self._support(claims)
        shown = [each.claim for each in checked if self._is_shown(each.claim)]
        standing = [claim for claim in shown if claim.state is not ClaimState.UNSUPPORTED]
        unsupported = tuple(dict.fromkeys(line for each in checked for line in _not_held(each)))
        if not standing:
            reason = _shortened(plain(draft.reason), _REASON_CHARS)
            return Answer(
                text=reason or (_NOTHING_STANDS if claims else _NO_ANSWER),
                abstained=True,
                model_id=model_id,
                unsupported=unsupported,
                claims=tuple(replace(each.claim, markers=()) for each in checked),
                support=support if claims else None,
                prompt_hash=prompt_hash,
                usage=usage,
                notices=tuple(notices),
            )
        held = support.citation_precision * support.citation_recall
        return Answer(
            text=" ".join(map(_sentence, shown)),
            abstained=False,
            model_id=model_id,
            citations=self._cited_by(shown),
            unsupported=unsupported,
            confidence=held if confidence is None else confidence,
            short=self._short(plain(draft.short), claims),
            claims=tuple(each.claim for each in checked),
            support=support,
            prompt_hash=prompt_hash,
            usage=usage,
            notices=tuple(notices),
        )

    # --- a claim ----------------------------------------------------------------------------------
    def _count(self, draft: DraftClaim) -> _Counted:
        text = plain(draft.text)
        sources = self._sources(draft, text)
        reasons: list[str] = []
        calculation = recomputed = None
        is_seen = not sources.quoted
        if not text:
            reasons.append("It says nothing.")
        elif not sources.held:
            reasons.append(
                "No source of it holds." if draft.sources else "No page is cited for it."
            )
        else:
            recomputed, calculation, missing = self._calculation(draft, sources, reasons)
            missing += self._missing_figures(text, sources, recomputed)
            # Words cannot tell what a chart shows, so what they lack may have been seen there.
            is_seen = is_seen or (bool(missing) and bool(sources.seen))
            if missing and not sources.seen:
                reasons += missing
        state = ClaimState.VISUAL if is_seen else ClaimState.SUPPORTED
        claim = Claim(
            text,
            ClaimState.UNSUPPORTED if reasons else state,
            reasons=tuple(reasons),
            calculation=calculation,
        )
        new: list[Citation] = []
        if self._is_shown(claim):
            markers = {self._marker(source, citation, new) for source, citation in sources.held}
            claim = replace(claim, markers=tuple(sorted(markers)))
        checked = CheckedClaim(claim, tuple(new), tuple(sources.dropped))
        return _Counted(checked, len(draft.sources), len(sources.held), recomputed)

    def _sources(self, draft: DraftClaim, text: str) -> _Sources:
        found = _Sources()
        for source in draft.sources:
            page = self._pages.get(source.evidence)
            if page is None:
                found.dropped.append(f"Evidence [{source.evidence}] was not shown.")
                continue
            hit = page.hit
            where = f"Page {hit.ref.page_number} of {plain_name(hit.source)}"
            if not source.quote.strip():
                if page.image is None:
                    found.dropped.append(
                        f"{where} was not shown as an image, and no quote is given."
                    )
                    continue
                seen = Citation(0, hit.ref, hit.source, "", (), verified=False, is_visual=True)
                found.held.append((source, seen))
                found.seen.append(page)
                continue
            told = f'"{_shortened(plain(source.quote), _TOLD_CHARS)}"'
            citation = cite(page, source.quote, marker=0, near=source.near)
            if citation is None:
                found.dropped.append(f"{where} does not say {told}.")
            elif not _speaks_of(citation.quote, f"{text} {draft.formula} {draft.expression}", page):
                found.dropped.append(f"{where} says {told}, but the quote does not speak of it.")
            else:
                found.held.append((source, citation))
                found.quoted.append(page)
        return found

    def _calculation(
        self, draft: DraftClaim, sources: _Sources, reasons: list[str]
    ) -> tuple[Recomputed | None, Calculation | None, list[str]]:
        """The arithmetic done again, and its operands that stand on no page cited."""
        if not draft.expression.strip():
            return None, None, []
        if draft.expression.strip() == COUNT_OF_SOURCES:
            counted = count_of(len({each for _, each in sources.held if each.verified}))
            formula = plain(draft.formula) or COUNT_OF_SOURCES
            return counted, Calculation(formula, COUNT_OF_SOURCES, counted.value), []
        try:
            recomputed = recompute(draft.expression)
        except InputError as error:
            reasons.append(f"Its arithmetic does not hold: {error.message}.")
            return None, None, []
        pages = self._cited(sources)
        missing = [
            f"{operand.text} of its arithmetic stands on no page cited."
            for operand in recomputed.operands
            if not operand.is_constant
            and not any(page.has_operand(operand.figure) for page in pages)
        ]
        expression = plain(draft.expression)
        formula = plain(draft.formula) or expression
        return recomputed, Calculation(formula, expression, recomputed.value), missing

    def _missing_figures(
        self, text: str, sources: _Sources, recomputed: Recomputed | None
    ) -> list[str]:
        """Figures of a claim that stand on no page cited and are no result, a sentence each."""
        if _is_quoted(text, [citation.quote for _, citation in sources.held]):
            return []
        pages = self._cited(sources)
        scales = self._document_scales([*sources.quoted, *sources.seen])
        missing = []
        for figure in figures_in(text.split()):
            is_result = (
                recomputed is not None
                and comes_to(recomputed, figure, scales=sorted(scales))
                and all(page.may_be_in(figure.unit) for page in pages)
            )
            if not is_result and not any(page.has(figure, text, scales=scales) for page in pages):
                missing.append(f"{figure.text} stands on no page cited.")
        return list(dict.fromkeys(missing))

    def _cited(self, sources: _Sources) -> list[PageFigures]:
        numbers = dict.fromkeys(page.number for page in [*sources.quoted, *sources.seen])
        return [self._figures[number] for number in numbers]

    def _document_scales(self, cited: Iterable[Evidence]) -> frozenset[float]:
        """What the pages shown of the cited documents say that figures are in.

        A table that runs over says so on its first page alone.
        """
        documents = {page.hit.ref.document_id for page in cited}
        return frozenset(
            scale
            for page in self._pages.values()
            if page.hit.ref.document_id in documents
            for scale in self._figures[page.number].scales
        )

    # --- markers and shares -----------------------------------------------------------------------
    def _marker(self, source: Source, citation: Citation, new: list[Citation]) -> int:
        """The same words of the same page have one marker."""
        key = (source.evidence, citation.quote, citation.boxes)
        if key not in self._citations:
            self._citations[key] = replace(citation, marker=len(self._citations) + 1)
            new.append(self._citations[key])
        return self._citations[key].marker

    def _is_shown(self, claim: Claim) -> bool:
        if not claim.text:
            return False
        return self._policy == "flag" or claim.state is not ClaimState.UNSUPPORTED

    def _cited_by(self, claims: Sequence[Claim]) -> tuple[Citation, ...]:
        markers = {marker for claim in claims for marker in claim.markers}
        return tuple(each for each in self._citations.values() if each.marker in markers)

    def _support(self, claims: Sequence[DraftClaim]) -> Support:
        counted = [self._counted[claim] for claim in claims]
        n_offered = sum(each.n_offered for each in counted)
        n_held = sum(each.n_held for each in counted)
        n_standing = sum(each.checked.claim.state is not ClaimState.UNSUPPORTED for each in counted)
        return Support(
            citation_precision=n_held / n_offered if n_offered else 1.0,
            citation_recall=n_standing / len(counted) if counted else 1.0,
        )

    def _short(self, short: str, claims: Sequence[DraftClaim]) -> str:
        """The short answer where a claim that stands says it, or its arithmetic comes to it."""
        wanted = _folded(short)
        figures = figures_in(short.split())
        for claim in claims:
            counted = self._counted[claim]
            if not wanted or counted.checked.claim.state is ClaimState.UNSUPPORTED:
                continue
            text = counted.checked.claim.text
            if re.search(rf"(?<!\w)(?<!\d[.,]){re.escape(wanted)}(?!\w|[.,]\d)", _folded(text)):
                return short
            told = figures_in(text.split())
            if len(figures) != 1:
                continue
            # A question "in millions" is answered by the figure without its word of scale.
            bare = [*told, *(replace(each, scale=1.0) for each in told)]
            if any(_is_same(figures[0], each) for each in bare):
                return short
            scales = [1.0, *(each.scale for each in told)]
            if counted.recomputed and comes_to(counted.recomputed, figures[0], scales=scales):
                return short
        return ""


def _speaks_of(quote: str, statement: str, page: Evidence) -> bool:
    """Whether a quote and a statement have a content word or a figure in common.

    Words of two languages have none in common; that quote is held by its figures and its place.
    """
    if set(content_terms(statement)) & set(terms(quote)):
        return True
    amounts = {abs(each.amount) for each in figures_in(statement.split()) if each.amount}
    shown = [each for each in figures_in(quote.split()) if each.amount]
    if any(
        abs(each.amount or 0.0) in amounts or abs(each.value or 0.0) in amounts for each in shown
    ):
        return True
    language = page_language(page.text.text)
    return language != ENGLISH and language != question_language(statement)


def _is_quoted(text: str, quotes: Sequence[str]) -> bool:
    """Whether a claim is nothing but its quotes: the page's own words mean what they mean there."""
    rest = text
    for quote in sorted(map(plain, quotes), key=len, reverse=True):
        if quote:
            rest = rest.replace(quote, " ")
    return not any(map(str.isalnum, rest))


def _is_same(first: Figure, second: Figure) -> bool:
    if first.value is None or second.value is None:
        return first.day is not None and (first.day, first.precision) == (
            second.day,
            second.precision,
        )
    return first.amount == second.amount and (
        first.unit == second.unit or not first.unit or not second.unit
    )


def _folded(text: str) -> str:
    return " ".join(text.casefold().split()).strip(" .,;:!?\"'")


def _shortened(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    return text[:most].rsplit(" ", 1)[0] + " \u2026"


def _not_held(checked: CheckedClaim) -> list[str]:
    if checked.claim.state is ClaimState.UNSUPPORTED and checked.claim.text:
        return [checked.claim.text, *checked.dropped]
    return list(checked.dropped)


def _sentence(claim: Claim) -> str:
    """A claim with its markers; a full stop closes it where no mark of its own does."""
    marks = "".join(f"[{marker}]" for marker in claim.markers)
    stop = "" if claim.text.endswith((".", "!", "?")) else "."
    flag = f" {_MARK}" if claim.state is ClaimState.UNSUPPORTED else ""
    return f"{claim.text} {marks}".rstrip() + stop + flag
