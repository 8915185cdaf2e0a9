"""The page index on a Qdrant server, or inside qdrant-client (`:memory:`) for tests.

Every write waits until the server has applied it, and the server logs a write before it answers,
so `flush` has nothing to do; the server optimizes by itself. It keeps the signs of an `fde` and
scores them against the query rounded to 8 bits. `:memory:` ignores quantisation, float16 and
payload indexes and scores one record after another: good for a few hundred records.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

import numpy as np
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import ApiException, UnexpectedResponse

from rag.errors import IndexMismatch, IndexUnavailable
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

IN_MEMORY = ":memory:"
_FLOATS_PER_REQUEST = 1_000_000  # a server refuses bodies over 32 MiB; a float is 22 bytes of JSON
_IDS_PER_REQUEST = 10_000
_CHECK_SERVER = "Check that the Qdrant server of QDRANT_URL is up and reachable, then try again."


def server_version(url: str, api_key: str | None, *, timeout_s: int = 3) -> str:
    """What answers at `url`, as "Qdrant 1.19". Raises IndexUnavailable."""
    try:
        client = QdrantClient(
            url=url, api_key=api_key, timeout=timeout_s, check_compatibility=False
        )
        return f"Qdrant {client.info().version}"
    except Exception as error:  # the client raises what its transport raises, of many kinds
        raise IndexUnavailable(
            "nothing answers as Qdrant at the address of QDRANT_URL",
            next_step="Start the server (`docker compose up -d --wait`), or correct the address.",
        ) from error


def drop_collection(url: str, collection: str, *, api_key: str | None = None) -> None:
    """Delete a collection with all its records; one that is not there is no error.

    Raises:
        IndexUnavailable: nothing answers at `url`.
    """
    try:
        client = QdrantClient(url=url, api_key=api_key, check_compatibility=False)
        client.delete_collection(collection)
    except Exception as error:  # the client raises what its transport raises, of many kinds
        raise IndexUnavailable(
            f"collection {collection!r} could not be deleted from the Qdrant server",
            next_step=_CHECK_SERVER,
        ) from error


class QdrantIndex:
    """PageIndex over one collection of a Qdrant server."""

    def __init__(
        self, client: QdrantClient, collection: str, spec: IndexSpec, *, is_local: bool
    ) -> None:
        self._client = client
        self._collection = collection
        self._spec = spec
        self._is_local = is_local
        # The in-process store is not made for threads; a server is.
        self._lock = threading.RLock() if is_local else nullcontext()

    @classmethod
    def open(
        cls,
        url: str,
        *,
        collection: str,
        spec: IndexSpec,
        api_key: str | None = None,
        timeout_s: int = 30,
    ) -> QdrantIndex:
        """Connect, and make the collection where there is none.

        Raises:
            IndexUnavailable: nothing answers at `url` within `timeout_s`, or it refuses the key.
            IndexMismatch: the collection holds records of another shape; nothing was touched.
        """
        is_local = url == IN_MEMORY
        try:
            client = (
                QdrantClient(IN_MEMORY)
                if is_local
                else QdrantClient(
                    url=url, api_key=api_key, timeout=timeout_s, check_compatibility=False
                )
            )
        except ValueError as error:
            raise IndexUnavailable(
                "QDRANT_URL is no address of a Qdrant server",
                next_step="Write it as http://HOST:6333 or https://HOST:6333.",
            ) from error
        index = cls(client, collection, spec, is_local=is_local)
        with index._calls("opened"):
            if not client.collection_exists(collection):
                index._create()
            index._check_schema()
            if not is_local:
                index._index_payload()
        return index

    def upsert(self, records: Sequence[PageRecord]) -> None:
        check_records(records, self._spec)
        with self._calls("written"):
            for batch in _batches(records):
                self._client.upsert(
                    self._collection,
                    [
                        models.PointStruct(
                            id=record.record_id,
                            vector={
                                str(name): _stored(vector)
                                for name, vector in record.vectors.items()
                            },
                            payload=record.payload,
                        )
                        for record in batch
                    ],
                    wait=True,
                )

    def flush(self) -> None:
        """Nothing to do: writes wait."""

    def optimize(self) -> None:
        """Nothing to do: the server optimizes by itself."""

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
        passing = _filter(where, record_ids)
        requests = [
            models.QueryRequest(
                query=_stored(check_query(page_field, query, self._spec)),
                using=str(page_field),
                limit=limit + TIES_AT_CUT,
                filter=passing,
                params=_SIGN_BITS_ALONE
                if page_field is PageField.FDE and not self._is_local
                else None,
                with_payload=False,
                with_vector=False,
            )
            for page_field, query, limit in queries
        ]
        with self._calls("searched"):
            found = self._client.query_batch_points(self._collection, requests)
        return [
            ranked(((str(point.id), point.score) for point in response.points), limit)
            for response, (_, _, limit) in zip(found, queries, strict=True)
        ]

    def vectors(self, record_ids: Sequence[str], page_field: PageField) -> dict[str, FloatArray]:
        name = str(page_field)
        with self._calls("read"):
            records = self._client.retrieve(
                self._collection, list(record_ids), with_payload=False, with_vectors=[name]
            )
        return {
            str(record.id): np.asarray(record.vector[name], dtype=np.float32)
            for record in records
            if isinstance(record.vector, dict) and name in record.vector
        }

    def payloads(self, record_ids: Sequence[str]) -> dict[str, Json]:
        with self._calls("read"):
            records = self._client.retrieve(self._collection, list(record_ids), with_payload=True)
        return {str(record.id): record.payload or {} for record in records}

    def records(self, record_ids: Sequence[str]) -> list[PageRecord]:
        with self._calls("read"):
            found = self._client.retrieve(
                self._collection, list(record_ids), with_payload=True, with_vectors=True
            )
        return sorted(
            (
                PageRecord(
                    str(record.id),
                    {PageField(name): _loaded(held) for name, held in record.vector.items()}
                    if isinstance(record.vector, dict)
                    else {},
                    record.payload or {},
                )
                for record in found
            ),
            key=lambda record: record.record_id,
        )

    def set_payload(self, where: Filter, changes: Json) -> None:
        passing = _filter(where)
        assert passing is not None
        with self._calls("written"):
            self._client.set_payload(
                self._collection, changes, points=models.FilterSelector(filter=passing), wait=True
            )

    def ids(self, where: Filter | None = None) -> list[str]:
        passing = _filter(where)
        found: list[str] = []
        offset: models.ExtendedPointId | None = None
        with self._calls("read"):
            while True:
                records, offset = self._client.scroll(
                    self._collection,
                    passing,
                    limit=_IDS_PER_REQUEST,
                    offset=offset,
                    with_payload=False,
                )
                found += [str(record.id) for record in records]
                if offset is None:
                    return sorted(found)

    def count(self, where: Filter | None = None) -> int:
        with self._calls("read"):
            return self._client.count(self._collection, _filter(where), exact=True).count

    def delete(self, where: Filter) -> None:
        passing = _filter(where)
        assert passing is not None
        with self._calls("written"):
            self._client.delete(self._collection, models.FilterSelector(filter=passing), wait=True)

    def close(self) -> None:
        with self._calls("closed"):
            self._client.close()

    def _create(self) -> None:
        no_graph = models.HnswConfigDiff(m=0)
        multi_vector = models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM)
        sign_bits = models.BinaryQuantization(
            binary=models.BinaryQuantizationConfig(
                always_ram=True,
                query_encoding=models.BinaryQuantizationQueryEncoding.SCALAR8BITS,
            )
        )
        try:
            self._client.create_collection(
                self._collection,
                vectors_config={
                    str(page_field): models.VectorParams(
                        size=size,
                        distance=models.Distance.DOT,
                        datatype=models.Datatype.FLOAT16,
                        on_disk=True,
                        hnsw_config=no_graph,
                        multivector_config=None if page_field is PageField.FDE else multi_vector,
                        quantization_config=sign_bits if page_field is PageField.FDE else None,
                    )
                    for page_field, size in field_dims(self._spec).items()
                },
                sparse_vectors_config={
                    str(page_field): models.SparseVectorParams(modifier=models.Modifier.IDF)
                    for page_field in SPARSE_FIELDS
                },
                on_disk_payload=True,
            )
        except UnexpectedResponse as error:
            if error.status_code != 409:  # somebody else made it just now
                raise

    def _index_payload(self) -> None:
        schemas = dict.fromkeys(KEYWORD_KEYS, models.PayloadSchemaType.KEYWORD)
        schemas |= dict.fromkeys(INTEGER_KEYS, models.PayloadSchemaType.INTEGER)
        for key, schema in schemas.items():
            self._client.create_payload_index(self._collection, key, schema, wait=True)

    def _check_schema(self) -> None:
        params = self._client.get_collection(self._collection).config.params
        stored = params.vectors if isinstance(params.vectors, dict) else {}
        found = {name: vector.size for name, vector in stored.items()}
        wanted = {str(page_field): size for page_field, size in field_dims(self._spec).items()}
        sparse = set(params.sparse_vectors or {})
        if found != wanted or sparse != set(SPARSE_FIELDS):
            raise IndexMismatch(
                f"collection {self._collection!r} of the Qdrant server holds "
                f"{_described(found, sparse)}; the settings ask for "
                f"{_described(wanted, set(SPARSE_FIELDS))}",
                next_step="Ingest into a new collection, or go back to the encoder and FDE "
                "settings it was made with.",
            )

    @contextmanager
    def _calls(self, doing: str) -> Iterator[None]:
        """The library's errors as ours; a server's own words stay in the chained cause."""
        try:
            with self._lock:
                yield
        except UnexpectedResponse as error:
            refused = error.status_code in (401, 403)
            raise IndexUnavailable(
                f"the page index cannot be {doing}: the Qdrant server answered "
                f"{error.status_code} {error.reason_phrase}",
                next_step="Check QDRANT_API_KEY." if refused else _CHECK_SERVER,
            ) from error
        except (ApiException, RuntimeError) as error:  # RuntimeError: the client is closed
            raise IndexUnavailable(
                f"the page index cannot be {doing}: no usable answer from the Qdrant server",
                next_step=_CHECK_SERVER,
            ) from error


class _ClientDialect:
    """Conditions as the classes of qdrant-client."""

    def equals(self, key: str, value: bool | int) -> models.Condition:
        return models.FieldCondition(key=key, match=models.MatchValue(value=value))

    def any_of(self, key: str, values: list[str] | list[int]) -> models.Condition:
        return models.FieldCondition(key=key, match=models.MatchAny(any=values))

    def between(self, key: str, **bounds: float) -> models.Condition:
        return models.FieldCondition(key=key, range=models.Range(**bounds))

    def is_empty(self, key: str) -> models.Condition:
        return models.IsEmptyCondition(is_empty=models.PayloadField(key=key))

    def has_id(self, record_ids: Sequence[str]) -> models.Condition:
        return models.HasIdCondition(has_id=list(record_ids))

    def combine(
        self,
        *,
        must: list[models.Condition],
        should: list[models.Condition],
        must_not: list[models.Condition],
    ) -> models.Condition:
        return models.Filter(must=must or None, should=should or None, must_not=must_not or None)


_DIALECT = _ClientDialect()
# Rescoring with the originals is the server's default for bits (docs/adr/0004).
_SIGN_BITS_ALONE = models.SearchParams(quantization=models.QuantizationSearchParams(rescore=False))


def _filter(where: Filter | None, record_ids: Sequence[str] | None = None) -> models.Filter | None:
    passing = translate(where, record_ids, _DIALECT)
    assert passing is None or isinstance(passing, models.Filter)
    return passing


def _stored(vector: FloatArray | SparseVector) -> models.Vector:
    if isinstance(vector, SparseVector):
        return models.SparseVector(indices=vector.indices.tolist(), values=vector.values.tolist())
    rows: list[float] | list[list[float]] = vector.tolist()
    return rows


def _loaded(held: object) -> FloatArray | SparseVector:
    if isinstance(held, models.SparseVector):
        return SparseVector(
            np.asarray(held.indices, np.uint32), np.asarray(held.values, np.float32)
        )
    return np.asarray(held, np.float32)


def _batches(records: Sequence[PageRecord]) -> Iterator[list[PageRecord]]:
    batch: list[PageRecord] = []
    n_floats = 0
    for record in records:
        size = sum(
            2 * len(vector) if isinstance(vector, SparseVector) else vector.size
            for vector in record.vectors.values()
        )
        if batch and n_floats + size > _FLOATS_PER_REQUEST:
            yield batch
            batch, n_floats = [], 0
        batch.append(record)
        n_floats += size
    if batch:
        yield batch


def _described(sizes: dict[str, int], sparse: set[str]) -> str:
    dense = [f"{name} ({size})" for name, size in sorted(sizes.items())]
    return ", ".join(dense + sorted(sparse)) or "nothing of ours"
