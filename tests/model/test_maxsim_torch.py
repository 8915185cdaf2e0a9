"""Resident pages against the float64 reference and the packed pages of the CPU, on CPU tensors.

The Triton kernels run in Triton's interpreter here, so what is checked is what they compute; how
fast they are is for `make gpu-check`. `make test-torch` brings torch and triton.
"""

import os
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="needs torch: make test-torch")
os.environ.setdefault("TRITON_INTERPRET", "1")  # read when the kernels are made
pytest.importorskip("triton", reason="needs triton: make test-torch")

from rag.errors import BackendError, ConfigError, ShapeError
from rag.scoring import maxsim_torch, maxsim_triton, quantize
from rag.scoring.maxsim import maxsim
from rag.scoring.maxsim_torch import Backend, ResidentPages
from rag.scoring.maxsim_triton import Tile
from rag.scoring.packed import PackedRows, Storage, maxsim_packed
from rag.scoring.resident_layout import RESIDENT_STORAGES

pytestmark = pytest.mark.skipif(
    not maxsim_triton.IS_INTERPRETED, reason="needs TRITON_INTERPRET=1 before triton is loaded"
)

BACKENDS = (Backend.TORCH, Backend.TRITON)
AMPLE = 1 << 30
SMALL_TILES = (Tile(True, 16, 16, 4, 1), Tile(False, 32, 16, 4, 1))
every_storage = pytest.mark.parametrize("storage", RESIDENT_STORAGES)
every_backend = pytest.mark.parametrize("backend", BACKENDS)


def unit(rng, n, dim):
    rows = rng.standard_normal((n, dim), dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def resident(pages, storage=Storage.BF16, **options):
    return ResidentPages.from_pages(
        pages, storage=storage, **({"budget_bytes": AMPLE, "device": "cpu"} | options)
    )


def as_kept(query, storage):
    """The query as pages of this storage meet it: the rounding is part of the definition."""
    if storage is Storage.BF16:
        return quantize.from_bf16(quantize.to_bf16(query))
    codes, scales = quantize.query_to_int8(query)
    return codes.astype(np.float64) * scales[:, None]


def expected(queries, pages, storage):
    packed = PackedRows.pack(pages, storage)
    return [
        [maxsim(as_kept(query, storage), packed.page(i)) for i in range(len(pages))]
        for query in queries
    ]


@st.composite
def collections(draw, *, max_pages=5):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dim = draw(st.sampled_from([16, 48, 64, 128, 144, 320]))
    lengths = draw(
        st.lists(st.sampled_from([0, 1, 2, 31, 32, 33, 70]), min_size=1, max_size=max_pages)
    )
    query_lengths = draw(st.lists(st.sampled_from([1, 5, 20, 33]), min_size=1, max_size=3))
    scale = draw(st.sampled_from([1.0, 1e-3, 30.0]))
    shift = draw(st.sampled_from([0.0, -0.3]))  # pages whose every similarity is negative
    pages = [scale * (unit(rng, n, dim) + np.float32(shift)) for n in lengths]
    queries = [unit(rng, n, dim) + np.float32(abs(shift)) for n in query_lengths]
    return (
        [query.astype(np.float32) for query in queries],
        [page.astype(np.float32) for page in pages],
    )


@every_storage
@every_backend
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=collections())
def test_scores_are_those_of_the_float64_reference_on_the_same_codes(storage, backend, data):
    queries, pages = data
    found = resident(pages, storage).scores(queries, backend=backend)
    wanted = np.array(expected(queries, pages, storage))
    largest = np.abs(wanted[np.isfinite(wanted)]).max(initial=1e-3)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=2e-6 * largest)
    assert found.dtype == np.float32


