from hypothesis import given, settings
from hypothesis import strategies as st
from listed_pages import page

from rag.answer.asked_lists.propose import list_proposal
from rag.answer.checks.check import Checker
from rag.answer.question import Question

NAMES = ("Amber", "Birch", "Cedar", "Dahlia", "Elm", "Fern", "Ginkgo", "Hazel")


def checked_short(question, *pages):
    found = list_proposal(Question(question), pages)
    if found is None:
        return None
    assert 0 <= found.confidence <= 1
    return Checker(pages, policy="strict", is_ours=True).answer_of(found.draft, model_id="m").short


def table(amounts):
    return page(
        1,
        "Trees of the park",
        "Tree | Height | Age",
        *(f"{name} | {amount} | 7" for name, amount in zip(NAMES, amounts, strict=False)),
    )


amounts = st.lists(st.integers(11, 9999), min_size=3, max_size=8, unique=True)


@settings(max_examples=40, deadline=None)
@given(amounts)
def test_the_largest_the_second_and_the_least_are_those_of_sorting(values):
    trees = table(values)
    by_value = sorted(zip(values, NAMES, strict=False))
    assert checked_short("Which tree has the largest height?", trees) == by_value[-1][1]
    assert checked_short("Which tree has the second largest height?", trees) == by_value[-2][1]
    assert checked_short("Which tree has the smallest height?", trees) == by_value[0][1]


@settings(max_examples=40, deadline=None)
@given(amounts)
def test_of_two_the_greater_is_said_whichever_is_named_first(values):
    trees = table(values)
    greater = NAMES[0] if values[0] > values[1] else NAMES[1]
    for first, second in ((0, 1), (1, 0)):
        question = f"Which tree has more height, {NAMES[first]} or {NAMES[second]}?"
        assert checked_short(question, trees) == greater


@settings(max_examples=40, deadline=None)
@given(amounts)
def test_a_total_is_the_sum_of_those_that_are_named(values):
    question = f"What is the total height of {NAMES[0]}, {NAMES[1]} and {NAMES[2]}?"
    assert checked_short(question, table(values)) == f"{sum(values[:3]):,}"


@settings(max_examples=40, deadline=None)
@given(amounts, st.integers(11, 9999))
def test_rows_over_a_bound_and_rows_under_it_are_all_rows_but_those_of_the_bound(values, bound):
    trees = table(values)
    over = checked_short(f"How many trees have a height over {bound}?", trees)
    under = checked_short(f"How many trees have a height below {bound}?", trees)
    assert int(over or 0) == sum(value > bound for value in values)
    assert int(under or 0) == sum(value < bound for value in values)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 8), st.booleans())
def test_a_list_has_as_many_items_as_were_written(n_items, is_numbered):
    items = [f"{f'{n + 1}.' if is_numbered else chr(0x2022)} {NAMES[n]}" for n in range(n_items)]
    listed = page(1, "Trees of the park:", *items, "Ask the gardener")
    assert checked_short("How many trees are listed?", listed) == str(n_items)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=80), st.lists(st.text(alphabet="ab1.|\u2022 \n", max_size=30), max_size=6))
def test_no_question_and_no_page_is_too_odd(question, lines):
    checked_short(question or "?", page(1, *lines))
