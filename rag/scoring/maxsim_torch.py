"""MaxSim over pages that stay on a device: exact scans of all of them, or of candidates there.

Pages are ragged and lie row after row; neither they nor the similarities are ever padded to the
longest. The device is chosen when pages are handed in.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch

from rag.errors import BackendError, ConfigError, ShapeError
from rag.geometry import FloatArray
from rag.scoring import quantize
from rag.scoring.packed import IntArray, PackedRows, Storage
from rag.scoring.resident_layout import check_storage, layout, n_units, runs, signs, to_resident
from rag.scoring.torch_device import resolve_device

MAX_QUERY_ROWS = 1024
# The kernels hold pieces of a row, and were measured up to here.
_MAX_KERNEL_DIM = 1024
SCRATCH_BYTES = 256 << 20  # bests of query rows kept at a time; beside the budget
_UPLOAD_BYTES = 256 << 20
_PRODUCT_ROWS = 16_384  # of one torch product on a GPU
_LIK_ELEMENTS = 2**31 - 1  # late-interaction-kernels 0.4.5 counts elements in 32 bits
_INT = torch.int32


class Backend(StrEnum):
    """Who multiplies. `lik` is late-interaction-kernels, which knows bf16 pages on CUDA only."""

    TRITON = "triton"
    TORCH = "torch"
    LIK = "lik"


@dataclass(frozen=True, eq=False)
class _Queries:
    """Query rows of all queries one after another, on the device, in the form the pages want.

    Attributes:
        rows: (n, dim) bfloat16, or int8 codes.
        factor: (n,) float32, what a row's products are multiplied by.
        offset: (n,) int32 sum of a row's codes.
        first: (n_queries,) int32; n_rows likewise.
        lengths: the same as n_rows, on this side.
    """

    rows: Any
    factor: Any
    offset: Any
    first: Any
    n_rows: Any
    lengths: tuple[int, ...]


class ResidentPages:
    """Pages on a device, within a budget of bytes.

    Attributes:
        storage: bf16, int8 or bits.
        dim: of the vectors.
        device: where they lie.
        budget_bytes: what their rows were allowed to take.
        size_bytes: what the rows take.
        n_offered: pages handed in.
        n_resident: pages that are here, the first of those handed in; only these are scored.
    """

    def __init__(
        self,
        rows: Any,
        n_rows: IntArray,
        *,
        storage: Storage,
        dim: int,
        scales: FloatArray | None = None,
        budget_bytes: int | None = None,
        n_offered: int | None = None,
    ) -> None:
        """Takes over rows that are on a device already; they are not copied.

        Args:
            rows: (n, dim) bfloat16; (n, dim) int8, row = code * scale of its page; or, of bits,
                (16 * n_blocks, dim / 4) uint8: row j of a block of 32 in the low halves of its byte
                row j, row j + 16 in the high halves, the first of four dimensions lowest.
            n_rows: (n_pages,) vectors of each page, which follow each other without gaps.
            storage: how the rows are kept.
            dim: of the vectors, a multiple of 16 from 16 to 8,192.
            scales: (n_pages,) of int8.
            budget_bytes: named in errors; what the rows take if None.
            n_offered: pages handed in; those here if None.

        Raises:
            ConfigError: a storage that has no kernels here.
            ShapeError: rows that do not fit the storage, or the pages' lengths.
        """
        check_storage(storage)
        width, dtype = layout(storage, dim)
        n_rows = np.asarray(n_rows, dtype=np.int64)
        units = n_units(storage, n_rows)
        if rows.dtype != dtype or tuple(rows.shape) != (int(units.sum()), width):
            raise ShapeError(
                f"{storage} pages of {int(n_rows.sum())} rows of dim {dim} want a tensor "
                f"({int(units.sum())}, {width}) of {dtype}, got {tuple(rows.shape)} of {rows.dtype}"
            )
        if (scales is not None) != (storage is Storage.INT8):
            raise ShapeError("int8 pages want a scale each, others none")
        self.storage, self.dim, self.device = storage, dim, rows.device
        self.n_resident = len(n_rows)
        self.n_offered = self.n_resident if n_offered is None else n_offered
        self.size_bytes = int(rows.numel()) * rows.element_size()
        self.budget_bytes = self.size_bytes if budget_bytes is None else budget_bytes
        self._rows = rows
        self._units = units.copy()  # written to by `erase`; these may be the caller's
        self._product_rows = _PRODUCT_ROWS if rows.device.type == "cuda" else 0
        self._first = np.cumsum(units) - units
        factor = np.ones(len(n_rows), dtype=np.float32)
        if storage is Storage.INT8:
            factor = np.asarray(scales, dtype=np.float32)
        elif storage is Storage.BITS:
            factor /= np.float32(np.sqrt(dim))  # signs as a vector of length 1
        with self._memory():
            self._first_on_device = self._put(self._first)
            self._units_on_device = self._put(units.astype(np.int32))
            self._factor_on_device = self._put(factor)
            self._everything = torch.arange(self.n_resident, device=self.device)

    @classmethod
    def from_packed(
        cls,
        pages: PackedRows,
        *,
        budget_bytes: int,
        device: str | None = None,
        partial: bool = False,
    ) -> Self:
        """Copies packed pages to a device.

        Args:
            pages: bf16, int8 or bits; may lie in a mapped file.
            budget_bytes: rows may take this much of the device.
            device: as torch names it; None is the first GPU.
            partial: keep the first pages that fit instead of failing; see `report`.

        Raises:
            ConfigError: no such device, a storage without kernels here, a budget that is too small.
            BackendError: the device is out of memory within the budget.
        """
        check_storage(pages.storage)
        where = resolve_device(device)
        width, dtype = layout(pages.storage, pages.dim)
        units = n_units(pages.storage, pages.n_rows)
        row_bytes = width * dtype.itemsize
        ends = np.cumsum(units) * row_bytes
        n_fit = int(np.searchsorted(ends, budget_bytes, side="right"))
        if n_fit < len(pages) and not partial:
            raise ConfigError(
                f"{len(pages):,} {pages.storage} pages take {int(ends[-1]):,} bytes, the budget is "
                f"{budget_bytes:,}, which holds {n_fit:,}",
                next_step="Raise the budget, take a storage of fewer bits, or ask for a part.",
            )
        with _memory_errors(where, budget_bytes):
            rows = torch.empty((int(units[:n_fit].sum()), width), dtype=dtype, device=where)
            at = 0
            for codes in runs(pages, n_fit, max_bytes=_UPLOAD_BYTES):
                on_device = to_resident(pages.storage, codes, where)
                rows[at : at + len(on_device)] = on_device
                at += len(on_device)
        return cls(
            rows,
            pages.n_rows[:n_fit],
            storage=pages.storage,
            dim=pages.dim,
            scales=None if pages.scales is None else pages.scales[:n_fit],
            budget_bytes=budget_bytes,
            n_offered=len(pages),
        )

    @classmethod
    def from_pages(
        cls,
        pages: Sequence[FloatArray],
        *,
        storage: Storage = Storage.BF16,
        budget_bytes: int,
        device: str | None = None,
        partial: bool = False,
    ) -> Self:
        """Packs pages (n, dim) of finite values, any n, and copies them; see `from_packed`."""
        check_storage(storage)
        return cls.from_packed(
            PackedRows.pack(pages, storage),
            budget_bytes=budget_bytes,
            device=device,
            partial=partial,
        )

    def __len__(self) -> int:
        return self.n_resident

    def report(self) -> str:
        """One line on what is resident, and what is not."""
        left = self.n_offered - self.n_resident
        missing = f"; {left:,} pages did not fit and are not scored" if left else ""
        return (
            f"{self.n_resident:,} of {self.n_offered:,} {self.storage} pages on {self.device}, "
            f"{self.size_bytes:,} of {self.budget_bytes:,} bytes{missing}"
        )

    def scores(
        self,
        queries: Sequence[FloatArray],
        among: IntArray | None = None,
        *,
        backend: Backend | None = None,
    ) -> FloatArray:
        """Exact MaxSim of queries with pages.

        Args:
            queries: matrices (n_query, dim) of 1 to 1,024 finite rows each, of any lengths. Rounded
                to bfloat16 for bf16 pages, to 8 bits a row for int8 and bits.
            among: (n,) resident page numbers, in any order; None is all of them.
            backend: None is Triton on a GPU where it is installed, else torch.

        Returns:
            (n_queries, n) float32; -inf for a page without rows. A page scores the same bits
            whatever other pages are resident or asked for.

        Raises:
            ShapeError: another dim, no or too many query rows, NaN, a page that is not resident.
            ConfigError: a backend that is not installed or does not serve these pages.
            BackendError: the device is out of memory.
        """
        found: FloatArray = self.scores_on_device(queries, among, backend=backend).cpu().numpy()
        return found

    def scores_on_device(
        self,
        queries: Sequence[FloatArray],
        among: IntArray | None = None,
        *,
        backend: Backend | None = None,
    ) -> Any:
        """As `scores`, left on the device as a tensor; does not wait for the device."""
        backend = self._backend(backend)
        with self._memory():
            prepared = self._prepare(queries)
            places = self._everything if among is None else self._put(self._checked(among))
            if among is not None and len(among) == 0:
                return torch.empty((len(queries), 0), device=self.device)
            return self.scan(prepared, places, backend)

    def top(
        self,
        queries: Sequence[FloatArray],
        k: int,
        *,
        backend: Backend | None = None,
    ) -> list[tuple[IntArray, FloatArray]]:
        """The best pages of each query, from an exact scan.

        Returns:
            For each query up to k page numbers and their scores, best first; of equals the lower
            number first; pages without rows never.
        """
        if k < 1:
            raise ShapeError(f"the number of best pages must be at least 1, got {k}")
        scores = self.scores_on_device(queries, backend=backend)
        with self._memory():
            return [_best(row, k) for row in scores]

    def prepare(self, queries: Sequence[FloatArray]) -> _Queries:
        """Queries on the device, for `scan`."""
        with self._memory():
            return self._prepare(queries)

    def scan(self, queries: _Queries, places: Any, backend: Backend, *, tile: Any = None) -> Any:
        """Scores (n_queries, n) of prepared queries; nothing is checked.

        Args:
            queries: from `prepare`.
            places: (n,) int64 page numbers on the device.
            backend: one that serves.
            tile: of the Triton kernels (`rag.scoring.maxsim_triton.Tile`); None is the default.
        """
        on_gpu = self.device.type == "cuda"
        # Triton launches on the current GPU, which need not be the one of the pages.
        with torch.cuda.device(self.device) if on_gpu else nullcontext():
            match backend:
                case Backend.TRITON:
                    return self._scan_triton(queries, places, tile)
                case Backend.LIK:
                    return self._scan_lik(queries, places)
                case _:
                    return self._scan_torch(queries, places)

    @property
    def everything(self) -> Any:
        """(n_resident,) page numbers on the device."""
        return self._everything

    @property
    def rows(self) -> Any:
        """The tensor of all rows, not to be written to."""
        return self._rows

    def erase(self, pages: IntArray) -> None:
        """Overwrite pages with zeros; from then on they score as pages without rows.

        Not while another thread scores.

        Args:
            pages: (n,) resident page numbers.

        Raises:
            ShapeError: a page that is not resident.
        """
        pages = self._checked(pages)
        for page in pages.tolist():
            begin = int(self._first[page])
            self._rows[begin : begin + int(self._units[page])].zero_()
        self._units[pages] = 0
        self._units_on_device = self._put(self._units.astype(np.int32))

    def page(self, number: int) -> FloatArray:
        """(n, dim) float32 of one page as the storage knows it; signs have length 1.

        Of bits the rows come in another order, and those that fill the last block up come twice.
        """
        rows, _ = self._unpacked(np.array([number]), fill=False)
        found: FloatArray = (rows * self._factor_on_device[number]).cpu().numpy()
        return found

    def _put(self, array: npt.NDArray[Any]) -> Any:
        # A copy: torch warns of arrays that it could write to but must not.
        return torch.from_numpy(np.array(array)).to(self.device)

    def _memory(self) -> Any:
        return _memory_errors(self.device, self.budget_bytes)

    def _checked(self, among: IntArray) -> IntArray:
        among = np.asarray(among, dtype=np.int64)
        if among.ndim != 1 or (len(among) and (among.min() < 0 or among.max() >= self.n_resident)):
            raise ShapeError(f"a page number is beyond the {self.n_resident} resident pages")
        return among

    def _backend(self, asked: Backend | None) -> Backend:
        has_triton = importlib.util.find_spec("triton") is not None
        on_gpu = self.device.type == "cuda"
        if asked is None:
            fits = on_gpu and has_triton and self.dim <= _MAX_KERNEL_DIM
            return Backend.TRITON if fits else Backend.TORCH
        if asked is Backend.TRITON:
            if not has_triton:
                raise ConfigError("triton is not installed", next_step="pip install triton")
            from rag.scoring import maxsim_triton

            if not on_gpu and not maxsim_triton.IS_INTERPRETED:
                raise ConfigError(
                    f"the Triton kernels run on CUDA, the pages are on {self.device}",
                    next_step="Take another backend, or set TRITON_INTERPRET=1 to try them slowly.",
                )
        if asked is Backend.LIK and not (
            on_gpu
            and self.storage is Storage.BF16
            and importlib.util.find_spec("late_interaction_kernels")
        ):
            raise ConfigError(
                f"late-interaction-kernels serves bf16 pages on CUDA where it is installed; these "
                f"are {self.storage} pages on {self.device}",
                next_step="Leave the backend open, or pip install late-interaction-kernels.",
            )
        return asked

    def _prepare(self, queries: Sequence[FloatArray]) -> _Queries:
        if not queries:
            raise ShapeError("MaxSim wants at least one query")
        for number, query in enumerate(queries):
            if (
                query.ndim != 2
                or not 1 <= len(query) <= MAX_QUERY_ROWS
                or query.shape[1] != self.dim
            ):
                raise ShapeError(
                    f"query {number} wants (1 to {MAX_QUERY_ROWS:,}, {self.dim}), got {query.shape}"
                )
            if not np.isfinite(query).all():
                raise ShapeError(f"query {number} holds NaN or infinite values")
        rows = np.concatenate([np.asarray(query, dtype=np.float32) for query in queries])
        lengths = np.array([len(query) for query in queries], dtype=np.int32)
        factor = np.ones(len(rows), dtype=np.float32)
        offset = np.zeros(len(rows), dtype=np.int32)
        if self.storage is Storage.BF16:
            on_device = self._put(quantize.to_bf16(rows).view(np.int16)).view(torch.bfloat16)
        else:
            codes, factor = quantize.query_to_int8(rows)
            offset = codes.sum(axis=1, dtype=np.int32)
            on_device = self._put(codes)
        return _Queries(
            rows=on_device,
            factor=self._put(factor),
            offset=self._put(offset),
            first=self._put((np.cumsum(lengths) - lengths).astype(np.int32)),
            n_rows=self._put(lengths),
            lengths=tuple(lengths.tolist()),
        )

    def _scan_triton(self, queries: _Queries, places: Any, tile: Any) -> Any:
        from rag.scoring import maxsim_triton

        rows = queries.rows
        if self.storage is Storage.BITS:  # dimensions 4 i + p together, as the kernel unpacks them
            rows = rows.reshape(len(rows), -1, quantize.BITS_GROUP).transpose(1, 2).contiguous()
        scores = torch.empty((len(queries.lengths), len(places)), device=self.device)
        maxsim_triton.scan(
            self.storage,
            rows=self._rows,
            first=self._first_on_device,
            n_rows=self._units_on_device,
            page_factor=self._factor_on_device,
            query=rows,
            factor=queries.factor,
            offset=queries.offset,
            query_first=queries.first,
            query_rows=queries.n_rows,
            places=places,
            scores=scores,
            longest=int(self._units.max(initial=0)),
            n_processors=self._n_processors(),
            scratch_bytes=SCRATCH_BYTES,
            tile=tile,
        )
        return scores

    def _n_processors(self) -> int:
        if self.device.type != "cuda":
            return 1
        return int(torch.cuda.get_device_properties(self.device).multi_processor_count)

    def _scan_torch(self, queries: _Queries, places: Any) -> Any:
        """A product for each query and group of pages.

        BLAS picks its kernels by shape, so a joint product would let a page's neighbours into its
        last bits. On the CPU a group is one page; on a GPU, where that would be all launches, a
        group is filled up to one shape.
        """
        scores = torch.full((len(queries.lengths), len(places)), -torch.inf, device=self.device)
        factor = queries.factor.double()
        for begin, pages in self._groups(places.cpu().numpy()):
            rows, owners = self._unpacked(pages, fill=self._product_rows > 0)
            page_factor = self._factor_on_device[places[begin : begin + len(pages)]]
            for number, query_rows in enumerate(queries.rows.split(queries.lengths)):
                where = slice(sum(queries.lengths[:number]), sum(queries.lengths[: number + 1]))
                similarity = rows @ query_rows.float().T  # (n, n_query), exact for codes
                best = torch.full(
                    (len(pages) + 1, similarity.shape[1]), -torch.inf, device=self.device
                ).scatter_reduce_(
                    0, owners[:, None].expand_as(similarity), similarity, reduce="amax"
                )[:-1]
                total = (best.double() * factor[where]).sum(dim=1).float() * page_factor
                total.masked_fill_(best.isinf().any(dim=1), -torch.inf)
                scores[number, begin : begin + len(pages)] = total
        return scores

    def _groups(self, pages: IntArray) -> Iterator[tuple[int, IntArray]]:
        """(first place, page numbers) of each joint product."""
        begin, n_rows = 0, 0
        for place, units in enumerate(self._units[pages]):
            length = int(units) * (2 if self.storage is Storage.BITS else 1)
            if place > begin and n_rows + length > self._product_rows:
                yield begin, pages[begin:place]
                begin, n_rows = place, 0
            n_rows += length
        if begin < len(pages):
            yield begin, pages[begin:]

    def _unpacked(self, pages: IntArray, *, fill: bool) -> tuple[Any, Any]:
        """(n, dim) float32 rows of some pages, and (n,) which of them each belongs to.

        Rows that fill up to one shape belong to nobody: the number after the last page.
        """
        pieces, owners = [], []
        for owner, page in enumerate(pages):
            begin = int(self._first[page])
            piece = self._rows[begin : begin + int(self._units[page])]
            piece = signs(piece, self.dim) if self.storage is Storage.BITS else piece.float()
            pieces.append(piece)
            owners.append(torch.full((len(piece),), owner, device=self.device))
        if fill:
            n_fill = -sum(map(len, pieces)) % self._product_rows
            pieces.append(torch.zeros((n_fill, self.dim), device=self.device))
            owners.append(torch.full((n_fill,), len(pages), device=self.device))
        return torch.cat(pieces), torch.cat(owners)

    def _scan_lik(self, queries: _Queries, places: Any) -> Any:
        from late_interaction_kernels import maxsim_varlen

        pages = places.cpu().numpy()
        whole = len(pages) == self.n_resident and bool((np.diff(pages) == 1).all())
        first_query = torch.nn.functional.pad(queries.n_rows.cumsum(0, dtype=_INT), (1, 0))
        scores = torch.empty((len(queries.lengths), len(places)), device=self.device)
        begin = 0
        while begin < len(pages):
            taken = np.cumsum(self._units[pages[begin:]])
            n = max(1, int(np.searchsorted(taken * self.dim, _LIK_ELEMENTS, side="right")))
            group = pages[begin : begin + n]
            if whole:
                start = int(self._first[group[0]])
                rows = self._rows[start : start + int(taken[n - 1])]
            else:
                rows = torch.cat(
                    [self._rows[self._first[p] : self._first[p] + self._units[p]] for p in group]
                )
            ends = self._put(np.concatenate([[0], taken[:n]]).astype(np.int32))
            scores[:, begin : begin + n] = maxsim_varlen(queries.rows, rows, first_query, ends)
            begin += n
        # The library gives 0 to a page without rows.
        is_empty = self._units_on_device[places] == 0
        return scores.masked_fill_(is_empty, -torch.inf)


@contextmanager
def _memory_errors(device: Any, budget_bytes: int) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # torch.OutOfMemoryError is one; the CPU's allocator has no own
        if not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in str(error):
            raise
        raise BackendError(
            f"{device} ran out of memory; the budget of resident pages is {budget_bytes:,} bytes, "
            f"and a scan takes up to {SCRATCH_BYTES:,} and its scores beside them",
            next_step="Lower the budget, or free the device of other programs.",
            code="out_of_memory",
        ) from error


def _best(scores: Any, k: int) -> tuple[IntArray, FloatArray]:
    """The k highest of (n,), of equals the first; torch's own topk breaks ties as it likes."""
    k = min(k, len(scores))
    if k == 0:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32)
    least = scores.topk(k).values[-1]
    places = ((scores >= least) & (scores > -torch.inf)).nonzero()[:, 0]
    order = scores[places].argsort(descending=True, stable=True)[:k]
    places = places[order]
    return places.cpu().numpy(), scores[places].cpu().numpy()
