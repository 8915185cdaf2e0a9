"""What all readers share: the header check, the size of a rendering, words put into the page frame.

Readers differ in what they return; what leaves here is the same for all of them.
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rag.errors import DocumentError
from rag.geometry import FloatArray
from rag.page_text import PageText

_HEADER_BYTES = 1024  # leading junk that Acrobat forgives (PDF 32000-1, annex H, note 13)
# Controls, lone surrogates, soft hyphen, zero-width and direction marks, not-a-character. The
# joiners U+200C and U+200D stay: they are spelling in Persian and Indic scripts.
_INVISIBLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\uffff"
    "\ud800-\udfff]"
)
_LIGATURES = str.maketrans(
    {
        "\ufb00": "ff",
        "\ufb01": "fi",
        "\ufb02": "fl",
        "\ufb03": "ffi",
        "\ufb04": "ffl",
        "\ufb05": "st",
        "\ufb06": "st",
    }
)


def require_pdf(path: Path) -> None:
    """Look for the PDF header ourselves: MuPDF opens HTML, SVG and PNG even when told "PDF".

    Raises:
        DocumentError: `not_a_pdf`, or `unreadable` where the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEADER_BYTES)
    except OSError as error:
        raise unreadable(path, error) from error
    # The dash after %PDF is not asked for: damaged headers are mended by the readers.
    if b"%PDF" not in head:
        raise not_a_pdf(path)


def not_a_pdf(path: Path) -> DocumentError:
    return DocumentError(
        f"{path.name} does not start like a PDF",
        code="not_a_pdf",
        next_step="Check that the file is what its name says.",
    )


def unreadable(path: Path, error: OSError) -> DocumentError:
    return DocumentError(
        f"{path.name} cannot be read: {error.strerror or type(error).__name__}",
        code="unreadable",
        next_step="Check that the file is there and its permissions.",
    )


def password_error(path: Path, password: str | None) -> DocumentError:
    if password:
        return DocumentError(
            f"the password given does not open {path.name}",
            code="wrong_password",
            next_step="Check the password; upper and lower case differ.",
        )
    return DocumentError(
        f"{path.name} asks for a password",
        code="password_required",
        next_step="Give it with --password-file.",
    )


def zero_pages(path: Path) -> DocumentError:
    return DocumentError(
        f"no page was found in {path.name}",
        code="zero_pages",
        next_step="The file is empty or damaged; export it anew.",
    )


def damaged(path: Path, reason: str) -> DocumentError:
    return DocumentError(
        f"{path.name} is damaged: {reason}",
        code="damaged",
        next_step="Open it in a PDF viewer and save it anew.",
    )


def page_failed(path: Path, page_number: int, reason: str) -> DocumentError:
    return DocumentError(
        f"page {page_number} of {path.name} cannot be read: {reason}", code="render_failed"
    )


def out_of_memory(path: Path) -> DocumentError:
    return DocumentError(
        f"{path.name} takes more memory than a reading process may have",
        code="out_of_memory",
        next_step="Raise render.worker_memory_bytes.",
    )


@dataclass(frozen=True)
class FileKey:
    """What a cached open document was opened from; a changed file is another key."""

    path: Path
    password: str | None
    size_bytes: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path, password: str | None) -> FileKey:
        try:
            found = os.stat(path)
        except OSError as error:
            raise unreadable(path, error) from error
        return cls(path, password, found.st_size, found.st_mtime_ns)


def px_per_pt(width_pt: float, height_pt: float, *, dpi: float, max_px: int) -> float:
    """The scale of a rendering: `dpi`, or less where more than `max_px` pixels would come out.

    Holds for sides rounded up to whole pixels, as the readers round them.
    """
    # A hair less: 792 pt at 150 dpi are 1650.0000000000002 px in floats, and would become 1651.
    scale = min(dpi / 72.0 * (1.0 - 1e-9), max_px / width_pt, max_px / height_pt)

    def n_px(scale: float) -> int:
        return math.ceil(width_pt * scale) * math.ceil(height_pt * scale)

    if n_px(scale) <= max_px:
        return scale
    scale = min(scale, math.sqrt(max_px / (width_pt * height_pt)))
    while n_px(scale) > max_px:
        scale *= 0.995
    return scale


@dataclass
class WordColumns:
    """Words as a reader finds them, in reading order; `page_text` makes them clean."""

    words: list[str] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    sizes_pt: list[float] = field(default_factory=list)
    bold: list[bool] = field(default_factory=list)

    def add(self, word: str, *, line: int, size_pt: float, bold: bool) -> None:
        self.words.append(word)
        self.lines.append(line)
        self.sizes_pt.append(size_pt)
        self.bold.append(bold)

    def page_text(self, boxes: FloatArray, *, width_pt: float, height_pt: float) -> PageText:
        """Without invisible characters, boxes clipped to the page, words off the page left out.

        Args:
            boxes: (n_words, 4) in the frame of the page.
            width_pt: of the page.
            height_pt: of the page.
        """
        if not self.words:
            return PageText.empty()
        words = [clean_word(word) for word in self.words]
        page = np.array([width_pt, height_pt, width_pt, height_pt], np.float32)
        clipped = np.clip(boxes.astype(np.float32), 0.0, page)
        shows = np.isfinite(clipped).all(axis=1)
        shows &= (clipped[:, 0] < clipped[:, 2]) & (clipped[:, 1] < clipped[:, 3])
        shows &= np.array([bool(word) for word in words])
        kept = np.flatnonzero(shows)
        return PageText(
            tuple(words[index] for index in kept),
            clipped[kept],
            np.asarray(self.lines, np.int32)[kept],
            np.asarray(self.sizes_pt, np.float32)[kept],
            np.asarray(self.bold, np.bool_)[kept],
        )


def clean_word(word: str) -> str:
    """Without invisible characters, and ligatures as the letters they stand for."""
    if word.isascii() and word.isprintable():
        return word
    return _INVISIBLE.sub("", word).translate(_LIGATURES).strip()
