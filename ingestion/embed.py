"""Step 4: pages to records: encoded, pooled, FDE made, words weighted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from ingestion.caption import caption_text, caption_words
from ingestion.context import DocumentContext
from ingestion.reuse import is_encoded
from ingestion.text import lexical_fields
from rag.errors import ConfigError, PageCrashesEncoder
from rag.geometry import FloatArray
from rag.index.contract import MAX_MULTI_VECTOR_FLOATS
from rag.manifest import page_record_id
from rag.page_text import VectorWords
from rag.ports import EncodedPage, PageEncoder, PageInput, ScannedPage
from rag.renderers.isolated import PageFailure
from rag.repository import HeldVectors
from rag.scoring.fde import FdeEncoder
from rag.scoring.pool import page_pooling
from rag.settings import PoolingSettings
from rag.types import MultiVector, PageField, PageRecord, PageRef, SparseVector
from rag.vector_boxes import VectorBoxes


@dataclass(frozen=True, eq=False)
class EncodedBatch:
    """Pages as the encoder saw them, without their pixels, or as vectors that were there already;
    None where there is nothing to see.
    """

    pages: list[tuple[ScannedPage, EncodedPage | HeldVectors | None]]
    failures: list[PageFailure]
    captions: dict[int, FloatArray] = field(default_factory=dict)  # (n_windows, dense_dim) by page
    digests: Mapping[int, str] = field(default_factory=dict)  # of the encoder's input, by page


@dataclass(frozen=True, eq=False)
class EmbeddedPage:
    """A page ready to be stored; `record` is None where nothing of it can be found (no ink).

    Attributes:
        n_left_out: vectors beyond what one record can hold, counted as the encoder made them; their
            words are found by words alone.
        vector_words, vector_boxes: the words or the places its stored vectors stand for.
        input_digest: of all that the encoder was given, where that is known.
        is_reused: its vectors were there already.
    """

    page: ScannedPage
    record: PageRecord | None
    vector_words: VectorWords | None
    vector_boxes: VectorBoxes | None = None
    n_left_out: int = 0
    input_digest: str | None = None
    is_reused: bool = False


@dataclass(frozen=True, eq=False)
class _Kept:
    """What of a page's vectors is stored, pooled where that is asked for."""

    vectors: FloatArray
    words: VectorWords | None
    boxes: VectorBoxes | None
    n_left_out: int


@dataclass(frozen=True, eq=False)
class _ToStore:
    """What is stored of a page's vectors, and where it is from."""

    vectors: HeldVectors
    n_left_out: int = 0
    is_reused: bool = False


