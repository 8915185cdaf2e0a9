"""The contract of chat models over those that need no model here; tests/model has the local one."""

import itertools
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import pytest
from chat_contract import IMAGE, LAWS, Chats
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_openai import ChatOpenAI
from pydantic import Field, SecretStr
from servers import ChatServer, Dripping, Reply, Request, Said, Served, chunk, serving

from rag.chat.openai import OpenAiChat
from rag.langchain_adapter import LangChainChat
from rag.ports import ChatModel, ChatReply
from rag.settings import ChatSettings
from rag.testing.fake_chat import Asked, FakeChat
from rag.types import TokenUsage

LONG_S = 30.0
TOP = {"Net": -0.1, " Net": -2.5, "No": -9999.0}
# What servers may tell that is no logarithm of a probability.
WILD = TOP | {"a": 0.5, "b": 1e-7, "c": math.nan, "d": -math.inf, "e": -(10**400), "f": 10**400}


def _within(pieces: Sequence[str], limit: int | None) -> tuple[Sequence[str], bool]:
    """So many of them, and whether that cuts the reply."""
    is_cut = limit is not None and limit < len(pieces)
    return pieces[:limit], is_cut


# --- the fake -----------------------------------------------------------------------------------
class FakeChats:
    counts = True

    def __init__(self) -> None:
        self._last: FakeChat | None = None

    def saying(self, *pieces: str) -> ChatModel:
        # What it is scripted to say are replies, which hold no thoughts.
        said = [*pieces][pieces.index("</think>") + 2 :] if "</think>" in pieces else [*pieces]

        def reply(asked: Asked) -> ChatReply:
            kept, is_cut = _within(said, asked.max_tokens)
            usage = TokenUsage(len(asked.text.split()), len(kept))
            top = TOP if asked.first_token else {}
            return ChatReply("".join(kept), top, is_cut=is_cut, usage=usage)

        return self._made(reply)

    def answering(self) -> ChatModel:
        return self._made(lambda asked: f"Of {asked.messages[-1].parts[0]}")

    def endless(self) -> ChatModel:
        return self._made(lambda _: "on and " * 10_000, piece_s=0.01)

    def silent(self) -> ChatModel:
        return self._made(lambda _: "late", piece_s=LONG_S)

    def refusing(self, key: str) -> ChatModel | None:
        return None

    def told(self) -> list[tuple[str, list[str]]]:
        return [
            (each.role, [part if isinstance(part, str) else IMAGE for part in each.parts])
            for each in self._last.asked[-1].messages
        ]

    @property
    def n_asked(self) -> int:
        return len(self._last.asked)

    def _made(self, replies: Any, **options: Any) -> FakeChat:
        self._last = FakeChat(replies, **options)
        return self._last


# --- over a socket ------------------------------------------------------------------------------
def _spoken(messages: list[dict[str, Any]]) -> list[tuple[str, list[str]]]:
    found = []
    for message in messages:
        content = message["content"]
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        found.append((message["role"], [part.get("text", IMAGE) for part in parts]))
    return found


class _Server:
    """A ChatServer that keeps the limit of a request and counts words for tokens."""

    def __init__(self, pieces: Callable[[str], Sequence[str]], **options: Any) -> None:
        self._pieces, self._options = pieces, options

    def __call__(self, request: Request) -> Reply:
        body = request.body
        if not isinstance(body, dict):
            return ChatServer(lambda _: "")(request)
        limit = body.get("max_tokens", body.get("max_completion_tokens"))
        said = [text for _, parts in _spoken(body["messages"]) for text in parts]
        kept, is_cut = _within(self._pieces(said[-1]), limit)
        usage = {"prompt_tokens": len(" ".join(said).split()), "completion_tokens": len(kept)}
        usage["total_tokens"] = sum(usage.values())
        reply = Said(kept, finish="length" if is_cut else "stop", usage=usage)
        return ChatServer(lambda _: reply, **self._options)(request)


class ServedChats:
    """Of a server here; a subclass says who asks it."""

    counts = True

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._served: Served | None = None

    def saying(self, *pieces: str) -> ChatModel:
        return self._asking(_Server(lambda _: pieces, top=WILD))

    def answering(self) -> ChatModel:
        return self._asking(_Server(lambda asked: ["Of ", asked]))

    def endless(self) -> ChatModel:
        pieces = itertools.chain.from_iterable(
            (chunk(delta={"content": "on "}), 0.01) for _ in range(3000)
        )
        headers = {"Content-Type": "text/event-stream"}
        return self._asking(lambda _: Dripping(headers=headers, parts=pieces))

    def silent(self) -> ChatModel:
        def stall(request: Request) -> Reply:
            kind = "text/event-stream" if request.body.get("stream") else "application/json"
            return Dripping(headers={"Content-Type": kind}, ending="stall")

        return self._asking(stall)

    def refusing(self, key: str) -> ChatModel | None:
        return self._asking(ChatServer(lambda _: "ok", key="another"), key=key)

    def told(self) -> list[tuple[str, list[str]]]:
        return _spoken(self._served.requests[-1].body["messages"])

    @property
    def n_asked(self) -> int:
        return len(self._served.requests)

    def _asking(self, answer: Callable[[Request], Reply], *, key: str = "none") -> ChatModel:
        self._served = self._stack.enter_context(serving(answer))
        chat = self._connected(self._served.url, key)
        self._stack.callback(chat.close)
        return chat

    def _connected(self, url: str, key: str) -> ChatModel:
        raise NotImplementedError


