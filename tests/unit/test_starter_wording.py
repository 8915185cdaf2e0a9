"""What of a page is worth asking about."""

from __future__ import annotations

import pytest

from eval.starter.wording import is_made_of_words, is_sentence


@pytest.mark.parametrize(
    "heading",
    [
        "All tools are made of ash wood and stainless steel",
        "It was cold.",
        "What you must know before you can use the new machine",
    ],
)
def test_a_sentence_is_no_heading(heading: str) -> None:
    assert is_sentence(heading)


@pytest.mark.parametrize(
    "heading",
    [
        "Dividends Of The Year",
        "The Year That Was",  # short
        "Selected figures of the group in millions of dollars by quarter and segment",  # no verb
        "Notes of Tiny Inc.",
        "Statement of operations for the three months ended May 31 2021",
        "",
    ],
)
def test_a_heading_is_no_sentence(heading: str) -> None:
    assert not is_sentence(heading)


@pytest.mark.parametrize(
    "text", ["ml ,, I ,", ",, JK2U Acc L-J I", "l l J", "xkcdq wrtp", ",", "|| ..", "a b c"]
)
def test_what_ocr_makes_of_a_picture_is_not_made_of_words(text: str) -> None:
    assert not is_made_of_words(text, wants_one=False)


@pytest.mark.parametrize(
    "text",
    [
        *("Price", "Net income", "Spade", "kg", "GDP", "U.S.", "Q3 2021", "Research & development"),
        *(
            "Pr\u00e4zision",
            "\u0434\u043e\u043c",
            "\u58f2\u4e0a\u9ad8",
            "R&D",
            "Rhythm",
            "% of sales",
        ),
    ],
)
def test_labels_of_tables_are_made_of_words(text: str) -> None:
    assert is_made_of_words(text, wants_one=True)


def test_figures_alone_head_a_column_and_label_no_row() -> None:
    for text in ("2021", "31.12.2021", "%"):
        assert is_made_of_words(text, wants_one=False)
        assert not is_made_of_words(text, wants_one=True)