@every_storage
@every_backend
def test_device_and_cpu_agree_on_the_score_of_a_page(storage, backend):
    rng = np.random.default_rng(1)
    pages = [unit(rng, n, 128) for n in (33, 0, 1, 100)]
    queries = [unit(rng, n, 128) for n in (20, 7)]
    packed = PackedRows.pack(pages, storage)
    kept = ResidentPages.from_packed(packed, budget_bytes=AMPLE, device="cpu")
    found = kept.scores(queries, backend=backend)
    for number, query in enumerate(queries):
        wanted = maxsim_packed(query, packed)
        # Each side rounds the query in its own way (8 bits a row here, 8-bit tables there); the
        # difference is held to a share of the highest score there can be, one for each row.
        share = 1e-2 if storage is Storage.BITS else 3e-3
        np.testing.assert_allclose(found[number], wanted, rtol=0, atol=share * len(query))


@every_storage
@pytest.mark.parametrize("dim", [64, 128, 320])
@pytest.mark.parametrize("tile", SMALL_TILES, ids=("pages first", "queries first"))
def test_the_kernels_are_right_for_any_tile_and_any_slices(storage, dim, tile, monkeypatch):
    rng = np.random.default_rng(dim)
    pages = [unit(rng, n, dim) for n in (1, 0, 31, 32, 33, 150)]
    queries = [unit(rng, n, dim) for n in (3, 40)]
    kept = resident(pages, storage)
    monkeypatch.setattr(kept, "_n_processors", lambda: 50)  # cuts pages into slices
    monkeypatch.setattr(maxsim_torch, "SCRATCH_BYTES", 4096)  # and the scan into calls
    found = kept.scan(kept.prepare(queries), kept.everything, Backend.TRITON, tile=tile).numpy()
    np.testing.assert_allclose(found, expected(queries, pages, storage), rtol=1e-5, atol=1e-5)


@every_storage
@every_backend
def test_a_page_scores_the_same_bits_alone_and_among_any_others(storage, backend):
    rng = np.random.default_rng(2)
    pages = [unit(rng, n, 128) for n in (70, 1, 33, 0, 100, 32)]
    queries = [unit(rng, n, 128) for n in (20, 33)]
    together = resident(pages, storage).scores(queries, backend=backend)
    alone = np.hstack(
        [resident([page], storage).scores(queries, backend=backend) for page in pages]
    )
    np.testing.assert_array_equal(together, alone)
    order = np.array([4, 0, 5, 3, 3, 1])
    gathered = resident(pages, storage).scores(queries, order, backend=backend)
    np.testing.assert_array_equal(gathered, together[:, order])


@every_storage
@every_backend
def test_an_erased_page_is_zeros_scores_as_one_without_rows_and_changes_no_other(storage, backend):
    rng = np.random.default_rng(4)
    kept = resident([unit(rng, n, 64) for n in (40, 33, 0, 5)], storage)
    query = [unit(rng, 7, 64)]
    before = kept.scores(query, backend=backend)
    n_bytes = np.count_nonzero(kept.rows.view(torch.uint8))
    kept.erase(np.array([1, 2]))
    after = kept.scores(query, backend=backend)
    assert np.isneginf(after[0, [1, 2]]).all()
    np.testing.assert_array_equal(after[0, [0, 3]], before[0, [0, 3]])
    alone = [resident([kept.page(i)], storage).rows.view(torch.uint8) for i in (0, 3)]
    if storage is Storage.BF16:  # the only storage whose codes a page gives back as they are
        assert np.count_nonzero(kept.rows.view(torch.uint8)) == sum(map(np.count_nonzero, alone))
    assert np.count_nonzero(kept.rows.view(torch.uint8)) < n_bytes
    with pytest.raises(ShapeError, match="resident"):
        kept.erase(np.array([4]))


@pytest.mark.parametrize("storage", [Storage.INT8, Storage.BITS])
@every_backend
def test_a_query_scores_the_same_bits_alone_and_in_a_batch(storage, backend):
    rng = np.random.default_rng(3)
    pages = [unit(rng, n, 64) for n in (40, 3)]
    queries = [unit(rng, n, 64) for n in (20, 33, 1, 64)]
    kept = resident(pages, storage)
    together = kept.scores(queries, backend=backend)
    alone = [kept.scores([query], backend=backend)[0] for query in queries]
    np.testing.assert_array_equal(together, alone)


