"""The stages of a search as they are joined: what one hands on is what the next one takes."""

import threading
import time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rerank_pages import WordReranker
from small_world import OWNER, World

from rag.apps.asked import turns, understood
from rag.ask import Asker, AskRequest
from rag.deadline import Cancelled, Deadline
from rag.errors import ConfigError, InputError, ModelFailed
from rag.filters import Filter
from rag.page_region import PageRegion
from rag.patch_search import PatchSearch
from rag.ports import EncodedQuery
from rag.query import MAX_ROWS, Query, QueryVectors
from rag.ranking.join import joined
from rag.ranking.legs import Mode
from rag.ranking.rank import Ranked
from rag.repository import PageSummary
from rag.rerankers.vlm import ListwiseReranker, YesNoReranker
from rag.retrieve import Retriever, SearchModels, SearchRequest, SearchResult
from rag.settings import AnswerSettings, RetrievalSettings
from rag.testing.fake_chat import FakeChat
from rag.types import Answer, MultiVector, PageField, PageRef, Principal
from rag.wiring import packed_search

REVENUE = "What was the revenue of Boeing in 2021?"
DOWN = ModelFailed("the server is down")
READ_AGAIN = {"method": "http"}
UP_TO_K = {"method": "up_to_k"}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(
        tmp_path_factory.mktemp("world"),
        {
            "north": [["tide", "power", "revenue"], ["dividend", "staff"], ["storm", "harbour"]],
            "south": [["harbour", "staff", "safety"], ["turbine", "power"], ["dividend", "tide"]],
            "foreign": [["dividend", "secret"]],
        },
    )


def retriever(world, *, reranker=None, chat=None, **retrieval) -> Retriever:
    settings = RetrievalSettings.model_validate(retrieval)
    patches = PatchSearch(packed_search(world.fde, settings))
    models = SearchModels(lambda _: reranker, lambda: chat)
    return Retriever(world.encoder, patches, settings, models)


def search(
    world, question, *, reranker=None, chat=None, reader=None, retrieval=None, **request
) -> SearchResult:
    made = retriever(world, reranker=reranker, chat=chat, **(retrieval or {}))
    return made.search(reader or world.reader, SearchRequest(question, **request))


def places(found: SearchResult) -> list[tuple[str, int]]:
    return [(hit.ref.document_id, hit.ref.page_number) for hit in found.hits]


def codes(found: SearchResult) -> list[str]:
    return [notice.code for notice in found.warnings]


def stages(found: SearchResult) -> list[str]:
    return [stage.name for stage in found.stages]


def only(world, name: str) -> Filter:
    return world.reader.scope({"name": name})


class Repeats:
    """An answer model that says what it was asked."""

    model_id = "repeats"
    reads_images = False

    def answer(self, request):
        return Answer(request.question, abstained=False, model_id=self.model_id)


def asked(world, question, *, retrieval=None, reranker=None, history=()):
    made = retriever(world, reranker=reranker, **(retrieval or {}))
    asker = Asker(made, Repeats(), AnswerSettings())
    return asker.ask(world.reader, AskRequest(question, history=history))


class Sure(WordReranker):
    """The share of a page's words that the question has, as a probability of relevance."""

    is_probability = True

    def scores(self, question, pages):
        found = super().scores(question, pages)
        return [each / max(1, len(page.text)) for each, page in zip(found, pages, strict=True)]


class Backwards(WordReranker):
    """What comes last is best."""

    def scores(self, question, pages):
        super().scores(question, pages)
        return [float(place) for place, _ in enumerate(pages)]


# --- what was said before -----------------------------------------------------------------------
def test_a_follow_up_is_searched_with_what_was_said_before(world):
    history = (("What was the dividend in 2021?", "5 million"),)
    found = search(world, "And in 2022?", history=history)
    assert found.question == "What was the dividend in 2022?"
    assert places(found) == places(search(world, found.question))
    assert (codes(found), stages(found)[0]) == (["follow_up"], "dialogue")
    assert understood("And in 2022?", found) == {"searched_for": found.question}


