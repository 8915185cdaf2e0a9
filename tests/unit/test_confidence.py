import dataclasses

import numpy as np
import pytest

from rag.answer.confidence import confidence_of, features
from rag.answer.question import Question
from rag.page_text import PageText
from tests.unit.test_extractive import evidence, page_text

_PAGE = [
    (72, 100, "Results of the year"),
    (72, 184, "The harbour was dredged in spring. Mr. Okafor led the work until it was"),
    (72, 198, "handed over to the port authority in June of 2022."),
]


def test_a_question_is_read_without_how_to_write_its_answer():
    question = Question(
        "What is FY2022 revenue (in USD) of Acme Inc. and of 3M's partner? Answer in EUR. Be brief."
    )
    assert question.asking == "What is FY2022 revenue of Acme Inc. and of 3M partner?"
    assert question.names == ("2022", "acme", "inc", "3")


def test_an_order_is_read_without_how_to_write_its_answer():
    question = Question("List all ports of Norway. Your answer should be in English.")
    assert question.asking == "List all ports of Norway."
    assert question.names == ("norway",)


@pytest.mark.parametrize(
    ("text", "names", "page_numbers"),
    [
        ("What is on Page 12 beside Kailali?", ("12", "kailali"), (12,)),
        (
            "In the 3rd quarter, did slides 4 show GDP of 251,160,124?",
            ("4", "gdp", "251160124"),
            (4,),
        ),
        ("which one?", (), ()),
    ],
)
def test_names_are_what_a_page_would_say_and_not_where_to_look(text, names, page_numbers):
    assert Question(text).names == names
    assert Question(text).page_numbers == page_numbers


def test_names_and_neighbours_on_the_page_raise_the_confidence():
    pages = [evidence(page_text(_PAGE))]
    answered = Question("Until when did Okafor lead the harbour work?")
    changed = Question("Until when did Smith lead the harbour work?")
    assert features(answered, pages).missing == 0
    assert features(changed, pages).missing == 1
    assert confidence_of(changed, pages) < 0.45 < confidence_of(answered, pages)


def test_words_near_each_other_count_more_than_words_on_one_page():
    pages = [evidence(page_text(_PAGE))]
    near = features(Question("harbour dredged?"), pages).pairs
    apart = features(Question("harbour authority?"), pages).pairs
    absent = features(Question("harbour ferries?"), pages).pairs
    assert near == 1
    assert 0 < apart < 1
    assert absent == 0


def test_a_page_need_not_repeat_what_its_document_is_called_after():
    question = Question("What was done in Portbury in 2022?")
    named = [evidence(page_text(_PAGE), source="Portbury_2022.pdf")]
    unnamed = [evidence(page_text(_PAGE))]
    assert features(question, named).missing == 0
    assert features(question, unnamed).missing == 0.5


def test_a_page_need_not_say_its_own_number():
    asked = Question("Who led the work on page 9?")
    assert features(asked, [evidence(page_text(_PAGE), number=3)]).missing == 0
    assert features(asked, [evidence(page_text(_PAGE), number=4)]).missing == 1


def test_letters_that_ocr_takes_for_each_other_do_not_make_a_name_missing():
    text = page_text([(72, 100, "Sample of Wave Ill was larger")])
    read = dataclasses.replace(text, confidences=np.full(len(text), 0.9, np.float32))
    question = Question("How large was Wave III?")
    assert features(question, [evidence(read)]).missing == 0
    assert features(question, [evidence(text)]).missing == 0.5


@pytest.mark.parametrize("pages", [(), (evidence(PageText.empty()),)], ids=["none", "no words"])
def test_nothing_to_read_is_no_confidence(pages):
    assert confidence_of(Question("What was dredged?"), pages) == 0
