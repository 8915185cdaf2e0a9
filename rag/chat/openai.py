"""ChatModel over any server that speaks OpenAI's `/chat/completions`: vLLM, llama.cpp, Ollama, a
gateway, OpenAI. What one of them does not know is left out after it has said so.

Source: platform.openai.com, "Create chat completion"; docs.vllm.ai, "OpenAI-Compatible Server".
"""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlsplit

from pydantic import SecretStr

from rag.chat.images import data_url
from rag.deadline import Deadline
from rag.errors import ConfigError, InputError, ModelFailed
from rag.model_server import ModelServer, Refused, ServerKind, checked_address
from rag.ports import ChatMessage, ChatReply
from rag.settings import ChatSettings
from rag.types import Json

_log = logging.getLogger(__name__)

# Servers of models take about so many; OpenAI's take 50 MB in all.
MAX_IMAGES = 50
MAX_REQUEST_CHARS = 40_000_000
MAX_REPLY_BYTES = 4_000_000
# The most that OpenAI and vLLM tell of.
_TOP_LOGPROBS = 20
_PATIENCE_S = 2.0  # for the list of models, which somebody waits for

_CHAT = ServerKind(
    name="chat server",
    section="chat",
    prefix="chat",
    bad_answer="chat_bad_reply",
    for_status={
        404: "Check chat.url, which ends in /v1 for most servers, and chat.model.",
        413: "Show it fewer or smaller pages.",
    },
    otherwise="Check chat.model against what the server runs.",
    too_large="Check that chat.url is a chat server, and lower chat.max_tokens.",
)
# Parts of a request that not every server takes, by the words in which they are complained about.
_OPTIONAL = {
    "response_format": ("response_format", "json_schema", "structured output", "guided"),
    "logprobs": ("logprobs", "logprob"),
}
_THOUGHTS = re.compile(r"\A\s*<think>.*?</think>\s*", re.DOTALL)


