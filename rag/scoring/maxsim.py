"""Late-interaction scores: each query row takes its best page row, and the bests are added up.

A page is scored from its own rows only, without padding, and alone as in any list.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rag.errors import ShapeError
from rag.geometry import FloatArray
from rag.scoring import native
from rag.scoring.blas import one_blas_thread


def maxsim(query: FloatArray, page: FloatArray) -> float:
    """The oracle: slow, in float64, what every faster path is held to.

    Args:
        query: (n_query, dim), at least one row.
        page: (n_page, dim).

    Returns:
        Unbounded; within [-n_query, n_query] when both sides have unit length; -inf for a page
        without rows.

    Raises:
        ShapeError: a side that is not a matrix, a query without rows, sides that differ in dim.

    Source: Khattab & Zaharia 2020, ColBERT (arXiv:2004.12832), section 3.
    """
    _check(query, page)
    if len(page) == 0:
        return -np.inf
    similarity = query.astype(np.float64) @ page.astype(np.float64).T  # (n_query, n_page)
    return float(similarity.max(axis=1).sum())


def maxsim_many(query: FloatArray, pages: Sequence[FloatArray]) -> FloatArray:
    """Scores of many pages of any lengths for one query.

    A page scores the same bits alone and in any list, in any order; from `maxsim` it is off by
    float32 rounding, about 1e-6 for each query row of unit length.

    Args:
        query: (n_query, dim), at least one row.
        pages: matrices (n_page, dim); -inf where a page has no rows.

    Returns:
        (n_pages,) float32.

    Raises:
        ShapeError: as `maxsim`; NaN or infinite values, naming the page.
    """
    _check(query)
    for index, page in enumerate(pages):
        _check(query, page)
        if not np.isfinite(page).all():
            raise ShapeError(f"page {index} holds NaN or infinite values")
    if not np.isfinite(query).all():
        raise ShapeError("a query holds NaN or infinite values")
    library = native.library()
    if library is not None and library.takes(query):
        rows = [np.ascontiguousarray(page, dtype=np.float32) for page in pages]
        return library.maxsim_arrays(query, rows)
    # One product a page, not one over all rows: BLAS picks its kernels by shape, so in a joint
    # product the last bits of a page would depend on its neighbours.
    columns = np.ascontiguousarray(query.T, dtype=np.float32)  # (dim, n_query)
    scores = np.full(len(pages), -np.inf, dtype=np.float32)
    with one_blas_thread():
        for index, page in enumerate(pages):
            if len(page):
                similarity = np.ascontiguousarray(page, dtype=np.float32) @ columns
                scores[index] = similarity.max(axis=0).sum(dtype=np.float64)
    return scores


def similarity_map(query: FloatArray, page: FloatArray) -> FloatArray:
    """Every query row against every page row: (n_query, n_page) dot products.

    Raises:
        ShapeError: as `maxsim`.
    """
    _check(query, page)
    with one_blas_thread():
        return query.astype(np.float32) @ page.astype(np.float32).T


def _check(query: FloatArray, page: FloatArray | None = None) -> None:
    if query.ndim != 2 or len(query) == 0:
        raise ShapeError(f"MaxSim wants a query (n_query >= 1, dim), got {query.shape}")
    if page is not None and (page.ndim != 2 or page.shape[1] != query.shape[1]):
        raise ShapeError(
            f"MaxSim wants pages (n_page, {query.shape[1]}) for this query, got {page.shape}"
        )
