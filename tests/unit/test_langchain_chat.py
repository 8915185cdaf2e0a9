"""Chat models of LangChain as ChatModel, over its own fakes and models written here."""

import threading
import time
from collections.abc import Iterator

import pytest
from langchain_core.language_models import BaseChatModel, FakeListChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from PIL import Image
from pydantic import Field, SecretStr

from rag.deadline import Cancelled, Deadline
from rag.errors import ConfigError, ModelFailed
from rag.langchain_adapter import LangChainChat, _chunk, _Reply
from rag.ports import ChatMessage
from rag.settings import ChatSettings
from rag.types import TokenUsage

QUESTION = [ChatMessage("system", ("Be brief.",)), ChatMessage("user", ("How much?",))]


class Unavailable(Exception):
    status_code = 503


class Unauthorised(Exception):
    status_code = 401


class Scripted(BaseChatModel):
    """Streams chunks, waits, or fails, a script for each try."""

    scripts: list = Field(default_factory=list)
    asked: list = Field(default_factory=list)
    max_tokens: int | None = None
    api_key: SecretStr | None = None

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        return ChatResult(generations=[ChatGeneration(message=AIMessage("unstreamed"))])

    def _stream(self, messages, stop=None, run_manager=None, **kwargs) -> Iterator:
        self.asked.append((messages, self.max_tokens))
        for said in self.scripts.pop(0):
            if isinstance(said, BaseException):
                raise said
            if isinstance(said, float):
                time.sleep(said)
                continue
            message = AIMessageChunk(said) if isinstance(said, str) else said
            yield ChatGenerationChunk(message=message)


def scripted(*scripts, **options):
    model = Scripted(scripts=list(scripts))
    return model, LangChainChat(model, **options)


def test_a_reply_comes_in_pieces_that_are_the_text():
    chat = LangChainChat(FakeListChatModel(responses=["It is 5."]))
    heard = []
    reply = chat.complete(QUESTION, on_piece=heard.append)
    assert reply.text == "".join(heard) == "It is 5."
    assert len(heard) > 1
    assert chat.complete(QUESTION).text == "It is 5."


def test_messages_keep_their_roles_and_images_go_as_standard_blocks():
    model, chat = scripted(["ok"])
    picture = Image.new("RGB", (3, 2), "red")
    chat.complete(
        [*QUESTION, ChatMessage("user", ("Look:", picture)), ChatMessage("assistant", ("a",))]
    )
    (messages, _) = model.asked[0]
    assert [message.type for message in messages] == ["system", "human", "human", "ai"]
    assert messages[0].content == "Be brief."
    text, image = messages[2].content
    assert text == {"type": "text", "text": "Look:"}
    assert (image["type"], image["mime_type"]) == ("image", "image/png")


def test_thoughts_before_a_reply_are_not_part_of_it():
    _, chat = scripted(["<th", "ink>so", "</think>", "\nFive."])
    heard = []
    assert chat.complete(QUESTION, on_piece=heard.append).text == "Five."
    assert "".join(heard) == "Five."


def test_the_limit_of_a_reply_is_the_models_own_and_its_end_is_told():
    cut = AIMessageChunk("Fi", response_metadata={"finish_reason": "length"})
    model, chat = scripted([cut], ["Five"], max_tokens=70)
    assert chat.complete(QUESTION, max_tokens=9).is_cut
    assert not chat.complete(QUESTION).is_cut
    assert [limit for _, limit in model.asked] == [9, 70]
    assert model.max_tokens is None  # the owner's model stays as it is


def test_tokens_are_counted():
    counted = AIMessageChunk(
        "Five",
        usage_metadata={
            "input_tokens": 7,
            "output_tokens": 2,
            "total_tokens": 9,
            "input_token_details": {"cache_read": 4},
        },
    )
    assert scripted([counted])[1].complete(QUESTION).usage == TokenUsage(7, 2, 4)
    assert scripted(["Five"])[1].complete(QUESTION).usage is None


