"""Images as queries: read and measured where the file is, decoded where the search runs.

An image is not trusted: its size, kind and number of pixels are limited before it is decoded.
"""

from __future__ import annotations

import base64
import binascii
import io
import threading
import warnings
from pathlib import Path

from PIL import Image, ImageOps

from rag.errors import InputError
from rag.renderers.image_renderer import as_rgb

MAX_BYTES = 20_000_000
MAX_PX = 36_000_000
_FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF")
_KINDS = "PNG, JPEG, WebP, TIFF, BMP or GIF"
_JPEG_FRACTIONS = (1, 2, 4, 8)  # a JPEG is decoded at one of them
# Which warnings are heard is a setting of the whole process.
_opening = threading.Lock()


def image_as_base64(image: Path | str | Image.Image) -> str:
    """A file as it is, or an image as PNG, for the way to the search.

    Raises:
        InputError: `bad_image`, a file that cannot be read or is too large.
    """
    if isinstance(image, Image.Image):
        buffer = io.BytesIO()
        as_rgb(image).save(buffer, "PNG", compress_level=1)
        name, content = "the image", buffer.getvalue()
    else:
        path = Path(image)
        name = path.name or str(path)
        if path.exists() and not path.is_file():  # reading a pipe would wait for its writer
            raise InputError(
                f"cannot read the image {str(image)!r}: not a file",
                code="bad_image",
                next_step="Give an image file.",
            )
        try:
            with path.open("rb") as file:
                content = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise InputError(
                f"cannot read the image {str(image)!r}: {error.strerror}",
                code="bad_image",
                next_step="Check the path.",
            ) from error
    if len(content) > MAX_BYTES:
        raise _too_large(name)
    return base64.b64encode(content).decode()


def image_from_base64(text: str) -> Image.Image:
    """The first frame, upright, in RGB.

    Raises:
        InputError: `bad_image`, what is no image of a known kind, is cut off, or has more pixels
            than a query may have.
    """
    if len(text) > (MAX_BYTES // 3 + 1) * 4:
        raise _too_large("the image")
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _bad("the image is not base64") from error
    try:
        with _opened(content) as image:
            _limit_pixels(image)
            image.load()
            return as_rgb(ImageOps.exif_transpose(image))
    except Image.DecompressionBombError as error:
        raise _too_many_pixels() from error
    except InputError:
        raise
    except MemoryError as error:
        raise _bad("the image does not fit the memory") from error
    except Exception as error:  # Pillow's decoders raise whatever the bytes lead them to
        raise _bad("the image is damaged, cut off, or none of a known kind") from error


def _opened(content: bytes) -> Image.Image:
    with _opening, warnings.catch_warnings():
        # Our own limit is lower; Pillow's is a warning that nobody would read.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(io.BytesIO(content), formats=_FORMATS)


def _limit_pixels(image: Image.Image) -> None:
    """Have a large JPEG decoded at a fraction of its size; refuse what is too large otherwise."""
    width, height = image.size
    for fraction in _JPEG_FRACTIONS:
        if -(-width // fraction) * -(-height // fraction) <= MAX_PX:
            if fraction > 1:
                image.draft("RGB", (width // fraction, height // fraction))
            break
    if image.width * image.height > MAX_PX:
        raise _too_many_pixels()


def _too_many_pixels() -> InputError:
    return _bad(
        f"the image has more than {MAX_PX // 1_000_000} million pixels",
        next_step="Save it at a lower resolution.",
    )


def _too_large(name: str) -> InputError:
    return _bad(
        f"{name} is larger than {MAX_BYTES // 1_000_000} MB",
        next_step="Save it at a lower resolution.",
    )


def _bad(message: str, *, next_step: str = f"Give a whole {_KINDS} file.") -> InputError:
    return InputError(message, code="bad_image", next_step=next_step)
