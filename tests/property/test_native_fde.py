"""FDE encoding and the scan of signs, by every instruction set of this processor and by numpy."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from oracles import fde_by_the_letter

from rag.errors import ShapeError
from rag.geometry import FloatArray
from rag.scoring import native
from rag.scoring.fde import FdeEncoder, FdeSpec
from rag.scoring.fde_signs import pack_signs, row_bytes, scan_signs

seeds = st.integers(0, 2**32 - 1)
# Around the rows of a register tile of each set, and a page's worth.
lengths = st.sampled_from([1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 24, 25, 60]) | st.integers(1, 300)
thorough = settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def unit_rows(seed: int, n: int, dim: int) -> FloatArray:
    rows = np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def nearest_to_a_plane(encoder: FdeEncoder, rows: FloatArray) -> float:
    """The smallest dot product, in float64, that decides on a side."""
    products = rows.astype(np.float64) @ encoder.hyperplanes.astype(np.float64)
    return float(np.abs(products).min(initial=np.inf))


@st.composite
def specs(draw: st.DrawFn) -> FdeSpec:
    dim = 16 * draw(st.integers(1, 12) | st.sampled_from([20, 64]))
    return FdeSpec(
        dim=dim,
        repetitions=draw(st.integers(1, 3)),
        simhash_bits=draw(st.integers(0, 8)),
        projection_dim=draw(st.sampled_from([None, 1, 4, 16, 17, 32, dim, dim + 3])),
        seed=draw(seeds),
        inner=draw(st.sampled_from(["dense", "sketch"])),
        fill=draw(st.booleans()),
    )


@given(spec=specs(), seed=seeds, n=lengths)
@thorough
def test_encodings_equal_the_definition(kernels: str, spec: FdeSpec, seed: int, n: int) -> None:
    n = min(n, 60) if spec.simhash_bits > 5 else n  # the oracle is slow
    encoder, rows = FdeEncoder(spec), unit_rows(seed, n, spec.dim)
    # A row this near to a plane may lie on the other side of it in float32, by right.
    assume(nearest_to_a_plane(encoder, rows) > 1e-5)
    for encoded, is_page in (
        (encoder.encode_query(rows), False),
        (encoder.encode_page(rows), True),
    ):
        expected = fde_by_the_letter(encoder, rows, is_page=is_page)
        size = max(1.0, float(np.abs(expected).max()))
        np.testing.assert_allclose(encoded, expected, rtol=1e-5, atol=1e-6 * size)


@given(spec=specs(), seed=seeds, counts=st.lists(lengths, min_size=1, max_size=6), data=st.data())
@thorough
def test_pages_encode_the_same_bits_alone_and_in_any_list(
    kernels: str, spec: FdeSpec, seed: int, counts: list[int], data: st.DataObject
) -> None:
    encoder = FdeEncoder(spec)
    pages = [unit_rows(seed + n, n, spec.dim) for n in counts]
    together = encoder.encode_pages(pages)
    np.testing.assert_array_equal(together, [encoder.encode_page(page) for page in pages])
    order = data.draw(st.permutations(range(len(pages))))
    np.testing.assert_array_equal(encoder.encode_pages([pages[i] for i in order]), together[order])


def test_every_number_of_rows_up_to_three_tiles_of_the_widest_set(kernels: str) -> None:
    encoder = FdeEncoder(FdeSpec(32, repetitions=2, simhash_bits=3, projection_dim=5))
    for n in range(1, 40):
        rows = unit_rows(n, n, 32)
        assert nearest_to_a_plane(encoder, rows) > 1e-6
        expected = fde_by_the_letter(encoder, rows, is_page=True)
        np.testing.assert_allclose(encoder.encode_page(rows), expected, rtol=1e-5, atol=1e-6)


def test_a_row_on_a_plane_has_the_bit_zero(kernels: str) -> None:
    spec = FdeSpec(16, repetitions=1, simhash_bits=3, projection_dim=None)
    planes = np.eye(16, dtype=np.float32)[:, :3]  # coordinate t decides bit t
    encoder = FdeEncoder(spec, hyperplanes=planes[None])
    for values, cell in (((0, -0.0, 1), 1), ((1, 0, 0), 7), ((0, 0, 0), 0), ((0, 1, 0), 3)):
        row = np.zeros((1, 16), dtype=np.float32)
        row[0, :3], row[0, 3] = values, 1
        blocks = encoder.encode_query(row).reshape(8, 16)
        assert np.flatnonzero(blocks.any(axis=1)).tolist() == [cell]


@pytest.mark.parametrize("spec", [FdeSpec(128), FdeSpec(64, 8, 8, None)])
def test_encodings_are_the_same_bits_from_any_number_of_threads(
    isa: str, library: native.Library, spec: FdeSpec
) -> None:
    encoder = FdeEncoder(spec)
    pages = [unit_rows(n, n, spec.dim) for n in (1, 300, 12, 40, 7) * 3]
    try:
        found = []
        for threads in (1, 2, 8):
            native.Library(native.PATH, threads=threads)
            found.append(encoder.encode_pages(pages))
    finally:
        native.Library(native.PATH, threads=library.threads)
    for each in found[1:]:
        np.testing.assert_array_equal(each, found[0])
    with ThreadPoolExecutor(8) as pool:
        for each in pool.map(lambda _: encoder.encode_pages(pages), range(8)):
            np.testing.assert_array_equal(each, found[0])


# --- the scan of signs ---------------------------------------------------------------------------
def dot_products(query: FloatArray, signs: np.ndarray) -> FloatArray:  # type: ignore[type-arg]
    """In float64, of the 8-bit query."""
    largest = float(np.abs(query).max(initial=0.0))
    if largest == 0:
        return np.zeros(len(signs))
    codes = np.rint(query.astype(np.float64) / largest * 127)
    up = np.unpackbits(signs, axis=1, count=len(query), bitorder="little").astype(np.float64)
    return np.asarray((2 * up - 1) @ codes * (largest / 127))


@given(
    seed=seeds,
    size=st.integers(1, 700) | st.sampled_from([64, 128, 10_240, 61_440]),
    n=st.sampled_from([0, 1, 2, 127, 128, 129, 300]),
    is_extreme=st.booleans(),
    data=st.data(),
)
@thorough
def test_a_scan_gives_the_dot_products_with_the_8_bit_query(
    kernels: str, seed: int, size: int, n: int, is_extreme: bool, data: st.DataObject
) -> None:
    rng = np.random.default_rng(seed)
    query = rng.standard_normal(size).astype(np.float32)
    fdes = rng.standard_normal((n, size)).astype(np.float32)
    if is_extreme:  # the largest codes, and all signs one way: the largest sums
        query = np.where(query > 0, 1, -1).astype(np.float32)
        fdes[: n // 2] = query
    signs = pack_signs(fdes)
    assert signs.shape == (n, row_bytes(size))
    expected = dot_products(query, signs)
    scores = scan_signs(query, signs)
    assert scores.dtype == np.float32
    # float32 of the query decides on its codes; a code on the edge may fall either way
    step = float(np.abs(query).max()) / 127
    np.testing.assert_allclose(scores, expected, rtol=1e-6, atol=2.1 * step)
    if is_extreme:
        np.testing.assert_allclose(scores, expected, rtol=1e-6, atol=0)
        np.testing.assert_allclose(scores[: n // 2], size, rtol=1e-6)
    among = np.array(data.draw(st.lists(st.integers(0, n - 1))) if n else [], dtype=np.int64)
    np.testing.assert_array_equal(scan_signs(query, signs, among), scores[among])
    np.testing.assert_array_equal(scan_signs(query, signs[::-1].copy()), scores[::-1])


def test_scans_are_the_same_bits_by_every_set_and_by_numpy(
    library: native.Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(2)
    query = rng.standard_normal(61_440).astype(np.float32)
    signs = rng.integers(0, 256, (300, row_bytes(61_440)), dtype=np.uint8)
    best, found = library.isa, []
    for isa in ("portable", "avx2", "avx512", "neon"):
        try:
            library.select(isa)
        except OSError:
            continue
        found.append(scan_signs(query, signs))
    library.select(best)
    monkeypatch.setattr(native, "library", lambda: None)
    found.append(scan_signs(query, signs))
    assert len(found) >= 2
    for each in found[1:]:
        np.testing.assert_allclose(each, found[0], rtol=2e-7)


@pytest.mark.parametrize("size", [1e-40, 1e-30, 1e30])
def test_queries_of_any_size_rank_the_same(kernels: str, size: float) -> None:
    rng = np.random.default_rng(3)
    query = rng.standard_normal(200).astype(np.float32)
    signs = pack_signs(rng.standard_normal((20, 200)))
    scaled = scan_signs((query * size).astype(np.float32), signs)
    assert scaled == pytest.approx(scan_signs(query, signs) * size, rel=0.02)
    assert scan_signs(np.zeros(200, np.float32), signs).tolist() == [0] * 20


def test_scans_that_make_no_sense_are_refused(kernels: str) -> None:
    signs = pack_signs(np.ones((3, 100), np.float32))
    good = np.ones(100, np.float32)
    for query in (good[:64], np.ones(129, np.float32), good[None], good * np.nan, good * np.inf):
        with pytest.raises(ShapeError):
            scan_signs(query, signs)
    for among in ([3], [-1], [0.5], [True, False, True], [[0]]):
        with pytest.raises(ShapeError, match="page number"):
            scan_signs(good, signs, np.array(among))
