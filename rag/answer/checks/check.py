"""What holds a draft to the pages it was made from: no statement is shown as supported unless here.

Every answer, quoted or generated, goes through one `Checker`: claims in, checked claims out, and of
them an `Answer` (docs/adr/0029-checks-of-answers.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from rag.answer.checks.arithmetic import (
    COUNT_OF_SOURCES,
    Recomputed,
    comes_to,
    count_of,
    recompute,
    results_that_are,
)
from rag.answer.checks.citations import cite
from rag.answer.checks.page_figures import PageFigures, unsaid_in
from rag.answer.checks.plain_text import plain, plain_name
from rag.answer.checks.quote_match import QuotedPage
from rag.answer.checks.wording import (
    is_quoted,
    is_worded,
    says_in_order,
    tells_of_a_rise,
)
from rag.answer.draft import Draft, DraftClaim, Source
from rag.answer.figures.read import Figure, figures_in
from rag.deadline import Deadline
from rag.errors import BackendError, InputError
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
_SEEN = "(seen in the image)"
_SEEN_COUNTS = 0.5  # of a supported claim, in the confidence
_MOST_FIGURES = 60  # of a claim; a sentence that anyone would read has a few
_MOST_QUOTES = 300  # of an answer
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
    n_verified: int
    recomputed: Recomputed | None

    @property
    def state(self) -> ClaimState:
        return self.checked.claim.state


class Checker:
    """Checks the claims of one answer, in their order. Not thread-safe: one for each answer.

    Args:
        evidence: the pages shown.
        policy: what becomes of claims that do not stand.
        question: whose words a formula may use.
        deadline: looked at between claims, quotes and figures.
        is_ours: the drafts were read off the pages by rules of ours, and no chat model wrote them;
            only they may count their sources, and name what a formula says in their own words.
    """

    def __init__(
        self,
        evidence: Sequence[Evidence],
        *,
        policy: Policy,
        question: str = "",
        deadline: Deadline | None = None,
        is_ours: bool = False,
    ) -> None:
        self._pages = {page.number: page for page in evidence}
        self._figures = {page.number: PageFigures(page) for page in evidence}
        self._quotable = {page.number: QuotedPage(page.text) for page in evidence}
        self._languages: dict[int, str] = {}
        self._policy = policy
        self._question = question
        self._deadline = deadline or Deadline()
        self._is_ours = is_ours
        self._n_quotes = 0
        self._counted: dict[DraftClaim, _Counted] = {}
        self._citations: dict[tuple[object, ...], Citation] = {}

    def check(self, draft: DraftClaim) -> CheckedClaim:
        """The claim, held against its pages; the same claim again is not checked again.

        Raises:
            Cancelled: the deadline was.
            BackendError: `answer_timeout`, the time was over before all was checked.
        """
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

        Raises:
            Cancelled, BackendError: as `check`.
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
        return Answer(
            text=" ".join(map(_sentence, shown)),
            abstained=False,
            model_id=model_id,
            citations=self._cited_by(shown),
            unsupported=unsupported,
            confidence=self._confidence(claims) if confidence is None else confidence,
            short=self._short(plain(draft.short), claims),
            claims=tuple(each.claim for each in checked),
            support=support,
            prompt_hash=prompt_hash,
            usage=usage,
            notices=tuple(notices),
        )

    def _go_on(self) -> None:
        self._deadline.require_wanted()
        if self._deadline.is_over:
            raise BackendError(
                "the time for an answer was over before all that it says was checked",
                code="answer_timeout",
                next_step="Raise answer.deadline_s, or ask for less at a time.",
            )

    # --- a claim ----------------------------------------------------------------------------------
    def _count(self, draft: DraftClaim) -> _Counted:
        self._go_on()
        text = plain(draft.text)
        sources = self._sources(draft, text)
        reasons: list[str] = []
        figures = figures_in(text.split())
        calculation = recomputed = None
        is_seen = not sources.quoted
        if not text:
            reasons.append("It says nothing.")
        elif not sources.held:
            reasons.append(
                "No source of it holds." if draft.sources else "No page is cited for it."
            )
        elif len(figures) > _MOST_FIGURES:
            reasons.append(f"It has {len(figures)} figures; at most {_MOST_FIGURES} are checked.")
        else:
            recomputed, calculation, missing = self._calculation(draft, sources, reasons)
            missing += self._missing_figures(text, figures, sources, recomputed)
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
        n_verified = sum(citation.verified for _, citation in sources.held)
        n_held = len(sources.held)
        return _Counted(checked, len(draft.sources), n_held, n_verified, recomputed)

    def _sources(self, draft: DraftClaim, text: str) -> _Sources:
        found = _Sources()
        # A formula of ours names what it reads; a chat model's may name anything.
        formula = draft.formula if self._is_ours else ""
        statement = f"{text} {formula} {draft.expression}"
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
            self._go_on()
            self._n_quotes += 1
            if self._n_quotes > _MOST_QUOTES:
                found.dropped.append(f"{where}: at most {_MOST_QUOTES} quotes are looked for.")
                continue
            told = f'"{_shortened(plain(source.quote), _TOLD_CHARS)}"'
            citation = cite(
                page, source.quote, marker=0, near=source.near, page=self._quotable[page.number]
            )
            if citation is None:
                found.dropped.append(f"{where} does not say {told}.")
            elif not self._speaks_of(citation.quote, statement, page):
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
        formula = self._formula(draft, sources)
        if self._is_ours and draft.expression.strip() == COUNT_OF_SOURCES:
            counted = count_of(len({each for _, each in sources.held if each.verified}))
            return counted, Calculation(formula, COUNT_OF_SOURCES, counted.value), []
        try:
            recomputed = recompute(draft.expression)
        except InputError as error:
            reasons.append(f"Its arithmetic does not hold: {error.message}.")
            return None, None, []
        pages = self._cited(sources)
        figures = [each.figure for each in recomputed.operands if not each.is_constant]
        if not figures:
            reasons.append("Its arithmetic has no figure of a page.")
        missing: list[str] = []
        for figure in figures:
            self._go_on()
            if not any(page.has_operand(figure) for page in pages):
                missing.append(f"{figure.text} of its arithmetic stands on no page cited.")
        percents = [replace(figure, unit="%") for figure in figures]
        if all(any(page.has_operand(each) for page in pages) for each in percents):
            recomputed = recomputed.of_percents()
        expression = plain(draft.expression)
        return recomputed, Calculation(formula, expression, recomputed.value), missing

    def _formula(self, draft: DraftClaim, sources: _Sources) -> str:
        """What was calculated in words, where they are of the pages or the question."""
        formula, expression = plain(draft.formula), plain(draft.expression)
        if self._is_ours:
            return formula or expression
        quotes = [citation.quote for _, citation in sources.held]
        if not is_worded(formula, [self._question, expression, *quotes]):
            return ""
        pages = self._cited(sources)
        figures = figures_in(formula.split())
        known = {each.amount for each in figures_in(f"{self._question} {expression}".split())}
        is_shown = len(figures) <= _MOST_FIGURES and all(
            each.amount in known or any(page.has(each, "", scales=frozenset()) for page in pages)
            for each in figures
        )
        return formula if is_shown else ""

    def _missing_figures(
        self,
        text: str,
        figures: Sequence[Figure],
        sources: _Sources,
        recomputed: Recomputed | None,
    ) -> list[str]:
        """Figures of a claim that stand on no page cited and are no result, a sentence each."""
        if is_quoted(text, [plain(citation.quote) for _, citation in sources.held]):
            return []
        pages = self._cited(sources)
        scales = self._document_scales([*sources.quoted, *sources.seen])
        missing = []
        for figure in figures:
            self._go_on()
            is_result = (
                recomputed is not None
                and self._is_result(recomputed, figure, text, sorted(scales))
                and all(page.may_be_in(figure.unit) for page in pages)
            )
            if not is_result and not any(page.has(figure, text, scales=scales) for page in pages):
                missing.append(f"{figure.text} stands on no page cited.")
        missing += [f"{each} stands on no page cited." for each in unsaid_in(text, pages)]
        return list(dict.fromkeys(missing))

    def _is_result(
        self, recomputed: Recomputed, figure: Figure, text: str, scales: Sequence[float]
    ) -> bool:
        """Whether the arithmetic comes to the figure, and not down where the claim says up."""
        if not recomputed.operands:  # a count is of things
            return not figure.unit and figure.value == recomputed.value and figure.scale == 1
        results = results_that_are(recomputed, figure, scales=scales)
        if (figure.value or 0.0) >= 0 and tells_of_a_rise(text, figure):
            results = [step for step in results if step.amount >= 0]
        return bool(results)

    def _speaks_of(self, quote: str, statement: str, page: Evidence) -> bool:
        """Whether a quote and a statement have a content word or a figure in common.

        Words of two languages have none in common; that quote is held by its figures and its place.
        """
        if set(content_terms(statement)) & set(terms(quote)):
            return True
        amounts = {abs(each.amount) for each in figures_in(statement.split()) if each.amount}
        shown = [each for each in figures_in(quote.split()) if each.amount]
        if any(
            abs(each.amount or 0.0) in amounts or abs(each.value or 0.0) in amounts
            for each in shown
        ):
            return True
        if page.number not in self._languages:
            self._languages[page.number] = page_language(page.text.text)
        language = self._languages[page.number]
        return language != ENGLISH and language != question_language(statement)

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
        """What was verified: a quote found, a claim held; what was only seen is neither."""
        counted = [self._counted[claim] for claim in claims]
        n_offered = sum(each.n_offered for each in counted)
        n_verified = sum(each.n_verified for each in counted)
        n_supported = sum(each.state is ClaimState.SUPPORTED for each in counted)
        return Support(
            citation_precision=n_verified / n_offered if n_offered else 1.0,
            citation_recall=n_supported / len(counted) if counted else 1.0,
        )

    def _confidence(self, claims: Sequence[DraftClaim]) -> float:
        """Share of the sources that hold, times that of the claims; what was only seen is half."""
        counted = [self._counted[claim] for claim in claims]
        n_offered = sum(each.n_offered for each in counted)
        n_held = sum(each.n_held for each in counted)
        stand = {ClaimState.SUPPORTED: 1.0, ClaimState.VISUAL: _SEEN_COUNTS}
        n_standing = sum(stand.get(each.state, 0.0) for each in counted)
        return (n_held / n_offered if n_offered else 1.0) * n_standing / max(1, len(counted))

    def _short(self, short: str, claims: Sequence[DraftClaim]) -> str:
        """The short answer where one supported claim says it, or its arithmetic comes to it."""
        for claim in claims:
            counted = self._counted[claim]
            if counted.state is ClaimState.SUPPORTED and _says(counted, short):
                return short
        return ""


def _says(counted: _Counted, short: str) -> bool:
    text = counted.checked.claim.text
    if says_in_order(text, short):
        return True
    figures = figures_in(short.split())
    if len(figures) != 1:
        return False
    (figure,), words = figures, short.split()
    rest = " ".join([*words[: figure.start], *words[figure.end :]])
    if any(map(str.isalnum, rest)) and not says_in_order(text, rest):
        return False
    told = figures_in(text.split())
    # A question "in millions" is answered by the figure without its word of scale.
    bare = [*told, *(replace(each, scale=1.0) for each in told)]
    if any(_is_same(figure, each) for each in bare):
        return True
    if counted.recomputed is None:
        return False
    value = replace(counted.recomputed, steps=counted.recomputed.steps[-1:])
    return comes_to(value, figure, scales=[1.0, *(each.scale for each in told)])


def _is_same(first: Figure, second: Figure) -> bool:
    if first.value is None or second.value is None:
        return first.day is not None and (first.day, first.precision) == (
            second.day,
            second.precision,
        )
    return first.amount == second.amount and (not first.unit or first.unit == second.unit)


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
    seen = f" {_SEEN}" if claim.state is ClaimState.VISUAL else ""
    return f"{claim.text}{seen} {marks}".rstrip() + stop + flag
