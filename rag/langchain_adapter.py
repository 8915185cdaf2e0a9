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
from typing import Any

from pydantic import SecretStr

from rag.chat.heard import Heard
from rag.chat.images import encoded
from rag.chat.reading import MAX_REPLY_BYTES
from rag.deadline import Deadline
from rag.errors import ConfigError, InputError, ModelFailed, RagError
from rag.ports import ChatMessage, ChatReply
from rag.server_failures import asked_wait_s, one_line
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
                f"{_without(one_line(str(error)), key)}",
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
        profile = getattr(self._model, "profile", None)
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
        runnable = _shaped(_limited(self._model, limit), json_schema)
        spoken = _spoken(messages)
        end = deadline or Deadline()
        for attempt in range(1, self._tries + 1):
            reply = _Reply(on_piece)
            try:
                for chunk in self._chunks(runnable, spoken, end):
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

    def _chunks(self, runnable: Any, spoken: list[Any], end: Deadline) -> Iterator[Any]:
        """What the model streams, heard by a thread that is left behind when time is over.

        A library of some provider can be neither woken nor stopped.
        """
        came: queue.Queue[tuple[str, Any]] = queue.Queue()
        is_over = threading.Event()

        def listen() -> None:
            try:
                for chunk in runnable.stream(spoken):
                    came.put(("chunk", chunk))
                    if is_over.is_set():
                        return
                came.put(("end", None))
            except Exception as error:  # noqa: BLE001  raised by whoever waits, as an error of ours
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
                        raise self._failure(value) from self._cause(value)
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

    def _cause(self, error: Exception) -> Exception | None:
        """The error as the cause of ours; None where its own words hold a key, for logs."""
        told = "".join(traceback.format_exception(error))
        return None if any(key and key in told for key in _keys_of(self._model)) else error

    def _failure(self, error: Exception) -> _Failed:
        """What a provider's library raised, as an error of ours; the key is in no message."""
        if isinstance(error, RagError):
            return _Failed(error)
        status = _status_of(error)
        said = _without(one_line(str(error)), *_keys_of(self._model))
        refused = status is not None and 400 <= status < 500 and status not in (408, 429)
        if "timeout" in type(error).__name__.lower():
            code, next_step = "chat_timeout", "Raise chat.timeout_s."
        elif refused:
            code, next_step = "chat_refused", "Check chat.model, and the key of the provider."
        else:
            code, next_step = "chat_unreachable", "Check that its server runs, then ask again."
        return _Failed(
            ModelFailed(
                f"the chat model {self._model_id} failed: {type(error).__name__}: {said}",
                code=code,
                next_step=next_step,
            ),
            is_worth_another_try=not refused,
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


class _Reply:
    """A reply put together from its chunks."""

    def __init__(self, on_piece: Callable[[str], None] | None) -> None:
        self._heard = Heard(on_piece)
        self._is_cut = False
        self._usage: dict[str, int] = {}
        self._asks_for_tools = False

    @property
    def has_begun(self) -> bool:
        return self._heard.has_begun

    def add(self, chunk: Any) -> None:
        """Raises ModelFailed `chat_bad_reply` where there is no end to it."""
        self._heard.hear(str(chunk.text))
        metadata = chunk.response_metadata
        reason = metadata.get("finish_reason") or metadata.get("stop_reason")
        self._is_cut |= (reason or metadata.get("done_reason")) in _CUT
        self._asks_for_tools |= bool(getattr(chunk, "tool_calls", None))
        if chunk.usage_metadata:
            self._count(chunk.usage_metadata)
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
        usage = TokenUsage(**self._usage) if self._usage else None
        return ChatReply(self._heard.text, is_cut=self._is_cut, usage=usage)

    def _count(self, told: Mapping[str, Any]) -> None:
        """Providers tell counts with the last chunk, or in parts that add up."""
        details = told.get("input_token_details") or {}
        for name, value in (
            ("prompt", told.get("input_tokens")),
            ("completion", told.get("output_tokens")),
            ("cached", details.get("cache_read")),
        ):
            self._usage[name] = self._usage.get(name, 0) + int(value or 0)


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


def _name_of(model: Any) -> str:
    for name in ("model_name", "model", "model_id"):
        if isinstance(found := getattr(model, name, None), str) and found:
            return found
    return type(model).__name__


def _status_of(error: Exception) -> int | None:
    for source in (error, getattr(error, "response", None)):
        for name in ("status_code", "status", "code", "http_status"):
            if isinstance(found := getattr(source, name, None), int):
                return found
    return None


def _retry_after(error: Exception) -> float | None:
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    return asked_wait_s(str(headers.get("retry-after", "")))


def _keys_of(model: Any) -> list[str]:
    """Secrets that the model holds."""
    names = getattr(type(model), "model_fields", {})
    values = [getattr(model, name, None) for name in names]
    return [value.get_secret_value() for value in values if isinstance(value, SecretStr)]


def _without(text: str, *keys: str) -> str:
    for key in keys:
        text = text.replace(key, "***") if key else text
    return text
