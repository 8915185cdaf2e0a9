from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import fde_by_the_letter

from rag.errors import IndexMismatch, IndexUnavailable, ShapeError
from rag.geometry import FloatArray
from rag.scoring.fde import FdeEncoder, FdeSpec
from rag.scoring.maxsim import maxsim

seeds = st.integers(0, 2**32 - 1)
counts = st.integers(1, 12)
CELL_OF_BITS = {"000": 0, "001": 1, "011": 2, "010": 3, "110": 4, "111": 5, "101": 6, "100": 7}


def unit_rows(seed: int, n: int, dim: int = 8) -> FloatArray:
    rows = np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def rows(*values: tuple[float, ...]) -> FloatArray:
    return np.array(values, dtype=np.float32)


@given(
    seed=seeds,
    n=st.integers(1, 40),
    repetitions=st.integers(1, 3),
    simhash_bits=st.integers(0, 6),
    projection_dim=st.sampled_from([None, 1, 4]),
    inner=st.sampled_from(["dense", "sketch"]),
    fill=st.booleans(),
)
@settings(deadline=None)
def test_encodings_equal_the_definition(
    seed: int,
    n: int,
    repetitions: int,
    simhash_bits: int,
    projection_dim: int | None,
    inner: str,
    fill: bool,
) -> None:
    spec = FdeSpec(
        dim=8,
        repetitions=repetitions,
        simhash_bits=simhash_bits,
        projection_dim=projection_dim,
        seed=seed,
        inner=inner,
        fill=fill,
    )
    encoder, vectors = FdeEncoder(spec), unit_rows(seed, n)
    for encoded, is_page in (
        (encoder.encode_query(vectors), False),
        (encoder.encode_page(vectors), True),
    ):
        assert encoded.shape == (spec.fde_size,)
        assert encoded.dtype == np.float32
        expected = fde_by_the_letter(encoder, vectors, is_page=is_page)
        np.testing.assert_allclose(encoded, expected, rtol=1e-5, atol=1e-5)


def test_the_default_encoding_equals_the_definition_on_a_full_page() -> None:
    encoder, vectors = FdeEncoder(FdeSpec(dim=128)), unit_rows(3, 400, 128)
    encoded = encoder.encode_page(vectors)
    assert encoded.shape == (20_480,)
    expected = fde_by_the_letter(encoder, vectors, is_page=True)
    np.testing.assert_allclose(encoded, expected, rtol=1e-5, atol=1e-5)


def axis_encoder(bits: int, *, fill: bool = True) -> FdeEncoder:
    """Coordinate t decides bit t."""
    spec = FdeSpec(bits, repetitions=1, simhash_bits=bits, projection_dim=None, fill=fill)
    return FdeEncoder(spec, hyperplanes=np.eye(bits, dtype=np.float32)[None])


@pytest.mark.parametrize(("bits", "cell"), CELL_OF_BITS.items())
def test_cells_are_numbered_in_gray_code(bits: str, cell: int) -> None:
    row = rows(tuple(1.0 if bit == "1" else -1.0 for bit in bits))
    blocks = axis_encoder(3).encode_query(row).reshape(8, 3)
    assert np.flatnonzero(blocks.any(axis=1)).tolist() == [cell]
    np.testing.assert_array_equal(blocks[cell], row[0])


def test_a_product_of_zero_is_the_bit_zero() -> None:
    blocks = axis_encoder(3).encode_query(rows((0, -0.0, 1))).reshape(8, 3)
    assert np.flatnonzero(blocks.any(axis=1)).tolist() == [CELL_OF_BITS["001"]]


