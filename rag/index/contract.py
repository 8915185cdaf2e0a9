"""What both stores hold records and searches to: shapes and limits before the store sees them,
and one order of candidates after.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Sequence

import numpy as np

from rag.errors import ShapeError
from rag.geometry import FloatArray
from rag.ports import IndexSpec
from rag.types import Candidate, Json, PageField, PageRecord, SparseVector

SPARSE_FIELDS = (
    PageField.WORDS,
    PageField.HEADING_WORDS,
    PageField.CONTEXT_WORDS,
    PageField.CAPTION_WORDS,
)
# Keys that filters name often; the stores keep an index of them.
KEYWORD_KEYS = ("document_id", "version_id", "readers")
INTEGER_KEYS = ("page_number",)  # whole numbers in every record

# Stores cut at `limit` before anyone can look at ties; asking for a few more lets the record id
# decide among so many equal scores at the cut. Beyond that the choice is the store's.
TIES_AT_CUT = 32

MAX_PAYLOAD_BYTES = 1_000_000
MAX_MULTI_VECTOR_FLOATS = 1024 * 1024  # what a Qdrant server takes in one multi-vector
MAX_FLOAT16 = 65504.0  # vectors are kept in half precision


def field_dims(spec: IndexSpec) -> dict[PageField, int]:
    """Columns of each multi-vector or single-vector field; a size of 0 means: not in this index."""
    dims = {
        PageField.PATCHES: spec.dim,
        PageField.HEADINGS: spec.dim,
        PageField.DENSE: spec.dense_dim,
        PageField.CAPTIONS: spec.dense_dim,
        PageField.FDE: spec.fde_size,
    }
    return {page_field: dim for page_field, dim in dims.items() if dim > 0}


def check_records(records: Sequence[PageRecord], spec: IndexSpec) -> None:
    """Refuse what a store would take in silence and answer wrongly from.

    Raises:
        ShapeError: an id that is no UUID in its usual writing; a vector of another dim, with NaN,
            beyond float16, with a row of zeros or without rows; too many rows; a payload that is
            no JSON or longer than MAX_PAYLOAD_BYTES.
    """
    dims = field_dims(spec)
    for record in records:
        where = f"record {record.record_id!r}"
        _check_id(record.record_id, where)
        _check_payload(record.payload, where)
        for page_field, vector in record.vectors.items():
            what = f"{page_field} of {where}"
            if isinstance(vector, SparseVector):
                _check_sparse(page_field, vector, what)
                if not len(vector):
                    raise ShapeError(f"{what} has no terms; leave the field out instead")
            else:
                _check_dense(page_field, vector, dims, what)


def check_query(
    page_field: PageField, query: FloatArray | SparseVector, spec: IndexSpec
) -> FloatArray | SparseVector:
    """The query as the store takes it: sparse, (fde_size,), or (n_query, dim) also for one row.

    A sparse query without terms is fine and finds nothing.

    Raises:
        ShapeError: as for records.
    """
    what = f"a query on {page_field}"
    if isinstance(query, SparseVector):
        _check_sparse(page_field, query, what)
        return query
    rows = query if page_field is PageField.FDE else np.atleast_2d(query)
    _check_dense(page_field, rows, field_dims(spec), what)
    return rows


def ranked(found: Iterable[tuple[str, float]], limit: int) -> list[Candidate]:
    """(record id, score) pairs as candidates: best first, ties by record id ascending."""
    order = sorted((-score, record_id) for record_id, score in found)
    return [Candidate(record_id, -negated) for negated, record_id in order[:limit]]


def _check_id(record_id: str, where: str) -> None:
    try:
        canonical = str(uuid.UUID(record_id))
    except ValueError as error:
        raise ShapeError(f"{where}: the id must be a UUID") from error
    if canonical != record_id:
        raise ShapeError(f"{where}: the id must be written {canonical!r}")


def _check_payload(payload: Json, where: str) -> None:
    try:
        size_bytes = len(json.dumps(payload, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ShapeError(f"payload of {where} is not JSON: {error}") from error
    if size_bytes > MAX_PAYLOAD_BYTES:
        raise ShapeError(
            f"payload of {where} takes {size_bytes:,} bytes, at most {MAX_PAYLOAD_BYTES:,} fit"
        )


def _check_sparse(page_field: PageField, vector: SparseVector, what: str) -> None:
    if page_field not in SPARSE_FIELDS:
        raise ShapeError(f"{what}: wants rows of floats, got a sparse vector")
    if vector.indices.ndim != 1 or vector.indices.shape != vector.values.shape:
        raise ShapeError(
            f"{what}: {vector.indices.shape} term ids, but {vector.values.shape} weights"
        )
    if not np.isfinite(vector.values).all():
        raise ShapeError(f"{what} holds NaN or infinite weights")
    if (vector.indices[1:] <= vector.indices[:-1]).any():
        raise ShapeError(f"{what}: term ids must be ascending and unique")


def _check_dense(
    page_field: PageField, vector: FloatArray, dims: dict[PageField, int], what: str
) -> None:
    if page_field in SPARSE_FIELDS:
        raise ShapeError(f"{what}: wants a sparse vector, got an array of shape {vector.shape}")
    if page_field not in dims:
        raise ShapeError(f"{what}: this index was made without {page_field}")
    dim = dims[page_field]
    wanted = f"({dim},)" if page_field is PageField.FDE else f"(n, {dim}) with n > 0"
    n_axes = 1 if page_field is PageField.FDE else 2
    if vector.ndim != n_axes or vector.shape[-1] != dim or not vector.size:
        raise ShapeError(f"{what}: wants shape {wanted}, got {vector.shape}")
    if vector.size > MAX_MULTI_VECTOR_FLOATS:
        raise ShapeError(
            f"{what} has {len(vector):,} rows, at most {MAX_MULTI_VECTOR_FLOATS // dim:,} fit"
        )
    if not np.abs(vector).max() <= MAX_FLOAT16:  # written so that NaN fails too
        raise ShapeError(f"{what} holds NaN, infinite values or more than float16 can hold")
    if not vector.any(axis=-1).all():
        raise ShapeError(f"{what} holds a row of zeros; leave it out instead")
