"""The compiled kernels (native/), where they were built; numpy does the same without, slower."""

from __future__ import annotations

import ctypes
import os
import sys
import weakref
from collections.abc import Sequence
from ctypes import (
    POINTER,
    Structure,
    c_char_p,
    c_double,
    c_float,
    c_int,
    c_int32,
    c_int64,
    c_void_p,
)
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rag.errors import BackendError
from rag.geometry import FloatArray
from rag.scoring import quantize

if TYPE_CHECKING:
    from rag.scoring.packed import PackedRows

IntArray = npt.NDArray[np.int64]

_ABI = 3
_SUFFIX = ".dylib" if sys.platform == "darwin" else ".so"
PATH = Path(__file__).with_name(f"_octavo{_SUFFIX}")
# The order of `enum storage` in native/octavo.h.
_STORAGES = ("fp32", "fp16", "bf16", "int8", "bits")
_SWITCH = (
    "OCTAVO_NATIVE"  # `off`, or the name of an instruction set; for tests and for finding faults
)


class _MaxsimJob(Structure):
    _fields_ = (
        ("storage", c_int32),
        ("dim", c_int32),
        ("n_query", c_int32),
        ("query", c_void_p),
        ("query_scale", c_void_p),
        ("query_offset", c_void_p),
        ("pages", c_void_p),
        ("n_rows", c_void_p),
        ("page_scale", c_void_p),
        ("n_pages", c_int64),
        ("scores", c_void_p),
    )


class _FdeMatrices(Structure):
    _fields_ = (
        ("dim", c_int32),
        ("repetitions", c_int32),
        ("bits", c_int32),
        ("block_dim", c_int32),
        ("planes", c_void_p),
        ("projections", c_void_p),
    )


class _FdeJob(Structure):
    _fields_ = (
        ("matrices", c_void_p),
        ("is_query", c_int32),
        ("fill", c_int32),
        ("pages", c_void_p),
        ("n_rows", c_void_p),
        ("n_pages", c_int64),
        ("out", c_void_p),
    )


class _ScanJob(Structure):
    _fields_ = (
        ("signs", c_void_p),
        ("n_words", c_int64),
        ("query", c_void_p),
        ("scale", c_float),
        ("among", c_void_p),
        ("n", c_int64),
        ("scores", c_void_p),
    )


class FdeMatrices:
    """Matrices of an encoder in the library's own order; freed with this object."""

    def __init__(self, address: int, fde_size: int, library: ctypes.CDLL) -> None:
        self.address = address
        self.fde_size = fde_size
        weakref.finalize(self, library.octavo_fde_release, address)


