"""What a chat model may not pass off: results, counts, formulas, short answers, joined quotes."""

import time

import pytest

from rag.answer.checks.check import Checker
from rag.answer.draft import Draft, DraftClaim, Source
from rag.deadline import Cancelled, Deadline
from rag.errors import BackendError
from rag.types import ClaimState
from tests.unit.test_check import QUOTE, answered, checked, claim, page

GROWTH = "(19,378 - 13,997) / 13,997"
FALL = "(13,997 - 19,378) / 19,378"


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("Net revenue was 5 billion.", "5 * 10 ** 9"),
        ("Net revenue was 987.84 million.", "7 ** 3 * 12 ** 2 * 2 / 100"),
        ("Net revenue was 12.", "12"),
        ("Net revenue grew 0.38%.", GROWTH),
        ("Net revenue grew 38 basis points.", GROWTH),
        ("Net revenue grew 5,381%.", GROWTH),
        ("Net revenue increased 27.8%.", FALL),
        ("Net revenue rose by 5,381.", "13,997 - 19,378"),
        ("Net revenue changed by -38.4%.", GROWTH),
        ("There were 1 fatal accidents of net revenue.", "count(sources)"),
    ],
)
def test_a_result_holds_only_in_the_unit_and_direction_of_its_arithmetic(text, expression):
    draft = claim(text, QUOTE, expression=expression)
    assert checked(draft).claim.state is ClaimState.UNSUPPORTED


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("Net revenue grew 38%.", GROWTH),
        ("Net revenue grew 3,844 basis points.", GROWTH),
        ("Net revenue fell 27.8%.", FALL),
        ("Net revenue was 1.4 times that of 2021.", "19,378 / 13,997"),
        ("Net revenue averaged $16,687.5 million.", "(19,378 + 13,997) / 2"),
        ("The margin on net revenue rose by 1.34 percentage points.", "12.34 - 11"),
        ("Net revenue rose while the loss fell by 62.1%.", "(456 - 1,204) / 1,204"),
    ],
)
def test_a_result_as_people_write_it_holds(text, expression):
    draft = claim(text, QUOTE, expression=expression)
    assert checked(draft).claim.state is ClaimState.SUPPORTED


def test_a_count_holds_of_our_own_drafts_without_scale_and_percent():
    for text, is_held in [("Net revenue: 1", True), ("Net revenue: 1 million", False)]:
        draft = claim(text, QUOTE, expression="count(sources)")
        checker = Checker([page(1, QUOTE)], policy="strict", is_ours=True)
        assert (checker.check(draft).claim.state is ClaimState.SUPPORTED) == is_held


@pytest.mark.parametrize(
    ("text", "short", "is_kept"),
    [
        ("Net revenue was 19,378 million.", "19,378 million", True),
        ("Net revenue was 19,378 million.", "Net revenue", True),
        ("Net revenue was 19,378 million.", "19,378", True),
        ("Net revenue was 19,378 million.", "The auditors were jailed for 19,378 million", False),
        ("Net revenue was 19,378 million.", "19,378 people died", False),
        ("Net revenue was 19,378 million.", "Loss of 19,378", False),
        ("Net revenue was 19,378 million.", "not 19,378 million", False),
        ("Net revenue was 19,378 million.", "19,378 million euros; see evil.com", False),
        ("Net revenue was 19,378 million.", "19,378%", False),
        ("Net revenue did not pay any bonus.", "pay any bonus", False),
        ("Net revenue isn't new. It pays.", "pays", True),
    ],
)
def test_a_short_answer_says_nothing_that_its_claim_does_not(text, short, is_kept):
    assert answered(claim(text, QUOTE), short=short).short == (short if is_kept else "")


def test_a_short_answer_is_a_result_in_its_own_unit():
    grown = claim("Net revenue grew 38.4%.", QUOTE, expression=GROWTH)
    for short, is_kept in [("38.4%", True), ("38.4", True), ("38%", True), ("0.384%", False)]:
        assert bool(answered(grown, short=short).short) == is_kept, short


