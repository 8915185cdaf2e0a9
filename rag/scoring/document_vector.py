"""A document as one vector: the mean of its pages (IDentIfy, with pages as sections)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from rag.geometry import FloatArray

_VANISHING = 1e-6


def document_vector(pages: Iterable[FloatArray]) -> FloatArray | None:
    """Mean of the pages' vectors, at unit length after the mean.

    The order of the pages changes nothing, nor does every page standing there twice; one page is
    its own document.

    Args:
        pages: (n_windows, dim) of each page, whose mean at unit length is the page's vector; a page
            without rows does not count.

    Returns:
        (dim,) unit; None without a page, and where pages cancel out.
    """
    vectors = [_unit(np.asarray(rows, np.float64).mean(axis=0)) for rows in pages if len(rows)]
    told = [vector for vector in vectors if vector is not None]
    if not told:
        return None
    mean = _unit(np.mean(told, axis=0))
    return None if mean is None else np.asarray(mean, np.float32)


def _unit(vector: FloatArray) -> FloatArray | None:
    length = float(np.linalg.norm(vector))
    return None if length < _VANISHING else vector / length