def test_the_toy_example_scores_2_2_filled_and_0_8_unfilled() -> None:
    query, page = rows((1, 0), (0, 1), (-1, 0)), rows((0.8, 0.6), (-0.6, 0.8))
    filled, bare = axis_encoder(2), axis_encoder(2, fill=False)
    np.testing.assert_array_equal(
        filled.encode_query(query).reshape(4, 2), rows((-1, 0), (0, 1), (0, 0), (1, 0))
    )
    np.testing.assert_array_equal(
        filled.encode_page(page).reshape(4, 2),
        rows((-0.6, 0.8), (-0.6, 0.8), (0.8, 0.6), (0.8, 0.6)),
    )
    assert filled.encode_query(query) @ filled.encode_page(page) == pytest.approx(2.2)
    assert bare.encode_query(query) @ bare.encode_page(page) == pytest.approx(0.8)
    assert maxsim(query, page) == pytest.approx(2.2)


def test_the_first_of_equally_near_rows_fills_a_cell() -> None:
    # The cells 00 (0) and 11 (2) are empty; both rows are one bit away from each.
    one, other = (-1.0, 1.0), (1.0, -1.0)
    blocks = axis_encoder(2).encode_page(rows(one, other)).reshape(4, 2)
    np.testing.assert_array_equal(blocks[[0, 2]], rows(one, one))
    blocks = axis_encoder(2).encode_page(rows(other, one)).reshape(4, 2)
    np.testing.assert_array_equal(blocks[[0, 2]], rows(other, other))


@given(seed=seeds, n=counts, m=counts)
@settings(deadline=None)
def test_query_encodings_add_up(seed: int, n: int, m: int) -> None:
    encoder, query = FdeEncoder(FdeSpec(8, seed=seed)), unit_rows(seed, n + m)
    parts = encoder.encode_query(query[:n]) + encoder.encode_query(query[n:])
    np.testing.assert_allclose(encoder.encode_query(query), parts, atol=1e-5)


@given(seed=seeds, n=counts)
@settings(deadline=None)
def test_a_page_twice_over_encodes_as_once(seed: int, n: int) -> None:
    encoder, page = FdeEncoder(FdeSpec(8, seed=seed)), unit_rows(seed, n)
    np.testing.assert_allclose(
        encoder.encode_page(np.vstack([page, page])), encoder.encode_page(page), atol=1e-6
    )


@given(seed=seeds, n=counts)
@settings(deadline=None)
def test_a_page_of_one_row_scores_exactly_its_maxsim(seed: int, n: int) -> None:
    encoder = FdeEncoder(FdeSpec(8, projection_dim=None, seed=seed))
    query, page = unit_rows(seed, n), unit_rows(seed + 1, 1)
    score = encoder.encode_query(query) @ encoder.encode_page(page) / encoder.spec.repetitions
    assert score == pytest.approx(maxsim(query, page), abs=1e-4)


@given(seed=seeds, n=counts, m=counts)
@settings(deadline=None)
def test_filled_and_unprojected_scores_never_exceed_maxsim(seed: int, n: int, m: int) -> None:
    encoder = FdeEncoder(FdeSpec(8, projection_dim=None, seed=seed))
    query, page = unit_rows(seed, n), unit_rows(seed + 1, m)
    score = encoder.encode_query(query) @ encoder.encode_page(page) / encoder.spec.repetitions
    assert score <= maxsim(query, page) + 1e-4


@given(seed=seeds, n=counts, m=counts)
@settings(deadline=None)
def test_without_hyperplanes_a_page_is_its_mean(seed: int, n: int, m: int) -> None:
    spec = FdeSpec(8, repetitions=3, simhash_bits=0, projection_dim=None, seed=seed)
    encoder, query, page = FdeEncoder(spec), unit_rows(seed, n), unit_rows(seed + 1, m)
    score = encoder.encode_query(query) @ encoder.encode_page(page) / 3
    assert score == pytest.approx(query.sum(axis=0) @ page.mean(axis=0), abs=1e-5)


@given(seed=seeds, n=counts, data=st.data())
@settings(deadline=None)
def test_without_fill_the_order_of_page_rows_does_not_matter(
    seed: int, n: int, data: st.DataObject
) -> None:
    encoder, page = FdeEncoder(FdeSpec(8, seed=seed, fill=False)), unit_rows(seed, n)
    order = data.draw(st.permutations(range(n)))
    np.testing.assert_allclose(
        encoder.encode_page(page[order]), encoder.encode_page(page), atol=1e-6
    )