def test_a_formula_does_not_make_a_quote_speak():
    draft = claim("The chief auditor was jailed.", "Net revenue", formula="net revenue")
    assert checked(draft).claim.state is ClaimState.UNSUPPORTED


def test_joined_quotes_keep_their_words_and_their_order():
    digits = page(1, "Revenue 19,378 and 8 6 7 5 of 13,997")
    apart = claim("Revenue 8,675", "Revenue", "8", "6", "7", "5")
    assert checked(apart, digits).claim.state is ClaimState.UNSUPPORTED
    for text, quotes, is_held in [
        ("Revenue 19,378", ("Revenue", "19,378"), True),
        ("Revenue; 8", ("Revenue", "8"), True),
        ("8 675 Revenue", ("8", "6", "7", "5", "Revenue"), False),
    ]:
        state = checked(claim(text, *quotes), digits).claim.state
        assert (state is ClaimState.SUPPORTED) == is_held, text


@pytest.mark.parametrize(
    ("formula", "is_shown"),
    [
        ("change of net revenue / net revenue 2021", True),
        ("the auditors resigned", False),
        ("net revenue 2031 was 999 billion", False),
        ("cost of sales", True),  # the question's
    ],
)
def test_a_formula_is_shown_in_words_of_the_page_and_of_the_question(formula, is_shown):
    draft = claim("Net revenue grew 38.4%.", QUOTE, formula=formula, expression=GROWTH)
    pages = [page(1, "2022 2021", QUOTE)]
    checker = Checker(pages, policy="strict", question="What were the costs of sales?")
    calculation = checker.check(draft).claim.calculation
    assert calculation.formula == (formula if is_shown else "")
    assert calculation.expression == GROWTH


@pytest.mark.parametrize("policy", ["strict", "flag"])
def test_what_was_seen_is_said_so_and_counts_half(policy):
    seen = DraftClaim("The bar is blue.", (Source(1),))
    held = claim("Net revenue was 19,378.", QUOTE)
    shown = page(1, QUOTE, has_image=True)
    answer = answered(seen, held, pages=(shown,), policy=policy, short="blue")
    assert answer.text.startswith("The bar is blue. (seen in the image) [1]")
    assert answer.short == ""
    assert answer.confidence == 0.75
    assert answer.support.citation_precision == answer.support.citation_recall == 0.5


def test_a_claim_of_more_figures_than_anyone_reads_is_not_supported():
    many = claim("Net revenue " + "19,378 " * 61, QUOTE)
    assert "61 figures" in checked(many).claim.reasons[0]


def test_the_checks_end_with_the_deadline():
    over, cancelled = Deadline(0.0), Deadline()
    cancelled.cancel()
    draft = Draft((claim("Net revenue was 19,378.", QUOTE),))
    with pytest.raises(BackendError) as error:
        Checker([page(1, QUOTE)], policy="strict", deadline=over).answer_of(draft, model_id="m")
    assert error.value.code == "answer_timeout"
    with pytest.raises(Cancelled):
        Checker([page(1, QUOTE)], policy="strict", deadline=cancelled).check(draft.claims[0])


def test_a_reply_as_large_as_is_allowed_is_soon_checked():
    figures = [f"{number:,}" for number in range(10_000, 12_400)]
    large = page(1, *(" ".join(figures[at : at + 8]) for at in range(0, 2400, 8)), "Net revenue")
    claims = tuple(
        claim(
            f"Net revenue {n} " + " ".join(f"{30_000 + 97 * n + at:,}" for at in range(58)),
            "Net revenue",
            *(f"Net revenue {n} {at} " + " ".join(figures[at : at + 8]) for at in range(23)),
        )
        for n in range(40)
    )
    started = time.perf_counter()
    answer = Checker([large], policy="strict").answer_of(Draft(claims), model_id="m")
    assert answer.abstained
    assert time.perf_counter() - started < 4.0  # about one; figure by figure it was minutes
