"""Terms of pages and questions, and the page half of BM25."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.scoring.lexical import content_terms, is_content_word, page_vector, query_vector, terms


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FY2022", ["fy", "2022"]),
        ("1,234.50", ["1234.50"]),
        ("in 2019.", ["in", "2019"]),
        ("Zürich", ["zurich"]),
        ("companies' dividends", ["company", "dividend"]),
        ("business analysis", ["business", "analysi"]),
        ("ﬁnance", ["finance"]),
        ("東京都", ["東京", "京都"]),
        ("語", ["語"]),
        ("…—!", []),
        ("", []),
    ],
)
def test_terms_of_a_text(text, expected):
    assert terms(text) == expected


def test_singular_and_plural_meet():
    assert terms("liabilities assets boxes") == terms("liability asset boxe")


def test_a_question_keeps_what_says_what_to_look_for():
    assert content_terms("What is the FY2018 capital expenditure?") == [
        "fy",
        "2018",
        "capital",
        "expenditure",
    ]


def test_a_question_of_function_words_keeps_them_all():
    assert content_terms("Who are you?") == ["who", "are", "you"]


@pytest.mark.parametrize(
    ("word", "expected"), [("the", False), ("The.", False), ("$", False), ("5%", True)]
)
def test_content_words(word, expected):
    assert is_content_word(word) is expected


def test_a_page_vector_is_bm25_without_idf():
    # Two terms, typical length 3: norm = 1.2 (0.25 + 0.75 * 3 / 3) = 1.2.
    vector = page_vector(["tide", "tide", "power"], typical_length=3)
    by_weight = sorted(vector.values.tolist())
    assert by_weight == pytest.approx([1 * 2.2 / 2.2, 2 * 2.2 / 3.2])


@given(st.lists(st.text(min_size=1, max_size=8), max_size=60))
def test_vectors_are_sorted_unique_and_positive(words):
    vector = page_vector(words, typical_length=10)
    assert (np.diff(vector.indices.astype(np.int64)) > 0).all()
    assert (vector.values > 0).all()
    assert len(vector) <= len(set(words))


@given(st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=20))
def test_a_question_weighs_every_term_once(words):
    assert set(query_vector(words + words).values.tolist()) == {1.0}
    np.testing.assert_array_equal(query_vector(words + words).indices, query_vector(words).indices)
