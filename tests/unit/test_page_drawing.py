"""Marked pages as pixels: heat where it is hot, paper where it is not, print everywhere."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from rag.apps.colour_ramp import coloured, ramp
from rag.apps.marked_page import plain_token, rows_of
from rag.apps.page_drawing import contact_sheet, draw_heatmap, thumbnail
from rag.errors import InputError
from rag.heatmap import HeatMap
from rag.types import RenderedPage


def page_of(width_pt: float, height_pt: float, *, paper: str = "white") -> RenderedPage:
    image = Image.new("RGB", (round(width_pt), round(height_pt)), paper)
    ImageDraw.Draw(image).rectangle((0, 0, image.width // 3, 3), fill="black")
    return RenderedPage(image, width_pt, height_pt)


def map_of(page: RenderedPage, *rasters, whole_page: bool = False) -> HeatMap:
    values = np.stack([np.asarray(raster, np.float32) for raster in rasters])
    n = len(values)
    return HeatMap(
        tuple(f"t{i}" for i in range(n)),
        values,
        np.ones(n, np.float32),
        np.zeros((n, 4), np.float32),
        page.width_pt,
        page.height_pt,
        pooled=False,
        whole_page=whole_page,
    )


def spot(n_rows: int, n_columns: int, row: int, column: int, *, value: float = 1.0):
    raster = np.zeros((n_rows, n_columns), np.float32)
    raster[row, column] = value
    return raster


def test_more_heat_is_darker_and_ends_where_print_can_still_be_read():
    linear = (ramp() / 255.0) ** 2.2
    light = linear @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(light) < 0.002).all()
    assert np.diff(light[::16]).max() < -0.005
    assert tuple(ramp()[0]) == (255, 255, 255)
    assert (light[-1] + 0.05) / 0.05 > 4.5  # contrast of black print, as WCAG asks of text
    assert tuple(coloured(np.array([7.0, -1.0], np.float32))[1]) == (255, 255, 255)


@pytest.mark.parametrize(("width_pt", "height_pt"), [(300, 400), (400, 300), (900, 60), (60, 900)])
@pytest.mark.parametrize("paper", ["white", "black"])
def test_the_hot_cell_is_coloured_and_framed(width_pt, height_pt, paper):
    page = page_of(width_pt, height_pt, paper=paper)
    n_rows, n_columns = max(1, round(height_pt / 30)), max(1, round(width_pt / 30))
    row, column = n_rows - 1, n_columns // 2
    drawn = draw_heatmap(page, map_of(page, spot(n_rows, n_columns, row, column)))
    assert drawn.size == page.image.size
    pixels = np.asarray(drawn, np.int16)
    redness = pixels[..., 0] - pixels[..., 2]
    y, x = np.unravel_index(np.argmax(redness), redness.shape)
    assert column * 30 - 2 <= x <= column * 30 + 32
    assert row * 30 - 2 <= y <= row * 30 + 32
    changed = np.abs(pixels - np.asarray(page.image, np.int16)).sum(axis=2) > 12
    assert 0 < changed.mean() < 9 * 4 / (n_rows * n_columns)


def test_print_under_heat_stays_dark():
    page = page_of(300, 400)
    drawn = np.asarray(draw_heatmap(page, map_of(page, spot(4, 3, 0, 0))), np.int16)
    assert drawn[2, 50].max() < 100
    assert drawn[50, 50].max() > 200


def test_the_rows_asked_for_are_drawn_on_the_range_of_all():
    page = page_of(300, 400)
    heat = map_of(page, spot(8, 6, 2, 2), spot(8, 6, 6, 4, value=0.4))
    one, other, both = (
        np.asarray(draw_heatmap(page, heat, rows), np.int16) for rows in ([0], [1], None)
    )
    hot, warm = (125, 125), (325, 225)
    paper = np.array([255, 255, 255])
    assert (one[warm] == paper).all()
    assert (other[hot] == paper).all()
    assert (both[hot] == one[hot]).all()
    assert 0 < np.abs(other[warm] - paper).sum() < np.abs(one[hot] - paper).sum()


def test_a_flat_map_leaves_the_page_as_it_is():
    page = page_of(300, 400)
    flat = draw_heatmap(page, map_of(page, np.zeros((8, 6))))
    np.testing.assert_array_equal(np.asarray(flat), np.asarray(page.image))


def test_a_sheet_holds_every_picture_with_its_label():
    pictures = [(f"token number {i}", Image.new("RGB", (900, 1200), "red")) for i in range(5)]
    sheet = contact_sheet([*pictures, ("a label " * 40, Image.new("L", (1200, 300), 0))])
    pixels = np.asarray(sheet, np.int16)
    is_red = (pixels[..., 0] > 250) & (pixels[..., 1] < 5)
    small = thumbnail(RenderedPage(pictures[0][1], 300, 400)).image
    assert is_red.sum() == 5 * small.width * small.height
    below = pixels[small.height + 16 : small.height + 46]
    assert (below.sum(axis=2) < 200).any()  # a label's ink
    assert max(sheet.size) < 4000


def test_a_page_smaller_than_a_tile_is_not_blown_up():
    page = page_of(90, 30)
    assert thumbnail(page).image.size == (90, 30)


# --- words of a query ---------------------------------------------------------------------------
LABELS = ("<bos>", "Query", ":", "▁wind", "Ġtur", "##bines", "Ġin", "▁Wind", "?", "<pad>")


@pytest.mark.parametrize(
    ("word", "rows"),
    [
        ("wind", (3, 7)),
        ("WIND", (3, 7)),
        ("turbines", (4, 5)),
        ("wind turbines", (3, 4, 5)),
        ("in", (6,)),
        ("<pad>", (9,)),
    ],
)
def test_a_word_is_found_in_the_tokens_it_was_cut_into(word, rows):
    assert rows_of(word, LABELS) == rows


@pytest.mark.parametrize("word", ["turbine", "bin", "", "!", "inwind turbines"])
def test_a_word_the_query_does_not_have_is_refused_with_those_it_has(word):
    with pytest.raises(InputError) as caught:
        rows_of(word, LABELS)
    assert caught.value.code == "unknown_token"
    assert "wind, tur, bines" in caught.value.next_step


def test_marks_of_tokenizers_are_not_shown():
    assert [plain_token(label) for label in LABELS[3:6]] == ["wind", "tur", "bines"]
    assert plain_token("▁") == "▁"
