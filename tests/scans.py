"""Scans made in code: pages whose words are only in their pixels."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pypdfium2
from PIL import Image

from rag.testing import PdfPage, make_pdf
from rag.types import RenderedPage


def pictures(pages: Sequence[PdfPage | str], *, dpi: float = 150.0) -> list[RenderedPage]:
    """Pages as they look."""
    document = pypdfium2.PdfDocument(make_pdf(pages))
    shown = []
    for page in document:
        width_pt, height_pt = page.get_size()
        image = page.render(scale=dpi / 72).to_pil().convert("RGB")
        shown.append(RenderedPage(image, width_pt, height_pt))
    document.close()
    return shown


def scanned_pdf(pages: Sequence[PdfPage | str], *, dpi: float = 150.0, rotate: int = 0) -> bytes:
    """A PDF of which each page is one image; scanned sideways and turned back, where `rotate`."""
    first, *others = [page.image.rotate(rotate, expand=True) for page in pictures(pages, dpi=dpi)]
    made = io.BytesIO()
    first.save(made, "PDF", resolution=dpi, save_all=True, append_images=others)
    if not rotate:
        return made.getvalue()
    document = pypdfium2.PdfDocument(made.getvalue())
    for page in document:
        page.set_rotation(rotate)
    turned = io.BytesIO()
    document.save(turned)
    document.close()
    return turned.getvalue()


def picture_file(page: str, *, file_format: str = "PNG", dpi: float = 150.0) -> bytes:
    made = io.BytesIO()
    image: Image.Image = pictures([page], dpi=dpi)[0].image
    image.save(made, file_format, dpi=(dpi, dpi))
    return made.getvalue()
