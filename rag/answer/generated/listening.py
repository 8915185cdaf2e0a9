"""A reply told while it arrives: safe text at once, citations and claims once they are checked.

What is told here is what the answer will hold, in its order; a reply that turns out to be none
makes it void, which whoever asked the model has to say.
"""

from __future__ import annotations

from dataclasses import replace

from rag.answer.checks.check import Checker
from rag.answer.checks.plain_text import PlainTextStream, plain
from rag.answer.draft import DraftClaim
from rag.answer.generated.own_words import OwnWords, OwnWordsStream
from rag.answer.generated.reply_reader import ClaimText, ClaimTextEnds, ReplyReader
from rag.ports import Delta, OnAnswerEvent


def presentable(claim: DraftClaim, own: OwnWords) -> DraftClaim | None:
    """The claim in plain text; None where it says nothing, or repeats the rules."""
    text = plain(claim.text)
    if not text or own.are_in_claim(claim):
        return None
    return replace(claim, text=text, formula=plain(claim.formula))


class ReplyListener:
    """Hears one reply.

    Attributes:
        has_told: whether anything went out.
    """

    def __init__(self, on_event: OnAnswerEvent, checker: Checker, own: OwnWords) -> None:
        self.has_told = False
        self._on_event = on_event
        self._checker = checker
        self._own = own
        self._reader = ReplyReader()
        self._told = set[DraftClaim]()  # each once, as it counts
        self._begin_claim()

    def hear(self, piece: str) -> None:
        """Tells what the piece brings.

        Raises:
            BadReply: the reply cannot become a draft, so that nobody need wait for the rest of it.
        """
        for event in self._reader.feed(piece):
            match event:
                case ClaimText():
                    self._tell(self._guard.feed(self._plain.feed(event.text)))
                case ClaimTextEnds():
                    self._tell(self._guard.feed(self._plain.close()) + self._guard.close())
                case DraftClaim():
                    self._tell_claim(event)
                    self._begin_claim()
        if self._reader.fault is not None:
            raise self._reader.fault

    def _begin_claim(self) -> None:
        self._plain = PlainTextStream()
        self._guard = OwnWordsStream(self._own)
        self._between = " " if self.has_told else ""

    def _tell(self, text: str) -> None:
        if text:
            self.has_told = True
            self._on_event(Delta(self._between + text))
            self._between = ""

    def _tell_claim(self, draft: DraftClaim) -> None:
        claim = presentable(draft, self._own)
        if claim is None or claim in self._told:
            return
        self._told.add(claim)
        checked = self._checker.check(claim)
        self.has_told = True
        for citation in checked.citations:
            self._on_event(citation)
        self._on_event(checked.claim)