@every_backend
def test_bf16_queries_agree_alone_and_in_a_batch(backend):
    rng = np.random.default_rng(4)
    kept = resident([unit(rng, n, 64) for n in (40, 3)])
    queries = [unit(rng, n, 64) for n in (20, 33, 1, 64)]
    alone = [kept.scores([query], backend=backend)[0] for query in queries]
    np.testing.assert_allclose(kept.scores(queries, backend=backend), alone, rtol=1e-6)


@every_storage
def test_products_filled_up_to_one_shape_give_the_scores_of_products_of_a_page(storage):
    """As on a GPU without Triton."""
    rng = np.random.default_rng(10)
    pages = [unit(rng, n, 64) - np.float32(0.2) for n in (3, 0, 40, 31, 32, 200, 1)]
    queries = [unit(rng, n, 64) + np.float32(0.2) for n in (5, 33)]
    kept = resident(pages, storage)
    wanted = kept.scores(queries)
    kept._product_rows = 64
    np.testing.assert_allclose(kept.scores(queries), wanted, rtol=1e-5, atol=1e-6)


def test_the_library_is_called_below_its_limit_and_its_empty_pages_are_put_right(monkeypatch):
    rng = np.random.default_rng(11)
    pages = [unit(rng, n, 64) - np.float32(0.2) for n in (3, 0, 40, 31, 7)]
    queries = [unit(rng, n, 64) + np.float32(0.2) for n in (5, 33)]
    kept = resident(pages)
    sizes = []

    def maxsim_varlen(query, rows, query_ends, ends):
        """Its contract: ends of the packed sequences, 0 for an empty one."""
        sizes.append(rows.numel())
        scores = torch.zeros((len(query_ends) - 1, len(ends) - 1))
        for i in range(len(query_ends) - 1):
            for j in range(len(ends) - 1):
                similarity = (
                    query[query_ends[i] : query_ends[i + 1]].float()
                    @ rows[ends[j] : ends[j + 1]].float().T
                )
                if similarity.shape[1]:
                    scores[i, j] = similarity.amax(1).sum()
        return scores

    monkeypatch.setitem(
        sys.modules, "late_interaction_kernels", SimpleNamespace(maxsim_varlen=maxsim_varlen)
    )
    monkeypatch.setattr(maxsim_torch, "_LIK_ELEMENTS", 45 * 64)
    prepared = kept.prepare(queries)
    wanted = kept.scores(queries)
    found = kept.scan(prepared, kept.everything, Backend.LIK).numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    assert len(sizes) == 2
    assert max(sizes) <= 45 * 64
    order = torch.tensor([4, 1, 2])
    found = kept.scan(prepared, order, Backend.LIK).numpy()
    np.testing.assert_allclose(found, wanted[:, order], rtol=1e-5, atol=1e-6)


@every_storage
@every_backend
def test_a_page_of_zeros_scores_zero_and_an_empty_one_nothing(storage, backend):
    pages = [np.zeros((3, 16), np.float32), np.zeros((0, 16), np.float32)]
    scores = resident(pages, storage).scores([np.zeros((2, 16), np.float32)], backend=backend)
    np.testing.assert_array_equal(scores, [[0.0, -np.inf]])


@every_storage
def test_pages_that_lie_apart_in_their_file_are_brought_together(storage):
    rng = np.random.default_rng(5)
    pages = [unit(rng, n, 64) for n in (33, 5, 0, 64, 40)]
    packed = PackedRows.pack(pages, storage)
    kept = [4, 1, 2, 0]
    apart = PackedRows(
        storage,
        64,
        packed.data,
        packed.first[kept],
        packed.n_rows[kept],
        None if packed.scales is None else packed.scales[kept],
    )
    query = unit(rng, 9, 64)
    found = ResidentPages.from_packed(apart, budget_bytes=AMPLE, device="cpu").scores([query])
    np.testing.assert_array_equal(found, resident(pages, storage).scores([query], np.array(kept)))


