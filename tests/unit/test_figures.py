from datetime import date

import pytest

from rag.answer.figures.read import figures_in
from rag.answer.figures.words import are_one_currency


def read(text):
    """What each figure comes to, with its unit."""
    return [(figure.value, figure.scale, figure.unit) for figure in figures_in(text.split())]


def days(text):
    return [(figure.day, figure.precision) for figure in figures_in(text.split())]


@pytest.mark.parametrize(
    ("text", "value", "scale", "unit"),
    [
        ("1,234.5", 1234.5, 1, ""),
        ("$ 1,234.5 million", 1234.5, 1e6, "$"),
        ("$1,234", 1234, 1, "$"),
        ("(1,234)", -1234, 1, ""),
        ("( 1,234 )", -1234, 1, ""),
        ("$ (56.7)", -56.7, 1, "$"),
        ("$(56.7)", -56.7, 1, "$"),
        ("(6.5)%", -6.5, 1, "%"),
        ("(-5)", -5, 1, ""),
        ("(5)", -5, 1, ""),
        ("\u22125%", -5, 1, "%"),
        ("\u20133", -3, 1, ""),
        ("-$5", -5, 1, "$"),
        ("$-5", -5, 1, "$"),
        ("+5%", 5, 1, "%"),
        ("12 per cent", 12, 1, "%"),
        ("2.5 percentage points", 2.5, 1, "percentage point"),
        ("30bps", 30, 1, "basis point"),
        ("US$5m", 5, 1e6, "USD"),
        ("USD 5 bn", 5, 1e9, "USD"),
        ("5 million dollars", 5, 1e6, "$"),
        ("\u00a33.5bn", 3.5, 1e9, "GBP"),
        ("5,000 EUR", 5000, 1, "EUR"),
        ("Rs. 12,34,567 crore", 1234567, 1e7, "INR"),
        ("2 lakh crore", 2, 1e12, ""),
        ("10k", 10, 1e3, ""),
        ("1.234,56", 1234.56, 1, ""),
        ("1.234.567", 1234567, 1, ""),
        ("1.234", 1.234, 1, ""),
        ("12,5", 12.5, 1, ""),
        ("0,123", 0.123, 1, ""),
        ("1'234.50", 1234.5, 1, ""),
        ("1 234 567 EUR", 1234567, 1, "EUR"),
        ("1 ,234.5", 1234.5, 1, ""),
        (".5", 0.5, 1, ""),
        ("5\u00bd", 5.5, 1, ""),
        ("12-month", 12, 1, "month"),
        ("2,500 kg", 2500, 1, "kg"),
        ("5 kilometres", 5, 1, "km"),
        ("3x", 3, 1, "x"),
        ("5.", 5, 1, ""),
        ("\uff15\uff0e\uff12\uff05", 5.2, 1, "%"),
    ],
)
def test_a_number_is_read_as_it_is_written(text, value, scale, unit):
    assert read(text) == [(value, scale, unit)]


@pytest.mark.parametrize(
    "text",
    [
        "21st 1st 2nd 3rd", "COVID-19", "10-K", "Form 8-K", "3M", "5G", "A4", "CO2", "F-150",
        "EBITDA (1)", "EBITDA(2)", "[3]", "4.1.2", "(3) Includes", "10\u00b2"[2:],
    ],
)  # fmt: skip
def test_what_names_counts_off_or_points_to_a_note_is_no_figure(text):
    assert read(text) == []


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("5 to 7 million", [(5, 1e6, ""), (7, 1e6, "")]),
        ("5\u20137%", [(5, 1, "%"), (7, 1, "%")]),
        ("$5-7 million", [(5, 1e6, "$"), (7, 1e6, "$")]),
        ("3/4", [(3, 1, ""), (4, 1, "")]),
        ("2021\u20132022", [(2021, 1, ""), (2022, 1, "")]),
        ("19,378 13,997 38 %", [(19378, 1, ""), (13997, 1, ""), (38, 1, "%")]),
        ("$ 5 $ 7", [(5, 1, "$"), (7, 1, "$")]),
        ("5 $ 7", [(5, 1, ""), (7, 1, "$")]),
        ("123 456 789", [(123, 1, ""), (456, 1, ""), (789, 1, "")]),
        ("12 (5) 3", [(12, 1, ""), (-5, 1, ""), (3, 1, "")]),
        ("3 - 4 \u2014 5", [(3, 1, ""), (4, 1, ""), (5, 1, "")]),
        ("12%(2) 1,234(1)", [(12, 1, "%"), (1234, 1, "")]),
    ],
)
def test_ranges_fractions_and_rows_of_tables_are_several_figures(text, values):
    assert read(text) == values


