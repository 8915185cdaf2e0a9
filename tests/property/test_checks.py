"""Laws of the checks: whatever a model says, nothing is shown as supported that no page says."""

import re

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rag.answer.checks.check import Checker
from rag.answer.checks.plain_text import plain
from rag.answer.draft import Draft, DraftClaim, Source
from rag.answer.figures.read import figures_in
from rag.page_text import PageText
from rag.ports import Evidence
from rag.types import ClaimState, PageHit, PageRef

_PAGE_WORDS = st.sampled_from(
    "net income rose fell to $ 1,204 5 12% (456) 2022 2021 million (in thousands) kg per cent of"
    " the March 31, sales infor- mation EUR".split()
)
_SAID = st.sampled_from(
    "Net income rose fell to $1,204 5 12% 456 2022 1999 million thousand kg 7.5% EUR sales"
    " March 31, [1] <b> x](http://e.com)".split()
) | st.text(max_size=6)
_EXPRESSIONS = st.just("") | st.lists(
    st.sampled_from("1,204 5 12% 456 + - * / ( ) = 2 1,209".split()), max_size=7
).map(" ".join)


@st.composite
def slices(draw, words, *, most):
    start = draw(st.integers(0, max(0, len(words) - 1)))
    return " ".join(words[start : start + draw(st.integers(1, most))])


@st.composite
def claims(draw, pages):
    """Of quotes as a page says them, as another one does, or as none; in its words or in others."""
    sources = []
    text = " ".join(draw(st.lists(_SAID, max_size=8)))
    for _ in range(draw(st.integers(0, 3))):
        if not pages or draw(st.integers(0, 3)) == 0:
            sources.append(Source(draw(st.integers(0, 3)), draw(st.text(max_size=8))))
            continue
        page = draw(st.sampled_from(pages))
        number = page.number + (draw(st.integers(0, 5)) == 0)
        sources.append(Source(number, draw(slices(page.text.words, most=6))))
        if draw(st.booleans()):
            text = f"{draw(slices(page.text.words, most=4))} {text[: draw(st.integers(0, 8))]}"
    formula = draw(st.sampled_from(["", "net income - sales"]))
    return DraftClaim(text, tuple(sources), formula, draw(_EXPRESSIONS))


@st.composite
def drafts(draw, pages):
    return Draft(
        draw(st.lists(claims(pages), max_size=4).map(tuple)),
        short=draw(st.lists(_SAID, max_size=3).map(" ".join)),
        abstained=draw(st.integers(0, 9)) == 0,
        reason=draw(st.text(max_size=20)),
    )


def page_of(number, words):
    n = len(words)
    boxes = np.array([(10 * at, 0, 10 * at + 9, 10) for at in range(n)], np.float32).reshape(-1, 4)
    text = PageText(
        tuple(words),
        boxes,
        np.arange(n, dtype=np.int32) // 6,
        np.zeros(n, np.float32),
        np.zeros(n, np.bool_),
    )
    hit = PageHit(number, PageRef("d", number), "d.pdf", 1.0, 1.0, "", ())
    return Evidence(number, hit, text, np.zeros((0, 4), np.float32), np.zeros(0, np.int32))


_PAGES = st.lists(st.lists(_PAGE_WORDS, max_size=20), max_size=3).map(
    lambda pages: [page_of(number, words) for number, words in enumerate(pages, start=1)]
)
_ASKED = _PAGES.flatmap(lambda pages: st.tuples(st.just(pages), drafts(pages)))
_POLICIES = st.sampled_from(["strict", "flag"])


@settings(max_examples=150)
@given(asked=_ASKED, policy=_POLICIES)
def test_an_answer_shows_what_its_citations_hold_and_nothing_else(asked, policy):
    pages, draft = asked
    answer = Checker(pages, policy=policy).answer_of(draft, model_id="m")
    standing = [each for each in answer.claims if each.state is not ClaimState.UNSUPPORTED]
    assert answer.abstained == (not standing)
    assert answer.text
    assert 0 <= answer.confidence <= 1
    markers = {citation.marker for citation in answer.citations}
    assert {int(mark) for mark in re.findall(r"\[(\d+)\]", answer.text)} == markers
    assert all(claim.markers for claim in standing)
    for claim in answer.claims:
        assert set(claim.markers) <= markers
        assert (claim.state is ClaimState.UNSUPPORTED) == bool(claim.reasons)
        is_told = policy == "flag" or claim in standing
        assert not claim.text or answer.abstained or not is_told or claim.text in answer.text
    for citation in answer.citations:
        assert citation.verified
        assert citation.boxes
        page = pages[citation.ref.page_number - 1].text
        for part in citation.quote.split(" \u2026 "):
            assert part in page.text


@settings(max_examples=150)
@given(asked=_ASKED)
def test_claims_checked_as_they_arrive_come_to_the_same_answer(asked):
    pages, draft = asked
    assume(not draft.abstained)
    early = Checker(pages, policy="strict")
    heard = [early.check(claim) for claim in draft.claims]
    answer = early.answer_of(draft, model_id="m")
    assert answer == Checker(pages, policy="strict").answer_of(draft, model_id="m")
    if not answer.abstained:
        told = {citation for each in heard for citation in each.citations}
        assert told == set(answer.citations)


_DIGITS = st.integers(1_000, 9_999_999).filter(lambda number: not 1900 <= number <= 2100)


@given(shown=_DIGITS, said=_DIGITS, is_money=st.booleans())
def test_another_number_than_the_page_says_is_never_supported(shown, said, is_money):
    assume(said not in (shown, shown * 1000))  # the page says that it is in thousands
    sign = "$" if is_money else ""
    page = page_of(1, f"(in thousands) Net income {sign} {shown:,}".split())
    claim = DraftClaim(f"Net income was {sign}{said:,}.", (Source(1, "Net income"),))
    checker = Checker([page], policy="strict")
    assert checker.check(claim).claim.state is ClaimState.UNSUPPORTED
    right = DraftClaim(f"Net income was {sign}{shown:,}.", (Source(1, "Net income"),))
    assert checker.check(right).claim.state is ClaimState.SUPPORTED


@given(words=st.lists(_PAGE_WORDS, min_size=1, max_size=12))
def test_what_a_page_says_is_supported_by_itself(words):
    page = page_of(1, words)
    assume(any(map(str.isalnum, page.text.text)))
    claim = DraftClaim(page.text.text, (Source(1, page.text.text),))
    found = Checker([page], policy="strict").check(claim).claim
    assert found.state is ClaimState.SUPPORTED
    assert found.text == plain(page.text.text)


@given(text=st.text(max_size=60))
def test_figures_of_any_text_stand_in_their_words(text):
    words = text.split()
    for figure in figures_in(words):
        assert 0 <= figure.start < figure.end <= len(words)
        assert (figure.value is None) == bool(figure.precision)
