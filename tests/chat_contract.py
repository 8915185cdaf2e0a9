"""What holds for every chat model, whoever speaks: the sentences of `rag.ports.ChatModel`."""

from __future__ import annotations

import math
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import pytest
from PIL import Image

from rag.deadline import Cancelled, Deadline
from rag.errors import BackendError, RagError
from rag.ports import ChatMessage, ChatModel, ChatReply

PIECES = ("Net ", "sales", " were 7.")
TEXT = "Net sales were 7."
SYSTEM, HEARD = ChatMessage("system", ("Be brief.",)), ChatMessage("user", ("How much is it?",))
QUESTION = (SYSTEM, HEARD)
KEY = "sk-sesame-0123456789"
IMAGE = "(image)"  # one that was told, in `told`
SOON_S = 5.0  # far above what any of them takes, for machines that do much else


class Chats(Protocol):
    """Makes models that say what a law is about; whoever makes them closes them."""

    counts: bool  # tokens

    def saying(self, *pieces: str) -> ChatModel:
        """Those pieces, a token each, whatever it is asked; fewer where so many are allowed."""
        ...

    def answering(self) -> ChatModel:
        """Something else to each question, in twelve tokens at most."""
        ...

    def endless(self) -> ChatModel:
        """Piece after piece, for longer than any test waits."""
        ...

    def silent(self) -> ChatModel:
        """Not a word, for longer than any test waits."""
        ...

    def refusing(self, key: str) -> ChatModel | None:
        """Has this key, which it is refused for, in words that hold it; None where none is had."""
        ...

    @property
    def n_asked(self) -> int:
        """Questions that reached what speaks."""
        ...

    def told(self) -> list[tuple[str, list[str]]]:
        """Role and parts of each message as they last reached what speaks."""
        ...


def asking(text: str) -> tuple[ChatMessage, ...]:
    return (SYSTEM, ChatMessage("user", (text,)))


def heard(chat: ChatModel, **options: object) -> ChatReply:
    """The reply, which was listened to."""
    pieces: list[str] = []
    reply = chat.complete(QUESTION, on_piece=pieces.append, **options)
    assert "".join(pieces) == reply.text
    assert all(isinstance(piece, str) and piece for piece in pieces)
    return reply


def in_both_ways(ask: Callable[[Callable[[str], None] | None], None]) -> None:
    """Listened to, and not."""
    for on_piece in (None, lambda _: None):
        ask(on_piece)


# --- a reply ------------------------------------------------------------------------------------
def a_reply_in_pieces_is_the_reply_unheard(chats: Chats) -> None:
    chat = chats.saying(*PIECES)
    streamed, plain = heard(chat), chat.complete(QUESTION)
    assert streamed == plain
    assert plain.text == TEXT
    assert not plain.is_cut


def thoughts_before_it_are_in_neither(chats: Chats) -> None:
    chat = chats.saying("<think>", "Is it 6?", "</think>", "\n\n", *PIECES)
    assert heard(chat).text == chat.complete(QUESTION).text == TEXT


def one_token_is_a_reply(chats: Chats) -> None:
    chat = chats.saying("7")
    assert heard(chat).text == chat.complete(QUESTION).text == "7"


def roles_and_order_reach_the_model(chats: Chats) -> None:
    chat = chats.saying("ok")
    said = [
        ChatMessage("system", ("Be brief.",)),
        ChatMessage("user", ("One?",)),
        ChatMessage("assistant", ("Two.",)),
        ChatMessage("user", ("Three \u20ac?",)),
    ]
    chat.complete(said)
    assert chats.told() == [(each.role, [*each.parts]) for each in said]


def images_are_shown_in_their_place(chats: Chats) -> None:
    chat = chats.saying("ok")
    picture = Image.new("RGB", (96, 64), "red")
    said = [SYSTEM, ChatMessage("user", ("before", picture, "after", picture))]
    if not chat.reads_images:
        with pytest.raises(RagError):
            chat.complete(said)
        return
    chat.complete(said)
    assert chats.told()[-1] == ("user", ["before", IMAGE, "after", IMAGE])


