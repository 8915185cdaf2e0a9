"""The search with int8 rows on a device: all pages in scope are scored, none is left out before.

The best are scored again from their float16 rows, which stay where they are, as in the cascade.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from rag.errors import BackendError
from rag.geometry import FloatArray
from rag.scoring.cascade import (
    BeforeReading,
    CascadeResult,
    CascadeStage,
    PackedSearch,
    PackedSnapshot,
    StageClock,
    best_pages,
    nothing_before,
    rescored,
)
from rag.scoring.maxsim_torch import ResidentPages
from rag.scoring.packed import IntArray, PackedRows, check_page_numbers, maxsim_packed
from rag.scoring.torch_device import free_bytes
from rag.types import Notice

FREE_SHARE = 0.8  # the rest is for scans and for other programs
_NO_PAGES = np.zeros(0, np.int64)


class DeviceStage(StrEnum):
    LOAD = "device_load"
    INT8 = "device_int8"


@dataclass(frozen=True, eq=False)
class _Segment:
    """Pages begin to end of a snapshot on the device."""

    begin: int
    end: int
    rows: ResidentPages

    def __len__(self) -> int:
        return self.end - self.begin


class DeviceScan:
    """Exact int8 MaxSim over pages that stay on a device. Thread-safe; one search at a time.

    The first search copies all pages of its snapshot, later ones what has come since; both wait for
    it. A page that went is overwritten on the device by the next search that sees it gone.
    """

    def __init__(
        self,
        otherwise: PackedSearch,
        *,
        device: str,
        rescore: int,
        budget_bytes: int | None = None,
    ) -> None:
        """Nothing is copied yet.

        Args:
            otherwise: searches where the pages do not fit; its results then say so.
            device: as torch names it.
            rescore: pages whose float16 rows have the last word, as in `CascadeWidths`.
            budget_bytes: for the rows of the pages; None is 0.8 of what is free on a GPU when they
                are first wanted.
        """
        self._otherwise = otherwise
        self._device = device
        self._rescore = rescore
        self._budget_bytes = budget_bytes
        self._lock = threading.Lock()
        # Below: under the lock. The snapshot itself is not kept, since that keeps files mapped.
        self._numbering: object = None
        self._n_rows: IntArray = _NO_PAGES  # of the pages on the device, 0 once they went
        self._segments: list[_Segment] = []
        self._gave_up: Notice | None = None

    def search(
        self,
        query: FloatArray,
        pages: PackedSnapshot,
        *,
        among: IntArray | None = None,
        limit: int,
        before: BeforeReading = nothing_before,
    ) -> CascadeResult:
        """The best pages for a query, by int8 MaxSim over all in scope.

        Args:
            query: (n_query, dim), finite.
            pages: the collection at one moment.
            among: (n,) page numbers in scope; None is all.
            limit: pages that come back at most.
            before: called with pages that are about to be copied to the device, or rescored.

        Raises:
            ShapeError: as `maxsim_packed`.
        """
        n_rows = pages.int8.n_rows
        inside = np.arange(len(n_rows)) if among is None else check_page_numbers(among, len(n_rows))
        inside = inside[n_rows[inside] > 0]
        maxsim_packed(query, pages.int8, _NO_PAGES)  # the same demands on a query
        clock = StageClock()
        with self._lock:
            try:
                notice = self._gave_up or self._load(pages, before, clock)
                if notice is None:
                    width = max(limit, self._rescore)
                    inside = self._scan(query, inside, width, clock)
            except BackendError as error:
                if error.code != "out_of_memory":
                    raise
                # Not tried again: each try would copy all pages first.
                notice = self._gave_up = Notice("device_out_of_memory", f"{error.message}{_CPU}")
                self._drop()
        if notice is not None:
            found = self._otherwise.search(query, pages, among=among, limit=limit, before=before)
            return replace(found, warnings=(*found.warnings, notice))
        return rescored(query, pages, inside, limit, before, clock)

    def _scan(self, query: FloatArray, inside: IntArray, limit: int, clock: StageClock) -> IntArray:
        """The best pages by int8, in no order; of equal scores the lowest numbers."""
        with clock.stage(DeviceStage.INT8) as counts:
            scores = np.full(len(inside), -np.inf, dtype=np.float32)
            for segment in self._segments:
                places = np.flatnonzero((inside >= segment.begin) & (inside < segment.end))
                if len(places):
                    found = segment.rows.scores([query], inside[places] - segment.begin)
                    scores[places] = found[0]
            is_there = scores > -np.inf  # a page may have gone after this snapshot
            inside, scores = inside[is_there], scores[is_there]
            inside = best_pages(scores, inside, limit)
            counts.append(len(inside))
        return inside

    # --- what is on the device ------------------------------------------------------------------
    def _load(
        self, pages: PackedSnapshot, before: BeforeReading, clock: StageClock
    ) -> Notice | None:
        """Make the device hold the pages of a snapshot. Returns why it does not."""
        if pages.numbering is not self._numbering:
            self._drop()
            self._numbering = pages.numbering
        n_rows = pages.int8.n_rows
        self._erase(n_rows)
        if len(n_rows) <= len(self._n_rows):  # nothing new, or an earlier snapshot
            return None
        if self._budget_bytes is None:
            self._budget_bytes = int(FREE_SHARE * free_bytes(self._device))
        begin = self._begin_of_load(len(n_rows))
        kept_bytes = sum(s.rows.size_bytes for s in self._segments if s.begin < begin)
        if kept_bytes + _size_bytes(pages.int8, begin) > self._budget_bytes:
            begin = 0  # without what pages that went still take
        if _size_bytes(pages.int8, begin) > self._budget_bytes:
            self._drop()
            return Notice(
                "pages_not_on_device",
                f"the {int((n_rows > 0).sum()):,} pages take {_size_bytes(pages.int8, 0):,} bytes "
                f"on {self._device}, retrieval.device_bytes allows {self._budget_bytes:,}{_CPU}",
            )
        with clock.stage(DeviceStage.LOAD) as counts:
            new = begin + np.flatnonzero(n_rows[begin:])
            before(CascadeStage.INT8, new)
            # Given back first: the new rows may need their room.
            self._segments = [s for s in self._segments if s.end <= begin]
            self._n_rows = self._n_rows[:begin]
            rows = ResidentPages.from_packed(
                _from(pages.int8, begin), budget_bytes=self._budget_bytes, device=self._device
            )
            self._segments.append(_Segment(begin, len(n_rows), rows))
            self._n_rows = n_rows.copy()
            counts.append(len(new))
        return None

    def _begin_of_load(self, end: int) -> int:
        """Pages from here on are copied, or copied again, as one segment.

        Each segment is longer than all behind it, so the segments are few, and so are the times
        that a page is copied, both by the logarithm.
        """
        for segment in self._segments:
            if len(segment) <= end - segment.end:
                return segment.begin
        return len(self._n_rows)

    def _erase(self, n_rows: IntArray) -> None:
        """Overwrite pages that have no rows any more."""
        n = min(len(n_rows), len(self._n_rows))
        gone = np.flatnonzero((n_rows[:n] == 0) & (self._n_rows[:n] > 0))
        for segment in self._segments:
            own = gone[(gone >= segment.begin) & (gone < segment.end)]
            if len(own):
                segment.rows.erase(own - segment.begin)
        self._n_rows[gone] = 0

    def _drop(self) -> None:
        self._segments, self._n_rows, self._numbering = [], _NO_PAGES, None


_CPU = "; this search ran on the CPU, where the first stages are approximate"


def _from(pages: PackedRows, begin: int) -> PackedRows:
    assert pages.scales is not None
    return replace(
        pages,
        first=pages.first[begin:],
        n_rows=pages.n_rows[begin:],
        scales=pages.scales[begin:],
    )


def _size_bytes(pages: PackedRows, begin: int) -> int:
    return int(pages.n_rows[begin:].sum()) * pages.dim
