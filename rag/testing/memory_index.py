"""A page index that is obviously right: a dictionary, and every score worked out in full."""

from __future__ import annotations

import copy
import math
import threading
from collections.abc import Sequence

import numpy as np

from rag.errors import ShapeError
from rag.filters import Filter
from rag.geometry import FloatArray
from rag.ports import IndexSpec
from rag.types import Candidate, Json, PageField, PageRecord, SparseVector

_SPARSE = (
    PageField.WORDS,
    PageField.HEADING_WORDS,
    PageField.CONTEXT_WORDS,
    PageField.CAPTION_WORDS,
)


class MemoryIndex:
    """A PageIndex in a dictionary, with every score worked out in full; nothing outlives it."""

    def __init__(self, spec: IndexSpec) -> None:
        self._dims = {
            PageField.PATCHES: spec.dim,
            PageField.HEADINGS: spec.dim,
            PageField.DENSE: spec.dense_dim,
            PageField.CAPTIONS: spec.dense_dim,
            PageField.FDE: spec.fde_size,
        }
        self._records: dict[str, PageRecord] = {}
        self._lock = threading.RLock()

    def upsert(self, records: Sequence[PageRecord]) -> None:
        for record in records:
            for page_field, vectors in record.vectors.items():
                self._check(page_field, vectors)
        with self._lock:
            self._records |= {record.record_id: copy.deepcopy(record) for record in records}

    def flush(self) -> None:
        """Nothing is kept back."""

    def optimize(self) -> None:
        """Nothing to merge."""

    def search(
        self,
        page_field: PageField,
        query: FloatArray | SparseVector,
        *,
        limit: int,
        where: Filter | None = None,
        record_ids: Sequence[str] | None = None,
    ) -> list[Candidate]:
        with self._lock:
            held = [record for record in self._records.values() if page_field in record.vectors]
            n_with: dict[int, int] = {}
            if isinstance(query, SparseVector):
                for term in query.indices.tolist():
                    n_with[term] = sum(_weight(record, page_field, term) > 0 for record in held)
            wanted = None if record_ids is None else set(record_ids)
            scored = [
                Candidate(record.record_id, score)
                for record in held
                if (where is None or where.matches(record.payload))
                and (wanted is None or record.record_id in wanted)
                and (score := _score(record, page_field, query, len(held), n_with)) is not None
            ]
        return sorted(scored, key=lambda found: (-found.score, found.record_id))[:limit]

    def search_many(
        self,
        queries: Sequence[tuple[PageField, FloatArray | SparseVector, int]],
        *,
        where: Filter | None = None,
        record_ids: Sequence[str] | None = None,
    ) -> list[list[Candidate]]:
        return [
            self.search(page_field, query, limit=limit, where=where, record_ids=record_ids)
            for page_field, query, limit in queries
        ]

    def vectors(self, record_ids: Sequence[str], page_field: PageField) -> dict[str, FloatArray]:
        with self._lock:
            found = {
                record_id: self._records[record_id].vectors.get(page_field)
                for record_id in record_ids
                if record_id in self._records
            }
        return {
            record_id: vectors.copy()
            for record_id, vectors in found.items()
            if isinstance(vectors, np.ndarray)
        }

    def payloads(self, record_ids: Sequence[str]) -> dict[str, Json]:
        with self._lock:
            return {
                record_id: copy.deepcopy(self._records[record_id].payload)
                for record_id in record_ids
                if record_id in self._records
            }

    def records(self, record_ids: Sequence[str]) -> list[PageRecord]:
        with self._lock:
            return [
                copy.deepcopy(self._records[record_id])
                for record_id in sorted(set(record_ids))
                if record_id in self._records
            ]

    def set_payload(self, where: Filter, changes: Json) -> None:
        with self._lock:
            for record_id in self.ids(where):
                self._records[record_id].payload.update(copy.deepcopy(changes))

    def ids(self, where: Filter | None = None) -> list[str]:
        with self._lock:
            return sorted(
                record.record_id
                for record in self._records.values()
                if where is None or where.matches(record.payload)
            )

    def count(self, where: Filter | None = None) -> int:
        return len(self.ids(where))

    def delete(self, where: Filter) -> None:
        with self._lock:
            for record_id in self.ids(where):
                del self._records[record_id]

    def close(self) -> None:
        """Nothing is open."""

    def _check(self, page_field: PageField, vectors: FloatArray | SparseVector) -> None:
        if isinstance(vectors, SparseVector) != (page_field in _SPARSE):
            raise ShapeError(f"{page_field} holds the other kind of vector, sparse or dense")
        if isinstance(vectors, SparseVector):
            rows = vectors.values[None, :]
        else:
            n_axes = 1 if page_field is PageField.FDE else 2
            if vectors.ndim != n_axes or vectors.shape[-1] != self._dims[page_field]:
                raise ShapeError(
                    f"{page_field} wants dim {self._dims[page_field]}, got {vectors.shape}"
                )
            rows = np.atleast_2d(vectors)
        if not rows.size or not np.isfinite(rows).all() or not np.any(rows, axis=1).all():
            raise ShapeError(f"{page_field} holds NaN, infinite values, a row of zeros or no row")


def _weight(record: PageRecord, page_field: PageField, term: int) -> float:
    vector = record.vectors[page_field]
    assert isinstance(vector, SparseVector)
    return float(vector.values[vector.indices == term].sum())


def _score(
    record: PageRecord,
    page_field: PageField,
    query: FloatArray | SparseVector,
    n_records: int,
    n_with: dict[int, int],
) -> float | None:
    """None for a page that shares no term with a sparse query: it is not found at all."""
    if isinstance(query, SparseVector):
        weights = {
            term: _weight(record, page_field, term) * weight
            for term, weight in zip(query.indices.tolist(), query.values.tolist(), strict=True)
        }
        if not any(weights.values()):
            return None
        score: float = sum(
            weight * math.log(1 + (n_records - n_with[term] + 0.5) / (n_with[term] + 0.5))
            for term, weight in weights.items()
        )
        return score
    page = record.vectors[page_field]
    assert isinstance(page, np.ndarray)
    if page_field is PageField.FDE:
        return float(query @ page)
    return float((np.atleast_2d(query) @ page.T).max(axis=1).sum())  # (n_query, n_page)
