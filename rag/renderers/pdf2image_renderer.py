"""Pages read with poppler, through pdf2image: slow, and a third opinion on odd files.

Every call starts a program. A password is handed to it on its command line: poppler knows no other
way, so other users of the machine can see it while a page is read.
"""

from __future__ import annotations

import contextlib
import html
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rag.errors import DocumentError
from rag.language.direction import read_from_the_right
from rag.page_text import PageText
from rag.ports import PdfInfo
from rag.renderers import page_frame
from rag.types import RenderedPage

_PAGE_SIZE = re.compile(r"([\d.]+) x ([\d.]+) pts")
# Not an XML parser: words in what `pdftotext -bbox-layout` prints may hold control characters.
_LINE_OR_WORD = re.compile(
    r"<line |"
    r'<word xMin="([-\d.]+)" yMin="([-\d.]+)" xMax="([-\d.]+)" yMax="([-\d.]+)">(.*?)</word>',
    re.DOTALL,
)


class Pdf2imageRenderer:
    """PageRenderer over poppler's programs; font sizes and boldness stay unknown.

    Args:
        timeout_s: one program may run so long.
    """

    name = "pdf2image"

    def __init__(self, *, timeout_s: int = 20) -> None:
        self._timeout_s = timeout_s
        self._sized: tuple[page_frame.FileKey, int] | None = None  # the page asked for last
        self._size_pt = (0.0, 0.0)

    def open(self, path: Path, *, password: str | None = None) -> PdfInfo:
        page_frame.require_pdf(path)
        with _translated(path, password):
            info = self._info(path, password)
        if info["Pages"] == 0:
            raise page_frame.zero_pages(path)
        return PdfInfo(n_pages=info["Pages"], title=str(info.get("Title", "")))

    def words(self, path: Path, page_number: int, *, password: str | None = None) -> PageText:
        program = shutil.which("pdftotext")
        if program is None:
            return PageText.empty()
        width_pt, height_pt = self._page_size(path, page_number, password)
        command = [program, "-bbox-layout", "-cropbox", "-q", "-enc", "UTF-8"]
        command += ["-f", str(page_number), "-l", str(page_number)]
        command += ["-upw", password] if password else []
        with _translated(path, password, page_number):
            done = subprocess.run(
                [*command, str(path.absolute()), "-"],
                capture_output=True,
                check=True,
                timeout=self._timeout_s,
            )
        columns = page_frame.WordColumns()
        boxes: list[list[float]] = []
        line = -1
        for found in _LINE_OR_WORD.finditer(done.stdout.decode("utf-8", "replace")):
            if found[5] is None:
                line += 1
            else:
                boxes.append([float(found[group]) for group in range(1, 5)])
                # With boxes, poppler gives each word from its left, whichever way it is read.
                word = read_from_the_right(html.unescape(found[5]))
                columns.add(word, line=max(line, 0), size_pt=0.0, bold=False)
        return columns.page_text(
            np.array(boxes, np.float32).reshape(-1, 4), width_pt=width_pt, height_pt=height_pt
        )

    def render(
        self, path: Path, page_number: int, *, dpi: float, max_px: int, password: str | None = None
    ) -> RenderedPage:
        import pdf2image

        width_pt, height_pt = self._page_size(path, page_number, password)
        scale = page_frame.px_per_pt(width_pt, height_pt, dpi=dpi, max_px=max_px)
        with _translated(path, password, page_number):
            images: list[Image.Image] = pdf2image.convert_from_path(
                path.absolute(),
                dpi=scale * 72.0,
                first_page=page_number,
                last_page=page_number,
                use_cropbox=True,
                userpw=password,
                timeout=self._timeout_s,
            )
        if not images:
            raise page_frame.page_failed(path, page_number, "poppler gives no image")
        return RenderedPage(images[0].convert("RGB"), width_pt, height_pt)

    def _info(
        self, path: Path, password: str | None, page_number: int | None = None
    ) -> dict[str, Any]:
        import pdf2image

        info: dict[str, Any] = pdf2image.pdfinfo_from_path(
            str(path.absolute()),
            userpw=password,
            timeout=self._timeout_s,
            first_page=page_number,
            last_page=page_number,
        )
        return info

    def _page_size(self, path: Path, page_number: int, password: str | None) -> tuple[float, float]:
        """(width, height) in points of the crop box, after /Rotate."""
        page = (page_frame.FileKey.of(path, password), page_number)
        if page != self._sized:
            self._size_pt = self._page_size_told(path, page_number, password)
            self._sized = page
        return self._size_pt

    def _page_size_told(
        self, path: Path, page_number: int, password: str | None
    ) -> tuple[float, float]:
        page_frame.require_pdf(path)
        with _translated(path, password, page_number):
            info = self._info(path, password, page_number)
        if not 1 <= page_number <= info["Pages"]:
            raise page_frame.page_failed(path, page_number, f"it has {info['Pages']} pages")
        size = _PAGE_SIZE.match(str(info.get(f"Page {page_number:4d} size", "")))
        if size is None or min(float(size[1]), float(size[2])) <= 0:
            raise page_frame.page_failed(path, page_number, "it has no area")
        width_pt, height_pt = float(size[1]), float(size[2])
        is_turned = int(info.get(f"Page {page_number:4d} rot", 0)) % 180 == 90
        return (height_pt, width_pt) if is_turned else (width_pt, height_pt)


@contextlib.contextmanager
def _translated(path: Path, password: str | None, page_number: int | None = None) -> Iterator[None]:
    from pdf2image import exceptions

    try:
        yield
    except (exceptions.PDFPopplerTimeoutError, subprocess.TimeoutExpired) as error:
        raise DocumentError(
            f"poppler did not finish reading {path.name} in time", code="render_timeout"
        ) from error
    except (
        exceptions.PDFPageCountError,
        exceptions.PDFSyntaxError,
        subprocess.CalledProcessError,
        OSError,  # no image in what poppler printed
    ) as error:
        if "Incorrect password" in str(error):
            raise page_frame.password_error(path, password) from error
        reason = str(error).strip().splitlines()[-1][:200] if str(error).strip() else "no reason"
        if page_number is None:
            raise page_frame.damaged(path, reason) from error
        raise page_frame.page_failed(path, page_number, reason) from error