@every_storage
def test_uploads_in_pieces_bring_the_same_pages(storage, monkeypatch):
    rng = np.random.default_rng(6)
    pages = [unit(rng, n, 64) for n in (33, 5, 64)]
    query = unit(rng, 9, 64)
    whole = resident(pages, storage).scores([query])
    monkeypatch.setattr(maxsim_torch, "_UPLOAD_BYTES", 1000)
    np.testing.assert_array_equal(resident(pages, storage).scores([query]), whole)


@every_storage
def test_the_budget_is_counted_in_bytes_of_the_storage(storage):
    rng = np.random.default_rng(7)
    pages = [unit(rng, 64, 128) for _ in range(4)]
    page_bytes = 64 * {Storage.BF16: 256, Storage.INT8: 128, Storage.BITS: 16}[storage]
    assert resident(pages, storage, budget_bytes=4 * page_bytes).size_bytes == 4 * page_bytes
    with pytest.raises(ConfigError, match="which holds 3") as failure:
        resident(pages, storage, budget_bytes=4 * page_bytes - 1)
    assert failure.value.next_step


def test_a_part_says_what_is_not_resident_and_refuses_to_score_it():
    rng = np.random.default_rng(8)
    pages = [unit(rng, 64, 128) for _ in range(4)]
    part = resident(pages, budget_bytes=2 * 64 * 256 + 5, partial=True)
    assert (part.n_resident, part.n_offered, len(part)) == (2, 4, 2)
    assert "2 of 4 bf16 pages" in part.report()
    assert "2 pages did not fit" in part.report()
    query = unit(rng, 3, 128)
    assert part.scores([query]).shape == (1, 2)
    with pytest.raises(ShapeError, match="beyond the 2 resident pages"):
        part.scores([query], np.array([2]))
    nothing = resident(pages, budget_bytes=1, partial=True)
    assert nothing.scores([query]).shape == (1, 0)
    assert len(nothing.top([query], 3)[0][0]) == 0


@every_backend
def test_top_is_the_best_first_ties_by_number_and_no_empty_page(backend):
    rng = np.random.default_rng(9)
    base = [unit(rng, n, 64) for n in (20, 0, 30, 5)]
    pages = [base[2], base[0], base[1], base[2], base[3], base[2]]
    queries = [unit(rng, 6, 64), unit(rng, 2, 64)]
    kept = resident(pages, Storage.INT8)
    scores = kept.scores(queries, backend=backend)
    for k in (1, 2, 4, 99):
        for row, (numbers, values) in zip(
            scores, kept.top(queries, k, backend=backend), strict=True
        ):
            ranked = sorted((i for i in range(6) if i != 2), key=lambda i: (-row[i], i))[:k]
            assert numbers.tolist() == ranked
            np.testing.assert_array_equal(values, row[ranked])
    with pytest.raises(ShapeError, match="at least 1"):
        kept.top(queries, 0)


@pytest.mark.parametrize(
    "queries",
    [
        [],
        [np.zeros((0, 64), np.float32)],
        [np.zeros((2, 32), np.float32)],
        [np.zeros((1025, 64), np.float32)],
        [np.zeros(64, np.float32)],
        [np.full((2, 64), np.nan, np.float32)],
        [np.zeros((1, 64), np.float32), np.full((1, 64), np.inf, np.float32)],
    ],
    ids=("none", "no rows", "another dim", "too long", "one row flat", "NaN", "infinite second"),
)
def test_a_query_that_cannot_be_scored_is_refused(queries):
    kept = resident([np.ones((3, 64), np.float32)])
    with pytest.raises(ShapeError):
        kept.scores(queries)