def test_a_question_that_stands_alone_is_left_alone(world):
    found = search(world, REVENUE, history=(("What was the dividend in 2021?", ""),))
    assert (found.question, codes(found), understood(REVENUE, found)) == (REVENUE, [], {})
    assert "dialogue" not in stages(search(world, REVENUE))


def test_an_answer_is_to_the_question_as_it_was_read(world):
    history = (("What was the dividend in 2021?", ""),)
    found = asked(world, "And in 2022?", history=history)
    assert found.answer.text == "What was the dividend in 2022?"


def test_a_chat_model_that_is_down_leaves_a_follow_up_to_the_rules(world):
    by_chat = {"wording": {"dialogue": "chat"}}
    history = (("What was the dividend in 2021?", ""),)
    found = search(world, "And in 2022?", history=history, chat=FakeChat([DOWN]), retrieval=by_chat)
    assert found.question == "What was the dividend in 2022?"
    assert codes(found) == ["dialogue_by_rules", "follow_up"]
    said = FakeChat(['{"question": "How high was the dividend in 2022?"}'])
    found = search(world, "And in 2022?", history=history, chat=said, retrieval=by_chat)
    assert (found.question, codes(found)) == ("How high was the dividend in 2022?", ["follow_up"])


@pytest.mark.parametrize(
    "history", ["what?", [[]], [["a", "b", "c"]], [[1]], [["a", None]], [{"question": "a"}], [5]]
)
def test_what_is_no_history_is_refused(history):
    with pytest.raises(InputError) as caught:
        turns(history)
    assert caught.value.code == "bad_history"
    assert "[[" in caught.value.next_step


def test_a_turn_may_have_no_answer():
    assert turns([["why?"], ("how?", "so")]) == (("why?", ""), ("how?", "so"))


# --- a time to be back by -----------------------------------------------------------------------
BY_CHAT = [
    ({"wording": {"dialogue": "chat"}}, None, "dialogue_by_rules"),
    ({"wording": {"decompose": "chat"}}, None, "decompose_by_rules"),
    ({"route": {"method": "chat"}}, None, "route_fallback"),
    ({"rerank": READ_AGAIN}, YesNoReranker, "rerank_failed"),
    ({"rerank": READ_AGAIN}, ListwiseReranker, "rerank_failed"),
]


def slow_search(world, retrieval, made, deadline) -> SearchResult:
    """Asks a chat model that says a word a minute."""
    chat = FakeChat(["True, of course"], piece_s=60)
    return search(
        world,
        "And the dividend in 2022?",
        history=(("What was the revenue in 2021?", ""),),
        chat=chat,
        reranker=made and made(chat, "words"),
        retrieval=retrieval,
        deadline=deadline,
    )


@pytest.mark.parametrize(("retrieval", "made", "code"), BY_CHAT)
def test_a_chat_model_that_stalls_holds_no_search_up_beyond_its_deadline(
    world, retrieval, made, code
):
    start = time.monotonic()
    found = slow_search(world, retrieval, made, Deadline(0.2))
    assert time.monotonic() - start < 10
    assert code in codes(found)
    assert found.hits


@pytest.mark.parametrize(("retrieval", "made", "code"), BY_CHAT)
def test_a_search_that_is_no_longer_wanted_ends(world, retrieval, made, code):
    deadline = Deadline()
    threading.Timer(0.2, deadline.cancel).start()
    with pytest.raises(Cancelled):
        slow_search(world, retrieval, made, deadline)


def test_the_time_for_an_answer_is_running_while_its_question_is_read(world):
    chat = FakeChat(['{"question": "no"}'], piece_s=60)
    made = retriever(world, chat=chat, wording={"dialogue": "chat"})
    asker = Asker(made, Repeats(), AnswerSettings(deadline_s=0.2))
    start = time.monotonic()
    result = asker.ask(
        world.reader, AskRequest("And in 2022?", history=(("What was the dividend in 2021?", ""),))
    )
    assert time.monotonic() - start < 10
    assert result.search.hits


