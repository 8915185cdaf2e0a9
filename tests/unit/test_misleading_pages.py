"""Pages that have almost what is asked for: another company, year, unit, scale, row or length.

A figure of one of those is no answer, however well its row is called.
"""

import numpy as np
import pytest
from figure_pages import prose, statement

from rag.answer.extractive import ExtractiveAnswers
from rag.ports import AnswerRequest, EncodedQuery
from rag.settings import AnswerSettings
from rag.types import MultiVector

INCOME = "Consolidated Statements of Income"
BALANCE = "Consolidated Balance Sheets"
ROWS = {"Net sales": ("900", "800"), "Net income": ("90", "80")}
SEGMENTS = statement(
    1,
    "Segments",
    {
        "Americas operating income": ("100", "90"),
        "Europe operating income": ("300", "200"),
        "Total operating income": ("400", "290"),
    },
)
QUARTERS = statement(1, "Quarterly results", ROWS, heads=("Q2 2021", "Q1 2021"))
PEERS = statement(1, "Peers in 2021", ROWS, heads=("Bolt", "Zenith"))
CURRENT = statement(1, BALANCE, {"Total current liabilities": ("100", "90"), "Other": ("3", "4")})
CONTINUING = statement(
    1,
    INCOME,
    {
        "Net income from continuing operations": ("100", "90"),
        "Net income from discontinued operations": ("3", "4"),
    },
)


def told(question, *pages):
    """What the answer comes to; empty where the model abstains."""
    vector = np.eye(1, 4, dtype=np.float32)
    query = EncodedQuery(MultiVector(vector), vector[0])
    answer = ExtractiveAnswers(AnswerSettings()).answer(AnswerRequest(question, query, pages))
    return "" if answer.abstained else answer.short or answer.text


@pytest.mark.parametrize(
    ("question", "page"),
    [
        # another company
        (
            "What was the revenue of Zenith in FY2021? Answer in millions.",
            statement(1, INCOME, ROWS, source="BOLT_2021_10K.pdf"),
        ),
        ("What was Zenith's net income in 2021?", statement(1, f"Bolt Inc. {INCOME}", ROWS)),
        ("What was Corex's net sales in 2021?", PEERS),
        (
            "What was the advertising expense of Zenith in 2021?",
            prose(1, "Bolt said its advertising expense was $40 million in 2021."),
        ),
        # another year
        ("What was net income in 2018?", statement(1, f"{INCOME} since 2018", ROWS)),
        ("What is the growth rate of revenue in FY2020?", statement(1, INCOME, ROWS)),
        # another length of time
        ("What was net sales in the second quarter of 2021?", statement(1, INCOME, ROWS)),
        ("What was net sales in 2021?", QUARTERS),
        (
            "What was net sales in 2021?",
            statement(1, f"{INCOME} for the three months ended June 30,", ROWS),
        ),
        # another row
        ("What was operating income of the Asia segment in 2021?", SEGMENTS),
        ("What were total liabilities in 2021?", CURRENT),
        ("What was net income in 2021?", CONTINUING),
        # another unit, and a scale that no page says
        (
            "What was net income in 2021?",
            statement(1, INCOME, ROWS, scale="(percent of net sales)"),
        ),
        (
            "What was net sales in 2021? Answer in USD millions.",
            statement(1, INCOME, ROWS, scale="(EUR in millions)"),
        ),
        (
            "What were total assets in 2021? Answer in millions.",
            statement(
                1, BALANCE, {"Total assets": ("5,000", "4,800"), "Equity": ("9", "8")}, scale=""
            ),
        ),
        # a share of a loss
        (
            "What is the growth rate of net income in 2021?",
            statement(
                1, INCOME, {"Net sales": ("900", "800"), "Net income (loss)": ("90", "(80)")}
            ),
        ),
    ],
)
def test_a_figure_that_is_almost_the_one_asked_for_is_not_given(question, page):
    assert told(question, page) == ""