@pytest.mark.parametrize("inner", ["dense", "sketch"])
def test_projections_leave_dot_products_unbiased(inner: str) -> None:
    query, page = unit_rows(1, 3, 16), unit_rows(2, 5, 16)
    plain = FdeEncoder(FdeSpec(16, repetitions=1, simhash_bits=2, projection_dim=None))
    expected = plain.encode_query(query) @ plain.encode_page(page)
    scores = []
    for seed in range(1000):
        spec = FdeSpec(16, repetitions=1, simhash_bits=2, projection_dim=4, seed=seed, inner=inner)
        encoder = FdeEncoder(spec, hyperplanes=plain.hyperplanes)
        scores.append(encoder.encode_query(query) @ encoder.encode_page(page))
    standard_error = np.std(scores) / np.sqrt(len(scores))
    assert abs(np.mean(scores) - expected) < 4 * standard_error
    assert standard_error > 0


def test_hyperplanes_and_projections_come_from_two_streams_of_the_seed() -> None:
    planes, projections = map(np.random.default_rng, np.random.SeedSequence(7).spawn(2))
    encoder = FdeEncoder(FdeSpec(8, repetitions=2, simhash_bits=4, projection_dim=4, seed=7))
    np.testing.assert_array_equal(
        encoder.hyperplanes, planes.standard_normal((2, 8, 4)).astype(np.float32)
    )
    signs = projections.integers(0, 2, (2, 8, 4), dtype=np.int8) * 2 - 1
    np.testing.assert_array_equal(encoder.projections, signs / 2)


def test_a_sketch_sends_each_coordinate_to_one_signed_column() -> None:
    sketch = FdeEncoder(FdeSpec(64, repetitions=4, projection_dim=4, inner="sketch")).projections
    assert sketch is not None
    assert (np.count_nonzero(sketch, axis=2) == 1).all()
    assert set(np.unique(sketch)) == {-1, 0, 1}
    assert (np.count_nonzero(sketch, axis=1) > 0).all()  # every column is used


def test_pages_encode_the_same_bits_alone_and_in_any_list() -> None:
    encoder = FdeEncoder(FdeSpec(128))
    pages = [unit_rows(n, n, 128) for n in (1, 2, 7, 33, 400)]
    alone = np.array([encoder.encode_page(page) for page in pages])
    np.testing.assert_array_equal(encoder.encode_pages(pages), alone)
    np.testing.assert_array_equal(encoder.encode_pages(pages[::-1]), alone[::-1])
    assert encoder.encode_pages([]).shape == (0, 20_480)


def test_rows_of_zeros_give_finite_encodings() -> None:
    encoder = FdeEncoder(FdeSpec(8))
    zeros = np.zeros((3, 8), np.float32)
    assert not encoder.encode_page(zeros).any()
    assert not encoder.encode_query(zeros).any()
    assert np.isfinite(encoder.encode_page(np.vstack([zeros, unit_rows(1, 2)]))).all()


@pytest.mark.parametrize(
    "vectors",
    [
        np.zeros((0, 8), np.float32),
        np.zeros((2, 9), np.float32),
        np.zeros(8, np.float32),
        np.full((1, 8), np.nan, np.float32),
        np.full((1, 8), np.inf, np.float32),
    ],
    ids=["no rows", "other dim", "not a matrix", "NaN", "infinite"],
)
def test_vectors_that_cannot_be_encoded_are_refused(vectors: FloatArray) -> None:
    encoder = FdeEncoder(FdeSpec(8))
    for encode in (encoder.encode_query, encoder.encode_page):
        with pytest.raises(ShapeError):
            encode(vectors)
    with pytest.raises(ShapeError):
        encoder.encode_pages([unit_rows(0, 2), vectors])


