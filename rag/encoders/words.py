"""The embedded default: the words of a page as contextual MiniLM vectors, one a word, each boxed.

A page is read whole, in overlapping windows; the pieces of a word are averaged; function words are
left out; 384 dimensions become 128 by a fixed orthogonal map. What each choice costs was measured
on real pages: docs/adr/0006-words-encoder.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from rag.encoders.minilm import DIM as MODEL_DIM
from rag.encoders.minilm import MiniLm
from rag.encoders.weights import WEIGHTS_SHA256
from rag.errors import InputError, ModelFailed
from rag.geometry import FloatArray
from rag.page_text import PageText, heading_spans
from rag.ports import EncodedPage, EncodedQuery, EncoderIdentity, PageInput
from rag.scoring.lexical import is_content_word
from rag.scoring.maxsim import maxsim
from rag.types import MultiVector, VectorKind

DIM = 128
_WINDOW_PIECES = 254  # what the model was trained on; longer windows cost more a piece
_OVERLAP_PIECES = 32
_VERSION = 1


@dataclass(frozen=True)
class _Text:
    """A run of words cut into word pieces and windows."""

    words: tuple[str, ...]
    piece_ids: list[int]
    word_of: npt.NDArray[np.int64]  # (n_pieces,) the word each piece belongs to, ascending
    windows: list[tuple[int, int]]  # (start, end) pieces

    def stitch(self, hidden: Sequence[FloatArray]) -> FloatArray:
        """(n_pieces, model dim): every piece as seen by the window it is least at the edge of."""
        cuts = [0]
        for (_, end), (start, _) in zip(self.windows, self.windows[1:], strict=False):
            cuts.append((start + end) // 2)
        cuts.append(len(self.piece_ids))
        return np.concatenate(
            [
                rows[cut - start : next_cut - start]
                for rows, (start, _), cut, next_cut in zip(
                    hidden, self.windows, cuts, cuts[1:], strict=False
                )
            ]
        )


class WordsEncoder:
    """PageEncoder over the text layer. Needs no pixels."""

    wants_image = False

    def __init__(self, model: MiniLm) -> None:
        self._model = model
        self._projection = orthogonal_map(MODEL_DIM, DIM)
        self._prove()

    @property
    def identity(self) -> EncoderIdentity:
        return EncoderIdentity(
            name="words",
            revision=f"{WEIGHTS_SHA256[:8]}-v{_VERSION}",
            dim=DIM,
            dense_dim=MODEL_DIM,
            settings={"window": _WINDOW_PIECES, "overlap": _OVERLAP_PIECES, "precision": "int8"},
        )

    def encode_pages(self, pages: Sequence[PageInput]) -> list[EncodedPage]:
        heading_words = [
            [word for start, end in heading_spans(page.text) for word in range(start, end)]
            for page in pages
        ]
        bodies = [self._cut(page.text.words) for page in pages]
        headings = [
            self._cut([page.text.words[word] for word in chosen])
            for page, chosen in zip(pages, heading_words, strict=True)
        ]
        # All windows of all pages go to the model as one list, so that its threads stay busy.
        hidden = iter(
            self._model.encode(
                [
                    text.piece_ids[start:end]
                    for text in [*bodies, *headings]
                    for start, end in text.windows
                ]
            )
        )
        body_rows = [[next(hidden) for _ in text.windows] for text in bodies]
        heading_rows = [[next(hidden) for _ in text.windows] for text in headings]
        return [
            self._encoded_page(page.text, body, rows, heading, rows_of_heading, np.array(chosen))
            for page, body, rows, heading, rows_of_heading, chosen in zip(
                pages, bodies, body_rows, headings, heading_rows, heading_words, strict=True
            )
        ]

    def encode_query(self, text: str, *, image: Image.Image | None = None) -> EncodedQuery:
        if image is not None:
            raise InputError(
                "the words encoder cannot read an image as a query",
                code="query_not_supported",
                next_step="Ask in words, or use a collection made by a vision encoder: "
                "--encoder colpali.",
            )
        cut = self._cut(text.split())
        if not cut.piece_ids or not any(map(str.isalnum, text)):
            raise InputError(
                "the question holds no word to search for",
                code="empty_query",
                next_step="Ask with at least one word.",
            )
        hidden = self._model.encode(
            [cut.piece_ids[start:end] for start, end in cut.windows], ahead=True
        )
        rows = cut.stitch(hidden)
        vectors, words = self._word_vectors(cut, rows)
        labels = tuple(cut.words[word] for word in words)
        if not len(vectors):  # nothing but function words: then they are the question
            vectors = _unit(rows @ self._projection)
            labels = tuple(cut.words[word] for word in cut.word_of)
        return EncodedQuery(
            tokens=MultiVector(vectors),
            dense=_unit(rows.mean(axis=0, keepdims=True))[0],
            labels=labels,
        )

    def close(self) -> None:
        self._model.close()

    def _cut(self, words: Sequence[str]) -> _Text:
        if not words:
            return _Text((), [], np.zeros(0, np.int64), [])
        encoding = self._model.tokenizer.encode(
            list(words), is_pretokenized=True, add_special_tokens=False
        )
        ids = list(encoding.ids)
        return _Text(tuple(words), ids, np.array(encoding.word_ids, np.int64), windows(len(ids)))

    def _encoded_page(
        self,
        text: PageText,
        body: _Text,
        body_rows: Sequence[FloatArray],
        heading: _Text,
        heading_rows: Sequence[FloatArray],
        heading_words: npt.NDArray[np.int64],
    ) -> EncodedPage:
        patches, patch_words, dense = _no_rows(DIM), np.zeros(0, np.int64), _no_rows(MODEL_DIM)
        if body_rows:
            patches, patch_words = self._word_vectors(body, body.stitch(body_rows))
            dense = _unit(np.stack([rows.mean(axis=0) for rows in body_rows]))
        heading_vectors, own_words = _no_rows(DIM), np.zeros(0, np.int64)
        if heading_rows:
            heading_vectors, in_heading = self._word_vectors(heading, heading.stitch(heading_rows))
            own_words = heading_words[in_heading]
        return EncodedPage(
            patches=_of_words(patches, text, patch_words),
            patch_words=patch_words.astype(np.int32),
            dense=dense,
            headings=_of_words(heading_vectors, text, own_words),
        )

    def _word_vectors(
        self, cut: _Text, rows: FloatArray
    ) -> tuple[FloatArray, npt.NDArray[np.int64]]:
        """(n_kept, DIM) unit vectors of the content words, and which words they are."""
        starts = np.flatnonzero(np.diff(cut.word_of, prepend=-1))
        words = cut.word_of[starts]
        kept = np.array([is_content_word(cut.words[word]) for word in words], np.bool_)
        sums = np.add.reduceat(rows, starts, axis=0)  # direction is all that counts: unit below
        return _unit(sums[kept] @ self._projection), words[kept]

    def _prove(self) -> None:
        """A known question must rank a known text first, or the weights are not what they seem."""
        query = self.encode_query("Who paid a dividend to shareholders?").tokens.vectors
        right, wrong = (
            self._word_vectors(cut, cut.stitch(self._model.encode([cut.piece_ids])))[0]
            for cut in map(
                self._cut,
                (
                    ["The", "company", "paid", "stockholders", "a", "dividend"],
                    ["Water", "the", "garden", "early", "in", "the", "morning"],
                ),
            )
        )
        if not maxsim(query, right) > maxsim(query, wrong):
            raise ModelFailed(
                "the words encoder does not rank a known text first; its weights are wrong",
                next_step="Delete the octavo cache folder and run `octavo doctor`.",
            )


def windows(n_pieces: int) -> list[tuple[int, int]]:
    """Equal windows over `n_pieces`, overlapping by at least `_OVERLAP_PIECES`; none for none."""
    if n_pieces == 0:
        return []
    if n_pieces <= _WINDOW_PIECES:
        return [(0, n_pieces)]
    n = -(-(n_pieces - _OVERLAP_PIECES) // (_WINDOW_PIECES - _OVERLAP_PIECES))
    starts = [round(i * (n_pieces - _WINDOW_PIECES) / (n - 1)) for i in range(n)]
    return [(start, start + _WINDOW_PIECES) for start in starts]


def orthogonal_map(n_in: int, n_out: int) -> FloatArray:
    """(n_in, n_out) with orthonormal columns that mix all inputs, from random signs alone.

    Signs, cosine transform, signs, cosine transform: it needs no data, and every machine gets the
    same map up to rounding, where a QR decomposition of random numbers may flip whole columns.
    Source: Ailon & Chazelle 2009, the fast Johnson-Lindenstrauss transform.
    """
    noise = hashlib.shake_256(b"octavo words projection").digest(2 * n_in // 8)
    signs = np.unpackbits(np.frombuffer(noise, np.uint8)).reshape(2, n_in) * 2.0 - 1.0
    steps = np.arange(n_in)
    cosines = np.cos(np.pi * (2 * steps[:, None] + 1) * steps / (2 * n_in)) * np.sqrt(2 / n_in)
    cosines[:, 0] /= np.sqrt(2)
    mixed = (signs[0][:, None] * cosines) @ (signs[1][:, None] * cosines)
    return np.ascontiguousarray(mixed[:, :n_out], np.float32)


def _unit(rows: FloatArray) -> FloatArray:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: FloatArray = (rows / np.maximum(norms, 1e-12)).astype(np.float32)
    return unit


def _no_rows(dim: int) -> FloatArray:
    return np.zeros((0, dim), np.float32)


def _of_words(vectors: FloatArray, text: PageText, words: npt.NDArray[np.int64]) -> MultiVector:
    kinds = np.full(len(words), VectorKind.WORD, np.uint8)
    return MultiVector(vectors, boxes=text.boxes[words], kinds=kinds)
