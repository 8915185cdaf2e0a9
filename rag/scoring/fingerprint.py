"""What an encoder makes of known pages, in a line: told apart from another encoder's, and still
known again after the small changes that another batch, kernel or precision brings.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

import numpy as np

from rag.geometry import FloatArray

_DIM = 24
_SEED = 20240529
# bf16 moves the mean of an item's rows by far less than this, other weights by far more
# (tests/model/test_remote_encoder.py).
_MIN_COSINE = 0.99


def fingerprint(items: Sequence[FloatArray]) -> str:
    """A few bytes of every item.

    Args:
        items: (n_i, dim) rows of each known page and query, in a fixed order; no zero means.
    """
    sketches = []
    for rows in items:
        mean = rows.mean(axis=0, dtype=np.float64)
        directions = np.random.default_rng(_SEED).standard_normal((rows.shape[1], _DIM))
        sketch = mean @ directions
        sketches.append(np.rint(127 * sketch / (np.abs(sketch).max() or 1.0)))
    return base64.b64encode(np.array(sketches).astype(np.int8).tobytes()).decode()


def is_same_fingerprint(one: str, other: str) -> bool:
    """Whether both are of one encoder; a damaged one is nobody's."""
    try:
        first, second = _sketches(one), _sketches(other)
    except (ValueError, binascii.Error):
        return False
    if first.shape != second.shape or not first.size:
        return False
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return bool(((first * second).sum(axis=1) >= _MIN_COSINE * lengths).all() and lengths.all())


def _sketches(text: str) -> FloatArray:
    """(n_items, 24)."""
    raw = base64.b64decode(text, validate=True)
    return np.frombuffer(raw, np.int8).reshape(-1, _DIM).astype(np.float32)