# --- several questions in one -------------------------------------------------------------------
@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """One page for each of two questions, and pages that speak of both a little."""
    both = ["revenue", "profit", "crew"]
    return World(
        tmp_path_factory.mktemp("mixed"),
        {
            "a": [["revenue", "revenue", "revenue", "share"], [*both, "one"], [*both, "two"]],
            "b": [["profit", "profit", "profit", "blade"], [*both, "three"], [*both, "four"]],
        },
    )


TWO = "What is the revenue? What is the profit?"
BEST_OF_EACH = {("a", 1), ("b", 1)}


def test_the_best_pages_of_both_parts_come_first_where_the_whole_question_finds_others(mixed):
    assert set(places(search(mixed, TWO, top_k=2))) != BEST_OF_EACH
    found = search(mixed, TWO, top_k=2, retrieval={"wording": {"decompose": "rules"}})
    assert set(places(found)) == BEST_OF_EACH
    assert found.parts == ("What is the revenue?", "What is the profit?")
    assert understood(TWO, found) == {"parts": list(found.parts)}
    assert codes(found) == ["decomposed"]
    assert "parts" in stages(found)


def test_scores_fall_from_page_to_page_also_where_parts_were_joined(mixed):
    by_rules = {"wording": {"decompose": "rules"}}
    found = search(mixed, TWO, top_k=50, explain=True, retrieval=by_rules)
    assert len(found.hits) == len(set(places(found))) == 6
    assert all(one.score > other.score for one, other in pairwise(found.hits))
    assert all(hit.scores["maxsim"] for hit in found.hits)
    assert found.explanation["candidates"] == 6


def test_a_chat_model_says_the_parts_and_rules_where_it_is_down(mixed):
    by_chat = {"wording": {"decompose": "chat"}}
    said = FakeChat(['{"parts": ["What is the profit?", "What is the revenue?"]}'])
    found = search(mixed, TWO, top_k=2, chat=said, retrieval=by_chat)
    assert found.parts == ("What is the profit?", "What is the revenue?")
    assert places(found) == [("b", 1), ("a", 1)]
    found = search(mixed, TWO, top_k=2, chat=FakeChat([DOWN]), retrieval=by_chat)
    assert set(places(found)) == BEST_OF_EACH
    assert codes(found) == ["decompose_by_rules", "decomposed"]


def test_what_is_one_question_is_searched_for_once(mixed):
    found = search(mixed, "revenue", retrieval={"wording": {"decompose": "rules"}})
    assert (found.parts, "parts" in stages(found)) == ((), False)
    assert places(found) == places(search(mixed, "revenue"))


def ranking(*ids: str, first: float = 1.0, **legs: dict[str, float]) -> Ranked:
    query = np.ones((1, 2), np.float32)
    encoded = EncodedQuery(MultiVector(query), query[0])
    pages = {
        i: PageSummary(i, PageRef("d", n), "d.pdf", "", "v", len(ids), 0.0, 612, 792, False)
        for n, i in enumerate(ids, start=1)
    }
    order = [(record_id, first - place) for place, record_id in enumerate(ids)]
    return Ranked(order, legs, pages, QueryVectors(encoded, query))


some_ids = st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=8)


@given(some_ids, st.lists(some_ids, min_size=1, max_size=4))
def test_every_part_and_the_whole_question_have_their_best_page_among_the_first(whole, parts):
    found = joined(ranking(*whole), [ranking(*each) for each in parts])
    ids = [record_id for record_id, _ in found.order]
    assert sorted(ids) == sorted({*whole, *(i for each in parts for i in each)})
    assert found.pages.keys() == set(ids)
    for each in parts:
        assert set(each[:1]) <= set(ids[: len(parts)])
    assert set(whole[:1]) <= set(ids[: len(parts) + 1])
    assert all(one > other for (_, one), (_, other) in pairwise(found.order))
    assert [score for _, score in found.order][: len(whole)] == [1.0 - n for n in range(len(whole))]


