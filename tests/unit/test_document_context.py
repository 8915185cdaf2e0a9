"""What the document, the neighbours and the number of a page add to its score; documents first."""

import time
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from small_world import World

from rag.ranking.context import (
    named_page_ids,
    named_pages,
    neighbour_scores,
    page_evidence,
    with_context,
)
from rag.ranking.document_scores import DocumentScores
from rag.ranking.document_vectors import DocumentVectors
from rag.ranking.documents import best_documents, documents_in, first_documents, inside
from rag.ranking.fuse import fused
from rag.ranking.legs import Mode
from rag.scoring.document_vector import document_vector
from rag.settings import ContextSettings, RetrievalSettings
from rag.types import PageRef


@dataclass(frozen=True)
class Page:
    """What ranking reads of a PageSummary."""

    ref: PageRef
    source: str = ""


def settings(**context) -> RetrievalSettings:
    context = {"named_page": 0.0, **context}
    return RetrievalSettings(context=ContextSettings(**context))


# Pages a1 a2 a3 of one document and b1 of another.
PAGES = {
    name: Page(PageRef(name[0], int(name[1:])), f"{name[0]}.pdf")
    for name in ("a1", "a2", "a3", "b1")
}
LEGS = {"words": {"a1": 1.0, "a2": 5.0, "b1": 2.0}, "dense": {"a1": 0.5, "a3": 0.1, "b1": 0.5}}


# --- named pages --------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("question", "numbers"),
    [
        ("What is on page 12?", {12}),
        ("what does slide 31 show", {31}),
        ("Which cars are on pages 10 and 11?", {10, 11}),
        ("Compare pages 3, 4 and 7.", {3, 4, 7}),
        ("pp. 3-5 of the manual", {3, 4, 5}),
        ("from page 3 to 5", {3, 4, 5}),
        ("Was steht auf Seite 4?", {4}),
        ("\u7b2c3\u9875\u8bf4\u4ec0\u4e48", {3}),
        ("page no. 7", {7}),
        ("page 5 of 20", {5}),
        ("pages 1 to 9999", set(range(1, 21))),
        ("What does the front page 10-K say?", set()),
        ("page 0", set()),
        ("How many pages are there in 2019?", set()),
        ("homepage 12 things", set()),
        ("", set()),
    ],
)
def test_a_question_names_pages_by_their_number(question, numbers):
    assert named_pages(question) == numbers


@pytest.mark.parametrize("space", [" ", "\n", "\u3000"])
def test_spaces_without_end_cost_next_to_nothing(space):
    question = f"page{space * 100_000}{space.join(['1,'] * 30_000)}%"
    start = time.process_time()
    assert named_pages(question) == set()
    assert time.process_time() - start < 1.0


def test_a_page_that_the_question_names_gets_the_weight_and_no_other():
    legs = with_context(LEGS, PAGES, settings(named_page=4.0), question="the table on page 2")
    assert legs["context"] == {"a1": 0.0, "a2": 4.0, "a3": 0.0, "b1": 0.0}


def test_without_anything_to_add_the_legs_stay_as_they_are():
    assert with_context(LEGS, PAGES, settings(named_page=4.0), question="how many?") is LEGS
    assert with_context(LEGS, PAGES, settings()) is LEGS
    assert with_context({}, {}, settings(neighbours=1.0, document_pages="max")) == {}


def test_what_context_adds_is_added_to_the_fused_score():
    chosen = settings(named_page=4.0)
    before = dict(fused(sorted(PAGES), LEGS, Mode.HYBRID, chosen))
    legs = with_context(LEGS, PAGES, chosen, question="page 3")
    after = dict(fused(sorted(PAGES), legs, Mode.HYBRID, chosen))
    assert after["a3"] == pytest.approx(before["a3"] + 4.0)
    assert after["b1"] == pytest.approx(before["b1"])


# --- neighbours ---------------------------------------------------------------------------------
def test_a_page_takes_from_the_pages_beside_it_in_its_own_document_alone():
    found = neighbour_scores(["a", "a", "a", "b"], [1, 2, 4, 3], np.array([1.0, 2.0, 8.0, 16.0]))
    assert found.tolist() == [2.0, 1.0, 0.0, 0.0]