def a_limit_of_tokens_is_kept_and_told(chats: Chats) -> None:
    chat = chats.saying(*PIECES)
    for limit, text in ((1, "Net "), (2, "Net sales")):
        cut, plain = heard(chat, max_tokens=limit), chat.complete(QUESTION, max_tokens=limit)
        assert cut == plain
        assert cut.is_cut
        # A blank at the end may belong to the token that was cut off.
        assert cut.text.rstrip() == text.rstrip()
        assert cut.usage is None or cut.usage.completion == limit
    roomy = chat.complete(QUESTION, max_tokens=len(PIECES) + 1)
    assert roomy == chat.complete(QUESTION)


def tokens_are_counted_or_nothing_is_said_of_them(chats: Chats) -> None:
    chat = chats.saying(*PIECES)
    replies = [chat.complete(QUESTION), heard(chat), chat.complete(asking("word " * 50))]
    counts = [reply.usage for reply in replies]
    if not chats.counts:
        assert counts == [None] * 3
        return
    first, streamed, longer = counts
    assert first is not None
    assert first == streamed
    assert longer is not None
    assert longer.prompt > first.prompt > first.cached >= 0
    assert longer.completion == first.completion >= len(PIECES)


def the_first_token_is_told_in_logarithms_or_not_at_all(chats: Chats) -> None:
    chat = chats.saying(*PIECES)
    assert not chat.complete(QUESTION).first_token
    for reply in (chat.complete(QUESTION, first_token=True), heard(chat, first_token=True)):
        assert isinstance(reply.first_token, Mapping)
        for token, logarithm in reply.first_token.items():
            assert isinstance(token, str)
            assert math.isfinite(logarithm)
            assert logarithm <= 0


def the_same_is_said_twice(chats: Chats) -> None:
    chat = chats.answering()
    one, other = (chat.complete(asking("One?"), max_tokens=12) for _ in range(2))
    assert one == other
    assert one.text != chat.complete(asking("Two?"), max_tokens=12).text


def who_asks_at_once_gets_his_own_reply(chats: Chats) -> None:
    chat = chats.answering()
    questions = [f"Question {number}?" for number in range(6)]

    def ask(question: str) -> tuple[ChatReply, str]:
        pieces: list[str] = []
        reply = chat.complete(asking(question), max_tokens=12, on_piece=pieces.append)
        return reply, "".join(pieces)

    alone = [ask(question) for question in questions]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, questions)) == alone
    assert len({text for _, text in alone}) > 1
    assert all(reply.text == text for reply, text in alone)


# --- what ends it -------------------------------------------------------------------------------
def a_question_that_is_cancelled_before_is_not_asked(chats: Chats) -> None:
    chat = chats.saying(*PIECES)
    deadline = Deadline()
    deadline.cancel()

    def ask(on_piece: Callable[[str], None] | None) -> None:
        with pytest.raises(Cancelled):
            chat.complete(QUESTION, on_piece=on_piece, deadline=deadline)

    in_both_ways(ask)
    assert not chats.n_asked
    assert chat.complete(QUESTION).text == TEXT


def a_reply_is_cancelled_by_whoever_hears_it(chats: Chats) -> None:
    chat, deadline = chats.endless(), Deadline()
    started = time.monotonic()
    with pytest.raises(Cancelled):
        chat.complete(QUESTION, on_piece=lambda _: deadline.cancel(), deadline=deadline)
    assert time.monotonic() - started < SOON_S


def a_reply_that_does_not_come_is_cancelled_by_another_thread(chats: Chats) -> None:
    chat = chats.silent()

    def ask(on_piece: Callable[[str], None] | None) -> None:
        deadline, started = Deadline(), time.monotonic()
        timer = threading.Timer(0.15, deadline.cancel)
        timer.start()
        with pytest.raises(Cancelled):
            chat.complete(QUESTION, on_piece=on_piece, deadline=deadline)
        timer.join()
        assert 0.1 < time.monotonic() - started < SOON_S

    in_both_ways(ask)


