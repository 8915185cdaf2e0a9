"""Images of published sets as they go into a PDF: the bytes they came in where a PDF can hold them.

JPEG goes in whole, PNG by its compressed rows; whatever else there is goes in as its RGB pixels,
compressed without a loss.
"""

from __future__ import annotations

import io
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import Image, UnidentifiedImageError

from rag.errors import InputError
from rag.renderers.image_renderer import as_rgb

_EXIF_ORIENTATION = 0x0112
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _RGB, _PALETTE = 0, 2, 3  # colour types of PNG that a PDF holds as they are
# First bytes to suffix; WebP and HEIF say theirs a little later.
_SIGNATURES = (
    (_PNG_SIGNATURE, ".png"),
    (b"\xff\xd8\xff", ".jpg"),
    (b"GIF8", ".gif"),
    (b"BM", ".bmp"),
)


@dataclass(frozen=True)
class EmbeddedImage:
    """An image as a PDF's stream.

    Attributes:
        data: of the stream.
        filter_name: "DCTDecode" or "FlateDecode".
        colour_space: a PDF name, or of a palette an array, both as they are written.
        predictor: (colours, bits, columns) of PNG's rows; None where rows are plain.
    """

    width_px: int
    height_px: int
    data: bytes
    filter_name: str
    colour_space: str
    bits: int = 8
    predictor: tuple[int, int, int] | None = None


def image_suffix(data: bytes) -> str | None:
    """The suffix of an image file that is one page; None where it has to be made into one."""
    for signature, suffix in _SIGNATURES:
        if data.startswith(signature):
            return suffix
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return ".webp"
    return None


def embedded(data: bytes, *, item: str) -> EmbeddedImage:
    """An encoded image as a PDF holds it.

    Args:
        data: the file.
        item: what it is called, for messages.

    Raises:
        InputError: `bad_image`.
    """
    try:
        with warnings.catch_warnings():
            # Whoever renders the page has a limit of pixels and says so.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data)) as image:
                return _as_it_came(data, image) or _pixels(image)
    except UnidentifiedImageError as error:
        raise _bad(item, "it is not an image of a known kind") from error
    except (OSError, EOFError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise _bad(item, str(error) or type(error).__name__) from error


def _bad(item: str, said: str) -> InputError:
    return InputError(
        f"the image of {item!r} cannot be read: {said}",
        code="bad_image",
        next_step="Check that the copy is whole and of the published revision.",
    )


def _as_it_came(data: bytes, image: Image.Image) -> EmbeddedImage | None:
    if image.format == "PNG":
        return _png(data)  # without Pillow's look for EXIF, which unpacks every row
    # A PDF knows nothing of the turn that a camera noted.
    turned = image.getexif().get(_EXIF_ORIENTATION, 1) != 1
    if image.format == "JPEG" and image.mode in ("L", "RGB") and not turned:
        space = "/DeviceGray" if image.mode == "L" else "/DeviceRGB"
        return EmbeddedImage(*image.size, data, "DCTDecode", space)
    return None


def _png(data: bytes) -> EmbeddedImage | None:
    """The compressed rows of a PNG; None of one that a PDF would show otherwise."""
    header, palette, rows = b"", b"", []
    for kind, body in _png_chunks(data):
        if kind == b"IHDR":
            header = body
        elif kind == b"PLTE":
            palette = body
        elif kind in (b"tRNS", b"eXIf"):
            return None
        elif kind == b"IDAT":
            rows.append(body)
    bits, colour, _compression, _filter, interlaced = header[8:13]
    if interlaced or bits == 16 or colour not in (_GREY, _RGB, _PALETTE):
        return None
    width_px, height_px = int.from_bytes(header[:4]), int.from_bytes(header[4:8])
    n_colours = 3 if colour == _RGB else 1
    space = "/DeviceRGB" if colour == _RGB else "/DeviceGray"
    if colour == _PALETTE:
        space = f"[/Indexed /DeviceRGB {len(palette) // 3 - 1} <{palette.hex()}>]"
    return EmbeddedImage(
        width_px,
        height_px,
        b"".join(rows),
        "FlateDecode",
        space,
        bits,
        (n_colours, bits, width_px),
    )


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(kind, body) of each chunk."""
    at = len(_PNG_SIGNATURE)
    while at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4])
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        checksum = int.from_bytes(data[at + 8 + size : at + 12 + size])
        if len(body) != size or zlib.crc32(kind + body) != checksum:
            raise ValueError("a chunk of the PNG is damaged")
        yield kind, body
        if kind == b"IEND":
            return
        at += 12 + size
    raise ValueError("the PNG ends early")


def _pixels(image: Image.Image) -> EmbeddedImage:
    from PIL import ImageOps

    rgb = as_rgb(ImageOps.exif_transpose(image))
    return EmbeddedImage(*rgb.size, zlib.compress(rgb.tobytes()), "FlateDecode", "/DeviceRGB")
