"""Exact and quantised MaxSim over pages that lie packed in memory or in a mapped file.

Pages are ragged: rows of one page follow each other, nothing is padded, and no matrix of
similarities is kept. A page scores the same bits alone and among any others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from rag.errors import ShapeError
from rag.geometry import FloatArray
from rag.scoring import native, quantize
from rag.scoring.blas import one_blas_thread

IntArray = npt.NDArray[np.int64]

MAX_DIM = 8192  # single-vector models have up to 4,096
# Beyond this, sums over so many dimensions and 1,024 query rows could leave float32.
LARGEST_VALUE = 1e15
# Pages of one row are multiplied together where the query has no more rows than this.
_FEW_ROWS = 4
_ROWS_AT_ONCE = 1024


def takes_dim(dim: int) -> bool:
    """Whether pages of this size can be packed."""
    return 16 <= dim <= MAX_DIM and dim % 16 == 0


class Storage(StrEnum):
    """How a row is kept. `bits` are signs met by a query of 8-bit tables; int8 meets a query of
    int8, and `bf16` one of bf16 where the processor multiplies those.
    """

    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"
    INT8 = "int8"
    BITS = "bits"


_LARGEST_FP16 = float(np.finfo(np.float16).max)
_DTYPES: dict[Storage, Any] = {
    Storage.FP32: np.float32,
    Storage.FP16: np.float16,
    Storage.BF16: np.uint16,
    Storage.INT8: np.uint8,
    Storage.BITS: np.uint8,
}


@dataclass(frozen=True, eq=False)
class PackedRows:
    """The rows of many pages in one storage.

    Attributes:
        storage: of all of them.
        dim: of the vectors; a multiple of 16 from 16 to 8,192.
        data: (n, dim) in the storage's type, page after page; for `bits` (n_blocks, dim * 4).
        first: (n_pages,) row of `data`, or block, at which a page begins.
        n_rows: (n_pages,) vectors of each page; 0 for a page without any.
        scales: (n_pages,) of `int8` pages.
    """

    storage: Storage
    dim: int
    data: npt.NDArray[Any]
    first: IntArray
    n_rows: IntArray
    scales: FloatArray | None = None

    def __post_init__(self) -> None:
        for name in ("first", "n_rows"):
            numbers = getattr(self, name)
            if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
                raise ShapeError(
                    f"packed rows want whole numbers (n_pages,) as {name}, "
                    f"got {numbers.dtype} {numbers.shape}"
                )
            object.__setattr__(self, name, np.ascontiguousarray(numbers, dtype=np.int64))
        width = self.dim * quantize.BITS_GROUP if self.storage is Storage.BITS else self.dim
        if not takes_dim(self.dim):
            raise ShapeError(f"packed rows want a dim of 16 to {MAX_DIM:,} by 16, got {self.dim}")
        if self.data.ndim != 2 or self.data.shape[1] != width or not self.data.flags.c_contiguous:
            raise ShapeError(
                f"{self.storage} rows of dim {self.dim} want contiguous data (n, {width}), "
                f"got {self.data.shape}"
            )
        if self.data.dtype != _DTYPES[self.storage]:
            raise ShapeError(
                f"{self.storage} rows are {_DTYPES[self.storage]}, got {self.data.dtype}"
            )
        used = self.n_units
        if len(self.first) != len(self.n_rows) or (
            len(used)
            and (
                self.first.min() < 0
                or self.n_rows.min() < 0
                or (self.first > len(self.data) - used).any()
            )
        ):
            raise ShapeError(f"pages reach beyond the {len(self.data)} rows of their data")
        if (self.scales is not None) != (self.storage is Storage.INT8):
            raise ShapeError("int8 pages want a scale each, others none")
        if self.scales is not None:
            object.__setattr__(self, "scales", np.ascontiguousarray(self.scales, dtype=np.float32))
            if self.scales.shape != self.first.shape or not np.isfinite(self.scales).all():
                raise ShapeError(
                    f"int8 pages want a finite scale each, got {self.scales.shape} "
                    f"for {len(self.first)} pages"
                )

    def __len__(self) -> int:
        return len(self.first)

    @property
    def n_units(self) -> IntArray:
        """(n_pages,) rows of `data` that each page takes."""
        if self.storage is Storage.BITS:
            return -(-self.n_rows // quantize.BITS_BLOCK)
        return self.n_rows

    @classmethod
    def pack(cls, pages: Sequence[FloatArray], storage: Storage) -> PackedRows:
        """Pages (n, dim) of values within 1e15 (and what the storage can hold), any n.

        Raises:
            ShapeError: no pages, pages of several dims, NaN, values too large (naming the page).
        """
        if not pages:
            raise ShapeError("packed rows want at least one page to know their dim")
        dim = pages[0].shape[-1]
        largest = min(LARGEST_VALUE, _LARGEST_FP16) if storage is Storage.FP16 else LARGEST_VALUE
        codes: list[npt.NDArray[Any]] = []
        scales = np.zeros(len(pages), dtype=np.float32)
        for index, page in enumerate(pages):
            if page.ndim != 2 or page.shape[1] != dim:
                raise ShapeError(f"page {index} wants rows (n, {dim}), got {page.shape}")
            if not (np.abs(page) <= largest).all():
                raise ShapeError(
                    f"page {index} holds NaN, or values beyond the {largest:g} of {storage} rows"
                )
            match storage:
                case Storage.FP32:
                    codes.append(page.astype(np.float32))
                case Storage.FP16:
                    codes.append(page.astype(np.float16))
                case Storage.BF16:
                    codes.append(quantize.to_bf16(page))
                case Storage.INT8:
                    page_codes, scales[index] = quantize.to_int8(page)
                    codes.append(page_codes)
                case Storage.BITS:
                    codes.append(quantize.to_bits(page))
        used = np.array([len(code) for code in codes], dtype=np.int64)
        return cls(
            storage=storage,
            dim=dim,
            data=np.concatenate(codes),
            first=np.cumsum(used) - used,
            n_rows=np.array([len(page) for page in pages], dtype=np.int64),
            scales=scales if storage is Storage.INT8 else None,
        )

    def page(self, index: int) -> FloatArray:
        """(n, dim) float32 of one page as the storage knows it; signs have length 1."""
        begin = int(self.first[index])
        codes = self.data[begin : begin + int(self.n_units[index])]
        match self.storage:
            case Storage.BF16:
                return quantize.from_bf16(codes)
            case Storage.INT8:
                assert self.scales is not None
                return quantize.from_int8(codes, float(self.scales[index]))
            case Storage.BITS:
                signs = quantize.from_bits(codes, int(self.n_rows[index])).astype(np.float32)
                return signs / np.float32(np.sqrt(self.dim))
            case _:
                return codes.astype(np.float32)


def maxsim_packed(
    query: FloatArray, pages: PackedRows, among: IntArray | None = None
) -> FloatArray:
    """MaxSim of one query with packed pages.

    Args:
        query: (n_query, dim), 1 to 1,024 rows of values within 1e15.
        pages: of the same dim.
        among: (n,) page numbers to score, in any order; None is all.

    Returns:
        (n,) float32, -inf for a page without rows. `fp32` differs from float64 by 1e-6 of the
        query's length; `int8` and `bits` meet a query of 8 bits.

    Raises:
        ShapeError: another dim, no or too many query rows, NaN, a page number out of range.
    """
    if query.ndim != 2 or not 1 <= len(query) <= 1024 or query.shape[1] != pages.dim:
        raise ShapeError(f"MaxSim wants a query (1 to 1,024, {pages.dim}), got {query.shape}")
    if not (np.abs(query) <= LARGEST_VALUE).all():
        raise ShapeError(f"a query holds NaN, infinite values, or some beyond {LARGEST_VALUE:g}")
    query = np.ascontiguousarray(query, dtype=np.float32)
    if among is None:
        among = np.arange(len(pages), dtype=np.int64)
    else:
        among = check_page_numbers(among, len(pages))
    library = native.library()
    if library is not None and library.takes(query):
        return library.maxsim(query, pages, among)
    return _maxsim_numpy(query, pages, among)


def check_page_numbers(among: IntArray, n_pages: int) -> IntArray:
    """(n,) int64. Raises ShapeError where one is no number of a page."""
    if among.ndim != 1 or (len(among) and among.dtype.kind not in "iu"):
        raise ShapeError(f"page numbers are whole, (n,), got {among.dtype} {among.shape}")
    if len(among) and (among.min() < 0 or among.max() >= n_pages):
        raise ShapeError(f"a page number is beyond the {n_pages} packed pages")
    return np.ascontiguousarray(among, dtype=np.int64)


def _maxsim_numpy(query: FloatArray, pages: PackedRows, among: IntArray) -> FloatArray:
    """The same scores without the native library, but for the 8-bit tables of `bits`."""
    if pages.storage is Storage.INT8:
        codes, scales = quantize.query_to_int8(query)
        query = codes.astype(np.float32) * scales[:, None]
    scores = np.full(len(among), -np.inf, dtype=np.float32)
    n_rows = pages.n_rows[among]
    alone = (n_rows == 1) & (len(query) <= _FEW_ROWS)
    places = np.flatnonzero(alone)
    for begin in range(0, len(places), _ROWS_AT_ONCE):
        some = places[begin : begin + _ROWS_AT_ONCE]
        scores[some] = _maxsim_of_single_rows(query, pages, among[some])
    columns = np.ascontiguousarray(query.T)  # (dim, n_query)
    with one_blas_thread():
        for place in np.flatnonzero(~alone & (n_rows > 0)):
            similarity = pages.page(int(among[place])) @ columns
            scores[place] = similarity.max(axis=0).sum(dtype=np.float64)
    return scores


def _maxsim_of_single_rows(query: FloatArray, pages: PackedRows, among: IntArray) -> FloatArray:
    """(n,) of pages of one row each: what single-vector models make is nothing else.

    Added up along each row by itself: a joint product of BLAS would let other pages into the last
    bits.
    """
    codes = pages.data[pages.first[among]]
    match pages.storage:
        case Storage.BF16:
            rows = quantize.from_bf16(codes)
        case Storage.INT8:
            assert pages.scales is not None
            rows = (codes.astype(np.float32) - quantize.INT8_BIAS) * pages.scales[among, None]
        case Storage.BITS:
            rows = quantize.first_of_bits(codes).astype(np.float32) / np.float32(np.sqrt(pages.dim))
        case _:
            rows = codes.astype(np.float32)
    total = np.zeros(len(among), dtype=np.float64)
    for row in query:
        total += (rows * row).sum(axis=1)
    return total.astype(np.float32)
