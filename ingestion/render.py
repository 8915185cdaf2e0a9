"""Step 2 of the write path: a file becomes pages, or reasons why not, in their order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ingestion.source import SourceFile
from rag.errors import DocumentError
from rag.ports import PdfInfo, ScannedPage
from rag.renderers.isolated import IsolatedReader, PageFailure


@dataclass(frozen=True)
class DocumentReading:
    """A file that could be opened, and its pages as they are read.

    Attributes:
        pages: one outcome for every page asked for, in that order; can be gone through once.
    """

    info: PdfInfo
    pages: Iterator[ScannedPage | PageFailure]


def read_document(
    reader: IsolatedReader,
    file: SourceFile,
    *,
    max_pages: int,
    password: str | None = None,
    page_numbers: Iterable[int] | None = None,
    want_image: bool = False,
) -> DocumentReading:
    """Open a file and read its pages while they are asked for.

    Args:
        reader: whose processes do it.
        file: from discover.
        max_pages: of the whole file, whichever are read.
        password: of the file.
        page_numbers: None is all.
        want_image: whether pages carry pixels.

    Raises:
        DocumentError: the file cannot be opened, or has `too_many_pages`.
    """
    info = reader.open(file.path, password=password)
    if info.n_pages > max_pages:
        raise DocumentError(
            f"{file.source} has {info.n_pages:,} pages; at most {max_pages:,} are read",
            code="too_many_pages",
            next_step="Raise render.max_pages, or split the file.",
        )
    numbers = range(1, info.n_pages + 1) if page_numbers is None else page_numbers
    pages = reader.scan(file.path, numbers, password=password, want_image=want_image)
    return DocumentReading(info, pages)
