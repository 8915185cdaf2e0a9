"""Page rows in fewer bits: bfloat16, int8 and sign bits, and what a query needs to meet them.

The layouts are those of the packed files and of the native kernels (native/octavo.h): they change
only together with the files' version.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rag.geometry import FloatArray

ByteArray = npt.NDArray[np.uint8]

INT8_BIAS = 128  # codes are stored unsigned: the dot-product instructions want one unsigned side
BITS_BLOCK = 32  # rows of sign bits that share a block
BITS_GROUP = 4  # dimensions whose signs make one table index


def to_bf16(rows: FloatArray) -> npt.NDArray[np.uint16]:
    """The upper half of each float32, rounded to nearest even."""
    bits = np.ascontiguousarray(rows, dtype=np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def from_bf16(codes: npt.NDArray[np.uint16]) -> FloatArray:
    return (codes.astype(np.uint32) << 16).view(np.float32)


def to_int8(rows: FloatArray) -> tuple[ByteArray, float]:
    """Symmetric int8 with one scale for the page: row = (code - INT8_BIAS) * scale.

    Returns:
        (n, dim) codes from 1 to 255, and the scale; 0 for a page of zeros.
    """
    largest = float(np.abs(rows).max(initial=0.0))
    if largest == 0.0:
        return np.full(rows.shape, INT8_BIAS, dtype=np.uint8), 0.0
    # Divided first: 127 / largest is beyond float32 where the rows are tiny.
    codes = np.rint(rows / np.float32(largest) * np.float32(127)).clip(-127, 127)
    return (codes + INT8_BIAS).astype(np.uint8), largest / 127.0


def from_int8(codes: ByteArray, scale: float) -> FloatArray:
    return (codes.astype(np.float32) - INT8_BIAS) * np.float32(scale)


def query_to_int8(query: FloatArray) -> tuple[npt.NDArray[np.int8], FloatArray]:
    """(n, dim) signed codes and (n,) scales, one a row: row = code * scale."""
    largest = np.abs(query).max(axis=1)
    divisor = np.where(largest > 0, largest, np.float32(1))
    codes = np.rint(query / divisor[:, None] * np.float32(127)).astype(np.int8)
    return codes, largest / np.float32(127)


def to_bits(rows: FloatArray) -> ByteArray:
    """Signs (1 where positive) in blocks of 32 rows, as table indices.

    A block holds dim / 4 groups of 16 bytes; byte j of a group has the four signs of row j in its
    low half and those of row j + 16 in its high half, the first dimension lowest. The last block
    is filled with its first row again, which changes no maximum.

    Returns:
        (n_blocks, dim * 4).
    """
    n, dim = rows.shape
    n_blocks = -(-n // BITS_BLOCK)
    signs = np.zeros((n_blocks * BITS_BLOCK, dim), dtype=np.uint8)
    signs[:n] = rows > 0
    if n % BITS_BLOCK:
        signs[n:] = signs[(n_blocks - 1) * BITS_BLOCK]
    grouped = signs.reshape(n_blocks, BITS_BLOCK, dim // BITS_GROUP, BITS_GROUP)
    nibbles = np.packbits(grouped, axis=3, bitorder="little")[..., 0]  # (blocks, 32, groups)
    half = BITS_BLOCK // 2
    paired = nibbles[:, :half] | (nibbles[:, half:] << 4)  # (blocks, 16, groups)
    return np.ascontiguousarray(paired.transpose(0, 2, 1)).reshape(n_blocks, dim * BITS_GROUP)


def from_bits(blocks: ByteArray, n_rows: int) -> npt.NDArray[np.int8]:
    """(n_rows, dim) of +1 and -1."""
    n_blocks, width = blocks.shape
    dim = width // BITS_GROUP
    paired = blocks.reshape(n_blocks, dim // BITS_GROUP, BITS_BLOCK // 2).transpose(0, 2, 1)
    nibbles = np.concatenate([paired & 15, paired >> 4], axis=1)  # (blocks, 32, groups)
    signs = np.unpackbits(nibbles[..., None], axis=3, count=BITS_GROUP, bitorder="little")
    flat = signs.reshape(n_blocks * BITS_BLOCK, dim)[:n_rows]
    return flat.astype(np.int8) * 2 - 1


def first_of_bits(blocks: ByteArray) -> npt.NDArray[np.int8]:
    """(n_blocks, dim) of +1 and -1: the first row of each block."""
    dim = blocks.shape[1] // BITS_GROUP
    nibbles: ByteArray = blocks[:, :: BITS_BLOCK // 2] & np.uint8(15)  # (n_blocks, groups)
    signs = np.unpackbits(nibbles[..., None], axis=2, count=BITS_GROUP, bitorder="little")
    return signs.reshape(len(blocks), dim).astype(np.int8) * 2 - 1


def query_to_tables(query: FloatArray) -> tuple[ByteArray, FloatArray, FloatArray]:
    """What each query row adds for each four signs, in 8 bits that add up without overflow.

    Returns:
        tables (n, dim / 4, 16), and (n,) scale and offset: the dot product of a query row with a
        row of +-1 is about scale * (sum of its table entries) + offset, where the entries of
        every 128 dimensions add up to 255 at most.
    """
    n, dim = query.shape
    grouped = query.reshape(n, dim // BITS_GROUP, BITS_GROUP, 1).astype(np.float32)
    up = np.arange(16) >> np.arange(BITS_GROUP)[:, None] & 1  # (4, 16)
    signed = np.where(up, grouped, -grouped)  # (n, groups, 4, 16)
    # Added up in the order of the kernels, so that both make the same tables.
    values = signed[:, :, 0] + signed[:, :, 1] + signed[:, :, 2] + signed[:, :, 3]
    lowest = values.min(axis=2)
    values -= lowest[:, :, None]
    widest, span, offset = (np.zeros(n, dtype=np.float32) for _ in range(3))
    for group in range(dim // BITS_GROUP):
        if group % 32 == 0:  # so many are added up in 8 bits, each rounded up by a half at most
            span = np.zeros(n, dtype=np.float32)
        span = span + values[:, group].max(axis=1)
        widest = np.maximum(widest, span)
        offset = offset + lowest[:, group]
    divisor = np.where(widest > 0, widest, np.float32(1))
    tables = np.rint(values / divisor[:, None, None] * np.float32(239)).astype(np.uint8)
    return tables, widest / np.float32(239), offset
