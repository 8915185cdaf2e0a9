import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.answer.checks.arithmetic import comes_to, recompute
from rag.answer.figures.read import figures_in
from rag.errors import InputError


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("19,378 - 13,997", 5381),
        ("(19,378 \u2212 13,997) \u00f7 13,997", 5381 / 13997),
        ("$1,234.5 million + $0.5 million", 1235e6),
        ("2 + 3 * 4", 14),
        ("2 ** 3 ** 2", 512),
        ("-2 + 5", 3),
        ("10 - 4 - 3", 3),
        ("64 / 4 / 2", 8),
        ("average(10, 20, 36)", 22),
        ("average(1,000, 3,000)", 2000),
        ("sum(1; 2; 3)", 6),
        ("max(3, 9) - min(3, 9)", 6),
        ("abs(3 - 9)", 6),
        ("5 \u00d7 3", 15),
        ("5 x 3", 15),
        ("12.5% - 11%", 1.5),
        ("500 * 12%", 60),
        ("12% * 2", 24),
        ("60 / 12%", 500),
        ("12% / 3%", 4),
        ("1 + 5%", 1.05),
        ("100% - 38%", 62),
        ("(121 / 100) ** (1 / 2) - 1", 0.1),
        ("1.234,5 + 0,5", 1235),
        ("[4 + 4] * 2", 16),
        ("19,378 - 13,997 = 5,381", 5381),
        ("1,000 / 3 = 333.3", 1000 / 3),
        ("(120 - 100) / 100 = 20%", 0.2),
        ("5 - 8 = -3", -3),
    ],
)
def test_an_expression_comes_to_its_value(expression, value):
    assert recompute(expression).value == pytest.approx(value)


@pytest.mark.parametrize(
    ("expression", "code"),
    [
        ("1 / 0", "bad_arithmetic"),
        ("(-8) ** 0.5", "bad_arithmetic"),
        ("5 - 8 = 3", "bad_arithmetic"),
        ("2 + 2 = 5", "bad_arithmetic"),
        ("0 ** -1", "bad_arithmetic"),
        ("10 ** 17 * 100", "bad_arithmetic"),
        ("9 ** 9 ** 9", "bad_expression"),
        ("", "bad_expression"),
        ("1 +", "bad_expression"),
        ("(1 + 2", "bad_expression"),
        ("1 2", "bad_expression"),
        ("1 = 1 = 1", "bad_expression"),
        ("__import__('os')", "bad_expression"),
        ("revenue - cost", "bad_expression"),
        ("average()", "bad_expression"),
        ("average", "bad_expression"),
        ("sum(1, 2%)", "bad_expression"),
        ("(" * 300 + "1" + ")" * 299, "bad_expression"),
        ("-" * 300 + "1", "bad_expression"),
        ("1+" * 250 + "1", "bad_expression"),
        ("1" * 700, "bad_expression"),
        ("1" * 400, "bad_expression"),
        ("March 5, 2020 - 1", "bad_expression"),
    ],
)
def test_what_has_no_value_or_no_meaning_is_told(expression, code):
    with pytest.raises(InputError) as error:
        recompute(expression)
    assert error.value.code == code


def constants(expression):
    return [operand.text for operand in recompute(expression).operands if operand.is_constant]


@pytest.mark.parametrize(
    ("expression", "free"),
    [
        ("19,378 / 365", ["365"]),
        ("(5 + 6) / 2", ["2"]),
        ("19,378 / 13,997 - 1", ["1"]),
        ("(19,378 / 13,997) ** (1 / 5)", ["1", "5"]),
        ("5 + 7", []),
        ("average(5, 7)", []),
        ("$2 * 50", []),
        ("100 * 13", []),
        ("5 / 13 * 100", ["100"]),
        ("100 * 5 / 13", ["100"]),
        ("500 * 13 / 100", ["100"]),
        ("500 / 100", []),
        ("13 * 10 ** 9", ["9"]),
        ("(5 + 6 + 7) / 3", ["3"]),
        ("(5 + 6) / 3", []),
        ("19,378 / 12", ["12"]),
        ("100 - 38%", ["100"]),
        ("19,378 - 1", []),
        ("12 / 50", []),
    ],
)
def test_counts_exponents_and_wholes_need_no_source(expression, free):
    assert constants(expression) == free


