import numpy as np
import pytest
from PIL import Image

from rag.answer.checks.check import Checker
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
    assert found.dropped == ("Evidence [7] was not shown.",)


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
        claim("Revenue: 19,378 and 13,997", "Net revenue $ 19,378", "$ 13,997"),
    )
    assert answer.text == "Net revenue was 19,378. [1] Revenue: 19,378 and 13,997 [1][2]."


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


QUOTE = "Net revenue $ 19,378 $ 13,997"


@pytest.mark.parametrize(
    "text",
    [
        "Net revenue was $19,378 million in 2022.",
        "Net revenue was $19.378 billion.",
        "Net revenue was $19.4 billion.",
        "Net revenue was US$19,378 million.",
        "Net revenue was 19,378,000,000 dollars.",
        "Net revenue was $19,378.",
        "Net revenue had a margin of 12.34%.",
        "Net revenue had a margin of 12.3 percent.",
        "The net loss on revenue was $456 million.",
        "Net revenue and a net loss of $1.20 billion in 2021.",
        "Net revenue rose.",
    ],
)
def test_figures_that_stand_on_the_cited_page_hold(text):
    assert checked(claim(text, QUOTE)).claim.state is ClaimState.SUPPORTED


@pytest.mark.parametrize(
    ("text", "figure"),
    [
        ("Net revenue was $19,379 million.", "$19,379 million"),
        ("Net revenue was $19,378 thousand.", "$19,378 thousand"),
        ("Net revenue was $19,378 billion.", "$19,378 billion"),
        ("Net revenue was \u20ac19,378 million.", "\u20ac19,378 million"),
        ("Net revenue was 19,378 %.", "19,378 %"),
        ("Net revenue had a margin of 12.34.", "12.34"),
        ("Net revenue had a margin of 12.4%.", "12.4%"),
        ("Net revenue had a margin of 12 percent.", "12 percent"),
        ("Net revenue was $19 billion.", "$19 billion"),
        ("Net revenue of 2020 was 19,378.", "2020"),
        ("Net revenue of March 31, 2022 was 19,378.", "March 31, 2022"),
        ("Net revenue was 19,378 kg.", "19,378 kg"),
        ("Net revenue brought a net profit of $456 million.", "$456 million"),
        ("Net revenue rose, with 7 others.", "7"),
    ],
)
def test_figures_that_do_not_stand_there_are_named(text, figure):
    found = checked(claim(text, QUOTE)).claim
    assert found.state is ClaimState.UNSUPPORTED
    assert found.reasons == (f"{figure} stands on no page cited.",)


def test_a_figure_of_a_page_that_is_not_cited_does_not_hold():
    other = page(2, "Net revenue 500")
    assert checked(claim("Net revenue was 500.", QUOTE), INCOME, other).claim.reasons


def test_what_a_document_says_of_its_figures_on_another_page_holds_too():
    first, second = page(1, "Balance sheets (in thousands)"), page(2, "Net revenue 500")
    draft = DraftClaim("Net revenue was 500 thousand.", (Source(2, "Net revenue 500"),))
    assert checked(draft, first, second).claim.state is ClaimState.SUPPORTED
    assert checked(draft, second).claim.state is ClaimState.UNSUPPORTED


def test_dates_hold_in_any_writing_and_heads_of_columns_say_day_and_year_apart():
    heads = page(1, "As of September 30, 2022 2021", "Cash 500 400", "Closed on 3/4/2020")
    for day, state in [
        ("30 September 2021", ClaimState.SUPPORTED),
        ("2022-09-30", ClaimState.SUPPORTED),
        ("September 2022", ClaimState.SUPPORTED),
        ("September 29, 2022", ClaimState.UNSUPPORTED),
        ("September 30, 2019", ClaimState.UNSUPPORTED),
        ("March 4, 2020", ClaimState.SUPPORTED),
        ("5 March 2020", ClaimState.UNSUPPORTED),
    ]:
        found = checked(claim(f"Cash was 500 on {day}.", "Cash 500 400"), heads)
        assert found.claim.state is state, day


def test_a_year_may_stand_in_the_name_of_the_document():
    named = page(1, "Cash 500", source="report FY23.pdf")
    assert checked(claim("Cash was 500 in 2023.", "Cash 500"), named).claim.markers
    assert not checked(claim("Cash was 500 in 2024.", "Cash 500"), named).claim.markers


def test_small_numbers_may_be_spelled_out_on_the_page():
    spelled = page(1, "We have four segments and thirty offices")
    assert checked(claim("There are 4 segments.", "four segments"), spelled).claim.markers
    assert not checked(claim("There are 5 segments.", "four segments"), spelled).claim.markers


def test_a_result_is_held_by_its_operands_and_done_again():
    draft = claim(
        "Net revenue rose by $5,381 million, or 38.4%.",
        QUOTE,
        formula="net revenue 2022 - net revenue 2021",
        expression="(19,378 - 13,997) / 13,997",
    )
    found = checked(draft).claim
    assert found.state is ClaimState.SUPPORTED
    assert found.calculation.value == pytest.approx(0.38444, abs=1e-5)
    assert found.calculation.formula == "net revenue 2022 - net revenue 2021"