@pytest.mark.parametrize(
    ("question", "page", "value"),
    [
        ("What was Zenith's net sales in 2021?", PEERS, "$800 million"),
        ("What was operating income of the Europe segment in 2021?", SEGMENTS, "$300 million"),
        ("What was net sales in Q2 2021?", QUARTERS, "$900 million"),
        ("What was the total operating income in 2021?", SEGMENTS, "$400 million"),
        ("What were total current liabilities in 2021?", CURRENT, "$100 million"),
        (
            "What was net sales in the three months ended June 30, 2021?",
            statement(1, f"{INCOME} for the three months ended June 30,", ROWS),
            "$900 million",
        ),
        (
            "What was net sales in 2020 as restated?",
            statement(
                1,
                INCOME,
                {"Net sales": ("900", "800", "820"), "Net income": ("90", "80", "82")},
                heads=("2021", "2020 (as reported)", "2020 (restated)"),
            ),
            "$820 million",
        ),
        (
            "What was the actual capital expenditure in 2021?",
            statement(
                1,
                "Capital plan",
                {"Capital expenditures": ("100", "90"), "Depreciation": ("3", "4")},
                heads=("2021 Budget", "2021 Actual"),
            ),
            "$90 million",
        ),
        (
            "What was net income in 2021?",
            statement(1, INCOME, {"Net sales": ("9", "8"), "Net income (loss)": ("(90)", "80")}),
            "-$90 million",
        ),
        (
            "What were total assets in 2021? Answer in millions.",
            statement(
                1,
                BALANCE,
                {"Total assets": ("5,000,000", "4"), "Total equity": ("9", "8")},
                scale="(in thousands)",
            ),
            "5000",
        ),
        (
            "What was the gross margin percent in 2021?",
            statement(
                1,
                INCOME,
                {
                    "Net sales": ("900", "800"),
                    "Cost of sales": ("600", "500"),
                    "Gross margin": ("300", "300"),
                },
            ),
            "33.33%",
        ),
        (
            "By how many percentage points did the gross margin rate change from 2020 to 2021?",
            statement(
                1,
                "Margins",
                {"Gross margin rate": ("33.0%", "30.0%"), "Tax rate": ("9.0%", "8.0%")},
                scale="",
            ),
            "3.0%",
        ),
    ],
)
def test_the_figure_asked_for_is_told_from_those_beside_it(question, page, value):
    assert told(question, page) == value


def test_a_cover_tells_whose_the_statements_are_where_files_have_other_names():
    question = "What was Zenith's net income in 2021?"
    page = statement(7, INCOME, ROWS, source="scan_0007.pdf")
    (further,) = [
        each
        for each in ExtractiveAnswers(AnswerSettings()).further_searches(question, [page.hit])
        if each.page_numbers
    ]
    assert (further.document_id, further.page_numbers) == (page.hit.ref.document_id, (1,))
    cover = prose(1, "Zenith plc", "Annual report 2021", source="scan_0007.pdf")
    assert told(question, page) == ""
    assert told(question, page, cover) == "$90 million"


def test_no_cover_is_looked_for_where_a_file_is_called_after_the_company():
    page = statement(7, INCOME, ROWS, source="ZENITH_2021.pdf")
    model = ExtractiveAnswers(AnswerSettings())
    further = model.further_searches("What was Zenith's net income in 2021?", [page.hit])
    assert [each.page_numbers for each in further] == [()]


def test_a_misspelt_company_is_still_known_by_its_file():
    page = statement(1, INCOME, ROWS, source="ACTIVISIONBLIZZARD_2021_10K.pdf")
    question = "What was the revenue of Activsion Blizzard in FY2021? Answer in USD millions."
    assert told(question, page) == "900"


def test_a_share_is_no_number_of_things():
    rows = {"Stores closed": ("4%", "3%"), "Stores opened": ("5%", "6%")}
    page = statement(1, "Stores", rows, scale="")
    # The row may be quoted; "4%" is not said to be how many.
    assert not told("How many stores closed in 2021?", page).startswith("4%")
    assert told("What percent of stores closed in 2021?", page) == "4%"