@pytest.mark.parametrize(
    ("expression", "written", "scales", "agrees"),
    [
        ("19,378 - 13,997", "5,381", (1,), True),
        ("19,378 - 13,997", "$5.4 billion", (1, 1e6), True),
        ("19,378 - 13,997", "$5.4 billion", (1,), False),
        ("19,378 - 13,997", "5,382", (1,), False),
        ("13,997 - 19,378", "5,381", (1,), True),
        ("(19,378 - 13,997) / 13,997", "38.4%", (1,), True),
        ("(19,378 - 13,997) / 13,997", "38%", (1,), True),
        ("(19,378 - 13,997) / 13,997", "39%", (1,), False),
        ("(19,378 - 13,997) / 13,997", "5,381", (1,), True),
        ("(19,378 - 13,997) / 13,997", "0", (1,), False),
        ("12.5% - 11%", "1.5 percentage points", (1,), True),
        ("12.5% - 11%", "150 basis points", (1,), True),
        ("12.5% - 11%", "$1.5", (1,), False),
        ("(19,378 - 13,997) / 13,997", "0.38%", (1,), False),
        ("(19,378 - 13,997) / 13,997", "0.384", (1,), True),
        ("(19,378 - 13,997) / 13,997", "384", (1, 1e3), False),
        ("(19,378 - 13,997) / 13,997", "38 basis points", (1,), False),
        ("(19,378 - 13,997) / 13,997", "3,844 basis points", (1,), True),
        ("(19,378 - 13,997) / 13,997", "5,381%", (1,), False),
        ("(19,378 - 13,997) / 13,997", "-38.4%", (1,), False),
        ("(19,378 - 13,997) / 13,997 * 100", "38.4%", (1,), True),
        ("(19,378 - 13,997) * 100 / 13,997", "38.4%", (1,), True),
        ("7,250 / 13,997", "1%", (1,), False),
        ("7,250 / 13,997", "1", (1,), False),
        ("7,250 / 13,997", "52%", (1,), True),
        ("(121 / 100) ** (1 / 2) - 1", "10%", (1,), True),
        ("(1 / 4 + 2 / 5 + 3 / 6) / 3", "38.3%", (1,), True),
        ("19,378 / 38,000", "$0.51 million", (1, 1e6), True),
    ],
)
def test_a_figure_is_held_against_the_value_as_it_is_written(expression, written, scales, agrees):
    (figure,) = figures_in(written.split())
    assert comes_to(recompute(expression), figure, scales=scales) == agrees


_NUMBERS = st.integers(1, 99_999).map(lambda number: f"{number:,}")


def value_of(expression):
    """What it comes to, or None where it has no value."""
    try:
        return recompute(expression).value
    except InputError:
        return None


@given(st.recursive(
    _NUMBERS,
    lambda inner: st.tuples(inner, st.sampled_from("+-*/"), inner).map(
        lambda parts: f"({parts[0]} {parts[1]} {parts[2]})"
    ),
    max_leaves=6,
))  # fmt: skip
def test_arithmetic_is_that_of_python(expression):
    try:
        wanted = eval(expression.replace(",", ""))
    except ZeroDivisionError:
        wanted = math.inf
    found = value_of(expression)
    assert found == pytest.approx(wanted) if found is not None else abs(wanted) > 1e17


@given(st.text("0123456789+-*/().,%= averagesum$", max_size=40))
def test_any_text_has_a_finite_value_or_a_typed_error(text):
    assert math.isfinite(value_of(text) or 0)
