"""Boxes of citations, on pages whose every word stands where this file puts it."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from rag.answer.checks.citations import cite
from rag.geometry import Box
from rag.ports import Evidence
from rag.renderers.choose import choose_renderer
from rag.testing import PdfPage, PdfText, covers, make_pdf
from rag.types import PageHit, PageRef

WIDTH_PT, HEIGHT_PT = 500.0, 400.0
# Widths of Helvetica, in thousandths of its size (Adobe's font metrics).
_ADVANCES = {
    **dict.fromkeys("abdeghnopqu0123456789", 556), **dict.fromkeys("csvxykz", 500),
    **dict.fromkeys("ijl", 222), **dict.fromkeys("ft, .", 278), **dict.fromkeys("r-", 333),
    "m": 833, "w": 722,
}  # fmt: skip
_X_HEIGHT = 0.5  # of the size: as high as the lowest letters stand
_WITHIN = 0.12  # of the size: what a letter may leave free on either side of it


@dataclass(frozen=True)
class Placed:
    """A word as drawn: where its ink surely is, from the media box's top left."""

    text: str
    line: int
    ink: Box


@dataclass(frozen=True)
class Layout:
    page: PdfPage
    words: tuple[Placed, ...]  # in reading order


def advance_pt(text: str, size_pt: float) -> float:
    return sum(_ADVANCES[char] for char in text) * size_pt / 1000


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    """One or two columns of words no two of which are the same, some divided at a line's end."""
    size_pt = draw(st.sampled_from([8.0, 11.0, 16.0]))
    leading = draw(st.sampled_from([1.3, 1.8])) * size_pt
    n_columns = draw(st.integers(1, 2))
    n_lines = draw(st.integers(2, 6))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    number = 0
    texts: list[PdfText] = []
    words: list[Placed] = []
    line = 0
    for column in range(n_columns):
        left, right = 60 + 210 * column, 60 + 210 * column + (180 if n_columns == 2 else 380)
        is_divided = False
        for row in range(n_lines):
            x, y = float(left), 80 + row * leading
            while True:
                number += 1
                letters = "".join(rng.choice(list("abdeghmnopqrstuw"), rng.integers(2, 7)))
                # The number makes it the only one; letters alone are what a hyphen divides.
                text = f"{letters}{number}" if not is_divided and rng.random() < 0.7 else letters
                if any(text == each.text.rstrip("-") for each in words):
                    text = f"{letters}q{'z' * (number % 5)}{letters}"
                is_divided = False
                width = advance_pt(text, size_pt)
                if x + width + advance_pt("-", size_pt) > right:
                    break
                inset = _WITHIN * size_pt
                ink = Box(x + inset, y - _X_HEIGHT * size_pt, x + width - inset, y - 0.05 * size_pt)
                words.append(Placed(text, line, ink))
                x += width + advance_pt(" ", size_pt)
            last = words[-1] if words and words[-1].line == line else None
            if last and last.text.isalpha() and row + 1 < n_lines and draw(st.booleans()):
                words[-1] = Placed(f"{last.text}-", line, last.ink)
                is_divided = True
            # One run a line, as writers of PDFs draw it.
            run = " ".join(word.text for word in words if word.line == line)
            texts.append(PdfText(run, left, y, size_pt))
            line += 1
    crop = draw(st.sampled_from([None, Box(30, 40, 480, 390)]))
    rotate = draw(st.sampled_from([0, 90, 180, 270]))
    return Layout(PdfPage(texts, (), WIDTH_PT, HEIGHT_PT, rotate, crop), tuple(words))


def as_shown(box: Box, page: PdfPage) -> Box:
    """Where a box of the media box stands on the page as shown: cropped, then turned clockwise."""
    crop = page.crop or Box(0, 0, page.width_pt, page.height_pt)
    corners = [(box.x0 - crop.x0, box.y0 - crop.y0), (box.x1 - crop.x0, box.y1 - crop.y0)]
    height, width = crop.height, crop.width
    for _ in range(page.rotate // 90):
        corners = [(height - y, x) for x, y in corners]
        width, height = height, width
    xs, ys = zip(*corners, strict=True)
    return Box(min(xs), min(ys), max(xs), max(ys))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("boxes")


@pytest.fixture(scope="module")
def reader():
    return choose_renderer("pypdfium2")


def read(layout, reader, folder):
    path = folder / "page.pdf"
    path.write_bytes(make_pdf([layout.page]))
    return Evidence(
        1,
        PageHit(1, PageRef("d", 1), "d.pdf", 1.0, 1.0, "", ()),
        reader.words(path, 1),
        np.zeros((0, 4), np.float32),
        np.zeros(0, np.int32),
    )


def written(words):
    """The words as somebody quotes them: what a line's end divided is whole."""
    text = ""
    for before, word in pairwise((None, *words)):
        is_joined = before is not None and before.text.endswith("-") and before.line != word.line
        text = text.removesuffix("-") + word.text if is_joined else f"{text} {word.text}"
    return text.strip()


def in_order(layout, page):
    """The words as the reader has them; on a page that stands on its side lines come otherwise."""
    placed = {word.text: word for word in layout.words}
    assert sorted(page.text.words) == sorted(placed)
    return [placed[word] for word in page.text.words]


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(layout=layouts(), data=st.data())
def test_boxes_of_a_quote_cover_its_words_one_a_line_and_no_others(layout, data, reader, folder):
    page = read(layout, reader, folder)
    words = in_order(layout, page)
    start = data.draw(st.integers(0, len(words) - 1))
    end = data.draw(st.integers(start + 1, min(len(words), start + 14)))
    quoted = words[start:end]

    found = cite(page, written(quoted), marker=1, near=start)

    assert found is not None
    assert len(found.boxes) == len({word.line for word in quoted})
    for word in quoted:
        ink = as_shown(word.ink, layout.page)
        assert sum(covers(box, ink) for box in found.boxes) == 1
    for other in [*words[:start], *words[end:]]:
        ink = as_shown(other.ink, layout.page)
        assert all(box.intersection(ink).is_empty for box in found.boxes)


@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(layout=layouts(), data=st.data())
def test_words_left_out_of_a_quote_have_no_box(layout, data, reader, folder):
    page = read(layout, reader, folder)
    words = in_order(layout, page)
    # Letters alone may be part of what a hyphen divides.
    whole = [n for n, word in enumerate(words) if word.text[-1].isdigit()]
    pairs = [(n, m) for n in whole for m in whole if n + 2 <= m <= n + 20]
    assume(pairs)
    first, last = data.draw(st.sampled_from(pairs))

    found = cite(page, f"{words[first].text} ... {words[last].text}", marker=1)

    assert found is not None
    for number, word in enumerate(words):
        ink = as_shown(word.ink, layout.page)
        if number in (first, last):
            assert any(covers(box, ink) for box in found.boxes)
        else:
            assert all(box.intersection(ink).is_empty for box in found.boxes)