@pytest.mark.parametrize(
    "spec",
    [
        {"dim": 0},
        {"dim": 8, "repetitions": 0},
        {"dim": 8, "simhash_bits": -1},
        {"dim": 8, "simhash_bits": 9},
        {"dim": 8, "projection_dim": 0},
    ],
)
def test_a_spec_that_makes_no_sense_is_refused(spec: dict[str, int]) -> None:
    with pytest.raises(ShapeError):
        FdeSpec(**spec)


def test_matrices_that_do_not_fit_the_spec_are_refused() -> None:
    with pytest.raises(ShapeError, match="hyperplanes"):
        FdeEncoder(FdeSpec(8), hyperplanes=np.zeros((1, 8, 5), np.float32))
    with pytest.raises(ShapeError, match="projections"):
        FdeEncoder(FdeSpec(8), projections=np.zeros((20, 8, 8), np.float32))


@pytest.mark.parametrize("projection_dim", [None, 4])
@pytest.mark.parametrize("simhash_bits", [0, 5])
def test_a_saved_encoder_encodes_as_before(
    tmp_path: Path, projection_dim: int | None, simhash_bits: int
) -> None:
    spec = FdeSpec(8, simhash_bits=simhash_bits, projection_dim=projection_dim)
    encoder, page = FdeEncoder(spec), unit_rows(1, 9)
    encoder.save(tmp_path / "fde.npz")
    again = FdeEncoder.load(tmp_path / "fde.npz", spec=spec)
    assert again.fingerprint == encoder.fingerprint
    np.testing.assert_array_equal(again.encode_page(page), encoder.encode_page(page))
    assert [file.name for file in tmp_path.iterdir()] == ["fde.npz"]


def test_fingerprints_tell_specs_and_matrices_apart() -> None:
    spec = FdeSpec(8, projection_dim=8)
    encoder = FdeEncoder(spec)
    planes = encoder.hyperplanes.copy()
    planes[3, 2, 1] = np.nextafter(planes[3, 2, 1], 9)
    others = [
        FdeEncoder(spec, hyperplanes=planes),
        FdeEncoder(spec, projections=-encoder.projections),  # type: ignore[operator]  # 8, not None
        FdeEncoder(FdeSpec(8, projection_dim=8, seed=1)),
        FdeEncoder(FdeSpec(8, projection_dim=8, fill=False)),
    ]
    assert len({encoder.fingerprint, *(other.fingerprint for other in others)}) == 5
    assert FdeEncoder(spec).fingerprint == encoder.fingerprint
    encoder.require(FdeEncoder(spec).fingerprint)
    with pytest.raises(IndexMismatch, match="fingerprint"):
        encoder.require(others[0].fingerprint)


def test_loading_refuses_another_spec_changed_matrices_damage_and_absence(tmp_path: Path) -> None:
    path = tmp_path / "fde.npz"
    encoder = FdeEncoder(FdeSpec(8))
    encoder.save(path)
    with pytest.raises(IndexMismatch, match="settings ask for"):
        FdeEncoder.load(path, spec=FdeSpec(8, repetitions=10))

    with np.load(path) as stored:
        arrays = dict(stored)
    np.savez(path, **(arrays | {"hyperplanes": -arrays["hyperplanes"]}))
    with pytest.raises(IndexMismatch, match="fingerprint"):
        FdeEncoder.load(path)

    encoder.save(path)
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for damaged in (b"", b"not an archive", whole[: len(whole) // 2], bytes(flipped)):
        path.write_bytes(damaged)
        with pytest.raises(IndexMismatch, match="damaged"):
            FdeEncoder.load(path)

    with pytest.raises(IndexUnavailable, match="cannot be read"):
        FdeEncoder.load(tmp_path / "absent.npz")


def test_a_failed_save_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "fde.npz"
    encoder = FdeEncoder(FdeSpec(8))
    encoder.save(path)

    def disk_full(file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", disk_full)
    with pytest.raises(OSError, match="No space"):
        FdeEncoder(FdeSpec(8, seed=1)).save(path)
    assert [file.name for file in tmp_path.iterdir()] == ["fde.npz"]
    assert FdeEncoder.load(path).fingerprint == encoder.fingerprint
