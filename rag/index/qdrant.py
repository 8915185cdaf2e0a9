"""The page index on a Qdrant server, or inside qdrant-client (`:memory:`) for tests.

Every write waits until the server has applied it, and the server logs a write before it answers,
so `flush` has nothing to do; the server optimizes by itself. What is done about a server that is
slow or away is in `rag/index/server_calls`. It keeps the signs of an `fde` and
scores them against the query rounded to 8 bits. `:memory:` ignores quantisation, float16 and
payload indexes and scores one record after another: good for a few hundred records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import TypeVar

import numpy as np
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

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
from rag.index.server_calls import (
    WRITE_S,
    Calls,
    LocalCalls,
    PatientCalls,
    SearchCalls,
    Server,
    one_search,
)
from rag.ports import IndexSpec
from rag.types import Candidate, Json, PageField, PageRecord, SparseVector

IN_MEMORY = ":memory:"
_FLOATS_PER_REQUEST = 1_000_000  # a server refuses bodies over 32 MiB; a float is 22 bytes of JSON
_IDS_PER_REQUEST = 10_000
_SEARCH_S, _WAIT_S = 10.0, 120.0
_LOOK_S = 3.0  # for a server that is only asked how it is

T = TypeVar("T")


def server_version(url: str, api_key: str | None, *, timeout_s: float = _LOOK_S) -> str:
    """What answers at `url`, as "Qdrant 1.19". Raises IndexUnavailable, within `timeout_s`."""
    client = _connected(url, api_key, timeout_s)
    try:
        info = SearchCalls(Server(client), timeout_s)("asked", client.info)
    except IndexUnavailable as error:
        if error.code == "index_refused":
            raise
        raise IndexUnavailable(
            f"nothing answers as Qdrant at the address of QDRANT_URL: {error.message}",
            code=error.code,
            next_step="Start the server (`docker compose up -d --wait`), or correct the address.",
        ) from error
    finally:
        client.close()
    return f"Qdrant {info.version}"


def drop_collection(
    url: str, collection: str, *, api_key: str | None = None, timeout_s: float = _LOOK_S
) -> None:
    """Delete a collection with all its records; one that is not there is no error.

    Raises:
        IndexUnavailable: the server does not do it within `timeout_s`.
    """
    client = _connected(url, api_key, timeout_s)
    try:
        SearchCalls(Server(client), timeout_s)(
            f"deleted (collection {collection!r})", partial(client.delete_collection, collection)
        )
    except IndexUnavailable as error:
        if error.code != "index_lost":
            raise
    finally:
        client.close()


def _connected(url: str, api_key: str | None, timeout_s: float) -> QdrantClient:
    """A client that has asked for nothing yet."""
    try:
        return QdrantClient(
            url=url,
            # As `api_key` the library would complain on stderr, also of a server on this machine.
            headers=None if api_key is None else {"api-key": api_key},
            # The library takes whole seconds; the calls end at their own time.
            timeout=int(timeout_s) + 1,
            check_compatibility=False,
        )
    except ValueError as error:
        raise IndexUnavailable(
            "QDRANT_URL is no address of a Qdrant server",
            code="index_refused",
            next_step="Write it as http://HOST:6333 or https://HOST:6333.",
        ) from error


class QdrantIndex:
    """PageIndex over one collection of a Qdrant server. Thread-safe.

    Made without a request: the first one looks whether the collection is as it should be, and
    makes it where there is none. So a server that is away fails what is asked of it, and nothing
    else.
    """

    def __init__(
        self,
        client: QdrantClient,
        collection: str,
        spec: IndexSpec,
        calls: Calls,
        *,
        has_records: Callable[[], bool] = lambda: False,
        wait_s: float = _WAIT_S,
    ) -> None:
        self._client = client
        self._collection = collection
        self._spec = spec
        self._calls = calls
        self._has_records = has_records
        self._wait_s = wait_s
        self._is_ready = False

    @classmethod
    def connect(
        cls,
        url: str,
        *,
        collection: str,
        spec: IndexSpec,
        api_key: str | None = None,
        search_s: float = _SEARCH_S,
        wait_s: float = _WAIT_S,
        has_records: Callable[[], bool] = lambda: False,
    ) -> QdrantIndex:
        """Asks for nothing yet.

        Args:
            url: of the server, or IN_MEMORY.
            collection: on the server.
            spec: of its records.
            api_key: of the server.
            search_s: that the server may take for one search.
            wait_s: that a writer waits for a server that is away.
            has_records: whether there should be some; a collection that is not there any more is
                then not made anew, because nothing would be found in it.

        Raises:
            IndexUnavailable: `index_refused`, the address is none.
        """
        calls: Calls
        if url == IN_MEMORY:
            client, calls = QdrantClient(IN_MEMORY), LocalCalls()
        else:
            client = _connected(url, api_key, max(search_s, WRITE_S))
            calls = SearchCalls(Server(client), search_s)
        return cls(client, collection, spec, calls, has_records=has_records, wait_s=wait_s)

    @classmethod
    def open(
        cls,
        url: str,
        *,
        collection: str,
        spec: IndexSpec,
        api_key: str | None = None,
        timeout_s: float = _SEARCH_S,
    ) -> QdrantIndex:
        """Connect, and make the collection where there is none.

        Raises:
            IndexUnavailable: nothing answers at `url` within `timeout_s`, or it refuses the key.
            IndexMismatch: the collection holds records of another shape; nothing was touched.
        """
        index = cls.connect(
            url, collection=collection, spec=spec, api_key=api_key, search_s=timeout_s
        )
        index._make_ready()
        return index

    # --- slow, or away --------------------------------------------------------------------------
    def patient(self) -> QdrantIndex:
        """The same records for one writer, who waits for a server that is away."""
        if not isinstance(self._calls, SearchCalls):
            return self
        return QdrantIndex(
            self._client,
            self._collection,
            self._spec,
            PatientCalls(self._calls.server, self._wait_s),
            has_records=self._has_records,
            wait_s=self._wait_s,
        )

    def require_ready(self) -> None:
        self._is_ready = False
        self._make_ready()

    def stop_waiting(self) -> None:
        if isinstance(self._calls, PatientCalls):
            self._calls.give_up()

    @property
    def waited_s(self) -> float:
        return self._calls.waited_s if isinstance(self._calls, PatientCalls) else 0.0

    def one_search(self) -> AbstractContextManager[None]:
        return one_search(getattr(self._calls, "timeout_s", None))

    def unhurried(self) -> AbstractContextManager[None]:
        return one_search(None)

    # --- records --------------------------------------------------------------------------------
    def upsert(self, records: Sequence[PageRecord]) -> None:
        check_records(records, self._spec)
        for batch in _batches(records):
            points = [
                models.PointStruct(
                    id=record.record_id,
                    vector={str(name): _stored(vector) for name, vector in record.vectors.items()},
                    payload=record.payload,
                )
                for record in batch
            ]
            self._ask("written", partial(self._client.upsert, self._collection, points, wait=True))

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
                if page_field is PageField.FDE and not isinstance(self._calls, LocalCalls)
                else None,
                with_payload=False,
                with_vector=False,
            )
            for page_field, query, limit in queries
        ]

        def found() -> list[list[Candidate]]:
            # A ValueError of fewer answers than searches is an answer that cannot be used.
            responses = self._client.query_batch_points(self._collection, requests)
            return [
                ranked(((str(point.id), point.score) for point in response.points), limit)
                for response, (_, _, limit) in zip(responses, queries, strict=True)
            ]

        return self._ask("searched", found)

    def vectors(self, record_ids: Sequence[str], page_field: PageField) -> dict[str, FloatArray]:
        name = str(page_field)
        records = self._retrieved(record_ids, with_payload=False, with_vectors=[name])
        return {
            str(record.id): np.asarray(record.vector[name], dtype=np.float32)
            for record in records
            if isinstance(record.vector, dict) and name in record.vector
        }

    def payloads(self, record_ids: Sequence[str]) -> dict[str, Json]:
        records = self._retrieved(record_ids, with_payload=True, with_vectors=False)
        return {str(record.id): record.payload or {} for record in records}

    def records(self, record_ids: Sequence[str]) -> list[PageRecord]:
        found = self._retrieved(record_ids, with_payload=True, with_vectors=True)
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
        chosen = models.FilterSelector(filter=passing)
        self._ask(
            "written",
            partial(self._client.set_payload, self._collection, changes, points=chosen, wait=True),
        )

    def ids(self, where: Filter | None = None) -> list[str]:
        passing = _filter(where)
        found: list[str] = []
        offset: models.ExtendedPointId | None = None
        while True:
            scroll = partial(
                self._client.scroll,
                self._collection,
                passing,
                limit=_IDS_PER_REQUEST,
                offset=offset,
                with_payload=False,
            )
            records, offset = self._ask("read", scroll)
            found += [str(record.id) for record in records]
            if offset is None:
                return sorted(found)

    def count(self, where: Filter | None = None) -> int:
        counted = partial(self._client.count, self._collection, _filter(where), exact=True)
        return self._ask("read", counted).count

    def delete(self, where: Filter) -> None:
        passing = _filter(where)
        assert passing is not None
        chosen = models.FilterSelector(filter=passing)
        self._ask("written", partial(self._client.delete, self._collection, chosen, wait=True))

    def close(self) -> None:
        self._client.close()

    def _retrieved(
        self, record_ids: Sequence[str], *, with_payload: bool, with_vectors: bool | list[str]
    ) -> list[models.Record]:
        return self._ask(
            "read",
            partial(
                self._client.retrieve,
                self._collection,
                list(record_ids),
                with_payload=with_payload,
                with_vectors=with_vectors,
            ),
        )

    # --- requests -------------------------------------------------------------------------------
    def _ask(self, doing: str, request: Callable[[], T]) -> T:
        self._make_ready()
        return self._asked(doing, request)

    def _asked(self, doing: str, request: Callable[[], T]) -> T:
        try:
            return self._calls(doing, request)
        except IndexUnavailable as error:
            if error.code != "index_lost":
                raise
            self._is_ready = False
            raise self._lost() from error

    def _make_ready(self) -> None:
        """Twice at the same time is the same as once.

        Raises:
            IndexUnavailable: as requests do; `index_lost`.
            IndexMismatch: the collection holds records of another shape; nothing was touched.
        """
        if self._is_ready:
            return
        if not self._asked("opened", partial(self._client.collection_exists, self._collection)):
            if self._has_records():
                raise self._lost()
            self._asked("opened", self._create)
        info = self._asked("opened", partial(self._client.get_collection, self._collection))
        self._check_schema(info)
        self._require_records(info)
        if not isinstance(self._calls, LocalCalls):
            self._index_payload(set(info.payload_schema))
        self._is_ready = True

    def _require_records(self, info: models.CollectionInfo) -> None:
        """Somebody may have made the collection anew: a search would find nothing in it.

        Whoever writes may, to fill it again.
        """
        if info.points_count or isinstance(self._calls, PatientCalls) or not self._has_records():
            return
        counted = partial(self._client.count, self._collection, exact=True)
        if self._asked("opened", counted).count == 0:
            raise self._lost()

    def _lost(self) -> IndexUnavailable:
        return IndexUnavailable(
            f"the Qdrant server has nothing in its collection {self._collection!r}, which held "
            "pages",
            code="index_lost",
            next_step="Check that QDRANT_URL is the server that held it and that its storage is "
            "there. If it is lost, ingest the documents into a new collection.",
        )

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

    def _index_payload(self, are_there: set[str]) -> None:
        schemas = dict.fromkeys(KEYWORD_KEYS, models.PayloadSchemaType.KEYWORD)
        schemas |= dict.fromkeys(INTEGER_KEYS, models.PayloadSchemaType.INTEGER)
        for key, schema in schemas.items():
            if key not in are_there:
                make = partial(
                    self._client.create_payload_index, self._collection, key, schema, wait=True
                )
                self._asked("opened", make)

    def _check_schema(self, info: models.CollectionInfo) -> None:
        params = info.config.params
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
