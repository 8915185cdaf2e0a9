"""Quotes made to take long are looked for in time that does not grow with the pairs of words."""

import time

import pytest

from rag.answer.checks.citations import locate_parts, locate_quote
from tests.unit.test_check import page

_LONG = page(1, *(" ".join(["a"] * 40) for _ in range(150))).text
_SOON_S = 2.0  # far more than it takes; what was done for each pair took minutes


@pytest.mark.parametrize(
    "quote",
    [
        "a..." * 360 + "zz",
        "a..." * 7 + "zz",
        "a..." * 7 + "a b",
        "a " * 700 + "zz",
        "zz " + "a " * 700,
    ],
)
def test_a_quote_that_repeats_a_word_of_a_long_page_is_soon_refused(quote):
    started = time.perf_counter()
    assert locate_parts(_LONG, quote) == []
    assert time.perf_counter() - started < _SOON_S


def test_a_quote_has_eight_parts_at_most():
    words = "one two three four five six seven eight nine ten".split()
    text = page(1, " x ".join(words)).text
    assert locate_quote(text, " ... ".join(words[:8])) == (0, 15)
    assert locate_quote(text, " ... ".join(words[:9])) is None
