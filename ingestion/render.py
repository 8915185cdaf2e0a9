"""Step 2 of the write path: a file becomes pages, or reasons why not, batch by batch."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rag.errors import DocumentError
from rag.ports import PdfInfo, ScannedPage
from rag.renderers.isolated import IsolatedReader, PageFailure

_MOST_BYTES = 128_000_000  # of pixels in a batch; several batches are in memory at a time


@dataclass(frozen=True, eq=False)
class PageBatch:
    """Some pages of a document as they were read; every page asked for is in one of the two."""

    read: list[ScannedPage]
    failures: list[PageFailure]

    def __len__(self) -> int:
        return len(self.read) + len(self.failures)


def open_document(
    reader: IsolatedReader,
    path: Path,
    *,
    max_pages: int,
    password: str | None = None,
    sha256: str | None = None,
    again: bool = False,
) -> PdfInfo:
    """What a file is, where it is within the limits.

    Args:
        reader: opens it.
        path: of the file.
        max_pages: of a file that is read.
        password: of the file.
        sha256: of its bytes; None asks nobody whether it is quarantined.
        again: try it whatever it did before.

    Raises:
        DocumentError: it cannot be opened, has `too_many_pages`, or is `quarantined`.
    """
    info = reader.open(path, password=password, sha256=sha256, again=again)
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
    kept_as: str | None = None,
    stopping: threading.Event | None = None,
) -> Iterator[PageBatch]:
    """Pages in the order asked for; later ones are read meanwhile.

    A batch has `batch_pages` pages, or fewer where their pixels are many. When `stopping` is set
    the rest is not read. `kept_as` is the SHA-256 of the file, where it is kept.
    """
    outcomes = reader.scan(
        path,
        page_numbers,
        password=password,
        want_image=want_image,
        kept_as=kept_as,
        stopping=stopping,
    )
    batch = PageBatch([], [])
    size_bytes = 0
    for outcome in outcomes:
        if isinstance(outcome, PageFailure):
            batch.failures.append(outcome)
        else:
            batch.read.append(outcome)
            size_bytes += _pixel_bytes(outcome)
        if len(batch) >= batch_pages or size_bytes >= _MOST_BYTES:
            yield batch
            del batch, outcome  # pixels of pages that are done with
            batch = PageBatch([], [])
            size_bytes = 0
    if len(batch):
        yield batch


def _pixel_bytes(page: ScannedPage) -> int:
    if page.image is None:
        return 0
    image = page.image.image
    return image.width * image.height * len(image.getbands())