def test_a_page_has_the_legs_of_the_question_that_found_it():
    whole = ranking("a", words={"a": 1.0}, dense={"a": 0.5})
    first = ranking("a", "b", words={"a": 9.0, "b": 2.0}, context={"a": 4.0, "b": 4.0})
    second = ranking("b", words={"b": 3.0})
    found = joined(whole, [first, second])
    assert found.legs == {
        "words": {"a": 1.0, "b": 2.0},
        "dense": {"a": 0.5},
        "context": {"b": 4.0},
    }
    assert whole.legs == {"words": {"a": 1.0}, "dense": {"a": 0.5}}


# --- routes -------------------------------------------------------------------------------------
BY_RULES = {"route": {"method": "rules"}}


@pytest.mark.parametrize("by_document", [False, True])
def test_what_wants_no_document_finds_none_and_says_so(world, by_document):
    found = search(world, "Hello!", explain=True, by_document=by_document, retrieval=BY_RULES)
    assert (found.hits, found.record_ids, found.documents) == ((), (), ())
    assert codes(found) == ["route_none"]
    assert understood("Hello!", found) == {"route": "none"}
    assert found.explanation["hits"] == []
    answer = asked(world, "Hello!", retrieval=BY_RULES).answer
    assert answer.abstained
    assert "nothing was searched" in answer.text


@pytest.mark.parametrize(
    ("question", "patches"),
    [
        ("What colour is the turbine?", 1.0),
        ("What does section 4 say of the turbine?", 0.25),
        ("What is the turbine?", 0.5),
    ],
)
def test_a_route_weighs_page_vectors_and_words_stay(world, question, patches):
    found = search(world, question, explain=True, retrieval=BY_RULES)
    weights = found.explanation["weights"]
    assert (weights["patches"], weights["words"]) == (patches, 1.0)


def test_a_whole_document_is_one_document(world):
    found = search(world, "Summarise the tide report", top_k=50, retrieval=BY_RULES)
    assert understood("", found)["route"] == "whole-document"
    assert len({hit.ref.document_id for hit in found.hits}) == 1
    assert len(found.hits) == 3


def test_who_looks_for_documents_gets_several_also_for_a_question_about_a_whole_one(world):
    found = search(world, "List all tide reports", by_document=True, retrieval=BY_RULES)
    assert understood("", found)["route"] == "whole-document"
    assert {document.document_id for document in found.documents} == {"north", "south", "foreign"}


@pytest.mark.parametrize("mode", [Mode.VISUAL, Mode.TEXT])
def test_who_chooses_a_mode_is_searched_for(world, mode):
    found = search(world, "hello tide", mode=mode, retrieval={"route": {"route": "none"}})
    assert len(found.hits) > 0
    assert codes(found) == []


def test_a_page_to_be_like_is_searched_for(world):
    like = Query("hello", like=PageRegion(PageRef("north", 1)))
    found = search(world, like, top_k=50, retrieval=BY_RULES)
    assert len(found.hits) == 6


def test_a_chat_model_that_is_down_leaves_the_usual_route(world):
    by_chat = {"route": {"method": "chat"}}
    found = search(world, "tide", chat=FakeChat([DOWN]), retrieval=by_chat)
    assert codes(found) == ["route_fallback"]
    assert places(found) == places(search(world, "tide"))


# --- page numbers -------------------------------------------------------------------------------
SEES_LITTLE = {"scan_pages": 2, "leg_candidates": 1, "document_candidates": 1, "exact_pages": 1}


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """Six documents of 14 pages that say the same."""
    names = ["acme", "boeing", "corning", "danaher", "ecolab", "foster"]
    return World(
        tmp_path_factory.mktemp("long"),
        {name: [[name, "filler", str(100 + n)] for n in range(14)] for name in names},
    )


