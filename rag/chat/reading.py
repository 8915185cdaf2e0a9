"""What a server of chat completions sent as a reply: one JSON object, or events that each bring a
piece. Somebody else wrote it: its shape is checked, and its size.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import chain

from rag.chat.events import EventReader
from rag.chat.heard import Heard
from rag.errors import ModelFailed
from rag.model_server import Arriving, Broken, ModelServer, Refused, TooLate
from rag.ports import ChatReply
from rag.types import Json, TokenUsage

MAX_REPLY_BYTES = 4_000_000
# Of a stream, in which a word of a few bytes comes in an event of a few hundred.
_MAX_STREAM_BYTES = 16 * MAX_REPLY_BYTES
# Once a reply is complete: for the count of its tokens, and for the end of the stream, after which
# the connection serves again.
_COUNT_WITHIN_S = 2.0
_END_WITHIN_S = 0.05
_ROUNDING = 1e-3  # a logarithm may be so far above 0
_BLANK = b"\xef\xbb\xbf \t\r\n"
# What a whole document begins with, be it JSON or a page in front of the server; no event does.
_WHOLE = (b"{", b"[", b"<")


class CompletionReader:
    """Reads the reply to one try of a request.

    Args:
        server: that it comes from.
        model: for messages.
        max_tokens: that the reply was allowed.
        on_piece: hears the text as it comes.
        sent: what the server was asked with, which no message repeats.
    """

    def __init__(
        self,
        server: ModelServer,
        *,
        model: str,
        max_tokens: int,
        on_piece: Callable[[str], None] | None = None,
        sent: Json | None = None,
    ) -> None:
        self._server = server
        self._model = model
        self._max_tokens = max_tokens
        self._sent = sent
        self._heard = Heard(on_piece)
        self._has_content = False
        self._asks_for_tools = False
        self._finish: str | None = None
        self._is_done = False
        self._usage: TokenUsage | None = None
        self._first_token: dict[str, float] = {}

    def whole(self, answer: Json) -> ChatReply:
        """Of a completion that came in one.

        Raises:
            ModelFailed: `chat_bad_reply`, it is none; `chat_refused`, the model declines.
        """
        choice = _choice(answer)
        message = None if choice is None else choice.get("message")
        if choice is None or not isinstance(message, dict):
            raise self._bad("with no reply in it")
        self._usage = _usage(answer.get("usage"))
        self._take(choice, message)
        return self._reply()

    def receive(self, arriving: Arriving) -> ChatReply:
        """Of a stream of events; of a whole completion, from a server that does not stream.

        Raises:
            Broken: it broke off before anything was handed on.
            ModelFailed: as `whole`; `chat_unreachable`, `chat_timeout`, it broke off later.
        """
        chunks = arriving.chunks(_MAX_STREAM_BYTES)
        beginning = b""
        while not (begun := beginning.lstrip(_BLANK)):
            chunk = next(chunks, None)
            if chunk is None:
                raise self._server.failures.broken("it answers with nothing")
            beginning = chunk
        if begun.startswith(_WHOLE):
            return self.whole(self._server.as_object(self._read(begun, chunks)))
        try:
            self._follow(chain([begun], chunks), arriving)
        except Broken as broken:
            raise self._final(broken) from broken.__cause__
        if self._is_done:
            # Nothing that happens now takes anything away from the reply.
            with suppress(Broken, ModelFailed):
                arriving.hurry(_END_WITHIN_S)
                for _ in chunks:
                    pass
        return self._reply()

    # --- a stream -------------------------------------------------------------------------------
    def _read(self, begun: bytes, chunks: Iterator[bytes]) -> bytes:
        read = bytearray(begun)
        for chunk in chunks:
            read += chunk
            if len(read) > MAX_REPLY_BYTES:
                raise self._server.failures.too_large(MAX_REPLY_BYTES)
        return bytes(read)

    def _follow(self, chunks: Iterator[bytes], arriving: Arriving) -> None:
        """Takes event after event until the reply is complete."""
        events = EventReader()
        is_hurried = False
        try:
            for chunk in chunks:
                for data in events.feed(chunk):
                    self._take_event(data)
                    if self._is_done:
                        return
                if max(events.n_pending_chars, self._heard.n_bytes) > MAX_REPLY_BYTES:
                    raise self._server.failures.too_large(MAX_REPLY_BYTES)
                if self._finish is not None and not is_hurried:
                    arriving.hurry(_COUNT_WITHIN_S)
                    is_hurried = True
        except (Broken, TooLate):
            if self._finish is None:
                raise
            return
        for data in events.end():
            if _is_json(data):  # half an event is the sign of a connection that broke
                self._take_event(data)
        if self._finish is None and not self._is_done:
            raise self._server.failures.broken("its reply breaks off")

    def _final(self, failure: Broken | Refused) -> Exception:
        """The failure as one after which nothing is asked again, where something was heard."""
        if not self._heard.has_begun:
            return failure
        error = failure.error if isinstance(failure, Broken) else failure
        return ModelFailed(error.message, code=error.code, next_step=error.next_step)

    def _take_event(self, data: str) -> None:
        if data.strip() == "[DONE]":
            self._is_done = True
            return
        try:
            event = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise self._bad("with a piece that is no JSON") from error
        if not isinstance(event, dict):
            raise self._bad("with a piece that is no JSON object")
        if event.get("error") or event.get("object") == "error":
            failure = self._server.failures.failure(_status(event), event, sent=self._sent)
            raise self._final(failure)
        self._usage = _usage(event.get("usage")) or self._usage
        choice = _choice(event)
        if choice is not None:
            delta = choice.get("delta")
            self._take(choice, delta if isinstance(delta, dict) else {})

    # --- a reply, in one or in pieces -----------------------------------------------------------
    def _take(self, choice: Json, message: Json) -> None:
        """`message` is the whole one, or the next piece of it."""
        refusal = message.get("refusal")
        if isinstance(refusal, str) and refusal:
            raise ModelFailed(
                f"the chat model {self._model} declines to reply",
                code="chat_refused",
                next_step="Ask in other words, or set another chat.model.",
            )
        if message.get("tool_calls") or message.get("function_call"):
            self._asks_for_tools = True
        finish = choice.get("finish_reason")
        if isinstance(finish, str) and finish:
            self._finish = finish
        if not self._first_token:
            self._first_token = _first_token(choice.get("logprobs"))
        content = message.get("content")
        if content is None:
            return
        if not isinstance(content, str):
            raise self._bad("with a reply that is no text")
        self._has_content = True
        self._heard.hear(content)

    def _reply(self) -> ChatReply:
        self._heard.end()
        text = self._heard.text
        if not text:
            if self._asks_for_tools:
                raise self._bad(
                    "with a model that asks for tools, and is given none",
                    "Turn tools off in the server, or set another chat.model.",
                )
            if self._finish == "length":
                raise self._bad(
                    f"without a word within {self._max_tokens} tokens",
                    "Raise chat.max_tokens: a model that thinks before it speaks needs more.",
                )
            if self._heard.is_thinking:
                raise self._bad(
                    "with thoughts and no reply", "Ask again, or set another chat.model."
                )
            if not self._has_content:
                raise self._bad("with a reply that is no text")
        return ChatReply(
            text, self._first_token, is_cut=self._finish == "length", usage=self._usage
        )

    def _bad(self, how: str, next_step: str = "") -> ModelFailed:
        return ModelFailed(
            f"the chat server {self._server.name} answers {how}",
            code="chat_bad_reply",
            next_step=next_step or "Check that chat.url is a server of chat completions.",
        )


def _choice(answer: Json) -> Json | None:
    """The first choice; None where there is none, as beside the count of tokens."""
    choices = answer.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    return choice if isinstance(choice, dict) else None


def _is_json(data: str) -> bool:
    if data.strip() == "[DONE]":
        return True
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True


def _status(event: Json) -> int:
    """As of HTTP, where the error in a stream names one; 500 where it does not."""
    error = event.get("error")
    told = (error if isinstance(error, dict) else event).get("code")
    if isinstance(told, str) and told.isdecimal():
        told = int(told)
    return told if isinstance(told, int) and 400 <= told < 600 else 500


def _usage(counted: object) -> TokenUsage | None:
    if not isinstance(counted, dict):
        return None
    prompt, completion = (
        _count(counted.get(f"{part}_tokens")) for part in ("prompt", "completion")
    )
    if prompt is None or completion is None:
        return None
    details = counted.get("prompt_tokens_details")
    cached = _count(details.get("cached_tokens")) if isinstance(details, dict) else None
    return TokenUsage(prompt, completion, cached or 0)


def _count(value: object) -> int | None:
    return value if type(value) is int and value >= 0 else None  # True is no number of tokens


def _first_token(logprobs: object) -> dict[str, float]:
    """Log probability by token, of those told for the first place; the likeliest of equal texts.

    What is none is left out; one that is above 0 by rounding is 0.
    """
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    first = content[0] if isinstance(content, list) and content else None
    told = first.get("top_logprobs") if isinstance(first, dict) else None
    found: dict[str, float] = {}
    for each in told if isinstance(told, list) else []:
        if not isinstance(each, dict):
            continue
        token, value = each.get("token"), each.get("logprob")
        if not isinstance(value, int | float) or isinstance(value, bool):
            continue
        # Compared before it is made a float, which an integer may be too long for.
        if isinstance(token, str) and -sys.float_info.max <= value < _ROUNDING:
            found[token] = max(min(float(value), 0.0), found.get(token, -math.inf))
    return found
