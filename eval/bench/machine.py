"""What this machine can do at most, measured in the same run as what is held against it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

from rag.scoring import native

_N = 1536  # rows and columns of the matrices whose product stands in for a peak
# One long probe, and short ones: where the machine is shared, these find the gaps that short calls
# of the contenders find too.
_ITERATIONS = (3_000_000, *(500_000,) * 6)  # about 10 ms and 2 ms
_READ_BYTES = 1 << 28  # beyond any cache
VERSIONS_OF = (
    "octavo",
    "numpy",
    "torch",
    "colpali-engine",
    "maxsim-cpu",
    "late-interaction-kernels",
    "qdrant-edge-py",
    "fastembed",
)


@dataclass(frozen=True)
class Cost:
    """The least a call asks of the machine.

    Attributes:
        operations: multiplications and additions, two for each pair of numbers that meet.
        kind: the peak that bounds them: `fp32`, `bf16`, `int8`; another is bounded by bytes alone.
        bytes_read: of the pages.
    """

    operations: float
    kind: str
    bytes_read: float


class Machine:
    """Peaks, best of all measurements so far.

    Attributes:
        gops: 10^9 operations a second over all cores, by kind.
        read_gb_s: 10^9 bytes a second read from memory; None where not measured.
        source: what measured them.
    """

    def __init__(self) -> None:
        self.gops: dict[str, float] = {}
        self.read_gb_s: float | None = None
        self.source = ""
        self._bytes: npt.NDArray[np.uint8] | None = None

    def measure(self) -> None:
        """Measure once more and keep the best."""
        library = native.library()
        if library is None:
            # A product of BLAS comes close to the units' limit, and is all there is.
            factor = self._buffer(4 * _N * _N).view(np.float32).reshape(_N, _N)
            start = perf_counter()
            factor @ factor
            self._keep("fp32", 2 * _N**3 / (perf_counter() - start))
            self.source = f"a float32 product of {_N} x {_N} by BLAS"
            return
        self.source = f"multiply-adds in registers, {library.isa}, {library.threads} threads"
        for kind in ("fp32", "bf16", "int8"):
            for iterations in _ITERATIONS:
                start = perf_counter()
                done = library.peak(kind, iterations) * library.threads
                if done:
                    self._keep(kind, done / (perf_counter() - start))
        buffer = self._buffer(_READ_BYTES)
        start = perf_counter()
        library.read(buffer)
        found = buffer.nbytes / (perf_counter() - start) / 1e9
        self.read_gb_s = max(found, self.read_gb_s or 0.0)

    def snapshot(self) -> Machine:
        """What was measured up to now."""
        copy = Machine()
        copy.gops, copy.read_gb_s, copy.source = dict(self.gops), self.read_gb_s, self.source
        return copy

    def least_s(self, cost: Cost) -> tuple[float, str] | None:
        """Seconds no program can beat here, and what bounds them; None where that is not known."""
        if cost.kind not in self.gops:
            return None
        compute_s = cost.operations / self.gops[cost.kind] / 1e9
        read_s = cost.bytes_read / self.read_gb_s / 1e9 if self.read_gb_s else 0.0
        return (compute_s, "compute") if compute_s >= read_s else (read_s, "memory")

    def as_dict(self) -> dict[str, Any]:
        return {
            "gops": {kind: round(value, 1) for kind, value in self.gops.items()},
            "read_gb_s": None if self.read_gb_s is None else round(self.read_gb_s, 1),
            "source": self.source,
        }

    def _keep(self, kind: str, per_second: float) -> None:
        self.gops[kind] = max(per_second / 1e9, self.gops.get(kind, 0.0))

    def _buffer(self, n_bytes: int) -> npt.NDArray[np.uint8]:
        if self._bytes is None:
            # Ones, so that products of them are ordinary numbers; and written, since pages of
            # memory that never were share one of the system's.
            self._bytes = np.ones(n_bytes // 4, dtype=np.float32).view(np.uint8)
        return self._bytes


def versions() -> dict[str, str]:
    """Of the packages whose figures a run holds, as far as they are installed."""
    found = {}
    for name in VERSIONS_OF:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
