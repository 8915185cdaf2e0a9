"""What a record's vectors are known by: wrong ones are told from those that were stored."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

from rag.types import PageRecord, SparseVector


def vectors_digest(record: PageRecord) -> str:
    """SHA-256 over the vectors as both stores keep them, in the order of their names.

    Dense values as float16, so that a record as it was handed over and as it is read back have one
    digest; sparse ones as they are.
    """
    digest = hashlib.sha256()
    for name in sorted(record.vectors):
        vector = record.vectors[name]
        parts: list[npt.NDArray[Any]]
        if isinstance(vector, SparseVector):
            parts = [vector.indices.astype("<u4"), vector.values.astype("<f4")]
        else:
            with np.errstate(over="ignore"):  # what a damaged record holds may be anything
                parts = [np.ascontiguousarray(vector, dtype=np.float32).astype("<f2")]
        digest.update(f"{name}{[part.shape for part in parts]}".encode())
        for part in parts:
            digest.update(part.tobytes())
    return digest.hexdigest()
