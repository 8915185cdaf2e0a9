"""From a model's rows to pages and questions, the same for every encoder that reads images."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from rag.errors import InputError
from rag.geometry import FloatArray
from rag.ports import EncodedPage, EncodedQuery, PageInput
from rag.types import MultiVector, VectorKind

_VANISHING = 1e-6


def image_of(page: PageInput) -> Image.Image:
    assert page.image is not None, "wants_image"
    return page.image.image


def encoded_page(patches: MultiVector) -> EncodedPage:
    """The dense vector is the mean of the PATCH rows; of all rows where none has a place."""
    return EncodedPage(
        patches=patches,
        patch_words=None,
        dense=unit_mean(only_patches(patches).vectors)[None],
        headings=MultiVector(np.zeros((0, patches.dim), np.float32), np.zeros((0, 4), np.float32)),
    )


def encoded_query(tokens: MultiVector, labels: tuple[str, ...] = ()) -> EncodedQuery:
    return EncodedQuery(tokens, unit_mean(tokens.vectors), labels)


def joined_query(text: EncodedQuery, image: MultiVector) -> EncodedQuery:
    """Rows of a text, then rows of an image, for models that do not read both as one.

    MaxSim adds up over rows, so a page's score is the sum of both scores. Rows of the text have no
    place in the image; rows of the image have no label.
    """
    assert image.boxes is not None
    assert image.kinds is not None
    n_text = len(text.tokens)
    tokens = MultiVector(
        np.concatenate([text.tokens.vectors, image.vectors]),
        np.concatenate([np.zeros((n_text, 4), np.float32), image.boxes]),
        np.concatenate([np.full(n_text, VectorKind.SPECIAL, np.uint8), image.kinds]),
    )
    return encoded_query(tokens, (*text.labels, *[""] * len(image)) if text.labels else ())


def only_patches(rows: MultiVector) -> MultiVector:
    """The PATCH rows; all rows where none has a place."""
    assert rows.boxes is not None
    assert rows.kinds is not None
    is_patch = rows.kinds == VectorKind.PATCH
    if not is_patch.any():
        return rows
    return MultiVector(rows.vectors[is_patch], rows.boxes[is_patch], rows.kinds[is_patch])


def unit_mean(vectors: FloatArray) -> FloatArray:
    """(dim,) of (n, dim); the first row where opposite rows leave nothing."""
    mean = vectors.mean(axis=0, dtype=np.float64)
    length = np.linalg.norm(mean)
    unit: FloatArray = (vectors[0] if length < _VANISHING else mean / length).astype(np.float32)
    return unit


def require_question(text: str, image: Image.Image | None) -> None:
    """Raises InputError `empty_query` where there is nothing to look for."""
    if not text and image is None:
        raise InputError(
            "the question is empty", code="empty_query", next_step="Ask in words or by image."
        )


def without_markup(text: str, tokenizer: Any) -> str:
    """Markup of the model's own input; written by a user it is text like any other."""
    for token in tokenizer.get_added_vocab():
        if token.strip() and token in text:
            text = text.replace(token, f"{token[0]} {token[1:]}")
    return text
