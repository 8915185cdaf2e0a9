"""Terms of pages and questions, and the page half of BM25."""

# ruff: noqa: RUF001 - letters of other scripts are what some of it is about

import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.language.stemming import LANGUAGES
from rag.scoring.lexical import (
    content_stems,
    content_terms,
    is_content_word,
    query_vector,
    terms,
    text_vector,
)
from rag.wording.variants import query_terms


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
    vector = text_vector("tide tide power", typical_length=3)
    by_weight = sorted(vector.values.tolist())
    assert by_weight == pytest.approx([1 * 2.2 / 2.2, 2 * 2.2 / 3.2])


@given(st.text(), st.sampled_from(["en", "de", "ar", "zh"]))
def test_vectors_are_sorted_unique_and_positive(text, language):
    vector = text_vector(text, typical_length=10, language=language)
    assert (np.diff(vector.indices.astype(np.int64)) > 0).all()
    assert (vector.values > 0).all()
    assert len(vector) >= len(set(terms(text)))


@given(st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=20))
def test_a_question_weighs_every_term_once(words):
    assert set(query_vector(words + words).values.tolist()) == {1.0}
    np.testing.assert_array_equal(query_vector(words + words).indices, query_vector(words).indices)


# --- languages ----------------------------------------------------------------------------------
# Two forms of a word, as a page and as a question may have it.
FORMS = {
    "ar": ("الشركات", "شركة"), "ca": ("empreses", "empresa"), "cs": ("společnosti", "společnost"),
    "da": ("bankerne", "banker"), "de": ("Häuser", "Haus"),
    "el": ("εταιρειών", "εταιρεία"),
    "es": ("empresas", "empresa"), "fa": ("شرکت‌ها", "شرکت"), "fi": ("yhtiöiden", "yhtiöt"),
    "fr": ("élèves", "eleve"), "he": ("החברה", "חברה"), "hi": ("लड़कों", "लड़का"),
    "hu": ("házakban", "házak"), "hy": ("քաղաքներ", "քաղաք"),
    "id": ("perusahaannya", "perusahaan"), "it": ("aziende", "azienda"), "nl": ("huizen", "huis"),
    "no": ("selskapene", "selskapet"), "pl": ("spółkach", "spółka"), "pt": ("empresas", "empresa"),
    "ro": ("companiilor", "companii"), "ru": ("компаниями", "компания"),
    "sv": ("bolagen", "bolaget"),
    "ta": ("புத்தகங்கள்", "புத்தகம்"), "tr": ("şirketler", "şirket"),
}  # fmt: skip


def score(question: str, page: str, language: str) -> float:
    """BM25 with an inverse document frequency of 1."""
    query = query_vector(query_terms(question, languages=sorted(LANGUAGES), variants=False))
    vector = text_vector(page, typical_length=3, language=language)
    at = dict(zip(vector.indices.tolist(), vector.values.tolist(), strict=True))
    return sum(
        weight * at.get(index, 0.0)
        for index, weight in zip(query.indices.tolist(), query.values.tolist(), strict=True)
    )


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_a_page_is_found_by_other_forms_of_its_words(language):
    on_page, asked = FORMS[language]
    assert score(asked, on_page, language) > 0
    assert score(on_page, asked, language) > 0


def test_a_word_in_other_letters_than_its_pages_counts_whole():
    assert score("Siemens", "Siemens", "ru") == pytest.approx(score("Siemens", "Siemens", "en"))


def test_accents_and_prefixes_that_one_side_lacks_are_no_matter():
    assert score("comían", "COMIA", "es") > 0
    assert score("מלון", "המלון", "he") > 0


@given(word=st.text(st.characters(categories=["L"], max_codepoint=0x6FF), min_size=1))
def test_a_page_is_found_by_its_words_whatever_language_it_was_told_to_be(word):
    if not terms(word):
        return
    for language in ("en", "de", "ru", "ar", "he"):
        assert score(word, word, language) > 0


def test_in_its_own_language_a_word_counts_as_in_english():
    question, words = "Wie hoch ist der Umsatz?", "Umsatz"
    assert score(question, words, "de") == pytest.approx(score(question, words, "en"))


def test_pages_in_english_have_their_terms_and_nothing_else():
    text = "The companies’ dividends rose to $1,234.50 in FY2022, in Zürich too."
    vector = text_vector(text, typical_length=400)
    expected = {zlib.crc32(term.encode()) for term in terms(text)}
    assert set(vector.indices.tolist()) == expected
    once = 2.2 / (1 + 1.2 * (0.25 + 0.75 * len(terms(text)) / 400))
    assert min(vector.values) == pytest.approx(once)


def test_stems_are_looked_for_in_the_languages_that_pages_have():
    assert content_stems("Häuser", ["de"]) == ["de~haus"]
    assert content_stems("Häuser", ["ru", "zh"]) == []
    assert content_stems("FY2022", ["de"]) == ["de~fy"]


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Was ist der Umsatz von Siemens?", ["umsatz", "siemen"]),
        ("Quel est le bénéfice de l’entreprise ?", ["benefice", "entreprise"]),
        ("Какова выручка компании?", ["выручка", "компании"]),
        ("公司的收入是多少？", ["公司", "收入"]),
        ("売上高はいくらですか", ["売上", "上高", "高は"]),
        ("כמה עובדים יש?", ["עובדים"]),
        ("What was the war like, per share?", ["war", "like", "per", "share"]),
        ("hard hat", ["hard", "hat"]),
    ],
)
def test_function_words_of_the_questions_language_are_left_out(question, expected):
    assert content_terms(question) == expected


def test_one_character_finds_the_runs_that_hold_it():
    assert score("語", "日本語版", "ja") > 0
    assert score("ยา", "ขายยาไทย", "th") > 0


def test_numbers_with_a_decimal_comma_are_found_with_a_point():
    assert score("1,234.5", "1.234,5", "de") > 0
    assert score("1234.5", "1 234,5", "fr") > 0
    assert score("12.5", "12,5", "ru") > 0
