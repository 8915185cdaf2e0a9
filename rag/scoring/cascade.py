"""From many pages to the best few: FDE signs, then sign bits, then int8, each on fewer pages.

The widths say how many pages a stage hands on; where fewer pages are in scope than a stage would
hand on, it is left out, so small collections are scored by int8 alone. The best are scored again
with the rows as they were encoded, in float16: int8 alone swaps a few neighbours.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

import numpy as np
import numpy.typing as npt

from rag import telemetry
from rag.geometry import FloatArray
from rag.scoring.fde import FdeEncoder
from rag.scoring.fde_signs import scan_signs
from rag.scoring.packed import IntArray, PackedRows, check_page_numbers, maxsim_packed
from rag.telemetry import STAGE_SECONDS
from rag.types import Notice, StageReport


class PackedPages(Protocol):
    """Pages packed four ways; page numbers agree between them."""

    @property
    def fde_signs(self) -> npt.NDArray[np.uint8]: ...

    @property
    def bits(self) -> PackedRows: ...

    @property
    def int8(self) -> PackedRows: ...

    @property
    def fp16(self) -> PackedRows: ...


class PackedSnapshot(PackedPages, Protocol):
    """Packed pages at one moment, of pages that come and go.

    Attributes:
        numbering: the same object in snapshots where a page number means the same rows; a page
            that went keeps its number and has no rows.
    """

    @property
    def numbering(self) -> object: ...


class CascadeStage(StrEnum):
    FDE = "fde"
    BITS = "bits"
    INT8 = "int8"
    RESCORE = "rescore"


@dataclass(frozen=True)
class CascadeWidths:
    """How many pages each stage hands on.

    Attributes:
        fde: to the sign bits.
        bits: to int8.
        rescore: to float16, which has the last word; as many as are asked for at least.
        scan_rows: where the pages in scope have no more rows, the sign bits see all of them.
    """

    fde: int
    bits: int
    rescore: int
    scan_rows: int


@dataclass(frozen=True, eq=False)
class CascadeResult:
    """Page numbers, best first (ties by number), their MaxSim, and what the stages took."""

    pages: IntArray
    scores: FloatArray
    stages: tuple[StageReport, ...]
    warnings: tuple[Notice, ...] = ()


BeforeReading = Callable[[CascadeStage, IntArray], None]


def nothing_before(_stage: CascadeStage, _pages: IntArray) -> None:
    pass


class PackedSearch(Protocol):
    """Finds the best of packed pages by MaxSim. Thread-safe."""

    def search(
        self,
        query: FloatArray,
        pages: PackedSnapshot,
        *,
        among: IntArray | None = None,
        limit: int,
        before: BeforeReading = nothing_before,
    ) -> CascadeResult:
        """As `Cascade.search`."""
        ...


@dataclass
class StageClock:
    """Reports of timed stages; the block appends to its list how many pages it hands on."""

    stages: list[StageReport] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str) -> Iterator[list[int]]:
        handed_on: list[int] = []
        start = time.perf_counter()
        with telemetry.span(f"stage {name}") as span:
            yield handed_on
            span.tell(pages=sum(handed_on))
        ms = (time.perf_counter() - start) * 1000
        telemetry.observe(STAGE_SECONDS, ms / 1000, stage=str(name))
        self.stages.append(StageReport(str(name), sum(handed_on), ms))


class Cascade:
    """Approximate MaxSim over packed pages. Thread-safe."""

    def __init__(self, fde: FdeEncoder, widths: CascadeWidths) -> None:
        self._fde = fde
        self._widths = widths

    def search(
        self,
        query: FloatArray,
        pages: PackedPages,
        *,
        among: IntArray | None = None,
        limit: int,
        before: BeforeReading = nothing_before,
    ) -> CascadeResult:
        """The best pages for a query by MaxSim; pages without rows are never found.

        Args:
            query: (n_query, dim), finite.
            pages: packed with the same FDE encoder.
            among: (n,) page numbers in scope; None is all.
            limit: pages that come back at most; no stage hands on fewer.
            before: called with the pages that a stage is about to read.

        Raises:
            ShapeError: as `maxsim_packed`.
        """
        clock, widths = StageClock(), self._widths
        n_fde, n_bits = max(widths.fde, limit), max(widths.bits, limit)
        n_rows = pages.int8.n_rows
        n = len(n_rows)
        inside = np.arange(n) if among is None else check_page_numbers(among, n)
        inside = inside[n_rows[inside] > 0]
        if len(inside) > n_fde and int(n_rows[inside].sum()) > widths.scan_rows:
            with clock.stage(CascadeStage.FDE) as counts:
                before(CascadeStage.FDE, inside)
                scores = scan_signs(self._fde.encode_query(query), pages.fde_signs, inside)
                inside = best_pages(scores, inside, n_fde)
                counts.append(len(inside))
        if len(inside) > n_bits:
            with clock.stage(CascadeStage.BITS) as counts:
                before(CascadeStage.BITS, inside)
                scores = maxsim_packed(query, pages.bits, inside)
                inside = best_pages(scores, inside, n_bits)
                counts.append(len(inside))
        with clock.stage(CascadeStage.INT8) as counts:
            before(CascadeStage.INT8, inside)
            scores = maxsim_packed(query, pages.int8, inside)
            inside = best_pages(scores, inside, max(widths.rescore, limit))
            counts.append(len(inside))
        return rescored(query, pages, inside, limit, before, clock)


def rescored(
    query: FloatArray,
    pages: PackedPages,
    inside: IntArray,
    limit: int,
    before: BeforeReading,
    clock: StageClock,
) -> CascadeResult:
    """The last stage of every search: the best `limit` of a few pages by their float16 rows."""
    with clock.stage(CascadeStage.RESCORE) as counts:
        before(CascadeStage.RESCORE, inside)
        scores = maxsim_packed(query, pages.fp16, inside)
        order = np.lexsort((inside, -scores))[:limit]
        counts.append(len(order))
    return CascadeResult(inside[order], scores[order], tuple(clock.stages))


def best_pages(scores: FloatArray, pages: IntArray, n: int) -> IntArray:
    """The n pages with the largest scores, in no order; of equal scores the lowest numbers."""
    if n >= len(pages):
        return pages
    cut = np.partition(scores, len(scores) - n)[len(scores) - n]
    above, at_cut = pages[scores > cut], pages[scores == cut]
    return np.concatenate([above, np.sort(at_cut)[: n - len(above)]])
