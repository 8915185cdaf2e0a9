"""A chat model that speaks piece by piece, over a real socket: what is heard, and what ends it."""

import logging
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from servers import ChatServer, Dripping, Reply, Said, Served, chunk, event, scripted, serving

from rag.chat import reading
from rag.chat.openai import OpenAiChat
from rag.deadline import Cancelled, Deadline
from rag.errors import ModelFailed, RagError
from rag.ports import ChatMessage, ChatReply
from rag.settings import ChatSettings
from rag.types import TokenUsage

_log = logging.getLogger(__name__)

KEY = "sk-secret-0123456789"
HELLO = (ChatMessage("user", ("Hello?",)),)
COUNTED = {
    "prompt_tokens": 40,
    "completion_tokens": 7,
    "prompt_tokens_details": {"cached_tokens": 32},
}
# Far above what any of these takes, for machines that do much else.
SOON_S = 0.5


@contextmanager
def chat_at(served: Served, **settings: object) -> Iterator[OpenAiChat]:
    given = {"url": served.url, "model": "tiny-chat", "retry_s": 0, **settings}
    chat = OpenAiChat.connect(ChatSettings.model_validate(given), environ={})
    try:
        yield chat
    finally:
        chat.close()


def heard(said: str | Said | Reply, **settings: object) -> tuple[ChatReply, list[str]]:
    pieces: list[str] = []
    with serving(ChatServer(lambda _: said)) as served, chat_at(served, **settings) as chat:
        reply = chat.complete(HELLO, on_piece=pieces.append)
    assert "".join(pieces) == reply.text
    assert all(pieces)
    return reply, pieces


def failure(said: Said | Reply, **settings: object) -> tuple[RagError, str]:
    """What it ends with, and what was heard before."""
    pieces: list[str] = []
    with (
        serving(ChatServer(lambda _: said)) as served,
        chat_at(served, **settings) as chat,
        pytest.raises(RagError) as caught,
    ):
        chat.complete(HELLO, on_piece=pieces.append)
    assert caught.value.next_step
    return caught.value, "".join(pieces)


def stream(*parts: bytes | float | Callable[[], bytes], ending: str = "end") -> Dripping:
    return Dripping(headers={"Content-Type": "text/event-stream"}, parts=parts, ending=ending)


# --- what is heard ------------------------------------------------------------------------------
def test_a_reply_is_heard_in_pieces_that_are_together_its_text() -> None:
    said = Said(["Net ", "sales: ", "€ 7,1", "20 🧾"], usage=COUNTED)
    with serving(ChatServer(lambda _: said)) as served, chat_at(served) as chat:
        pieces: list[str] = []
        reply = chat.complete(HELLO, on_piece=pieces.append, max_tokens=9)
        plain = chat.complete(HELLO, max_tokens=9)
    assert pieces == ["Net ", "sales: ", "€ 7,1", "20 🧾"]
    assert reply == plain == ChatReply("Net sales: € 7,120 🧾", usage=TokenUsage(40, 7, 32))
    asked, asked_plainly = (request.body for request in served.requests)
    assert asked == asked_plainly | {"stream": True, "stream_options": {"include_usage": True}}
    assert asked["max_tokens"] == 9
    assert served.n_connections == 1, "a stream that was read to its end leaves its connection"


def test_each_piece_is_heard_before_the_next_one_is_sent() -> None:
    was_heard = [threading.Event() for _ in range(5)]

    def sent_after(number: int) -> Callable[[], bytes]:
        def send() -> bytes:
            assert was_heard[number - 1].wait(10)
            return chunk(delta={"content": f"{number} "})

        return send

    later = [sent_after(number) for number in range(1, 5)]
    said = stream(chunk(delta={"content": "0 "}), *later, event("[DONE]"))
    with serving(ChatServer(lambda _: said)) as served, chat_at(served, timeout_s=15) as chat:
        reply = chat.complete(HELLO, on_piece=lambda piece: was_heard[int(piece)].set())
    assert reply.text == "0 1 2 3 4 "


