"""Step 4: pages to records: encoded, FDE made, words weighted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ingestion.text import lexical_fields
from rag.geometry import FloatArray
from rag.manifest import page_record_id
from rag.ports import PageEncoder, PageInput, ScannedPage
from rag.scoring.fde import FdeEncoder
from rag.types import PageField, PageRecord, PageRef, SparseVector


@dataclass(frozen=True, eq=False)
class EmbeddedPage:
    """A page ready to be stored; `record` is None where nothing of it can be found (no ink)."""

    page: ScannedPage
    record: PageRecord | None
    vector_words: npt.NDArray[np.int32] | None


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
        fdes = iter(
            self._fde.encode_pages([page.patches.vectors for page in encoded if len(page.patches)])
        )
        made: dict[int, EmbeddedPage] = {}
        for page, vectors in zip(inked, encoded, strict=True):
            fields: dict[PageField, FloatArray | SparseVector] = {**lexical_fields(page.text)}
            if len(vectors.patches):
                fields[PageField.PATCHES] = vectors.patches.vectors
                fields[PageField.FDE] = next(fdes)
            if len(vectors.dense):
                fields[PageField.DENSE] = vectors.dense
            if len(vectors.headings):
                fields[PageField.HEADINGS] = vectors.headings.vectors
            made[page.page_number] = EmbeddedPage(
                page=page,
                record=PageRecord(page_record_id(version_id, page.page_number), fields, {}),
                vector_words=vectors.patch_words,
            )
        return [made.get(page.page_number) or EmbeddedPage(page, None, None) for page in pages]
