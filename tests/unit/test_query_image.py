"""Images as queries come whole, upright and within limits, or not at all."""

import base64
import io
import os
import struct
import warnings
import zlib

import pytest
from PIL import Image

from rag.apps import query_image
from rag.apps.query_image import image_as_base64, image_from_base64
from rag.errors import InputError

RED, BLUE = (255, 0, 0), (0, 0, 255)


def picture(size=(40, 20)) -> Image.Image:
    """Red, and blue in its right half."""
    image = Image.new("RGB", size, RED)
    image.paste(BLUE, (size[0] // 2, 0, *size))
    return image


def saved(image, kind, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def decoded(content: bytes) -> Image.Image:
    return image_from_base64(base64.b64encode(content).decode())


def png_that_claims(width: int, height: int) -> bytes:
    """A PNG of a few bytes with any number of pixels in its header."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def near(pixel, colour) -> bool:
    return all(abs(a - b) < 12 for a, b in zip(pixel, colour, strict=True))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF"])
def test_every_kind_of_file_comes_as_its_pixels(kind, tmp_path):
    file = tmp_path / "picture"
    file.write_bytes(saved(picture(), kind))
    image = image_from_base64(image_as_base64(file))
    assert (image.mode, image.size) == ("RGB", (40, 20))
    assert near(image.getpixel((5, 10)), RED)
    assert near(image.getpixel((35, 10)), BLUE)


def test_an_image_of_pillow_comes_as_it_is():
    image = image_from_base64(image_as_base64(picture()))
    assert image.tobytes() == picture().tobytes()


def test_the_first_frame_counts():
    content = saved(
        Image.new("RGB", (9, 9), RED),
        "GIF",
        save_all=True,
        append_images=[Image.new("RGB", (9, 9))],
    )
    assert decoded(content).getpixel((4, 4)) == RED


def test_a_photograph_is_turned_upright():
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held on its side
    image = decoded(saved(picture(), "JPEG", exif=exif))
    assert image.size == (20, 40)
    assert near(image.getpixel((10, 5)), RED)


def test_what_is_transparent_is_white():
    image = decoded(saved(Image.new("RGBA", (9, 9), (0, 0, 0, 0)), "PNG"))
    assert image.getpixel((4, 4)) == (255, 255, 255)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"%PDF-1.7 not an image",
        saved(picture(), "PNG")[:60],
        saved(picture((400, 300)), "JPEG")[:700],
        saved(picture(), "PPM"),
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    ],
    ids=["empty", "pdf", "cut off PNG", "cut off JPEG", "another kind", "svg"],
)
def test_what_is_no_whole_image_is_refused(content):
    with pytest.raises(InputError, match=r"damaged|kind") as raised:
        decoded(content)
    assert raised.value.code == "bad_image"


def test_text_that_is_no_base64_is_refused():
    with pytest.raises(InputError, match="base64") as raised:
        image_from_base64("ünfug")
    assert raised.value.code == "bad_image"


@pytest.mark.parametrize("size", [(7000, 6000), (10_000, 10_000), (60_000, 60_000)])
def test_a_bomb_is_refused_before_it_is_decoded(size, monkeypatch):
    def decode(*_):
        raise AssertionError("decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decode)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InputError, match="36 million pixels") as raised:
            decoded(png_that_claims(*size))
    assert raised.value.code == "bad_image"


def test_a_large_photograph_is_decoded_at_a_fraction(monkeypatch):
    monkeypatch.setattr(query_image, "MAX_PX", 500_000)
    image = decoded(saved(picture((1601, 1199)), "JPEG"))
    assert image.size == (801, 600)
    assert near(image.getpixel((700, 300)), BLUE)


def test_a_file_beyond_the_limit_is_not_read_in(monkeypatch, tmp_path):
    monkeypatch.setattr(query_image, "MAX_BYTES", 1000)
    file = tmp_path / "large.bmp"
    file.write_bytes(saved(picture(), "BMP"))
    for refused in (
        lambda: image_as_base64(file),
        lambda: image_as_base64(Image.effect_noise((90, 90), 50)),
        lambda: decoded(file.read_bytes()),
    ):
        with pytest.raises(InputError, match="is larger than") as raised:
            refused()
        assert raised.value.code == "bad_image"


def test_a_file_that_is_not_there_is_named(tmp_path):
    for path in (tmp_path / "none.png", tmp_path):
        with pytest.raises(InputError, match="cannot read the image") as raised:
            image_as_base64(path)
        assert raised.value.code == "bad_image"


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(InputError, match="not a file") as refused:
        image_as_base64(tmp_path / "pipe.png")
    assert refused.value.code == "bad_image"
