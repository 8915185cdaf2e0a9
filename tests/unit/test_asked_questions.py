"""What a question for a figure wants: names, times, operations, and how to write the value."""

import pytest

from rag.answer.asked_figures.clause import clauses_of
from rag.answer.asked_figures.formula import (
    Amount,
    Constant,
    Mean,
    NoFormulaError,
    Operation,
    parse_formula,
)
from rag.answer.asked_figures.measures import known_measure, measures
from rag.answer.asked_figures.names import label_words, name_words
from rag.answer.asked_figures.periods import periods_in, year_before
from rag.answer.asked_figures.wanted import wanted_of


def test_a_formula_binds_products_before_sums_and_brackets_before_both():
    assert parse_formula("365 * average a / (b + change in c)") == Operation(
        "/",
        Operation("*", Constant("365"), Mean((Amount("a", years_before=1), Amount("a")))),
        Operation("+", Amount("b"), Operation("-", Amount("c"), Amount("c", years_before=1))),
    )


def test_hyphens_and_strokes_inside_names_are_no_operators():
    assert parse_formula("long-term debt less short-term debt") == Operation(
        "-", Amount("long-term debt"), Amount("short-term debt")
    )
    assert parse_formula("and/or fees") == Amount("and/or fees")


def test_the_years_of_a_formula_are_read_out_of_its_names():
    parsed = parse_formula("(FY2019 COGS) / (average inventory between FY2018 and FY2019)")
    assert isinstance(parsed, Operation)
    assert isinstance(parsed.left, Amount)
    assert (parsed.left.name, parsed.left.period.year) == ("COGS", 2019)
    assert isinstance(parsed.right, Mean)
    assert [(part.name, part.period.year) for part in parsed.right.parts] == [
        ("inventory", 2018),
        ("inventory", 2019),
    ]


@pytest.mark.parametrize("text", ["", "a +", "(a", "a / * b", "a )", "FY2019"])
def test_what_is_no_formula_is_said_to_be_none(text):
    with pytest.raises(NoFormulaError):
        parse_formula(text)


@pytest.mark.parametrize(
    ("text", "scale", "is_percent", "decimals"),
    [
        ("What is a? Answer in USD millions.", 1e6, False, None),
        ("What is a (in USD billions)?", 1e9, False, None),
        ("What is a (in USD)?", 1.0, False, None),
        ("What is a? Answer in units of percents and round to one decimal place.", None, True, 1),
        ("What is a? Round your answer to three decimal places.", None, False, 3),
        ("How many more millions of dollars was a than b?", 1e6, False, None),
        ("What is a? Answer in percentage term, round to 2 decimals.", None, True, 2),
        ("How much higher was a (Rupees in lacs) in 2002 than 2001?", 1e5, False, None),
        ("What is a?", None, False, None),
    ],
)
def test_how_to_write_the_value_is_read(text, scale, is_percent, decimals):
    writing = clauses_of(text).writing
    assert (writing.scale, writing.is_percent, writing.decimals) == (scale, is_percent, decimals)


def test_what_to_base_the_answer_on_is_not_what_is_asked():
    clauses = clauses_of(
        "Assume that you are an analyst. Answer by using the balance sheet: what is the year end "
        "FY2018 net PPNE for 3M? Answer in USD billions. Base it on the P&L statement."
    )
    assert clauses.asking == "what is the FY2018 net PPNE for 3M"
    assert clauses.statements == ("income", "balance")


@pytest.mark.parametrize(
    ("text", "year", "quarter", "end"),
    [
        ("FY2018", 2018, None, None),
        ("F2019", 2019, None, None),
        ("fiscal 2023", 2023, None, None),
        ("Q2 of FY2024", 2024, 2, None),
        ("the fiscal year ending January 28, 2023", 2023, None, "2023-01-28"),
        ("the year ended March 31,2003", 2003, None, "2003-03-31"),
        ("31.3.2003", 2003, None, "2003-03-31"),
        ("in 2002", 2002, None, None),
    ],
)
def test_times_are_read(text, year, quarter, end):
    (mention,) = periods_in(text)
    period = mention.period
    assert (period.year, period.quarter) == (year, quarter)
    assert end is None or str(period.end) == end


def test_money_and_counts_are_no_years():
    assert periods_in("$2,018 and 2018% of 12,2019 or 2019.5") == []


def test_the_same_day_a_year_earlier_exists_in_every_year():
    (mention,) = periods_in("February 29, 2020")
    assert str(year_before(mention.period, 1).end) == "2019-02-28"
    assert year_before(mention.period, 0) is mention.period


@pytest.mark.parametrize(
    ("question", "name", "aside"),
    [
        (
            "What is the FY2018 capital expenditure amount for 3M?",
            "capital expenditure amount",
            "3M",
        ),
        ("What is Lockheed Martin's FY2021 revenue?", "revenue", "Lockheed Martin"),
        ("What is the FY2022 revenue for Johnson & Johnson?", "revenue", "Johnson & Johnson"),
        ("what goodwill does Best Buy have in 2023?", "goodwill", "Best Buy"),
        ("What is the debt to equity ratio in 2020?", "debt to equity ratio", ""),
    ],
)
def test_a_figure_asked_for_is_its_name_and_whose_it_is(question, name, aside):
    formula = wanted_of(question).formula
    assert isinstance(formula, Amount)
    assert (formula.name, formula.aside) == (name, aside)


def test_a_question_without_a_figure_wants_none():
    assert wanted_of("Who signed the complaint?") is None
    assert wanted_of("") is None


def test_a_label_is_told_by_its_name_and_not_by_its_asides():
    assert label_words("Income/(loss) before income taxes (Note 5)") == name_words(
        "Income before income taxes"
    )
    assert label_words("Accounts receivable \u2014 net of allowances of $5") == name_words(
        "Accounts receivable"
    )
    assert label_words("(loss)") == ("loss",)


def test_no_two_measures_go_by_one_name():
    owners = {}
    for measure in measures():
        for asked in measure.asked:
            assert owners.setdefault(asked, measure.name) == measure.name


def test_what_a_measure_follows_from_is_a_measure():
    def names(formula):
        match formula:
            case Amount(name):
                yield name
            case Operation(_, left, right):
                yield from names(left)
                yield from names(right)
            case Mean(parts):
                for part in parts:
                    yield from names(part)

    for measure in measures():
        for formula in measure.formulas:
            for name in names(formula):
                assert known_measure(name_words(name)) is not None, (measure.name, name)


@pytest.mark.timeout(20)
def test_a_long_list_of_words_is_read_in_one_go():
    # A pattern that tried every way to divide the words would not come to an end.
    assert clauses_of("harbour" * 60 + "!") is None
