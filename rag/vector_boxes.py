"""Where on its page each stored vector looks, for vectors that stand for no word of the text.

Word vectors stand where their words do (`rag.page_text.VectorWords`); a vision encoder's vectors
have boxes of their own, and a pooled vector keeps the boxes of all its members.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rag.errors import ShapeError
from rag.geometry import FloatArray

_HEADER = 8


@dataclass(frozen=True, eq=False)
class VectorBoxes:
    """Pairs of a stored vector and a box it stands for.

    Attributes:
        boxes: (n_pairs, 4) float32 page points; empty for a special token.
        kinds: (n_pairs,) uint8 of VectorKind.
        rows: (n_pairs,) int32 stored vectors; None where pair i is of vector i, as it is on every
            page that was not pooled.
    """

    boxes: FloatArray
    kinds: npt.NDArray[np.uint8]
    rows: npt.NDArray[np.int32] | None = None

    def __post_init__(self) -> None:
        n = len(self.kinds)
        if self.boxes.shape != (n, 4):
            raise ShapeError(f"{n} kinds want boxes of shape ({n}, 4), got {self.boxes.shape}")
        if self.rows is not None and self.rows.shape != (n,):
            raise ShapeError(f"{n} boxes, but rows of shape {self.rows.shape}")

    def __len__(self) -> int:
        return len(self.kinds)

    def to_bytes(self) -> bytes:
        """Compressed columns, for the manifest; a regular grid takes a few hundred bytes."""
        n, pooled = len(self), self.rows is not None
        header = n.to_bytes(_HEADER - 1, "little") + bytes([pooled])
        columns = np.ascontiguousarray(self.boxes.T, "<f4").tobytes() + self.kinds.tobytes()
        if self.rows is not None:
            columns += self.rows.astype("<i4").tobytes()
        return zlib.compress(header + columns, 3)

    @classmethod
    def from_bytes(cls, blob: bytes) -> VectorBoxes:
        raw = zlib.decompress(blob)
        n, pooled = int.from_bytes(raw[: _HEADER - 1], "little"), raw[_HEADER - 1]
        boxes = np.frombuffer(raw, "<f4", 4 * n, _HEADER).reshape(4, n).T.astype(np.float32)
        kinds = np.frombuffer(raw, np.uint8, n, _HEADER + 16 * n).copy()
        rows = None
        if pooled:
            rows = np.frombuffer(raw, "<i4", n, _HEADER + 17 * n).astype(np.int32)
        return cls(np.ascontiguousarray(boxes), kinds, rows)
