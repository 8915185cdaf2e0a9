"""Which gold answers can be judged by rule, and when an answer is the gold answer."""

import random
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.answers.match import anls, countable, counted_table, exact_match, matches, token_f1
from eval.datasets.folder import load_dataset

COUNTED = Path(__file__).parents[2] / "eval" / "counted"


@pytest.mark.parametrize(
    ("gold", "kind"),
    [
        ("5818", "number"),
        ("$5,818.00", "number"),
        ("31400000.0", "number"),
        ("-3.65%", "number"),
        ("(3.65)%", "number"),
        ("300 million", "number"),
        ("US$ 1.2 bn", "number"),
        ("13929 ", "number"),
        ("10 hours", "number"),
        ("0", "number"),
        ("January 28, 2023", "date"),
        ("28 Jan. 2023", "date"),
        ("2023-01-28", "date"),
        ("June 2022", "date"),
        ("2022", "number"),  # as good as a year
        ("Mr. S. V. Example", "name"),
        ("President and Chief Executive Officer", "name"),
        ("4G", "name"),
        ("18-34", "name"),
        ("P1.1", "name"),
        ("EXAMPLE STATE COMMISSION.", "name"),
        ("Example Holdings Inc.", "name"),
        ("Vienna, Austria", "name"),
        ("", None),
        ("red", None),
        ("Yes", None),
        ("True", None),
        ("No, it is not", None),
        ("['a', 'b']", None),
        ("[2005, 2006]", None),
        ("Vienna, Graz, Linz", None),
        ("Vienna; Graz", None),
        ("Sales fell sharply.", None),
        ("Will it last?", None),
        ("One Two Three Four Five Six Seven", None),
        ("It made 13.2 billion dollars from the sale.", None),
    ],
)
def test_a_single_number_date_or_name_is_counted(gold, kind):
    assert countable(gold) == kind


@pytest.mark.devset
@pytest.mark.parametrize("collection", ["finance", "visual"])
def test_the_committed_list_of_counted_questions_is_what_the_rule_says(devset, collection):
    queries = load_dataset(devset / collection).queries.values()
    listed = (COUNTED / f"pagegold-dev-{collection}.tsv").read_text(encoding="utf-8")
    assert listed == counted_table({query.id: query.answer for query in queries})


@pytest.mark.parametrize(
    ("said", "gold", "question"),
    [
        ("5,818", "$5818.00", ""),
        ("$5,818 million", "$5818.00", "What was it? Answer in USD millions."),
        ("5,818 million", "5818", ""),
        ("$5.818 billion", "$5818.00", "What was it in USD millions?"),
        ("$31.4 million", "31400000.0", ""),
        ("31.4 million dollars", "31400000.0", ""),
        ("$31.4M", "31400000.0", ""),
        ("62.7%", "0.627", ""),
        ("0.627", "62.7%", ""),
        ("62.7", "62.7%", ""),
        ("62.7 percent", "62.7%", ""),
        ("20.7%", "20.7", "How many percent? Round to one decimal place."),
        ("62.74%", "0.627", ""),
        ("1.4%", "0.01", ""),
        ("24.2551", "24.26", ""),
        ("24.05", "24.26", "Round your answer to two decimal places."),
        ("$8,738 million", "$8.70", "Answer in USD billions."),
        ("155.98 lacs", "155.98", "How much higher was the dividend (Rupees in lacs)?"),
        ("300", "300 million", "What is this value in USD million?"),
        ("299.8 million", "300 million", ""),
        ("93.4", "93", "What is the fair value? Answer in million."),
        ("(3.65)%", "-3.65%", ""),
        ("\u22123.65%", "-3.65%", ""),
        ("four", "4", ""),
        ("0", "0.0", "Answer in USD billion."),
        ("$0 million", "0", "Answer in USD billion."),
        ("5818000000", "5818", "Answer in USD millions."),
        ("4 cars", "4", ""),
        ("10 hour", "10 hours", ""),
        ("10 Hours", "10 hours", ""),
        ("0V", "0V", ""),
        ("5 kV", "5kV", ""),
        ("3GHz", "3 GHz", ""),
        ("Four", "4", ""),
        ("about 978 stores", "978", ""),
        ("FY2022", "2022", ""),
        ("December 31, 2022", "2022", ""),
        ("28 January 2023", "January 28, 2023", ""),
        ("01/28/2023", "2023-01-28", ""),
        ("Saturday, January 28th, 2023", "2023-01-28", ""),
        ("January 28, 2023", "Jan 2023", ""),
        ("the example  SENSOR", "Example sensor", ""),
        ("S. V. Example", "S.V. Example.", ""),
        ("1 800 555 0100", "1-800-555-0100", ""),
        ("18\u201334", "18-34", ""),
    ],
)
def test_an_answer_of_equal_value_is_the_gold_answer(said, gold, question):
    assert matches(said, gold, question=question)


