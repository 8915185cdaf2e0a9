"""Words that nobody sees on the page, told from those that are only hard to see."""

import importlib.util

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from rag.geometry import Box
from rag.page_text import PageText
from rag.renderers.choose import choose_renderer
from rag.renderers.hidden_text import split_hidden
from rag.testing.pdfs import PdfPage, PdfText, make_pdf
from rag.types import RenderedPage

WIDE, TIGHT = Box(60, 390, 400, 420), Box(71, 448, 147, 462)
RULES = (Box(60, 494, 400, 495), Box(60, 514, 400, 515))
COVERS = (WIDE, TIGHT, *RULES)
RENDERERS = [
    name
    for name, library in (("pypdfium2", "pypdfium2"), ("pymupdf", "pymupdf"))
    if importlib.util.find_spec(library)
]


def text_of(words, boxes, size_pt=10.0) -> PageText:
    n = len(words)
    return PageText(
        tuple(words),
        np.array(boxes, np.float32).reshape(n, 4),
        np.arange(n, dtype=np.int32),
        np.full(n, size_pt, np.float32),
        np.zeros(n, np.bool_),
    )


def blank(width_pt=300, height_pt=200, colour="white") -> RenderedPage:
    size_px = (round(width_pt / 1.8), round(height_pt / 1.8))
    return RenderedPage(Image.new("RGB", size_px, colour), width_pt, height_pt)


def split(text, page, **frame):
    frame = {"width_pt": page.width_pt, "height_pt": page.height_pt, **frame}
    return split_hidden(text, page, **frame)


@pytest.fixture(params=RENDERERS)
def split_pdf(request, tmp_path):
    """What of a PDF's page is shown and hidden, as two lists of words."""
    renderer = choose_renderer(request.param)

    def split_page(page: PdfPage, dpi=40.0):
        path = tmp_path / "page.pdf"
        path.write_bytes(make_pdf([page]))
        text = renderer.words(path, 1)
        small = renderer.render(path, 1, dpi=dpi, max_px=1_000_000)
        return [list(part.words) for part in split(text, small)]

    return split_page


@pytest.mark.parametrize(
    "hidden",
    [
        pytest.param(PdfText("secret order", 72, 130, grey=1.0), id="white on white"),
        pytest.param(PdfText("secret order", 72, 130, grey=0.992), id="nearly white"),
        pytest.param(PdfText("secret order", 72, 130, is_drawn=False), id="never drawn"),
        pytest.param(PdfText("secret order", 72, 408), id="covered"),
        pytest.param(PdfText("secret order", 72, 459), id="covered and no more"),
        pytest.param(PdfText("secret order", 72, 508, grey=1.0), id="white between rules"),
        pytest.param(PdfText("secret order", 72, 130, size_pt=0.5), id="half a point"),
        pytest.param(PdfText("secret order", 150, 100, grey=1.0), id="in a line that is seen"),
    ],
)
@pytest.mark.parametrize("dpi", [40.0, 120.0])
def test_words_that_nobody_sees_are_hidden(split_pdf, hidden, dpi):
    seen = [
        PdfText("Revenue grew", 72, 100),
        PdfText("and costs fell", 230, 100),
        PdfText("again this year", 72, 114.4),
    ]
    page = PdfPage([*seen, hidden], covers=COVERS)
    shown, found = split_pdf(page, dpi)
    assert sorted(shown) == sorted("Revenue grew and costs fell again this year".split())
    assert found == ["secret", "order"]


@pytest.mark.parametrize(
    "text",
    [
        PdfText("a footnote", 72, 130, size_pt=4),
        PdfText("light grey", 72, 130, grey=0.85),
        PdfText(". - _ ' i", 72, 130, size_pt=7),
        PdfText("white on black", 72, 408, grey=1.0),
    ],
    ids=lambda text: text.text,
)
def test_what_is_only_hard_to_see_is_shown(split_pdf, text):
    page = PdfPage([PdfText("Revenue grew", 72, 100), text], marks=[Box(60, 390, 400, 420)])
    shown, hidden = split_pdf(page)
    assert hidden == []
    assert shown[2:] == text.text.split()


SENTENCE = "NEARWHITEINJ the dividend of Kestrel is 998 cents per share."
SEEN = PdfText("Revenue grew again this year", 72, 60)


@pytest.mark.parametrize(
    "look",
    [
        *({"grey": grey, "size_pt": size} for grey in (0.985, 0.98, 0.97) for size in (4, 8, 12)),
        *({"grey": grey, "size_pt": 24} for grey in (0.985, 0.98)),
        *({"size_pt": size} for size in (1.2, 1.5, 1.8)),
    ],
    ids=str,
)
def test_a_line_that_nobody_can_read_is_hidden_as_a_whole(split_pdf, look):
    words = SENTENCE.split()[:7]  # of 24 pt no more are on the page
    page = PdfPage([SEEN, PdfText(" ".join(words), 72, 130.3, **look)])
    assert split_pdf(page) == [SEEN.text.split(), words]


@pytest.mark.parametrize("size", [4, 6, 8, 12])
@pytest.mark.parametrize("grey", [0.75, 0.6])
def test_a_line_of_light_grey_is_shown_as_a_whole(split_pdf, grey, size):
    page = PdfPage([SEEN, PdfText(SENTENCE, 72, 130.3, grey=grey, size_pt=size)])
    assert split_pdf(page) == [SEEN.text.split() + SENTENCE.split(), []]


def test_what_is_seen_in_a_line_that_is_not_stays(split_pdf):
    faint = PdfText("the dividend of Kestrel is", 120, 130.3, grey=0.97)
    page = PdfPage([SEEN, PdfText("Note", 72, 130.3), faint])
    assert split_pdf(page) == [[*SEEN.text.split(), "Note"], faint.text.split()]


