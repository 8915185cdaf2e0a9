"""Pages read with PDFium; the one file that imports pypdfium2."""

from __future__ import annotations

import contextlib
import ctypes
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rag.errors import DocumentError
from rag.geometry import FloatArray
from rag.page_text import PageText
from rag.ports import OutlineEntry, PdfInfo
from rag.renderers import page_frame
from rag.renderers.outline import read_outline
from rag.types import RenderedPage

_HYPHENS = (0x02, 0xFFFE)  # what PDFium puts where a line ends in a hyphen, instead of a new line
_BOLD_WEIGHT = 600
_BOLD_NAMES = (b"bold", b"black", b"heavy")
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
            outline=_outline(document),
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


def _outline(document: Any) -> tuple[OutlineEntry, ...]:
    import pypdfium2.raw as pdfium

    raw = document.raw

    def told(bookmark: Any) -> tuple[str, int | None]:
        size_bytes = pdfium.FPDFBookmark_GetTitle(bookmark, None, 0)
        buffer = ctypes.create_string_buffer(size_bytes)
        pdfium.FPDFBookmark_GetTitle(bookmark, buffer, size_bytes)
        title = buffer.raw[: max(0, size_bytes - 2)].decode("utf-16-le", "replace")  # ends in 0
        # Of the bookmark's own, or of an action that goes to a page of this file.
        destination = pdfium.FPDFBookmark_GetDest(raw, bookmark)
        if not destination:
            return title, None
        return title, pdfium.FPDFDest_GetDestPageIndex(raw, destination) + 1

    return read_outline(
        pdfium.FPDFBookmark_GetFirstChild(raw, None) or None,
        child=lambda bookmark: pdfium.FPDFBookmark_GetFirstChild(raw, bookmark) or None,
        sibling=lambda bookmark: pdfium.FPDFBookmark_GetNextSibling(raw, bookmark) or None,
        identity=lambda bookmark: ctypes.addressof(bookmark.contents),
        told=told,
        n_pages=len(document),
    )


def _page_text(page: Any, text: Any) -> PageText:
    codes = _codes(text)
    columns = page_frame.WordColumns()
    boxes: list[tuple[float, float, float, float]] = []
    ends = _CharReader(text)
    line = 0
    start = 0
    for index, code in enumerate([*codes, 0x20]):
        is_hyphen = code in _HYPHENS
        if not (is_hyphen or chr(code).isspace()):
            continue
        if start < index:
            word = _joined(codes[start:index]) + ("-" if is_hyphen else "")
            size_pt, bold = ends.font(start)
            columns.add(word, line=line, size_pt=size_pt, bold=bold)
            # Words do not bend: the first and last character tell the box.
            first, last = ends.box(start), ends.box(index - 1)
            boxes.append(
                (
                    min(first[0], last[0]),
                    min(first[1], last[1]),
                    max(first[2], last[2]),
                    max(first[3], last[3]),
                )
            )
        if is_hyphen or code in (0x0A, 0x0D):
            line += 1
        start = index + 1
    width_pt, height_pt = page.get_size()
    shown = _in_page_frame(np.array(boxes).reshape(-1, 4), page)
    return columns.page_text(shown, width_pt=width_pt, height_pt=height_pt)


def _codes(text: Any) -> list[int]:
    """The code of every character; codes outside of Unicode are replaced."""
    import pypdfium2.raw as pdfium

    n_chars = text.count_chars()
    whole = text.get_text_range() if n_chars else ""
    if len(whole) == n_chars:  # else some character has no code, and counting goes astray
        return [ord(char) for char in whole]
    codes = (pdfium.FPDFText_GetUnicode(text, index) for index in range(n_chars))
    return [code if code <= sys.maxunicode else 0xFFFD for code in codes]


def _joined(codes: list[int]) -> str:
    """Characters of UTF-32, or of UTF-16 where PDFium hands on surrogate pairs."""
    word = "".join(map(chr, codes))
    if word.isascii():
        return word
    return word.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class _CharReader:
    """What PDFium tells of single characters, into memory that is used again."""

    def __init__(self, text: Any) -> None:
        import pypdfium2.raw

        self._pdfium = pypdfium2.raw
        self._text = text
        self._loose = self._pdfium.FS_RECTF()
        self._matrix = self._pdfium.FS_MATRIX()
        self._flags = ctypes.c_int(0)
        self._name = ctypes.create_string_buffer(128)

    def box(self, index: int) -> tuple[float, float, float, float]:
        """Left, bottom, right, top in PDF user space; as high as the font's line."""
        loose = self._loose
        self._pdfium.FPDFText_GetLooseCharBox(self._text, index, loose)
        if loose.left < loose.right and loose.bottom < loose.top:
            return loose.left, loose.bottom, loose.right, loose.top
        left, bottom, right, top = self._text.get_charbox(index)  # the font tells no height
        return left, bottom, right, top

    def font(self, index: int) -> tuple[float, bool]:
        """Size in points as shown, and boldness."""
        text, pdfium, matrix = self._text, self._pdfium, self._matrix
        pdfium.FPDFText_GetMatrix(text, index, matrix)
        size_pt = pdfium.FPDFText_GetFontSize(text, index) * math.hypot(matrix.c, matrix.d)
        pdfium.FPDFText_GetFontInfo(text, index, self._name, len(self._name), self._flags)
        name = self._name.value.lower()
        bold = (
            any(part in name for part in _BOLD_NAMES)
            or bool(self._flags.value & _FORCE_BOLD)
            or pdfium.FPDFText_GetFontWeight(text, index) >= _BOLD_WEIGHT
        )
        return size_pt, bold


def _in_page_frame(boxes: npt.NDArray[np.float64], page: Any) -> FloatArray:
    """From PDF user space (y upwards, before /Rotate) to the frame of the shown page.

    Args:
        boxes: (n, 4) left, bottom, right, top.
        page: whose crop box and rotation count.
    """
    left, bottom, right, top = page.get_bbox()
    x0, y0, x1, y1 = boxes.T
    turned = {
        0: (x0 - left, top - y1, x1 - left, top - y0),
        90: (y0 - bottom, x0 - left, y1 - bottom, x1 - left),
        180: (right - x1, y0 - bottom, right - x0, y1 - bottom),
        270: (top - y1, right - x1, top - y0, right - x0),
    }[page.get_rotation()]
    return np.stack(turned, axis=1).astype(np.float32)