@pytest.mark.parametrize(
    ("said", "gold", "question"),
    [
        ("", "5818", ""),
        ("", "", ""),
        ("5,817", "5818", ""),
        ("5,818 thousand", "$5818.00", "Answer in USD millions."),
        ("31.4", "31400000.0", ""),
        ("31.4 billion", "31400000.0", ""),
        ("62.7", "0.627", ""),
        ("62.7%", "62.7", ""),
        ("0.627%", "62.7%", ""),
        ("0.627", "62.7", "How many percent?"),
        ("3.65%", "-3.65%", ""),
        ("6.29", "6.31", "What are basic earnings per share?"),
        ("24.0", "24.26", "Round your answer to two decimal places."),
        ("4.3", "4", "How many cars are there?"),
        ("1.5", "0", "What was it worth? Answer in USD billion."),
        ("1", "0", "What was it worth? Answer in USD billion."),
        ("0.3%", "0%", ""),
        ("0.004", "0.00", "Round to two decimals."),
        ("10 months", "10 hours", ""),
        ("\u20ac5,818", "$5818", ""),
        ("5,818 and 5,819", "5818", ""),
        ("It was 5,818.", "5818", ""),
        ("2023", "January 28, 2023", ""),
        ("January 27, 2023", "January 28, 2023", ""),
        ("December 31, 2021", "2022", ""),
        ("4G", "4", ""),
        ("Recruiter", "Recruiter A", ""),
        ("P11", "P1.1", ""),
        ("1834", "18-34", ""),
        ("Example sensor of light", "Example sensor", ""),
        ("...", "!", ""),
    ],
)
def test_another_value_is_not(said, gold, question):
    assert not matches(said, gold, question=question)


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.sampled_from(["{:,}", "${:,}", "{}.00"]))
def test_a_whole_number_matches_itself_in_other_writings_and_no_other(number, other, writing):
    assert matches(writing.format(number), str(number))
    assert matches(writing.format(other), str(number)) == (other == number)


@given(st.text(max_size=40))
def test_any_text_can_be_judged_and_what_counts_matches_itself(text):
    if countable(text) is not None:
        # A text without any letter or digit names nothing.
        assert matches(text, text) or not any(map(str.isalnum, text))


def test_anls_is_that_of_the_worked_examples():
    assert anls("2013", "2018") == 0.75
    assert anls("pepsi cola", "pepsi") == 0
    assert anls(" Pepsi ", "pepsi") == 1
    assert anls("", "") == 1
    assert anls("", "x") == 0


def test_exact_match_and_f1_leave_out_articles_case_and_punctuation():
    assert exact_match("The Eiffel-Tower!", "eiffeltower") == 1
    assert exact_match("Eiffel Tower", "Tower") == 0
    assert token_f1("the Eiffel Tower", "Tower") == pytest.approx(2 / 3)
    assert token_f1("", "Tower") == 0
    assert token_f1("the", "a") == 1


@given(st.text("ab c", max_size=12), st.text("ab c", max_size=12))
def test_measures_of_wording_are_symmetric_and_between_0_and_1(first, second):
    for measure in (anls, exact_match, token_f1):
        assert 0 <= measure(first, second) <= 1
        assert measure(first, second) == pytest.approx(measure(second, first))
        assert measure(first, first) == 1


def test_the_edit_distance_is_that_of_edits_made():
    # An oracle by construction: so many replaced letters, and nothing can be cheaper.
    draws = random.Random(0)
    text = "abcdefghijklmnopqrst"
    values = []
    for n_replaced in range(10):
        places = draws.sample(range(len(text)), n_replaced)
        said = "".join("#" if i in places else letter for i, letter in enumerate(text))
        values.append(anls(said, text))
    assert values == pytest.approx([1 - n / len(text) for n in range(10)])
    assert all(better > worse for better, worse in pairwise(values))
