"""One suite over every reader of PDFs, on PDFs made in code; then what each does alone."""

import importlib.util
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from rag.errors import ConfigError, DocumentError
from rag.geometry import Box, as_boxes
from rag.page_text import PageText
from rag.ports import PageRenderer
from rag.renderers import choose
from rag.renderers.image_renderer import ImageRenderer
from rag.renderers.page_frame import WordColumns, px_per_pt
from rag.testing import PdfPage, PdfText, covers, make_pdf
from rag.testing.script_pdfs import make_script_pdf
from rag.types import RenderedPage

READERS = ("pymupdf", "pypdfium2", "pdf2image")
WITH_FONTS = ("pymupdf", "pypdfium2")  # poppler's program does not tell sizes
BIG = 10**8


def reader(name: str) -> PageRenderer:
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    if name == "pdf2image" and shutil.which("pdftotext") is None:
        pytest.skip("poppler's programs are not installed")
    return choose.choose_renderer(name)


@pytest.fixture(params=READERS)
def renderer(request: pytest.FixtureRequest) -> PageRenderer:
    return reader(request.param)


@pytest.fixture
def pdf(tmp_path: Path) -> Path:
    return tmp_path / "made.pdf"


def dark(page: RenderedPage) -> np.ndarray:
    """(height_px, width_px), whether there is ink."""
    return np.asarray(page.image.convert("L")) < 128


def in_px(box: Box, page: RenderedPage, *, margin_pt: float = 0.0) -> tuple[slice, slice]:
    """Rows and columns that a box covers."""
    x0, y0, x1, y1 = (value * page.px_per_pt for value in box)
    margin = margin_pt * page.px_per_pt
    rows = slice(max(0, int(y0 - margin)), int(y1 + margin) + 1)
    return rows, slice(max(0, int(x0 - margin)), int(x1 + margin) + 1)


def by_word(text: PageText) -> dict[str, Box]:
    return dict(zip(text.words, as_boxes(text.boxes), strict=True))


