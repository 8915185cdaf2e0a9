"""The fixture encoder that looks at colours: laws of what it sees, and its way through ingest."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from rag.encoders import self_test
from rag.errors import InputError
from rag.page_text import PageText
from rag.ports import PageEncoder, PageInput, TellsNotices
from rag.scoring.maxsim import maxsim
from rag.settings import EncoderSettings
from rag.testing.palette_encoder import PALETTE, TABLE_TINT, PaletteEncoder, joint, late, seen
from rag.types import PageRef, RenderedPage, VectorKind

WIDTH_PX, HEIGHT_PX = 420, 594
colours = st.sampled_from(list(PALETTE))
palettes = st.lists(colours, min_size=1, max_size=5, unique=True)


def picture(*names: str) -> Image.Image:
    """A flat square of each colour."""
    image = Image.new("RGB", (WIDTH_PX, HEIGHT_PX), "white")
    draw = ImageDraw.Draw(image)
    for index, name in enumerate(names):
        x, y = 15 + 80 * index, 40 + 100 * index
        draw.rectangle((x, y, x + 60, y + 35), fill=PALETTE[name])
    return image


def page(image: Image.Image, *words: str) -> PageInput:
    n = len(words)
    text = PageText(
        words,
        np.tile(np.array([[10, 10, 20, 20]], np.float32), (n, 1)),
        np.zeros(n, np.int32),
        np.full(n, 10, np.float32),
        np.zeros(n, np.bool_),
    )
    return PageInput(PageRef("d", 1), 595.0, 842.0, text, RenderedPage(image, 595.0, 842.0))


def encoders() -> list[PaletteEncoder]:
    return [PaletteEncoder("late"), PaletteEncoder("joint")]


def score(encoder: PaletteEncoder, question: str, of: PageInput) -> float:
    query = encoder.encode_query(question).tokens.vectors
    return maxsim(query, encoder.encode_pages([of])[0].patches.vectors)


# --- what is seen -------------------------------------------------------------------------------
@given(palettes)
@settings(max_examples=40, deadline=None)
def test_the_colours_of_a_picture_are_seen_and_no_others(names):
    assert {each.look for each in seen(picture(*names))} - {"bars", "ink"} == set(names)


@given(palettes)
@settings(max_examples=25, deadline=None)
def test_what_is_seen_of_a_colour_lies_where_it_was_drawn(names):
    for each in seen(picture(*names)):
        if each.look in PALETTE:
            left, top = 15 + 80 * names.index(each.look), 40 + 100 * names.index(each.look)
            x0, y0, x1, y1 = np.array(each.box) * [WIDTH_PX, HEIGHT_PX, WIDTH_PX, HEIGHT_PX]
            assert x0 <= left + 60
            assert x1 >= left
            assert y0 <= top + 35
            assert y1 >= top


def test_colours_of_the_palette_lie_apart_and_none_is_a_tint():
    for one, other in combinations(PALETTE.values(), 2):
        assert max(abs(a - b) for a, b in zip(one, other, strict=True)) > 24
    tinted = Image.new("RGB", (WIDTH_PX, HEIGHT_PX), TABLE_TINT)
    assert {each.look for each in seen(tinted)} == {"tint"}


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (900, 1), (17, 3)])
def test_pictures_of_any_shape_are_looked_at(size):
    for encoder in encoders():
        (encoded,) = encoder.encode_pages([page(Image.new("RGB", size, PALETTE["teal"]))])
        assert np.isfinite(encoded.patches.vectors).all()


def test_wide_upright_areas_are_bars_and_strokes_and_lying_areas_are_not():
    for box, is_bar in (
        ((100, 100, 180, 400), True),
        ((100, 100, 108, 400), False),
        ((50, 100, 380, 130), False),
    ):
        image = Image.new("RGB", (WIDTH_PX, HEIGHT_PX), "white")
        ImageDraw.Draw(image).rectangle(box, fill=PALETTE["plum"])
        assert ("bars" in {each.look for each in seen(image)}) is is_bar


# --- vectors ------------------------------------------------------------------------------------
@given(palettes, st.lists(st.sampled_from(["ember", "42", "the", "valve", "café"]), max_size=60))
@settings(max_examples=25, deadline=None)
def test_rows_have_unit_length_and_a_page_is_the_same_among_any_others(names, words):
    one, other = page(picture(*names), *words), page(picture("lime"), "other")
    for encoder in encoders():
        alone, *_ = encoder.encode_pages([one])
        _, among, _ = encoder.encode_pages([other, one, other])
        np.testing.assert_allclose(np.linalg.norm(alone.patches.vectors, axis=1), 1, atol=1e-6)
        np.testing.assert_array_equal(alone.patches.vectors, among.patches.vectors)
        assert alone.patches.dim == encoder.identity.dim
        assert alone.patch_words is None


@given(palettes, palettes)
@settings(max_examples=40, deadline=None)
def test_late_gives_a_point_for_each_colour_found_and_a_quarter_for_another(wanted, shown):
    found = len(set(wanted) & set(shown))
    expected = found + 0.25 * (len(wanted) - found)
    got = score(PaletteEncoder("late"), f"chart of {', '.join(wanted)}", page(picture(*shown)))
    assert got == pytest.approx(expected, abs=1e-5)


@given(palettes, palettes)
@settings(max_examples=40, deadline=None)
def test_joint_ranks_by_the_number_of_colours_shared(wanted, shown):
    encoder, question = PaletteEncoder("joint"), f"the chart of {', '.join(wanted)}"
    whole = score(encoder, question, page(picture(*wanted)))
    found = len(set(wanted) & set(shown))
    assert score(encoder, question, page(picture(*shown))) == pytest.approx(
        whole * found / len(wanted), abs=1e-5
    )


def test_joint_adds_words_to_colours_and_reads_no_further_than_it_does():
    encoder = PaletteEncoder("joint")
    words = ["heron", "programme", *(f"filler{letter}" for letter in "abcdefgh")]
    long = [f"word{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(36)] + words
    question = "heron programme in teal"
    both = score(encoder, question, page(picture("teal"), *words))
    text = score(encoder, question, page(picture("lime"), *words))
    pixels = score(encoder, question, page(picture("teal"), "other"))
    assert both == pytest.approx(text + pixels, abs=0.02)
    assert pixels < text < both
    assert score(encoder, question, page(picture("lime"), *long)) < text / 2


def test_a_question_without_a_colour_looks_for_any():
    encoder = PaletteEncoder("late")
    blank = page(Image.new("RGB", (WIDTH_PX, HEIGHT_PX), "white"))
    coloured = score(encoder, "who pays", page(picture("navy")))
    assert coloured == pytest.approx(0.5, abs=1e-6)
    assert score(encoder, "who pays", blank) == pytest.approx(-0.5, abs=1e-6)


def test_a_picture_is_looked_for_by_its_colours():
    encoder = PaletteEncoder("late")
    query = encoder.encode_query("", image=picture("gold", "navy"))
    assert query.labels == ("gold", "navy")


def test_an_empty_question_is_refused():
    for encoder in encoders():
        with pytest.raises(InputError) as refused:
            encoder.encode_query("  ")
        assert refused.value.code == "empty_query"


# --- its place in the system --------------------------------------------------------------------
@pytest.mark.parametrize("load", [late, joint])
def test_it_finds_the_pages_of_the_self_test_and_says_once_that_it_is_a_fixture(load):
    encoder: PageEncoder = load(EncoderSettings())
    self_test.prove(encoder)
    assert encoder.identity.name == "fixture-palette"
    assert isinstance(encoder, TellsNotices)
    assert [notice.code for notice in encoder.take_notices()] == ["fixture_encoder"]
    assert encoder.take_notices() == []


def test_rows_of_looks_have_places_for_heat_maps_and_the_paper_has_none():
    (encoded,) = PaletteEncoder("late").encode_pages([page(picture("gold"))])
    kinds, boxes = encoded.patches.kinds, encoded.patches.boxes
    assert (kinds[:-1] == VectorKind.PATCH).all()
    assert kinds[-1] == VectorKind.SPECIAL
    assert (boxes[:-1, 2:] > boxes[:-1, :2]).all()
    assert (boxes[:, 2] <= 595).all()
    assert (boxes[:, 3] <= 842).all()