@pytest.mark.parametrize("retrieval", [{}, SEES_LITTLE])
def test_a_page_named_by_its_number_comes_first(long, retrieval):
    question = "What is on page 12 of the boeing file?"
    assert places(search(long, question, top_k=1, retrieval=retrieval)) == [("boeing", 12)]
    unread = {**retrieval, "context": {"named_page": 0}}
    assert places(search(long, question, top_k=1, retrieval=unread)) != [("boeing", 12)]


@pytest.mark.parametrize("retrieval", [{}, SEES_LITTLE])
@pytest.mark.parametrize("name", ["acme", "ecolab", "foster"])
def test_a_page_is_named_in_the_documents_in_scope(long, retrieval, name):
    scope = only(long, name)
    found = search(long, "What is on page 12?", top_k=1, scope=scope, retrieval=retrieval)
    assert places(found) == [(name, 12)]


@pytest.mark.parametrize("question", ["Where is the 10-K?", "Which page?", "filler 12"])
def test_a_number_or_a_page_alone_names_none(long, question):
    found = search(long, question, top_k=50)
    assert all("context" not in hit.scores for hit in found.hits)


def test_a_page_that_is_not_there_is_not_found_and_nothing_breaks(long):
    found = search(long, "What is on page 99 of the boeing file?", retrieval=SEES_LITTLE)
    assert {hit.ref.document_id for hit in found.hits} >= {"boeing"}


# --- documents ----------------------------------------------------------------------------------
def test_documents_rank_by_their_best_page_and_are_what_is_counted(world):
    by_page = search(world, "dividend tide", top_k=50)
    found = search(world, "dividend tide", by_document=True)
    names = list(dict.fromkeys(name for name, _ in places(by_page)))
    assert [document.document_id for document in found.documents] == names
    assert [name for name, _ in places(found)] == names
    for document, hit, record_id in zip(found.documents, found.hits, found.record_ids, strict=True):
        assert document.pages[0] == (record_id, hit.score) == (record_id, document.score)
        scores = [score for _, score in document.pages]
        assert scores == sorted(scores, reverse=True)
        assert len(scores) <= 3
    assert len(search(world, "dividend tide", by_document=True, top_k=2).documents) == 2


def test_documents_outside_the_scope_or_of_others_are_not_found(world):
    found = search(world, "dividend tide", by_document=True, scope=only(world, "south"))
    assert [document.document_id for document in found.documents] == ["south"]
    assert {places(found)[0][0]} == {"south"}
    pages = world.reader.scope(pages=(2, 3))
    found = search(world, "tide power revenue", by_document=True, scope=pages)
    assert {hit.ref.page_number for hit in found.hits} <= {2, 3}
    assert {document.document_id for document in found.documents} == {"north", "south"}
    stranger = world.repository.reader(Principal("bob"), "c")
    assert stranger.sees_something
    found = search(world, "dividend secret", by_document=True, reader=stranger)
    assert {document.document_id for document in found.documents} == {"north", "south"}
    mine = world.repository.reader(OWNER, "c")
    assert search(world, "dividend secret", by_document=True, reader=mine).documents[0].source == (
        "foreign.pdf"
    )


def test_as_many_documents_come_as_are_asked_for(long):
    few = {"context": {"documents": 2}}
    assert len(search(long, "filler", by_document=True, top_k=5, retrieval=few).documents) == 5


def test_parts_a_reranker_and_relevance_leave_documents_documents(mixed):
    relevant = {"rerank": READ_AGAIN, "select": {**UP_TO_K, "threshold": 0.1}}
    options = {"wording": {"decompose": "rules"}, **relevant}
    found = search(
        mixed, TWO.replace("?", " ?"), by_document=True, top_k=2, retrieval=options, reranker=Sure()
    )
    assert {document.document_id for document in found.documents} == {"a", "b"}
    assert [hit.score for hit in found.hits] == [each.score for each in found.documents]


