"""Pages as pictures with what was found marked on them."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

from rag.apps.colour_ramp import coloured
from rag.geometry import Box, FloatArray
from rag.heatmap import HeatMap
from rag.regions import regions
from rag.types import RenderedPage

_MARK = (255, 214, 10)  # a text marker's yellow: multiplied, so that the print stays readable
_FRAME = (214, 120, 0)
_STRONG = 0.75  # boxes from this weight on are framed as well
_HOT_FRAME = (150, 20, 60)
# Of the heat's colour, laid over what multiplying leaves dark: little over print, more where all
# around is dark, so that a dark slide shows its heat too.
_VEIL, _VEIL_ON_DARK, _AROUND_PT = 0.15, 0.4, 10.0
_FRAMED = 0.2  # of the colour scale: what is fainter is nothing to point at
_EASE, _LEAST_RANGE = 1.4, 1e-6
_TILE_PX, _GAP_PX, _LABEL_PX = 420, 16, 18
_LABEL_INK, _SHEET = (40, 40, 45), (236, 236, 238)
_MOST_ACROSS = 6


def draw_boxes(page: RenderedPage, boxes: Sequence[tuple[Box, float]]) -> Image.Image:
    """The page with every box marked, the stronger the higher its weight (0 to 1).

    Args:
        page: pixels and the frame they show.
        boxes: in page points.
    """
    scale = page.px_per_pt
    marks = Image.new("RGB", page.image.size, "white")
    drawing = ImageDraw.Draw(marks)
    for box, weight in sorted(boxes, key=lambda item: item[1]):
        faded = tuple(round(255 - (255 - part) * min(1.0, max(0.0, weight))) for part in _MARK)
        drawing.rectangle(_grown(box.scaled(scale), scale), fill=faded)
    marked = ImageChops.multiply(page.image.convert("RGB"), marks)
    drawing = ImageDraw.Draw(marked)
    for box, weight in boxes:
        if weight >= _STRONG:
            drawing.rectangle(_grown(box.scaled(scale), scale), outline=_FRAME, width=2)
    return marked


def draw_heatmap(
    page: RenderedPage, heat: HeatMap, rows: Sequence[int] | None = None
) -> Image.Image:
    """The page under its heat, with the strongest region framed.

    Args:
        page: pixels and the frame they show.
        heat: of that page.
        rows: the query rows whose best is shown; all of them where None.
    """
    raster = heat.whole if rows is None else heat.over(rows)
    smooth = Image.fromarray(raster).resize(page.image.size, Image.Resampling.BICUBIC)
    values = _over_the_middle(np.asarray(smooth, np.float32), heat)
    colours = Image.fromarray(coloured(values))
    plain = page.image.convert("RGB")
    around = plain.convert("L").filter(ImageFilter.BoxBlur(_AROUND_PT * page.px_per_pt))
    darkness = 1 - np.asarray(around, np.float32) / 255
    veil = values * (_VEIL + _VEIL_ON_DARK * darkness)
    drawn = Image.composite(
        colours,
        ImageChops.multiply(plain, colours),
        Image.fromarray(np.round(255 * veil).astype(np.uint8)),
    )
    if not heat.whole_page and values.max() >= _FRAMED:
        (box, _), *_ = regions(heat, raster).boxes
        width = max(2, round(page.px_per_pt * 1.2))
        ImageDraw.Draw(drawn).rectangle(
            tuple(box.scaled(page.px_per_pt)), outline=_HOT_FRAME, width=width
        )
    return drawn


def thumbnail(page: RenderedPage) -> RenderedPage:
    """The page as large as a contact sheet shows it."""
    small = page.image.convert("RGB").resize(_tile_size(page.image), Image.Resampling.LANCZOS)
    return RenderedPage(small, page.width_pt, page.height_pt)


def contact_sheet(pictures: Sequence[tuple[str, Image.Image]]) -> Image.Image:
    """Pictures side by side, each over its label; at least one."""
    sides = [_tile_size(image) for _, image in pictures]
    width, height = (max(side[axis] for side in sides) for axis in (0, 1))
    n_across = min(len(pictures), _MOST_ACROSS, math.ceil(math.sqrt(len(pictures) * 1.6)))
    n_down = -(-len(pictures) // n_across)
    cell_width, cell_height = width + _GAP_PX, height + 2 * _LABEL_PX + _GAP_PX
    size = (n_across * cell_width + _GAP_PX, n_down * cell_height + _GAP_PX)
    sheet = Image.new("RGB", size, _SHEET)
    drawing = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(_LABEL_PX)
    for index, ((label, image), side) in enumerate(zip(pictures, sides, strict=True)):
        x = _GAP_PX + cell_width * (index % n_across)
        y = _GAP_PX + cell_height * (index // n_across)
        sheet.paste(image.convert("RGB").resize(side, Image.Resampling.LANCZOS), (x, y))
        text = _fitting(label, font, width)
        drawing.text((x, y + side[1] + _LABEL_PX // 3), text, fill=_LABEL_INK, font=font)
    return sheet


def as_png_base64(image: Image.Image) -> str:
    stream = io.BytesIO()
    image.save(stream, format="PNG", compress_level=3)
    return base64.b64encode(stream.getvalue()).decode("ascii")


def _grown(box: Box, scale: float) -> tuple[float, float, float, float]:
    margin = scale  # one point around, so that letters do not touch the edge
    return (box.x0 - margin, box.y0 - margin, box.x1 + margin, box.y1 + margin)


def _over_the_middle(values: FloatArray, heat: HeatMap) -> FloatArray:
    """Only what is above the middle of all the query's maps takes colour: paper stays paper."""
    middle = float(np.median(heat.values))
    above = np.clip((values - middle) / max(1 - middle, _LEAST_RANGE), 0, 1)
    eased: FloatArray = (above**_EASE).astype(np.float32)
    return eased


def _tile_size(image: Image.Image) -> tuple[int, int]:
    scale = min(1.0, _TILE_PX / image.width, 1.5 * _TILE_PX / image.height)
    return max(1, round(image.width * scale)), max(1, round(image.height * scale))


def _fitting(label: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width_px: int) -> str:
    if font.getlength(label) <= width_px:
        return label
    while label and font.getlength(f"{label}…") > width_px:
        label = label[:-1]
    return f"{label}…"
