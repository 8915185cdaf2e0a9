"""Events and thoughts of a chat server's stream: the same, however the network cuts it."""

import json
import math
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.chat.events import EventReader
from rag.chat.heard import Heard
from rag.chat.openai import OpenAiChat
from rag.chat.reading import CompletionReader
from rag.interruptible import Call
from rag.model_server import Arriving
from rag.settings import ChatSettings

# The parts that thoughts and characters are cut at, and those that look like them.
WORDS = [
    "<think>",
    "</think>",
    "<thi",
    "nk>",
    " ",
    "\n",
    "é",
    "🧾",
    "\ud83e",
    "\uddfe",
    "a",
    "\u2028",
]
texts = st.lists(st.sampled_from(WORDS), max_size=12).map("".join)
cuts = st.lists(st.integers(0, 400), max_size=12)


def cut(whole, places: Sequence[int]):
    bounds = [0, *sorted(min(place, len(whole)) for place in places), len(whole)]
    return [whole[start:end] for start, end in pairwise(bounds)]


def read(parts: Sequence[bytes]) -> list[str]:
    reader = EventReader()
    found = [data for part in parts for data in reader.feed(part)]
    return found + reader.end()


@given(
    lines=st.lists(
        st.sampled_from(
            [
                "data: a",
                "data:b",
                "data:  é🧾",
                "data",
                "data: ",
                "",
                "",
                ": no",
                "event: x",
                "\u2028",
            ]
        ),
        max_size=12,
    ),
    end=st.sampled_from(["\n", "\r", "\r\n"]),
    places=cuts,
)
def test_events_are_the_same_however_their_bytes_are_cut(
    lines: list[str], end: str, places: list[int]
) -> None:
    sent = "".join(line + end for line in lines).encode()
    assert read(cut(sent, places)) == read([sent]) == read([bytes([each]) for each in sent])
    expected: list[list[str]] = [[]]
    for line in lines:
        if not line:
            expected.append([])
        elif line.partition(":")[0] == "data":
            value = line.partition(":")[2]
            expected[-1].append(value[1:] if value.startswith(" ") else value)
    assert read([sent]) == ["\n".join(data) for data in expected if data]


def test_a_character_that_never_ends_and_bytes_that_are_none_are_told_as_such() -> None:
    assert read([b"data: a\xff\n\ndata: \xc3"]) == ["a\ufffd", "\ufffd"]


def test_what_is_pending_is_counted() -> None:
    reader = EventReader()
    reader.feed(b"data: 12\ndata: 345\nda")
    assert reader.n_pending_chars == len("12") + len("345") + len("da")
    reader.feed(b"ta: 6\n\n")
    assert reader.n_pending_chars == 0


def hear(parts: Sequence[str]) -> tuple[str, bool]:
    pieces: list[str] = []
    heard = Heard(pieces.append)
    for part in parts:
        heard.hear(part)
    heard.end()
    assert "".join(pieces) == heard.text
    assert all(pieces)
    heard.text.encode()  # no half of a character is left
    return heard.text, heard.is_thinking


@given(text=texts, places=cuts)
def test_what_is_heard_is_the_same_however_the_text_is_cut(text: str, places: list[int]) -> None:
    assert hear(cut(text, places)) == hear([text]) == hear(list(text))


@given(thought=texts.filter(lambda each: "</think>" not in each), reply=texts)
def test_thoughts_at_the_beginning_are_left_out_whole(thought: str, reply: str) -> None:
    text, is_thinking = hear([f" <think>{thought}</think>\n\n{reply}"])
    mended = reply.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    assert (text, is_thinking) == (mended.lstrip(), False)
    assert hear([f"x<think>{thought}"])[0].startswith("x<think>")


@pytest.mark.parametrize("size", [1, 3, 7, 50, 10_000])
def test_a_stream_is_the_same_reply_however_its_bytes_are_cut(size: int) -> None:
    events = [
        {"choices": [{"delta": {"role": "assistant", "content": ""}}]},
        *(
            {"choices": [{"delta": {"content": each}}]}
            for each in ("<thi", "nk>a</think> é", " 🧾")
        ),
        {"choices": [{"delta": {}, "finish_reason": "length"}]},
        {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}},
    ]
    lines = [f"data: {json.dumps(each, ensure_ascii=False)}\r\n\r\n" for each in events]
    sent = "".join([*lines, "data: [DONE]\n\n"]).encode()
    chat = OpenAiChat.connect(ChatSettings(url="http://127.0.0.1:1", model="m"), environ={})
    pieces: list[str] = []
    reader = CompletionReader(chat._server, model="m", max_tokens=9, on_piece=pieces.append)
    parts = cut(sent, range(0, len(sent), size))
    reply = reader.receive(Arriving(lambda _: iter(parts), Call(math.inf, None)))
    chat.close()
    assert pieces == ["é", " 🧾"]
    assert (reply.text, reply.is_cut) == ("é 🧾", True)
    assert reply.usage is not None
    assert (reply.usage.prompt, reply.usage.completion, reply.usage.cached) == (3, 4, 0)
