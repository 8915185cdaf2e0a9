"""Codes of stacked signs: identities of the arithmetic, and what they keep of a ranking."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.errors import ConfigError, ShapeError
from rag.geometry import FloatArray
from rag.patch_search import PatchSearch
from rag.retrieve import Retriever, SearchRequest
from rag.scoring.bebr import (
    BebrNetworks,
    BitCodes,
    Network,
    Rotation,
    dot_by_planes,
    dot_by_table,
    fixed_weights,
    pack,
    residual_codes,
    scaled,
)
from rag.scoring.coded_pages import CodedPages
from rag.scoring.packed import PackedRows, Storage, maxsim_packed
from rag.settings import RetrievalSettings
from rag.wiring import packed_search
from tests.small_world import World

bits = st.integers(1, 8)
dims = st.integers(1, 70)
seeds = st.integers(0, 999)


def gaussian(n: int, dim: int, seed: int) -> FloatArray:
    return np.random.default_rng([seed, n, dim]).standard_normal((n, dim)).astype(np.float32)


def fixed(rows: FloatArray, n_bits: int) -> BitCodes:
    return residual_codes(rows, n_bits, fixed_weights(n_bits))


# --- codes and what they stand for --------------------------------------------------------------
def test_codes_of_two_bits_have_four_equally_spaced_values():
    codes = fixed(np.array([[2.0, 0.4, -0.4, -2.0]], np.float32), 2)
    np.testing.assert_array_equal(codes.dense(), [[1.5, 0.5, -0.5, -1.5]])


@given(dim=dims, n_bits=bits, seed=seeds)
def test_packed_signs_are_the_signs_that_were_packed(dim, n_bits, seed):
    signs = gaussian(3 * n_bits, dim, seed).reshape(3, n_bits, dim)
    weights = np.abs(gaussian(3, n_bits, seed))
    codes = pack(signs, weights)
    assert codes.planes.nbytes == 3 * n_bits * -(-dim // 8)
    dense = (weights[:, :, None] * np.where(signs > 0, 1, -1)).sum(axis=1)
    np.testing.assert_allclose(codes.dense(), dense, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(codes.decoded(), dense, rtol=1e-5, atol=1e-5)


def test_codes_refuse_shapes_that_do_not_fit():
    with pytest.raises(ShapeError, match="1 to 8"):
        pack(np.ones((2, 9, 16)), fixed_weights(9))
    with pytest.raises(ShapeError, match="weight each"):
        pack(np.ones((2, 3, 16)), fixed_weights(2))
    with pytest.raises(ShapeError, match="dimensions met"):
        dot_by_planes(fixed(gaussian(1, 16, 0), 1), fixed(gaussian(1, 32, 0), 1))


# --- identities of the distance -----------------------------------------------------------------
def test_one_bit_counts_signs_that_differ():
    q = fixed(np.array([[0.3, -0.2, 0.5, -0.1]], np.float32), 1)
    d = fixed(np.array([[0.1, 0.4, 0.2, -0.3]], np.float32), 1)
    assert dot_by_planes(q, d) == 4 - 2 * 1


@given(dim=dims, seed=seeds)
def test_one_bit_is_the_dimension_less_twice_the_hamming_distance(dim, seed):
    q, d = gaussian(3, dim, seed), gaussian(4, dim, seed + 1)
    hamming = ((q > 0)[:, None] != (d > 0)[None]).sum(axis=2)
    np.testing.assert_array_equal(dot_by_planes(fixed(q, 1), fixed(d, 1)), dim - 2 * hamming)


@given(dim=dims, n_bits=bits, seed=seeds)
def test_planes_and_table_are_the_dense_dot_exactly(dim, n_bits, seed):
    q, d = fixed(gaussian(3, dim, seed), n_bits), fixed(gaussian(4, dim, seed + 1), n_bits)
    dense = q.dense() @ d.dense().T
    np.testing.assert_array_equal(dot_by_planes(q, d), dense)
    np.testing.assert_array_equal(dot_by_table(q, d), dense)


@given(dim=dims, of_query=bits, of_page=bits, seed=seeds)
def test_planes_are_the_dense_dot_for_weights_of_each_row(dim, of_query, of_page, seed):
    q = residual_codes(gaussian(3, dim, seed), of_query)
    d = residual_codes(gaussian(4, dim, seed + 1), of_page)
    np.testing.assert_allclose(
        dot_by_planes(q, d), q.dense() @ d.dense().T, rtol=1e-5, atol=1e-5 * dim
    )


def test_a_table_is_refused_for_weights_of_each_row():
    codes = residual_codes(gaussian(2, 16, 0), 2)
    with pytest.raises(ShapeError, match="2\\^-j"):
        dot_by_table(codes, codes)
    with pytest.raises(ShapeError, match="as many bits"):
        dot_by_table(fixed(gaussian(1, 16, 0), 2), fixed(gaussian(1, 16, 0), 3))


# --- without training ---------------------------------------------------------------------------
def left_over(row: FloatArray, weights: FloatArray | None = None, most: int = 7) -> list[float]:
    """Length of what is left over after 0, 1, 2, ... planes."""
    found = [float(np.linalg.norm(row))]
    for n_bits in range(1, most + 1):
        codes = residual_codes(row[None], n_bits, None if weights is None else weights[:n_bits])
        found.append(float(np.linalg.norm(row - codes.dense()[0])))
    return found


def test_what_is_left_over_by_hand():
    # Means 2, 0.5, 0.5: (3, -1, 2, -2) - 2 (1, -1, 1, -1) = (1, 1, 0, 0), whose zeros count as -1.
    row = np.array([3, -1, 2, -2], np.float32)
    assert left_over(row, most=3) == pytest.approx([18**0.5, 2**0.5, 1, 0])


@given(dim=dims, seed=seeds)
def test_what_is_left_over_never_grows(dim, seed):
    lengths = left_over(gaussian(1, dim, seed)[0])
    for before, after in pairwise(lengths):
        assert after <= before * (1 + 1e-5) + 1e-5


def test_what_is_left_over_of_gaussian_rows_falls_by_about_two_fifths_and_then_slower():
    rows = gaussian(200, 64, 5)
    by_mean = np.mean([left_over(row, most=4) for row in rows], axis=0)
    np.testing.assert_allclose(by_mean, [7.97, 4.81, 2.83, 1.86, 1.36], atol=0.01)
    by_fixed = np.mean([left_over(row, fixed_weights(7)) for row in rows], axis=0)
    # They add up to 2 at most: what is beyond stays, however many planes follow.
    np.testing.assert_allclose(by_fixed[-3:], [0.90, 0.81, 0.77], atol=0.01)


@given(dim=st.integers(2, 70), n_bits=bits, seed=seeds)
def test_scaled_codes_are_as_near_to_their_rows_as_the_rows_themselves(dim, n_bits, seed):
    rows = gaussian(5, dim, seed)
    codes = scaled(residual_codes(rows, n_bits), rows)
    own = np.einsum("nd,nd->n", codes.dense(), rows)
    np.testing.assert_allclose(own, np.einsum("nd,nd->n", rows, rows), rtol=1e-4)


def test_a_row_of_zeros_has_a_code_of_zeros():
    rows = np.zeros((1, 16), np.float32)
    assert not scaled(residual_codes(rows, 3), rows).decoded().any()


@pytest.mark.parametrize("dim", [16, 48, 528])
def test_a_rotation_keeps_lengths_and_angles_and_its_seed(dim):
    rows = gaussian(6, dim, 1)
    turned = Rotation.drawn(dim, seed=3).apply(rows)
    np.testing.assert_allclose(turned @ turned.T, rows @ rows.T, rtol=1e-4, atol=1e-3)
    np.testing.assert_array_equal(turned, Rotation.drawn(dim, seed=3).apply(rows))
    assert not np.allclose(turned, Rotation.drawn(dim, seed=4).apply(rows))
    # One dimension is spread over many: that is what it is for.
    spread = Rotation.drawn(dim, seed=3).apply(np.eye(dim, dtype=np.float32)[:1])
    assert np.abs(spread).max() < 0.9


def unit_rows(n: int, dim: int, seed: int) -> FloatArray:
    rows = gaussian(n, dim, seed)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_the_more_bits_the_more_of_the_first_ten_is_kept():
    pages = [unit_rows(12, 64, seed) for seed in range(150)]
    queries = [unit_rows(4, 64, 1000 + seed) for seed in range(30)]
    rotation = Rotation.drawn(64, seed=0)
    exact = PackedRows.pack(pages, Storage.FP32)
    best = [set(np.argsort(-maxsim_packed(query, exact))[:10]) for query in queries]
    kept = []
    for n_bits in (1, 2, 4, 8):
        turned = [rotation.apply(page) for page in pages]
        codes = [scaled(residual_codes(rows, n_bits), rows).decoded() for rows in turned]
        packed = PackedRows.pack(codes, Storage.FP32)
        found = [
            set(np.argsort(-maxsim_packed(rotation.apply(query), packed))[:10]) for query in queries
        ]
        kept.append(np.mean([len(a & b) / 10 for a, b in zip(found, best, strict=True)]))
    assert kept == sorted(kept)
    assert kept[0] < 0.6
    assert kept[-1] > 0.85


# --- networks that were trained -----------------------------------------------------------------
def passing(dim: int) -> dict[str, FloatArray]:
    """A network that returns what it reads: relu(x) - relu(-x)."""
    eye = np.eye(dim, dtype=np.float32)
    ones, zeros = np.ones(2 * dim, np.float32), np.zeros(2 * dim, np.float32)
    return {
        "in_weight": np.concatenate([eye, -eye]),
        "in_bias": zeros,
        "norm_mean": zeros,
        "norm_variance": ones - 1e-5,
        "norm_weight": ones,
        "norm_bias": zeros,
        "out_weight": np.concatenate([eye, -eye], axis=1),
        "out_bias": np.zeros(dim, np.float32),
    }


def saved(folder: Path, n_bits: int, dim: int = 16) -> Path:
    names = [f"binarize{j}" for j in range(n_bits)] + [f"rebuild{j}" for j in range(1, n_bits)]
    arrays = {f"{name}.{key}": value for name in names for key, value in passing(dim).items()}
    np.savez(folder / "networks.npz", **arrays)
    return folder / "networks.npz"


def test_networks_that_change_nothing_code_what_is_left_of_a_unit_row(tmp_path):
    networks = BebrNetworks.load(saved(tmp_path, 3))
    rows = gaussian(5, 16, 0)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    first = np.where(unit > 0, 1, -1)
    second = np.where(unit - first / 4 > 0, 1, -1)  # the length of 16 signs is 4
    code = first + second / 2
    third = np.where(unit - code / np.linalg.norm(code, axis=1, keepdims=True) > 0, 1, -1)
    np.testing.assert_array_equal(networks.codes(rows).dense(), code + third / 4)
    np.testing.assert_array_equal(networks.codes(rows, 2).dense(), code)
    assert networks.n_bits == 3


def test_a_network_norms_rectifies_and_biases():
    network = Network(
        in_weight=np.array([[1.0], [1.0]], np.float32),
        in_bias=np.array([0.0, 1.0], np.float32),
        norm_mean=np.array([1.0, 0.0], np.float32),
        norm_variance=np.array([4.0, 1.0], np.float32),
        norm_weight=np.array([2.0, -1.0], np.float32),
        norm_bias=np.array([0.5, 0.0], np.float32),
        out_weight=np.array([[10.0, 1.0]], np.float32),
        out_bias=np.array([3.0], np.float32),
    )
    # 5: (5 - 1) / 2 * 2 + 0.5 = 4.5, and -6 is cut off. -5: -5.5 is cut off, and 4 stays.
    np.testing.assert_allclose(network(np.array([[5.0], [-5.0]])), [[48.0], [7.0]], rtol=1e-4)


@pytest.mark.parametrize("left_out", ["binarize1.out_bias", "rebuild1.in_weight"])
def test_networks_that_lack_an_array_are_refused_by_its_name(tmp_path, left_out):
    path = saved(tmp_path, 2)
    arrays = dict(np.load(path))
    del arrays[left_out]
    np.savez(path, **arrays)
    with pytest.raises(ConfigError, match=left_out):
        BebrNetworks.load(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        BebrNetworks.load(tmp_path / "none.npz")


# --- pages of a collection ----------------------------------------------------------------------
@dataclass
class Snapshot:
    fp16: PackedRows
    int8: PackedRows
    numbering: object

    @classmethod
    def of(cls, pages: list[FloatArray], numbering: object = "n") -> Snapshot:
        packed = (PackedRows.pack(pages, storage) for storage in (Storage.FP16, Storage.INT8))
        return cls(*packed, numbering)


PAGES = [unit_rows(n, 32, n) for n in (3, 7, 1, 12, 5)]
EVERY = np.arange(len(PAGES))
QUERY = unit_rows(4, 32, 99)


class Reads:
    """Which pages were read, in all."""

    def __init__(self) -> None:
        self.pages: list[int] = []

    def __call__(self, pages) -> None:
        self.pages += pages.tolist()


def test_codes_of_eight_bits_score_about_as_vectors_do():
    exact = maxsim_packed(QUERY, PackedRows.pack(PAGES, Storage.FP32))
    found = CodedPages(8).scores(QUERY, Snapshot.of(PAGES), EVERY)
    np.testing.assert_allclose(found, exact, atol=0.05)
    coarse = CodedPages(1).scores(QUERY, Snapshot.of(PAGES), EVERY)
    assert np.abs(coarse - exact).max() > 0.15


def test_a_page_scores_the_same_alone_and_among_others(monkeypatch):
    coded, snapshot = CodedPages(3), Snapshot.of(PAGES)
    together = coded.scores(QUERY, snapshot, EVERY)
    alone = [CodedPages(3).scores(QUERY, snapshot, np.array([i]))[0] for i in EVERY]
    np.testing.assert_array_equal(together, alone)
    monkeypatch.setattr("rag.scoring.coded_pages._ROWS_AT_ONCE", 8)
    np.testing.assert_array_equal(coded.scores(QUERY, snapshot, EVERY), together)
    assert len(coded.scores(QUERY, snapshot, EVERY[:0])) == 0


def test_pages_are_read_once():
    coded, snapshot, reads = CodedPages(2), Snapshot.of(PAGES), Reads()
    first = coded.scores(QUERY, snapshot, EVERY[:3], before=reads)
    assert reads.pages == [0, 1, 2]
    again = coded.scores(QUERY, snapshot, EVERY, before=reads)
    assert reads.pages == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(again[:3], first)


def test_codes_beyond_the_budget_are_made_again():
    row_bytes = 2 * (32 // 8 + 4)
    coded = CodedPages(2, budget_bytes=13 * row_bytes)
    snapshot, reads = Snapshot.of(PAGES), Reads()
    whole = coded.scores(QUERY, snapshot, EVERY, before=reads)
    again = Reads()
    np.testing.assert_array_equal(coded.scores(QUERY, snapshot, EVERY[4:], before=again), whole[4:])
    assert again.pages == []
    coded.scores(QUERY, snapshot, EVERY[3:4], before=again)
    assert again.pages == [3]  # 12 rows leave no room for page 4
    coded.scores(QUERY, snapshot, EVERY[4:], before=again)
    assert again.pages == [3, 4]


def test_codes_of_pages_that_went_and_of_other_numberings_are_forgotten():
    coded, reads = CodedPages(2), Reads()
    coded.scores(QUERY, Snapshot.of(PAGES), EVERY, before=reads)
    gone = Snapshot.of([PAGES[0], PAGES[1][:0], *PAGES[2:]])
    coded.scores(QUERY, gone, EVERY[:1], before=reads)
    assert len(reads.pages) == 5
    coded.scores(QUERY, Snapshot.of(PAGES), EVERY, before=reads)
    assert reads.pages[5:] == [1]
    other = Snapshot.of(PAGES[::-1], numbering="m")
    found = coded.scores(QUERY, other, EVERY, before=reads)
    assert len(reads.pages) == 11
    np.testing.assert_array_equal(found, CodedPages(2).scores(QUERY, other, EVERY))


# --- in a search --------------------------------------------------------------------------------
WORDS = [f"word{i}" for i in range(60)]
DOCUMENTS = {
    f"d{i}": [[WORDS[(7 * i + 3 * page + j * j) % 60] for j in range(9)] for page in range(6)]
    for i in range(5)
}


def test_pages_that_are_shown_keep_exact_scores_and_others_are_scored_by_codes(tmp_path):
    world = World(tmp_path, DOCUMENTS)
    question = " ".join(WORDS[:5])
    query = world.encoder.encode_query(question).tokens.vectors
    settings = RetrievalSettings(exact_pages=0)
    packed = packed_search(world.fde, settings)
    by_codes, by_int8 = PatchSearch(packed, CodedPages(1)), PatchSearch(packed)
    ids = world.reader.ids(None)
    exact = by_int8.scores(world.reader, None, query, ids, exact=True)
    assert by_codes.scores(world.reader, None, query, ids, exact=True) == exact
    coarse = by_codes.scores(world.reader, None, query, ids)
    off = {name: abs(coarse[name] - exact[name]) for name in ids}
    fine = by_int8.scores(world.reader, None, query, ids)
    assert max(off.values()) > 10 * max(abs(fine[name] - exact[name]) for name in ids)

    retriever = Retriever(world.encoder, by_codes, settings)
    found = retriever.search(world.reader, SearchRequest(question, top_k=4))
    for hit, record_id in zip(found.hits, found.record_ids, strict=True):
        assert hit.scores["maxsim"] == pytest.approx(exact[record_id], abs=1e-6)
