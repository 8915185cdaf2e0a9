"""Pages read with PyMuPDF; the one file that imports it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from rag.errors import DocumentError
from rag.geometry import FloatArray
from rag.page_text import PageText
from rag.ports import OutlineEntry, PdfInfo
from rag.renderers import page_frame
from rag.renderers.outline import read_outline
from rag.types import RenderedPage

# Both start machine-learning runtimes at import (0.9 s, 110 MB), for features not used here.
_UNWANTED = ("pymupdf.layout", "pymupdf4llm")
_BOLD = 1 << 4  # span flag, "Text font flags" in the PyMuPDF documentation


class PymupdfRenderer:
    """PageRenderer over MuPDF. Keeps the document it read last open; not for several threads."""

    name = "pymupdf"

    def __init__(self) -> None:
        self._open_key: page_frame.FileKey | None = None
        self._open_document: Any = None

    def open(self, path: Path, *, password: str | None = None) -> PdfInfo:
        document = self._document(path, password)
        outline = _outline(document)
        return PdfInfo(
            n_pages=len(document),
            title=str((document.metadata or {}).get("title") or "").strip(),
            is_repaired=bool(document.is_repaired),
            outline=outline or (),
            lost_outline=outline is None,
        )

    def words(self, path: Path, page_number: int, *, password: str | None = None) -> PageText:
        pymupdf = library()
        with self._page(path, page_number, password) as page:
            # Without PRESERVE_LIGATURES: "fi" is two letters, as questions spell it.
            flags = pymupdf.TEXT_PRESERVE_WHITESPACE | pymupdf.TEXT_MEDIABOX_CLIP
            text = page.get_textpage(flags=flags)
            found = page.get_text("words", textpage=text)
            boxes = np.array([word[:4] for word in found]).reshape(-1, 4)
            columns = page_frame.WordColumns()
            lines = _Lines(page.get_text("dict", textpage=text))
            for x0, y0, x1, y1, word, block, line, _ in found:
                number, span = lines.at((block, line), (x0 + x1) / 2, (y0 + y1) / 2)
                columns.add(
                    word,
                    line=number,
                    size_pt=span["size"] if span else 0.0,
                    bold=bool(span and span["flags"] & _BOLD),
                )
            return columns.page_text(
                _turned(boxes, page.rotation_matrix),
                width_pt=page.rect.width,
                height_pt=page.rect.height,
            )

    def render(
        self, path: Path, page_number: int, *, dpi: float, max_px: int, password: str | None = None
    ) -> RenderedPage:
        pymupdf = library()
        with self._page(path, page_number, password) as page:
            width_pt, height_pt = float(page.rect.width), float(page.rect.height)
            scale = page_frame.px_per_pt(width_pt, height_pt, dpi=dpi, max_px=max_px)
            pixels = page.get_pixmap(
                matrix=pymupdf.Matrix(scale, scale), colorspace=pymupdf.csRGB, alpha=False
            )
            image = Image.frombytes("RGB", (pixels.width, pixels.height), pixels.samples)
            return RenderedPage(image, width_pt, height_pt)

    def _document(self, path: Path, password: str | None) -> Any:
        key = page_frame.FileKey.of(path, password)
        if key != self._open_key:
            self._open_key = None
            if self._open_document is not None:
                self._open_document.close()
                self._open_document = None
                library().TOOLS.store_shrink(100)  # images of the last document
            self._open_document = _opened(path, password)
            self._open_key = key
        return self._open_document

    @contextlib.contextmanager
    def _page(self, path: Path, page_number: int, password: str | None) -> Iterator[Any]:
        document = self._document(path, password)
        if not 1 <= page_number <= len(document):
            raise page_frame.page_failed(path, page_number, f"it has {len(document)} pages")
        with _translated(path, page_number):
            page = document.load_page(page_number - 1)
            if page.rect.is_empty or page.rect.is_infinite:
                raise page_frame.page_failed(path, page_number, "it has no area")
            yield page


def library() -> ModuleType:
    """PyMuPDF, quiet, and without the parts that are not used here."""
    if "pymupdf" not in sys.modules:
        hidden = [name for name in _UNWANTED if name not in sys.modules]
        sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: "not there"
        try:
            import pymupdf
        finally:
            for name in hidden:
                del sys.modules[name]
        pymupdf.TOOLS.mupdf_display_errors(False)
        pymupdf.TOOLS.mupdf_display_warnings(False)
    return sys.modules["pymupdf"]


def _opened(path: Path, password: str | None) -> Any:
    pymupdf = library()
    page_frame.require_pdf(path)
    with _translated(path):
        document = pymupdf.open(path, filetype="pdf")
        if not document.is_pdf:  # older versions go by the content, whatever `filetype` says
            raise page_frame.not_a_pdf(path)
        if document.needs_pass and not document.authenticate(password or ""):
            raise page_frame.password_error(path, password)
        if len(document) == 0:
            raise page_frame.zero_pages(path)
    return document


@contextlib.contextmanager
def _translated(path: Path, page_number: int | None = None) -> Iterator[None]:
    """MuPDF's errors as ours. Its binding raises almost every built-in type on odd files."""
    try:
        yield
    except DocumentError:
        raise
    except Exception as error:  # MuPDF raises many kinds of its own
        if isinstance(error, MemoryError) or "alloc" in str(error):
            raise page_frame.out_of_memory(path) from error
        reason = (str(error).splitlines() or [""])[0][:200] or type(error).__name__
        if page_number is None:
            raise page_frame.damaged(path, reason.replace(str(path), path.name)) from error
        raise page_frame.page_failed(path, page_number, reason) from error