def test_a_piece_passes_through_soon_after_its_arrival() -> None:
    """Told with `--log-cli-level=INFO`; the bound here is for machines that do much else."""
    waits_s: list[float] = []

    def now() -> bytes:
        return chunk(delta={"content": f"{time.monotonic()} "})

    said = stream(*[part for _ in range(40) for part in (now, 0.005)], event("[DONE]"))
    with serving(ChatServer(lambda _: said)) as served, chat_at(served) as chat:
        chat.complete(HELLO, on_piece=lambda piece: waits_s.append(time.monotonic() - float(piece)))
    assert len(waits_s) == 40
    median_ms, largest_ms = (1000 * wait_s for wait_s in (statistics.median(waits_s), max(waits_s)))
    _log.info("a piece is heard after %.2f ms, at most %.1f ms", median_ms, largest_ms)
    assert median_ms < 1000 * SOON_S


@pytest.mark.parametrize("streams", [True, False])
def test_a_reply_cut_by_the_limit_says_so_in_either_way(streams: bool) -> None:
    said = Said.text("Net sales were", finish="length", usage=COUNTED)
    answers = ChatServer(lambda _: said, streams=streams)
    with serving(answers) as served, chat_at(served) as chat:
        replies = [chat.complete(HELLO, on_piece=hear) for hear in (lambda _: None, None)]
    assert replies == [ChatReply("Net sales were", is_cut=True, usage=TokenUsage(40, 7, 32))] * 2


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": "x", "completion_tokens": True}])
def test_a_server_that_does_not_count_is_no_failure(usage: object) -> None:
    assert heard(Said(["yes"], usage=usage))[0].usage is None


def test_log_probabilities_of_the_first_token_come_with_a_stream() -> None:
    top = {"Yes": -0.1, "No": -3.0}
    with serving(ChatServer(lambda _: "Yes", top=top)) as served, chat_at(served) as chat:
        reply = chat.complete(HELLO, first_token=True, on_piece=lambda _: None)
    assert (reply.text, reply.first_token) == ("Yes", top)


@pytest.mark.parametrize(
    "takes", [frozenset(), frozenset({"stream"}), frozenset({"stream_options"}), None]
)
def test_a_server_that_knows_no_stream_or_no_count_still_replies(takes: frozenset | None) -> None:
    answers = ChatServer(lambda _: "Hello there", takes=takes or frozenset(), streams=bool(takes))
    if takes is None:  # it ignores what it does not know
        answers.takes = frozenset({"stream", "stream_options"})
    pieces: list[str] = []
    with serving(answers) as served, chat_at(served) as chat:
        for _ in range(3):
            assert chat.complete(HELLO, on_piece=pieces.append).text == "Hello there"
    is_stream = takes == {"stream"}
    assert len(pieces) == (9 if is_stream else 3)
    n_complaints = 0 if takes is None else 1 if takes == {"stream"} else 2 - len(takes)
    assert len(served.requests) == 3 + n_complaints, "it is not asked again what it has refused"


def test_thoughts_are_never_heard_however_they_are_cut() -> None:
    text = " <think>Is it 7? </thin No.\n</think>\n\n It is <think>8</think>."
    for piece_chars in (1, 3, 100):
        reply, pieces = heard(Said.text(text, piece_chars=piece_chars))
        assert reply.text == "It is <think>8</think>."
        assert pieces[0][0] == "I"
    assert heard(Said.text(" <thinking> yes", piece_chars=2))[0].text == " <thinking> yes"
    assert heard(Said.text(" <thi", piece_chars=1))[0].text == " <thi"


def test_reasoning_beside_the_reply_is_not_heard() -> None:
    parts = [
        chunk(delta={"reasoning_content": "hm", "content": None}),
        chunk(delta={"content": "a"}),
    ]
    assert heard(stream(*parts, event("[DONE]")))[1] == ["a"]


def test_halves_of_a_character_in_two_pieces_are_one_and_a_lone_half_is_mended() -> None:
    parts = [
        b'data: {"choices":[{"delta":{"content":"%s"}}]}\n\n' % half
        for half in (b"a\\ud83e", b"\\uddfe b \\ud83e", b" c", b"\\ud83e")
    ]
    reply, pieces = heard(stream(*parts, event("[DONE]")))
    assert reply.text == "a🧾 b \N{REPLACEMENT CHARACTER} c\N{REPLACEMENT CHARACTER}"
    assert pieces[0] == "a"


