from __future__ import annotations

from types import SimpleNamespace

import pytest
from PIL import Image

from rag.encoders.page_images import grouped, limit_cells, shaped
from rag.page_text import PageText
from rag.ports import PageInput
from rag.types import PageRef, RenderedPage


def processor(*, shortest: int, longest: int) -> SimpleNamespace:
    """Cells of 28 x 28 pixels."""
    size = {"shortest_edge": shortest, "longest_edge": longest}
    return SimpleNamespace(image_processor=SimpleNamespace(patch_size=14, merge_size=2, size=size))


@pytest.mark.parametrize(("own", "asked", "kept"), [(768, 64, 64), (768, 768, 768), (64, 768, 64)])
def test_of_the_models_limit_and_the_one_asked_for_the_tighter_holds(own, asked, kept):
    limited = processor(shortest=4 * 784, longest=own * 784)
    assert limit_cells(limited, most=asked) == kept * 784
    assert limited.image_processor.size == {
        "shortest_edge": 4 * 784,
        "longest_edge": kept * 784,
    }


def test_the_least_never_passes_the_most():
    limited = processor(shortest=256 * 784, longest=768 * 784)
    limit_cells(limited, most=64)
    assert limited.image_processor.size["shortest_edge"] == 64 * 784
    limit_cells(limited, most=64, least=100)
    assert limited.image_processor.size["shortest_edge"] == 64 * 784


@pytest.mark.parametrize("size", [(3000, 1), (1, 3000)])
def test_a_strip_becomes_one_that_processors_take_and_pages_stay_as_they_are(size):
    strip = shaped(Image.new("RGB", size))
    assert max(strip.size) == 3000
    assert min(strip.size) == 20
    page = Image.new("RGB", (600, 800))
    assert shaped(page) is page


def page_of(n: int, size: tuple[int, int]) -> PageInput:
    image = RenderedPage(Image.new("RGB", size), *size)
    return PageInput(PageRef("d", n), *size, text=PageText.empty(), image=image)


def test_every_page_has_its_place_in_one_group():
    pages = [page_of(n, size) for n, size in enumerate([(60, 80), (80, 60), (60, 80), (30, 40)], 1)]
    assert list(grouped(pages, mixes_sizes=True)) == [[3, 0, 2, 1]]
    assert list(grouped(pages, mixes_sizes=False)) == [[3], [0, 2], [1]]
    assert list(grouped([], mixes_sizes=True)) == []
