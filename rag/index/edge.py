"""The embedded page index: Qdrant Edge, in this process, in one folder.

The write-ahead log stays on; without it a killed process loses what was not flushed. One process
owns the folder at a time, and whoever opens it holds the lock. Edge keeps Python's global lock
while it writes: an upsert, a flush or `optimize` stops every thread of the process until it is done
(how long: docs/adr/0004). Searches release it.

What Edge does with `fde`: it keeps the signs of the page's values and scores them against the
query rounded to 8 bits, in a scale of its own; `vectors` returns the float16 originals beside them.
`words` and `heading_words` find only records that share a term with the query, and their IDF
counts a deleted record until `optimize` drops it.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import qdrant_edge as qe

from rag.disk_room import disk_full
from rag.errors import BackendError, IndexMismatch, IndexUnavailable
from rag.filters import Filter
from rag.geometry import FloatArray
from rag.index.conditions import translate
from rag.index.contract import (
    INTEGER_KEYS,
    KEYWORD_KEYS,
    SPARSE_FIELDS,
    TIES_AT_CUT,
    check_query,
    check_records,
    field_dims,
    ranked,
)
from rag.ports import IndexSpec
from rag.types import Candidate, Json, PageField, PageRecord, SparseVector

SCHEMA_VERSION = 2  # of the fields and their settings in `_config`
_SCHEMA_FILE = "schema.json"
_SHARD_FOLDER = "shard"
_DAMAGED = "Restore the data folder from a backup, or ingest into a new collection."
_BUSY = "index_busy"
_LOCK_LOOK_S = 0.02
_FLOATS_AT_A_TIME = 400_000  # some 25 ms of writing
_NO_SPACE = ("No space left on device", "os error 28", "StorageFull")
_AGAIN = f"Run the command again. If it fails again: {_DAMAGED[0].lower()}{_DAMAGED[1:]}"


class EdgeIndex:
    """PageIndex over one Edge shard."""

    def __init__(self, shard: Any, spec: IndexSpec) -> None:
        self._shard = shard
        self._spec = spec
        self._writing = threading.Lock()

    @classmethod
    def open(cls, folder: Path, spec: IndexSpec, *, lock_wait_s: float = 0.0) -> EdgeIndex:
        """Open the index in `folder`; make it where there is none.

        Args:
            folder: of the index.
            spec: of its records.
            lock_wait_s: for another process to let go of it.

        Raises:
            IndexUnavailable: the folder is damaged, or another process has it open (`index_busy`).
            IndexMismatch: it holds records of another shape; nothing was touched.
            BackendError: `disk_full`.
        """
        deadline_s = time.monotonic() + lock_wait_s
        with _store_errors("opened", _DAMAGED):
            if not folder.exists() or not any(folder.iterdir()):
                _create(folder, spec)
            _check_schema(folder, spec)
        while True:
            try:
                with _store_errors("opened", _DAMAGED):
                    return cls(qe.EdgeShard.load(str(folder / _SHARD_FOLDER)), spec)
            except IndexUnavailable as error:
                if error.code != _BUSY or time.monotonic() > deadline_s:
                    raise
            time.sleep(_LOCK_LOOK_S)

    def upsert(self, records: Sequence[PageRecord]) -> None:
        check_records(records, self._spec)
        with self._writing, _store_errors("written"):
            for some in _parts(records):
                points = [
                    qe.Point(
                        record.record_id,
                        {str(name): _stored(vector) for name, vector in record.vectors.items()},
                        record.payload,
                    )
                    for record in some
                ]
                self._shard.update(qe.UpdateOperation.upsert_points(points))

    def flush(self) -> None:
        with self._writing, _store_errors("flushed"):
            self._shard.flush()

    def optimize(self) -> None:
        """Merge and index segments. Every thread of the process waits until it is done."""
        with self._writing, _store_errors("optimized"):
            self._shard.optimize()
            self._shard.flush()

    def search(
        self,
        page_field: PageField,
        query: FloatArray | SparseVector,
        *,
        limit: int,
        where: Filter | None = None,
        record_ids: Sequence[str] | None = None,
    ) -> list[Candidate]:
        return self.search_many([(page_field, query, limit)], where=where, record_ids=record_ids)[0]

    def search_many(
        self,
        queries: Sequence[tuple[PageField, FloatArray | SparseVector, int]],
        *,
        where: Filter | None = None,
        record_ids: Sequence[str] | None = None,
    ) -> list[list[Candidate]]:
        passing = translate(where, record_ids, _DIALECT)
        checked = [
            (page_field, check_query(page_field, query, self._spec), limit)
            for page_field, query, limit in queries
        ]
        with _store_errors("searched"):
            requests = [
                qe.QueryRequest(
                    limit=limit + TIES_AT_CUT,
                    query=qe.Query.Nearest(_stored(query), using=str(page_field)),
                    filter=passing,
                    params=_SIGN_BITS_ALONE if page_field is PageField.FDE else None,
                    with_payload=False,
                    with_vector=False,
                )
                for page_field, query, limit in checked
            ]
            found = self._shard.query_batch(qe.QueryBatchRequest(requests))
            return [
                ranked(((_text(point.id), point.score) for point in points), limit)
                for points, (_, _, limit) in zip(found, checked, strict=True)
            ]

    def vectors(self, record_ids: Sequence[str], page_field: PageField) -> dict[str, FloatArray]:
        name = str(page_field)
        with _store_errors("read"):
            records = self._shard.retrieve(list(record_ids), with_payload=False, with_vector=[name])
            return {
                str(record.id): np.asarray(stored[name], dtype=np.float32)
                for record in records
                if name in (stored := record.vector)
            }

    def payloads(self, record_ids: Sequence[str]) -> dict[str, Json]:
        with _store_errors("read"):
            records = self._shard.retrieve(list(record_ids), with_payload=True, with_vector=False)
            return {str(record.id): record.payload for record in records}

    def records(self, record_ids: Sequence[str]) -> list[PageRecord]:
        with _store_errors("read"):
            found = self._shard.retrieve(list(record_ids), with_payload=True, with_vector=True)
            return sorted(
                (
                    PageRecord(
                        _text(record.id),
                        {PageField(name): _loaded(held) for name, held in record.vector.items()},
                        record.payload,
                    )
                    for record in found
                ),
                key=lambda record: record.record_id,
            )

    def set_payload(self, where: Filter, changes: Json) -> None:
        passing = translate(where, None, _DIALECT)
        assert passing is not None
        with self._writing, _store_errors("written"):
            self._shard.update(qe.UpdateOperation.set_payload_by_filter(passing, changes))

    def ids(self, where: Filter | None = None) -> list[str]:
        passing = translate(where, None, _DIALECT)
        with _store_errors("read"):
            records, _ = self._shard.scroll(
                qe.ScrollRequest(
                    limit=max(1, self._shard.info().points_count),
                    filter=passing,
                    with_payload=False,
                    with_vector=False,
                )
            )
            return sorted(str(record.id) for record in records)

    def count(self, where: Filter | None = None) -> int:
        passing = translate(where, None, _DIALECT)
        with _store_errors("read"):
            return int(self._shard.count(qe.CountRequest(exact=True, filter=passing)))

    def delete(self, where: Filter) -> None:
        passing = translate(where, None, _DIALECT)
        assert passing is not None
        with self._writing, _store_errors("written"):
            self._shard.update(qe.UpdateOperation.delete_points_by_filter(passing))

    def close(self) -> None:
        with self._writing, _store_errors("closed"):
            self._shard.close()


class _EdgeDialect:
    """Conditions as Edge's classes; a filter is a condition too."""

    def equals(self, key: str, value: bool | int) -> Any:
        # Edge reads a Python bool as the integer it also is; numpy's is none.
        wanted: Any = np.bool_(value) if isinstance(value, bool) else value
        return qe.FieldCondition(key=key, match=qe.MatchValue(wanted))

    def any_of(self, key: str, values: list[str] | list[int]) -> Any:
        return qe.FieldCondition(key=key, match=qe.MatchAny(values))

    def between(self, key: str, **bounds: float) -> Any:
        return qe.FieldCondition(key=key, range=qe.RangeFloat(**bounds))

    def is_empty(self, key: str) -> Any:
        return qe.IsEmptyCondition(key)

    def has_id(self, record_ids: Sequence[str]) -> Any:
        return qe.HasIdCondition(set(record_ids))

    def combine(self, *, must: list[Any], should: list[Any], must_not: list[Any]) -> Any:
        return qe.Filter(must=must, should=should, must_not=must_not)


