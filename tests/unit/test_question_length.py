"""Questions of any length: so much of them is read, and what is left out is told."""

import time

import pytest
from small_world import World

from rag.query import Query
from rag.ranking.length import MAX_CHARS, first_part, shortened
from rag.retrieve import SearchRequest
from rag.wording.dialogue import standalone


@pytest.fixture
def world(tmp_path):
    return World(tmp_path, {"north": [["tide", "power"], ["storm", "harbour"]]})


@pytest.mark.parametrize("length", [0, 1, MAX_CHARS - 1, MAX_CHARS])
def test_a_question_that_is_short_enough_is_read_as_it_is(length):
    query = Query(("tide " * length)[:length])
    assert shortened(query) == (query, ())


def test_a_long_question_ends_with_a_whole_word():
    text = "tide power " * 1000
    assert text.startswith(first_part(text) + " ")
    assert MAX_CHARS - 10 < len(first_part(text)) <= MAX_CHARS
    assert first_part("x" * 10_000) == "x" * MAX_CHARS
    assert first_part("a " + "x" * 10_000) == "a " + "x" * (MAX_CHARS - 2)


@pytest.mark.parametrize("field", ["text", "towards", "away_from"])
def test_what_is_left_out_of_a_question_is_told(world, field):
    query = Query(**{"text": "tide", field: "tide " * 2000})
    found = world.retriever.search(world.reader, SearchRequest(query))
    notices = [each for each in found.warnings if each.code == "question_cut"]
    assert [each.message for each in notices] == [
        "the question has 10,000 characters; the first 4,000 of them were read"
    ]
    assert len(found.question) <= MAX_CHARS
    assert len(found.hits) == 2


def test_a_question_asked_before_is_read_to_the_same_length(world):
    history = (("what of the tide? " * 6000, "An answer."),)
    start = time.process_time()
    found = world.retriever.search(world.reader, SearchRequest("and in 2022?", history=history))
    assert time.process_time() - start < 2.0
    assert [each.code for each in found.warnings] == ["question_cut", "follow_up", "question_cut"]
    assert found.warnings[0].message.startswith("a question asked before has 108,000 characters")
    assert len(found.question) <= MAX_CHARS


@pytest.mark.parametrize(
    "unit", ["p. 1 p. 2 ", "tide ", "q1 2022 ", "9", "a-", "\u4e2d\u6587", "1,"]
)
def test_a_question_without_end_takes_no_longer_than_a_long_one(world, unit):
    start = time.process_time()
    found = world.retriever.search(world.reader, SearchRequest(unit * 100_000))
    assert time.process_time() - start < 2.0
    assert found.question == first_part(unit * 100_000)


def test_how_a_follow_up_was_read_is_told_in_a_few_lines():
    asked = "What was the " + "very " * 700 + "large revenue of 3M in 2021?"
    question, (notice,) = standalone("and in 2022?", [(asked, "It was 1.")], "rules")
    assert len(question) > 3000
    assert notice.message.startswith("Read as: What was the very")
    assert len(notice.message) < 320
