"""Queries beyond text: by a page, a region, an image, and moved along words."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from small_world import DIM, WordHasher, World, rows

from rag.apps.asked import query_asked
from rag.errors import InputError, NotFound
from rag.geometry import Box
from rag.page_region import PageRegion, region_vectors
from rag.ports import EncodedPage, EncodedQuery
from rag.query import MAX_ROWS, Query, encode
from rag.ranking.legs import Mode
from rag.retrieve import SearchRequest
from rag.scoring.maxsim import maxsim
from rag.types import MultiVector, PageRef, RenderedPage, VectorKind
from rag.vector_boxes import VectorBoxes

# A word stands at 20 points a word, 18 wide; see small_world.
DOCUMENTS = {
    "north": [["tide", "power", "revenue"], ["dividend", "staff"], ["storm", "harbour"]],
    "south": [["harbour", "staff", "safety"], ["turbine", "power"], ["dividend", "tide"]],
}
FIRST = PageRef("north", 1)


def colour_word(image: Image.Image) -> str:
    return {(255, 0, 0): "storm", (0, 255, 0): "turbine"}[image.getpixel((0, 0))]


class SeesColours(WordHasher):
    """Its pages are places without words, after a special one; it reads plain colours as words."""

    wants_image = True

    def encode_pages(self, pages):
        encoded = []
        for page, seen in zip(super().encode_pages(pages), pages, strict=True):
            n = len(seen.text)
            patches = MultiVector(
                np.concatenate([rows(["special"]), page.patches.vectors]),
                boxes=np.concatenate([np.zeros((1, 4), np.float32), seen.text.boxes]),
                kinds=np.array([VectorKind.SPECIAL] + [VectorKind.PATCH] * n, np.uint8),
            )
            nothing = np.zeros((0, 4), np.float32)
            headings = MultiVector(np.zeros((0, DIM), np.float32), boxes=nothing)
            encoded.append(EncodedPage(patches, None, page.dense, headings))
        return encoded

    def encode_query(self, text, *, image=None):
        seen = [] if image is None else [colour_word(image)]
        return super().encode_query(" ".join([*text.split(), *seen]))


class OneVector(SeesColours):
    """One vector a page, of the mean of its words."""

    def encode_pages(self, pages):
        encoded = []
        for page, seen in zip(super().encode_pages(pages), pages, strict=True):
            mean = page.dense / np.linalg.norm(page.dense, axis=1, keepdims=True)
            frame = np.array([[0, 0, seen.width_pt, seen.height_pt]], np.float32)
            patches = MultiVector(mean, frame, np.array([VectorKind.PATCH], np.uint8))
            encoded.append(replace(page, patches=patches, dense=mean))
        return encoded


@pytest.fixture
def world(tmp_path):
    return World(tmp_path, DOCUMENTS)


@pytest.fixture
def seen(tmp_path):
    return World(tmp_path, DOCUMENTS, encoder=SeesColours())


@pytest.fixture
def one_vector(tmp_path):
    world = World(tmp_path, DOCUMENTS, encoder=OneVector())
    page = Image.new("RGB", (1224, 1584), (0, 255, 0))  # 144 dpi
    page.paste((255, 0, 0), (200, 200, 400, 400))
    world.reader.page_image = lambda *_: RenderedPage(page, 612, 792)
    return world


def searched(world, query, **options):
    options = {"top_k": 50, **options}
    return world.retriever.search(world.reader, SearchRequest(query, **options))


def vectors_of(world, query):
    return encode(query, world.encoder, world.reader).encoded.tokens.vectors


def like(box=None, ref=FIRST):
    return Query(like=PageRegion(ref, box))


# --- pages like a page --------------------------------------------------------------------------
@pytest.mark.parametrize("scan_pages", [200, 0])
@pytest.mark.parametrize("exact", [True, False])
def test_pages_like_a_page_rank_by_maxsim_with_its_stored_vectors(tmp_path, exact, scan_pages):
    world = World(tmp_path, DOCUMENTS, scan_pages=scan_pages)
    found = searched(world, like(), exact=exact)
    words = world.pages()
    expected = {
        ref: maxsim(rows(words[FIRST]), rows(on_page))
        for ref, on_page in words.items()
        if ref != FIRST
    }
    assert found.mode is Mode.VISUAL
    best_first = sorted(expected, key=lambda ref: (-expected[ref], ref))
    assert [hit.ref for hit in found.hits] == best_first
    assert [hit.score for hit in found.hits] == [
        pytest.approx(expected[ref], abs=2e-3) for ref in best_first
    ]


@pytest.mark.parametrize("fusion", ["zscore", "rrf"])
@pytest.mark.parametrize("text", ["", "dividend"])
@pytest.mark.parametrize("scan_pages", [200, 0])
def test_a_page_is_none_of_its_own_results_and_none_of_the_others_is_lost(
    tmp_path, text, fusion, scan_pages
):
    world = World(tmp_path, DOCUMENTS, fusion=fusion, scan_pages=scan_pages)
    query = replace(like(), text=text)
    hits = searched(world, query).hits
    assert {hit.ref for hit in hits} == world.pages().keys() - {FIRST}
    assert [hit.ref for hit in searched(world, query, top_k=1).hits] == [hits[0].ref]


def test_the_page_itself_takes_no_place_among_those_asked_for(tmp_path):
    world = World(tmp_path, DOCUMENTS, scan_pages=0, leg_candidates=2)
    assert len(searched(world, like(), top_k=2).hits) == 2


def test_words_beside_a_page_join_its_rows_and_bring_their_own_legs(world):
    found = searched(world, replace(like(), text="dividend staff"))
    assert found.mode is Mode.HYBRID
    np.testing.assert_allclose(
        found.query.tokens.vectors,
        rows(["dividend", "staff", "tide", "power", "revenue"]),
        atol=1e-3,
    )
    np.testing.assert_allclose(
        encode(replace(like(), text="staff"), world.encoder, world.reader).headings,
        rows(["staff"]),
        atol=1e-6,
    )
    assert "words" in found.hits[0].scores
    alone = {hit.ref: hit.scores["words"] for hit in world.found("dividend staff")
             if "words" in hit.scores and hit.ref != FIRST}  # fmt: skip
    assert {hit.ref: hit.scores["words"] for hit in found.hits if "words" in hit.scores} == alone


def test_a_row_of_a_page_is_named_by_its_words(world):
    assert encode(like(), world.encoder, world.reader).encoded.labels == tuple(world.pages()[FIRST])


def test_special_vectors_stand_for_no_part_of_a_page(seen):
    np.testing.assert_allclose(vectors_of(seen, like()), rows(DOCUMENTS["north"][0]), atol=1e-3)


# --- regions ------------------------------------------------------------------------------------
@pytest.mark.parametrize("encoder", [WordHasher, SeesColours])
@pytest.mark.parametrize(
    ("box", "words"),
    [
        (Box(20, 10, 38, 20), ["power"]),
        (Box(0, 0, 612, 792), ["tide", "power", "revenue"]),
        (Box(9, 0, 612.3, 792.3), ["tide", "power", "revenue"]),  # half of the first; rounded up
        (Box(10, 0, 50, 792), ["power", "revenue"]),  # less than half of the first
        (Box(41, 11, 43, 13), ["revenue"]),  # within one: less than half, but nothing else
        (Box(36, 11, 42, 13), ["power", "revenue"]),  # touches both, holds neither
    ],
)
def test_a_region_is_the_vectors_that_lie_in_it(tmp_path, encoder, box, words):
    world = World(tmp_path, DOCUMENTS, encoder=encoder())
    np.testing.assert_allclose(vectors_of(world, like(box)), rows(words), atol=1e-3)


def test_a_pooled_vector_belongs_where_half_of_all_its_places_are(seen):
    page = seen.reader.page("north", 1)
    boxes = np.array([[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]], np.float32)
    pooled = VectorBoxes(boxes, np.zeros(3, np.uint8), np.array([0, 0, 1], np.int32))
    page = replace(page, vector_boxes=pooled)
    stored = rows(["special", *DOCUMENTS["north"][0]])

    def chosen(box):
        found = region_vectors(seen.reader, page, box).vectors
        return [int(np.argmax(stored @ row)) for row in found]

    assert chosen(Box(0, 0, 10, 10)) == [0]
    assert chosen(Box(0, 0, 9, 10)) == [0]  # touched, and nothing else is
    assert chosen(Box(21, 0, 50, 10)) == [1]


@pytest.mark.parametrize(
    ("box", "code"),
    [
        (Box(300, 300, 400, 400), "empty_region"),
        (Box(38, 10, 20, 20), "bad_region"),
        (Box(20, 20, 38, 10), "bad_region"),
        (Box(20, 10, 20, 20), "bad_region"),
        (Box(-30, 10, 38, 20), "bad_region"),
        (Box(20, 10, 700, 20), "bad_region"),
        (Box(700, 900, 800, 950), "bad_region"),
        (Box(0, 0, float("nan"), 10), "bad_region"),
    ],
)
def test_a_region_that_is_none_is_refused_with_the_size_of_the_page(world, box, code):
    with pytest.raises(InputError) as raised:
        searched(world, like(box))
    assert raised.value.code == code
    assert "612 x 792 points" in raised.value.next_step


def test_a_region_of_three_numbers_is_refused_with_those_it_wants(world):
    with pytest.raises(InputError, match="4 numbers") as raised:
        query_asked(world.reader, "tide", like=["north", 1, [10, 10, 20]])
    assert raised.value.code == "bad_region"
    assert "x0, y0, x1, y1" in raised.value.next_step


def test_a_page_that_is_not_there_is_not_found(world):
    with pytest.raises(NotFound):
        searched(world, like(ref=PageRef("north", 9)))


def test_a_page_without_vectors_is_refused(tmp_path):
    world = World(tmp_path, {"a": [[], ["tide"]]})
    with pytest.raises(InputError) as raised:
        searched(world, like(ref=PageRef("a", 1)))
    assert raised.value.code == "empty_region"


def test_a_page_of_one_vector_is_searched_whole_by_it(one_vector):
    whole = np.mean(rows(DOCUMENTS["north"][0]), axis=0)
    np.testing.assert_allclose(
        vectors_of(one_vector, like()), [whole / np.linalg.norm(whole)], atol=1e-3
    )


def test_a_part_of_a_page_of_one_vector_is_read_from_its_pixels(one_vector):
    np.testing.assert_allclose(
        vectors_of(one_vector, like(Box(100, 100, 200, 200))), rows(["storm"]), atol=1e-6
    )
    np.testing.assert_allclose(
        vectors_of(one_vector, like(Box(300, 300, 301, 301))), rows(["turbine"]), atol=1e-6
    )


def test_a_part_of_a_page_of_one_vector_wants_an_encoder_that_reads_images(one_vector):
    one_vector.encoder.wants_image = False
    with pytest.raises(InputError) as raised:
        searched(one_vector, like(Box(100, 100, 200, 200)))
    assert raised.value.code == "query_not_supported"


# --- too many rows ------------------------------------------------------------------------------
def test_a_page_of_very_many_vectors_is_thinned_evenly_and_says_so(tmp_path):
    words = [f"word{i}" for i in range(MAX_ROWS * 2 + 500)]
    world = World(tmp_path, {"a": [words, ["tide"]]})
    query = replace(like(ref=PageRef("a", 1)), text="tide storm")
    found = searched(world, query)
    assert [notice.code for notice in found.warnings] == ["query_thinned"]
    labels = found.query.labels
    assert len(found.query.tokens) == len(labels) == MAX_ROWS
    np.testing.assert_allclose(found.query.tokens.vectors[:2], rows(["tide", "storm"]), atol=1e-6)
    kept = np.array([int(label.removeprefix("word")) for label in labels[2:]])
    steps = np.diff(kept)
    assert kept[0] == 0
    assert len(words) - kept[-1] <= 3
    assert set(steps.tolist()) == {2, 3}
    np.testing.assert_allclose(found.query.tokens.vectors[2:], rows(labels[2:]), atol=1e-3)
    assert searched(world, query).query.labels == labels


def test_a_page_that_fits_is_not_thinned(world):
    assert searched(world, like()).warnings == ()


# --- images -------------------------------------------------------------------------------------
def test_an_image_is_read_by_the_encoder_and_searched_by_maxsim_alone(seen):
    found = searched(seen, Query(image=Image.new("RGB", (8, 8), "red")), top_k=1)
    assert found.mode is Mode.VISUAL
    assert found.hits[0].ref == PageRef("north", 3)


def test_text_and_image_are_encoded_together_and_searched_in_hybrid(seen):
    found = searched(seen, Query("harbour", image=Image.new("RGB", (8, 8), "red")))
    assert found.mode is Mode.HYBRID
    np.testing.assert_allclose(found.query.tokens.vectors, rows(["harbour", "storm"]), atol=1e-6)
    assert found.hits[0].ref == PageRef("north", 3)


def test_rows_of_the_text_are_kept_where_an_image_has_too_many(seen):
    n = MAX_ROWS + 100

    class Detailed(SeesColours):
        def encode_query(self, text, *, image=None):
            places = np.full((n + 2, 4), [0, 0, 1, 1], np.float32)
            places[:2] = 0
            vectors = rows(["tide", "power", *(f"patch{i}" for i in range(n))])
            return EncodedQuery(MultiVector(vectors, places), vectors[0])

    red = Image.new("RGB", (8, 8), "red")
    found = encode(Query("tide power", image=red), Detailed(), seen.reader)
    assert len(found.encoded.tokens) == MAX_ROWS
    np.testing.assert_allclose(found.encoded.tokens.vectors[:2], rows(["tide", "power"]))
    assert [notice.code for notice in found.notices] == ["query_thinned"]


# --- arithmetic ---------------------------------------------------------------------------------
@pytest.mark.parametrize("mode", [Mode.HYBRID, Mode.VISUAL])
@pytest.mark.parametrize("base", [Query("dividend staff"), like(), replace(like(), text="staff")])
def test_strength_zero_is_the_query_as_it_is(world, base, mode):
    still = replace(base, towards="storm", away_from="power", strength=0.0)
    assert searched(world, still, mode=mode).hits == searched(world, base, mode=mode).hits


def test_strength_zero_leaves_a_search_of_words_alone(world):
    still = Query("dividend staff", towards="storm", strength=0.0)
    assert searched(world, still, mode=Mode.TEXT).hits == world.found(
        "dividend staff", mode=Mode.TEXT
    )


@pytest.mark.parametrize(
    ("towards", "away_from"), [("storm", "power"), ("storm harbour", ""), ("", "power")]
)
def test_every_row_moves_along_the_difference_of_the_means(world, towards, away_from):
    query = Query("tide staff", towards=towards, away_from=away_from, strength=0.7)
    step = 0.7 * sum(
        sign * rows(text.split()).mean(axis=0)
        for text, sign in ((towards, 1), (away_from, -1))
        if text
    )
    moved = rows(["tide", "staff"]) + step
    moved /= np.linalg.norm(moved, axis=1, keepdims=True)
    found = encode(query, world.encoder, world.reader)
    np.testing.assert_allclose(found.encoded.tokens.vectors, moved, atol=1e-6)
    np.testing.assert_allclose(found.headings, moved, atol=1e-6)
    assert np.linalg.norm(found.encoded.dense) == pytest.approx(1.0, abs=1e-5)


def test_a_query_moved_far_finds_what_it_was_moved_to(world):
    assert searched(world, Query("dividend"), mode=Mode.VISUAL).hits[0].ref != PageRef("south", 2)
    for base in (Query("dividend"), like()):
        moved = replace(base, towards="turbine", strength=5.0)
        assert searched(world, moved, mode=Mode.VISUAL).hits[0].ref == PageRef("south", 2)


def test_a_row_that_the_direction_undoes_stays(world):
    query = Query("tide", away_from="tide", strength=1.0)
    np.testing.assert_allclose(vectors_of(world, query), rows(["tide"]), atol=1e-6)


# --- what makes no query ------------------------------------------------------------------------
@pytest.mark.parametrize(
    "query", [like(), replace(like(), text="tide"), Query("tide", towards="storm")]
)
def test_a_search_for_words_alone_refuses_what_it_would_leave_unheard(world, query):
    with pytest.raises(InputError) as raised:
        searched(world, query, mode=Mode.TEXT)
    assert raised.value.code == "mode_not_possible"


def test_a_direction_alone_is_no_query(world):
    with pytest.raises(InputError, match="no word"):
        searched(world, Query(towards="storm"))


@pytest.mark.parametrize("strength", [-0.1, 10.5, float("nan"), float("inf")])
def test_a_strength_out_of_bounds_is_refused(strength):
    with pytest.raises(InputError, match="strength"):
        Query("tide", towards="storm", strength=strength)


def test_an_image_and_a_page_at_once_are_refused():
    with pytest.raises(InputError, match="at once"):
        replace(like(), image=Image.new("RGB", (8, 8)))