def _outline(document: Any) -> tuple[OutlineEntry, ...] | None:
    """None where MuPDF fails on the bookmarks, which a document can be read without."""

    def told(bookmark: Any) -> tuple[str, int | None]:
        title = str(bookmark.title or "")
        if bookmark.is_external or not bookmark.uri:
            return title, None
        if bookmark.page >= 0:
            return title, bookmark.page + 1
        return title, int(document.resolve_link(bookmark.uri)[0]) + 1  # a destination with a name

    try:
        first = document.outline
        return read_outline(
            first if first is not None and first.this.m_internal else None,
            child=lambda bookmark: bookmark.down,
            sibling=lambda bookmark: bookmark.next,
            identity=lambda bookmark: bookmark.this.m_internal_value(),
            told=told,
            n_pages=len(document),
        )
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - MuPDF raises many kinds of its own; the ingest tells of it
        return None


def _turned(boxes: npt.NDArray[np.float64], matrix: Any) -> FloatArray:
    """(n, 4) boxes of the page before /Rotate, in the frame after it."""
    turn = np.array([[matrix.a, matrix.b], [matrix.c, matrix.d]])
    corners = boxes.reshape(-1, 2, 2) @ turn + np.array([matrix.e, matrix.f])  # (n, 2, 2)
    return np.hstack([corners.min(axis=1), corners.max(axis=1)]).astype(np.float32)


class _Lines:
    """MuPDF's lines, joined to the lines that people see.

    MuPDF ends a line at every wide gap, so that a table's row comes as one line a cell. Lines that
    follow each other, side by side on one baseline, get one number.
    """

    def __init__(self, page: dict[str, Any]) -> None:
        self._spans: dict[tuple[int, int], list[dict[str, Any]]] = {}
        self._numbers: dict[tuple[int, int], int] = {}
        number, before = -1, None
        for block in page["blocks"]:
            for index, line in enumerate(block.get("lines", ())):
                if before is None or not _continues(before, line):
                    number += 1
                before = line
                self._spans[block["number"], index] = line["spans"]
                self._numbers[block["number"], index] = number

    def at(self, key: tuple[int, int], x: float, y: float) -> tuple[int, dict[str, Any] | None]:
        """Number of the line (block, line), and its font run at a point, or its first."""
        spans = self._spans.get(key, [])
        for span in spans if len(spans) > 1 else ():
            x0, y0, x1, y1 = span["bbox"]
            if x0 <= x <= x1 and y0 <= y <= y1:
                return self._numbers[key], span
        return self._numbers.get(key, 0), spans[0] if spans else None


def _continues(before: dict[str, Any], line: dict[str, Any]) -> bool:
    """Whether a line starts right of where another ends, with half of their heights in common."""
    if before["dir"] != line["dir"]:
        return False
    start, end = _along_and_across(before)
    next_start, next_end = _along_and_across(line)
    common = min(end[1], next_end[1]) - max(start[1], next_start[1])
    lower = min(end[1] - start[1], next_end[1] - next_start[1])
    return next_start[0] >= end[0] - 1.0 and common > 0.5 * lower


def _along_and_across(line: dict[str, Any]) -> tuple[tuple[float, float], tuple[float, float]]:
    """A line's box as (least, greatest), each (along, across) its direction of writing."""
    x0, y0, x1, y1 = line["bbox"]
    dx, dy = line["dir"]
    along = (x0 * dx + y0 * dy, x1 * dx + y1 * dy)
    across = (y0 * dx - x0 * dy, y1 * dx - x1 * dy)
    return (min(along), min(across)), (max(along), max(across))
