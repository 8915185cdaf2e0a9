"""What the index holds of pages that an encoder was given the very same for as for another page.

A principal gets vectors of documents that it may read alone: who else holds a page would show in
how many were not encoded again.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass
from itertools import islice

from rag.geometry import FloatArray
from rag.index.digest import vectors_digest
from rag.manifest import EqualPage, Manifest, TextRow
from rag.page_text import VectorWords
from rag.ports import PageIndex
from rag.types import PageField, PageRecord, Principal, SparseVector
from rag.vector_boxes import VectorBoxes

_log = logging.getLogger(__name__)

# What is a function of the encoder's input alone; words also hang on the document around them.
_ENCODED = (
    PageField.PATCHES,
    PageField.FDE,
    PageField.DENSE,
    PageField.HEADINGS,
    PageField.CAPTIONS,
)
_RECORDS_AT_ONCE = 8  # a store hands vectors out as lists of floats, ten times their size


@dataclass(frozen=True, eq=False)
class HeldVectors:
    """What an encoder made of a page, as it is stored: pooled, cut to fit, rounded to float16.

    Attributes:
        fields: `patches`, `fde`, `dense`, `headings` and `captions`, those the page has.
        words, boxes: the words or the places that its `patches` stand for.
    """

    fields: dict[PageField, FloatArray]
    words: VectorWords | None
    boxes: VectorBoxes | None


class EqualPages:
    """Vectors of live pages of one collection that a principal may have."""

    def __init__(
        self, manifest: Manifest, index: PageIndex, *, collection: str, principal: Principal
    ) -> None:
        self._manifest = manifest
        self._index = index
        self._collection = collection
        self._principal = principal

    def vectors(self, input_digests: Collection[str]) -> dict[str, HeldVectors]:
        """By digest of what the encoder was given; absent where no live page has it.

        A page whose version is replaced and deleted meanwhile is absent too, and one whose vectors
        are not those that were stored.
        """
        equal = self._manifest.equal_pages(self._collection, set(input_digests), self._may_use)
        found: dict[str, HeldVectors] = {}
        waiting = iter(equal.items())
        while some := dict(islice(waiting, _RECORDS_AT_ONCE)):
            rows = {digest: self._row(page) for digest, page in some.items()}
            records = {
                record.record_id: record
                for record in self._index.records([page.record_id for page in some.values()])
            }
            for digest, page in some.items():
                row, record = rows[digest], records.get(page.record_id)
                if row is not None and record is not None:
                    held = self._held(page, row, record)
                    if held is not None:
                        found[digest] = held
        return found

    def _row(self, page: EqualPage) -> TextRow | None:
        return self._manifest.texts(page.version_id, [page.page_number]).get(page.page_number)

    def _held(self, page: EqualPage, row: TextRow, record: PageRecord) -> HeldVectors | None:
        if page.vectors_digest not in (None, vectors_digest(record)):
            _log.warning("page %d of version %s is damaged", page.page_number, page.version_id)
            return None
        fields: dict[PageField, FloatArray] = {}
        for name in _ENCODED:
            vectors = record.vectors.get(name)
            if vectors is not None:
                assert not isinstance(vectors, SparseVector)
                fields[name] = vectors
        return HeldVectors(fields, row.vector_words, row.vector_boxes)

    def _may_use(self, page: EqualPage) -> bool:
        return (
            self._principal.is_owner
            or page.ingested_by == self._principal.subject
            or not set(page.readers).isdisjoint(self._principal.readers)
        )
