"""Token pooling: fewer page vectors, each the mean of rows that say much the same.

Every variant only decides which rows belong together; the mean is made in one place. Pooling comes
before the FDE and before quantising, never after: means of codes are no codes of means.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, assert_never

import numpy as np
import numpy.typing as npt

from rag.errors import ConfigError, InputError, ShapeError
from rag.geometry import FloatArray
from rag.scoring.blas import one_blas_thread
from rag.settings import PoolingSettings
from rag.types import Json, MultiVector, VectorKind

Clusters = npt.NDArray[np.int32]

# Ward costs n^2 distances between rows of length n: 2 s at 2,048 rows, minutes at 8,192.
MAX_WARD_ROWS = 2048
_VANISHING = 1e-6  # a mean this short has no direction but rounding
_SAME_SIZE = 0.25  # log ratio of two cells of one grid, at most; a coarser grid's are twice as wide


@dataclass(frozen=True, eq=False)
class Pooled:
    """Pooled vectors and where they come from.

    Attributes:
        vectors: (m, dim) float32, unit rows, by their first member.
        cluster_of: (n,) the pooled row that stands for each original row.
    """

    vectors: FloatArray
    cluster_of: Clusters

    def __len__(self) -> int:
        return len(self.vectors)

    @cached_property
    def members(self) -> tuple[npt.NDArray[np.intp], ...]:
        """Original rows of every pooled row, ascending."""
        by_cluster = np.argsort(self.cluster_of, kind="stable")
        ends = np.cumsum(np.bincount(self.cluster_of, minlength=len(self.vectors)))
        return tuple(np.split(by_cluster, ends[:-1])) if len(ends) else ()


# --- by what the settings say -------------------------------------------------------------------
def page_pooling(settings: PoolingSettings) -> Callable[[MultiVector], Pooled] | None:
    """What pools a page under these settings; None where pages stay as they are.

    Raises:
        ConfigError: `hierarchical` without scipy.
    """
    if not pooling_identity(settings):
        return None
    match settings.method:
        case "hierarchical":
            _ward_library()  # missing, it is missed now and not at the first page
            return lambda page: hierarchical(page.vectors, settings.factor)
        case "runs":
            return lambda page: runs(page.vectors, settings.factor)
        case "carve":
            return lambda page: carve(page.vectors, settings.min_similarity)
        case "grid_rows":
            return grid_rows
        case "grid_columns":
            return grid_columns
        case "none":
            return None
        case other:
            assert_never(other)


def pooling_identity(settings: PoolingSettings) -> Json:
    """What of the settings changes the vectors; empty where pages stay as they are."""
    match settings.method:
        case "none":
            return {}
        case "hierarchical" | "runs":
            if settings.factor == 1:
                return {}
            return {"method": settings.method, "factor": settings.factor}
        case "carve":
            return {"method": settings.method, "min_similarity": settings.min_similarity}
        case "grid_rows" | "grid_columns":
            return {"method": settings.method}
        case other:
            assert_never(other)


# --- variants -----------------------------------------------------------------------------------
def hierarchical(vectors: FloatArray, factor: int) -> Pooled:
    """Ward clusters of rows that are alike in their similarities to the whole page.

    The linkage runs on the rows of 1 - cosine, each an observation, as the reference does it: two
    rows are near where they look on all other rows alike. max(n // factor, 1) clusters, or fewer
    where merges tie. Factor 1 and a single row change nothing. Pages of more than `MAX_WARD_ROWS`
    rows are clustered in equal blocks of neighbouring rows.

    Args:
        vectors: (n, dim) unit rows.
        factor: rows a cluster holds in the mean, at least 1.

    Raises:
        ShapeError: no matrix, NaN, a zero row.
        InputError: a factor below 1.
        ConfigError: scipy is not installed.

    Source: HierarchicalTokenPooler of colpali-engine, for factor 2 and up, n at least 2.
    """
    _check(vectors, factor)
    n = len(vectors)
    if factor == 1 or n <= 1:
        return _unchanged(vectors)
    distances_between, ward, cut = _ward_library()
    n_blocks = -(-n // MAX_WARD_ROWS)
    labels: list[Clusters] = []
    n_labels = 0
    for block in np.array_split(np.asarray(vectors, np.float32), n_blocks):
        n_clusters = max(len(block) // factor, 1)
        with one_blas_thread():
            observations = 1 - block @ block.T  # (n_block, n_block)
        # What `linkage` does of a matrix, which it would warn of as it looks like distances.
        tree = ward(distances_between(observations))
        found = cut(tree, t=n_clusters, criterion="maxclust")  # (n_block,) from 1
        labels.append(found + n_labels)
        n_labels += int(found.max())
    return _means(vectors, np.concatenate(labels))


def runs(vectors: FloatArray, factor: int) -> Pooled:
    """Runs of neighbouring rows, lengths equal to within one: max(n // factor, 1) of them.

    Args:
        vectors: (n, dim) unit rows in reading order.
        factor: rows a run holds, at least 1.

    Raises:
        ShapeError: no matrix, NaN, a zero row.
        InputError: a factor below 1.
    """
    _check(vectors, factor)
    n = len(vectors)
    if factor == 1 or n <= 1:
        return _unchanged(vectors)
    return _means(vectors, np.arange(n) * max(n // factor, 1) // n)


def carve(vectors: FloatArray, min_similarity: float) -> Pooled:
    """Balls carved out of the page: the first row left is a centre and takes all rows near it.

    One product with the rows still left for every centre, so the fewer centres the cheaper.

    Args:
        vectors: (n, dim) unit rows; the order decides which become centres.
        min_similarity: cosine with its centre that a row needs, above 0, so that no mean vanishes.

    Raises:
        ShapeError: no matrix, NaN, a zero row.
        InputError: a similarity that is not above 0.
    """
    _check(vectors, 1)
    if not min_similarity > 0:
        raise InputError(f"carving wants a similarity above 0, got {min_similarity}")
    cluster_of = np.zeros(len(vectors), np.int32)
    left, rows = np.arange(len(vectors)), np.asarray(vectors, np.float32)
    n_clusters = 0
    with one_blas_thread():
        while len(left):
            taken = rows @ rows[0] >= min_similarity  # (n_left,)
            taken[0] = True  # the centre's own product may round to less
            cluster_of[left[taken]] = n_clusters
            left, rows = left[~taken], rows[~taken]
            n_clusters += 1
    return _means(vectors, cluster_of)


def grid_rows(page: MultiVector) -> Pooled:
    """One vector for every row of the page's grid of patches; vectors of no patch stay.

    A page seen in tiles and once more as a whole has two grids, told apart by their cells' size.

    Raises:
        ShapeError: the page's vectors do not stand in a grid, NaN, a zero row.
    """
    return _lines_of_grid(page, axis="rows")


def grid_columns(page: MultiVector) -> Pooled:
    """One vector for every column of the page's grid of patches; vectors of no patch stay.

    Raises:
        ShapeError: the page's vectors do not stand in a grid, NaN, a zero row.
    """
    return _lines_of_grid(page, axis="columns")


def _lines_of_grid(page: MultiVector, *, axis: str) -> Pooled:
    _check(page.vectors, 1)
    if page.boxes is None:
        raise ShapeError("pooling by grid wants a page whose vectors have boxes")
    kinds = np.full(len(page), VectorKind.PATCH) if page.kinds is None else page.kinds
    labels = np.arange(len(page))  # those that are no patch stay by themselves
    n_labels = len(page)
    for grid in _grids(page.boxes, np.flatnonzero(kinds == VectorKind.PATCH)):
        row, column = _cells(page.boxes[grid])
        lines = row if axis == "rows" else column
        labels[grid] = n_labels + lines
        n_labels += int(lines.max()) + 1
    return _means(page.vectors, labels)


def _grids(boxes: FloatArray, patches: npt.NDArray[np.intp]) -> list[npt.NDArray[np.intp]]:
    """The patches in groups of one size of cell."""
    sizes = boxes[patches, 2:] - boxes[patches, :2]  # (n_patches, 2)
    if (sizes <= 0).any():
        raise ShapeError("pooling by grid wants patches that have boxes, got an empty one")
    wide, high = (_ordinals(np.log(sizes[:, side]), apart=_SAME_SIZE) for side in (0, 1))
    size_of = wide * len(patches) + high
    return [patches[size_of == size] for size in np.unique(size_of)]


def _cells(boxes: FloatArray) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(n,) row and (n,) column of boxes of one size, one in every cell of their grid."""
    width, height = np.median(boxes[:, 2:] - boxes[:, :2], axis=0)
    row = _ordinals(boxes[:, 1], apart=height / 2)
    column = _ordinals(boxes[:, 0], apart=width / 2)
    n_rows, n_columns = int(row.max()) + 1, int(column.max()) + 1
    n_cells = len(np.unique(row * n_columns + column))
    if not n_cells == n_rows * n_columns == len(boxes):
        raise ShapeError(
            f"pooling by grid wants one vector in every cell, got {len(boxes)} patches at "
            f"{n_rows} heights and {n_columns} places across"
        )
    return row, column


def _ordinals(values: FloatArray, *, apart: float) -> npt.NDArray[np.int64]:
    """(n,) which of the distinct values, ascending, each one is; rounding makes no new value."""
    order = np.argsort(values, kind="stable")
    steps = np.diff(values[order], prepend=values[order[:1]]) > apart
    ordinals = np.zeros(len(values), np.int64)
    ordinals[order] = np.cumsum(steps)
    return ordinals


# --- shared -------------------------------------------------------------------------------------
def _means(vectors: FloatArray, labels: npt.NDArray[Any]) -> Pooled:
    """Mean of each label's rows at unit length; where it vanishes, its first row instead."""
    if not len(vectors):
        return _unchanged(vectors)
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    by_first = np.argsort(first)
    place = np.empty(len(first), np.int32)
    place[by_first] = np.arange(len(first), dtype=np.int32)
    cluster_of = place[inverse]  # (n,) in the order of first members

    order = np.argsort(cluster_of, kind="stable")
    starts = np.flatnonzero(np.diff(cluster_of[order], prepend=-1))
    sums = np.add.reduceat(vectors[order], starts, axis=0, dtype=np.float64)  # (m, dim)
    means = sums / np.bincount(cluster_of)[:, None]
    vanished = np.linalg.norm(means, axis=1) < _VANISHING
    means[vanished] = vectors[first[by_first]][vanished]
    unit = means / np.linalg.norm(means, axis=1, keepdims=True)
    return Pooled(unit.astype(np.float32), cluster_of)


def _unchanged(vectors: FloatArray) -> Pooled:
    return Pooled(np.asarray(vectors, np.float32), np.arange(len(vectors), dtype=np.int32))


def _check(vectors: FloatArray, factor: int) -> None:
    if vectors.ndim != 2:
        raise ShapeError(f"pooling wants (n, dim), got {vectors.shape}")
    bad = ~np.isfinite(vectors).all(axis=1) | ~vectors.any(axis=1)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise ShapeError(f"pooling wants rows with a direction; row {row} is zero or not finite")
    if factor < 1:
        raise InputError(f"pooling wants a factor of at least 1, got {factor}")


def _ward_library() -> tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]:
    """From scipy: 0.3 s to import and 140 MB on disk, so only where asked for."""
    try:
        from scipy.cluster.hierarchy import fcluster, ward
        from scipy.spatial.distance import pdist
    except ImportError as error:
        raise ConfigError(
            "pooling.method hierarchical needs scipy, which is not installed",
            code="extra_missing",
            next_step="Install octavo[pooling], or choose pooling.method carve or runs.",
        ) from error
    return pdist, ward, fcluster