def test_the_forms_of_events_that_servers_use_are_all_read() -> None:
    parts = (
        b"\xef\xbb\xbf: ping\r\n\r\n",
        b"event: message\r\nid: 1\r\nretry: 5\r\n",
        b'data:{"choices":\r\ndata: [{"delta":{"content":"a"}}]}\r\n\r\n',
        b'data: {"choices":[{"delta":{"content":"\xc3',
        0.01,
        b'\xa9"}}]}\r',
        0.01,
        b"\n\r\n: keep-alive\n\n",
        b'data: {"choices":[],"usage":null}\n\ndata: {"choices":[{}]}\n\n',
        b'data: {"choices":[{"delta":{"content":"\xe2\x80\xa8"},"finish_reason":"stop"}]}\n\n',
        b"data: [DONE]",
    )
    assert heard(stream(*parts))[0].text == "aé\u2028"


def test_a_reply_is_complete_with_its_reason_to_end_whatever_comes_after(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reading, "_COUNT_WITHIN_S", 0.2)
    last = chunk(delta={"content": "yes"}, finish_reason="stop")
    for ending in ("end", "drop"):
        assert heard(stream(last, ending=ending))[0].text == "yes"
    started = time.monotonic()
    assert heard(stream(last, event("[DONE]"), ending="stall"))[0].text == "yes"
    assert heard(stream(last, ending="stall"))[0].text == "yes"
    assert time.monotonic() - started < 1 + SOON_S


# --- what is no reply ---------------------------------------------------------------------------
CALL = {"tool_calls": [{"index": 0, "function": {"name": "search", "arguments": "{}"}}]}


@pytest.mark.parametrize("extra", [CALL, {"function_call": {"name": "search"}}])
def test_a_model_that_asks_for_tools_is_given_none(extra: dict) -> None:
    with serving(ChatServer(lambda _: Said([], extra=extra))) as served, chat_at(served) as chat:
        for hear in (None, lambda _: None):
            with pytest.raises(ModelFailed, match="asks for tools, and is given none") as caught:
                chat.complete(HELLO, on_piece=hear)
            assert caught.value.code == "chat_bad_reply"
    assert heard(Said(["It is 7."], extra=extra, finish="tool_calls"))[0].text == "It is 7."


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (stream(b"data: nonsense\n\n"), "chat_bad_reply"),
        (stream(b"data: [1]\n\n"), "chat_bad_reply"),
        (stream(b"data: " + b"[" * 100_000 + b"\n\n"), "chat_bad_reply"),
        (stream(chunk(delta={"content": 5})), "chat_bad_reply"),
        (stream(chunk(delta={"refusal": "I cannot"})), "chat_refused"),
        (stream(b"<html>no</html>"), "chat_bad_reply"),
        (stream(b'{"choices": []}'), "chat_bad_reply"),
        (stream(event("[DONE]")), "chat_bad_reply"),
        (stream(), "chat_unreachable"),
        (stream(b": ping\n\n"), "chat_unreachable"),
        (Said.text("<think>on and on", finish="length"), "chat_bad_reply"),
        (Said.text("<think>on and on"), "chat_bad_reply"),
        (Said([], finish="length"), "chat_bad_reply"),
    ],
)
def test_a_stream_with_no_reply_has_its_code(said: Said | Reply, code: str) -> None:
    error, before = failure(said)
    assert (error.code, before) == (code, "")


def test_endless_text_is_cut_off() -> None:
    piece = chunk(delta={"content": "never " * 20_000})
    error, before = failure(stream(*[piece] * 60))
    assert error.code == "chat_bad_reply"
    assert len(before) <= reading.MAX_REPLY_BYTES + 120_000