@pytest.mark.parametrize("among", [[-1], [1], [[0]]])
def test_a_page_number_beyond_the_resident_pages_is_refused(among):
    kept = resident([np.ones((3, 64), np.float32)])
    with pytest.raises(ShapeError, match="page number"):
        kept.scores([np.ones((1, 64), np.float32)], np.array(among))


def test_no_candidates_give_no_scores():
    kept = resident([np.ones((3, 64), np.float32)])
    query = np.ones((1, 64), np.float32)
    assert kept.scores([query, query], np.array([], dtype=np.int64)).shape == (2, 0)


def test_pages_with_nan_or_of_another_dim_are_refused_by_name():
    with pytest.raises(ShapeError, match="page 1"):
        resident([np.ones((1, 16), np.float32), np.full((1, 16), np.nan, np.float32)])
    with pytest.raises(ShapeError, match="page 1"):
        resident([np.ones((1, 16), np.float32), np.ones((1, 32), np.float32)])


def test_rows_taken_over_must_fit_their_storage():
    rows = torch.zeros((4, 64), dtype=torch.bfloat16)
    taken = ResidentPages(rows, np.array([1, 3]), storage=Storage.BF16, dim=64)
    assert taken.report().startswith("2 of 2 bf16 pages on cpu")
    for wrong in (
        {"n_rows": np.array([1, 4])},
        {"dim": 32},
        {"storage": Storage.INT8, "scales": np.ones(2, np.float32)},
        {"scales": np.ones(2, np.float32)},
    ):
        options = {"n_rows": np.array([1, 3]), "storage": Storage.BF16, "dim": 64} | wrong
        with pytest.raises(ShapeError):
            ResidentPages(rows, options.pop("n_rows"), **options)


@pytest.mark.parametrize("storage", [Storage.FP32, Storage.FP16])
def test_storages_without_kernels_are_refused_with_a_way_out(storage):
    with pytest.raises(ConfigError, match="bf16, int8, bits") as failure:
        resident([np.ones((1, 16), np.float32)], storage)
    assert failure.value.next_step


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without CUDA")
@pytest.mark.parametrize("device", [None, "cuda", "cuda:1"])
def test_without_cuda_resident_pages_say_what_to_do(device):
    with pytest.raises(ConfigError) as failure:
        resident([np.ones((1, 16), np.float32)], device=device)
    assert "cpu" in failure.value.next_step


def test_an_unknown_device_is_a_setting_gone_wrong():
    with pytest.raises(ConfigError, match="no device"):
        resident([np.ones((1, 16), np.float32)], device="abacus")


def test_running_out_of_memory_names_the_budget(monkeypatch):
    kept = resident([np.ones((1, 16), np.float32)])

    def no_memory(*_arguments, **_options):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch, "empty", no_memory)
    with pytest.raises(BackendError, match="1,073,741,824 bytes") as failure:
        resident([np.ones((1, 16), np.float32)])
    assert failure.value.code == "out_of_memory"
    with pytest.raises(BackendError, match="ran out of memory"):
        kept.scores([np.ones((1, 16), np.float32)], backend=Backend.TRITON)


def test_the_library_s_backend_is_refused_where_it_does_not_serve():
    kept = resident([np.ones((1, 16), np.float32)], Storage.INT8)
    with pytest.raises(ConfigError, match="late-interaction-kernels"):
        kept.scores([np.ones((1, 16), np.float32)], backend=Backend.LIK)


def test_the_kernels_are_refused_on_the_cpu_outside_the_interpreter(monkeypatch):
    monkeypatch.setattr(maxsim_triton, "IS_INTERPRETED", False)
    kept = resident([np.ones((1, 16), np.float32)])
    with pytest.raises(ConfigError, match="CUDA"):
        kept.scores([np.ones((1, 16), np.float32)], backend=Backend.TRITON)