_DIALECT = _EdgeDialect()
# Rescoring with the originals is Edge's default for bits; the signs alone find more of what MaxSim
# finds (docs/adr/0004).
_SIGN_BITS_ALONE = qe.SearchParams(quantization=qe.QuantizationSearchParams(rescore=False))


# Edge returns ids as UUID objects, and writing one out takes longer than scoring its page by words.
_text = lru_cache(maxsize=2**16)(str)


def _stored(vector: FloatArray | SparseVector) -> Any:
    # Lists cross into Edge twice as fast as arrays (1.0 against 2.0 ms for 400 x 128).
    if isinstance(vector, SparseVector):
        return qe.SparseVector(vector.indices.tolist(), vector.values.tolist())
    return vector.tolist()


def _parts(records: Sequence[PageRecord]) -> Iterator[Sequence[PageRecord]]:
    """Of a batch: searches wait for one of them, not for all."""
    start = n_floats = 0
    for end, record in enumerate(records, start=1):
        n_floats += sum(map(_n_floats, record.vectors.values()))
        if n_floats >= _FLOATS_AT_A_TIME or end == len(records):
            yield records[start:end]
            start, n_floats = end, 0


def _n_floats(vector: FloatArray | SparseVector) -> int:
    return len(vector) if isinstance(vector, SparseVector) else vector.size