def shown_at(x_pt: float, y_pt: float, page: PdfPage) -> tuple[float, float]:
    """Where a point of the media box stands on the page as shown: cropped, then turned by hand."""
    crop = page.crop or Box(0, 0, page.width_pt, page.height_pt)
    x, y, width, height = x_pt - crop.x0, y_pt - crop.y0, crop.width, crop.height
    for _ in range(page.rotate // 90):  # a quarter turn clockwise
        x, y, width, height = height - y, x, height, width
    return x, y


# --- words and pixels ---------------------------------------------------------------------------
@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
@pytest.mark.parametrize("crop", [None, Box(50, 60, 350, 700)])
def test_words_stand_where_they_are_seen(
    renderer: PageRenderer, pdf: Path, rotate: int, crop: Box | None
) -> None:
    texts = [
        PdfText("North", 100, 100),
        PdfText("centre", 200, 400, size_pt=20, bold=True),
        PdfText("southern words", 90, 650),
    ]
    made = PdfPage(texts, rotate=rotate, crop=crop)
    pdf.write_bytes(make_pdf([made]))

    text = renderer.words(pdf, 1)
    page = renderer.render(pdf, 1, dpi=100, max_px=BIG)

    boxes = by_word(text)
    assert sorted(boxes) == ["North", "centre", "southern", "words"]
    width, height = (300, 640) if crop else (612, 792)
    assert (page.width_pt, page.height_pt) == (
        (width, height) if rotate % 180 == 0 else (height, width)
    )
    for item in texts:
        x, y = shown_at(item.x_pt, item.y_pt, made)
        assert covers(boxes[item.text.split()[0]], Box(x, y, x, y), tolerance_pt=0.5)
    ink = dark(page)
    for box in boxes.values():
        inside = in_px(box, page)
        assert ink[inside].any()
        # Ink up to both ends of the word: the box is turned as the word is.
        long_axis = 1 if rotate % 180 == 0 else 0
        columns = np.flatnonzero(ink[inside].any(axis=1 - long_axis))
        assert columns[-1] - columns[0] > 0.8 * ink[inside].shape[long_axis]
    for box in boxes.values():
        ink[in_px(box, page, margin_pt=1)] = False
    assert not ink.any()


@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
def test_readers_agree_on_words_and_boxes(pdf: Path, rotate: int) -> None:
    words = ["Revenue", "1,234.5", "(2023)", "naïve", "§", "12%", "e.g.", "Ångström"]
    texts = [PdfText(word, 60 + 90 * (n % 3), 120 + 70 * n) for n, word in enumerate(words)]
    pdf.write_bytes(make_pdf([PdfPage(texts, rotate=rotate, crop=Box(40, 40, 500, 760))]))

    found = {name: by_word(reader(name).words(pdf, 1)) for name in WITH_FONTS}

    assert all(sorted(boxes) == sorted(words) for boxes in found.values())
    for word in words:
        np.testing.assert_allclose(found["pymupdf"][word], found["pypdfium2"][word], atol=2.0)


@pytest.mark.parametrize("name", WITH_FONTS)
def test_words_carry_size_and_boldness(name: str, pdf: Path) -> None:
    texts = [PdfText("Heading", 72, 80, size_pt=18, bold=True), PdfText("text", 72, 120)]
    pdf.write_bytes(make_pdf([PdfPage(texts)]))

    text = reader(name).words(pdf, 1)

    assert text.words == ("Heading", "text")
    np.testing.assert_allclose(text.sizes_pt, [18.0, 12.0], atol=0.01)
    assert text.bold.tolist() == [True, False]


@pytest.mark.parametrize("name", WITH_FONTS)
def test_the_cells_of_a_row_stand_on_one_line(name: str, pdf: Path) -> None:
    rows = [["Net sales", "32,765", "31,657"], ["Operating income", "7,207", "7,692"]]
    texts = [
        PdfText(cell, 72 + 180 * column, 100 + 15 * row)
        for row, cells in enumerate(rows)
        for column, cell in enumerate(cells)
    ]
    pdf.write_bytes(make_pdf([PdfPage(texts)]))

    text = reader(name).words(pdf, 1)

    lines = [text.span_text(start, end) for start, end in text.line_spans]
    assert lines == [" ".join(cells) for cells in rows]


def test_lines_never_go_back_and_reading_goes_down_the_page(
    renderer: PageRenderer, pdf: Path
) -> None:
    pdf.write_bytes(make_pdf(["# Title\n" + "some words that go on and on " * 30]))

    text = renderer.words(pdf, 1)

    assert (np.diff(text.lines) >= 0).all()
    starts = [float(text.boxes[start, 1]) for start, _ in text.line_spans]
    assert starts == sorted(starts)
    assert len(starts) > 8


def test_words_that_are_not_on_the_page_are_left_out_and_others_clipped(
    renderer: PageRenderer, pdf: Path
) -> None:
    texts = [
        PdfText("kept", 100, 100),
        PdfText("cropped", 400, 100),
        PdfText("below", 100, 900),
        PdfText("halfway", 180, 200, size_pt=30),
    ]
    pdf.write_bytes(make_pdf([PdfPage(texts, crop=Box(50, 50, 250, 400))]))

    text = renderer.words(pdf, 1)

    assert "kept" in text.words
    assert not {"cropped", "below"} & set(text.words)
    page = Box(0, 0, 200, 350)
    assert all(covers(page, box) for box in as_boxes(text.boxes))


def test_words_come_without_what_cannot_be_seen_or_stored() -> None:
    found = ["co\xadop", "\x00", "\ufb01ne\x07", "\ud800", "\u200b", "\ufffd", "क\u200dष", "x"]
    columns = WordColumns()
    for word in found:
        columns.add(word, line=0, size_pt=9.0, bold=False)
    boxes = np.array([[10, 10, 20, 20]] * len(found), np.float32)
    boxes[-1] = [10, 10, np.nan, 20]

    text = columns.page_text(boxes, width_pt=100, height_pt=100)

    assert text.words == ("coop", "fine", "क\u200dष")
    assert PageText.from_bytes(text.to_bytes()).words == text.words


def test_a_page_without_text_has_no_words(renderer: PageRenderer, pdf: Path) -> None:
    pdf.write_bytes(make_pdf([PdfPage(marks=[Box(100, 100, 200, 200)]), ""]))

    assert len(renderer.words(pdf, 1)) == 0
    assert len(renderer.words(pdf, 2)) == 0
    marked = renderer.render(pdf, 1, dpi=72, max_px=BIG)
    assert dark(marked)[105:195, 105:195].all()
    assert not dark(renderer.render(pdf, 2, dpi=72, max_px=BIG)).any()


def test_pages_are_counted_from_one(renderer: PageRenderer, pdf: Path) -> None:
    pdf.write_bytes(make_pdf(["first", "second", "third"], title="Three"))

    info = renderer.open(pdf)

    assert (info.n_pages, info.title, info.is_repaired) == (3, "Three", False)
    assert [renderer.words(pdf, n).text for n in (2, 1, 3)] == ["second", "first", "third"]
    for number in (0, 4, -1):
        with pytest.raises(DocumentError) as caught:
            renderer.words(pdf, number)
        assert caught.value.code == "render_failed"


def test_a_file_that_changed_is_read_anew(renderer: PageRenderer, pdf: Path) -> None:
    pdf.write_bytes(make_pdf(["before"]))
    before = renderer.words(pdf, 1).text
    pdf.write_bytes(make_pdf(["and after"]))

    assert (before, renderer.words(pdf, 1).text) == ("before", "and after")


# --- pixels have a limit ------------------------------------------------------------------------
def test_a_page_has_the_pixels_asked_for(renderer: PageRenderer, pdf: Path) -> None:
    pdf.write_bytes(make_pdf(["words"]))

    image = renderer.render(pdf, 1, dpi=150, max_px=BIG).image

    assert image.mode == "RGB"
    assert image.size == (1275, 1650)


@pytest.mark.parametrize("size_pt", [(14_400, 14_400), (14_400, 20), (3, 10_000)])
def test_a_huge_page_comes_out_small(
    renderer: PageRenderer, pdf: Path, size_pt: tuple[int, int]
) -> None:
    width_pt, height_pt = size_pt
    pdf.write_bytes(
        make_pdf([PdfPage([PdfText("w", 1, 9)], width_pt=width_pt, height_pt=height_pt)])
    )

    page = renderer.render(pdf, 1, dpi=150, max_px=40_000)

    assert page.image.width * page.image.height <= 40_000
    assert (page.width_pt, page.height_pt) == size_pt


@given(
    width_pt=st.floats(0.01, 1e6),
    height_pt=st.floats(0.01, 1e6),
    dpi=st.floats(1, 1200),
    max_px=st.integers(10_000, 10**8),
)
def test_a_scale_never_gives_more_pixels_than_allowed(
    width_pt: float, height_pt: float, dpi: float, max_px: int
) -> None:
    scale = px_per_pt(width_pt, height_pt, dpi=dpi, max_px=max_px)

    assert 0 < scale <= dpi / 72
    assert np.ceil(width_pt * scale) * np.ceil(height_pt * scale) <= max_px
    if np.ceil(width_pt * dpi / 72) * np.ceil(height_pt * dpi / 72) <= max_px:
        assert scale == pytest.approx(dpi / 72)


# --- files that cannot be read ------------------------------------------------------------------
@pytest.mark.parametrize(
    ("content", "codes"),
    [
        (b"<html><body>%PD</body></html>", {"not_a_pdf"}),
        (b"", {"not_a_pdf"}),
        (
            b"<svg xmlns='http://www.w3.org/2000/svg'><!-- %PDF-1.4 --></svg>",
            {"not_a_pdf", "damaged"},
        ),
        (b"%PDF-1.7 and then nothing", {"damaged"}),
        (make_pdf([]), {"zero_pages", "damaged"}),
    ],
    ids=["html", "empty", "svg", "stub", "no pages"],
)
def test_a_file_that_is_no_pdf_says_so(
    renderer: PageRenderer, pdf: Path, content: bytes, codes: set[str]
) -> None:
    pdf.write_bytes(content)

    with pytest.raises(DocumentError) as caught:
        renderer.open(pdf)

    assert caught.value.code in codes
    assert pdf.name in caught.value.message
    assert str(pdf.parent) not in caught.value.message


def test_a_refused_file_does_not_spoil_the_next(renderer: PageRenderer, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.pdf", tmp_path / "bad.pdf"
    good.write_bytes(make_pdf(["words"]))
    bad.write_bytes(b"%PDF-1.7 and then nothing")

    for _ in range(2):
        assert renderer.words(good, 1).text == "words"
        with pytest.raises(DocumentError):
            renderer.open(bad)


def test_a_file_that_is_not_there_is_unreadable(renderer: PageRenderer, pdf: Path) -> None:
    with pytest.raises(DocumentError) as caught:
        renderer.open(pdf)
    assert caught.value.code == "unreadable"


@pytest.mark.parametrize(
    ("password", "code"),
    [(None, "password_required"), ("", "password_required"), ("wrong", "wrong_password")],
)
def test_a_locked_file_asks_for_its_password(
    renderer: PageRenderer, pdf: Path, password: str | None, code: str
) -> None:
    pdf.write_bytes(make_pdf(["secret"], password="right"))

    with pytest.raises(DocumentError) as caught:
        renderer.open(pdf, password=password)

    assert caught.value.code == code
    assert caught.value.next_step


def test_a_locked_file_opens_with_its_password(renderer: PageRenderer, pdf: Path) -> None:
    pdf.write_bytes(make_pdf(["secret words"], password="right", title="Locked"))

    assert renderer.open(pdf, password="right").title == "Locked"
    assert renderer.words(pdf, 1, password="right").text == "secret words"
    assert dark(renderer.render(pdf, 1, dpi=72, max_px=BIG, password="right")).any()


# --- real files ---------------------------------------------------------------------------------
@pytest.mark.devset
@pytest.mark.parametrize("name", WITH_FONTS)
@pytest.mark.parametrize("file", ["boxes.pdf", "edgar-rotated90.pdf"])
def test_words_of_cropped_and_turned_files_have_ink_inside(
    devset: Path, name: str, file: str
) -> None:
    path = devset / "weird" / "docs" / file
    renderer = reader(name)
    n_words = 0
    for number in range(1, renderer.open(path).n_pages + 1):
        text = renderer.words(path, number)
        page = renderer.render(path, number, dpi=100, max_px=BIG)
        grey = np.asarray(page.image.convert("L")).astype(int)
        for word, box in zip(text.words, as_boxes(text.boxes), strict=True):
            inside = grey[in_px(box, page)]
            if any(char.isalnum() for char in word):
                assert inside.max() - inside.min() > 40, (number, word, box)
                n_words += 1
    assert n_words > 100


@pytest.mark.devset
def test_readers_agree_on_a_real_report(devset: Path) -> None:
    path = devset / "finance" / "docs" / "3M_2018_10K.pdf"
    texts = {name: reader(name).words(path, 60) for name in WITH_FONTS}
    counts = {name: set(text.words) for name, text in texts.items()}

    common = counts["pymupdf"] & counts["pypdfium2"]
    assert len(common) > 0.95 * max(map(len, counts.values()))
    assert abs(len(texts["pymupdf"].line_spans) - len(texts["pypdfium2"].line_spans)) < 8


# --- image files --------------------------------------------------------------------------------
def test_frames_of_a_tiff_are_pages(tmp_path: Path) -> None:
    path = tmp_path / "fax.tiff"
    frames = [Image.new("L", (400, 200), 255) for _ in range(3)]
    frames[1].paste(0, (0, 0, 100, 100))
    frames[0].save(path, save_all=True, append_images=frames[1:], dpi=(200, 100))
    images = ImageRenderer()

    assert images.open(path).n_pages == 3
    assert len(images.words(path, 2)) == 0
    page = images.render(path, 2, dpi=100, max_px=BIG)
    assert (page.width_pt, page.height_pt) == (144, 144)  # 400 px at 200, 200 px at 100 to the inch
    assert page.image.size == (200, 200)
    assert dark(page)[5:95, 5:45].all()
    assert not dark(images.render(path, 3, dpi=100, max_px=BIG)).any()
    with pytest.raises(DocumentError, match="3 pages"):
        images.render(path, 4, dpi=100, max_px=BIG)


def test_a_photo_is_turned_as_its_camera_says(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    photo = Image.new("RGB", (300, 100), "white")
    photo.paste("black", (0, 0, 40, 40))
    exif = Image.Exif()
    exif[0x0112] = 6  # the top of the scene is at the right of the file
    photo.save(path, exif=exif, dpi=(150, 150))

    page = ImageRenderer().render(path, 1, dpi=150, max_px=BIG)

    assert (page.width_pt, page.height_pt) == (48, 144)
    assert page.image.size == (100, 300)
    assert dark(page)[5:35, 65:95].all()
    assert not dark(page)[:, :50].any()


def test_an_image_is_never_enlarged_and_never_over_its_pixels(tmp_path: Path) -> None:
    path = tmp_path / "shot.png"
    Image.new("RGB", (1000, 500), "white").save(path)
    images = ImageRenderer()

    assert images.render(path, 1, dpi=600, max_px=BIG).image.size == (1000, 500)
    small = images.render(path, 1, dpi=600, max_px=5000).image
    assert small.size == (100, 50)


@pytest.mark.parametrize(
    ("mode", "paper", "ink"),
    [
        ("1", 1, 0),
        ("LA", (0, 0), (0, 255)),
        ("RGBA", (0, 0, 0, 0), (0, 0, 0, 255)),
        ("P", 255, 0),
        ("CMYK", (0, 0, 0, 0), (0, 0, 0, 255)),
        ("I;16", 60_000, 1_000),
        ("F", 1.0, -1.0),
    ],
)
def test_every_kind_of_pixel_comes_out_as_dark_on_light(
    tmp_path: Path, mode: str, paper: Any, ink: Any
) -> None:
    path = tmp_path / "image.tiff"
    image = Image.new(mode, (60, 40), paper)
    if mode == "P":
        image.putpalette(bytes(value for grey in range(256) for value in (grey, grey, grey)))
    image.paste(ink, (0, 0, 30, 40))
    image.save(path)

    page = ImageRenderer().render(path, 1, dpi=150, max_px=BIG)

    assert page.image.mode == "RGB"
    assert dark(page)[:, :30].all()
    assert not dark(page)[:, 30:].any()


@pytest.mark.parametrize("name", ["image.png", "image.jpg", "image.tiff"])
def test_a_broken_image_is_damaged(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    Image.effect_noise((300, 300), 50).save(path)
    path.write_bytes(path.read_bytes()[:3000])
    images = ImageRenderer()

    with pytest.raises(DocumentError) as caught:
        images.render(path, 1, dpi=150, max_px=BIG)
    assert caught.value.code == "damaged"
    assert str(tmp_path) not in caught.value.message


def test_an_image_with_too_many_pixels_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    Image.new("1", (20_000, 10_000)).save(path)

    with pytest.raises(DocumentError) as caught:
        ImageRenderer().open(path)
    assert caught.value.code == "too_many_pixels"


# --- which reader -------------------------------------------------------------------------------
def test_the_fastest_installed_reader_is_taken_and_the_others_follow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    installed = {"pymupdf", "pypdfium2", "pdf2image"}
    monkeypatch.setattr(choose, "_is_installed", lambda name: name in installed)

    assert choose.fallback_renderers("auto") == ["pymupdf", "pypdfium2", "pdf2image"]
    assert choose.fallback_renderers("pdf2image") == ["pdf2image", "pymupdf", "pypdfium2"]
    installed.remove("pymupdf")
    assert choose.fallback_renderers("auto") == ["pypdfium2", "pdf2image"]
    assert choose.choose_renderer("auto").name == "pypdfium2"


@pytest.mark.parametrize("name", ["pymupdf", "pdf2image"])
def test_a_reader_that_is_not_installed_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(choose, "_is_installed", lambda other: other == "pypdfium2")

    with pytest.raises(ConfigError) as caught:
        choose.choose_renderer(name)
    assert "pip install" in caught.value.next_step


def test_an_unknown_reader_is_refused() -> None:
    with pytest.raises(ConfigError, match="acrobat"):
        choose.choose_renderer("acrobat")


# --- scripts ------------------------------------------------------------------------------------
def test_right_to_left_words_are_read_from_their_first_letter(
    renderer: PageRenderer, pdf: Path
) -> None:
    pdf.write_bytes(make_script_pdf(["إيرادات الشركة 2023", "הכנסות החברה"], right_to_left=True))
    assert sorted(renderer.words(pdf, 1).words) == sorted(["إيرادات", "الشركة", "2023"])
    assert sorted(renderer.words(pdf, 2).words) == sorted(["הכנסות", "החברה"])
