"""The stage of a search that refines its query, on pages that are arrays."""

import numpy as np
import pytest
from small_world import World, rows

from rag.patch_search import PatchSearch
from rag.ranking.fuse import fused
from rag.ranking.legs import Mode
from rag.ranking.refine import PatchAccess, patch_access, refine
from rag.scoring.cascade import StageClock
from rag.scoring.maxsim import maxsim
from rag.scoring.refine import refine_query
from rag.settings import RefineSettings, RetrievalSettings
from rag.types import PageField
from rag.wiring import packed_search

RNG = np.random.default_rng(4)


def unit(n):
    rows = RNG.standard_normal((n, 16)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


QUERY = unit(3)
PAGES = {f"p{n:02}": unit(int(RNG.integers(1, 20))) for n in range(30)}
WORDS = {record_id: float(RNG.uniform(0, 20)) for record_id in PAGES}
PRIOR = dict.fromkeys(PAGES, 0.0)
CANDIDATES = sorted(PAGES)[:20]


def scores(query, ids):
    return {i: maxsim(query, PAGES[i]) for i in ids}


def legs_of(ids):
    return {
        "words": {i: WORDS[i] for i in ids},
        "patches": scores(QUERY, ids),
        "prior": {i: PRIOR[i] for i in ids},
    }


def access(**changed):
    def search(query):
        found = scores(query, PAGES)
        return {i: found[i] for i in sorted(found, key=lambda i: (-found[i], i))[:8]}

    parts = {
        "vectors": lambda ids: {i: PAGES[i] for i in ids},
        "maxsim": scores,
        "search": search,
        "legs": legs_of,
    }
    return PatchAccess(**(parts | changed))


def settings(**refining):
    return RetrievalSettings(refine=RefineSettings(method="gqr", **{"pages": 4} | refining))


def refined(legs=None, *, reached=None, clock=None, query=QUERY, **refining):
    chosen = settings(**refining)
    legs = legs_of(CANDIDATES) if legs is None else legs
    order = fused(CANDIDATES, legs, Mode.HYBRID, chosen)
    found = refine(order, legs, query, reached or access(), chosen, clock or StageClock())
    return order, found


def test_every_candidate_comes_out_once_best_first_with_the_maxsim_of_the_refined_query():
    order, found = refined(learning_rate=5e-3)
    assert sorted(i for i, _ in found.order) == CANDIDATES
    expected = scores(found.query, CANDIDATES)
    assert found.legs["patches"] == pytest.approx(expected, abs=1e-4)
    assert found.order == fused(CANDIDATES, found.legs, Mode.HYBRID, settings())
    assert found.order != order
    assert found.new == found.notices == ()
    assert np.abs(found.query - QUERY).max() > 0.05


def test_refined_maxsim_is_nearer_to_what_the_other_legs_say():
    _, found = refined(learning_rate=5e-3, alpha=1.0, pages=20)
    words = [WORDS[i] for i in CANDIDATES]

    def agreement(query):
        return np.corrcoef(words, [maxsim(query, PAGES[i]) for i in CANDIDATES])[0, 1]

    assert agreement(found.query) > agreement(QUERY) + 0.2


def test_without_a_share_of_the_others_nothing_changes():
    order, found = refined(alpha=0.0)
    assert [i for i, _ in found.order] == [i for i, _ in order]
    np.testing.assert_array_equal(found.query, QUERY)


def test_maxsim_alone_orders_the_pages_compared_and_the_others_keep_theirs():
    order, found = refined(order="maxsim", learning_rate=5e-3)
    clock = StageClock()
    refined(clock=clock)
    n_compared = clock.stages[0].candidates
    head = [i for i, _ in found.order[:n_compared]]
    maxsims = [maxsim(found.query, PAGES[i]) for i in head]
    assert maxsims == sorted(maxsims, reverse=True)
    before = [i for i, _ in order if i not in head]
    assert [i for i, _ in found.order[n_compared:]] == before
    falling = [score for _, score in found.order]
    assert falling == sorted(falling, reverse=True)


def test_the_best_of_both_searches_are_compared_and_the_stage_says_how_many():
    clock, asked = StageClock(), []

    def vectors(ids):
        asked.extend(ids)
        return {i: PAGES[i] for i in ids}

    refined(reached=access(vectors=vectors), clock=clock, pages=3)
    by_maxsim, by_words = (
        sorted(CANDIDATES, key=lambda i: (-scored[i], i))[:3]
        for scored in (scores(QUERY, CANDIDATES), WORDS)
    )
    assert asked == sorted({*by_maxsim, *by_words})
    assert [(s.name, s.candidates) for s in clock.stages] == [("refine", len(asked))]
    assert clock.stages[0].ms > 0


@pytest.mark.parametrize("variant", ["search", "tutorial"])
def test_pages_that_only_the_refined_query_finds_join_with_all_their_legs(variant):
    order, found = refined(variant=variant, learning_rate=5e-3)
    best = access().search(found.query)
    assert found.new == tuple(sorted(best.keys() - set(CANDIDATES)))
    assert found.new
    everything = sorted({*CANDIDATES, *found.new})
    assert sorted(i for i, _ in found.order) == everything
    assert {name: sorted(leg) for name, leg in found.legs.items()} == dict.fromkeys(
        ("words", "patches", "prior"), everything
    )
    assert found.order == fused(everything, found.legs, Mode.HYBRID, settings())
    assert not set(found.new) & {i for i, _ in order}


def test_a_search_that_has_the_last_word_comes_first_in_its_order():
    _, found = refined(variant="tutorial", order="maxsim", learning_rate=5e-3)
    best = access().search(found.query)
    assert [i for i, _ in found.order[: len(best)]] == list(best)
    assert len({i for i, _ in found.order}) == len(found.order)


def test_the_scale_of_the_other_legs_does_not_matter():
    legs = legs_of(CANDIDATES)
    _, found = refined(legs)
    _, scaled = refined(legs | {"words": {i: 50 * s + 9 for i, s in legs["words"].items()}})
    np.testing.assert_allclose(scaled.query, found.query, atol=1e-6)


def test_the_other_legs_are_made_as_flat_as_mean_maxsim_on_the_pages_compared(monkeypatch):
    compared = {}

    def seen(query, pages, second, refining):
        compared.update(first=[maxsim(query, page) / len(query) for page in pages], second=second)
        return refine_query(query, pages, second, refining)

    monkeypatch.setattr("rag.ranking.refine.refine_query", seen)
    refined()
    first, second = (np.array(compared[name]) for name in ("first", "second"))
    assert second.mean() == pytest.approx(first.mean(), abs=1e-6)
    assert second.std() == pytest.approx(first.std(), abs=1e-6)


def test_pages_without_vectors_are_not_compared_and_keep_their_place_in_fusion():
    legs = legs_of(CANDIDATES)
    gone = max(CANDIDATES, key=lambda i: WORDS[i])
    del legs["patches"][gone]
    _, found = refined(legs)
    assert gone not in found.legs["patches"]
    assert sorted(i for i, _ in found.order) == CANDIDATES

    def vectors(ids):
        return {i: PAGES[i][: 0 if i == ids[0] else None] for i in ids[:-1]}

    _, found = refined(reached=access(vectors=vectors))
    assert sorted(i for i, _ in found.order) == CANDIDATES


@pytest.mark.parametrize(
    ("legs", "why"),
    [
        ({"words": WORDS}, "no vectors"),
        ({"words": WORDS, "patches": {}}, "no page with vectors"),
        ({"patches": scores(QUERY, CANDIDATES), "prior": PRIOR}, "no second search"),
        ({"words": WORDS, "patches": {"p03": 1.0}}, "one page"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_where_there_is_nothing_to_compare_the_order_stays_and_a_notice_says_so(legs, why):
    order, found = refined(legs)
    assert found.order == order, why
    assert [notice.code for notice in found.notices] == ["not_refined"]
    np.testing.assert_array_equal(found.query, QUERY)


def test_no_candidates_are_no_error():
    found = refine([], {"words": {}, "patches": {}}, QUERY, access(), settings(), StageClock())
    assert found.order == []
    assert found.notices[0].code == "not_refined"


# --- a collection -------------------------------------------------------------------------------
DOCUMENTS = {
    "north": [["tide", "power", "revenue"], ["dividend", "staff"], ["storm", "harbour"], []],
    "south": [["harbour", "staff", "safety"], ["turbine", "power"], ["dividend", "tide"]],
    "secret": [["tide", "power"]],
}


def test_the_pages_of_a_collection_are_refined_on_and_found_anew_within_the_scope(tmp_path):
    world = World(tmp_path, DOCUMENTS)
    reader, chosen = world.reader, settings(variant="search", learning_rate=0.02)
    scope = reader.scope({"name": {"$ne": "secret"}})
    of_page = reader.pages(reader.ids(scope))
    every_id = sorted(of_page, key=lambda i: of_page[i].ref)  # ids are of chance, pages are not
    query = rows(["tide", "power"])
    patches = PatchSearch(packed_search(world.fde, chosen))
    words = dict(zip(every_id, range(len(every_id)), strict=True))

    def legs(ids):
        return {
            "words": {i: float(words[i]) for i in ids},
            "patches": patches.scores(reader, scope, query, ids, exact=True),
        }

    with_rows = reader.vectors(every_id, PageField.PATCHES)
    candidates, left_out = every_id[:4], [i for i in every_id if i in with_rows][-1]
    access = patch_access(reader, patches, scope, legs, limit=9, left_out=left_out)
    order = fused(candidates, legs(candidates), Mode.HYBRID, chosen)
    found = refine(order, legs(candidates), query, access, chosen, StageClock())

    expected = {i: maxsim(found.query, page) for i, page in with_rows.items() if i != left_out}
    assert len(expected) == len(every_id) - 2  # one left out, one without words
    assert found.legs["patches"] == pytest.approx(expected, abs=2e-3)
    assert set(found.new) == expected.keys() - set(candidates)
    assert {i for i, _ in found.order} == expected.keys() | set(candidates)
    assert np.abs(found.query - query).max() > 0.1
