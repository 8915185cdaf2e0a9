"""Asking: what goes to the answer model, what is told meanwhile, what comes back when it fails."""

import pytest
from small_world import WordHasher, World

from rag.ask import Asker, AskRequest
from rag.deadline import Cancelled, Deadline
from rag.errors import ModelFailed, NotFound
from rag.ports import Delta, FurtherSearch
from rag.settings import AnswerSettings
from rag.types import Answer, Notice, PageRef, Principal

DOCUMENTS = {
    "north": [["tide", "power", "revenue"], ["dividend", "staff"], ["storm", "harbour"]],
    "south": [["harbour", "staff", "safety"], ["turbine", "power"]],
    "foreign": [["tide", "power"]],
}


class Says:
    """An answer model that tells what it was asked and does what it is told to."""

    model_id = "says"
    reads_images = False

    def __init__(self, outcome=None, notices=()):
        self.outcome, self.notices = outcome, notices
        self.requests = []

    def answer(self, request):
        self.requests.append(request)
        request.on_event(Delta("so far"))
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return Answer("It is so.", abstained=False, model_id=self.model_id, notices=self.notices)


@pytest.fixture(name="world")
def _world(tmp_path):
    return World(tmp_path, DOCUMENTS)


def asked(world, model, question="tide power", **request):
    asker = Asker(world.retriever, model, AnswerSettings(model="chat", answer_pages=3))
    return asker.ask(world.reader, AskRequest(question, **request))


def test_pages_are_told_of_before_the_answer_and_the_answer_as_it_comes(world):
    heard = []
    result = asked(
        world,
        Says(),
        on_found=lambda found: heard.append(len(found.hits)),
        on_event=heard.append,
    )
    assert heard == [3, Delta("so far")]
    assert result.answer.text == "It is so."
    assert result.error is None


def test_a_model_that_fails_leaves_the_pages_and_its_reason(world):
    failure = ModelFailed("it is down", code="chat_unreachable")
    result = asked(world, Says(failure))
    assert result.error is failure
    assert (result.answer.text, result.answer.abstained) == ("", True)
    assert len(result.search.hits) == 3
    assert [stage.name for stage in result.stages][-2:] == ["evidence", "answer"]


def test_a_log_of_a_model_that_fails_steers_no_terminal(world, caplog):
    model = Says(ModelFailed("no \x1b[31m such\u202e model"))
    model.model_id = "m\x1b[31m\u202e"
    asked(world, model)
    assert "no answer by m[31m: no [31m such model" in caplog.text


def test_whoever_cancels_gets_no_answer(world):
    with pytest.raises(Cancelled):
        asked(world, Says(Cancelled("enough")))


def test_what_no_error_of_ours_is_comes_out_as_it_is(world):
    with pytest.raises(ZeroDivisionError):
        asked(world, Says(ZeroDivisionError()))


def test_given_pages_are_the_evidence_each_once_in_their_order(world):
    model = Says()
    refs = (PageRef("south", 2), PageRef("north", 3), PageRef("south", 2))
    result = asked(world, model, from_pages=refs)
    assert [hit.ref for hit in result.search.hits] == list(dict.fromkeys(refs))
    (request,) = model.requests
    assert [(page.number, page.hit.ref) for page in request.evidence] == [
        (1, refs[0]),
        (2, refs[1]),
    ]
    assert request.evidence[0].text.words == ("turbine", "power")
    assert len(request.evidence[0].vectors) == 2


def test_given_pages_are_read_with_what_was_said_before(world):
    model = Says()
    asked(
        world,
        model,
        "and in 2022?",
        history=(("What was revenue in 2021?", "5"),),
        from_pages=(PageRef("north", 1),),
    )
    assert model.requests[0].question == "What was revenue in 2022?"


@pytest.mark.parametrize("ref", [PageRef("north", 9), PageRef("nobody", 1)])
def test_a_given_page_that_is_not_there_is_an_error(world, ref):
    with pytest.raises(NotFound):
        asked(world, Says(), from_pages=(ref,))


def test_a_given_page_of_somebody_else_is_an_error_as_if_it_were_not_there(world):
    other = world.repository.reader(Principal("bob"), "c")
    asker = Asker(world.retriever, Says(), AnswerSettings())
    with pytest.raises(NotFound):
        asker.ask(other, AskRequest("tide", from_pages=(PageRef("foreign", 1),)))