class OpenAiChats(ServedChats):
    def _connected(self, url: str, key: str) -> ChatModel:
        settings = ChatSettings(url=url, model="tiny-chat", retry_s=0, api_key=SecretStr(key))
        return OpenAiChat.connect(settings, environ={})


class LangChainOpenAiChats(ServedChats):
    def _connected(self, url: str, key: str) -> ChatModel:
        model = ChatOpenAI(
            model="tiny-chat",
            base_url=f"{url}/v1",
            api_key=key,
            max_retries=0,
            stream_usage=True,
            temperature=0,
        )
        return LangChainChat.of(model, ChatSettings(model="tiny-chat"))


# --- LangChain ----------------------------------------------------------------------------------
class Unauthorised(Exception):
    status_code = 401


class Scripted(BaseChatModel):
    """Streams what a function makes of the messages and the limit."""

    script: Any
    asked: list = Field(default_factory=list)
    max_tokens: int | None = None
    api_key: SecretStr | None = None

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        return ChatResult(generations=[ChatGeneration(message=AIMessage("unstreamed"))])

    def _stream(self, messages, stop=None, run_manager=None, **kwargs) -> Iterator:
        self.asked.append(messages)
        for said in self.script(messages, self.max_tokens):
            message = AIMessageChunk(said) if isinstance(said, str) else said
            yield ChatGenerationChunk(message=message)


class LangChainChats:
    counts = True

    def __init__(self, stack: ExitStack) -> None:
        self._left = threading.Event()  # nobody waits any more
        stack.callback(self._left.set)
        self._last: Scripted | None = None

    def saying(self, *pieces: str) -> ChatModel:
        def script(messages: list[Any], limit: int | None) -> Iterator[Any]:
            kept, is_cut = _within(pieces, limit)
            yield from kept
            n_prompt = sum(len(str(each.content).split()) for each in messages)
            yield AIMessageChunk(
                "",
                response_metadata={"finish_reason": "length" if is_cut else "stop"},
                usage_metadata={
                    "input_tokens": n_prompt,
                    "output_tokens": len(kept),
                    "total_tokens": n_prompt + len(kept),
                },
            )

        return self._made(script)

    def answering(self) -> ChatModel:
        return self._made(lambda messages, _: ["Of ", messages[-1].content])

    def endless(self) -> ChatModel:
        def script(*_: object) -> Iterator[str]:
            while not self._left.wait(0.01):
                yield "on "

        return self._made(script)

    def silent(self) -> ChatModel:
        def script(*_: object) -> Iterator[str]:
            self._left.wait(LONG_S)
            yield "late"

        return self._made(script)

    def refusing(self, key: str) -> ChatModel | None:
        def script(*_: object) -> list[str]:
            raise Unauthorised(f"no such key: {key}")

        return self._made(script, api_key=SecretStr(key))

    def told(self) -> list[tuple[str, list[str]]]:
        roles = {"system": "system", "human": "user", "ai": "assistant"}
        found = []
        for message in self._last.asked[-1]:
            content = message.content
            parts = [{"text": content}] if isinstance(content, str) else content
            found.append((roles[message.type], [part.get("text", IMAGE) for part in parts]))
        return found

    @property
    def n_asked(self) -> int:
        return len(self._last.asked)

    def _made(self, script: Any, **options: Any) -> ChatModel:
        self._last = Scripted(script=script, **options)
        return LangChainChat(self._last)


@pytest.fixture
def chats(request: pytest.FixtureRequest) -> Iterator[Chats]:
    with ExitStack() as stack:
        made = {
            "fake": FakeChats,
            "openai": lambda: OpenAiChats(stack),
            "langchain": lambda: LangChainChats(stack),
            "langchain_openai": lambda: LangChainOpenAiChats(stack),
        }
        yield made[request.param]()


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
@pytest.mark.parametrize(
    "chats", ["fake", "openai", "langchain", "langchain_openai"], indirect=True
)
def test_a_chat_model_keeps_the_contract(chats, law):
    law(chats)
