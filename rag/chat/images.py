"""Pictures as chat models take them: in a data URL, within sizes that servers accept."""

from __future__ import annotations

import base64
from io import BytesIO

from PIL import Image

# A page of A4 at 200 dpi has 3.9 million; models shrink what is larger themselves.
MAX_IMAGE_PX = 4_000_000
# Beyond it a page is a photograph, which JPEG writes in a fraction of the bytes.
MAX_PNG_BYTES = 1_500_000
_JPEG_QUALITY = 90


def data_url(image: Image.Image) -> str:
    """As `encoded`, in the form that OpenAI's protocol has for it."""
    mime, content = encoded(image)
    return f"data:{mime};base64," + base64.b64encode(content).decode()


def encoded(image: Image.Image) -> tuple[str, bytes]:
    """MIME type and file: PNG without loss, or JPEG where that would exceed MAX_PNG_BYTES."""
    pixels = _within(image if image.mode == "RGB" else image.convert("RGB"))
    written = _written(pixels, "PNG", compress_level=3)
    if len(written) <= MAX_PNG_BYTES:
        return "image/png", written
    return "image/jpeg", _written(pixels, "JPEG", quality=_JPEG_QUALITY)


def _within(image: Image.Image) -> Image.Image:
    """The same picture with MAX_IMAGE_PX pixels at most."""
    share = (MAX_IMAGE_PX / (image.width * image.height)) ** 0.5
    if share >= 1:
        return image
    width, height = (max(1, int(side * share)) for side in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def _written(image: Image.Image, kind: str, **options: int) -> bytes:
    file = BytesIO()
    image.save(file, format=kind, **options)
    return file.getvalue()
