"""Periods as columns and questions write them, and which of them are the same."""

from datetime import date

import pytest

from rag.answer.tables.periods import matches, period_in
from rag.answer.tables.table import Period


@pytest.mark.parametrize(
    ("text", "year", "quarter", "end", "months"),
    [
        ("2023", 2023, None, None, None),
        ("Fiscal 2023", 2023, None, None, None),
        ("FY2019", 2019, None, None, None),
        ("FY '19", 2019, None, None, None),
        ("January 28, 2023", 2023, None, date(2023, 1, 28), None),
        ("28 January 2023", 2023, None, date(2023, 1, 28), None),
        ("As at 31.3.2003", 2003, None, date(2003, 3, 31), None),
        ("12/31/18", 2018, None, date(2018, 12, 31), None),
        ("Year ended December 31, 2018", 2018, None, date(2018, 12, 31), 12),
        ("Three Months Ended July 29, 2023", 2023, None, date(2023, 7, 29), 3),
        ("Six months ended June 30, 2014", 2014, None, date(2014, 6, 30), 6),
        ("39 weeks ended October 29, 2022", 2022, None, date(2022, 10, 29), 9),
        ("Q2 FY2024", 2024, 2, None, 3),
        ("second quarter of fiscal 2024", 2024, 2, None, 3),
        ("2Q24", 2024, 2, None, 3),
        ("2023Q4", 2023, 4, None, 3),
        ("fourth quarter", None, 4, None, 3),
        ("2017-18", 2018, None, None, 12),
        ("2008-2012", 2012, None, None, 60),
        ("first half of 2014", 2014, None, date(2014, 6, 30), 6),
        ("H2 2014", 2014, None, date(2014, 12, 31), 6),
        ("April 2021", 2021, None, date(2021, 4, 30), 1),
        ("Dec-18", 2018, None, date(2018, 12, 31), 1),
    ],
)
def test_a_period_is_read_as_written(text, year, quarter, end, months):
    found = period_in(text)
    assert found is not None
    assert (found.text, found.year, found.quarter) == (text, year, quarter)
    assert (found.end, found.months) == (end, months)


@pytest.mark.parametrize("text", ["", "% Change", "Net sales", "31, Location", "1,987", "$2014.50"])
def test_what_says_no_time_is_no_period(text):
    assert period_in(text) is None


def test_words_around_a_year_say_its_last_day_and_its_length():
    found = period_in("2018", "(Millions) Years ended December 31,")
    assert found is not None
    assert (found.end, found.months) == (date(2018, 12, 31), 12)
    quarter = period_in("2022", "Q4 ($ in Millions)")
    assert quarter is not None
    assert (quarter.year, quarter.quarter, quarter.months) == (2022, 4, 3)
    assert period_in("% Change", "Years ended December 31,") is None


def _score(asked: str, column: str) -> float:
    first, second = period_in(asked), period_in(column)
    assert first is not None
    assert second is not None
    return matches(first, second)


@pytest.mark.parametrize(
    ("asked", "column"),
    [
        ("FY2018", "2018"),
        ("FY2018", "Year ended December 31, 2018"),
        ("fiscal year ending January 28, 2023", "January 28, 2023"),
        ("FY2023", "January 28, 2023"),
        ("January 28, 2023", "Fiscal 2023"),
        ("Q2 2023", "Three Months Ended June 30, 2023"),
        ("Q2 of FY2024", "Three Months Ended July 29, 2023"),
        ("Q4 2022", "Q4 2022"),
        ("first half of 2014", "six months ended June 30, 2014"),
    ],
)
def test_two_names_of_one_time_match(asked, column):
    assert _score(asked, column) >= 0.9


@pytest.mark.parametrize(
    ("asked", "column"),
    [
        ("FY2018", "2017"),
        ("FY2023", "January 29, 2022"),
        ("January 28, 2023", "January 29, 2022"),
        ("Q2 2023", "Q3 2023"),
        ("Q2 of FY2024", "Six Months Ended July 29, 2023"),
        ("Q2 2023", "Year ended December 31, 2023"),
        ("three months ended June 30, 2014", "six months ended June 30, 2014"),
    ],
)
def test_another_time_does_not_match(asked, column):
    assert _score(asked, column) <= 0.5


def test_a_year_named_after_its_beginning_scores_lower_than_one_named_after_its_end():
    after_end = _score("fiscal 2023", "January 28, 2023")
    after_beginning = _score("fiscal 2022", "January 28, 2023")
    assert 0 < after_beginning < after_end


def test_a_part_of_a_year_is_a_worse_answer_for_the_year_than_the_year():
    assert _score("2023", "Q4 2023") < _score("2023", "2023")
    assert matches(Period("Q2", quarter=2), Period("Q2", quarter=2)) > 0