def test_the_share_of_the_neighbours_is_what_the_setting_says():
    chosen = settings(neighbours=0.25)
    own = dict(fused(sorted(PAGES), LEGS, Mode.HYBRID, chosen))
    leg = with_context(LEGS, PAGES, chosen)["context"]
    assert leg["a2"] == pytest.approx(0.25 * (own["a1"] + own["a3"]))
    assert leg["a1"] == pytest.approx(0.25 * own["a2"])
    assert leg["b1"] == 0.0


# --- documents by their pages -------------------------------------------------------------------
def test_a_document_is_as_good_as_its_best_page_or_as_the_mean_of_them():
    documents, scores = ["a", "a", "b"], np.array([4.0, -4.0, 1.0])
    assert page_evidence(documents, scores, best=True).tolist() == [1.0, 1.0, -1.0]
    assert page_evidence(documents, scores, best=False).tolist() == [-1.0, -1.0, 1.0]


def test_one_document_says_nothing_of_itself():
    assert page_evidence(["a", "a"], np.array([1.0, 2.0]), best=True).tolist() == [0.0, 0.0]


# --- the vector of a document -------------------------------------------------------------------
page_rows = arrays(np.float64, st.tuples(st.integers(1, 3), st.just(4)), elements=st.floats(0.1, 1))


@given(pages=st.lists(page_rows, min_size=1, max_size=6), seed=st.integers(0, 9))
def test_neither_order_nor_doubling_of_the_pages_changes_a_document(pages, seed):
    vector = document_vector(pages)
    shuffled = [pages[i] for i in np.random.default_rng(seed).permutation(len(pages))]
    np.testing.assert_allclose(document_vector(shuffled), vector, atol=1e-6)
    np.testing.assert_allclose(document_vector([*pages, *pages]), vector, atol=1e-6)
    assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-6)


@given(page=page_rows)
def test_one_page_is_its_own_document(page):
    mean = page.mean(axis=0)
    np.testing.assert_allclose(document_vector([page]), mean / np.linalg.norm(mean), atol=1e-6)


def test_the_mean_is_taken_before_it_is_brought_to_unit_length():
    pages = [np.array([[1.0, 0.0]]), np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])]
    np.testing.assert_allclose(document_vector(pages), np.array([2, 1]) / np.sqrt(5), atol=1e-6)


def test_long_pages_weigh_as_much_as_short_ones():
    pages = [np.array([[1.0, 0.0]] * 9), np.array([[0.0, 1.0]])]
    np.testing.assert_allclose(document_vector(pages), np.array([1, 1]) / np.sqrt(2), atol=1e-6)


def test_pages_without_vectors_and_pages_that_cancel_out_make_no_document():
    assert document_vector([]) is None
    assert document_vector([np.zeros((0, 3))]) is None
    assert document_vector([np.array([[1.0, 0.0]]), np.array([[-1.0, 0.0]])]) is None


# --- in a collection ----------------------------------------------------------------------------
@pytest.fixture
def world(tmp_path) -> World:
    return World(
        tmp_path,
        {
            "fruit": [["apple", "pear"], ["cherry", "plum"], ["apple", "fig"]],
            "iron": [["bolt", "nut"], ["screw", "nail"]],
            "mixed": [["apple", "bolt"], ["nail", "pear"]],
        },
    )


class Features:
    """What `DocumentScores` asks of a reader."""

    collection, generation = "c", 1

    def __init__(self, *features):
        self.features = [(f"d{number}", each) for number, each in enumerate(features)]

    def document_features(self):
        return self.features


@pytest.mark.parametrize(
    ("features", "described"),
    [
        ([], False),
        ([{"has_captions": False}], False),
        ([{"has_captions": False}, {"has_captions": True}], True),
        ([{"has_captions": False}, {}], True),  # a document from before this was told
    ],
)
def test_pages_may_be_described_as_long_as_one_document_does_not_deny_it(features, described):
    assert DocumentScores().known(Features(*features)).has_captions is described


