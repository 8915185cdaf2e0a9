"""One writing for what a script can write in several ways."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.language.folding import characters, fold, runs, written

# ruff: noqa: RUF001 - letters of other scripts are what it is about


@pytest.mark.parametrize(
    ("writings", "folded"),
    [
        ("Zürich Zu\u0308rich ZÜRICH", "zurich"),
        ("ﬁnance ｆｉｎａｎｃｅ fi\u00adnance", "finance"),
        ("Straße STRASSE", "strasse"),
        ("İSTANBUL Istanbul ıstanbul", "istanbul"),
        ("Ørsted Łódź", None),
        ("ёлка елка ЁЛКА", "елка"),
        ("ΕΤΑΙΡΕΊΑ εταιρεία Εταιρεια", "εταιρεια"),
        ("ΟΔΌΣ οδός οδοσ", "οδοσ"),
        # Arabic: vowel signs, tatweel, presentation forms, letters written for one another.
        ("مُحَمَّد محمـــد ﻣﺤﻤﺪ", "محمد"),
        ("أحمد احمد", "احمد"),
        ("شركة شركه", "شركه"),
        ("علی على علي", "علي"),
        ("שָׁלוֹם שלום", "שלום"),
        ("क़ीमत कीमत", "कीमत"),
        ("がいこく か\u3099いこく", "がいこく"),
        ("한국 한국", "한국"),
        ("２０２３ ٢٠٢٣ ۲۰۲۳ २०२३ ๒๐๒๓", "2023"),
    ],
)
def test_writings_of_one_word_meet(writings, folded):
    found = {fold(word) for word in writings.split()}
    if folded is None:
        assert found == {"orsted", "lodz"}
    else:
        assert found == {folded}


@pytest.mark.parametrize(
    "words",
    ["हिन्दी हन्द", "か が", "はは ぱぱ", "ข้าว ขาว", "कम काम", "한국 한구", "மகன் மகள்"],
)
def test_marks_that_make_another_word_stay(words):
    one, other = words.split()
    assert fold(one) != fold(other)


@given(st.text())
def test_folding_twice_is_folding_once(text):
    assert fold(fold(text)) == fold(text)


@given(st.text())
def test_composed_and_decomposed_text_fold_alike(text):
    assert fold(unicodedata.normalize("NFD", text)) == fold(unicodedata.normalize("NFC", text))


@given(st.text())
def test_what_stemmers_read_folds_to_the_same(text):
    assert fold(written(text)) == fold(text)


@given(st.text(st.characters(min_codepoint=0x0E00, max_codepoint=0x0EFF), min_size=1))
def test_no_character_of_a_run_is_lost(text):
    assert "".join(part for run, _ in runs(text) for part in characters(run)) == text


def test_a_run_is_cut_where_the_writing_changes():
    assert runs("ai技術とは") == [("ai", False), ("技術とは", True)]
    assert characters("ภาษาไทย") == ["ภา", "ษา", "ไท", "ย"]
    assert characters("ខ្មែរ") == ["ខ្មែ", "រ"]