def test_two_relevant_pages_of_one_document_take_no_place_of_another(world):
    options = {"rerank": READ_AGAIN, "select": {**UP_TO_K, "threshold": 0.1}}
    found = search(
        world,
        "turbine power harbour staff safety",
        by_document=True,
        top_k=2,
        retrieval=options,
        reranker=Sure(),
    )
    assert [document.document_id for document in found.documents] == ["south", "north"]


# --- what no page has ---------------------------------------------------------------------------
@pytest.mark.parametrize("retrieval", [{}, SEES_LITTLE])
def test_descriptions_are_not_looked_for_where_no_page_has_one(world, monkeypatch, retrieval):
    asked_for: set[PageField] = set()
    ask = world.index.search_many

    def spying(queries, **options):
        asked_for.update(page_field for page_field, _, _ in queries)
        return ask(queries, **options)

    monkeypatch.setattr(world.index, "search_many", spying)
    found = search(world, "dividend tide", retrieval=retrieval)
    assert len(found.hits) == 5
    assert asked_for == {
        PageField.WORDS,
        PageField.DENSE,
        PageField.HEADING_WORDS,
        PageField.HEADINGS,
    }


# --- reranking and relevance --------------------------------------------------------------------
def test_a_reranker_has_the_last_word_on_the_order(world):
    before = search(world, "dividend tide", top_k=50)
    read_again = {"rerank": READ_AGAIN}
    found = search(
        world, "dividend tide", top_k=50, explain=True, reranker=Backwards(), retrieval=read_again
    )
    assert places(found) == places(before)[::-1]
    assert [hit.score for hit in found.hits] == pytest.approx([hit.score for hit in before.hits])
    assert [hit.scores["rerank"] for hit in found.hits] == [6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.0]
    assert found.explanation["hits"][0]["legs"]["rerank"] == {"score": 6.0, "rank": 1}
    assert "rerank" in stages(found)


def test_a_reranker_reads_the_question_as_it_was_understood(world):
    reranker = WordReranker()
    history = (("What was the dividend in 2021?", ""),)
    search(
        world, "And in 2022?", history=history, reranker=reranker, retrieval={"rerank": READ_AGAIN}
    )
    assert reranker.asked[0][0] == "What was the dividend in 2022?"


@pytest.mark.parametrize("select", [{}, UP_TO_K])
def test_a_reranker_that_is_down_leaves_the_order_and_all_pages(world, select):
    before = search(world, "dividend tide")
    options = {"rerank": READ_AGAIN, "select": select}
    found = search(world, "dividend tide", reranker=WordReranker(fails=DOWN), retrieval=options)
    assert [hit.score for hit in found.hits] == [hit.score for hit in before.hits]
    assert places(found) == places(before)
    assert codes(found) == ["rerank_failed", *(["not_selected"] if select else [])]
    assert all("rerank" not in hit.scores for hit in found.hits)


def test_pages_come_back_as_far_as_they_speak_to_the_question(world):
    options = {"rerank": READ_AGAIN, "select": {**UP_TO_K, "threshold": 0.6}}
    found = search(world, "dividend tide staff", reranker=Sure(), retrieval=options)
    assert set(places(found)) == {("north", 2), ("south", 3)}
    assert [(hit.score, hit.score_normalized) for hit in found.hits] == [(1.0, 1.0)] * 2
    assert codes(found) == ["not_relevant"]
    assert "3 of the best 5 pages" in found.warnings[0].message


def test_where_no_page_speaks_to_the_question_none_comes_back_and_nothing_is_answered(world):
    options = {"rerank": READ_AGAIN, "select": UP_TO_K}
    found = search(world, "weather", reranker=Sure(), retrieval=options)
    assert (found.hits, found.record_ids, codes(found)) == ((), (), ["not_relevant"])
    answer = asked(world, "weather", reranker=Sure(), retrieval=options).answer
    assert answer.abstained
    assert "below a relevance of 0.5" in answer.text