def test_documents_are_near_a_question_by_the_mean_of_their_pages(world):
    query = world.encoder.encode_query("apple pear").dense
    scores = DocumentVectors()(world.reader, query / np.linalg.norm(query))
    assert sorted(scores, key=lambda name: -scores[name]) == ["fruit", "mixed", "iron"]
    assert sum(scores.values()) == pytest.approx(0.0, abs=1e-6)


def test_vectors_of_documents_are_read_once_for_each_version(world, monkeypatch):
    read = []
    original = type(world.reader).vectors
    monkeypatch.setattr(
        type(world.reader), "vectors", lambda *a: read.append(1) or original(*a), raising=True
    )
    vectors = DocumentVectors()
    first = vectors.of(world.reader)
    assert len(read) == 3
    again = vectors.of(world.reader)
    assert len(read) == 3
    assert all(again[name] is first[name] for name in first)


def test_pages_are_candidates_by_their_number_in_the_documents_asked_for(world):
    found = named_page_ids(world.reader, None, ["fruit", "iron"], frozenset({2, 3}))
    refs = {page.ref for page in world.reader.pages(found).values()}
    assert refs == {PageRef("fruit", 2), PageRef("fruit", 3), PageRef("iron", 2)}
    assert named_page_ids(world.reader, None, [], frozenset({2})) == []
    assert named_page_ids(world.reader, None, ["fruit"], frozenset()) == []


def test_stage_two_returns_pages_of_documents_of_stage_one_alone(world):
    chosen = first_documents(
        {"fruit": 2.0, "iron": 1.0}, {}, documents_in(world.reader, None), limit=2
    )
    assert chosen == ("fruit", "iron")
    hits = world.found("apple nail", scope=inside(None, chosen))
    assert {hit.ref.document_id for hit in hits} == {"fruit", "iron"}


def test_documents_outside_the_scope_take_no_place_of_stage_one(world):
    among = documents_in(world.reader, world.reader.scope(documents=["iron"]))
    assert first_documents({"fruit": 9.0, "iron": 0.0}, {}, among, limit=1) == ("iron",)


def test_name_and_vector_speak_for_a_document_together_and_ties_go_by_id():
    among = frozenset({"a", "b", "c"})
    assert first_documents({"a": 1.0, "b": 0.5}, {"b": 1.0, "c": -1.0}, among, limit=3) == (
        "b",
        "a",
        "c",
    )
    assert first_documents({}, {}, among, limit=2) == ("a", "b")


# --- documents ranked ---------------------------------------------------------------------------
def test_a_document_ranks_by_its_best_page_and_shows_its_best_pages():
    order = [("a2", 3.0), ("b1", 2.0), ("a1", 1.0), ("a3", 0.5)]
    ranked = best_documents(order, PAGES, limit=5, pages_each=2)
    assert [(each.document_id, each.score) for each in ranked] == [("a", 3.0), ("b", 2.0)]
    assert ranked[0].pages == (("a2", 3.0), ("a1", 1.0))
    assert ranked[0].source == "a.pdf"


@given(
    scores=st.lists(st.integers(-3, 3), min_size=4, max_size=4),
    limit=st.integers(1, 3),
    pages_each=st.integers(1, 4),
)
def test_grouping_keeps_each_page_once_and_orders_documents_by_their_best(
    scores, limit, pages_each
):
    order = [(name, float(score)) for name, score in zip(PAGES, scores, strict=True)]
    ranked = best_documents(order, PAGES, limit=limit, pages_each=pages_each)
    best = {
        document: max(score for name, score in order if name[0] == document) for document in "ab"
    }
    expected = sorted(best, key=lambda document: (-best[document], document))[:limit]
    assert [each.document_id for each in ranked] == expected
    for each in ranked:
        assert each.score == best[each.document_id] == each.pages[0][1]
        assert len({name for name, _ in each.pages}) == len(each.pages) <= pages_each