@pytest.mark.parametrize(
    ("text", "expression", "reason"),
    [
        ("Net revenue rose by 5,382.", "19,378 - 13,997", "5,382 stands on no page cited."),
        ("Net revenue rose.", "19,378 - 14,000", "14,000 of its arithmetic stands on no page"),
        ("Net revenue rose.", "19,378 - 13,997 = 5,382", "Its arithmetic does not hold"),
        ("Net revenue rose.", "19,378 / 0", "Its arithmetic does not hold"),
        ("Net revenue rose.", "import os", "Its arithmetic does not hold"),
        ("Net revenue rose by \u20ac5,381.", "19,378 - 13,997", "\u20ac5,381 stands on no page"),
    ],
)
def test_arithmetic_that_does_not_come_out_or_is_not_cited_is_no_support(text, expression, reason):
    found = checked(claim(text, QUOTE, formula="difference", expression=expression)).claim
    assert found.state is ClaimState.UNSUPPORTED
    assert found.reasons[0].startswith(reason)


def test_what_was_seen_in_an_image_is_marked_so_and_only_where_one_was_shown():
    seen = DraftClaim("The bar of 2022 is 17 high.", (Source(1),))
    with_image = checked(seen, page(1, "A chart", has_image=True))
    assert with_image.claim.state is ClaimState.VISUAL
    assert with_image.citations[0].is_visual
    assert not with_image.citations[0].boxes
    without = checked(seen, page(1, "A chart"))
    assert without.claim.state is ClaimState.UNSUPPORTED
    assert "not shown as an image" in without.dropped[0]


def test_a_quote_beside_what_was_seen_leaves_its_figures_to_the_image():
    chart = page(1, "Sales by year", has_image=True)
    draft = DraftClaim("Sales were 17.", (Source(1, "Sales by year"), Source(1)))
    assert checked(draft, chart).claim.state is ClaimState.VISUAL


def test_a_quote_that_does_not_speak_of_the_claim_is_none():
    found = checked(claim("Dividends doubled.", "Net revenue $ 19,378"))
    assert found.claim.state is ClaimState.UNSUPPORTED
    assert "does not speak of it" in found.dropped[0]


def test_a_quote_in_another_language_need_not_share_a_word():
    german = page(
        1,
        "Die Gesellschaft hat im Jahr 2022 mit ihren Kunden und den Partnern einen Umsatz erzielt, "
        "der h\u00f6her war als im Jahr davor, und das ist nicht nur durch die Preise bedingt",
    )
    draft = claim("The company grew.", "der h\u00f6her war als im Jahr davor")
    assert checked(draft, german).claim.state is ClaimState.SUPPORTED


def test_a_claim_that_is_its_quote_needs_no_reading_of_its_figures():
    notes = page(1, "Other (5) 7 items")
    assert checked(claim("(5) 7", "(5) 7"), notes).claim.state is ClaimState.SUPPORTED


def test_a_short_answer_is_kept_where_a_claim_that_stands_says_it():
    stands = claim("Net revenue was $19,378 million.", QUOTE)
    fails = claim("Dividends were 55.", "Dividends 55")
    counted = claim("Net revenue rose.", QUOTE, formula="x", expression="19,378 - 13,997")
    for short, kept in [
        ("$19,378 million", True), ("$19,378 Million.", True), ("19378 million", True),
        ("378 million", False), ("55", False), ("5,381", True), ("5,382", False), ("", False),
    ]:  # fmt: skip
        answer = answered(stands, fails, counted, short=short)
        assert answer.short == (short if kept else ""), short


def test_text_of_a_model_is_shown_as_plain_text():
    hostile = claim("Net <b>revenue</b> ![x](http://evil.com/?q=1) was 19,378 [7].", QUOTE)
    assert answered(hostile).text == "Net revenue x was 19,378. [1]"
    abstained = answered(abstained=True, reason="<i>Nothing</i> of [this](http://x.com) is there.")
    assert abstained.abstained
    assert abstained.text == "Nothing of this is there."


def test_an_abstention_cites_and_claims_nothing():
    answer = answered(claim("Net revenue was 19,378.", QUOTE), abstained=True)
    assert answer.abstained
    assert answer.claims == answer.citations == ()
    assert answer.text == "The documents do not answer this question."


def test_no_marker_points_to_a_citation_that_is_not_shown():
    claims = [
        claim("Net revenue was 1.", QUOTE),
        claim("Net revenue was 19,378.", QUOTE),
        claim("Revenue was 13,997.", "$ 13,997"),
    ]
    for policy in ("strict", "flag"):
        answer = answered(*claims, policy=policy)
        shown = {citation.marker for citation in answer.citations}
        assert shown == {marker for each in answer.claims for marker in each.markers} == {1, 2}
