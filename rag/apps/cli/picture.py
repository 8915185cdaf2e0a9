"""Pages as picture files."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rag.errors import InputError


def write_png(page: Mapping[str, Any], out: Path) -> None:
    """Write the picture that the client gave.

    Raises:
        InputError: the file cannot be written.
    """
    _write(base64.b64decode(page["png"]), out)


def write_sheet(pages: Sequence[tuple[str, Mapping[str, Any]]], out: Path) -> None:
    """Write pictures that the client gave side by side, each over its label.

    Raises:
        InputError: the file cannot be written.
    """
    from PIL import Image

    from rag.apps.page_drawing import as_png_base64, contact_sheet

    pictures = [
        (label, Image.open(io.BytesIO(base64.b64decode(page["png"])))) for label, page in pages
    ]
    _write(base64.b64decode(as_png_base64(contact_sheet(pictures))), out)


def write_evidence(page: Mapping[str, Any], boxes: Sequence[Sequence[float]], out: Path) -> None:
    """Write a picture the client gave without marks, with these boxes (page points) marked.

    Raises:
        InputError: the file cannot be written.
    """
    from PIL import Image

    from rag.apps.page_drawing import as_png_base64, draw_boxes
    from rag.geometry import Box
    from rag.types import RenderedPage

    with Image.open(io.BytesIO(base64.b64decode(page["png"]))) as image:
        shown = RenderedPage(image, page["width_pt"], page["height_pt"])
        marked = draw_boxes(shown, [(Box(*box), 1.0) for box in boxes])
    _write(base64.b64decode(as_png_base64(marked)), out)


def _write(png: bytes, out: Path) -> None:
    try:
        out.write_bytes(png)
    except OSError as error:
        raise InputError(
            f"cannot write {str(out)!r}: {error.strerror}",
            next_step="Name a file in a folder that is there and that you may write to.",
        ) from error
