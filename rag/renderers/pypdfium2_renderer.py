"""Pages read with PDFium; the one file that imports pypdfium2."""

from __future__ import annotations

import contextlib
import ctypes
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rag.errors import DocumentError
from rag.page_text import PageText
from rag.ports import PdfInfo
from rag.renderers import page_frame
from rag.types import RenderedPage

_HYPHENS = (0x02, 0xFFFE)  # what PDFium puts where a line ends in a hyphen, instead of a new line
_BOLD_WEIGHT = 600
_BOLD_NAMES = ("bold", "black", "heavy")
_FORCE_BOLD = 1 << 18  # font descriptor flag, PDF 32000-1, table 123


class Pypdfium2Renderer:
    """PageRenderer over PDFium. Keeps the document and page it read last; not for several threads.

    PDFium has no notion of memory limits of its own: where an allocation fails it ends the process.
    """

    name = "pypdfium2"

    def __init__(self) -> None:
        self._open_key: page_frame.FileKey | None = None
        self._open_document: Any = None
        self._open_page: tuple[int, Any] | None = None

    def open(self, path: Path, *, password: str | None = None) -> PdfInfo:
        import pypdfium2.raw

        document = self._document(path, password)
        return PdfInfo(
            n_pages=len(document),
            title=str(document.get_metadata_value("Title")).strip(),
            is_repaired=not pypdfium2.raw.FPDF_DocumentHasValidCrossReferenceTable(document.raw),
        )

    def words(self, path: Path, page_number: int, *, password: str | None = None) -> PageText:
        with self._page(path, page_number, password) as page:
            text = page.get_textpage()
            try:
                return _page_text(page, text)
            finally:
                text.close()

    def render(
        self, path: Path, page_number: int, *, dpi: float, max_px: int, password: str | None = None
    ) -> RenderedPage:
        with self._page(path, page_number, password) as page:
            width_pt, height_pt = page.get_size()
            scale = page_frame.px_per_pt(width_pt, height_pt, dpi=dpi, max_px=max_px)
            bitmap = page.render(scale=scale, rev_byteorder=True)
            try:
                # A copy: the bitmap's memory goes back to PDFium.
                image = bitmap.to_pil().convert("RGB")
            finally:
                bitmap.close()
            return RenderedPage(image, width_pt, height_pt)

    def _document(self, path: Path, password: str | None) -> Any:
        key = page_frame.FileKey.of(path, password)
        if key != self._open_key:
            self._close_page()
            self._open_key = None
            if self._open_document is not None:
                self._open_document.close()
                self._open_document = None
            self._open_document = _opened(path, password)
            self._open_key = key
        return self._open_document

    @contextlib.contextmanager
    def _page(self, path: Path, page_number: int, password: str | None) -> Iterator[Any]:
        document = self._document(path, password)
        if not 1 <= page_number <= len(document):
            raise page_frame.page_failed(path, page_number, f"it has {len(document)} pages")
        with _translated(path, page_number):
            # PDFium parses a page when it is loaded: words and pixels share one loading.
            if self._open_page is None or self._open_page[0] != page_number:
                self._close_page()
                self._open_page = (page_number, document[page_number - 1])
            page = self._open_page[1]
            if min(page.get_size()) <= 0:
                raise page_frame.page_failed(path, page_number, "it has no area")
            yield page

    def _close_page(self) -> None:
        if self._open_page is not None:
            self._open_page[1].close()
            self._open_page = None


def _opened(path: Path, password: str | None) -> Any:
    import pypdfium2
    import pypdfium2.raw

    page_frame.require_pdf(path)
    try:
        document = pypdfium2.PdfDocument(path, password=password)
    except pypdfium2.PdfiumError as error:
        if error.err_code == pypdfium2.raw.FPDF_ERR_PASSWORD:
            raise page_frame.password_error(path, password) from error
        raise page_frame.damaged(path, str(error)) from error
    except OSError as error:
        raise page_frame.unreadable(path, error) from error
    if len(document) == 0:
        document.close()
        raise page_frame.zero_pages(path)
    with _translated(path):
        document.init_forms()  # values of form fields are part of what people see
    return document