class Library:
    """The loaded library. Its calls give up the GIL and share the machine by a work queue.

    Callers check what they pass: `maxsim_packed`, `maxsim_many`, `FdeEncoder`, `scan_signs`.
    """

    def __init__(self, path: Path, *, threads: int, isa: str | None = None) -> None:
        """Raises OSError where it cannot be loaded, or is not of this version or processor."""
        self._c = ctypes.CDLL(str(path))
        self._c.octavo_isa.restype = c_char_p
        self._c.octavo_peak.restype = c_double
        self._c.octavo_read.restype = c_int64
        self._c.octavo_maxsim.argtypes = [POINTER(_MaxsimJob)]
        self._c.octavo_fde.argtypes = [POINTER(_FdeJob)]
        self._c.octavo_fde_prepare.argtypes = [POINTER(_FdeMatrices)]
        self._c.octavo_fde_prepare.restype = c_void_p
        self._c.octavo_fde_release.argtypes = [c_void_p]
        self._c.octavo_fde_release.restype = None
        self._c.octavo_scan.argtypes = [POINTER(_ScanJob)]
        self._c.octavo_round_query.argtypes = [
            c_int,
            c_void_p,
            c_int,
            c_int,
            c_void_p,
            c_void_p,
            c_void_p,
        ]
        self._c.octavo_round_query.restype = None
        self._c.octavo_peak.argtypes = [c_int, c_int64]
        self._c.octavo_read.argtypes = [c_void_p, c_int64]
        if self._c.octavo_abi() != _ABI:
            raise OSError(f"{path.name} is of version {self._c.octavo_abi()}, {_ABI} is wanted")
        self.threads = threads
        self._c.octavo_threads(threads)
        if isa is not None:
            self.select(isa)

    @property
    def isa(self) -> str:
        """The instruction set in use."""
        return str(self._c.octavo_isa().decode())

    def select(self, isa: str) -> None:
        """Use another set than the best. Raises OSError for one this processor lacks."""
        if self._c.octavo_select(isa.encode()):
            raise OSError(f"the instruction set {isa!r} is not built in, or not of this processor")

    @staticmethod
    def takes_dim(dim: int) -> bool:
        """Whether the kernels are made for rows of this size."""
        return 16 <= dim <= 1024 and dim % 16 == 0

    def takes(self, query: FloatArray) -> bool:
        """Whether the kernels are made for queries (n, dim) of this shape."""
        return 1 <= len(query) <= 1024 and self.takes_dim(query.shape[1])

    def maxsim(self, query: FloatArray, pages: PackedRows, among: IntArray | None) -> FloatArray:
        """(n,) scores of packed pages; see `maxsim_packed`."""
        first, n_rows, scales = pages.first, pages.n_rows, pages.scales
        if among is not None:
            first, n_rows = first[among], n_rows[among]
            scales = None if scales is None else scales[among]
        addresses = pages.data.ctypes.data + first * pages.data.strides[0]
        return self._maxsim(pages.storage, query, addresses, n_rows, scales)

    def round_query(
        self, storage: str, query: FloatArray
    ) -> tuple[npt.NDArray[Any], FloatArray, FloatArray]:
        """Codes (n, dim) of `query_to_int8` or tables of `query_to_tables`, scales, offsets.

        numpy does the same in `rag.scoring.quantize`, which for one query costs as much as scoring
        twenty pages.
        """
        n, dim = query.shape
        codes: npt.NDArray[Any] = (
            np.empty((n, dim), dtype=np.int8)
            if storage == "int8"
            else np.empty((n, dim // quantize.BITS_GROUP, 16), dtype=np.uint8)
        )
        scale, offset = np.empty(n, dtype=np.float32), np.zeros(n, dtype=np.float32)
        self._c.octavo_round_query(
            _STORAGES.index(storage),
            query.ctypes.data,
            n,
            dim,
            codes.ctypes.data,
            scale.ctypes.data,
            offset.ctypes.data,
        )
        return codes, scale, offset

    def maxsim_arrays(self, query: FloatArray, pages: Sequence[FloatArray]) -> FloatArray:
        """(n,) scores of float32 matrices that lie anywhere, each contiguous."""
        addresses = np.array([page.ctypes.data for page in pages], dtype=np.int64)
        n_rows = np.array([len(page) for page in pages], dtype=np.int64)
        return self._maxsim("fp32", query, addresses, n_rows, None)

    def _maxsim(
        self,
        storage: str,
        query: FloatArray,
        addresses: IntArray,
        n_rows: IntArray,
        scales: FloatArray | None,
    ) -> FloatArray:
        codes: npt.NDArray[Any] = np.ascontiguousarray(query, dtype=np.float32)
        factor = offset = None
        if storage in {"int8", "bits"}:
            codes, factor, offset = self.round_query(storage, codes)
        addresses, n_rows = np.ascontiguousarray(addresses), np.ascontiguousarray(n_rows)
        scores = np.empty(len(n_rows), dtype=np.float32)
        job = _MaxsimJob(
            _STORAGES.index(storage),
            query.shape[1],
            len(query),
            codes.ctypes.data,
            _address(factor),
            _address(offset),
            addresses.ctypes.data,
            n_rows.ctypes.data,
            _address(scales),
            len(n_rows),
            scores.ctypes.data,
        )
        _check(self._c.octavo_maxsim(job))
        return scores

    def prepare_fde(
        self, planes: FloatArray, projections: FloatArray | None, *, repetitions: int
    ) -> FdeMatrices:
        """Matrices turned into what the kernels of the instruction set in use read.

        Args:
            planes: (bits * repetitions, dim), bit after bit.
            projections: (repetitions, block_dim, dim), or None where rows stay as they are.
            repetitions: at least 1.
        """
        dim, bits = planes.shape[1], len(planes) // repetitions
        block_dim = dim if projections is None else projections.shape[1]
        planes = np.ascontiguousarray(planes, dtype=np.float32)
        address = self._c.octavo_fde_prepare(
            _FdeMatrices(
                dim, repetitions, bits, block_dim, planes.ctypes.data, _address(projections)
            )
        )
        _check(address is None)
        return FdeMatrices(address, repetitions * (1 << bits) * block_dim, self._c)

    def fde(
        self, pages: Sequence[FloatArray], matrices: FdeMatrices, *, is_query: bool, fill: bool
    ) -> FloatArray:
        """(n_pages, size) encodings of contiguous float32 pages (n >= 1, dim); see `FdeEncoder`."""
        addresses = np.array([page.ctypes.data for page in pages], dtype=np.int64)
        n_rows = np.array([len(page) for page in pages], dtype=np.int64)
        out = np.empty((len(pages), matrices.fde_size), dtype=np.float32)
        job = _FdeJob(
            matrices.address,
            is_query,
            fill,
            addresses.ctypes.data,
            n_rows.ctypes.data,
            len(pages),
            out.ctypes.data,
        )
        _check(self._c.octavo_fde(job))
        return out

    def scan(
        self,
        query: npt.NDArray[np.int8],
        scale: float,
        signs: npt.NDArray[np.uint8],
        among: IntArray | None,
    ) -> FloatArray:
        """(n,) dot products of rows of signs (n_rows, n_words * 8 bytes); see `scan_signs`."""
        n = len(signs) if among is None else len(among)
        scores = np.empty(n, dtype=np.float32)
        job = _ScanJob(
            signs.ctypes.data,
            signs.shape[1] // 8,
            query.ctypes.data,
            scale,
            _address(among),
            n,
            scores.ctypes.data,
        )
        _check(self._c.octavo_scan(job))
        return scores

    # --- what the machine could do at most, for benchmarks ---------------------------------------
    def peak(self, storage: str, iterations: int) -> float:
        """Operations one thread did of multiply-adds in registers; 0 where there are none."""
        return float(self._c.octavo_peak(_STORAGES.index(storage), iterations))

    def read(self, data: npt.NDArray[np.uint8]) -> None:
        """Touches every byte of all whole blocks of 65,536."""
        self._c.octavo_read(data.ctypes.data, data.nbytes)


@dataclass(frozen=True)
class NativeStatus:
    """Whether the library is in use, and what of it or why not."""

    is_used: bool
    detail: str
    next_step: str = ""


@cache
def _load() -> tuple[Library | None, NativeStatus]:
    wanted = os.environ.get(_SWITCH, "")
    if wanted == "off":
        return None, NativeStatus(False, f"switched off by {_SWITCH}", f"Unset {_SWITCH}.")
    if not PATH.exists():
        return None, NativeStatus(
            False,
            "not built; numpy does the same, about ten times slower",
            "Install Octavo from a wheel, or run `make setup` in a checkout.",
        )
    threads = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    try:
        loaded = Library(PATH, threads=threads, isa=wanted or None)
    except (OSError, AttributeError) as error:
        return None, NativeStatus(
            False,
            f"cannot be loaded ({error}); numpy does the same, about ten times slower",
            f"Unset {_SWITCH}."
            if wanted
            else "Build it again: `make setup` in a checkout, or reinstall Octavo.",
        )
    return loaded, NativeStatus(True, f"{loaded.isa}, {threads} threads")


def library() -> Library | None:
    """None where it was not built, cannot be loaded, or OCTAVO_NATIVE=off."""
    return _load()[0]


def status() -> NativeStatus:
    """For `octavo doctor`."""
    return _load()[1]


def _address(array: npt.NDArray[Any] | None) -> int | None:
    return None if array is None else int(array.ctypes.data)


def _check(failed: int) -> None:
    if failed:
        raise BackendError(
            "the scoring kernels got no memory",
            code="out_of_memory",
            next_step="Close other programs, or search fewer pages at a time.",
        )