class Embedder:
    """Makes records of pages; the encoder decides what a page's vectors are, `pooling` how many.

    Raises:
        ConfigError: a pooling that the encoder's vectors or this installation do not allow.
    """

    def __init__(
        self, encoder: PageEncoder, fde: FdeEncoder, pooling: PoolingSettings | None = None
    ) -> None:
        self._encoder = encoder
        self._fde = fde
        chosen = pooling or PoolingSettings()
        self._pool = page_pooling(chosen)
        if chosen.method in ("grid_rows", "grid_columns") and not encoder.wants_image:
            raise ConfigError(
                f"pooling.method {chosen.method} wants an encoder that cuts the page into a grid; "
                f"{encoder.identity.name} makes one vector a word",
                next_step="Choose pooling.method hierarchical, runs or carve.",
            )

    @property
    def wants_image(self) -> bool:
        return self._encoder.wants_image

    def embed(
        self, document_id: str, version_id: str, pages: Sequence[ScannedPage]
    ) -> list[EmbeddedPage]:
        """Pages in the order given, without those that the encoder fails on."""
        return self.records(version_id, self.encode(document_id, pages))

    def encode(
        self,
        document_id: str,
        pages: Sequence[ScannedPage],
        *,
        held: Mapping[int, HeldVectors] | None = None,
        digests: Mapping[int, str] | None = None,
    ) -> EncodedBatch:
        """What the encoder makes of pages with ink or words; pages that crash it fail alone.

        Args:
            document_id: of all of them.
            pages: in their order.
            held: by page number, vectors of pages that the encoder need not see.
            digests: by page number, of what the encoder is given.
        """
        there = held or {}
        failures: list[PageFailure] = []
        while True:
            failed = {failure.page_number for failure in failures}
            left = [page for page in pages if page.page_number not in failed]
            inked = [page for page in left if is_encoded(page) and page.page_number not in there]
            try:
                vectors = (
                    self._encoder.encode_pages([_page_input(document_id, page) for page in inked])
                    if inked
                    else []
                )
            except PageCrashesEncoder as error:
                failures += [
                    PageFailure(number, error.code, error.message) for number in error.page_numbers
                ]
                continue
            seen: dict[int, EncodedPage | HeldVectors] = dict(there)
            seen |= {page.page_number: made for page, made in zip(inked, vectors, strict=True)}
            return EncodedBatch(
                [(replace(page, image=None), seen.get(page.page_number)) for page in left],
                failures,
                self._caption_vectors(document_id, inked),
                digests or {},
            )

    def _caption_vectors(
        self, document_id: str, pages: Sequence[ScannedPage]
    ) -> dict[int, FloatArray]:
        """Of descriptions, where the encoder reads words; one that sees pixels saw the page."""
        described = [page for page in pages if page.caption is not None]
        if self._encoder.wants_image or not described:
            return {}
        texts = [replace(page, text=caption_text(page.caption or {})) for page in described]
        encoded = self._encoder.encode_pages([_page_input(document_id, page) for page in texts])
        return {
            page.page_number: vectors.dense
            for page, vectors in zip(described, encoded, strict=True)
            if len(vectors.dense)
        }

    def records(
        self, version_id: str, batch: EncodedBatch, context: DocumentContext | None = None
    ) -> list[EmbeddedPage]:
        """In their order. A page with ink but nothing to encode still gets a record.

        Args:
            version_id: of the document.
            batch: encoded pages; of one document, page order.
            context: what the pages before it say of a page; it goes on with these.
        """
        vectors_of = self._vectors(batch)
        made: list[EmbeddedPage] = []
        for page, _ in batch.pages:
            number = page.page_number
            around = context.of(number, page.text) if context else None
            held = vectors_of.get(number)
            if held is None:
                made.append(EmbeddedPage(page, None, None))
                continue
            fields: dict[PageField, FloatArray | SparseVector] = {
                **lexical_fields(page.text, around),
                **held.vectors.fields,
            }
            if page.caption is not None and len(said := caption_words(page.caption)):
                fields[PageField.CAPTION_WORDS] = said
            made.append(
                EmbeddedPage(
                    page=page,
                    record=PageRecord(page_record_id(version_id, number), fields, {}),
                    vector_words=held.vectors.words,
                    vector_boxes=held.vectors.boxes,
                    n_left_out=held.n_left_out,
                    input_digest=batch.digests.get(number),
                    is_reused=held.is_reused,
                )
            )
        return made

    def _vectors(self, batch: EncodedBatch) -> dict[int, _ToStore]:
        """By page number; FDEs are made of all pages together."""
        made = {
            page.page_number: (encoded, self._kept(encoded))
            for page, encoded in batch.pages
            if isinstance(encoded, EncodedPage)
        }
        fdes = iter(
            self._fde.encode_pages([kept.vectors for _, kept in made.values() if len(kept.vectors)])
        )
        found = {
            page.page_number: _ToStore(held, is_reused=True)
            for page, held in batch.pages
            if isinstance(held, HeldVectors)
        }
        for number, (encoded, kept) in made.items():
            fields = {}
            if len(kept.vectors):
                fields[PageField.PATCHES] = kept.vectors
                fields[PageField.FDE] = next(fdes)
            if len(encoded.dense):
                fields[PageField.DENSE] = encoded.dense
            if len(encoded.headings):
                fields[PageField.HEADINGS] = encoded.headings.vectors
            if number in batch.captions:
                fields[PageField.CAPTIONS] = batch.captions[number]
            vectors = HeldVectors(fields, kept.words, kept.boxes)
            found[number] = _ToStore(vectors, n_left_out=kept.n_left_out)
        return found

    def _kept(self, page: EncodedPage) -> _Kept:
        # Posters and indexes have more words than a store takes vectors: the first of them count.
        vectors, words = page.patches.vectors, page.patch_words
        most = MAX_MULTI_VECTOR_FLOATS // page.patches.dim
        if self._pool is None:
            return _Kept(
                vectors[:most],
                None if words is None else VectorWords(words[:most]),
                None if words is not None else _boxes(page.patches, slice(most)),
                max(0, len(vectors) - most),
            )
        pooled = self._pool(page.patches)
        fits = pooled.cluster_of < most  # (n,)
        return _Kept(
            pooled.vectors[:most],
            None if words is None else VectorWords(words[fits], pooled.cluster_of[fits]),
            None if words is not None else _boxes(page.patches, fits, rows=pooled.cluster_of[fits]),
            int((~fits).sum()),
        )


def _page_input(document_id: str, page: ScannedPage) -> PageInput:
    return PageInput(
        ref=PageRef(document_id, page.page_number),
        width_pt=page.width_pt,
        height_pt=page.height_pt,
        text=page.text,
        image=page.image,
    )


def _boxes(
    patches: MultiVector,
    kept: slice | npt.NDArray[np.bool_],
    *,
    rows: npt.NDArray[np.int32] | None = None,
) -> VectorBoxes | None:
    if patches.boxes is None or patches.kinds is None:
        return None
    return VectorBoxes(patches.boxes[kept], patches.kinds[kept], rows)
