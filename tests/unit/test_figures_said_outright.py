"""Figures that one sentence says outright, and labels that go on."""

import pytest
from figure_pages import prose, statement

from rag.answer.asked_figures.propose import figure_proposal
from rag.answer.question import Question


def proposed(question, pages):
    return figure_proposal(Question(question), pages)


@pytest.mark.parametrize(
    ("question", "said", "is_sure"),
    [
        ("What proportion of harbour pilots have a night licence?", "35%", True),
        ("What proportion of harbour pilots have a foreign licence?", "35%", False),
        ("What proportion of night pilots have a licence of Ostend harbour?", "35%", False),
    ],
)
def test_a_figure_is_sure_where_one_sentence_says_all_that_is_asked(question, said, is_sure):
    page = prose(
        1, "By the end of the year 35% of the harbour pilots were given a licence for the night."
    )
    proposal = proposed(question, (page,))
    if is_sure:
        assert (proposal.draft.short, proposal.confidence >= 0.6) == (said, True)
    else:
        assert proposal is None or proposal.confidence < 0.45


def test_a_table_that_was_read_as_prose_says_nothing_outright():
    row = "Mooring bollards of the harbour N 44 P 40 D 38"
    question = "How many mooring bollards does the harbour have?"
    told = proposed(question, (prose(1, "The harbour has 44 mooring bollards."),))
    read = proposed(question, (prose(1, row),))
    assert told is not None
    assert told.confidence >= 0.45
    assert read is None or read.confidence < 0.45


def test_what_a_debt_costs_has_its_discount_in_it():
    note = statement(
        4,
        "Interest and other expense, net (in millions)",
        {
            "Interest income": ("(79)", "(65)"),
            "Interest expense and amortization of debt discount and issue costs": ("91", "140"),
            "Interest and other expense, net": ("12", "75"),
        },
        heads=("2021", "2020"),
    )
    operating = statement(
        2, "Consolidated Statements of Earnings", {"Operating profit": ("9,100", "8,644")}
    )
    question = "What is the interest coverage ratio in FY2021?"
    proposal = proposed(question, (operating, note))
    assert (proposal.draft.short, proposal.confidence > 0.45) == ("100.00", True)


@pytest.mark.parametrize("said", ["70 billion", "$70 billion", "EUR 70 billion"])
def test_money_is_told_by_its_scale_where_no_currency_is_written(said):
    page = prose(1, "Annual report", f"Acme revenue was {said} in 2022.")
    found = figure_proposal(Question("What was Acme's revenue in 2022?"), [page])
    assert found.draft.short == said
    assert found.confidence > 0.45
    assert figure_proposal(Question("What was Acme's revenue in 2021?"), [page]) is None
