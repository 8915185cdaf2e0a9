"""Chat models of LangChain as ChatModel: the one file that imports `langchain_core`.

A model of any provider speaks through its own package of LangChain; what providers call
differently is looked up in the model, and what one of them does not offer is left out.

Source: python.langchain.com, "Chat models" and "Standard content blocks" (LangChain 1).
"""

from __future__ import annotations

import base64
import importlib
import queue
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr

from rag.chat.heard import Heard
from rag.chat.images import encoded
from rag.chat.reading import MAX_REPLY_BYTES
from rag.deadline import Deadline
from rag.errors import ConfigError, InputError, ModelFailed, RagError
from rag.ports import ChatMessage, ChatReply
from rag.server_failures import asked_wait_s, one_line, unechoed
from rag.settings import ChatSettings
from rag.types import Json, TokenUsage

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.25, 30.0
_CLOCK_S = 0.005  # a wait that ends with the deadline may end this much before it
# What providers call the limit of a reply.
_LIMITS = ("max_tokens", "max_output_tokens", "num_predict", "max_new_tokens")
_CUT = frozenset({"length", "max_tokens", "MAX_TOKENS"})


class LangChainChat:
    """ChatModel over a `BaseChatModel`, which stays its owner's. Thread-safe where that is.

    Args:
        model: any chat model of LangChain.
        model_id: for people; the model's own name by default.
        tries: of one reply, at most.
        timeout_s: of one try, between two pieces of it.
        max_tokens: of a reply, where its asker names no number.
    """

    def __init__(
        self,
        model: Any,
        *,
        model_id: str | None = None,
        tries: int = 3,
        timeout_s: float = 60.0,
        max_tokens: int | None = None,
    ) -> None:
        self._model = model
        self._model_id = model_id or _name_of(model)
        self._tries = tries
        self._timeout_s = timeout_s
        self._max_tokens = max_tokens

    @classmethod
    def connect(cls, settings: ChatSettings) -> LangChainChat:
        """The model of a provider that LangChain knows; nothing is asked of it yet.

        Raises:
            ConfigError: no model, no such provider, its package is missing, or it refuses the
                settings.
        """
        if not settings.model:
            raise ConfigError(
                f"the chat model of {settings.provider} has no name",
                next_step=f"Set chat.model to a name that {settings.provider} knows.",
            )
        options: dict[str, Any] = {
            "temperature": 0,
            "timeout": settings.timeout_s,
            "max_retries": 0,  # tries are counted here
        }
        if settings.api_key is not None:
            options["api_key"] = settings.api_key.get_secret_value()
        if settings.url is not None:
            options["base_url"] = settings.url
        key = options.get("api_key", "")
        try:
            initialise = importlib.import_module("langchain.chat_models").init_chat_model
            model = initialise(settings.model, model_provider=settings.provider, **options)
        except ImportError as error:
            raise ConfigError(
                f"the chat provider {settings.provider} wants packages that are not installed: "
                f"{one_line(str(error))}",
                next_step=f"Install them: pip install langchain langchain-"
                f"{settings.provider.replace('_', '-')}.",
            ) from error
        except Exception as error:  # each provider's package refuses settings in its own way
            raise ConfigError(
                f"the chat provider {settings.provider} cannot be used: "
                f"{_without(one_line(_words_of(error)), key)}",
                next_step="Check chat.provider, chat.model, chat.url and the provider's key.",
            ) from error
        return cls.of(model, settings, model_id=settings.model)

    @classmethod
    def of(
        cls, model: Any, settings: ChatSettings, *, model_id: str | None = None
    ) -> LangChainChat:
        """A model that is there, asked within the limits of the settings.

        Raises:
            InputError: it is no chat model of LangChain.
        """
        from langchain_core.language_models import BaseChatModel

        if not isinstance(model, BaseChatModel):
            raise InputError(
                f"a chat model of LangChain is wanted, got {type(model).__name__}",
                next_step="Give a BaseChatModel, as ChatOpenAI(...) of langchain_openai makes one.",
            )
        return cls(
            model,
            model_id=model_id,
            tries=settings.tries,
            timeout_s=settings.timeout_s,
            max_tokens=settings.max_tokens,
        )

    def __repr__(self) -> str:
        return f"LangChainChat({self._model_id!r})"

    @property
    def model_id(self) -> str:
        return self._model_id

    @property
    def reads_images(self) -> bool:
        """As the model's profile says; one without a profile may."""
        profile = _told(self._model, "profile")
        return bool(profile.get("image_inputs", True)) if isinstance(profile, Mapping) else True

    def close(self) -> None:
        """The model is its owner's."""

    def complete(
        self,
        messages: Sequence[ChatMessage],
        *,
        max_tokens: int | None = None,
        json_schema: Json | None = None,
        first_token: bool = False,  # noqa: ARG002  providers tell it in as many ways as there are
        on_piece: Callable[[str], None] | None = None,
        deadline: Deadline | None = None,
    ) -> ChatReply:
        """As ChatModel; `first_token` is empty.

        Raises:
            ModelFailed: `chat_unreachable`, `chat_timeout`, `chat_refused`, `chat_bad_reply`.
            Cancelled: the deadline was cancelled.
        """
        limit = self._max_tokens if max_tokens is None else max_tokens
        try:
            runnable = _shaped(_limited(self._model, limit), json_schema)
        except Exception as error:  # noqa: BLE001  providers refuse a limit in their own ways
            raise self._failure(error, messages).error from self._cause(error)
        end = deadline or Deadline()
        for attempt in range(1, self._tries + 1):
            reply = _Reply(on_piece)
            try:
                for chunk in self._chunks(runnable, messages, end):
                    reply.add(chunk)
                return reply.ended()
            except _Failed as failed:
                if attempt == self._tries or reply.has_begun or not failed.is_worth_another_try:
                    raise failed.error from failed.__cause__
                wait_s = failed.wait_s or _FIRST_WAIT_S * 2 ** (attempt - 1)
                if wait_s >= end.remaining_s:
                    raise failed.error from failed.__cause__
                end.wait(min(wait_s, _LONGEST_WAIT_S))
        raise AssertionError("the loop returns or raises")

    def _chunks(
        self, runnable: Any, messages: Sequence[ChatMessage], end: Deadline
    ) -> Iterator[_Chunk]:
        """What the model streams, heard by a thread that is left behind when time is over.

        A library of some provider can be neither woken nor stopped. Whatever of it runs, runs in
        that thread, and whatever it raises there fails the reply, and never whoever asked.
        """
        spoken = _spoken(messages)
        came: queue.Queue[tuple[str, Any]] = queue.Queue()
        is_over = threading.Event()

        def listen() -> None:
            try:
                for chunk in runnable.stream(spoken):
                    came.put(("chunk", _chunk(chunk)))
                    if is_over.is_set():
                        return
                came.put(("end", None))
            except BaseException as error:  # noqa: BLE001  raised by whoever waits, as one of ours
                came.put(("failed", error))

        self._require_time(end)
        threading.Thread(target=listen, name="octavo-langchain", daemon=True).start()
        wake = ("woken", None)
        try:
            with end.on_cancel(lambda: came.put(wake)):
                while True:
                    kind, value = self._next(came, end)
                    if kind == "chunk":
                        yield value
                    elif kind == "failed":
                        raise self._failure(value, messages) from self._cause(value)
                    elif kind == "end":
                        return
        finally:
            is_over.set()

    def _next(self, came: queue.Queue[tuple[str, Any]], end: Deadline) -> tuple[str, Any]:
        end.require_wanted()
        try:
            found = came.get(timeout=min(self._timeout_s, end.remaining_s))
        except queue.Empty as error:
            self._require_time(end)
            raise _Failed(
                ModelFailed(
                    f"the chat model {self._model_id} said nothing for {self._timeout_s:g} s",
                    code="chat_timeout",
                    next_step="Raise chat.timeout_s.",
                )
            ) from error
        self._require_time(end)  # what has come is there without a wait, however late it is
        return found

    def _require_time(self, end: Deadline) -> None:
        end.require_wanted()
        if end.remaining_s < _CLOCK_S:
            raise _Failed(
                ModelFailed(
                    f"the chat model {self._model_id} did not reply before the time for an answer "
                    "was over",
                    code="chat_timeout",
                    next_step="Raise answer.deadline_s.",
                )
            )

    def _cause(self, error: BaseException) -> BaseException | None:
        """The error as the cause of ours; None where its own words hold a key, for logs."""
        told = "".join(traceback.format_exception(error))
        return None if any(key and key in told for key in _keys_of(self._model)) else error

    def _failure(self, error: BaseException, messages: Sequence[ChatMessage]) -> _Failed:
        """What a provider's library raised, as an error of ours.

        Neither the key is in its message nor anything that was asked.
        """
        if isinstance(error, RagError):
            return _Failed(error)
        status = _status_of(error)
        asked = (part for each in messages for part in each.parts if isinstance(part, str))
        words = unechoed(_words_of(error), asked)
        said = one_line(_without(words, *_keys_of(self._model)))
        refused = status is not None and 400 <= status < 500 and status not in (408, 429)
        if "timeout" in type(error).__name__.lower():
            code, next_step = "chat_timeout", "Raise chat.timeout_s."
        elif refused:
            code, next_step = "chat_refused", "Check chat.model, and the key of the provider."
        else:
            code, next_step = "chat_unreachable", "Check that its server runs, then ask again."
        return _Failed(
            ModelFailed(
                f"the chat model {self._model_id} failed: {type(error).__name__}"
                + (f": {said}" if said else ""),
                code=code,
                next_step=next_step,
            ),
            is_worth_another_try=not refused and isinstance(error, Exception),
            wait_s=_retry_after(error),
        )


