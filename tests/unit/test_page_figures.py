import pytest

from rag.types import ClaimState
from tests.unit.test_check import checked, claim, page

REPORT = page(
    1,
    "Consolidated income statement for the year ended 31 December 2023",
    "(In millions, except number of shares, which are reflected in thousands)",
    "2023 2022",
    "Revenue 19,378 13,997",
    "(Loss) profit before tax (512) 330",
    "Shares outstanding 15,744 16,012",
    "Revenue grew in the first quarter of 2023 and fell in Q3 2023.",
    "The board proposes a dividend of 2.10 EUR per share, payable on 4 April 2024.",
    "The company has 48 offices. Margin was 12.5% in 2023.",
    "It filed a 10-K and measures CO\u2082.",
    "Note 1 2 3 4 5 6 7 8 9",
)
REVENUE, LOSS = "Revenue 19,378", "profit before tax (512) 330"


def state(text, quote=REVENUE):
    return checked(claim(text, quote), REPORT).claim.state


@pytest.mark.parametrize(
    "amount",
    [
        "987B", "450M", "AED987 million", "R987 million", "EURO987 million", "_987 million",
        "about-987 million", "Euro-999 million", "999pts", "999tr", "9e12", "98.7.6 million",
        "9.99.9%", "987..5", "1" * 46, "17.11.19", "\u2079\u2078\u2077 million",
        "\u2468\u2467\u2466", "\u215e", "XCIX million", "\u4e5d\u767e\u516b\u5341\u4e03",
    ],
)  # fmt: skip
def test_digits_that_no_page_shows_do_not_hold_however_they_are_written(amount):
    assert state(f"Revenue was {amount}.") is ClaimState.UNSUPPORTED


@pytest.mark.parametrize(
    ("text", "quote"),
    [
        ("Revenue grew in the 4th quarter.", "grew in the first quarter"),
        ("Revenue fell in Q4 2023.", "fell in Q3 2023"),
        ("Revenue fell in H2 2023.", "fell in Q3 2023"),
        ("The dividend is payable on the 27th.", "payable on 4 April 2024"),
        ("The dividend is payable on 4 April 2022.", "payable on 4 April 2024"),
        ("Revenue was $1 billion, says page 1.", REVENUE),
        ("The profit before tax was 512 million.", LOSS),
        ("Income before interest and tax rose to 512 million.", LOSS),
        ("Paid or not, the profit was 512 million.", LOSS),
        ("The profit before tax was -330 million.", LOSS),
        ("Margin was -12.5%.", "Margin was 12.5%"),
        ("Revenue was 19,378 thousand.", REVENUE),
        ("Revenue grew 9%.", "Revenue grew"),
        ("The dividend is 2 EUR.", "dividend of 2.10 EUR"),
        ("The company has 48 employees.", "company has 48 offices"),
    ],
)
def test_another_period_sign_scale_or_unit_does_not_hold(text, quote):
    assert state(text, quote) is ClaimState.UNSUPPORTED


@pytest.mark.parametrize(
    ("text", "quote"),
    [
        ("Revenue was 19.378B, see page 1.", REVENUE),
        ("Revenue was 19,378M in 2023.", REVENUE),
        ("The company filed a 10-K on CO\u2082 and revenue.", REVENUE),
        ("Revenue grew in Q1.", "Revenue grew in the first quarter"),
        ("Revenue grew in the 1st quarter of 2023.", "grew in the first quarter"),
        ("Revenue fell in the third quarter.", "fell in Q3 2023"),
        ("The dividend is payable on the 4th.", "payable on 4 April 2024"),
        ("The dividend is EUR2.10, payable on April 4, 2024.", "dividend of 2.10 EUR"),
        ("The loss before tax was 512 million.", LOSS),
        ("Outstanding were 15,744 thousand shares.", "Shares outstanding 15,744"),
        ("The margin was 12.5 percent.", "Margin was 12.5%"),
    ],
)
def test_what_the_page_shows_holds_in_other_writing(text, quote):
    assert state(text, quote) is ClaimState.SUPPORTED


def test_the_scale_nearest_above_counts():
    tables = page(
        1, "Sales (in millions)", "Europe 1,250", "Staff cost (in thousands)", "Asia 3,470"
    )
    for text, quote, is_held in [
        ("Europe had 1,250 million.", "Europe 1,250", True),
        ("Europe had 1,250 thousand.", "Europe 1,250", False),
        ("Asia had 3,470 thousand.", "Asia 3,470", True),
        ("Asia had 3,470 million.", "Asia 3,470", False),
    ]:
        found = checked(claim(text, quote), tables).claim
        assert (found.state is ClaimState.SUPPORTED) is is_held, text


def test_a_unit_may_stand_over_a_column_or_in_a_title():
    table = page(1, "Share of answers in %", "Yes 64", "No 36")
    assert checked(claim("Yes said 64%.", "Yes 64"), table).claim.state is ClaimState.SUPPORTED
