from __future__ import annotations

import io
import sys
import zlib

import numpy as np
import pypdfium2
import pytest
from PIL import Image

from eval.datasets import page_maker, page_words
from eval.datasets.page_images import image_suffix
from eval.datasets.page_maker import PagesMade, make_pdf
from eval.datasets.published import SetPage
from rag.errors import ConfigError, InputError
from rag.renderers.image_renderer import as_rgb

PIXELS = np.random.default_rng(3).integers(0, 255, (50, 75, 3), dtype=np.uint8)


def encoded(mode: str, kind: str, **options) -> bytes:
    written = io.BytesIO()
    Image.fromarray(PIXELS).convert(mode).save(written, kind, **options)
    return written.getvalue()


def shown(data: bytes, item: str = "one", **kept) -> SetPage:
    return SetPage(item, image=lambda: data, **kept)


def made(pages, tmp_path, name="made.pdf"):
    told = PagesMade()
    make_pdf(pages, tmp_path / name, title="t", made=told)
    return tmp_path / name, told


def text_of(path, number=0) -> str:
    with pypdfium2.PdfDocument(path) as document:
        return document[number].get_textpage().get_text_range()


@pytest.mark.parametrize(
    ("mode", "kind", "options"),
    [
        ("RGB", "JPEG", {}),
        ("L", "JPEG", {}),
        ("CMYK", "JPEG", {}),
        ("RGB", "PNG", {}),
        ("L", "PNG", {}),
        ("1", "PNG", {}),
        ("P", "PNG", {}),
        ("P", "PNG", {"transparency": 0}),
        ("RGB", "PNG", {"transparency": (0, 0, 0)}),
        ("RGBA", "PNG", {}),
        ("RGB", "WEBP", {"lossless": True}),
        ("RGB", "TIFF", {}),
        ("RGB", "GIF", {}),
    ],
)
def test_every_pixel_of_an_image_comes_out_of_the_pdf(mode, kind, options, tmp_path):
    data = encoded(mode, kind, **options)
    path, _told = made([shown(data)], tmp_path)
    with pypdfium2.PdfDocument(path) as document:
        drawn = np.asarray(document[0].render(scale=150 / 72).to_pil().convert("RGB"))
    with Image.open(io.BytesIO(data)) as image:
        np.testing.assert_array_equal(drawn, np.asarray(as_rgb(image)))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_the_bytes_of_an_image_are_those_it_came_in(kind, tmp_path):
    data = encoded("RGB", kind)
    path, _told = made([shown(data)], tmp_path)
    rows = data if kind == "JPEG" else data[data.index(b"IDAT") + 4 :][:1000]
    assert rows in path.read_bytes()


def test_an_image_that_a_camera_turned_stands_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path, _told = made([shown(encoded("RGB", "JPEG", exif=exif))], tmp_path)
    with pypdfium2.PdfDocument(path) as document:
        width, height = document[0].get_size()
    assert width < height


def test_the_same_pages_give_the_same_bytes(tmp_path):
    pages = [
        shown(encoded("RGB", "PNG"), "one"),
        SetPage("two", text="words, and Ω beyond Latin"),
        shown(encoded("RGB", "JPEG"), "three", text="a caption"),
    ]
    first, _ = made(pages, tmp_path, "first.pdf")
    second, _ = made(pages, tmp_path, "second.pdf")
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(
    "words",
    ["plain words", "Grüße aus Málaga", "Ωμέγα и кириллица", "𝑥² ≤ 𝜋", "日本語の本文", "שלום עולם"],
)
def test_words_of_any_script_are_found_in_the_text_layer(words, tmp_path):
    path, _told = made([SetPage("one", text=words)], tmp_path)
    assert words in text_of(path)


def test_characters_that_no_font_has_are_counted_and_not_lost(tmp_path, monkeypatch):
    monkeypatch.setattr(page_words, "_all_faces", page_words._faces)
    page_words._face_of.cache_clear()
    path, told = made([SetPage("one", text="日本 and 日")], tmp_path)
    page_words._face_of.cache_clear()
    assert told.missing == {"日": 2, "本": 1}
    assert told.n_pages_missing == 1
    assert "3 characters on 1 pages are in no font" in told.notes()[0]
    assert "日本 and 日" in text_of(path)


def test_latin_words_need_no_font_of_the_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(page_words, "_FONT_FILES", ())
    _path, told = made([SetPage("one", text="Señor Müller says: naïve?")], tmp_path)
    assert told.notes() == ()


@pytest.mark.parametrize("n_words", [0, 1, 300, 3_000, 12_000])
def test_an_item_is_one_page_however_long_it_is(n_words, tmp_path):
    text = " ".join(f"word{number}" for number in range(n_words))
    path, _told = made([SetPage("one", text=text), SetPage("two", text="after")], tmp_path)
    with pypdfium2.PdfDocument(path) as document:
        assert len(document) == 2
        assert max(document[0].get_size()) <= 14_400
    if n_words:
        assert f"word{n_words - 1}" in text_of(path)


def test_a_text_that_no_page_can_hold_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(page_maker, "_MOST_PT", 900.0)
    monkeypatch.setattr(page_words, "_SMALLEST_PT", 9.0)
    with pytest.raises(InputError) as caught:
        made([SetPage("one", text="word " * 3_000)], tmp_path)
    assert caught.value.code == "text_too_long"


def test_words_that_belong_to_an_image_are_shown_where_the_set_shows_them(tmp_path):
    data = encoded("RGB", "PNG")
    pages = [shown(data, "a", text="its caption"), shown(data, "b", text="OCR", shows_text=False)]
    path, _told = made(pages, tmp_path)
    assert "its caption" in text_of(path, 0)
    assert text_of(path, 1) == ""
    with pypdfium2.PdfDocument(path) as document:
        top = document[0].render(scale=150 / 72).to_pil().convert("RGB")
    # The page is wider than the picture, which stands in the middle of its top.
    left = (top.width - PIXELS.shape[1]) // 2
    assert np.asarray(top)[5:40, left + 2 : left + 60].std() > 40


@pytest.mark.parametrize(
    "data",
    [b"no image", b"\x89PNG\r\n\x1a\n" + b"\0" * 40, encoded("RGB", "PNG")[:-30]],
)
def test_an_image_that_cannot_be_read_is_named(data, tmp_path):
    with pytest.raises(InputError) as caught:
        made([shown(data, "page 7")], tmp_path)
    assert caught.value.code == "bad_image"
    assert "'page 7'" in caught.value.message


def test_a_png_with_a_damaged_chunk_is_refused(tmp_path):
    data = bytearray(encoded("RGB", "PNG"))
    data[data.index(b"IDAT") + 20] ^= 1
    with pytest.raises(InputError, match="damaged"):
        made([shown(bytes(data))], tmp_path)


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [("PNG", ".png"), ("JPEG", ".jpg"), ("WEBP", ".webp"), ("GIF", ".gif"), ("BMP", ".bmp")],
)
def test_an_image_file_is_known_by_its_first_bytes(kind, suffix):
    assert image_suffix(encoded("RGB", kind)) == suffix


def test_tiff_is_no_file_of_one_page():
    assert image_suffix(encoded("RGB", "TIFF")) is None
    assert image_suffix(zlib.compress(b"x")) is None


def test_without_reportlab_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "reportlab", None)
    with pytest.raises(ConfigError) as caught:
        made([SetPage("one", text="x")], tmp_path)
    assert caught.value.code == "extra_missing"
    assert "octavo[eval]" in caught.value.next_step
