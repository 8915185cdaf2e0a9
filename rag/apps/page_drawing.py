"""Pages as pictures with what was found marked on them."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

from PIL import Image, ImageChops, ImageDraw

from rag.geometry import Box
from rag.types import RenderedPage

_MARK = (255, 214, 10)  # a text marker's yellow: multiplied, so that the print stays readable
_FRAME = (214, 120, 0)
_STRONG = 0.75  # boxes from this weight on are framed as well


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


def as_png_base64(image: Image.Image) -> str:
    stream = io.BytesIO()
    image.save(stream, format="PNG", compress_level=3)
    return base64.b64encode(stream.getvalue()).decode("ascii")


def _grown(box: Box, scale: float) -> tuple[float, float, float, float]:
    margin = scale  # one point around, so that letters do not touch the edge
    return (box.x0 - margin, box.y0 - margin, box.x1 + margin, box.y1 + margin)