class OpenAiChat:
    """One model of one server. Thread-safe; close it.

    One reply takes `retry_s` and one `timeout_s` at most, and the wait for its turn before.
    """

    def __init__(self, server: ModelServer, *, model: str, max_tokens: int) -> None:
        self._server = server
        self._model = model
        self._max_tokens = max_tokens
        self._not_taken: set[str] = set()  # of _OPTIONAL, for as long as this connection lasts
        self._length_name = "max_tokens"

    @classmethod
    def connect(
        cls, settings: ChatSettings, environ: Mapping[str, str] | None = None
    ) -> OpenAiChat:
        """Nothing is asked of the server before the first `complete`.

        Args:
            settings: `model` names the model, and `url` the server.
            environ: for OPENAI_BASE_URL and OPENAI_API_KEY, where settings say nothing; the
                process's own by default.

        Raises:
            ConfigError: no model, no address, or one that cannot be asked.
        """
        shared = os.environ if environ is None else environ
        if not settings.model:
            raise ConfigError(
                "the chat model has no name",
                next_step="Set chat.model to a name the server of chat.url knows.",
            )
        url = settings.url or shared.get("OPENAI_BASE_URL")
        if not url:
            raise ConfigError(
                f"the chat model {settings.model} has no server",
                next_step="Set chat.url, like http://127.0.0.1:8000/v1, or OPENAI_BASE_URL.",
            )
        key = settings.api_key
        if key is None and shared.get("OPENAI_API_KEY"):
            key = SecretStr(shared["OPENAI_API_KEY"])
        base = checked_address(url, _CHAT)
        server = ModelServer(
            base if urlsplit(base).path else f"{base}/v1",
            kind=_CHAT,
            max_answer_bytes=MAX_REPLY_BYTES,
            api_key=key,
            timeout_s=settings.timeout_s,
            retry_s=settings.retry_s,
            requests=settings.requests,
        )
        return cls(server, model=settings.model, max_tokens=settings.max_tokens)

    def __repr__(self) -> str:
        return f"OpenAiChat({self._model!r} at {self._server.name!r})"

    @property
    def model_id(self) -> str:
        return self._model

    @property
    def reads_images(self) -> bool:
        return True

    @property
    def server_name(self) -> str:
        """Host and port, for people."""
        return self._server.name

    def close(self) -> None:
        """Replies under way are given up."""
        self._server.close()

    def complete(
        self,
        messages: Sequence[ChatMessage],
        *,
        max_tokens: int | None = None,
        json_schema: Json | None = None,
        first_token: bool = False,
        on_piece: Callable[[str], None] | None = None,
        deadline: Deadline | None = None,
    ) -> ChatReply:
        """As ChatModel.

        Raises:
            InputError: `too_much_to_say`, more images or bytes than servers take.
            ModelFailed: `chat_unreachable`, `chat_timeout`, `chat_refused`; `chat_bad_reply`, what
                came is no reply.
        """
        body: Json = {
            "model": self._model,
            "messages": _spoken(messages),
            "temperature": 0,
        }
        optional: Json = {}
        if json_schema is not None:
            shape = {"name": "reply", "schema": json_schema, "strict": True}
            optional["response_format"] = {"type": "json_schema", "json_schema": shape}
        if first_token:
            optional["logprobs"] = True
        limit = self._max_tokens if max_tokens is None else max_tokens
        if deadline is not None:
            deadline.require_wanted()
        reply = self._reply(self._asked(body, optional, limit), limit)
        if on_piece is not None:
            on_piece(reply.text)
        return reply

    def models(self) -> list[str]:
        """Names of the models the server says it has; empty where it keeps no list.

        Raises:
            ModelFailed: as `complete`.
        """
        try:
            listed = self._server.get("/models", retry_s=_PATIENCE_S).get("data")
        except Refused as error:
            if error.status not in (404, 405):
                raise
            return []
        models = listed if isinstance(listed, list) else []
        names = (each.get("id") for each in models if isinstance(each, dict))
        return [name for name in names if isinstance(name, str)]

    # --- asking ---------------------------------------------------------------------------------
    def _asked(self, body: Json, optional: Json, limit: int) -> Json:
        while True:
            sent = body | {self._length_name: limit}
            sent |= {name: value for name, value in optional.items() if name not in self._not_taken}
            if "logprobs" in sent:
                sent["top_logprobs"] = _TOP_LOGPROBS
            try:
                return self._server.post("/chat/completions", sent)
            except Refused as error:
                if not self._can_do_without(error, sent):
                    raise

    def _can_do_without(self, error: Refused, sent: Json) -> bool:
        """Whether what the server complains of is something that can be left out or renamed."""
        said = error.said.lower()
        if error.status not in (400, 422):
            return False
        if "max_tokens" in sent and "max_completion_tokens" in said:
            self._length_name = "max_completion_tokens"
            return True
        for name, words in _OPTIONAL.items():
            if name in sent and any(word in said for word in words):
                _log.info("the chat server %s takes no %s", self._server.name, name)
                self._not_taken.add(name)
                return True
        return False

    # --- what came ------------------------------------------------------------------------------
    def _reply(self, answer: Json, limit: int) -> ChatReply:
        choices = answer.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        message = choice.get("message") if isinstance(choice, dict) else None
        if not isinstance(choice, dict) or not isinstance(message, dict):
            raise self._bad("with no reply in it")
        refusal = message.get("refusal")
        if isinstance(refusal, str) and refusal:
            raise ModelFailed(
                f"the chat model {self._model} declines to reply",
                code="chat_refused",
                next_step="Ask in other words, or set another chat.model.",
            )
        content = message.get("content")
        if not content and choice.get("finish_reason") == "length":
            raise self._bad(
                f"without a word within {limit} tokens",
                "Raise chat.max_tokens: a model that thinks before it speaks needs more.",
            )
        if not isinstance(content, str):
            raise self._bad("with a reply that is no text")
        # Half a surrogate pair cannot be written to any file later.
        text = content.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return ChatReply(_THOUGHTS.sub("", text), _first_token(choice.get("logprobs")))

    def _bad(self, how: str, next_step: str = "") -> ModelFailed:
        return ModelFailed(
            f"the chat server {self._server.name} answers {how}",
            code="chat_bad_reply",
            next_step=next_step or "Check that chat.url is a server of chat completions.",
        )


def _spoken(messages: Sequence[ChatMessage]) -> list[Json]:
    """Messages as the server takes them; a lone text as such, which every server understands.

    Raises:
        InputError: `too_much_to_say`.
    """
    n_images = sum(not isinstance(part, str) for each in messages for part in each.parts)
    if n_images > MAX_IMAGES:
        raise _too_much(f"{n_images} images, at most {MAX_IMAGES}")
    spoken: list[Json] = []
    n_chars = 0
    for message in messages:
        content: list[Json] = []
        for part in message.parts:
            said = part if isinstance(part, str) else data_url(part)
            n_chars += len(said)
            if n_chars > MAX_REQUEST_CHARS:
                raise _too_much(f"more than {MAX_REQUEST_CHARS / 1e6:g} million characters")
            content.append(
                {"type": "text", "text": said}
                if isinstance(part, str)
                else {"type": "image_url", "image_url": {"url": said}}
            )
        is_plain = len(content) == 1 and "text" in content[0]
        spoken.append(
            {"role": message.role, "content": content[0]["text"] if is_plain else content}
        )
    return spoken


def _too_much(what: str) -> InputError:
    return InputError(
        f"a chat model is to be shown {what}",
        code="too_much_to_say",
        next_step="Show it fewer pages at a time.",
    )


def _first_token(logprobs: object) -> dict[str, float]:
    """Log probability by token, of those told for the first place; the likeliest of equal texts."""
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
        if isinstance(token, str) and math.isfinite(value):
            found[token] = max(float(value), found.get(token, -math.inf))
    return found
