"""One suite over every PageIndex, with plain numpy as the oracle."""

import math
import os
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rag.errors import IndexMismatch, IndexUnavailable, InputError, ShapeError
from rag.filters import Condition, Filter, parse_filters
from rag.index.edge import EdgeIndex
from rag.index.process import IndexProcess
from rag.index.qdrant import IN_MEMORY, QdrantIndex
from rag.ports import IndexSpec, PageIndex
from rag.testing import MemoryIndex
from rag.types import Candidate, PageField, PageRecord, SparseVector

SPEC = IndexSpec(dim=8, dense_dim=6, fde_size=64)
# Edge keeps vectors in half precision: 11 bits.
CLOSE: dict[str, Any] = {"rtol": 2e-3, "atol": 2e-3}
MULTI_VECTORS = (PageField.PATCHES, PageField.HEADINGS, PageField.DENSE)
SPARSE = (PageField.WORDS, PageField.HEADING_WORDS)

HAS_SERVER = bool(os.environ.get("QDRANT_URL"))
REAL_STORES = ("edge", "process", "qdrant", *(("server",) if HAS_SERVER else ()))
STORES = (*REAL_STORES, "memory")


def record_id(number: int) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, str(number)))


def unit_rows(rng: np.random.Generator, n: int, dim: int) -> np.ndarray:
    rows = rng.standard_normal((n, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def sparse(weights: dict[int, float]) -> SparseVector:
    terms = sorted(weights)
    return SparseVector(
        np.array(terms, np.uint32), np.array([weights[term] for term in terms], np.float32)
    )


def pages(n: int, seed: int = 0) -> list[PageRecord]:
    """Ragged pages; every fifth has a payload alone, every third no headings."""
    rng = np.random.default_rng(seed)
    records = []
    for i in range(n):
        vectors: dict[PageField, Any] = {}
        if i % 5:
            vectors = {
                PageField.PATCHES: unit_rows(rng, int(rng.integers(1, 12)), SPEC.dim),
                PageField.DENSE: unit_rows(rng, int(rng.integers(1, 4)), SPEC.dense_dim),
                PageField.FDE: rng.standard_normal(SPEC.fde_size).astype(np.float32),
            }
            for field in SPARSE:
                terms = rng.choice(30, size=int(rng.integers(1, 9)), replace=False)
                vectors[field] = sparse({int(t): float(rng.random() + 0.1) for t in terms})
            if i % 3:
                vectors[PageField.HEADINGS] = unit_rows(rng, 2, SPEC.dim)
        payload = {
            "collection": "default",
            "document_id": f"doc-{i % 4}",
            "version_id": f"version-{i % 4}",
            "page_number": i + 1,
            "source": f"sub/{i % 4}.pdf",
            "readers": ["*"] if i % 2 else ["user:anna", "group:finance"],
            "metadata": {"year": 2020 + i % 3},
        }
        records.append(PageRecord(record_id(i), vectors, payload))
    return records


def make_index(store: str, folder: Path, spec: IndexSpec = SPEC) -> PageIndex:
    if store == "edge":
        return EdgeIndex.open(folder / "index", spec)
    if store == "process":
        return IndexProcess(folder / "index", spec)
    if store == "qdrant":
        return QdrantIndex.open(IN_MEMORY, collection="pages", spec=spec)
    if store == "server":
        return ServerIndex.made(spec)
    return MemoryIndex(spec)


class ServerIndex(QdrantIndex):
    """A collection of its own on the server of QDRANT_URL, removed when it is closed."""

    @classmethod
    def made(cls, spec: IndexSpec) -> QdrantIndex:
        key = os.environ.get("QDRANT_API_KEY")
        name = f"octavo-test-{uuid.uuid4()}"
        return cls.open(os.environ["QDRANT_URL"], collection=name, spec=spec, api_key=key)

    def close(self) -> None:
        self._client.delete_collection(self._collection)
        super().close()


@pytest.mark.skipif(not HAS_SERVER, reason="QDRANT_URL names no Qdrant server to test on")
def test_the_contract_runs_on_a_server_too() -> None:
    assert "server" in STORES


@pytest.fixture(scope="module", params=STORES)
def filled(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[PageIndex, list[PageRecord]]]:
    """An index nobody writes to any more, and what is in it."""
    index = make_index(request.param, tmp_path_factory.mktemp("index"))
    records = pages(60)
    for start in range(0, len(records), 16):
        index.upsert(records[start : start + 16])
    index.flush()
    yield index, records
    index.close()


@pytest.fixture(params=STORES)
def index(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PageIndex]:
    opened = make_index(request.param, tmp_path)
    yield opened
    opened.close()


@pytest.fixture(scope="module", params=STORES)
def refusing(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PageIndex]:
    """An index that tests only hand bad things to, and that must stay empty."""
    opened = make_index(request.param, tmp_path_factory.mktemp("refusing"))
    yield opened
    n_records = opened.count()
    opened.close()
    assert n_records == 0


# The index for tests does not know the limits of the stores.
stores_alone = pytest.mark.parametrize("refusing", REAL_STORES, indirect=True)


# --- the oracle ---------------------------------------------------------------------------------
def maxsim(query: np.ndarray, page: np.ndarray) -> float:
    return float(sum(max(float(q @ p) for p in page) for q in query))


def sparse_score(query: SparseVector, page: SparseVector, held: list[SparseVector]) -> float:
    score = 0.0
    for term, weight in zip(query.indices, query.values, strict=True):
        n_with = sum(int(term in other.indices) for other in held)
        idf = math.log((len(held) - n_with + 0.5) / (n_with + 0.5) + 1)
        score += float(weight) * idf * float(page.values[page.indices == term].sum())
    return score


def expected(records: list[PageRecord], field: PageField, query: Any) -> dict[str, float]:
    held = [record for record in records if field in record.vectors]
    if isinstance(query, SparseVector):
        return {
            record.record_id: sparse_score(
                query, record.vectors[field], [r.vectors[field] for r in held]
            )
            for record in held
            if set(query.indices.tolist()) & set(record.vectors[field].indices.tolist())
        }
    return {record.record_id: maxsim(query, record.vectors[field]) for record in held}


def assert_same_scores(found: list[Candidate], wanted: dict[str, float]) -> None:
    assert {candidate.record_id for candidate in found} == set(wanted)
    np.testing.assert_allclose(
        [candidate.score for candidate in found],
        [wanted[candidate.record_id] for candidate in found],
        **CLOSE,
    )
    order = [(-candidate.score, candidate.record_id) for candidate in found]
    assert order == sorted(order)


# --- searching ----------------------------------------------------------------------------------
@pytest.mark.parametrize("field", MULTI_VECTORS)
@pytest.mark.parametrize("n_query", [1, 5])
def test_multi_vectors_score_as_maxsim(filled, field, n_query):
    index, records = filled
    dim = SPEC.dense_dim if field is PageField.DENSE else SPEC.dim
    query = unit_rows(np.random.default_rng(7), n_query, dim)
    assert_same_scores(index.search(field, query, limit=100), expected(records, field, query))


def test_a_negative_similarity_is_a_score_like_any_other(index):
    page = np.eye(1, SPEC.dim, dtype=np.float32)
    index.upsert([PageRecord(record_id(0), {PageField.PATCHES: page}, {})])
    assert index.search(PageField.PATCHES, -page, limit=5) == [Candidate(record_id(0), -1.0)]


def test_one_dense_row_needs_no_second_axis(filled):
    index, _ = filled
    query = unit_rows(np.random.default_rng(3), 1, SPEC.dense_dim)
    assert index.search(PageField.DENSE, query[0], limit=9) == index.search(
        PageField.DENSE, query, limit=9
    )


@pytest.mark.parametrize("field", SPARSE)
def test_sparse_fields_score_with_the_idf_of_the_records_that_have_them(filled, field):
    index, records = filled
    query = sparse({1: 1.0, 7: 2.0, 12: 0.5, 4_000_000_000: 1.0})
    assert_same_scores(index.search(field, query, limit=100), expected(records, field, query))


def test_a_sparse_query_without_terms_finds_nothing(filled):
    index, _ = filled
    assert index.search(PageField.WORDS, sparse({}), limit=5) == []


def test_the_fde_nearest_to_the_query_comes_first(filled):
    index, records = filled
    for record in records[1:5]:
        query = record.vectors[PageField.FDE]
        found = index.search(PageField.FDE, query, limit=3)
        assert len(found) == 3
        assert found[0].record_id == record.record_id


def test_the_limit_cuts_the_best_off(filled):
    index, _ = filled
    query = unit_rows(np.random.default_rng(2), 3, SPEC.dim)
    every = index.search(PageField.PATCHES, query, limit=100)
    assert index.search(PageField.PATCHES, query, limit=7) == every[:7]
    assert index.search(PageField.PATCHES, query, limit=0) == []


def test_equal_scores_come_in_the_order_of_record_ids(index):
    page = np.eye(1, SPEC.dim, dtype=np.float32)
    records = [PageRecord(record_id(i), {PageField.PATCHES: page}, {}) for i in range(20)]
    index.upsert(records)
    found = index.search(PageField.PATCHES, page, limit=5)
    assert [candidate.record_id for candidate in found] == sorted(map(record_id, range(20)))[:5]


def test_a_filter_and_record_ids_both_hold(filled):
    index, records = filled
    query = unit_rows(np.random.default_rng(2), 3, SPEC.dim)
    where = Filter(must=(Condition("document_id", "$eq", "doc-1"),))
    among = [record.record_id for record in records[:30]] + [record_id(999)]
    found = index.search(PageField.PATCHES, query, limit=100, where=where, record_ids=among)
    wanted = expected(records, PageField.PATCHES, query)
    permitted = {r.record_id for r in records[:30] if where.matches(r.payload)}
    assert_same_scores(found, {key: wanted[key] for key in permitted & set(wanted)})
    assert index.search(PageField.PATCHES, query, limit=5, record_ids=[]) == []


def test_several_searches_in_one_request_equal_each_alone(filled):
    index, _ = filled
    rng = np.random.default_rng(5)
    queries = [
        (PageField.PATCHES, unit_rows(rng, 3, SPEC.dim), 9),
        (PageField.DENSE, unit_rows(rng, 1, SPEC.dense_dim), 4),
        (PageField.FDE, rng.standard_normal(SPEC.fde_size).astype(np.float32), 6),
        (PageField.WORDS, sparse({1: 1.0, 7: 1.0}), 50),
        (PageField.HEADING_WORDS, sparse({}), 50),
    ]
    where = Filter(must=(Condition("readers", "$in", ("*", "user:bert")),))
    together = index.search_many(queries, where=where)
    assert together == [
        index.search(field, query, limit=limit, where=where) for field, query, limit in queries
    ]
    assert index.search_many([]) == []


# --- reading back -------------------------------------------------------------------------------
def test_payloads_and_vectors_come_back_as_stored(filled):
    index, records = filled
    asked = [record.record_id for record in records] + [record_id(999)]
    assert index.payloads(asked) == {record.record_id: record.payload for record in records}
    for field in (*MULTI_VECTORS, PageField.FDE):
        found = index.vectors(asked, field)
        assert set(found) == {r.record_id for r in records if field in r.vectors}
        for record in records:
            if field in record.vectors:
                stored = found[record.record_id]
                assert stored.dtype == np.float32
                np.testing.assert_allclose(stored, record.vectors[field], **CLOSE)


def test_whole_records_come_back_and_may_be_stored_again(filled):
    index, records = filled
    wanted = sorted(records, key=lambda record: record.record_id)
    asked = [record.record_id for record in records] + [record_id(999)]
    found = index.records(asked)
    assert [record.record_id for record in found] == [record.record_id for record in wanted]
    for stored, record in zip(found, wanted, strict=True):
        assert stored.payload == record.payload
        assert set(stored.vectors) == set(record.vectors)
        for field, vector in record.vectors.items():
            held = stored.vectors[field]
            if isinstance(vector, SparseVector):
                assert isinstance(held, SparseVector)
                assert held.indices.tolist() == vector.indices.tolist()
                np.testing.assert_allclose(held.values, vector.values, **CLOSE)
            else:
                np.testing.assert_allclose(held, vector, **CLOSE)
    index.upsert(found)
    again = index.records(asked)
    for stored, record in zip(again, found, strict=True):
        for field, vector in record.vectors.items():
            if not isinstance(vector, SparseVector):
                assert np.array_equal(stored.vectors[field], vector)


def test_a_payload_changes_alone_and_wholly_by_key(filled):
    index, records = filled
    where = Filter(must=(Condition("version_id", "$eq", "version-1"),))
    changes = {"readers": ["group:new"], "metadata": {"only": 1}}
    patches = index.vectors([record.record_id for record in records], PageField.PATCHES)
    index.set_payload(where, changes)
    index.flush()
    for record in records:
        expected_payload = record.payload | (changes if where.matches(record.payload) else {})
        assert index.payloads([record.record_id])[record.record_id] == expected_payload
    after = index.vectors([record.record_id for record in records], PageField.PATCHES)
    assert all(np.array_equal(after[key], held) for key, held in patches.items())
    readable = Filter(must=(Condition("readers", "$in", ("group:new",)),))
    assert index.count(readable) == index.count(where) > 0


def test_ids_and_count_agree_with_what_was_stored(filled):
    index, records = filled
    assert index.ids() == sorted(record.record_id for record in records)
    assert index.count() == len(records)
    where = Filter(must=(Condition("page_number", "$lte", 10),))
    assert index.ids(where) == sorted(record.record_id for record in records[:10])
    assert index.count(where) == 10


def test_an_empty_index_answers_every_question(index):
    assert index.count() == 0
    assert index.ids() == []
    assert index.payloads([record_id(1)]) == {}
    assert index.vectors([record_id(1)], PageField.PATCHES) == {}
    assert index.search(PageField.WORDS, sparse({1: 1.0}), limit=5) == []
    index.upsert([])
    index.delete(Filter())
    index.flush()
    index.optimize()


# --- writing ------------------------------------------------------------------------------------
def test_a_second_upsert_replaces_the_whole_record(index):
    old, new = pages(3)[2], pages(8, seed=1)[7]
    index.upsert([old])
    index.upsert([PageRecord(old.record_id, {PageField.WORDS: sparse({3: 1.0})}, new.payload)])
    assert index.payloads([old.record_id]) == {old.record_id: new.payload}
    assert index.vectors([old.record_id], PageField.PATCHES) == {}
    query = unit_rows(np.random.default_rng(1), 1, SPEC.dim)
    assert index.search(PageField.PATCHES, query, limit=5) == []
    assert len(index.search(PageField.WORDS, sparse({3: 1.0}), limit=5)) == 1


def test_writing_the_same_records_twice_changes_no_score(index):
    records = pages(20)
    index.upsert(records)
    query = sparse({1: 1.0, 7: 2.0})
    once = index.search(PageField.WORDS, query, limit=20)
    index.upsert(records)
    assert index.count() == 20
    assert_same_scores(
        index.search(PageField.WORDS, query, limit=20),
        {candidate.record_id: candidate.score for candidate in once},
    )


def test_what_is_deleted_is_gone_from_every_answer(index):
    records = pages(20)
    index.upsert(records)
    where = Filter(must=(Condition("version_id", "$eq", "version-1"),))
    index.delete(where)
    index.flush()
    kept = [record for record in records if not where.matches(record.payload)]
    assert index.ids() == sorted(record.record_id for record in kept)
    query = unit_rows(np.random.default_rng(1), 2, SPEC.dim)
    assert_same_scores(
        index.search(PageField.PATCHES, query, limit=50), expected(kept, PageField.PATCHES, query)
    )
    found = {c.record_id for c in index.search(PageField.WORDS, sparse({1: 1.0}), limit=50)}
    assert found <= {record.record_id for record in kept}


def test_optimizing_changes_no_answer(index):
    records = pages(40)
    index.upsert(records)
    query = unit_rows(np.random.default_rng(1), 2, SPEC.dim)
    index.optimize()
    assert_same_scores(
        index.search(PageField.PATCHES, query, limit=50),
        expected(records, PageField.PATCHES, query),
    )


def test_threads_may_write_and_search_at_once(index):
    records = pages(80)
    query = unit_rows(np.random.default_rng(1), 2, SPEC.dim)

    def write(start: int) -> None:
        for at in range(start, start + 20, 5):
            index.upsert(records[at : at + 5])
            index.flush()

    def search(_: int) -> list[int]:
        return [len(index.search(PageField.PATCHES, query, limit=100)) for _ in range(10)]

    with ThreadPoolExecutor(max_workers=6) as pool:
        writing = [pool.submit(write, start) for start in range(0, 80, 20)]
        seen = [n for counts in pool.map(search, range(2)) for n in counts]
        for future in writing:
            future.result()
    assert max(seen) <= 64
    assert_same_scores(
        index.search(PageField.PATCHES, query, limit=100),
        expected(records, PageField.PATCHES, query),
    )


# --- refusing -----------------------------------------------------------------------------------
def row(*values: float) -> np.ndarray:
    return np.array([values], np.float32)


BAD_VECTORS = {
    "NaN": (PageField.PATCHES, row(*[np.nan] * SPEC.dim)),
    "infinity": (PageField.PATCHES, row(1, 2, 3, 4, 5, 6, 7, np.inf)),
    "a row of zeros": (PageField.PATCHES, np.eye(9, SPEC.dim, dtype=np.float32)),
    "no rows": (PageField.HEADINGS, np.zeros((0, SPEC.dim), np.float32)),
    "another dim": (PageField.DENSE, np.ones((2, SPEC.dim), np.float32)),
    "one axis for a multi-vector": (PageField.PATCHES, np.ones(SPEC.dim, np.float32)),
    "an fde of another size": (PageField.FDE, np.ones(32, np.float32)),
    "an fde of zeros": (PageField.FDE, np.zeros(SPEC.fde_size, np.float32)),
    "an array in a sparse field": (PageField.WORDS, np.ones((1, 4), np.float32)),
    "terms in a dense field": (PageField.PATCHES, sparse({1: 1.0})),
    "no terms": (PageField.WORDS, sparse({})),
    "an infinite weight": (PageField.WORDS, sparse({1: np.inf})),
}


@pytest.mark.parametrize("name", BAD_VECTORS)
def test_a_bad_vector_is_refused_and_nothing_of_its_batch_written(refusing, name):
    field, vector = BAD_VECTORS[name]
    good = PageRecord(record_id(0), {PageField.WORDS: sparse({1: 1.0})}, {})
    with pytest.raises(ShapeError):
        refusing.upsert([good, PageRecord(record_id(1), {field: vector}, {})])
    assert refusing.count() == 0


@stores_alone
@pytest.mark.parametrize(
    ("field", "vector"),
    [
        (PageField.PATCHES, np.full((1, SPEC.dim), 70_000, np.float32)),
        (PageField.PATCHES, np.ones((150_000, SPEC.dim), np.float32)),
        (PageField.WORDS, SparseVector(np.array([2, 1], np.uint32), np.ones(2, np.float32))),
        (PageField.WORDS, SparseVector(np.array([1, 2], np.uint32), np.ones(3, np.float32))),
    ],
    ids=["beyond float16", "too many rows", "terms out of order", "weights without terms"],
)
def test_what_a_store_cannot_hold_is_refused(refusing, field, vector):
    with pytest.raises(ShapeError):
        refusing.upsert([PageRecord(record_id(1), {field: vector}, {})])


@stores_alone
@pytest.mark.parametrize(
    "payload",
    [{"source": "x" * 2_000_000}, {"metadata": {"x": float("nan")}}, {"metadata": {"x": {1}}}],
    ids=["too long", "not a number", "not JSON"],
)
def test_a_payload_that_is_too_long_or_no_json_is_refused(refusing, payload):
    with pytest.raises(ShapeError):
        refusing.upsert([PageRecord(record_id(1), {}, payload)])


@stores_alone
@pytest.mark.parametrize("bad_id", ["page-7", "7", record_id(1).upper(), record_id(1)[:-1]])
def test_an_id_that_would_come_back_different_is_refused(refusing, bad_id):
    with pytest.raises(ShapeError):
        refusing.upsert([PageRecord(bad_id, {}, {})])


@stores_alone
@pytest.mark.parametrize(
    ("field", "query"),
    [
        (PageField.PATCHES, np.ones((2, 3), np.float32)),
        (PageField.PATCHES, np.zeros((0, SPEC.dim), np.float32)),
        (PageField.PATCHES, np.full((1, SPEC.dim), np.nan, np.float32)),
        (PageField.FDE, np.ones((1, SPEC.fde_size), np.float32)),
        (PageField.WORDS, np.ones(4, np.float32)),
        (PageField.DENSE, sparse({1: 1.0})),
    ],
    ids=["dim", "no rows", "NaN", "fde rows", "array as words", "words as array"],
)
def test_a_bad_query_is_refused(refusing, field, query):
    with pytest.raises(ShapeError):
        refusing.search(field, query, limit=3)


def test_a_field_of_size_zero_is_not_in_the_index(tmp_path):
    spec = IndexSpec(dim=8, dense_dim=0, fde_size=64)
    for name in ("edge", "qdrant"):
        index = make_index(name, tmp_path, spec)
        with pytest.raises(ShapeError, match="without dense"):
            index.search(PageField.DENSE, np.ones((1, 0), np.float32), limit=1)
        index.close()


@pytest.mark.parametrize("name", ["edge", "qdrant"])
def test_a_closed_index_says_that_it_is_unavailable(tmp_path, name):
    index = make_index(name, tmp_path)
    index.close()
    with pytest.raises(IndexUnavailable):
        index.count()


# --- filters ------------------------------------------------------------------------------------
KEYS = ("a", "b", "we ird", "a-b", "nested.c")
POOL: list[Any] = ["", "x", "X", "Zürich", "2", True, False, 0, 1, 2, -1, 2.0, 2.5, -1.0, 1e300]
BIG = [2**53 + 1, 2**60 + 1, 2**60]
POOL += BIG


def population(n: int) -> list[PageRecord]:
    """Payloads with every kind of value under every key, alone, in lists, and absent."""
    random = Random(4)

    def value() -> Any:
        kind = random.random()
        if kind < 0.5:
            return random.choice(POOL)
        if kind < 0.8:
            return random.choices(POOL, k=random.randint(0, 3))
        return None

    records = []
    for i in range(n):
        metadata: dict[str, Any] = {}
        for key in KEYS:
            if random.random() < 0.7:
                parent, _, leaf = key.rpartition(".")
                (metadata.setdefault(parent, {}) if parent else metadata)[leaf] = value()
        payload = {
            "document_id": f"doc-{i % 7}",
            "version_id": f"version-{i % 7}",
            "page_number": i % 12,
            "source": random.choice(["a.pdf", "sub/a.pdf", ""]),
            "readers": random.sample(["*", "user:anna", "group:finance"], random.randint(0, 3)),
            "metadata": metadata,
        }
        records.append(PageRecord(record_id(i), {}, payload))
    return records


PAYLOADS = population(120)
values = st.sampled_from([*POOL, "doc-3", "*", "a.pdf", 3, 7.5, 11.0])
keys = st.sampled_from([*(f"metadata.{key}" for key in KEYS), "metadata.absent", "metadata"]) | (
    st.sampled_from(["document_id", "version_id", "page_number", "source", "readers", "absent"])
)
# Numbers beyond 2**53 are exact for $eq and $in alone.
bounds = st.sampled_from([0, 1, 2, 2.0, 2.5, -1, 6, 6.5, 1e300, -1e300, 10**30])
conditions = st.one_of(
    st.builds(Condition, keys, st.sampled_from(["$eq", "$ne"]), values),
    st.builds(
        Condition, keys, st.sampled_from(["$in", "$nin"]), st.lists(values, max_size=4).map(tuple)
    ),
    st.builds(Condition, keys, st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), bounds),
    st.builds(Condition, keys, st.just("$exists"), st.booleans()),
)
filters = st.recursive(
    st.builds(Filter, must=st.lists(conditions, max_size=2).map(tuple)),
    lambda inner: st.builds(
        Filter,
        must=st.lists(inner | conditions, max_size=2).map(tuple),
        should=st.lists(inner | conditions, max_size=3).map(tuple),
        must_not=st.lists(inner | conditions, max_size=2).map(tuple),
    ),
    max_leaves=6,
)


@pytest.fixture(scope="module", params=REAL_STORES)
def payloads_only(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PageIndex]:
    index = make_index(request.param, tmp_path_factory.mktemp("payloads"))
    index.upsert(PAYLOADS)
    yield index
    index.close()


@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(where=filters)
def test_a_store_passes_what_the_filter_matches(payloads_only, where):
    wanted = sorted(r.record_id for r in PAYLOADS if where.matches(r.payload))
    assert payloads_only.ids(where) == wanted
    assert payloads_only.count(where) == len(wanted)


@pytest.mark.parametrize("key", ["metadata.a", "metadata.nested.c", "page_number", "readers"])
@pytest.mark.parametrize("value", [*POOL, "*", 3, 7.5])
def test_every_value_is_told_from_every_other(payloads_only, key, value):
    where = Filter(must=(Condition(key, "$eq", value),))
    wanted = sorted(r.record_id for r in PAYLOADS if where.matches(r.payload))
    assert payloads_only.ids(where) == wanted


def test_a_parsed_filter_reaches_the_metadata(payloads_only):
    where = parse_filters({"$or": [{"a": {"$gte": 2}}, {"$not": {"b": {"$exists": True}}}]})
    wanted = sorted(r.record_id for r in PAYLOADS if where.matches(r.payload))
    assert 0 < len(wanted) < len(PAYLOADS)
    assert payloads_only.ids(where) == wanted


@pytest.mark.parametrize("value", [float("inf"), float("nan"), -float("inf")])
def test_a_bound_that_is_not_finite_is_refused(payloads_only, value):
    with pytest.raises(InputError):
        payloads_only.count(Filter(must=(Condition("metadata.a", "$gt", value),)))


def test_a_key_with_a_double_quote_is_refused(payloads_only):
    with pytest.raises(InputError):
        payloads_only.count(Filter(must=(Condition('metadata.a"b', "$eq", 1),)))


# --- opening ------------------------------------------------------------------------------------
def test_a_collection_of_another_shape_is_a_mismatch(tmp_path):
    make_index("edge", tmp_path).close()
    with pytest.raises(IndexMismatch, match=r"dim 8.*dim 9"):
        make_index("edge", tmp_path, IndexSpec(dim=9, dense_dim=6, fde_size=64))
    make_index("edge", tmp_path).close()