def test_relevance_wants_a_reranker_and_probabilities(world):
    with pytest.raises(ConfigError) as caught:
        retriever(world, select=UP_TO_K)
    assert caught.value.code == "no_relevance"
    options = {"rerank": READ_AGAIN, "select": UP_TO_K}
    with pytest.raises(ConfigError) as caught:
        search(world, "dividend", reranker=WordReranker(), retrieval=options)
    assert caught.value.code == "no_relevance"


# --- refining -----------------------------------------------------------------------------------
GQR = {"refine": {"method": "gqr"}}


def test_refining_is_a_stage_over_the_same_pages(world):
    before, found = (search(world, "dividend tide", top_k=50, retrieval=r) for r in ({}, GQR))
    assert set(places(found)) == set(places(before))
    assert "refine" in stages(found)
    maxsim = [hit.scores["maxsim"] for hit in before.hits]
    assert [hit.scores["maxsim"] for hit in found.hits] != maxsim
    assert codes(found) == []


@pytest.mark.parametrize("variant", ["pool", "search", "tutorial"])
def test_the_page_that_is_the_question_stays_out_also_where_it_is_refined(world, variant):
    like = PageRegion(PageRef("north", 1))
    refine = {"refine": {"method": "gqr", "variant": variant}, **SEES_LITTLE}
    found = search(world, Query("dividend", like=like), top_k=50, retrieval=refine)
    assert "refine" in stages(found)
    assert ("north", 1) not in places(found)
    found = search(world, Query("", like=like), top_k=50, retrieval=refine)
    assert "refine" not in stages(found)
    assert ("north", 1) not in places(found)


@pytest.mark.parametrize("documents", [{}, {"a": [["tide", "power"]]}])
def test_of_no_page_or_one_there_is_nothing_to_refine(tmp_path, documents):
    found = search(World(tmp_path, documents), "tide", retrieval=GQR)
    assert len(found.hits) == len(documents)
    assert codes(found) == ["not_refined"]


# --- everything at once -------------------------------------------------------------------------
EVERYTHING = {
    "fusion": "rrf",
    "wording": {"decompose": "rules"},
    "route": {"method": "rules"},
    "context": {"neighbours": 0.5, "document_pages": "max", "document_vector": 1.0},
    **GQR,
    "rerank": READ_AGAIN,
    "select": {**UP_TO_K, "threshold": 0.0},
}
ODD = ["the of and", "\U0001f642 \U0001f6a2", "a\0b tide", "?", "\u200b tide", "page 3 page 3", TWO]


@pytest.mark.parametrize("by_document", [False, True])
@pytest.mark.parametrize("question", ODD)
def test_odd_questions_go_through_all_stages(world, question, by_document):
    found = search(
        world,
        question,
        top_k=50,
        explain=True,
        by_document=by_document,
        history=(("", ""), ("What was the tide?", "high")),
        retrieval=EVERYTHING,
        reranker=Sure(),
    )
    assert len(found.hits) == len(found.record_ids) == (3 if by_document else 7)
    assert [hit.rank for hit in found.hits] == list(range(1, len(found.hits) + 1))
    assert all(0 <= hit.score_normalized <= 1 for hit in found.hits)


def test_a_question_of_ten_thousand_words_is_searched_with_some_of_them(world):
    question = " ".join(["tide?", *(f"word{n}" for n in range(10_000)), "and what was it?"])
    found = search(world, question, retrieval=EVERYTHING, reranker=Sure())
    assert len(found.hits) == 5
    assert "question_cut" in codes(found)
    assert len(found.query.tokens) <= MAX_ROWS


@pytest.mark.parametrize("by_document", [False, True])
def test_an_empty_collection_has_nothing_and_says_nothing_of_reranking(tmp_path, by_document):
    empty = World(tmp_path, {})
    found = search(empty, TWO, by_document=by_document, retrieval=EVERYTHING, reranker=Sure())
    assert (found.hits, found.documents) == ((), ())
    assert codes(found) == ["not_refined", "decomposed"]
