"""Pages as processors take them: in their colours and shapes, with so many cells at most, and
beside which other pages. The same for every model that reads images; nothing here loads torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from PIL import Image

from rag.encoders.encoded import image_of
from rag.ports import PageInput

# Processors of images in patches refuse longer shapes than 1 to 200; cells are fractions of the
# page however it is stretched, so a longer page is made wider.
_MOST_ASPECT = 150


def rgb(image: Image.Image) -> Image.Image:
    return image if image.mode == "RGB" else image.convert("RGB")


def shaped(image: Image.Image) -> Image.Image:
    """Made wider or higher where it is a strip that processors refuse."""
    width, height = image.size
    least = math.ceil(max(width, height) / _MOST_ASPECT)
    if min(width, height) >= least:
        return image
    return image.resize((max(width, least), max(height, least)))


def limit_cells(processor: Any, *, most: int, least: int | None = None) -> int:
    """Let a processor of the Qwen kind make so many visual tokens of a page; pixels at most.

    Of its own limit and this one, the tighter holds: a model is not shown more than its authors
    show it. A picture keeps its shape, and each cell its size in pixels.
    """
    images = processor.image_processor
    cell = (int(images.patch_size) * int(images.merge_size)) ** 2
    largest = min(int(images.size["longest_edge"]), most * cell)
    smallest = int(images.size["shortest_edge"]) if least is None else least * cell
    images.size["longest_edge"] = largest
    images.size["shortest_edge"] = min(smallest, largest)
    return largest


def grouped(pages: Sequence[PageInput], *, mixes_sizes: bool) -> Iterator[list[int]]:
    """Places of pages that may share a batch; equal shapes beside each other, to pad little."""
    by_size: dict[tuple[int, int], list[int]] = {}
    for place, page in enumerate(pages):
        by_size.setdefault(image_of(page).size, []).append(place)
    sizes = sorted(by_size, key=lambda size: (size[0] / size[1], size))
    if not mixes_sizes:
        yield from (by_size[size] for size in sizes)
    elif sizes:
        yield [place for size in sizes for place in by_size[size]]
