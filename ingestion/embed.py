"""Step 4: pages to records: encoded, FDE made, words weighted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ingestion.text import lexical_fields
from rag.geometry import FloatArray
from rag.index.contract import MAX_MULTI_VECTOR_FLOATS
from rag.manifest import page_record_id
from rag.ports import PageEncoder, PageInput, ScannedPage
from rag.scoring.fde import FdeEncoder
from rag.types import MultiVector, PageField, PageRecord, PageRef, SparseVector


@dataclass(frozen=True, eq=False)
class EmbeddedPage:
    """A page ready to be stored; `record` is None where nothing of it can be found (no ink).

    Attributes:
        n_left_out: vectors beyond what one record can hold; their words are found by words alone.
    """

    page: ScannedPage
    record: PageRecord | None
    vector_words: npt.NDArray[np.int32] | None
    n_left_out: int = 0


class Embedder:
    """Makes records of pages; the encoder decides what a page's vectors are."""

    def __init__(self, encoder: PageEncoder, fde: FdeEncoder) -> None:
        self._encoder = encoder
        self._fde = fde

    @property
    def wants_image(self) -> bool:
        return self._encoder.wants_image

    def embed(
        self, document_id: str, version_id: str, pages: Sequence[ScannedPage]
    ) -> list[EmbeddedPage]:
        """In the order given. A page with ink but nothing to encode still gets a record."""
        inked = [page for page in pages if page.has_ink or len(page.text)]
        encoded = self._encoder.encode_pages(
            [
                PageInput(
                    ref=PageRef(document_id, page.page_number),
                    width_pt=page.width_pt,
                    height_pt=page.height_pt,
                    text=page.text,
                    image=page.image,
                )
                for page in inked
            ]
        )
        # Posters and indexes have more words than a store takes vectors: the first of them count.
        kept = [page.patches.vectors[: _most_rows(page.patches)] for page in encoded]
        fdes = iter(self._fde.encode_pages([patches for patches in kept if len(patches)]))
        made: dict[int, EmbeddedPage] = {}
        for page, vectors, patches in zip(inked, encoded, kept, strict=True):
            fields: dict[PageField, FloatArray | SparseVector] = {**lexical_fields(page.text)}
            if len(patches):
                fields[PageField.PATCHES] = patches
                fields[PageField.FDE] = next(fdes)
            if len(vectors.dense):
                fields[PageField.DENSE] = vectors.dense
            if len(vectors.headings):
                fields[PageField.HEADINGS] = vectors.headings.vectors
            words = vectors.patch_words
            made[page.page_number] = EmbeddedPage(
                page=page,
                record=PageRecord(page_record_id(version_id, page.page_number), fields, {}),
                vector_words=None if words is None else words[: len(patches)],
                n_left_out=len(vectors.patches) - len(patches),
            )
        return [made.get(page.page_number) or EmbeddedPage(page, None, None) for page in pages]


def _most_rows(patches: MultiVector) -> int:
    return MAX_MULTI_VECTOR_FLOATS // patches.dim