def test_an_answer_ends_with_its_deadline(world):
    model = Says()
    asked(world, model)
    assert 100 < model.requests[0].deadline.remaining_s <= 120
    mine = Deadline(5.0)
    asked(world, model, deadline=mine)
    assert model.requests[1].deadline is mine


def test_the_next_page_is_shown_where_a_page_runs_over_but_never_beyond_the_scope(tmp_path):
    pages = [
        ["the", "tide", "gave", "more", "power", "than"],
        ["wind", "and", "sun", "did", "then"],
    ]
    world = World(tmp_path, {"long": pages})
    asker = Asker(world.retriever, model := Says(), AnswerSettings(model="chat", answer_pages=1))
    for scope in (None, world.reader.scope(None, ["long"], (1, 1))):
        asker.ask(world.reader, AskRequest("tide power", scope=scope))
    shown = [[page.hit.ref.page_number for page in asked.evidence] for asked in model.requests]
    assert shown == [[1, 2], [1]]


def test_what_was_left_out_and_what_the_model_noticed_is_told(tmp_path):
    world = World(tmp_path, {"long": [["tide"] * 200]})
    model = Says(notices=(Notice("answer_repaired", "asked twice"),))
    asker = Asker(world.retriever, model, AnswerSettings(model="chat", text_chars=500))
    warnings = asker.ask(world.reader, AskRequest("tide")).warnings
    assert [warning.code for warning in warnings] == ["text_cut", "answer_repaired"]


def test_a_model_that_reads_images_gets_pages_by_words_and_by_pixels_where_vectors_are_pixels(
    world,
):
    class PixelHasher(WordHasher):
        wants_image = True

    model = Says()
    model.reads_images = True
    settings = AnswerSettings(model="chat", answer_pages=2, image_pages=3, evidence="text")
    for encoder, n_pages in ((world.encoder, 2), (PixelHasher(), 5)):
        world.encoder = encoder
        asker = Asker(world.retriever_with(), model, settings)
        assert len(asker.ask(world.reader, AskRequest("tide power")).search.hits) == n_pages


def test_tables_are_looked_for_on_more_pages_than_passages(world):
    for table_pages, n_pages in ((4, 4), (1, 2)):
        settings = AnswerSettings(answer_pages=2, table_pages=table_pages)
        asker = Asker(world.retriever, Says(), settings)
        assert len(asker.ask(world.reader, AskRequest("tide power")).search.hits) == n_pages


class Wants(Says):
    """Wants more pages of the best page's document."""

    def __init__(self, *texts, page_numbers=()):
        super().__init__()
        self.texts, self.page_numbers = texts, page_numbers

    def further_searches(self, question, hits):
        document_id = hits[0].ref.document_id
        return [FurtherSearch(text, document_id, self.page_numbers) for text in self.texts]


def test_what_a_model_wants_beside_the_question_is_looked_for_in_its_document(world):
    model = Wants("storm harbour", "dividend staff")
    settings = AnswerSettings(answer_pages=1, table_pages=1)
    scope = world.reader.scope({"name": {"$ne": "foreign"}})
    asker = Asker(world.retriever, model, settings)
    result = asker.ask(world.reader, AskRequest("tide power revenue", scope=scope))
    refs = [hit.ref for hit in result.search.hits]
    assert refs[0] == PageRef("north", 1)
    assert sorted(refs) == [PageRef("north", number) for number in (1, 2, 3)]
    assert [hit.rank for hit in result.search.hits] == [1, 2, 3]
    assert [page.number for page in model.requests[0].evidence] == [1, 2, 3]
    further = next(stage for stage in result.stages if stage.name == "further")
    assert further.candidates == 2


def test_what_a_model_wants_stays_in_what_the_reader_may_see_and_asked_for(world):
    asker = Asker(world.retriever, Wants("tide"), AnswerSettings(answer_pages=1, table_pages=1))
    scope = world.reader.scope(None, ["south"], (2, 2))
    result = asker.ask(world.reader, AskRequest("turbine", scope=scope))
    assert [hit.ref for hit in result.search.hits] == [PageRef("south", 2)]


def test_a_model_may_want_pages_by_their_numbers(world):
    model = Wants("tide", page_numbers=(3, 2))
    asker = Asker(world.retriever, model, AnswerSettings(answer_pages=1, table_pages=1))
    result = asker.ask(
        world.reader, AskRequest("tide power revenue", scope=world.reader.scope({"name": "north"}))
    )
    assert sorted(hit.ref.page_number for hit in result.search.hits) == [1, 2, 3]