class _Failed(Exception):
    def __init__(
        self, error: RagError, *, is_worth_another_try: bool = False, wait_s: float | None = None
    ) -> None:
        super().__init__(error.message)
        self.error = error
        self.is_worth_another_try = is_worth_another_try
        self.wait_s = wait_s


@dataclass(frozen=True)
class _Chunk:
    """What a provider's chunk says.

    Attributes:
        counts: tokens by field of TokenUsage; None where the chunk counts none.
        miscounts: it counts in something that is no number of tokens.
    """

    text: str
    is_cut: bool
    asks_for_tools: bool
    counts: Mapping[str, int] | None
    miscounts: bool


def _chunk(chunk: Any) -> _Chunk:
    """Raises ModelFailed `chat_bad_reply` for what is no chunk of a chat model."""
    try:
        text, metadata = chunk.text, chunk.response_metadata
        told = metadata if isinstance(metadata, Mapping) else {}
        reasons = (told.get(name) for name in ("finish_reason", "stop_reason", "done_reason"))
        reason = next((each for each in reasons if isinstance(each, str) and each), None)
        usage = chunk.usage_metadata
        counts = _counts(usage) if usage else None
        if isinstance(text, str):
            return _Chunk(
                str(text),
                is_cut=reason in _CUT,
                asks_for_tools=bool(getattr(chunk, "tool_calls", None)),
                counts=counts,
                miscounts=bool(usage) and counts is None,
            )
    except Exception as error:  # noqa: BLE001  whatever a library has made of it
        what = type(error).__name__
    else:
        what = type(text).__name__
    raise ModelFailed(
        f"the chat model answers with something that is no piece of a reply ({what})",
        code="chat_bad_reply",
        next_step="Update the package of the provider, or set another chat.model.",
    )