def test_a_page_of_tiny_type_only_is_not_hidden_for_its_size(split_pdf):
    lines = [PdfText("Revenue grew again", 72, 60 + 3 * y, size_pt=1.9) for y in range(3)]
    assert split_pdf(PdfPage(lines))[1] == []


@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
def test_turned_pages_hide_the_same_words(split_pdf, rotate):
    page = PdfPage(
        [PdfText("Revenue", 72, 100), PdfText("secret", 72, 300, grey=1.0)], rotate=rotate
    )
    assert split_pdf(page) == [["Revenue"], ["secret"]]


def test_words_off_the_visible_page_are_in_neither_part_or_hidden(split_pdf):
    page = PdfPage(
        [PdfText("Revenue", 72, 100), PdfText("secret", 700, 100), PdfText("order", 72, 900)],
        crop=Box(50, 50, 500, 400),
    )
    shown, hidden = split_pdf(page)
    assert shown == ["Revenue"]
    assert set(hidden) <= {"secret", "order"}


def test_an_ocr_layer_over_a_scan_is_shown_even_where_its_boxes_are_half_a_line_off():
    page = blank()
    ImageDraw.Draw(page.image).text((20, 20), "scanned", fill="black")
    drawn = np.argwhere(np.asarray(page.image.convert("L")) < 128)
    (y0, x0), (y1, x1) = drawn.min(axis=0) * 1.8, (drawn.max(axis=0) + 1) * 1.8
    half = (y1 - y0) / 2
    shown, hidden = split(text_of(["scanned"], [[x0, y0 + half, x1, y1 + half]]), page)
    assert (shown.words, hidden.words) == (("scanned",), ())


def test_a_thin_letter_is_shown_where_its_ink_lies_beside_its_box():
    page = blank()
    ImageDraw.Draw(page.image).line((20, 20, 20, 25), fill="black")
    beside = [38, 36, 39, 46]  # 2 pt right of the line
    shown, hidden = split(text_of(["l"], [beside]), page)
    assert (shown.words, hidden.words) == (("l",), ())


def test_a_box_that_reaches_over_several_lines_hides_no_word():
    page = blank()
    ImageDraw.Draw(page.image).line((10, 40, 16, 40), fill="black")
    box = [18, 20, 30, 70]  # of type of 10 pt; the ink is in its last lines
    assert split(text_of([".50"], [box]), page)[0].words == (".50",)


@pytest.mark.parametrize("word", ["white", "w"])
def test_what_a_neighbour_shows_does_not_count_for_a_word(word):
    page = blank()
    for x in range(10, 31, 2):
        ImageDraw.Draw(page.image).line((x, 20, x, 25), fill="black")
    neighbour, beside = [18, 36, 56, 46.8], [57, 36, 90, 46.8]
    shown, hidden = split(text_of(["seen", word], [neighbour, beside]), page)
    assert (shown.words, hidden.words) == (("seen",), (word,))


def test_a_page_where_every_word_is_white_hides_them_all_and_one_without_words_hides_none():
    words = text_of(["a", "b"], [[10, 10, 20, 20], [30, 10, 40, 20]])
    assert [len(part) for part in split(words, blank())] == [0, 2]
    assert [len(part) for part in split(PageText.empty(), blank())] == [0, 0]


def test_boxes_off_the_page_are_hidden():
    page = blank(colour="black")
    page.image.putpixel((0, 0), (255, 255, 255))
    words = text_of(["left", "under"], [[-60, 10, -20, 20], [10, 250, 40, 260]])
    assert split(words, page)[1].words == ("left", "under")


def test_a_page_of_one_pixel_has_no_ink():
    page = RenderedPage(Image.new("RGB", (1, 1), "black"), 1, 1)
    assert len(split(text_of(["dot"], [[0, 0, 1, 1]], size_pt=0), page)[1]) == 1


def test_tiny_type_on_a_tiny_page_is_shown():
    page = blank(60, 40)
    ImageDraw.Draw(page.image).rectangle((5, 5, 8, 6), fill="black")
    words = text_of(["tiny"], [[9, 9, 15, 10]], size_pt=0.9)
    assert split(words, page)[0].words == ("tiny",)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(0, 30),
    ocr=st.booleans(),
)
def test_every_word_is_in_one_of_the_two_parts_with_its_columns(seed, n, ocr):
    rng = np.random.default_rng(seed)
    image = Image.fromarray(rng.integers(0, 2, (40, 60, 1)).repeat(3, 2).astype(np.uint8) * 255)
    image.paste("white", (0, 0, 30, 40))
    corner = rng.uniform(-20, 130, (n, 2))
    boxes = np.hstack([corner, corner + rng.uniform(0.1, 40, (n, 2))]).astype(np.float32)
    text = PageText(
        tuple(f"w{i}" for i in range(n)),
        boxes,
        np.arange(n, dtype=np.int32),
        rng.uniform(0, 12, n).astype(np.float32),
        rng.uniform(size=n) < 0.5,
        rng.uniform(size=n).astype(np.float32) if ocr else None,
    )
    shown, hidden = split_hidden(text, RenderedPage(image, 108, 72), width_pt=108, height_pt=72)
    assert sorted(shown.words + hidden.words) == sorted(text.words)
    for part in (shown, hidden):
        places = [int(word[1:]) for word in part.words]
        assert places == sorted(places)
        np.testing.assert_array_equal(part.boxes, text.boxes[places])
        np.testing.assert_array_equal(part.sizes_pt, text.sizes_pt[places])
        np.testing.assert_array_equal(part.lines, text.lines[places])
        np.testing.assert_array_equal(part.bold, text.bold[places])
        if ocr and len(part):
            np.testing.assert_array_equal(part.confidences, text.confidences[places])
