"""The map of a query that is one patch of a coloured block is hottest on the block."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs torch: make test-torch")

from PIL import Image, ImageDraw

from rag.encoders.colpali import ColPaliEncoder
from rag.geometry import Box
from rag.heatmap import PlacedVectors, heat_map
from rag.highlight import highlight
from rag.page_text import PageText
from rag.ports import PageInput
from rag.settings import EncoderSettings
from rag.testing.checkpoints import FAMILIES
from rag.types import PageRef, RenderedPage, VectorKind
from rag.vector_boxes import VectorBoxes

LATE = [family for family in FAMILIES if family.startswith("Col")]
# Width, height, and the block, in points.
PAGES = {
    "portrait": (300, 420, Box(180, 300, 280, 400)),
    "landscape": (420, 300, Box(20, 20, 160, 130)),
    "strip": (600, 150, Box(420, 30, 540, 130)),
}


@pytest.fixture(scope="module", params=LATE)
def encoder(request, tiny):
    settings = EncoderSettings(name="colpali", model=str(tiny(request.param)), device="cpu")
    made = ColPaliEncoder.load(settings)
    yield made
    made.close()


@pytest.mark.parametrize("shape", PAGES)
def test_a_planted_query_is_hottest_on_the_block(encoder, shape):
    width, height, block = PAGES[shape]
    image = Image.new("RGB", (2 * width, 2 * height), "white")
    ImageDraw.Draw(image).rectangle(tuple(block.scaled(2)), fill=(200, 30, 30))
    page = PageInput(
        PageRef("d", 1), width, height, PageText.empty(), RenderedPage(image, width, height)
    )
    (encoded,) = encoder.encode_pages([page])
    patches = encoded.patches
    boxes = [Box(*map(float, box)) for box in patches.boxes]
    on_block = [
        row
        for row, box in enumerate(boxes)
        if patches.kinds[row] == VectorKind.PATCH and box.intersection(block).area > 0.6 * box.area
    ]
    planted = max(on_block, key=lambda row: boxes[row].intersection(block).area)
    placed = PlacedVectors(
        patches.vectors,
        width,
        height,
        PageText.empty(),
        None,
        VectorBoxes(patches.boxes, patches.kinds),
    )
    heat = heat_map(patches.vectors[[planted]], ["planted"], placed)
    assert (heat.pooled, heat.whole_page) == (False, False)
    assert heat.maxima[0] == pytest.approx(1, abs=1e-3)
    row, column = np.unravel_index(int(np.argmax(heat.whole)), heat.whole.shape)
    hottest = heat.cells_box(int(row), int(column), int(row), int(column))
    assert hottest.intersection(block).area > 0.3 * hottest.area
    (strongest, weight), *_ = highlight(patches.vectors[[planted]], placed, "").boxes
    assert weight == 1
    assert strongest.intersection(boxes[planted]).area > 0.3 * boxes[planted].area