def _loaded(held: Any) -> FloatArray | SparseVector:
    if isinstance(held, qe.SparseVector):
        return SparseVector(
            np.asarray(held.indices, np.uint32), np.asarray(held.values, np.float32)
        )
    return np.asarray(held, np.float32)


def _config(spec: IndexSpec) -> Any:
    def multi_vector(size: int) -> Any:
        return qe.EdgeVectorParams(
            size=size,
            distance=qe.Distance.Dot,
            multivector_config=qe.MultiVectorConfig(qe.MultiVectorComparator.MaxSim),
            datatype=qe.VectorStorageDatatype.Float16,
            hnsw_config=no_graph,
            memory=qe.Memory.Cold,
        )

    no_graph = qe.HnswIndexConfig(m=0, ef_construct=4, full_scan_threshold=10)
    fde = qe.EdgeVectorParams(
        size=spec.fde_size,
        distance=qe.Distance.Dot,
        datatype=qe.VectorStorageDatatype.Float16,
        hnsw_config=no_graph,
        memory=qe.Memory.Cold,
        quantization_config=qe.BinaryQuantizationConfig(
            query_encoding=qe.BinaryQuantizationQueryEncoding.Scalar8Bits,
            memory=qe.Memory.Pinned,
        ),
    )
    return qe.EdgeConfig(
        vectors={
            str(page_field): fde if page_field is PageField.FDE else multi_vector(size)
            for page_field, size in field_dims(spec).items()
        },
        sparse_vectors={
            str(page_field): qe.EdgeSparseVectorParams(modifier=qe.Modifier.Idf)
            for page_field in SPARSE_FIELDS
        },
        wal_enabled=True,
    )


def _create(folder: Path, spec: IndexSpec) -> None:
    """Make an empty index beside `folder` and move it there, so that no half-made one is found."""
    unfinished = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    (unfinished / _SHARD_FOLDER).mkdir(parents=True)
    shard = qe.EdgeShard.create(str(unfinished / _SHARD_FOLDER), _config(spec))
    for keys, schema in (
        (KEYWORD_KEYS, qe.PayloadSchemaType.Keyword),
        (INTEGER_KEYS, qe.PayloadSchemaType.Integer),
    ):
        for key in keys:
            shard.update(qe.UpdateOperation.create_field_index(key, schema))
    shard.flush()
    shard.close()
    with (unfinished / _SCHEMA_FILE).open("w", encoding="utf-8") as file:
        json.dump({"schema": SCHEMA_VERSION, **asdict(spec)}, file)
        file.flush()
        os.fsync(file.fileno())
    if folder.exists():
        folder.rmdir()
    unfinished.rename(folder)


def _check_schema(folder: Path, spec: IndexSpec) -> None:
    found = json.loads((folder / _SCHEMA_FILE).read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise TypeError(f"{_SCHEMA_FILE} holds {found!r:.50}")  # becomes IndexUnavailable
    wanted = {"schema": SCHEMA_VERSION, **asdict(spec)}
    if found != wanted:
        raise IndexMismatch(
            f"the page index holds records of {_described(found)}; "
            f"the settings ask for {_described(wanted)}",
            next_step="Ingest into a new collection, or go back to the encoder and FDE settings "
            "it was made with.",
        )


def _described(schema: Json) -> str:
    return ", ".join(f"{name} {value}" for name, value in schema.items())


@contextmanager
def _store_errors(doing: str, next_step: str = _AGAIN) -> Iterator[None]:
    """Edge raises bare Exceptions, and a panic of its Rust code is not even one of those.

    The message leaves Edge's own words, which name paths, to the chained cause.
    """
    try:
        yield
    except IndexMismatch:
        raise
    except Exception as error:  # Edge raises bare exceptions
        raise _as_ours(error, doing, next_step) from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise _as_ours(error, doing, next_step) from error


def _as_ours(error: BaseException, doing: str, next_step: str) -> BackendError:
    said = str(error)
    if any(words in said for words in _NO_SPACE):
        return disk_full(f"the page index cannot be {doing}")
    if "WouldBlock" in said:
        return IndexUnavailable(
            "another process has the page index open",
            code=_BUSY,
            next_step="Stop it, or send the request to it.",
        )
    return IndexUnavailable(f"the page index cannot be {doing}", next_step=next_step)
