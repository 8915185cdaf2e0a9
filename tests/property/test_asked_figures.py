"""Laws of figures asked of tables: formulas read back, values are of the row, order is nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
from figure_pages import statement
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.answer.asked_figures.formula import (
    Amount,
    Constant,
    Formula,
    Mean,
    Operation,
    parse_formula,
)
from rag.answer.asked_figures.propose import figure_proposal
from rag.answer.asked_figures.wanted import wanted_of
from rag.answer.checks.arithmetic import recompute
from rag.answer.checks.check import Checker
from rag.answer.question import Question
from rag.types import ClaimState

_NAMES = ("net sales", "total assets", "long-term debt", "cost of sales", "inventory")
_LABELS = {
    "revenue": "Net sales",
    "total assets": "Total assets",
    "inventory": "Inventories",
    "goodwill": "Goodwill",
    "accounts payable": "Accounts payable",
}


def formulas() -> st.SearchStrategy[Formula]:
    leaves: st.SearchStrategy[Formula] = st.one_of(
        st.sampled_from(_NAMES).map(Amount),
        st.integers(1, 400).map(lambda number: Constant(str(number))),
        st.sampled_from(_NAMES).map(
            lambda name: Mean((Amount(name, years_before=1), Amount(name)))
        ),
    )
    return st.recursive(
        leaves,
        lambda inner: st.builds(Operation, st.sampled_from("+-*/"), inner, inner),
        max_leaves=8,
    )


def written(formula: Formula) -> str:
    match formula:
        case Amount(name):
            return name
        case Constant(text):
            return text
        case Mean(parts):
            assert isinstance(parts[0], Amount)
            return f"average {parts[0].name}"
        case Operation(operator, left, right):
            return f"({written(left)}) {operator} ({written(right)})"


@given(formulas())
def test_a_formula_that_was_written_is_read_back(formula):
    assert parse_formula(written(formula)) == formula


@st.composite
def years_of_figures(draw: st.DrawFn) -> dict[str, tuple[int, int]]:
    """Label to the figures of 2021 and 2020."""
    figure = st.integers(1_000, 9_999_999)
    names = draw(st.lists(st.sampled_from(sorted(_LABELS)), min_size=2, unique=True))
    return {name: (draw(figure), draw(figure)) for name in names}


def _page(figures, number=1):
    rows = {_LABELS[name]: [f"{value:,}" for value in pair] for name, pair in figures.items()}
    return statement(number, "Consolidated Balance Sheets", rows)


@settings(max_examples=40)
@given(years_of_figures(), st.data())
def test_a_look_up_is_the_figure_of_its_row_and_year(figures, data):
    name = data.draw(st.sampled_from(sorted(figures)))
    place = data.draw(st.sampled_from((0, 1)))
    found = figure_proposal(
        Question(f"What is the {name} in FY{2021 - place}? Answer in USD millions."),
        [_page(figures)],
    )
    assert found is not None
    assert found.draft.short == str(figures[name][place])
    assert 0 < found.confidence <= 1


@settings(max_examples=40)
@given(years_of_figures(), st.data())
def test_a_change_is_what_its_expression_comes_to_and_holds_before_the_checks(figures, data):
    name = data.draw(st.sampled_from(sorted(figures)))
    now, before = figures[name]
    page = _page(figures)
    found = figure_proposal(
        Question(f"What is the growth rate of {name} in FY2021? Round to one decimal place."),
        [page],
    )
    assert found is not None
    (claim,) = found.draft.claims
    assert recompute(claim.expression).value == pytest.approx((now - before) / before, abs=1e-9)
    assert float(found.draft.short.rstrip("%").replace(",", "")) == pytest.approx(
        100 * (now - before) / before, abs=0.0501
    )
    answer = Checker([page], policy="strict", is_ours=True).answer_of(found.draft, model_id="m")
    assert answer.claims[0].state is ClaimState.SUPPORTED
    assert answer.short == found.draft.short


@settings(max_examples=30)
@given(years_of_figures(), years_of_figures())
def test_the_order_of_pages_changes_no_value(first, second):
    only_second = {name: pair for name, pair in second.items() if name not in first}
    pages = [_page(first, 1)] + ([_page(only_second, 2)] if len(only_second) > 1 else [])
    for name in first:
        question = Question(f"What is the {name} in FY2020? Answer in USD millions.")
        forward = figure_proposal(question, pages)
        turned = [replace(page, number=number) for number, page in enumerate(pages[::-1], 1)]
        backward = figure_proposal(question, turned)
        assert forward is not None
        assert backward is not None
        assert forward.draft.short == backward.draft.short


@given(st.text(max_size=200))
def test_no_question_is_too_odd_to_be_read(text):
    wanted_of(text)
    assert figure_proposal(Question(text), []) is None
