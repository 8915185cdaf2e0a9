"""Worked numbers of the pixel and character budgets, and of tables shown larger."""

import numpy as np
import pytest
from PIL import Image

from rag.answer.evidence.crops import CROP_PX, LEGIBLE_PX, cut, dense_tables, plan_crops
from rag.answer.evidence.image_budget import (
    PAGE_PX,
    WantedImage,
    allot,
    n_texts_within,
    n_words_within,
    wanted_page,
)
from rag.page_text import PageText
from rag.types import RenderedPage


def page(*rows, size_pt=10.0, pitch_pt=12.0, top_pt=100.0) -> PageText:
    """Rows of words, each word 50 pt from the next; a row is a line."""
    words, boxes, lines = [], [], []
    for line, row in enumerate(rows):
        for column, word in enumerate(row.split()):
            x0, y0 = 50.0 + 50 * column, top_pt + pitch_pt * line
            words.append(word)
            boxes.append([x0, y0, x0 + 40, y0 + size_pt])
            lines.append(line)
    return PageText(
        tuple(words),
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(lines, np.int32),
        np.full(len(words), size_pt, np.float32),
        np.zeros(len(words), np.bool_),
    )


# --- pixels -------------------------------------------------------------------------------------
def test_a_letter_page_wants_150_dpi_and_a_poster_no_more_pixels():
    assert wanted_page(612, 792, min_image_px=300_000) == WantedImage(1275 * 1650, 300_000)
    assert wanted_page(4000, 3000, min_image_px=300_000).natural_px == PAGE_PX
    assert wanted_page(72, 72, min_image_px=300_000) == WantedImage(150 * 150, 150 * 150)


def test_two_pages_of_two_million_share_two_million():
    wanted = [WantedImage(2_000_000, 300_000)] * 2
    assert allot(wanted, budget_px=2_000_000) == [1_000_000, 1_000_000]
    assert allot(wanted, budget_px=4_000_000) == [2_000_000, 2_000_000]


def test_a_page_at_its_least_leaves_the_rest_to_the_others():
    wanted = [WantedImage(2_000_000, 300_000), WantedImage(400_000, 300_000)]
    # A common factor of 0.5 would make 200,000 of the second, which may not have less than 300,000.
    assert allot(wanted, budget_px=1_200_000) == [900_000, 300_000]


def test_extras_go_before_pages_and_the_last_before_the_first():
    page_, crop = WantedImage(1_000_000, 400_000), WantedImage(500_000, 500_000, is_extra=True)
    wanted = [page_, crop, page_, crop]
    assert allot(wanted, budget_px=1_300_000) == [400_000, 500_000, 400_000, 0]
    assert allot(wanted, budget_px=1_299_999) == [640_000, 0, 640_000, 0]
    assert allot(wanted, budget_px=799_999) == [790_000, 0, 0, 0]


def test_one_image_is_shown_at_its_least_whatever_the_budget():
    assert allot([WantedImage(1_000_000, 300_000)] * 3, budget_px=1) == [300_000, 0, 0]
    assert allot([], budget_px=1) == []


# --- characters ---------------------------------------------------------------------------------
def test_the_last_texts_are_left_out_and_never_the_first():
    assert n_texts_within([100, 100, 100], budget_chars=200) == 2
    assert n_texts_within([100, 500, 10], budget_chars=200) == 1  # 10 would fit, and ranks below
    assert n_texts_within([500], budget_chars=200) == 1
    assert n_texts_within([], budget_chars=200) == 0


def test_a_text_is_cut_at_the_end_of_a_line():
    text = page("aa bb", "cc dd", "ee ff")  # "aa bb cc dd ee ff"
    assert [n_words_within(text, budget_chars=n) for n in (17, 16, 11, 10, 5)] == [6, 4, 4, 2, 2]
    assert n_words_within(text, budget_chars=4) == 1  # not even the first line
    assert n_words_within(text, budget_chars=1) == 0
    assert n_words_within(PageText.empty(), budget_chars=1) == 0


# --- tables shown larger ------------------------------------------------------------------------
def figures(n_rows, **layout):
    rows = [f"Item{n} 1,{n:03} 2,{n:03} 3,{n:03}" for n in range(n_rows)]
    return page("Three years of figures", "Name 2020 2021 2022", *rows, **layout)


def test_a_dense_table_is_found_with_its_heads_and_nothing_else():
    (table,) = dense_tables(figures(12), width_pt=612, height_pt=792)
    assert table.box == (48, 98, 242, 100 + 12 * 13 + 10 + 2)
    assert table.figure_pt == pytest.approx(7.0)  # of 10 pt type


def test_few_figures_and_running_text_are_no_dense_table():
    assert dense_tables(figures(5), width_pt=612, height_pt=792) == []
    prose = page(*["In 2020 sales were 1,234 million in all"] * 40)
    assert dense_tables(prose, width_pt=612, height_pt=792) == []


def test_only_tables_too_small_in_their_page_are_shown_larger():
    text = figures(12)
    size = {"width_pt": 612.0, "height_pt": 792.0}
    assert plan_crops(text, **size, px_per_pt=LEGIBLE_PX / 7 + 0.01) is None
    plan = plan_crops(text, **size, px_per_pt=1.0)
    assert plan is not None
    assert plan.px_per_pt == pytest.approx(CROP_PX / 7)
    assert plan.least_px_per_pt == pytest.approx(LEGIBLE_PX / 7)


def test_a_single_table_too_large_for_one_image_is_cut_in_two():
    rows = [f"Item{n} " + " ".join(["1,234"] * 11) for n in range(150)]
    text = page(*rows, size_pt=3.0, pitch_pt=4.0)
    upper, lower = dense_tables(text, width_pt=700, height_pt=792)
    assert upper.box.y0 < lower.box.y0 <= upper.box.y1  # nothing falls between them
    assert lower.box.y1 == pytest.approx(100 + 4 * 149 + 3 + 2)


def test_a_crop_holds_the_table_and_no_more_pixels_than_planned():
    (table,) = dense_tables(figures(12), width_pt=612, height_pt=792)
    pixels = np.zeros((1584, 1224, 3), np.uint8)
    pixels[196:562, 96:485] = 255  # the table's box at 2 px a point
    crop = cut(RenderedPage(Image.fromarray(pixels), 612, 792), table, px_per_pt=2.0)
    assert crop.box == table.box
    assert crop.image.width * crop.image.height <= table.box.area * 4
    assert np.asarray(crop.image).min() == 255
