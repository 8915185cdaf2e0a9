"""A question for which no page is left is not answered, whatever the answer model would say."""

from dataclasses import replace

import pytest
from small_world import World

from rag.ask import Asker, AskRequest
from rag.filters import Condition, Filter
from rag.settings import AnswerSettings
from rag.types import Answer, Notice

NOWHERE = Filter(must=(Condition("name", "$eq", "no such document"),))


class Talkative:
    """An answer model that answers from nothing."""

    model_id = "talkative"
    reads_images = False

    def __init__(self) -> None:
        self.n_asked = 0

    def answer(self, request):
        self.n_asked += 1
        return Answer("It is 42.", abstained=False, model_id=self.model_id)


class LeavesOut:
    """A retriever whose search keeps no page, and says why."""

    def __init__(self, retriever, code: str) -> None:
        self._retriever, self._code = retriever, code

    def search(self, reader, request):
        found = self._retriever.search(reader, request)
        reason = Notice(self._code, "5 of the best 5 pages are below a relevance of 0.5.")
        return replace(found, hits=(), record_ids=(), warnings=(reason,))


@pytest.fixture
def world(tmp_path) -> World:
    return World(tmp_path, {"north": [["tide", "power"]]})


def test_no_page_in_scope_is_an_abstention_and_the_model_is_not_asked(world):
    model = Talkative()
    asked = Asker(world.retriever, model, AnswerSettings())
    found = asked.ask(world.reader, AskRequest("tide power", scope=NOWHERE))
    assert (found.answer.abstained, found.answer.citations) == (True, ())
    assert found.answer.text == "No page was found that answers this question."
    assert found.answer.model_id == "talkative"
    assert model.n_asked == 0
    assert not asked.ask(world.reader, AskRequest("tide power")).answer.abstained
    assert model.n_asked == 1


@pytest.mark.parametrize("code", ["not_relevant", "route_none"])
def test_an_abstention_says_why_no_page_was_kept(world, code):
    asked = Asker(LeavesOut(world.retriever, code), Talkative(), AnswerSettings())
    answer = asked.ask(world.reader, AskRequest("tide power")).answer
    assert answer.abstained
    assert "below a relevance of 0.5" in answer.text
    # Where nothing was looked for, nothing can be said of what there is.
    assert answer.text.startswith("No page was found") == (code == "not_relevant")
