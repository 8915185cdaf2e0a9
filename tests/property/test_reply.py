"""Replies read whole and read in pieces, however they are cut, are the same replies."""

import json

from hypothesis import example, given
from hypothesis import strategies as st

from rag.answer.draft import Draft, DraftClaim
from rag.answer.generated.reply import BadReply, parse_reply
from rag.answer.generated.reply_reader import ClaimText, ClaimTextEnds, ReplyEvent, ReplyReader

TEXTS = st.text(st.characters(codec=None), max_size=12) | st.sampled_from(
    ["\ud83d\ude00", "\U0001f600", "\ud800x", "a\udc00", '"', "\\", "\n\t\x00", "{", "}]", "</", ""]
)
SOURCES = st.fixed_dictionaries({"evidence": st.integers(0, 9), "quote": TEXTS})
CLAIMS = st.fixed_dictionaries(
    {
        "text": TEXTS,
        "sources": st.lists(SOURCES, max_size=3),
        "formula": TEXTS,
        "expression": TEXTS,
    }
)
REPLIES = st.fixed_dictionaries(
    {
        "abstained": st.booleans(),
        "reason": TEXTS,
        "claims": st.lists(CLAIMS, max_size=4),
        "short": TEXTS,
    }
)


@st.composite
def written(draw: st.DrawFn) -> str:
    """A reply in one of the ways JSON may write it."""
    value = draw(REPLIES)
    if draw(st.booleans()):
        value = dict(draw(st.permutations(list(value.items()))))
        value["claims"] = [
            dict(draw(st.permutations(list(claim.items())))) for claim in value["claims"]
        ]
    said = json.dumps(
        value, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 1]))
    )
    if draw(st.booleans()):
        said = said.replace("/", "\\/")
    before, after = draw(
        st.sampled_from([("", ""), ("```json\n", "\n```"), ('Here "it" is: ', "]")])
    )
    return before + said + after


@st.composite
def pieces(draw: st.DrawFn, text: str) -> list[str]:
    cuts = sorted(draw(st.sets(st.integers(0, len(text)), max_size=12)))
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def heard(parts: list[str]) -> tuple[list[ReplyEvent], bool]:
    """All events with neighbouring texts joined, and whether the reply was given up."""
    reader, events = ReplyReader(), []
    for part in parts:
        for event in reader.feed(part):
            if isinstance(event, ClaimText) and events and isinstance(events[-1], ClaimText):
                events[-1] = ClaimText(events[-1].text + event.text)
            else:
                events.append(event)
    return events, reader.fault is not None


def drafted(text: str) -> Draft | None:
    try:
        return parse_reply(text)
    except BadReply:
        return None


@given(written(), st.data())
def test_any_cutting_gives_the_events_of_the_whole(text: str, data: st.DataObject) -> None:
    assert heard(data.draw(pieces(text))) == heard([text])
    assert heard(list(text)) == heard([text])


@given(written())
@example(
    '{"abstained":false,"reason":"","claims":[{"text":"\\ud83d\\ude00 \\ud83d!","sources":[],'
    '"formula":"","expression":""}],"short":""}'
)
def test_what_was_heard_is_what_the_whole_says(text: str) -> None:
    draft = drafted(text)
    events, is_given_up = heard([text])
    assert draft is not None
    assert not is_given_up
    claims = [event for event in events if isinstance(event, DraftClaim)]
    if not draft.abstained:
        assert tuple(claims) == draft.claims
    texts, now = [], ""
    for event in events:
        if isinstance(event, ClaimText):
            now += event.text
        elif isinstance(event, ClaimTextEnds):
            texts.append(now)
            now = ""
    assert [claim.text for claim in claims] == texts[: len(claims)]


@given(written(), st.data())
def test_a_reply_with_a_mistake_is_never_given_up_where_the_whole_is_a_draft(
    text: str, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(text)))
    wrong = data.draw(
        st.sampled_from(['"', "{", "}", "[", "]", ",", ":", "\\", "\n", "x", "\\u12"])
    )
    broken = text[:place] + wrong + text[place + data.draw(st.integers(0, 3)) :]
    events, is_given_up = heard(list(broken))
    draft = drafted(broken)
    if is_given_up:
        assert draft is None
    if draft is not None and not draft.abstained:
        assert tuple(event for event in events if isinstance(event, DraftClaim)) == draft.claims


@given(written(), st.integers(0, 400))
def test_a_reply_cut_short_is_no_draft(text: str, kept: int) -> None:
    end = text.rfind("}")
    assert drafted(text[: min(kept, end)]) is None


@given(st.text(st.sampled_from('{}[]":,\\u0dtx \n'), max_size=40))
def test_nonsense_is_no_draft_and_breaks_nothing(text: str) -> None:
    heard(list(text))
    assert drafted(text) is None
