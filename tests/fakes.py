"""Encoders without a model that tests of everything around an encoder use."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from PIL import Image

from rag.errors import InputError
from rag.geometry import FloatArray
from rag.ports import EncodedPage, EncodedQuery, EncoderIdentity, PageInput
from rag.types import MultiVector, VectorKind

DIM = 32
CELL_PT = 60.0
_MIX = np.random.default_rng(7).standard_normal((3, DIM)).astype(np.float32)
_BLACK = frozenset({"black", "block"})


def unit(rows: FloatArray) -> FloatArray:
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def grid_boxes(width_pt: float, height_pt: float, n_columns: int, n_rows: int) -> FloatArray:
    """(n_rows * n_columns, 4) equal cells, row by row."""
    x, y = np.linspace(0, width_pt, n_columns + 1), np.linspace(0, height_pt, n_rows + 1)
    return np.array(
        [
            [x[column], y[row], x[column + 1], y[row + 1]]
            for row in range(n_rows)
            for column in range(n_columns)
        ],
        np.float32,
    )


class GridEncoder:
    """A vision encoder that sees how dark each cell of a page is, and after a special token.

    "black" and "block" are the vector of a cell that is all black; other words are nowhere.
    """

    wants_image = True
    identity = EncoderIdentity("grid", "1", DIM, DIM)

    def encode_pages(self, pages: Sequence[PageInput]) -> list[EncodedPage]:
        return [self._encoded(page) for page in pages]

    def encode_query(self, text: str, *, image: Image.Image | None = None) -> EncodedQuery:
        words = text.lower().split()
        if image is not None or not words:
            raise InputError("words, please", code="query_not_supported")
        rows = np.stack([_seen(np.ones(1))[0] if w in _BLACK else _hashed(w) for w in words])
        labels = tuple(word if not place else f"Ġ{word}" for place, word in enumerate(words))
        return EncodedQuery(MultiVector(rows), unit(rows.mean(axis=0)), labels)

    def close(self) -> None: ...

    def _encoded(self, page: PageInput) -> EncodedPage:
        assert page.image is not None
        n_columns, n_rows = round(page.width_pt / CELL_PT), round(page.height_pt / CELL_PT)
        grey = page.image.image.convert("L").resize((n_columns, n_rows), Image.Resampling.BOX)
        patches = _seen(1 - np.asarray(grey, np.float32).reshape(-1) / 255)
        boxes = grid_boxes(page.width_pt, page.height_pt, n_columns, n_rows)
        kinds = np.full(1 + len(patches), VectorKind.PATCH, np.uint8)
        kinds[0] = VectorKind.SPECIAL
        return EncodedPage(
            patches=MultiVector(
                np.vstack([_hashed("<bos>")[None], patches]),
                np.vstack([np.zeros((1, 4), np.float32), boxes]),
                kinds,
            ),
            patch_words=None,
            dense=unit(patches.mean(axis=0, keepdims=True)),
            headings=MultiVector(np.zeros((0, DIM), np.float32)),
        )


class PageVectorEncoder(GridEncoder):
    """A single-vector model: one vector for the whole page, one for the whole query."""

    identity = EncoderIdentity("single", "1", DIM, DIM)

    def encode_query(self, text: str, *, image: Image.Image | None = None) -> EncodedQuery:
        found = super().encode_query(text, image=image)
        return EncodedQuery(MultiVector(found.dense[None]), found.dense, ("query",))

    def _encoded(self, page: PageInput) -> EncodedPage:
        dense = super()._encoded(page).dense
        return EncodedPage(
            patches=MultiVector(
                dense,
                np.array([[0, 0, page.width_pt, page.height_pt]], np.float32),
                np.full(1, VectorKind.PATCH, np.uint8),
            ),
            patch_words=None,
            dense=dense,
            headings=MultiVector(np.zeros((0, DIM), np.float32)),
        )


def _seen(darkness: FloatArray) -> FloatArray:
    """(n, DIM) unit vectors of cells (n,): paper, ink, and their mixture."""
    features = np.stack([1 - darkness, darkness, 4 * darkness * (1 - darkness)], axis=1)
    return unit(features.astype(np.float32) @ _MIX)


def _hashed(word: str) -> FloatArray:
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "little")
    noise = np.random.default_rng(seed).standard_normal(DIM).astype(np.float32)
    away = np.linalg.svd(_MIX)[2][3:]  # directions that no cell has
    return unit(noise @ away.T @ away)
