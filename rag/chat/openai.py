"""ChatModel over any server that speaks OpenAI's `/chat/completions`: vLLM, llama.cpp, Ollama, a
gateway, OpenAI. What one of them does not know is left out after it has said so.

Source: platform.openai.com, "Create chat completion"; docs.vllm.ai, "OpenAI-Compatible Server".
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlsplit

from pydantic import SecretStr

from rag.chat.images import data_url
from rag.chat.reading import MAX_REPLY_BYTES, CompletionReader
from rag.deadline import Deadline
from rag.errors import ConfigError, InputError
from rag.model_server import ModelServer, Refused, ServerKind, checked_address
from rag.ports import ChatMessage, ChatReply
from rag.settings import ChatSettings
from rag.types import Json

_log = logging.getLogger(__name__)

# Servers of models take about so many; OpenAI's take 50 MB in all.
MAX_IMAGES = 50
MAX_REQUEST_CHARS = 40_000_000
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
    too_late="Raise answer.deadline_s, or choose a faster chat.model.",
)
# Parts of a request that not every server takes, by the words in which they are complained about.
# What is named more closely comes first: "stream" is a word of many complaints.
_OPTIONAL = {
    "stream_options": re.compile("stream.?options|include_usage"),
    "response_format": re.compile("response_format|json_schema|structured output|guided"),
    "logprobs": re.compile("logprob"),
    "stream": re.compile(r"\bstream(ing|ed)?\b"),
}


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
            tries=settings.tries,
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
            Cancelled: the deadline was cancelled.
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
        if on_piece is not None:
            optional["stream"] = True
            optional["stream_options"] = {"include_usage": True}
        limit = self._max_tokens if max_tokens is None else max_tokens
        while True:
            sent = self._sent(body, optional, limit)
            try:
                return self._asked(sent, limit, on_piece, deadline)
            except Refused as error:
                if not self._can_do_without(error, sent):
                    raise

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
    def _sent(self, body: Json, optional: Json, limit: int) -> Json:
        """The request, without what the server has said that it does not take."""
        sent = body | {self._length_name: limit}
        sent |= {name: value for name, value in optional.items() if name not in self._not_taken}
        if "logprobs" in sent:
            sent["top_logprobs"] = _TOP_LOGPROBS
        if "stream" not in sent:
            sent.pop("stream_options", None)
        return sent

    def _asked(
        self,
        sent: Json,
        limit: int,
        on_piece: Callable[[str], None] | None,
        deadline: Deadline | None,
    ) -> ChatReply:
        def reader() -> CompletionReader:
            return CompletionReader(
                self._server,
                model=self._model,
                max_tokens=limit,
                on_piece=on_piece,
                sent=sent,
            )

        path = "/chat/completions"
        if "stream" not in sent:
            return reader().whole(self._server.post(path, sent, deadline=deadline))
        return self._server.post_stream(
            path, sent, lambda arriving: reader().receive(arriving), deadline=deadline
        )

    def _can_do_without(self, error: Refused, sent: Json) -> bool:
        """Whether what the server complains of is something that can be left out or renamed."""
        said = error.said.lower()
        if error.status not in (400, 422):
            return False
        if "max_tokens" in sent and "max_completion_tokens" in said:
            self._length_name = "max_completion_tokens"
            return True
        for name, words in _OPTIONAL.items():
            if name in sent and words.search(said):
                _log.info("the chat server %s takes no %s", self._server.name, name)
                self._not_taken.add(name)
                return True
        return False


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