def test_what_may_pass_is_tried_again_and_no_more_than_allowed():
    model, chat = scripted([Unavailable("busy")], [Unavailable("busy")], ["Five"])
    assert chat.complete(QUESTION).text == "Five"
    model, chat = scripted(*[[Unavailable("busy")]] * 3, ["Five"], tries=2)
    with pytest.raises(ModelFailed, match="busy") as failed:
        chat.complete(QUESTION)
    assert failed.value.code == "chat_unreachable"
    assert len(model.asked) == 2


def test_what_was_heard_in_part_is_not_tried_again():
    model, chat = scripted(["Fi", Unavailable("gone")], ["Five"])
    heard = []
    with pytest.raises(ModelFailed) as failed:
        chat.complete(QUESTION, on_piece=heard.append)
    assert failed.value.code == "chat_unreachable"
    assert heard == ["Fi"]
    assert len(model.asked) == 1


def test_a_refusal_is_told_once_and_without_the_key():
    model = Scripted(
        scripts=[[Unauthorised("no key like sesame-7")]], api_key=SecretStr("sesame-7")
    )
    with pytest.raises(ModelFailed, match="no key like") as failed:
        LangChainChat(model).complete(QUESTION)
    assert failed.value.code == "chat_refused"
    assert "sesame" not in failed.value.message
    assert len(model.asked) == 1


def test_a_model_that_says_nothing_ends_with_its_timeout_or_the_deadline():
    _, chat = scripted([30.0], timeout_s=0.1, tries=1)
    with pytest.raises(ModelFailed, match=r"for 0\.1 s") as failed:
        chat.complete(QUESTION)
    assert failed.value.code == "chat_timeout"
    _, chat = scripted(["Fi", 30.0])
    start = time.monotonic()
    with pytest.raises(ModelFailed, match="time for an answer") as failed:
        chat.complete(QUESTION, deadline=Deadline(0.2))
    assert failed.value.code == "chat_timeout"
    assert time.monotonic() - start < 10


def test_a_reply_that_is_no_longer_wanted_ends_at_once():
    _, chat = scripted(["Fi", 30.0])
    deadline = Deadline()
    threading.Timer(0.1, deadline.cancel).start()
    start = time.monotonic()
    with pytest.raises(Cancelled):
        chat.complete(QUESTION, deadline=deadline)
    assert time.monotonic() - start < 10


def test_what_a_listener_raises_comes_out_as_it_is():
    def stop(piece):
        raise KeyError(piece)

    with pytest.raises(KeyError):
        scripted(["Five"])[1].complete(QUESTION, on_piece=stop)


@pytest.mark.parametrize(
    ("chunk", "said"),
    [
        (AIMessageChunk(""), "without a word"),
        (
            AIMessageChunk(
                "", tool_call_chunks=[{"name": "run", "args": "{}", "id": "1", "index": 0}]
            ),
            "asks for tools",
        ),
    ],
)
def test_a_reply_without_words_is_none(chunk, said):
    with pytest.raises(ModelFailed, match=said) as failed:
        scripted([chunk])[1].complete(QUESTION)
    assert failed.value.code == "chat_bad_reply"


def test_a_reply_without_end_is_ended(monkeypatch):
    monkeypatch.setattr("rag.langchain_adapter.MAX_REPLY_BYTES", 1000)
    with pytest.raises(ModelFailed, match="more than") as failed:
        scripted(["x" * 100] * 20)[1].complete(QUESTION)
    assert failed.value.code == "chat_bad_reply"


class Wordless(Exception):
    def __str__(self):
        raise ValueError("no words")


class Evasive(Exception):
    @property
    def status_code(self):
        raise ValueError("no status")

    @property
    def response(self):
        raise ValueError("no response")


def with_headers(headers):
    error = Unavailable("busy")
    error.response = type("Response", (), {"headers": headers})()
    return error