def _counts(told: Any) -> dict[str, int] | None:
    """Tokens by field of TokenUsage; None where one is no number of tokens."""
    if not isinstance(told, Mapping):
        return None
    details = told.get("input_token_details")
    found = {
        "prompt": told.get("input_tokens"),
        "completion": told.get("output_tokens"),
        "cached": details.get("cache_read") if isinstance(details, Mapping) else None,
    }
    counted = {name: 0 if value is None else value for name, value in found.items()}
    if all(type(value) is int and value >= 0 for value in counted.values()):
        return counted
    return None


class _Reply:
    """A reply put together from its chunks."""

    def __init__(self, on_piece: Callable[[str], None] | None) -> None:
        self._heard = Heard(on_piece)
        self._is_cut = False
        self._usage: dict[str, int] = {}
        self._miscounts = False
        self._asks_for_tools = False

    @property
    def has_begun(self) -> bool:
        return self._heard.has_begun

    def add(self, chunk: _Chunk) -> None:
        """Raises ModelFailed `chat_bad_reply` where there is no end to it."""
        self._heard.hear(chunk.text)
        self._is_cut |= chunk.is_cut
        self._asks_for_tools |= chunk.asks_for_tools
        self._miscounts |= chunk.miscounts
        # Providers tell counts with the last chunk, or in parts that add up.
        for name, value in (chunk.counts or {}).items():
            self._usage[name] = self._usage.get(name, 0) + value
        if self._heard.n_bytes > MAX_REPLY_BYTES:
            raise ModelFailed(
                f"the chat model answers with more than {MAX_REPLY_BYTES / 1e6:g} MB",
                code="chat_bad_reply",
                next_step="Lower chat.max_tokens.",
            )

    def ended(self) -> ChatReply:
        """Raises ModelFailed `chat_bad_reply` for a reply of tools alone, or of nothing."""
        self._heard.end()
        if not self._heard.text.strip():
            raise ModelFailed(
                "the chat model asks for tools, and is given none"
                if self._asks_for_tools
                else "the chat model answers without a word",
                code="chat_bad_reply",
                next_step="Ask in other words, or set another chat.model.",
            )
        usage = TokenUsage(**self._usage) if self._usage and not self._miscounts else None
        return ChatReply(self._heard.text, is_cut=self._is_cut, usage=usage)


