"""Codes of fewer bits: what a round trip keeps, against conversions made by other means."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rag.geometry import FloatArray
from rag.scoring import quantize

DIMS = (4, 16, 20, 128)
finite = st.floats(-(2.0**53), 2.0**53, width=32)


def matrices(
    dims: tuple[int, ...] = DIMS, min_rows: int = 0, max_rows: int = 70
) -> st.SearchStrategy[FloatArray]:
    shapes = st.tuples(st.integers(min_rows, max_rows), st.sampled_from(dims))
    return shapes.flatmap(lambda shape: arrays(np.float32, shape, elements=finite, fill=finite))


def nearest_bf16(value: float) -> float:
    """By arithmetic: the nearest number of 8 significant bits, the even one of two."""
    if value == 0:
        return value
    _, exponent = math.frexp(value)
    unit = 2.0 ** max(exponent - 8, -133)  # subnormal numbers have a fixed unit
    return round(value / unit) * unit  # Python rounds halves to even


@given(values=arrays(np.float32, 20, elements=st.floats(-(2.0**126), 2.0**126, width=32)))
def test_bf16_is_the_nearest_number_of_8_bits_and_halves_go_to_even(values: FloatArray) -> None:
    found = quantize.from_bf16(quantize.to_bf16(values))
    assert found.tolist() == [nearest_bf16(float(value)) for value in values]


def test_bf16_of_halves_and_of_what_fits_is_known() -> None:
    pairs = {1.0: 1.0, -0.0: -0.0, 257.0: 256.0, 259.0: 260.0, 258.0: 258.0, 0.1: 0.10009765625}
    for value, expected in pairs.items():
        found = quantize.from_bf16(quantize.to_bf16(np.array([value], np.float32)))[0]
        assert found == expected
        assert math.copysign(1, found) == math.copysign(1, expected)


@given(rows=matrices())
def test_int8_is_off_by_half_a_step_at_most(rows: FloatArray) -> None:
    codes, scale = quantize.to_int8(rows)
    assert codes.dtype == np.uint8
    assert codes.shape == rows.shape
    assert codes.min(initial=255) >= 1  # a row of -128 would not fit the signed side
    largest = float(np.abs(rows).max(initial=0))
    assert scale == pytest.approx(largest / 127)
    off = np.abs(quantize.from_int8(codes, scale).astype(np.float64) - rows)
    # Half a step, and what 127 steps make of the rounding of the scale, which among the smallest
    # float32 values is up to half of 2^-149.
    assert off.max(initial=0) <= largest / 127 * 0.5001 + 127 * 2.0**-150


@given(rows=matrices())
def test_int8_of_negated_rows_is_the_negative(rows: FloatArray) -> None:
    codes, scale = quantize.to_int8(rows)
    negated, same = quantize.to_int8(-rows)
    assert scale == same
    np.testing.assert_array_equal(codes.astype(int) - 128, 128 - negated.astype(int))


def test_int8_of_worked_rows() -> None:
    codes, scale = quantize.to_int8(np.array([[1.27, -1.27, 0.014, 0.016]], np.float32))
    assert scale == pytest.approx(0.01)
    assert codes.tolist() == [[255, 1, 129, 130]]
    assert quantize.to_int8(np.zeros((1, 2), np.float32))[1] == 0.0
    assert quantize.from_int8(np.full((1, 2), 128, np.uint8), 0.0).tolist() == [[0, 0]]


@given(query=matrices(min_rows=1))
def test_each_query_row_has_its_own_step(query: FloatArray) -> None:
    codes, scales = quantize.query_to_int8(query)
    largest = np.abs(query).max(axis=1, initial=0)
    assert (np.abs(codes.astype(int)) <= 127).all()
    off = np.abs(codes.astype(np.float64) * scales[:, None] - query)
    assert (off <= largest[:, None] / 127 * 0.5001 + 1e-43).all()


@given(rows=matrices())
def test_signs_come_back_exactly(rows: FloatArray) -> None:
    blocks = quantize.to_bits(rows)
    assert blocks.shape == (math.ceil(len(rows) / 32), rows.shape[1] * 4)
    found = quantize.from_bits(blocks, len(rows))
    np.testing.assert_array_equal(found, np.where(rows > 0, 1, -1))


def test_signs_lie_where_the_layout_says() -> None:
    rows = -np.ones((33, 8), np.float32)
    rows[3, 1], rows[19, 6], rows[32, 4] = 1, 1, 1
    blocks = quantize.to_bits(rows).reshape(2, 2, 16)  # block, group, row
    assert blocks[0, 0, 3] == 0b0010  # row 3, second dimension of the first group
    assert blocks[0, 1, 3] == 0b0100 << 4  # row 19 = 3 + 16, third of the second group
    assert np.count_nonzero(blocks[0]) == 2
    # Row 32 fills its block: 16 bytes with both halves alike.
    assert (blocks[1, 1] == 0b00010001).all()
    assert not blocks[1, 0].any()


def test_packed_signs_give_the_hamming_distance_of_the_worked_example() -> None:
    rows = np.array([[0.3, -0.2, 0.5, -0.1], [0.1, 0.4, 0.2, -0.3]], np.float32)
    signs = quantize.from_bits(quantize.to_bits(rows), 2).astype(int)
    assert np.count_nonzero(signs[0] != signs[1]) == 1
    assert signs[0] @ signs[1] == 2


@given(query=matrices((4, 128, 132, 260), min_rows=1, max_rows=5), data=st.data())
def test_table_entries_add_up_to_the_dot_product_without_overflow(
    query: FloatArray, data: st.DataObject
) -> None:
    n, dim = query.shape
    tables, scale, offset = quantize.query_to_tables(query)
    assert tables.shape == (n, dim // 4, 16)
    most = tables.max(axis=2).astype(int)
    for begin in range(0, dim // 4, 32):
        assert (most[:, begin : begin + 32].sum(axis=1) <= 255).all()
    signs = data.draw(arrays(np.int8, dim, elements=st.sampled_from([-1, 1])))
    index = ((signs > 0).reshape(-1, 4) * [1, 2, 4, 8]).sum(axis=1)
    sums = tables[:, np.arange(dim // 4), index].astype(int).sum(axis=1)
    found = scale * sums + offset.astype(np.float64)
    exact = query.astype(np.float64) @ signs
    # Half a step for each group, and the float32 of values that may be of very different sizes.
    allowed = scale * (dim / 4) * 0.501 + np.abs(query).sum(axis=1, dtype=np.float64) * 1e-5
    assert (np.abs(found - exact) <= allowed).all()