@pytest.mark.parametrize(
    "part", [b"x" * 500_000, b": ping\n\n" * 60_000, chunk(delta={"reasoning": "x" * 500_000})]
)
def test_endless_lines_comments_and_thoughts_are_cut_off(
    part: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MAX_REPLY_BYTES", 1_000_000)
    monkeypatch.setattr(reading, "_MAX_STREAM_BYTES", 3_000_000)
    assert failure(stream(b"data: ", *[part] * 20))[0].code == "chat_bad_reply"


# --- tries --------------------------------------------------------------------------------------
def test_what_broke_before_a_word_was_heard_is_tried_again() -> None:
    dropped = stream(chunk(delta={"role": "assistant", "content": ""}), ending="drop")
    error = stream(event({"error": {"message": "out of memory", "code": 500}}))
    fine = Said(["fine"]).streamed()
    with serving(scripted(dropped, error, fine)) as served, chat_at(served, retry_s=10) as chat:
        assert chat.complete(HELLO, on_piece=lambda _: None).text == "fine"
    assert len(served.requests) == 3


@pytest.mark.parametrize(
    "end",
    [
        {"ending": "drop"},
        {"error": {"message": f"lost {KEY}", "code": 503}},
        {"error": {"message": "response_format is not for streams", "code": "400"}},
    ],
)
def test_what_was_heard_in_part_is_not_tried_again(end: dict) -> None:
    pieces: list[str] = []
    answers = ChatServer(lambda _: Said(["Net ", "sales"], **end), key=KEY)
    with (
        serving(answers) as served,
        chat_at(served, retry_s=10, api_key=KEY) as chat,
        pytest.raises(ModelFailed) as caught,
    ):
        chat.complete(HELLO, on_piece=pieces.append, json_schema={"type": "object"})
    assert pieces == ["Net ", "sales"]
    assert len(served.requests) == 1
    assert caught.value.code in ("chat_unreachable", "chat_refused")
    assert KEY not in f"{caught.value!r} {caught.value.as_dict()}"


@pytest.mark.parametrize("tries", [1, 3])
def test_a_request_is_made_so_many_times_and_no_more(tries: int) -> None:
    answers = ChatServer(lambda _: Reply({"error": "no"}, status=500))
    with serving(answers) as served, chat_at(served, retry_s=60, tries=tries) as chat:
        for hear in (None, lambda _: None):
            with pytest.raises(ModelFailed) as caught:
                chat.complete(HELLO, on_piece=hear, deadline=Deadline(30))
            assert caught.value.code == "chat_unreachable"
    assert len(served.requests) == 2 * tries


@pytest.mark.parametrize(("asked_s", "n_requests"), [("1", 2), ("3", 1), ("9999999999", 1)])
def test_a_server_is_left_alone_as_it_asks_but_not_beyond_the_deadline(
    asked_s: str, n_requests: int
) -> None:
    busy = Reply({"error": "busy"}, status=429, headers={"Retry-After": asked_s})
    started = time.monotonic()
    with (
        serving(scripted(busy)) as served,
        chat_at(served, retry_s=60) as chat,
        pytest.raises(ModelFailed, match="429: busy") as caught,
    ):
        chat.complete(HELLO, on_piece=lambda _: None, deadline=Deadline(1.5))
    assert caught.value.code == "chat_unreachable"
    assert len(served.requests) == n_requests
    assert time.monotonic() - started < 1.5 + SOON_S


def test_a_redirect_of_a_stream_is_not_followed() -> None:
    with serving(ChatServer(lambda _: "stolen")) as other:
        away = Reply(status=307, headers={"Location": other.url + "/v1/chat/completions"})
        error, _ = failure(away, api_key=KEY)
    assert error.code == "chat_refused"
    assert not other.requests
    assert KEY not in f"{error.as_dict()}"


# --- what ends it -------------------------------------------------------------------------------
STALLS = {
    "before the head": Reply({}, after_s=1.2),
    "after the head": stream(ending="stall"),
    "before the first word": stream(b": ping\n\n", ending="stall"),
    "within a word": stream(chunk(delta={"content": "Net "}), b'data: {"cho', ending="stall"),
    "dripping": stream(chunk(delta={"content": "Net "}), *[0.05, b": ping\n\n"] * 24),
    "in one": Said(["x" * 90], ending="stall").whole(),
    "of an error": Dripping(parts=[b'{"err'], status=400, ending="stall"),
}


def stalling(where: str) -> Callable[..., Reply]:
    """A server that stalls once, and replies from then on."""
    return scripted(STALLS[where], Said(["ok"]).streamed())


@pytest.mark.parametrize("where", STALLS)
def test_a_stall_ends_with_the_deadline(where: str) -> None:
    with (
        serving(stalling(where)) as served,
        chat_at(served, timeout_s=30, retry_s=60, requests=1) as chat,
    ):
        started = time.monotonic()
        with pytest.raises(ModelFailed) as caught:
            chat.complete(HELLO, on_piece=lambda _: None, deadline=Deadline(0.4))
        assert 0.3 < time.monotonic() - started < 0.4 + SOON_S
        assert chat.complete(HELLO, on_piece=lambda _: None).text == "ok", "its place is free"
    if where == "of an error":
        assert caught.value.code == "chat_refused"
    else:
        assert caught.value.code == "chat_timeout"
        assert "time for the answer was over" in caught.value.message
        assert "answer.deadline_s" in caught.value.next_step


@pytest.mark.parametrize(
    "where", ["before the head", "after the head", "within a word", "dripping"]
)
def test_a_stall_ends_with_the_time_of_a_try(where: str) -> None:
    with serving(stalling(where)) as served, chat_at(served, timeout_s=0.4) as chat:
        started = time.monotonic()
        with pytest.raises(ModelFailed, match=r"more than 0\.4 s") as caught:
            chat.complete(HELLO, on_piece=lambda _: None)
        assert 0.3 < time.monotonic() - started < 0.4 + SOON_S
    assert caught.value.code == "chat_timeout"


@pytest.mark.parametrize("where", STALLS)
def test_whoever_cancels_ends_a_reply_at_once_and_frees_its_place(where: str) -> None:
    deadline = Deadline(30)
    cancelled_at: list[float] = []

    def cancel() -> None:
        cancelled_at.append(time.monotonic())
        deadline.cancel()

    with (
        serving(stalling(where)) as served,
        chat_at(served, timeout_s=30, retry_s=60, requests=1) as chat,
    ):
        threading.Timer(0.3, cancel).start()
        with pytest.raises(Cancelled):
            chat.complete(HELLO, on_piece=lambda _: None, deadline=deadline)
        assert time.monotonic() - cancelled_at[0] < SOON_S
        if getattr(STALLS[where], "ending", "end") == "stall":
            assert served.hung_up.wait(5), "its connection is closed"
        assert chat.complete(HELLO, on_piece=lambda _: None).text == "ok", "its place is free"


def test_a_second_use_of_a_connection_can_be_cancelled_before_its_head_comes() -> None:
    slow = Said(["late"], piece_s=2.0).whole()
    with serving(scripted(Said(["ok"]).streamed(), slow)) as served, chat_at(served) as chat:
        chat.complete(HELLO, on_piece=lambda _: None)
        deadline = Deadline()
        threading.Timer(0.2, deadline.cancel).start()
        started = time.monotonic()
        with pytest.raises(Cancelled):
            chat.complete(HELLO, on_piece=lambda _: None, deadline=deadline)
        assert time.monotonic() - started < 0.2 + SOON_S
    assert served.n_connections == 1


@pytest.mark.parametrize("cancels", [True, False])
def test_waiting_for_a_turn_ends_too(cancels: bool) -> None:
    speaks, may_end = threading.Event(), threading.Event()

    def end() -> bytes:
        may_end.wait(10)
        return event("[DONE]")

    said = stream(chunk(delta={"content": "slow"}), end)
    with serving(scripted(said)) as served, chat_at(served, requests=1) as chat:
        first = threading.Thread(
            target=lambda: chat.complete(HELLO, on_piece=lambda _: speaks.set())
        )
        first.start()
        assert speaks.wait(10)
        deadline = Deadline(30 if cancels else 0.3)
        if cancels:
            threading.Timer(0.3, deadline.cancel).start()
        started = time.monotonic()
        with pytest.raises(Cancelled if cancels else ModelFailed) as caught:
            chat.complete(HELLO, deadline=deadline)
        assert time.monotonic() - started < 0.3 + SOON_S
        may_end.set()
        first.join()
    assert caught.value.code == ("cancelled" if cancels else "chat_timeout")
    assert len(served.requests) == 1


def test_waiting_for_the_next_try_ends_too() -> None:
    busy = Reply({}, status=429, headers={"Retry-After": "20"})
    with serving(scripted(busy)) as served, chat_at(served, retry_s=60) as chat:
        deadline = Deadline(30)
        threading.Timer(0.3, deadline.cancel).start()
        started = time.monotonic()
        with pytest.raises(Cancelled):
            chat.complete(HELLO, deadline=deadline)
    assert time.monotonic() - started < 0.3 + SOON_S


def test_nothing_is_asked_when_there_is_no_time_or_nobody_wants_it() -> None:
    over, gone = Deadline(0), Deadline()
    gone.cancel()
    with serving(ChatServer(lambda _: "ok")) as served, chat_at(served) as chat:
        with pytest.raises(ModelFailed) as caught:
            chat.complete(HELLO, deadline=over)
        with pytest.raises(Cancelled):
            chat.complete(HELLO, deadline=gone)
    assert caught.value.code == "chat_timeout"
    assert not served.requests


class Enough(Exception):
    pass


def test_what_a_listener_raises_ends_the_reply_and_comes_out_as_it_is() -> None:
    def hear(piece: str) -> None:
        raise Enough(piece)

    said = stream(chunk(delta={"content": "Net "}), ending="stall")
    fine = Said(["ok"]).streamed()
    with serving(scripted(said, fine)) as served, chat_at(served, retry_s=9, requests=1) as chat:
        with pytest.raises(Enough, match="Net "):
            chat.complete(HELLO, on_piece=hear, deadline=Deadline(30))
        assert served.hung_up.wait(5)
        assert len(served.requests) == 1
        assert chat.complete(HELLO, on_piece=lambda _: None).text == "ok"


def test_a_listener_may_ask_the_same_model() -> None:
    asked: list[str] = []
    with serving(ChatServer(lambda _: "ab")) as served, chat_at(served) as chat:
        reply = chat.complete(
            HELLO,
            on_piece=lambda _: asked.append(chat.complete(HELLO, deadline=Deadline(9)).text),
            deadline=Deadline(20),
        )
    assert (reply.text, asked) == ("ab", ["ab"])


def test_a_server_that_is_not_there_is_told_within_the_deadline() -> None:
    with serving(ChatServer(lambda _: "ok")) as served:
        pass  # its port is free again
    with chat_at(served, retry_s=60) as chat:
        started = time.monotonic()
        with pytest.raises(ModelFailed) as caught:
            chat.complete(HELLO, on_piece=lambda _: None, deadline=Deadline(1))
    assert caught.value.code in ("chat_unreachable", "chat_timeout")
    assert time.monotonic() - started < 1 + SOON_S


@pytest.mark.parametrize("n_chars", [1, 30_000_000])
@pytest.mark.parametrize("cancels", [True, False])
def test_a_server_that_accepts_and_reads_nothing_ends_with_the_deadline(
    n_chars: int, cancels: bool
) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with chat_at(Served(url), retry_s=60) as chat:
            deadline = Deadline(30 if cancels else 0.5)
            if cancels:
                threading.Timer(0.5, deadline.cancel).start()
            started = time.monotonic()
            with pytest.raises(Cancelled if cancels else ModelFailed) as caught:
                chat.complete([ChatMessage("user", ("x" * n_chars,))], deadline=deadline)
            assert time.monotonic() - started < 0.5 + SOON_S
    assert caught.value.code == ("cancelled" if cancels else "chat_timeout")


@pytest.mark.parametrize("cancels", [True, False])
def test_a_name_that_nobody_finds_ends_with_the_deadline(
    cancels: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found.wait(20) and [])
    with chat_at(Served("http://chat.example"), retry_s=60) as chat:
        deadline = Deadline(30 if cancels else 0.3)
        if cancels:
            threading.Timer(0.3, deadline.cancel).start()
        started = time.monotonic()
        with pytest.raises(Cancelled if cancels else ModelFailed):
            chat.complete(HELLO, deadline=deadline)
        assert time.monotonic() - started < 0.3 + SOON_S
    found.set()


def test_what_goes_through_a_proxy_ends_with_the_deadline_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = stream(chunk(delta={"content": "Net "}), ending="stall")
    with serving(scripted(said)) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        deadline = Deadline(30)
        with chat_at(Served("http://chat.example")) as chat, pytest.raises(Cancelled):
            chat.complete(HELLO, on_piece=lambda _: deadline.cancel(), deadline=deadline)
        assert proxy.hung_up.wait(5)
    assert proxy.requests[0].path == "http://chat.example/v1/chat/completions"
