"""The read path on a small world with exact arithmetic: hashed words as vectors, all in memory."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_world import WordHasher, World, rows

from rag.errors import InputError, NotFound
from rag.page_pack import open_synced
from rag.patch_search import PatchSearch
from rag.ranking.legs import Mode
from rag.retrieve import Retriever, SearchRequest
from rag.scoring.maxsim import maxsim
from rag.settings import RetrievalSettings
from rag.types import Notice, PageRef, Principal
from rag.wiring import packed_search

WORDS = ["tide", "power", "dividend", "turbine", "harbour", "revenue", "staff", "safety", "storm"]


@pytest.fixture
def world(tmp_path):
    return World(
        tmp_path,
        {
            "north": [["tide", "power", "revenue"], ["dividend", "staff"], ["storm", "harbour"]],
            "south": [["harbour", "staff", "safety"], ["turbine", "power"], ["dividend", "tide"]],
            "foreign": [["dividend", "secret"]],
        },
    )


some_pages = st.lists(
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=6), min_size=1, max_size=8
)
quiet = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@quiet
@given(
    first=some_pages,
    second=some_pages,
    question=st.lists(st.sampled_from(WORDS), min_size=1, max_size=4),
)
def test_visual_search_over_everything_is_exact_maxsim(tmp_path_factory, first, second, question):
    world = World(tmp_path_factory.mktemp("w"), {"a": first, "b": second})
    hits = world.found(" ".join(question), mode=Mode.VISUAL, exact=True)
    expected = {ref: maxsim(rows(question), rows(words)) for ref, words in world.pages().items()}
    assert {hit.ref for hit in hits} == expected.keys()
    np.testing.assert_allclose(
        [hit.score for hit in hits], sorted(expected.values(), reverse=True), atol=1e-4
    )
    for hit in hits:
        assert hit.score == pytest.approx(expected[hit.ref], abs=1e-4)


@pytest.mark.parametrize("mode", Mode)
def test_with_every_page_a_candidate_the_cascade_equals_the_scan(mode, world):
    everything = world.found("dividend of the tide", mode=mode)
    retriever = world.retriever_with(scan_pages=0, candidates=50, leg_candidates=50)
    staged = retriever.search(
        world.reader, SearchRequest("dividend of the tide", top_k=50, mode=mode)
    )
    assert [(hit.ref, hit.score) for hit in everything] == [
        (hit.ref, pytest.approx(hit.score, abs=1e-5)) for hit in staged.hits
    ]


def test_a_visual_score_does_not_depend_on_other_pages(tmp_path):
    alone = World(tmp_path / "1", {"a": [["tide", "power"]]})
    among = World(tmp_path / "2", {"a": [["tide", "power"]], "b": [["storm"] * 9, ["staff"]]})
    score = alone.found("power storm", mode=Mode.VISUAL)[0].score
    others = {hit.ref: hit.score for hit in among.found("power storm", mode=Mode.VISUAL)}
    assert others[PageRef("a", 1)] == pytest.approx(score, abs=1e-6)


def test_the_page_with_the_words_comes_first(world):
    assert world.found("turbine power")[0].ref == PageRef("south", 2)


@pytest.mark.parametrize("mode", Mode)
def test_ranks_count_from_one_and_scores_fall(world, mode):
    hits = world.found("dividend staff", mode=mode)
    assert hits
    assert [hit.rank for hit in hits] == list(range(1, len(hits) + 1))
    scores = [hit.score for hit in hits]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= hit.score_normalized <= 1 for hit in hits)
    normalized = [hit.score_normalized for hit in hits]
    assert normalized == sorted(normalized, reverse=True)


def test_top_k_cuts_the_same_ranking(world):
    assert world.found("dividend", top_k=2) == world.found("dividend")[:2]


def test_no_page_at_all_cannot_be_asked_for(world):
    with pytest.raises(InputError, match="at least 1") as raised:
        world.found("dividend", top_k=0)
    assert raised.value.next_step


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ({"documents": ["north"]}, {"north"}),
        ({"documents": ["south.pdf"]}, {"south"}),
        ({"filters": {"name": {"$ne": "north"}}}, {"south", "foreign"}),
    ],
)
def test_nothing_outside_the_scope_is_found(world, scope, expected, exact):
    hits = world.found("dividend", scope=world.reader.scope(**scope), exact=exact)
    assert {hit.ref.document_id for hit in hits} == expected


def test_a_page_range_holds(world):
    hits = world.found("dividend", scope=world.reader.scope(pages=(2, 2)))
    assert {hit.ref for hit in hits} == {PageRef("north", 2), PageRef("south", 2)}


def test_what_somebody_may_not_read_is_not_found(world):
    reader = world.repository.reader(Principal("bob"), "c")
    assert PageRef("foreign", 1) in {hit.ref for hit in world.found("secret dividend")}
    assert "foreign" not in {hit.ref.document_id for hit in world.found("secret", reader=reader)}
    with pytest.raises(NotFound):
        reader.scope(documents=["foreign"])


def test_every_stage_reports_its_time_and_candidates(world):
    retriever = world.retriever_with(scan_pages=0)
    result = retriever.search(world.reader, SearchRequest("dividend", top_k=3))
    names = [stage.name for stage in result.stages]
    assert names == [
        "encode",
        "legs",
        "int8",
        "rescore",
        "documents",
        "score",
        "fusion",
        "exact",
        "highlight",
    ]
    assert all(stage.ms >= 0 for stage in result.stages)


class Warned:
    """A cascade that has something to say."""

    notice = Notice("pages_not_on_device", "searched on the CPU")

    def __init__(self, cascade):
        self.cascade = cascade

    def search(self, query, pages, **options):
        return replace(self.cascade.search(query, pages, **options), warnings=(self.notice,))


def test_what_the_search_of_packed_pages_warns_of_reaches_the_result(world):
    chosen = RetrievalSettings(scan_pages=0)
    retriever = Retriever(
        WordHasher(), PatchSearch(Warned(packed_search(world.fde, chosen))), chosen
    )
    assert Warned.notice in retriever.search(world.reader, SearchRequest("dividend")).warnings


def test_boxes_and_snippet_show_the_words_of_the_question(world):
    hit = world.found("turbine")[0]
    assert "turbine" in hit.snippet
    box, weight = hit.boxes[0]
    assert box.x0 == 0.0  # the first word of its page
    assert weight == pytest.approx(1.0, abs=1e-3)


def test_rrf_ranks_the_same_best_page(world):
    retriever = world.retriever_with(fusion="rrf")
    result = retriever.search(world.reader, SearchRequest("turbine power", top_k=1))
    assert result.hits[0].ref == PageRef("south", 2)
    assert 0 < result.hits[0].score_normalized <= 1


def test_explain_follows_an_expected_page(world):
    result = world.retriever.search(
        world.reader,
        SearchRequest("turbine", top_k=1, explain=True, expect=PageRef("north", 2)),
    )
    assert result.explanation["expected"]["rank"] > 1
    assert result.explanation["hits"][0]["legs"]["patches"]["rank"] == 1


def test_an_empty_collection_answers_with_no_page(tmp_path):
    world = World(tmp_path, {})
    assert world.found("dividend") == ()


def test_zero_pages_cannot_be_asked_for(world):
    with pytest.raises(InputError, match="top_k"):
        world.found("dividend", top_k=0)


@pytest.mark.parametrize("part", ["int8", "fp16"])
def test_pages_damaged_on_the_disk_are_found_with_the_same_scores_and_named(tmp_path, part):
    world = World(
        tmp_path, {"a": [["tide", "power"], ["storm"]], "b": [["staff", "tide"]]}, scan_pages=0
    )
    request = SearchRequest("tide power", mode=Mode.VISUAL)
    before = world.retriever.search(world.reader, request)
    world.pack.close()
    file = tmp_path / "packed" / f"{part}-1.rows"
    file.write_bytes(bytes(byte ^ 1 for byte in file.read_bytes()))
    world.pack, _ = open_synced(tmp_path / "packed", world.pack.spec, world.index)
    after = world.retriever.search(world.reader, request)
    assert [(h.ref, h.score) for h in after.hits] == [(h.ref, h.score) for h in before.hits]
    assert [each.code for each in before.warnings] == []
    assert [each.code for each in after.warnings] == ["pages_packed_anew"]
