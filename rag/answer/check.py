"""What holds a draft to the pages it was made from: no statement is shown as supported unless here.

Every answer, quoted or generated, goes through one `Checker`: claims in, checked claims out, and of
them an `Answer` (docs/adr/0029-checks-of-answers.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rag.answer.citations import cite
from rag.answer.draft import Draft, DraftClaim, Source
from rag.ports import Evidence
from rag.types import Answer, Citation, Claim, ClaimState, Notice, Support, TokenUsage

Policy = Literal["strict", "flag"]

_NOTHING_STANDS = "Nothing of the answer could be found on the pages shown."
_NO_ANSWER = "The documents do not answer this question."
_MARK = "[unsupported]"


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


@dataclass(frozen=True)
class _Counted:
    checked: CheckedClaim
    n_offered: int
    n_verified: int


class Checker:
    """Checks the claims of one answer, in their order. Not thread-safe: one for each answer."""

    def __init__(self, evidence: Sequence[Evidence], *, policy: Policy) -> None:
        self._pages = {page.number: page for page in evidence}
        self._policy = policy
        self._counted: dict[DraftClaim, _Counted] = {}
        self._citations: dict[tuple[int, str, object], Citation] = {}

    def check(self, draft: DraftClaim) -> CheckedClaim:
        """The claim, its sources held against their pages; the same claim again is not new."""
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
        stands = any(claim.state is not ClaimState.UNSUPPORTED for claim in shown)
        unsupported = [line for each in checked for line in _did_not_hold(each)]
        text = " ".join(map(_sentence, shown))
        if not stands:
            text = draft.reason or (_NOTHING_STANDS if claims else _NO_ANSWER)
        held = support.citation_precision * support.citation_recall
        return Answer(
            text=text,
            abstained=not stands,
            model_id=model_id,
            citations=self._cited_by(shown) if stands else (),
            unsupported=tuple(dict.fromkeys(unsupported)),
            confidence=(held if confidence is None else confidence) if stands else 0.0,
            short=draft.short if stands else "",
            claims=tuple(each.claim for each in checked),
            support=support if claims else None,
            prompt_hash=prompt_hash,
            usage=usage,
            notices=tuple(notices),
        )

    def _count(self, draft: DraftClaim) -> _Counted:
        held: list[tuple[Source, Citation]] = []
        dropped: list[str] = []
        for source in draft.sources:
            page = self._pages.get(source.evidence)
            if page is None:
                dropped.append(f"evidence [{source.evidence}] was not shown")
                continue
            found = cite(page, source.quote, marker=0, near=source.near)
            if found is None:
                dropped.append(f'the page does not say "{source.quote}"')
            else:
                held.append((source, found))
        state = ClaimState.SUPPORTED if held else ClaimState.UNSUPPORTED
        reasons = () if held else ("No source of it was found.",)
        claim = Claim(draft.text, state, (), reasons)
        new: list[Citation] = []
        if self._is_shown(claim):
            markers = {self._marker(source, citation, new) for source, citation in held}
            claim = Claim(draft.text, state, tuple(sorted(markers)), reasons)
        checked = CheckedClaim(claim, tuple(new), tuple(dropped))
        return _Counted(checked, len(draft.sources), len(held))

    def _marker(self, source: Source, citation: Citation, new: list[Citation]) -> int:
        key = (source.evidence, citation.quote, citation.boxes)
        if key not in self._citations:
            made = Citation(
                len(self._citations) + 1,
                citation.ref,
                citation.source,
                citation.quote,
                citation.boxes,
                citation.verified,
                citation.is_visual,
            )
            self._citations[key] = made
            new.append(made)
        return self._citations[key].marker

    def _is_shown(self, claim: Claim) -> bool:
        return self._policy == "flag" or claim.state is not ClaimState.UNSUPPORTED

    def _cited_by(self, claims: Sequence[Claim]) -> tuple[Citation, ...]:
        markers = {marker for claim in claims for marker in claim.markers}
        return tuple(each for each in self._citations.values() if each.marker in markers)

    def _support(self, claims: Sequence[DraftClaim]) -> Support:
        counted = [self._counted[claim] for claim in claims]
        offered = sum(each.n_offered for each in counted)
        verified = sum(each.n_verified for each in counted)
        standing = sum(each.checked.claim.state is not ClaimState.UNSUPPORTED for each in counted)
        return Support(
            citation_precision=verified / offered if offered else 1.0,
            citation_recall=standing / len(counted) if counted else 1.0,
        )


def _did_not_hold(checked: CheckedClaim) -> list[str]:
    claim = checked.claim
    if claim.state is ClaimState.UNSUPPORTED:
        return [claim.text, *checked.dropped]
    return list(checked.dropped)


def _sentence(claim: Claim) -> str:
    """A claim with its markers; a full stop closes it where no mark of its own does."""
    marks = "".join(f"[{marker}]" for marker in claim.markers)
    stop = "" if claim.text.endswith((".", "!", "?")) else "."
    flag = f" {_MARK}" if claim.state is ClaimState.UNSUPPORTED else ""
    return f"{claim.text} {marks}".rstrip() + stop + flag
