"""The first stage: a flat scan of encodings kept as signs, met by a query of 8 bits.

Signs with a float query find more of what MaxSim finds than the encoding itself, at 1/32 of the
bytes, and 8 bits of the query lose nothing of that (docs/adr/0005-fde.md).
"""

from __future__ import annotations

import numpy as np

from rag.errors import ShapeError
from rag.geometry import FloatArray
from rag.scoring import native
from rag.scoring.packed import IntArray, check_page_numbers
from rag.scoring.quantize import ByteArray


def row_bytes(fde_size: int) -> int:
    """What one page takes: whole 64-bit words."""
    return -(-fde_size // 64) * 8


def pack_signs(fdes: FloatArray) -> ByteArray:
    """(n, fde_size) to (n, row_bytes): bit i, lowest first, is whether coordinate i is positive."""
    bits = np.packbits(fdes > 0, axis=1, bitorder="little")
    packed = np.zeros((len(fdes), row_bytes(fdes.shape[1])), dtype=np.uint8)
    packed[:, : bits.shape[1]] = bits
    return packed


def scan_signs(query: FloatArray, signs: ByteArray, among: IntArray | None = None) -> FloatArray:
    """Dot products of one query encoding with pages of +1 and -1: they rank, and mean nothing else.

    Args:
        query: (fde_size,) from `FdeEncoder.encode_query`.
        signs: (n_pages, row_bytes(fde_size)), contiguous.
        among: (n,) page numbers to score; None is all.

    Returns:
        (n,) float32.

    Raises:
        ShapeError: sides that differ in size, NaN in the query, a page number out of range.
    """
    if query.ndim != 1 or signs.ndim != 2 or signs.shape[1] != row_bytes(len(query)):
        raise ShapeError(f"signs {signs.shape} do not fit an FDE query {query.shape}")
    if not np.isfinite(query).all():
        raise ShapeError("an FDE query holds NaN or infinite values")
    if among is not None:
        among = check_page_numbers(among, len(signs))
    largest = float(np.abs(query).max(initial=0.0))
    codes = np.zeros(signs.shape[1] * 8, dtype=np.int8)
    if largest:
        codes[: len(query)] = np.rint(query / np.float32(largest) * np.float32(127))
    library = native.library()
    if library is not None:
        return library.scan(codes, largest / 127.0, np.ascontiguousarray(signs), among)
    rows = signs if among is None else signs[among]
    wide = codes.astype(np.float32)
    scores = np.empty(len(rows), dtype=np.float32)
    for start in range(0, len(rows), 64):  # unpacked, a page takes 32 times its bytes
        up = np.unpackbits(rows[start : start + 64], axis=1, bitorder="little")
        scores[start : start + 64] = up.astype(np.float32) @ wide
    found: FloatArray = (2 * scores - wide.sum()) * np.float32(largest / 127.0)
    return found