def a_deadline_that_is_over_is_a_typed_error(chats: Chats) -> None:
    for make, seconds in ((lambda: chats.saying(*PIECES), 0), (chats.silent, 0.15)):
        chat = make()

        def ask(
            on_piece: Callable[[str], None] | None,
            chat: ChatModel = chat,
            seconds: float = seconds,
        ) -> None:
            started = time.monotonic()
            with pytest.raises(BackendError) as caught:
                chat.complete(QUESTION, on_piece=on_piece, deadline=Deadline(seconds))
            assert caught.value.code == "chat_timeout"
            assert caught.value.next_step
            assert time.monotonic() - started < SOON_S

        in_both_ways(ask)
        assert seconds or not chats.n_asked


def a_reply_ends_with_its_deadline_in_the_middle(chats: Chats) -> None:
    chat, pieces = chats.endless(), list[str]()
    started = time.monotonic()
    with pytest.raises(BackendError) as caught:
        chat.complete(QUESTION, on_piece=pieces.append, deadline=Deadline(0.5))
    assert caught.value.code == "chat_timeout"
    assert pieces
    assert time.monotonic() - started < SOON_S


def what_a_listener_raises_comes_out_and_the_next_question_is_answered(chats: Chats) -> None:
    chat = chats.saying(*PIECES)
    for error in (KeyError("x"), RuntimeError("no"), TimeoutError("mine"), KeyboardInterrupt()):
        pieces: list[str] = []

        def leave(piece: str, error: BaseException = error, said: list[str] = pieces) -> None:
            said.append(piece)
            raise error

        with pytest.raises(type(error)) as caught:
            chat.complete(QUESTION, on_piece=leave)
        assert caught.value is error
        assert len(pieces) == 1, "it is not tried again"
        assert heard(chat).text == TEXT


def it_is_closed_twice(chats: Chats) -> None:
    chat = chats.saying(*PIECES)
    assert chat.complete(QUESTION).text == TEXT
    chat.close()
    chat.close()


# --- what is said of it -------------------------------------------------------------------------
def it_has_a_name_and_tells_whether_it_sees(chats: Chats) -> None:
    chat = chats.saying("ok")
    assert chat.model_id
    assert isinstance(chat.reads_images, bool)


def nothing_said_of_it_holds_a_key(chats: Chats) -> None:
    chat = chats.refusing(KEY)
    if chat is None:
        return
    assert KEY not in f"{chat!r} {chat}"

    def ask(on_piece: Callable[[str], None] | None) -> None:
        with pytest.raises(RagError) as caught:
            chat.complete(QUESTION, on_piece=on_piece)
        error = caught.value
        assert error.code == "chat_refused"
        assert KEY not in f"{error!r} {error} {error.as_dict()}"
        assert KEY not in "".join(traceback.format_exception(error)), "as a log has it"

    in_both_ways(ask)


LAWS: Sequence[Callable[[Chats], None]] = (
    a_reply_in_pieces_is_the_reply_unheard,
    thoughts_before_it_are_in_neither,
    one_token_is_a_reply,
    roles_and_order_reach_the_model,
    images_are_shown_in_their_place,
    a_limit_of_tokens_is_kept_and_told,
    tokens_are_counted_or_nothing_is_said_of_them,
    the_first_token_is_told_in_logarithms_or_not_at_all,
    the_same_is_said_twice,
    who_asks_at_once_gets_his_own_reply,
    a_question_that_is_cancelled_before_is_not_asked,
    a_reply_is_cancelled_by_whoever_hears_it,
    a_reply_that_does_not_come_is_cancelled_by_another_thread,
    a_deadline_that_is_over_is_a_typed_error,
    a_reply_ends_with_its_deadline_in_the_middle,
    what_a_listener_raises_comes_out_and_the_next_question_is_answered,
    it_is_closed_twice,
    it_has_a_name_and_tells_whether_it_sees,
    nothing_said_of_it_holds_a_key,
)