@contextlib.contextmanager
def _translated(path: Path, page_number: int | None = None) -> Iterator[None]:
    import pypdfium2

    try:
        yield
    except DocumentError:
        raise
    except MemoryError as error:
        raise page_frame.out_of_memory(path) from error
    except (pypdfium2.PdfiumError, ValueError, RuntimeError, AssertionError) as error:
        reason = str(error) or type(error).__name__
        if page_number is None:
            raise page_frame.damaged(path, reason) from error
        raise page_frame.page_failed(path, page_number, reason) from error


def _page_text(page: Any, text: Any) -> PageText:
    import pypdfium2.raw as pdfium

    n_chars = text.count_chars()
    codes = [pdfium.FPDFText_GetUnicode(text, index) for index in range(n_chars)]
    columns = page_frame.WordColumns()
    place = _PageFrame(page)
    line = 0
    start = 0
    for index in range(n_chars + 1):
        code = codes[index] if index < n_chars else 0x20
        is_hyphen = code in _HYPHENS
        if not (is_hyphen or chr(code).isspace()):
            continue
        word = _joined(codes[start:index]) + ("-" if is_hyphen else "")
        if start < index:
            size_pt, bold = _font(text, start)
            box = place.box(_char_boxes(text, start, index))
            columns.add(word, box, line=line, size_pt=size_pt, bold=bold)
        if is_hyphen or code in (0x0A, 0x0D):
            line += 1
        start = index + 1
    return columns.page_text(*page.get_size())


def _joined(codes: list[int]) -> str:
    """Characters of UTF-32, or of UTF-16 where PDFium hands on surrogate pairs."""
    word = "".join(map(chr, codes))
    if word.isascii():
        return word
    return word.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _char_boxes(text: Any, start: int, end: int) -> np.ndarray[Any, Any]:
    """(n_chars, 4) left, bottom, right, top in PDF user space; as high as the font's line."""
    import pypdfium2.raw as pdfium

    boxes = np.zeros((end - start, 4))
    loose = pdfium.FS_RECTF()
    for row, index in enumerate(range(start, end)):
        pdfium.FPDFText_GetLooseCharBox(text, index, loose)
        box = (loose.left, loose.bottom, loose.right, loose.top)
        if box[0] >= box[2] or box[1] >= box[3]:  # a font that does not tell its height
            box = text.get_charbox(index)
        boxes[row] = box
    return boxes


def _font(text: Any, index: int) -> tuple[float, bool]:
    """Size in points as shown, and boldness, of one character."""
    import pypdfium2.raw as pdfium

    matrix = pdfium.FS_MATRIX()
    pdfium.FPDFText_GetMatrix(text, index, matrix)
    size_pt = pdfium.FPDFText_GetFontSize(text, index) * math.hypot(matrix.c, matrix.d)
    flags = ctypes.c_int(0)
    name = ctypes.create_string_buffer(128)
    pdfium.FPDFText_GetFontInfo(text, index, name, len(name), flags)
    lowered = name.value.decode("utf-8", "replace").lower()
    bold = (
        pdfium.FPDFText_GetFontWeight(text, index) >= _BOLD_WEIGHT
        or any(part in lowered for part in _BOLD_NAMES)
        or bool(flags.value & _FORCE_BOLD)
    )
    return size_pt, bold


class _PageFrame:
    """From PDF user space (y upwards, before /Rotate) to the frame of the shown page."""

    def __init__(self, page: Any) -> None:
        self._rotation = int(page.get_rotation())
        self._visible = page.get_bbox()  # left, bottom, right, top

    def box(self, boxes: np.ndarray[Any, Any]) -> tuple[float, float, float, float]:
        """Around (n, 4) boxes of left, bottom, right, top."""
        left, bottom, right, top = self._visible
        x0, y0 = boxes[:, 0].min(), boxes[:, 1].min()
        x1, y1 = boxes[:, 2].max(), boxes[:, 3].max()
        turned = {
            0: (x0 - left, top - y1, x1 - left, top - y0),
            90: (y0 - bottom, x0 - left, y1 - bottom, x1 - left),
            180: (right - x1, y0 - bottom, right - x0, y1 - bottom),
            270: (top - y1, right - x1, top - y0, right - x0),
        }[self._rotation]
        return (float(turned[0]), float(turned[1]), float(turned[2]), float(turned[3]))