def _spoken(messages: Sequence[ChatMessage]) -> list[Any]:
    """Messages in LangChain's standard blocks."""
    from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

    kinds = {"system": SystemMessage, "user": HumanMessage, "assistant": AIMessage}
    spoken = []
    for message in messages:
        blocks: list[Any] = []
        for part in message.parts:
            if isinstance(part, str):
                blocks.append({"type": "text", "text": part})
                continue
            mime, content = encoded(part)
            text = base64.b64encode(content).decode()
            blocks.append({"type": "image", "base64": text, "mime_type": mime})
        is_plain = len(blocks) == 1 and blocks[0]["type"] == "text"
        spoken.append(kinds[message.role](content=blocks[0]["text"] if is_plain else blocks))
    return spoken


def _limited(model: Any, limit: int | None) -> Any:
    """The model with a limit of tokens, under whatever name its provider has for it."""
    fields = getattr(type(model), "model_fields", {})
    name = next((name for name in _LIMITS if name in fields), None)
    if name is None or limit is None:
        return model
    return model.model_copy(update={name: limit})


def _shaped(model: Any, schema: Json | None) -> Any:
    """The model held to a schema, where its provider can do that without calling a tool.

    `with_structured_output` is the model with the provider's own options bound, and a parser after
    it; the reply is wanted as it was written, so the parser is left away.
    """
    if schema is None:
        return model
    titled = {"title": "reply", "description": "The answer.", **schema}
    try:
        bound = model.with_structured_output(titled, method="json_schema", strict=True).first
    except Exception:  # noqa: BLE001  providers without it raise what they like; the prompt has the shape
        return model
    options = getattr(bound, "kwargs", {})
    return model if not options or options.get("tools") else bound


def _told(source: object, name: str) -> Any:
    """What somebody else's object has under a name; None where it has nothing or fails to say."""
    try:
        return getattr(source, name, None)
    except Exception:  # noqa: BLE001  a property may raise what it likes
        return None


def _words_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001  so may its text
        return ""


def _name_of(model: Any) -> str:
    for name in ("model_name", "model", "model_id"):
        if isinstance(found := _told(model, name), str) and found:
            return found
    return type(model).__name__


def _status_of(error: BaseException) -> int | None:
    for source in (error, _told(error, "response")):
        for name in ("status_code", "status", "code", "http_status"):
            if type(found := _told(source, name)) is int:
                return found
    return None


def _retry_after(error: BaseException) -> float | None:
    headers = _told(_told(error, "response"), "headers")
    asked = headers.get("retry-after") if isinstance(headers, Mapping) else None
    return asked_wait_s(asked) if isinstance(asked, str) else None


def _keys_of(model: Any) -> list[str]:
    """Secrets that the model holds."""
    names = getattr(type(model), "model_fields", {})
    values = [getattr(model, name, None) for name in names]
    return [value.get_secret_value() for value in values if isinstance(value, SecretStr)]


def _without(text: str, *keys: str) -> str:
    for key in keys:
        text = text.replace(key, "***") if key else text
    return text
