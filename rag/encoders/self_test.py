"""What an encoder has to find before it is trusted: four drawn pages, one question for each.

The pages show what the questions ask for, in words and in shapes, so that any trained model ranks
them; weights that did not load rank all four by chance about once in 256 times.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rag.errors import ModelFailed
from rag.page_text import PageText
from rag.ports import PageEncoder, PageInput
from rag.scoring.maxsim import maxsim
from rag.types import PageRef, RenderedPage

QUERIES = (
    "table of the dividend per share by year",
    "bar chart of sales in each quarter",
    "circuit diagram with battery, switch and lamp",
    "how to water and grow flowers in the garden",
)
SIDE_PX = 448
_SIDE_PT = 448.0
_INK = (20, 20, 30)
_PAPER = (255, 255, 255)


@cache
def pages() -> tuple[Image.Image, ...]:
    """The page that answers each of `QUERIES`, in their order; shared, so not to be drawn on."""
    return _dividends(), _sales(), _circuit(), _garden()


def page_inputs() -> list[PageInput]:
    return [
        PageInput(
            ref=PageRef("self-test", number),
            width_pt=_SIDE_PT,
            height_pt=_SIDE_PT,
            text=PageText.empty(),
            image=RenderedPage(image, _SIDE_PT, _SIDE_PT),
        )
        for number, image in enumerate(pages(), start=1)
    ]


def prove(encoder: PageEncoder) -> None:
    """Let the encoder find the page of each question.

    Raises:
        ModelFailed: `self_test_failed` where another page scores as high for any question.
    """
    encoded = encoder.encode_pages(page_inputs())
    queries = [encoder.encode_query(text) for text in QUERIES]
    scores = np.array(
        [
            [maxsim(query.tokens.vectors, page.patches.vectors) for page in encoded]
            for query in queries
        ]
    )  # (n_queries, n_pages)
    others = np.where(np.eye(len(QUERIES), dtype=bool), -np.inf, scores)
    found = np.diagonal(scores) > others.max(axis=1)
    if not found.all():
        missed = QUERIES[int(np.argmin(found))]
        raise ModelFailed(
            f"encoder {encoder.identity} failed its self-test: {int(found.sum())} of "
            f"{len(QUERIES)} built-in questions find their page first, not '{missed}'. Its weights "
            "are incomplete, untrained, or not made for retrieving pages",
            code="self_test_failed",
            next_step="Fetch the weights again with `octavo models pull`, or choose another model.",
        )


# --- the pages ----------------------------------------------------------------------------------
def _page(title: str, colour: tuple[int, int, int]) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGB", (SIDE_PX, SIDE_PX), _PAPER)
    draw = ImageDraw.Draw(image)
    _write(draw, (24, 20), title, size_px=30, fill=colour)
    return image, draw


def _write(
    draw: ImageDraw.ImageDraw,
    at: tuple[float, float],
    text: str,
    *,
    size_px: int,
    fill: tuple[int, int, int] = _INK,
) -> None:
    draw.text(at, text, font=ImageFont.load_default(size_px), fill=fill)


def _dividends() -> Image.Image:
    rows = [("Year", "Dividend per share"), ("2021", "$ 1.20"), ("2022", "$ 1.35")]
    rows += [("2023", "$ 1.50"), ("2024", "$ 1.75"), ("2025", "$ 1.90")]
    image, draw = _page("Dividend table", (20, 40, 130))
    for index, (year, dividend) in enumerate(rows):
        y = 84 + 56 * index
        heading = index == 0
        draw.rectangle(
            (24, y, 424, y + 56), fill=(190, 205, 240) if heading else _PAPER, outline=_INK, width=2
        )
        _write(draw, (40, y + 14), year, size_px=24)
        _write(draw, (150, y + 14), dividend, size_px=24)
    draw.line((130, 84, 130, 84 + 56 * len(rows)), fill=_INK, width=2)
    return image


def _sales() -> Image.Image:
    image, draw = _page("Sales by quarter", (150, 30, 30))
    draw.line((60, 80, 60, 390), fill=_INK, width=3)
    draw.line((60, 390, 430, 390), fill=_INK, width=3)
    for index, height in enumerate((90, 160, 230, 290)):
        x = 85 + 88 * index
        draw.rectangle((x, 390 - height, x + 56, 390), fill=(210, 50, 40))
        _write(draw, (x + 8, 400), f"Q{index + 1}", size_px=26)
        _write(draw, (x + 6, 362 - height), f"{height // 2}", size_px=22)
    return image


def _circuit() -> Image.Image:
    image, draw = _page("Circuit diagram", _INK)
    draw.rectangle((70, 120, 380, 370), outline=_INK, width=4)
    # Battery: a break in the left wire between a long and a short plate.
    draw.rectangle((60, 232, 80, 252), fill=_PAPER)
    draw.line((40, 232, 100, 232), fill=_INK, width=4)
    draw.line((55, 252, 85, 252), fill=_INK, width=8)
    _write(draw, (108, 228), "Battery 9 V", size_px=22)
    # Switch: an open arm in the upper wire.
    draw.rectangle((190, 112, 260, 128), fill=_PAPER)
    draw.line((190, 120, 252, 88), fill=_INK, width=4)
    draw.ellipse((184, 114, 196, 126), fill=_INK)
    draw.ellipse((254, 114, 266, 126), fill=_INK)
    _write(draw, (190, 134), "Switch", size_px=22)
    # Lamp: a crossed circle in the right wire.
    draw.ellipse((350, 215, 410, 275), fill=(255, 240, 120), outline=_INK, width=4)
    arm = 30 * math.sqrt(0.5)
    draw.line((380 - arm, 245 - arm, 380 + arm, 245 + arm), fill=_INK, width=4)
    draw.line((380 - arm, 245 + arm, 380 + arm, 245 - arm), fill=_INK, width=4)
    _write(draw, (285, 286), "Lamp", size_px=22)
    return image


def _garden() -> Image.Image:
    image, draw = _page("In the garden", (20, 110, 40))
    lines = (
        "Water the flowers every morning,",
        "before the sun is high. Plant seeds",
        "in spring, in loose and rich soil,",
        "and pull the weeds each week.",
    )
    for index, line in enumerate(lines):
        _write(draw, (24, 72 + 32 * index), line, size_px=23)
    draw.rectangle((0, 408, SIDE_PX, SIDE_PX), fill=(120, 80, 40))
    for x, colour in ((90, (230, 60, 120)), (224, (250, 190, 30)), (358, (140, 70, 200))):
        draw.line((x, 290, x, 408), fill=(30, 140, 50), width=8)
        draw.ellipse((x, 340, x + 44, 362), fill=(30, 140, 50))
        for step in range(6):
            angle = math.pi * step / 3
            petal_x, petal_y = x + 28 * math.cos(angle), 280 + 28 * math.sin(angle)
            draw.ellipse((petal_x - 19, petal_y - 19, petal_x + 19, petal_y + 19), fill=colour)
        draw.ellipse((x - 15, 265, x + 15, 295), fill=(110, 70, 20))
    return image