@pytest.mark.parametrize(
    ("text", "value"),
    [("Most respondents (65%) said", 65), ("Smith (2022) argued", 2022), ("sold (5 units) of", 5)],
)
def test_brackets_of_a_remark_are_no_minus(text, value):
    assert [figure.value for figure in figures_in(text.split())] == [value]


@pytest.mark.parametrize(
    ("text", "day", "precision"),
    [
        ("March 31, 2022", date(2022, 3, 31), "day"),
        ("31 March 2022", date(2022, 3, 31), "day"),
        ("31st of March, 2022", date(2022, 3, 31), "day"),
        ("31-Mar-22", date(2022, 3, 31), "day"),
        ("2022-03-31", date(2022, 3, 31), "day"),
        ("12/31/2022", date(2022, 12, 31), "day"),
        ("31/12/2022", date(2022, 12, 31), "day"),
        ("31.12.2022", date(2022, 12, 31), "day"),
        ("5/5/2022", date(2022, 5, 5), "day"),
        ("3/4/2022", None, "day"),
        ("31. M\u00e4rz 2022", date(2022, 3, 31), "day"),
        ("June 2020", date(2020, 6, 1), "month"),
        ("Mar-22", date(2022, 3, 1), "month"),
        ("FY22", date(2022, 1, 1), "year"),
        ("FY2022", date(2022, 1, 1), "year"),
        ("3Q22", date(2022, 1, 1), "year"),
        ("September 30,", date(4, 9, 30), "yearless"),
        ("29 February", date(4, 2, 29), "yearless"),
    ],
)
def test_a_date_is_read_in_either_order(text, day, precision):
    assert days(text) == [(day, precision)]


def test_heads_of_columns_are_read_month_by_month():
    assert [day for day, _ in days("March 30 June 30 September 30")] == [
        date(4, 3, 30),
        date(4, 6, 30),
        date(4, 9, 30),
    ]
    assert days("2021/22") == [(None, ""), (date(2022, 1, 1), "year")]


def test_verbs_are_no_months_and_impossible_days_no_dates():
    assert read("may 5 march 12") == [(5, 1, ""), (12, 1, "")]
    assert days("2022-02-31 31/31/2022")[0] == (None, "")


def test_a_figure_names_the_words_it_stands_in():
    words = "Revenue of $ 1,234 million (US$5m) on March 31, 2022.".split()
    spans = [" ".join(words[figure.start : figure.end]) for figure in figures_in(words)]
    assert spans == ["$ 1,234 million", "(US$5m)", "March 31, 2022."]
    assert [figure.text for figure in figures_in(words)] == [
        "$ 1,234 million",
        "US$5m",
        "March 31, 2022",
    ]


def test_digits_without_end_are_read_without_error():
    assert figures_in(["1" * 5000, "1," * 900 + "1", "9" * 39])


def test_a_dollar_may_be_any_dollar_and_a_euro_is_none():
    assert are_one_currency("$", "CAD")
    assert are_one_currency("USD", "$")
    assert not are_one_currency("USD", "CAD")
    assert not are_one_currency("$", "EUR")
