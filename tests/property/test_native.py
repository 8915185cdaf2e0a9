"""MaxSim over packed pages, by every instruction set of this processor and by numpy.

What a storage holds is scored in float64 by the oracle `maxsim`; the kernels must agree with it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rag.errors import ShapeError
from rag.geometry import FloatArray
from rag.scoring import native, quantize
from rag.scoring.maxsim import maxsim, maxsim_many
from rag.scoring.packed import PackedRows, Storage, maxsim_packed

FLOATS = (Storage.FP32, Storage.FP16)
# Around the rows of a register tile of each set (4, 6, 12), and around a block of signs (32).
LENGTHS = (0, 1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 24, 25, 31, 32, 33, 64, 65, 700)
KINDS = ("unit", "negative", "ties", "extreme", "zeros and rows", "alike")
dims = st.integers(1, 64).map(lambda n: n * 16)
few_queries = st.sampled_from([1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 64, 65])
lengths = st.lists(st.sampled_from(LENGTHS), min_size=1, max_size=5)
storages = st.sampled_from(list(Storage))
seeds = st.integers(0, 2**32 - 1)
thorough = settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def unit(rows: FloatArray) -> FloatArray:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def made_up(
    seed: int, dim: int, n_query: int, lengths: list[int], kind: str = "unit"
) -> tuple[FloatArray, list[FloatArray]]:
    rng = np.random.default_rng(seed)
    query = unit(rng.standard_normal((n_query, dim)))
    pages = [unit(rng.standard_normal((n, dim))) for n in lengths]
    match kind:
        case "negative":  # every similarity is below zero
            query, pages = np.abs(query), [-np.abs(page) for page in pages]
        case "ties":
            pages = [page[rng.integers(0, max(len(page) // 3, 1), len(page))] for page in pages]
        case "extreme":  # as far as float16 goes, in both directions
            few = np.array([65504, -65504, 6e-8, -6e-8, 1, 0], dtype=np.float32)
            pages = [rng.choice(few, page.shape) for page in pages]
        case "zeros and rows":
            query[::2] = 0
            pages = [np.zeros_like(page) if i % 2 else page for i, page in enumerate(pages)]
        case "alike":  # the sums of a dot product all go one way
            query[:], pages = dim**-0.5, [np.full_like(page, dim**-0.5) for page in pages]
    return query, pages


def allowed(query: FloatArray, pages: PackedRows, relative: float) -> FloatArray:
    """(n,) `relative` to the largest score that rows of these lengths could have."""
    longest = [
        np.linalg.norm(pages.page(i).astype(np.float64), axis=1).max(initial=0)
        for i in range(len(pages))
    ]
    return np.array(longest) * np.linalg.norm(query.astype(np.float64), axis=1).sum() * relative


def check(scores: FloatArray, query: FloatArray, pages: PackedRows, relative: float) -> None:
    expected = np.array([maxsim(query, pages.page(i)) for i in range(len(pages))])
    has_rows = pages.n_rows > 0
    assert scores.dtype == np.float32
    assert (scores[~has_rows] == -np.inf).all()
    off = np.abs(scores[has_rows] - expected[has_rows])
    # A float32 score of 65504 rows has a last bit of its own.
    last_bit = np.abs(expected[has_rows]) * 2.0**-23
    assert (off <= allowed(query, pages, relative)[has_rows] + last_bit).all(), off.max()


def as_met(query: FloatArray, storage: Storage, kernels: str) -> list[FloatArray]:
    """The query rows that these kernels may multiply the stored rows with."""
    if storage is Storage.INT8:
        codes, scales = quantize.query_to_int8(query)
        return [codes.astype(np.float32) * scales[:, None]]
    if storage is Storage.BF16 and kernels == "avx512":
        # Only some of these processors have dot products of bfloat16.
        return [query, quantize.from_bf16(quantize.to_bf16(query))]
    return [query]


def sums_by_table(query: FloatArray, pages: PackedRows, index: int) -> float:
    """What a page of signs scores by the 8-bit tables of the query, one look-up at a time."""
    tables, scale, offset = quantize.query_to_tables(query)
    begin, n = int(pages.first[index]), int(pages.n_rows[index])
    blocks = pages.data[begin : begin + int(pages.n_units[index])]
    up = quantize.from_bits(blocks, n) > 0  # (n, dim)
    index_of = (up.reshape(n, -1, 4) * [1, 2, 4, 8]).sum(axis=2)  # (n, groups)
    each = tables[:, np.arange(index_of.shape[1]), index_of]  # (n_query, n, groups)
    best = each.sum(axis=2, dtype=np.int64).max(axis=1)
    total = (scale.astype(np.float64) * best + offset).sum()
    return float(total / np.sqrt(query.shape[1]))


def check_storage(
    kernels: str, storage: Storage, query: FloatArray, matrices: list[FloatArray]
) -> None:
    pages = PackedRows.pack(matrices, storage)
    scores = maxsim_packed(query, pages)
    if storage is Storage.BITS and kernels != "numpy":
        for index in np.flatnonzero(pages.n_rows > 0):
            expected = sums_by_table(query, pages, int(index))
            size = np.abs(query).sum() / np.sqrt(query.shape[1])
            # The sums are whole numbers; what is left is the last bit of the score.
            assert scores[index] == pytest.approx(expected, rel=2e-7, abs=2e-7 * size)
        assert (scores[pages.n_rows == 0] == -np.inf).all()
        return
    errors = []
    for met in as_met(query, storage, kernels):
        try:
            check(scores, met, pages, 1e-6)
        except AssertionError as error:
            errors.append(error)
        else:
            return
    raise errors[-1]


# --- against the oracle --------------------------------------------------------------------------
@given(
    seed=seeds,
    dim=dims,
    n_query=few_queries,
    lengths=lengths,
    storage=storages,
    kind=st.sampled_from(KINDS[:-1]),
)
@thorough
def test_packed_pages_score_as_the_oracle_says(
    kernels: str,
    seed: int,
    dim: int,
    n_query: int,
    lengths: list[int],
    storage: Storage,
    kind: str,
) -> None:
    check_storage(kernels, storage, *made_up(seed, dim, n_query, lengths, kind))


@pytest.mark.parametrize("storage", list(Storage))
@pytest.mark.parametrize("n_query", [1, 1023, 1024])
@pytest.mark.parametrize("dim", [16, 64, 80, 128, 144, 1024])
def test_the_largest_queries_and_rows_score_as_the_oracle_says(
    kernels: str, dim: int, n_query: int, storage: Storage
) -> None:
    check_storage(kernels, storage, *made_up(dim + n_query, dim, n_query, [1, 0, 13, 33]))


@pytest.mark.parametrize("storage", list(Storage))
def test_every_number_of_rows_up_to_three_blocks_of_signs(kernels: str, storage: Storage) -> None:
    check_storage(kernels, storage, *made_up(5, 48, 5, list(range(97))))


@pytest.mark.parametrize("storage", FLOATS)
def test_rounding_adds_up_where_all_rows_are_alike_and_long(kernels: str, storage: Storage) -> None:
    # Every product is the same, so that every sum is rounded the same way: the worst there is.
    for dim in (64, 128, 320, 1024):
        pages = PackedRows.pack(made_up(0, dim, 8, [40], "alike")[1], storage)
        query = made_up(0, dim, 8, [], "alike")[0]
        check(maxsim_packed(query, pages), query, pages, dim * 2.0**-24)


@given(seed=seeds, dim=st.sampled_from([64, 128, 320]), n_query=st.integers(16, 64))
@settings(thorough, max_examples=15)
def test_int8_pages_are_within_3e_3_of_exact_maxsim_for_rows_of_unit_length(
    kernels: str, seed: int, dim: int, n_query: int
) -> None:
    query, pages = made_up(seed, dim, n_query, [1, 30, 700])
    scores = maxsim_packed(query, PackedRows.pack(pages, Storage.INT8))
    exact = [maxsim(query, page) for page in pages]
    np.testing.assert_allclose(scores, exact, rtol=0, atol=3e-3 * n_query)


@given(seed=seeds, dim=dims, n_query=few_queries)
@settings(thorough, max_examples=15)
def test_signs_are_within_half_a_step_of_each_table_entry_of_the_float_query(
    kernels: str, seed: int, dim: int, n_query: int
) -> None:
    query, matrices = made_up(seed, dim, n_query, [1, 33, 200])
    pages = PackedRows.pack(matrices, Storage.BITS)
    _, scale, _ = quantize.query_to_tables(query)
    exact = [maxsim(query, pages.page(i)) for i in range(3)]
    bound = (0.5 * scale * dim / 4).sum() / np.sqrt(dim)
    np.testing.assert_allclose(maxsim_packed(query, pages), exact, rtol=1e-6, atol=bound)


@given(seed=seeds, dim=st.integers(1, 1100), n_query=few_queries, lengths=lengths)
@settings(thorough, max_examples=20)
def test_separate_matrices_of_any_dim_score_as_the_oracle_says(
    kernels: str, seed: int, dim: int, n_query: int, lengths: list[int]
) -> None:
    query, pages = made_up(seed, dim, n_query, lengths)
    expected = [maxsim(query, page) for page in pages]
    np.testing.assert_allclose(
        maxsim_many(query, pages), expected, rtol=1e-6, atol=1e-6 * len(query)
    )


# --- worked by hand ------------------------------------------------------------------------------
def rows(*values: tuple[float, ...]) -> FloatArray:
    """Filled with zeros to 16 columns."""
    out = np.zeros((len(values), 16), dtype=np.float32)
    for row, each in zip(out, values, strict=True):
        row[: len(each)] = each
    return out


@pytest.mark.parametrize("storage", [Storage.FP32, Storage.FP16, Storage.BF16, Storage.INT8])
def test_the_worked_examples_score_1_8_and_minus_0_6(kernels: str, storage: Storage) -> None:
    near = {Storage.FP32: 1e-6, Storage.FP16: 1e-3, Storage.BF16: 1e-2, Storage.INT8: 1e-2}
    pages = PackedRows.pack([rows((0.6, 0.8), (1, 0))], storage)
    assert maxsim_packed(rows((1, 0), (0, 1)), pages)[0] == pytest.approx(1.8, abs=near[storage])
    pages = PackedRows.pack([rows((1, 0), (0, 1)), rows((-0.6, 0.8)), rows((1, 0))], storage)
    scores = maxsim_packed(rows((1, 0)), pages)
    assert scores == pytest.approx([1, -0.6, 1], abs=near[storage])


def test_signs_of_the_worked_example_give_the_dot_product_2(kernels: str) -> None:
    query, page = (0.3, -0.2, 0.5, -0.1), (0.1, 0.4, 0.2, -0.3)
    signs = np.where(rows(query) > 0, 1, -1) * (np.arange(16) < 4)  # the other 12 weigh nothing
    pages = PackedRows.pack([rows(page)], Storage.BITS)
    # Stored signs have unit length: sqrt(16) here.
    assert maxsim_packed(signs.astype(np.float32), pages)[0] * 4 == pytest.approx(2, abs=0.05)


@pytest.mark.parametrize("storage", list(Storage))
def test_pages_and_query_rows_of_zeros_score_zero(kernels: str, storage: Storage) -> None:
    query = made_up(1, 32, 3, [])[0]
    zeros = PackedRows.pack([np.zeros((40, 32), np.float32)], storage)
    if storage is not Storage.BITS:  # whose zeros are signs like others
        assert maxsim_packed(query, zeros).tolist() == [0]
    pages = PackedRows.pack(made_up(2, 32, 3, [40])[1], storage)
    assert maxsim_packed(np.zeros((3, 32), np.float32), pages).tolist() == [0]
    with_zero = np.vstack([query, np.zeros((1, 32), np.float32)])
    assert maxsim_packed(with_zero, pages) == pytest.approx(maxsim_packed(query, pages), rel=1e-6)


@pytest.mark.parametrize("storage", [Storage.FP32, Storage.INT8])
@pytest.mark.parametrize("size", [1e-40, 1e-30, 1e15])
def test_rows_of_any_size_score_in_proportion(kernels: str, storage: Storage, size: float) -> None:
    query, pages = made_up(3, 32, 4, [20])
    small = PackedRows.pack([(page * size).astype(np.float32) for page in pages], storage)
    plain = maxsim_packed(query, PackedRows.pack(pages, storage))
    assert maxsim_packed(query, small) == pytest.approx(plain * size, rel=0.02)
    if storage is Storage.INT8:
        sized = maxsim_packed((query * size).astype(np.float32), PackedRows.pack(pages, storage))
        assert sized == pytest.approx(plain * size, rel=0.02)


# --- the same bits, whatever lies around a page --------------------------------------------------
def moved(pages: PackedRows, by: int) -> PackedRows:
    """The same rows at an address that is no multiple of anything."""
    raw = np.zeros(pages.data.nbytes + 64 + 64 * 4, dtype=np.uint8)
    start = -raw.ctypes.data % 64 + by * pages.data.itemsize
    data = raw[start : start + pages.data.nbytes].view(pages.data.dtype)
    data = data.reshape(pages.data.shape)
    data[:] = pages.data
    return replace(pages, data=data)


@given(
    seed=seeds,
    dim=dims,
    n_query=few_queries,
    lengths=st.lists(st.sampled_from(LENGTHS), min_size=2, max_size=8),
    storage=storages,
    data=st.data(),
)
@settings(thorough, max_examples=20)
def test_a_page_scores_the_same_bits_alone_in_any_order_and_at_any_address(
    kernels: str,
    seed: int,
    dim: int,
    n_query: int,
    lengths: list[int],
    storage: Storage,
    data: st.DataObject,
) -> None:
    query, matrices = made_up(seed, dim, n_query, lengths)
    pages = PackedRows.pack(matrices, storage)
    scores = maxsim_packed(query, pages)
    alone = [maxsim_packed(query, PackedRows.pack([page], storage))[0] for page in matrices]
    np.testing.assert_array_equal(scores, alone)
    among = np.array(data.draw(st.lists(st.sampled_from(range(len(pages))))), dtype=np.int64)
    np.testing.assert_array_equal(maxsim_packed(query, pages, among), scores[among])
    order = data.draw(st.permutations(range(len(pages))))
    shuffled = PackedRows.pack([matrices[i] for i in order], storage)
    np.testing.assert_array_equal(maxsim_packed(query, shuffled), scores[order])
    if kernels != "numpy":  # BLAS may add up in another order at another address
        elsewhere = moved(pages, data.draw(st.integers(0, 63)))
        np.testing.assert_array_equal(maxsim_packed(query, elsewhere), scores)


@pytest.mark.parametrize("storage", list(Storage))
def test_query_rows_score_the_same_in_any_lane(isa: str, storage: Storage) -> None:
    query, matrices = made_up(9, 64, 70, [50])
    pages = PackedRows.pack(matrices, storage)
    one_row = [maxsim_packed(row[None], pages)[0] for row in query]
    for n in (1, 15, 16, 17, 32, 33, 70):
        together = maxsim_packed(query[:n], pages)[0]
        assert together == pytest.approx(np.sum(one_row[:n], dtype=np.float64), rel=5e-7)


@pytest.mark.parametrize("storage", list(Storage))
def test_scores_are_the_same_bits_with_one_thread_and_with_many(
    isa: str, library: native.Library, storage: Storage
) -> None:
    query, matrices = made_up(4, 128, 20, [1, 5, 33, 700] * 25)
    pages = PackedRows.pack(matrices, storage)
    try:
        scores = []
        for threads in (1, 2, 3, 8):
            native.Library(native.PATH, threads=threads)
            scores += [maxsim_packed(query, pages) for _ in range(5)]
    finally:
        native.Library(native.PATH, threads=library.threads)
    for each in scores[1:]:
        np.testing.assert_array_equal(each, scores[0])


def test_several_python_threads_at_once_get_their_own_scores(kernels: str) -> None:
    jobs = []
    for n, storage in enumerate(list(Storage) * 4):
        query, matrices = made_up(n, 64, n + 1, [3, 40, 100, 0, 12])
        jobs.append((query, PackedRows.pack(matrices, storage)))
    expected = [maxsim_packed(*job) for job in jobs]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: maxsim_packed(*jobs[n % len(jobs)]), range(200)))
    for n, scores in enumerate(found):
        np.testing.assert_array_equal(scores, expected[n % len(jobs)])


FORKS = """
    import os, sys, threading
    import numpy as np
    from rag.scoring import native
    from rag.scoring.packed import PackedRows, Storage, maxsim_packed

    native.library()  # which sets its own number of threads
    native.Library(native.PATH, threads=4)
    rng = np.random.default_rng(0)
    query = rng.standard_normal((32, 128)).astype(np.float32)
    matrices = [rng.standard_normal((200, 128)).astype(np.float32) for _ in range(50)]
    pages = PackedRows.pack(matrices, Storage.INT8)
    expected = maxsim_packed(query, pages)
    done = threading.Event()

    def score():
        while not done.is_set():
            assert (maxsim_packed(query, pages) == expected).all()

    others = [threading.Thread(target=score) for _ in range(2)]
    for other in others:
        other.start()
    for _ in range(30):
        child = os.fork()
        if child == 0:
            right = (maxsim_packed(query, pages) == expected).all()
            tasks = "/proc/self/task"  # the child starts helpers of its own
            helped = not os.path.isdir(tasks) or len(os.listdir(tasks)) == 4
            os._exit(0 if right and helped else 3)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code:
            print("the child left with", code)
            os._exit(1)
    done.set()
    for other in others:
        other.join()
    assert (maxsim_packed(query, pages) == expected).all()
    print("fine")
