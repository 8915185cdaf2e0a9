"""Pages that are not encoded again: those whose encoder would be given what it was given before.

A digest of all that an encoder is given decides, not the content hash: that one sees the page in 40
dots an inch, where a digit of a scan may have changed without a trace.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from rag.index.contract import MAX_MULTI_VECTOR_FLOATS
from rag.page_text import PageText
from rag.ports import ScannedPage
from rag.repository import CollectionWriter, HeldVectors
from rag.types import PageField

_VERSION = b"input-1"


def input_digest(page: ScannedPage) -> str:
    """SHA-256 over page size, words with all that is known of them, pixels and description.

    Equal digests, equal vectors: the collection's identity holds encoder and pooling fast.
    """
    digest = hashlib.sha256(_VERSION)
    digest.update(f"{page.width_pt!r} {page.height_pt!r} {page.has_ink}\0".encode())
    _add_text(digest, page.text)
    if page.image is not None:
        image = page.image.image
        digest.update(f"\0{image.mode} {image.size} {page.image.width_pt!r}\0".encode())
        digest.update(image.tobytes())
    if page.caption is not None:
        digest.update(b"\0" + json.dumps(page.caption["description"], sort_keys=True).encode())
    return digest.hexdigest()


def _add_text(digest: hashlib._Hash, text: PageText) -> None:
    words = json.dumps(text.words).encode()
    digest.update(len(words).to_bytes(8, "little") + words)
    for column in (text.boxes, text.lines, text.sizes_pt, text.bold, text.confidences):
        if column is not None:
            digest.update(column.dtype.str.encode() + column.tobytes())


class PageReuse:
    """Finds vectors for pages in what the collection holds."""

    def __init__(self, writer: CollectionWriter) -> None:
        self._writer = writer

    def held(self, pages: Sequence[ScannedPage], digests: dict[int, str]) -> dict[int, HeldVectors]:
        """Vectors by page number, of the pages that need not be encoded.

        Args:
            pages: of one version.
            digests: by page number, as `input_digest` makes them.
        """
        wanted = {digests[page.page_number] for page in pages if is_encoded(page)}
        found = self._writer.equal_pages.vectors(wanted)
        return {
            page.page_number: held
            for page in pages
            if (held := found.get(digests[page.page_number])) is not None and not _is_full(held)
        }


def is_encoded(page: ScannedPage) -> bool:
    """Whether there is anything on the page that an encoder could see."""
    return page.has_ink or len(page.text) > 0


def _is_full(held: HeldVectors) -> bool:
    """Whether a page fills its record: its encoder alone can say what was left out of it."""
    patches = held.fields.get(PageField.PATCHES)
    return patches is not None and len(patches) >= MAX_MULTI_VECTOR_FLOATS // patches.shape[1]