@pytest.mark.parametrize(
    "raised",
    [
        Wordless(),
        Evasive("busy"),
        with_headers(["retry-after"]),
        with_headers({"retry-after": ["now"]}),
        with_headers({"retry-after": "Mon, 01 Jan 0001 00:00:00 +9999"}),
        SystemExit(3),
        GeneratorExit(),
        KeyboardInterrupt(),
    ],
)
def test_whatever_a_library_raises_is_a_failure_of_the_model_at_once(raised):
    start = time.monotonic()
    with pytest.raises(ModelFailed) as failed:
        scripted([raised], tries=1)[1].complete(QUESTION)
    assert failed.value.code == "chat_unreachable"
    # LangChain looks at an error's response before it passes it on.
    name = "ValueError" if isinstance(raised, Evasive) else type(raised).__name__
    assert name in failed.value.message
    assert time.monotonic() - start < 10


@pytest.mark.parametrize("name", ["finish_reason", "stop_reason", "done_reason"])
@pytest.mark.parametrize("reason", [["length"], {"length": 1}, 7, ""])
def test_a_reason_that_is_no_word_is_none(name, reason):
    said = AIMessageChunk("Five", response_metadata={name: reason})
    reply = scripted([said])[1].complete(QUESTION)
    assert (reply.text, reply.is_cut) == ("Five", False)


@pytest.mark.parametrize(
    "odd",
    [
        {"response_metadata": ["stop"]},
        {"usage_metadata": {"input_tokens": -5, "output_tokens": 2, "total_tokens": 7}},
        {"usage_metadata": {"input_tokens": 5.5, "output_tokens": 2, "total_tokens": 7}},
        {"usage_metadata": {"input_tokens": True, "output_tokens": 2, "total_tokens": 7}},
        {"usage_metadata": {"input_tokens": 5, "output_tokens": "2", "total_tokens": 7}},
        {"usage_metadata": [7]},
    ],
)
def test_what_is_no_count_is_not_told(odd):
    heard = _chunk(AIMessageChunk("Five").model_copy(update=odd))
    assert (heard.text, heard.counts) == ("Five", None)
    reply = _Reply(None)
    reply.add(_chunk(AIMessageChunk("It is ", usage_metadata=COUNTED)))
    reply.add(heard)
    assert reply.ended().usage == (TokenUsage(3, 1) if "response_metadata" in odd else None)


COUNTED = {"input_tokens": 3, "output_tokens": 1, "total_tokens": 4}


@pytest.mark.parametrize("odd", [None, "Five", 5, object(), {"text": "Five"}])
def test_what_is_no_chunk_is_a_bad_reply(odd):
    class Odd(FakeListChatModel):
        def stream(self, *args, **kwargs):
            yield odd

    with pytest.raises(ModelFailed) as failed:
        LangChainChat(Odd(responses=["a"])).complete(QUESTION)
    assert failed.value.code == "chat_bad_reply"


def test_what_was_asked_is_in_no_error_of_a_provider():
    asked = [ChatMessage("system", ("You answer questions about documents, briefly.",)), *QUESTION]
    said = Unauthorised(f"400 bad request: {[each.parts for each in asked]}")
    with pytest.raises(ModelFailed, match=r"\(the request\)") as failed:
        scripted([said])[1].complete(asked)
    assert "documents" not in failed.value.message


def test_whether_images_are_read_is_in_the_models_profile():
    blind = FakeListChatModel(responses=["a"])
    blind.profile = {"image_inputs": False}
    assert not LangChainChat(blind).reads_images
    assert LangChainChat(FakeListChatModel(responses=["a"])).reads_images


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"provider": "nobody", "model": "m"}, "nobody"),
        ({"provider": "ollama", "model": "m"}, "pip install langchain langchain-ollama"),
        ({"provider": "anthropic"}, "has no name"),
    ],
)
def test_a_provider_that_cannot_be_used_is_told_with_a_next_step(settings, said):
    with pytest.raises(ConfigError) as failed:
        LangChainChat.connect(ChatSettings(**settings))
    assert said in f"{failed.value.message} {failed.value.next_step}"
