"""What somebody looks for, as vectors: words, an image, a page or region, pushed along words.

A query is read once, here; the legs of the search see only its vectors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from PIL import Image

from rag.errors import InputError
from rag.geometry import Box, FloatArray
from rag.page_region import PageRegion, RegionVectors, is_one_vector, region_vectors
from rag.ports import EncodedQuery, PageEncoder
from rag.repository import CollectionReader, StoredPage
from rag.types import MultiVector, Notice, PageField

MAX_ROWS = 1024  # of a query; the kernels take no more
MAX_STRENGTH = 10.0
_CROP_DPI = 150.0


@dataclass(frozen=True)
class Query:
    """What is looked for: text, an image or a page, or text beside one of the two.

    Attributes:
        text: may be empty beside an image or a page.
        image: pixels to be read by the encoder.
        like: an indexed page or region, looked for by its stored vectors.
        towards: what the results should have more of.
        away_from: what they should have less of.
        strength: how far the query moves along these; 0 is the query as it is.
    """

    text: str = ""
    image: Image.Image | None = None
    like: PageRegion | None = None
    towards: str = ""
    away_from: str = ""
    strength: float = 1.0

    def __post_init__(self) -> None:
        if self.image is not None and self.like is not None:
            raise InputError(
                "an image and a page cannot be searched with at once",
                next_step="Give one of the two.",
            )
        if not (math.isfinite(self.strength) and 0 <= self.strength <= MAX_STRENGTH):
            raise InputError(
                f"strength wants a number from 0 to {MAX_STRENGTH:g}, got {self.strength:g}",
                next_step="Leave it out, or begin with 1.",
            )

    @property
    def has_text(self) -> bool:
        return bool(self.text.strip())

    @property
    def is_moved(self) -> bool:
        return self.strength > 0 and bool(self.towards.strip() or self.away_from.strip())

    @property
    def is_words_alone(self) -> bool:
        return self.image is None and self.like is None and not self.is_moved


@dataclass(frozen=True, eq=False)
class QueryVectors:
    """A query as the legs of a search take it.

    Attributes:
        encoded: its tokens are everything that MaxSim over pages looks for.
        headings: (n, dim) rows that MaxSim over headings looks for: the text's own.
        left_out: record of the page the query was taken from, which is no result.
    """

    encoded: EncodedQuery
    headings: FloatArray
    left_out: str | None = None
    notices: tuple[Notice, ...] = ()


def encode(query: Query, encoder: PageEncoder, reader: CollectionReader) -> QueryVectors:
    """The vectors of a query.

    Raises:
        InputError: `empty_query`; `query_not_supported`, the encoder cannot read it; `bad_region`
            or `empty_region`, see `region_vectors`.
        NotFound: the page of `like`.
    """
    found = _base(query, encoder, reader)
    if not query.is_moved:
        return found
    tokens, dense = _direction(query, encoder)
    encoded = found.encoded
    moved = replace(
        encoded,
        tokens=replace(encoded.tokens, vectors=_moved(encoded.tokens.vectors, tokens)),
        dense=_moved(encoded.dense[None], dense)[0],
    )
    return replace(found, encoded=moved, headings=_moved(found.headings, tokens))


def _base(query: Query, encoder: PageEncoder, reader: CollectionReader) -> QueryVectors:
    text = query.text if query.has_text else ""
    if query.like is not None:
        asked = encoder.encode_query(text) if text else None
        return _joined(asked, _stored(query.like, encoder, reader), reader)
    encoded = encoder.encode_query(text, image=query.image)
    thinnable = np.ones(len(encoded.tokens), np.bool_)
    if query.image is not None and encoded.tokens.boxes is not None:
        # Rows without a place in the image are the text's: they all stay.
        places = encoded.tokens.boxes
        thinnable = np.asarray((places[:, 2:] > places[:, :2]).all(axis=1))
    encoded, notices = _thinned(encoded, thinnable)
    return QueryVectors(encoded, encoded.tokens.vectors, notices=notices)


# --- a page or region ---------------------------------------------------------------------------
@dataclass(frozen=True, eq=False)
class _Region:
    page: StoredPage
    vectors: FloatArray
    labels: tuple[str, ...]
    dense: FloatArray | None  # of an encoder's own reading; None where the vectors are stored ones


def _stored(region: PageRegion, encoder: PageEncoder, reader: CollectionReader) -> _Region:
    page = reader.page(region.ref.document_id, region.ref.page_number)
    found: RegionVectors = region_vectors(reader, page, region.box)
    if region.box is None or not is_one_vector(page):
        return _Region(page, found.vectors, found.labels, None)
    if not encoder.wants_image:
        raise InputError(
            f"{encoder.identity} keeps one vector a page, which has no regions",
            code="query_not_supported",
            next_step="Search with the whole page.",
        )
    # One vector tells no part of a page from the rest, so the part is read as an image.
    encoded = encoder.encode_query("", image=_cropped(reader, page, region.box))
    return _Region(page, encoded.tokens.vectors, encoded.labels, encoded.dense)


def _cropped(reader: CollectionReader, page: StoredPage, box: Box) -> Image.Image:
    picture = reader.page_image(page.ref, _CROP_DPI)
    left, top, right, bottom = box.scaled(picture.px_per_pt)
    width, height = picture.image.size
    x0, y0 = min(max(0, math.floor(left)), width - 1), min(max(0, math.floor(top)), height - 1)
    return picture.image.crop(
        (
            x0,
            y0,
            max(x0 + 1, min(width, math.ceil(right))),
            max(y0 + 1, min(height, math.ceil(bottom))),
        )
    )


def _joined(asked: EncodedQuery | None, region: _Region, reader: CollectionReader) -> QueryVectors:
    """Rows of the text, if there is one, then rows of the page."""
    page_rows, labels = region.vectors, region.labels or ("",) * len(region.vectors)
    if asked is None:
        whole = EncodedQuery(
            MultiVector(page_rows), _page_dense(region, reader), labels if region.labels else ()
        )
        n_text = 0
    else:
        n_text = len(asked.tokens)
        whole = EncodedQuery(
            MultiVector(np.concatenate([asked.tokens.vectors, page_rows])),
            asked.dense,
            (*(asked.labels or ("",) * n_text), *labels),
        )
    thinned, notices = _thinned(whole, np.arange(len(whole.tokens)) >= n_text)
    headings = thinned.tokens.vectors if asked is None else asked.tokens.vectors
    return QueryVectors(thinned, headings, left_out=region.page.record_id, notices=notices)


def _page_dense(region: _Region, reader: CollectionReader) -> FloatArray:
    """(dense_dim,): of the encoder's own reading, or the mean of the whole page's windows."""
    if region.dense is not None:
        return region.dense
    record_id = region.page.record_id
    assert record_id is not None  # it has vectors
    windows = reader.vectors([record_id], PageField.DENSE).get(record_id, region.vectors)
    dense: FloatArray = _unit(windows.mean(axis=0, keepdims=True))[0]
    return dense


def _thinned(
    encoded: EncodedQuery, thinnable: npt.NDArray[np.bool_]
) -> tuple[EncodedQuery, tuple[Notice, ...]]:
    """At most MAX_ROWS rows: all that are not thinnable, and of the others every so many."""
    n = len(encoded.tokens)
    if n <= MAX_ROWS:
        return encoded, ()
    others = np.flatnonzero(thinnable)
    kept = np.flatnonzero(~thinnable)
    room = max(1, MAX_ROWS - len(kept))
    even = others[np.arange(room) * len(others) // room]
    chosen = np.sort(np.concatenate([kept, even]))
    tokens = encoded.tokens
    smaller = MultiVector(
        tokens.vectors[chosen],
        None if tokens.boxes is None else tokens.boxes[chosen],
        None if tokens.kinds is None else tokens.kinds[chosen],
    )
    labels = tuple(encoded.labels[i] for i in chosen) if encoded.labels else ()
    notice = Notice(
        "query_thinned",
        f"the query has {n:,} vectors; {len(chosen):,} of them, evenly spread, were searched with",
    )
    return replace(encoded, tokens=smaller, labels=labels), (notice,)


# --- arithmetic ---------------------------------------------------------------------------------
def _direction(query: Query, encoder: PageEncoder) -> tuple[FloatArray, FloatArray]:
    """(dim,) and (dense_dim,): from what is to be left to what is to be reached, at strength.

    Source: PDV (prompt directional vectors), q' = q + strength * (e(towards) - e(away_from)).
    """
    identity = encoder.identity
    tokens = np.zeros(identity.dim, np.float64)
    dense = np.zeros(identity.dense_dim, np.float64)
    for text, sign in ((query.towards, 1.0), (query.away_from, -1.0)):
        if text.strip():
            encoded = encoder.encode_query(text)
            tokens += sign * encoded.tokens.vectors.mean(axis=0, dtype=np.float64)
            dense += sign * encoded.dense
    return (
        (query.strength * tokens).astype(np.float32),
        (query.strength * dense).astype(np.float32),
    )


def _moved(rows: FloatArray, along: FloatArray) -> FloatArray:
    """Unit rows; a row that the direction undoes stays where it was."""
    moved = rows + along
    undone = np.linalg.norm(moved, axis=1, keepdims=True) < 1e-6
    return _unit(np.where(undone, rows, moved))


def _unit(rows: FloatArray) -> FloatArray:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: FloatArray = (rows / np.maximum(norms, 1e-12)).astype(np.float32)
    return unit
