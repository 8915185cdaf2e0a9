"""Step 2 of the write path: a file becomes pages, or reasons why not, batch by batch."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rag.errors import DocumentError
from rag.ports import PdfInfo, ScannedPage
from rag.renderers.isolated import IsolatedReader, PageFailure


@dataclass(frozen=True, eq=False)
class PageBatch:
    """Some pages of a document as they were read; every page asked for is in one of the two."""

    read: list[ScannedPage]
    failures: list[PageFailure]

    def __len__(self) -> int:
        return len(self.read) + len(self.failures)


def open_document(
    reader: IsolatedReader, path: Path, *, max_pages: int, password: str | None = None
) -> PdfInfo:
    """What a file is, where it is within the limits.

    Raises:
        DocumentError: it cannot be opened, or has `too_many_pages`.
    """
    info = reader.open(path, password=password)
    if info.n_pages > max_pages:
        raise DocumentError(
            f"{path.name} has {info.n_pages:,} pages; at most {max_pages:,} are read",
            code="too_many_pages",
            next_step="Raise render.max_pages, or split the file.",
        )
    return info


def read_pages(
    reader: IsolatedReader,
    path: Path,
    page_numbers: Iterable[int],
    *,
    batch_pages: int,
    password: str | None = None,
    want_image: bool = False,
) -> Iterator[PageBatch]:
    """Pages in the order asked for, `batch_pages` at a time; later ones are read meanwhile."""
    outcomes = reader.scan(path, page_numbers, password=password, want_image=want_image)
    while batch := list(itertools.islice(outcomes, batch_pages)):
        yield PageBatch(
            read=[page for page in batch if isinstance(page, ScannedPage)],
            failures=[page for page in batch if isinstance(page, PageFailure)],
        )
