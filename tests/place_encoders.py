"""Vision encoders without a model: they see in which of sixteen columns a page has ink.

"place 3" in a question is the third column; other words are nothing to them. A page without ink has
no vectors.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

import numpy as np
from PIL import Image

from rag.geometry import Box, FloatArray
from rag.ports import EncodedPage, EncodedQuery, EncoderIdentity, PageInput
from rag.settings import EncoderSettings
from rag.testing import PdfPage
from rag.types import MultiVector, VectorKind

N_PLACES = 16


def marked_page(*places: int) -> PdfPage:
    """A page without words, with a bar in each of these columns, counted from 1."""
    width_pt = PdfPage().width_pt / N_PLACES
    return PdfPage(
        marks=[Box((place - 1) * width_pt, 100, place * width_pt, 600) for place in places]
    )


class PlaceEncoder:
    """A vector a column with ink."""

    wants_image = True
    identity = EncoderIdentity("places", "1", N_PLACES, N_PLACES)

    def encode_pages(self, pages: Sequence[PageInput]) -> list[EncodedPage]:
        return [self._encoded(page) for page in pages]

    def encode_query(self, text: str, *, image: Image.Image | None = None) -> EncodedQuery:
        places = [int(number) - 1 for number in re.findall(r"place (\d+)", text)]
        rows = np.eye(N_PLACES, dtype=np.float32)[places or [N_PLACES - 1]]
        return EncodedQuery(MultiVector(self._rows(rows)), _unit(rows.sum(axis=0)))

    def close(self) -> None: ...

    def _rows(self, rows: FloatArray) -> FloatArray:
        return rows

    def _encoded(self, page: PageInput) -> EncodedPage:
        assert page.image is not None
        grey = page.image.image.convert("L").resize((N_PLACES, 1), Image.Resampling.BOX)
        inked = np.flatnonzero(np.asarray(grey, np.float32).reshape(-1) < 230)
        nothing = MultiVector(np.zeros((0, N_PLACES), np.float32), np.zeros((0, 4), np.float32))
        rows = np.eye(N_PLACES, dtype=np.float32)[inked]
        if not len(rows):
            return EncodedPage(nothing, None, rows, nothing)
        kept = self._rows(rows)
        boxes = np.tile(np.float32([0, 0, page.width_pt, page.height_pt]), (len(kept), 1))
        kinds = np.full(len(kept), VectorKind.PATCH, np.uint8)
        dense = _unit(rows.sum(axis=0))[None]
        return EncodedPage(MultiVector(kept, boxes, kinds), None, dense, nothing)


class PlaceVectorEncoder(PlaceEncoder):
    """One vector for all columns with ink."""

    identity = EncoderIdentity("place-vectors", "1", N_PLACES, N_PLACES)

    def _rows(self, rows: FloatArray) -> FloatArray:
        return _unit(rows.sum(axis=0))[None]


class SlowPlaceEncoder(PlaceEncoder):
    """Takes its time over questions, for tests that end it in the middle."""

    def encode_query(self, text: str, *, image: Image.Image | None = None) -> EncodedQuery:
        time.sleep(0.4)
        return super().encode_query(text, image=image)


def slow_places(_settings: EncoderSettings) -> PlaceEncoder:
    return SlowPlaceEncoder()


def places(_settings: EncoderSettings) -> PlaceEncoder:
    return PlaceEncoder()


def place_vectors(_settings: EncoderSettings) -> PlaceEncoder:
    return PlaceVectorEncoder()


def _unit(vector: FloatArray) -> FloatArray:
    unit: FloatArray = (vector / np.linalg.norm(vector)).astype(np.float32)
    return unit
