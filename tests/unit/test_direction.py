"""Right-to-left words that a file holds backwards are turned, and no others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.language.detection import page_language
from rag.language.direction import in_reading_order, read_from_the_right
from rag.scoring.lexical import terms

HEBREW = "שקלים חדשים במדינת ישראל לעובדים ותיקים"
ARABIC = "إيرادات الشركة الوطنية في السنة المالية"


def backwards(text: str) -> str:
    return " ".join(word[::-1] for word in text.split())


@pytest.mark.parametrize("text", [HEBREW, ARABIC])
def test_words_held_backwards_are_turned(text: str) -> None:
    assert in_reading_order(text) == text
    assert terms(in_reading_order(backwards(text))) == terms(text)


def test_the_language_of_words_held_backwards_is_told() -> None:
    text = f"{ARABIC} وفي هذا التقرير الذي كان على من إلى عن مع بعد قبل هذه التي"
    assert page_language(text) == "ar"
    assert page_language(backwards(text)) == "ar"


def test_without_a_letter_that_tells_words_stay() -> None:
    assert in_reading_order("הכנסות") == "הכנסות"


@given(st.text(st.characters(max_codepoint=0x58F)))
def test_other_scripts_stay(text: str) -> None:
    assert in_reading_order(text) == text
    assert read_from_the_right(text) == text


def test_numbers_and_latin_words_are_read_from_the_left() -> None:
    assert read_from_the_right("2,023-תנש") == "שנת-2,023"
    assert read_from_the_right("NIS-ב") == "ב-NIS"
