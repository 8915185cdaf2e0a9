"""Answers written by a chat model from the pages shown, held to these pages like any other answer.

The model has no tools. What it says counts only as a draft: claims, each with the page and the
words that it says it stands on (docs/adr/0028-grounded-answers.md).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rag.answer.checks.check import Checker
from rag.answer.checks.plain_text import plain
from rag.answer.draft import Draft
from rag.answer.generated.listening import ReplyListener, presentable
from rag.answer.generated.own_words import own_words
from rag.answer.generated.prompt import answer_messages, load_prompt
from rag.answer.generated.reply import REPLY_SCHEMA, BadReply, parse_reply
from rag.chat.shown_text import shown
from rag.errors import BackendError, InputError, ModelFailed
from rag.ports import AnswerRequest, ChatModel, ChatReply, Evidence, Restarted, unheard
from rag.settings import AnswerSettings
from rag.types import Answer, Notice, TokenUsage

_PROMPT_VERSION = 1
_NO_PAGE = "There is no page to answer this question from."
_REPEATED = Notice(
    "rules_left_out",
    "The chat model repeated the rules it was given; this part of its answer was left out.",
)
_FIGURE = re.compile(r"\d+(?:[.,]\d+)*")


@dataclass(frozen=True)
class _Tried:
    """One reply: a draft, or why it is none."""

    draft: Draft | None
    fault: str
    is_cut: bool
    usage: TokenUsage | None
    has_told: bool  # of claims that may stand


class GeneratedAnswers:
    """AnswerModel over a chat model, which stays its owner's to close. Thread-safe.

    A reply that is no draft is asked for once more, within the same deadline.
    """

    def __init__(self, chat: ChatModel, settings: AnswerSettings) -> None:
        self._chat = chat
        self._settings = settings
        self._prompt = load_prompt("answer", _PROMPT_VERSION)
        self._own = own_words(self._prompt.parts["system"])

    @property
    def model_id(self) -> str:
        return self._chat.model_id

    @property
    def reads_images(self) -> bool:
        return self._chat.reads_images

    def answer(self, request: AnswerRequest) -> Answer:
        """As AnswerModel.

        Raises:
            BackendError: as ChatModel; `answer_bad_reply`, nothing usable was said in two tries;
                `answer_timeout`, there was no time for the second; `too_much_to_say`.
        """
        request.deadline.require_wanted()
        checker = self._checker(request)
        if not request.evidence:
            return self._of(checker, Draft(abstained=True, reason=_NO_PAGE), None, [])
        tried = self._tried(request, checker)
        usage, notices = tried.usage, list[Notice]()
        if tried.draft is None:
            self._require_time(request, tried)
            notices.append(
                Notice("answer_repaired", f"The chat model was asked again: {tried.fault}.")
            )
            checker = self._checker(request)
            part = "repair_cut" if tried.is_cut else "repair"
            values = {} if tried.is_cut else {"fault": tried.fault}
            tried = self._tried(request, checker, repair=self._prompt.filled(part, **values))
            usage = _summed(usage, tried.usage)
        if tried.draft is None:
            raise self._no_draft(tried)
        if self._repeats_rules(tried.draft):
            notices.append(_REPEATED)
        try:
            answer = self._of(checker, self._presentable(tried.draft, request), usage, notices)
        except BackendError:  # the time was over
            if tried.has_told and not request.deadline.is_cancelled:
                request.on_event(Restarted())
            raise
        if answer.abstained and tried.has_told:
            request.on_event(Restarted())  # of what was heard nothing stands
        return answer

    # --- asking ---------------------------------------------------------------------------------
    def _tried(self, request: AnswerRequest, checker: Checker, *, repair: str = "") -> _Tried:
        """One reply. Whatever was told of one that is no draft, or fails, is made void."""
        listener = ReplyListener(request.on_event, checker, self._own)
        reply: ChatReply | None = None
        draft: Draft | None = None
        fault = ""
        try:
            reply = self._complete(request, listener, repair)
            draft = parse_reply(reply.text)
        except BadReply as error:
            fault = str(error)
        except BackendError:
            if listener.has_told and not request.deadline.is_cancelled:
                request.on_event(Restarted())
            raise
        has_told = listener.has_told
        if has_told and (draft is None or draft.abstained):
            request.on_event(Restarted())
            has_told = False
        is_cut = reply is not None and reply.is_cut
        return _Tried(
            draft,
            "it was cut off at the limit of tokens" if is_cut else fault,
            is_cut,
            None if reply is None else reply.usage,
            has_told,
        )

    def _complete(self, request: AnswerRequest, listener: ReplyListener, repair: str) -> ChatReply:
        try:
            return self._chat.complete(
                answer_messages(
                    self._prompt,
                    request.question,
                    request.evidence,
                    with_images=self._chat.reads_images,
                    repair=repair,
                ),
                max_tokens=self._settings.max_tokens,
                json_schema=REPLY_SCHEMA,
                on_piece=None if request.on_event is unheard else listener.hear,
                deadline=request.deadline,
            )
        except InputError as error:  # the pages are not what the user handed in
            raise ModelFailed(
                error.message,
                code=error.code,
                next_step="Lower answer.answer_pages, answer.image_pages or answer.image_px.",
            ) from error

    def _require_time(self, request: AnswerRequest, tried: _Tried) -> None:
        request.deadline.require_wanted()
        if request.deadline.remaining_s == 0:
            raise BackendError(
                f"the chat model {self.model_id} gave no usable answer ({tried.fault}), and the "
                "time for an answer was over before it could be asked again",
                code="answer_timeout",
                next_step="Raise answer.deadline_s, or set a faster chat.model.",
            )

    def _no_draft(self, tried: _Tried) -> ModelFailed:
        if tried.is_cut:
            return ModelFailed(
                f"the chat model {self.model_id} was cut off at {self._settings.max_tokens} tokens "
                "before its answer was whole, twice",
                code="answer_bad_reply",
                next_step="Raise answer.max_tokens, or ask for less at a time.",
            )
        return ModelFailed(
            f"the chat model {self.model_id} gave no usable answer, twice: {tried.fault}",
            code="answer_bad_reply",
            next_step="Ask in other words, or set a chat.model that keeps to a JSON schema.",
        )

    # --- answering ------------------------------------------------------------------------------
    def _checker(self, request: AnswerRequest) -> Checker:
        return Checker(
            request.evidence,
            policy=self._settings.policy,
            question=request.question,
            deadline=request.deadline,
        )

    def _of(
        self, checker: Checker, draft: Draft, usage: TokenUsage | None, notices: Sequence[Notice]
    ) -> Answer:
        return checker.answer_of(
            draft,
            model_id=self.model_id,
            prompt_hash=self._prompt.hash,
            usage=usage,
            notices=notices,
        )

    def _repeats_rules(self, draft: Draft) -> bool:
        said = (draft.reason, draft.short)
        return any(map(self._own.are_in, said)) or any(map(self._own.are_in_claim, draft.claims))

    def _presentable(self, draft: Draft, request: AnswerRequest) -> Draft:
        """The draft in plain text and without the rules.

        A reason has no sources: only an abstention shows one, and only without figures that stand
        neither on a page nor in the question.
        """
        claims = (presentable(claim, self._own) for claim in draft.claims)
        reason = "" if draft.claims or self._own.are_in(draft.reason) else plain(draft.reason)
        known = set(_FIGURE.findall(request.question))
        known.update(figure for each in request.evidence for figure in _figures_shown(each))
        if not known.issuperset(_FIGURE.findall(reason)):
            reason = ""
        return replace(
            draft,
            claims=tuple(claim for claim in claims if claim is not None),
            reason=reason,
            short="" if self._own.are_in(draft.short) else plain(draft.short),
        )


def _figures_shown(evidence: Evidence) -> list[str]:
    """On the page, and the number and name it was shown under."""
    hit = evidence.hit
    said = f"{evidence.text.text} {hit.source} {hit.ref.page_number} {evidence.number}"
    return _FIGURE.findall(shown(said))


def _summed(one: TokenUsage | None, other: TokenUsage | None) -> TokenUsage | None:
    """What both took; None where neither was counted."""
    if one is None or other is None:
        return one or other
    return TokenUsage(
        one.prompt + other.prompt, one.completion + other.completion, one.cached + other.cached
    )
