import numpy as np
import pytest
from PIL import Image

from rag.answer.check import Checker
from rag.answer.draft import Draft, DraftClaim, Source
from rag.page_text import PageText
from rag.ports import Evidence
from rag.types import ClaimState, PageHit, PageRef, RenderedPage


def page(number, *lines, has_image=False, source="report.pdf", confidence=None):
    """A page of evidence; its words stand ten points apart, its lines twenty."""
    words = tuple(word for line in lines for word in line.split())
    line_of = np.array([n for n, line in enumerate(lines) for _ in line.split()], np.int32)
    column = np.array([n for line in lines for n in range(len(line.split()))], np.float32)
    boxes = np.stack([column * 10, line_of * 20, column * 10 + 9, line_of * 20 + 12], axis=1)
    text = PageText(
        words,
        boxes.astype(np.float32),
        line_of,
        np.full(len(words), 10, np.float32),
        np.zeros(len(words), np.bool_),
        None if confidence is None else np.full(len(words), confidence, np.float32),
    )
    image = RenderedPage(Image.new("RGB", (6, 8)), 600, 800) if has_image else None
    hit = PageHit(number, PageRef("d", number), source, 1.0, 1.0, "", ())
    return Evidence(
        number, hit, text, np.zeros((0, 4), np.float32), np.zeros(0, np.int32), image=image
    )


INCOME = page(
    1,
    "Consolidated statements of income (in millions)",
    "2022 2021",
    "Net revenue $ 19,378 $ 13,997",
    "Operating margin 12.34 % 11 %",
    "Net loss (456) (1,204)",
)


def claim(text, *quotes, **more):
    return DraftClaim(text, tuple(Source(1, quote) for quote in quotes), **more)


def checked(draft, *pages, policy="strict"):
    return Checker(pages or [INCOME], policy=policy).check(draft)


def answered(*claims, pages=(INCOME,), policy="strict", **more):
    return Checker(pages, policy=policy).answer_of(Draft(claims, **more), model_id="m")


def test_a_claim_whose_quote_stands_on_its_page_is_shown_with_its_place():
    answer = answered(claim("Net revenue was $19,378 million.", "Net revenue $ 19,378"))
    assert answer.text == "Net revenue was $19,378 million. [1]"
    assert not answer.abstained
    assert answer.citations[0].quote == "Net revenue $ 19,378"
    assert answer.citations[0].boxes == ((0, 40, 39, 52),)
    assert answer.support.citation_precision == answer.support.citation_recall == 1


def test_a_page_that_was_not_shown_is_no_source():
    draft = DraftClaim("Net revenue rose.", (Source(7, "Net revenue"),))
    found = checked(draft)
    assert found.claim.state is ClaimState.UNSUPPORTED
    assert found.citations == ()
    assert "[7]" in found.dropped[0]


def test_a_claim_checked_as_it_arrived_is_not_checked_again():
    checker = Checker([INCOME], policy="strict")
    draft = claim("Net revenue was 19,378.", "Net revenue $ 19,378")
    early = checker.check(draft)
    answer = checker.answer_of(Draft((draft,)), model_id="m")
    assert early.citations == answer.citations
    assert early.claim == answer.claims[0]


def test_the_same_words_of_the_same_page_have_one_marker():
    answer = answered(
        claim("Net revenue was 19,378.", "Net revenue $ 19,378"),
        claim("Revenue: 19,378", "Net revenue $ 19,378", "$ 13,997"),
    )
    assert answer.text == "Net revenue was 19,378. [1] Revenue: 19,378 [1][2]."


@pytest.mark.parametrize(("policy", "text"), [("strict", ""), ("flag", " [unsupported]")])
def test_what_does_not_hold_is_left_out_or_marked(policy, text):
    answer = answered(
        claim("Net revenue was 19,378.", "Net revenue $ 19,378"),
        claim("Dividends doubled.", "Dividends doubled"),
        policy=policy,
    )
    said = f" Dividends doubled.{text}" if text else ""
    assert answer.text == f"Net revenue was 19,378. [1]{said}"
    assert "Dividends doubled." in answer.unsupported
    assert answer.support.citation_precision == answer.support.citation_recall == 0.5


def test_an_answer_of_which_nothing_stands_is_an_abstention():
    answer = answered(claim("Dividends doubled.", "Dividends doubled"), policy="flag")
    assert answer.abstained
    assert answer.citations == ()
    assert "pages shown" in answer.text
    assert answer.confidence == 0
