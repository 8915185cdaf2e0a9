"""MaxSim over pages as codes of a few bits (`bebr`), made of their packed rows when first scored.

An experiment's way of scoring: what is read is small, but it is decoded in numpy for every query.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable

import numpy as np

from rag.geometry import FloatArray
from rag.scoring.bebr import BitCodes, Rotation, residual_codes, scaled
from rag.scoring.blas import one_blas_thread
from rag.scoring.cascade import PackedSnapshot
from rag.scoring.packed import IntArray, PackedRows, Storage, maxsim_packed

BUDGET_BYTES = 128_000_000
_SEED = 20230217
_ROWS_AT_ONCE = 16_384  # decoded together


class CodedPages:
    """The codes of one collection's pages, as many as the budget holds. Thread-safe.

    Pages beyond it are coded anew when they are scored again, those that were not scored for the
    longest first. Codes of pages that went are dropped by the next query.
    """

    def __init__(self, n_bits: int, *, budget_bytes: int = BUDGET_BYTES) -> None:
        self.n_bits = n_bits
        self._budget_bytes = budget_bytes
        self._lock = threading.Lock()
        # Below: under the lock.
        self._rotation: Rotation | None = None
        self._numbering: object = None
        self._codes: OrderedDict[int, BitCodes] = OrderedDict()
        self._n_bytes = 0

    def scores(
        self,
        query: FloatArray,
        pages: PackedSnapshot,
        among: IntArray,
        *,
        before: Callable[[IntArray], None] = lambda _pages: None,
    ) -> FloatArray:
        """MaxSim of a query with the codes of pages.

        Args:
            query: (n_query, dim), not coded.
            pages: the collection at one moment.
            among: (n,) numbers of pages that have rows.
            before: called with the pages whose float16 rows are about to be read.

        Returns:
            (n,) float32, of the size that exact scores have.

        Raises:
            ShapeError: as `maxsim_packed`.
        """
        maxsim_packed(query, pages.int8, np.zeros(0, np.int64))  # the same demands on a query
        rotation = self._rotation_of(query.shape[1])
        with one_blas_thread():
            turned = rotation.apply(query)
            codes = self._coded(pages, among, rotation, before)
        found = np.empty(len(among), np.float32)
        for begin, end in _batches([len(code) for code in codes]):
            found[begin:end] = maxsim_packed(turned, _decoded(codes[begin:end]))
        return found

    def _rotation_of(self, dim: int) -> Rotation:
        with self._lock:
            if self._rotation is None:
                self._rotation = Rotation.drawn(dim, seed=_SEED)
            return self._rotation

    def _coded(
        self,
        pages: PackedSnapshot,
        among: IntArray,
        rotation: Rotation,
        before: Callable[[IntArray], None],
    ) -> list[BitCodes]:
        with self._lock:
            self._forget(pages)
            known = {index: self._codes[index] for index in among.tolist() if index in self._codes}
            for index in known:
                self._codes.move_to_end(index)
        missing = [index for index in among.tolist() if index not in known]
        if missing:
            before(np.array(missing, np.int64))
        made: dict[int, BitCodes] = {}
        for index in missing:
            rows = rotation.apply(pages.fp16.page(index))
            made[index] = scaled(residual_codes(rows, self.n_bits), rows)
        self._keep(pages, made)
        both = known | made
        return [both[index] for index in among.tolist()]

    def _forget(self, pages: PackedSnapshot) -> None:
        """What belongs to other pages, or to some that went."""
        if self._numbering is not pages.numbering:
            self._numbering, self._n_bytes = pages.numbering, 0
            self._codes.clear()
        n_rows = pages.int8.n_rows
        for index in [i for i in self._codes if i >= len(n_rows) or n_rows[i] == 0]:
            self._n_bytes -= _size(self._codes.pop(index))

    def _keep(self, pages: PackedSnapshot, made: dict[int, BitCodes]) -> None:
        with self._lock:
            if self._numbering is not pages.numbering:
                return  # another query saw other pages meanwhile
            for index, codes in made.items():
                if index not in self._codes:
                    self._n_bytes += _size(codes)
                self._codes[index] = codes
            while self._n_bytes > self._budget_bytes:
                _, oldest = self._codes.popitem(last=False)
                self._n_bytes -= _size(oldest)


def _size(codes: BitCodes) -> int:
    return codes.planes.nbytes + codes.weights.nbytes


def _decoded(codes: list[BitCodes]) -> PackedRows:
    n_rows = np.array([len(each) for each in codes], np.int64)
    whole = BitCodes(
        codes[0].dim,
        np.concatenate([each.planes for each in codes]),
        np.concatenate([each.weights for each in codes]),
    )
    data = np.ascontiguousarray(whole.decoded())
    return PackedRows(Storage.FP32, whole.dim, data, np.cumsum(n_rows) - n_rows, n_rows)


def _batches(n_rows: list[int]) -> Iterable[tuple[int, int]]:
    """Pages begin to end whose rows are decoded together."""
    begin, rows = 0, 0
    for index, n in enumerate(n_rows):
        if rows and rows + n > _ROWS_AT_ONCE:
            yield begin, index
            begin, rows = index, 0
        rows += n
    if n_rows:
        yield begin, len(n_rows)