"""


def test_calls_work_in_a_forked_child_whatever_the_parent_was_doing(isa: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(FORKS)],
        env={**os.environ, "OCTAVO_NATIVE": isa},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stdout == "fine\n", done.stdout + done.stderr


# --- what cannot be scored -----------------------------------------------------------------------
@pytest.mark.parametrize(
    ("query", "says"),
    [
        (np.zeros((0, 32), np.float32), "wants a query"),
        (np.zeros((1025, 32), np.float32), "wants a query"),
        (np.zeros((2, 48), np.float32), "wants a query"),
        (np.zeros(32, np.float32), "wants a query"),
        (np.full((2, 32), np.nan, np.float32), "NaN"),
        (np.full((2, 32), -np.inf, np.float32), "infinite"),
        (np.full((2, 32), 1e39), "beyond 1e"),
    ],
    ids=["no rows", "too many rows", "other dim", "no matrix", "NaN", "infinite", "too large"],
)
def test_queries_that_cannot_be_scored_are_refused(
    kernels: str, query: FloatArray, says: str
) -> None:
    pages = PackedRows.pack(made_up(0, 32, 1, [5])[1], Storage.FP32)
    with pytest.raises(ShapeError, match=says):
        maxsim_packed(query, pages)


@pytest.mark.parametrize(
    "among",
    [
        np.array([0, 2]),
        np.array([-1]),
        np.array([2**62]),
        np.array([True, False]),
        np.array([0.0, 1.0]),
        np.array([[0, 1]]),
    ],
    ids=["one too many", "negative", "huge", "a mask", "no whole numbers", "a matrix"],
)
def test_page_numbers_that_do_not_exist_are_refused(
    kernels: str, among: np.ndarray[tuple[int, ...], np.dtype[np.int64]]
) -> None:
    query, matrices = made_up(0, 32, 1, [5, 6])
    pages = PackedRows.pack(matrices, Storage.INT8)
    with pytest.raises(ShapeError, match="page number"):
        maxsim_packed(query, pages, among)
    assert maxsim_packed(query, pages, np.array([], dtype=np.int64)).shape == (0,)


@pytest.mark.parametrize(
    "page",
    [
        np.full((2, 32), np.nan, np.float32),
        np.full((2, 32), np.inf, np.float32),
        np.zeros((2, 48), np.float32),
        np.zeros(32, np.float32),
    ],
    ids=["NaN", "infinite", "other dim", "no matrix"],
)
def test_pages_that_cannot_be_packed_are_named(page: FloatArray) -> None:
    good = np.zeros((2, 32), np.float32)
    for storage in Storage:
        with pytest.raises(ShapeError, match="page 1 "):
            PackedRows.pack([good, page, good], storage)
    with pytest.raises(ShapeError, match="at least one page"):
        PackedRows.pack([], Storage.FP32)


@pytest.mark.parametrize("storage", list(Storage))
def test_values_that_a_storage_cannot_hold_are_refused(storage: Storage) -> None:
    for value in (1e17, 3.4e38):
        with pytest.raises(ShapeError, match=f"page 0 .*{storage}"):
            PackedRows.pack([np.full((1, 16), -value, np.float32)], storage)
    with pytest.raises(ShapeError, match=r"page 0 .*65504"):
        PackedRows.pack([np.full((1, 16), 65_505, np.float32)], Storage.FP16)


def test_packed_rows_that_do_not_fit_together_are_refused() -> None:
    int8 = PackedRows.pack(made_up(0, 32, 1, [5, 40])[1], Storage.INT8)
    bits = PackedRows.pack(made_up(0, 32, 1, [5, 40])[1], Storage.BITS)
    far = np.array([0, 2**63 - 3])
    for wrong in (
        lambda: replace(int8, first=np.array([0, 6])),
        lambda: replace(int8, first=np.array([-1, 5])),
        lambda: replace(int8, first=far),
        lambda: replace(int8, first=np.array([0])),
        lambda: replace(int8, n_rows=np.array([5, 41])),
        lambda: replace(int8, n_rows=np.array([5, -1])),
        lambda: replace(int8, n_rows=far),
        lambda: replace(bits, n_rows=np.array([5, 65])),
        lambda: replace(int8, scales=None),
        lambda: replace(int8, scales=np.ones(1, np.float32)),
        lambda: replace(int8, scales=np.array([1, np.nan], np.float32)),
        lambda: replace(bits, scales=np.ones(2, np.float32)),
        lambda: replace(int8, dim=24),
        lambda: replace(int8, dim=1040),
        lambda: replace(int8, dim=48),
        lambda: replace(int8, data=int8.data.astype(np.int16)),
        lambda: replace(int8, data=np.asfortranarray(int8.data)),
    ):
        with pytest.raises(ShapeError):
            wrong()


def test_numbers_of_other_types_score_the_same(kernels: str) -> None:
    query, matrices = made_up(0, 32, 3, [5, 40])
    pages = PackedRows.pack(matrices, Storage.INT8)
    assert pages.scales is not None
    others = replace(
        pages,
        first=pages.first.astype(np.int32),
        n_rows=pages.n_rows.astype(np.uint16),
        scales=pages.scales.astype(np.float64),
    )
    np.testing.assert_array_equal(maxsim_packed(query, others), maxsim_packed(query, pages))
    wide = np.asfortranarray(query.astype(np.float64))
    np.testing.assert_array_equal(maxsim_packed(wide, pages), maxsim_packed(query, pages))
