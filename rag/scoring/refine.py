"""Guided query refinement (GQR): a query's vectors are moved until their MaxSim agrees with a
second search about a few pages.

What is trained is the query alone, by Adam on the divergence between the chances that both searches
give the pages. Everything is float32; nothing is padded, so nothing needs a mask.

Source: the authors' code and tutorial (IBM/test-time-hybrid-retrieval, commit b414cec) read for
their behaviour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rag.errors import ShapeError
from rag.geometry import FloatArray
from rag.scoring.blas import one_blas_thread
from rag.scoring.fusion import Scores, softmax
from rag.scoring.maxsim import maxsim_many

IntArray = npt.NDArray[np.intp]

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8  # Adam's usual
_LOG_GUARD = 1e-8

# Every step wants each query row's best row on each page. Multiplying all rows of the pool costs 5
# to 10 ms a step (20 pages of 1,000 rows, 64 query rows); so a page's rows are dealt in turn to a
# few blocks, the best of each block is followed, and all rows are looked at again once a query row
# has moved by this share of its length (docs/adr/0019-fusion-and-refinement.md).
_FOLLOWED = 8
_TRUSTED_MOVE = 0.08


@dataclass(frozen=True)
class Refining:
    """How a query is refined.

    Attributes:
        alpha: share of the second search in what is aimed at.
        temperature: of the softmax over pages.
        learning_rate: step of Adam; no coordinate moves much further than steps * learning_rate.
        steps: of Adam.
        raw: MaxSim is a sum over query rows, and the target is the softmax of averaged scores, as
            in the tutorial; else it is their mean, and the target is the average of softmaxes.
    """

    alpha: float = 0.5
    temperature: float = 1.0
    learning_rate: float = 5e-4
    steps: int = 25
    raw: bool = False


@dataclass(frozen=True, eq=False)
class RefinedQuery:
    """A refined query, and what it did.

    Attributes:
        vectors: (n_query, dim), not of unit length.
        scores: (n_pages,) MaxSim of `vectors`, a sum over query rows.
        divergences: before every step and after the last.
    """

    vectors: FloatArray
    scores: Scores
    divergences: tuple[float, ...]


def refine_query(
    query: FloatArray, pages: Sequence[FloatArray], second: Scores, refining: Refining
) -> RefinedQuery:
    """Move a query towards what a second search says of some pages.

    Args:
        query: (n_query, dim), at least one row.
        pages: (n_rows, dim) each, at least one row; the pages both searches speak of.
        second: (n_pages,) scores of the second search, finite; adding a constant changes nothing.
        refining: how.

    Raises:
        ShapeError: sides that do not fit, pages without rows, values that are not finite.
    """
    query = np.array(query, np.float32)
    _check(query, pages, second)
    if not len(pages):
        return RefinedQuery(query, np.zeros(0), ())
    rows, adam = _FollowedRows(pages, query), _Adam(query, refining.learning_rate)
    divide_by = 1 if refining.raw else len(query)
    with one_blas_thread():
        first, _ = rows.scores(query)
        target = _target(first / divide_by, second, refining)
        divergences: list[float] = []
        for _ in range(refining.steps):
            value, gradient = _divergence_and_gradient(query, rows, target, refining, divide_by)
            divergences.append(value)
            query = adam.step(query, gradient)
        last, _ = rows.scores(query)
    divergences.append(
        divergence(target, softmax(last / divide_by, temperature=refining.temperature))
    )
    scores = maxsim_many(query, pages).astype(np.float64)
    return RefinedQuery(query, scores, tuple(divergences))


def divergence(target: Scores, chances: Scores) -> float:
    """Kullback-Leibler divergence of chances from a target, both (n_pages,)."""
    return float(np.sum(target * np.log((target + _LOG_GUARD) / (chances + _LOG_GUARD))))


def divergence_and_gradient(
    query: FloatArray, pages: Sequence[FloatArray], target: Scores, refining: Refining
) -> tuple[float, FloatArray]:
    """The divergence of MaxSim's chances from a target (n_pages,), and its gradient (n_query, dim).

    Raises:
        ShapeError: as `refine_query`.
    """
    query = np.asarray(query, np.float32)
    _check(query, pages, target)
    divide_by = 1 if refining.raw else len(query)
    rows = _FollowedRows(pages, query)
    return _divergence_and_gradient(query, rows, target, refining, divide_by)


def target_chances(
    query: FloatArray, pages: Sequence[FloatArray], second: Scores, refining: Refining
) -> Scores:
    """(n_pages,) what a refinement aims at, from the query as it is before the first step.

    Raises:
        ShapeError: as `refine_query`.
    """
    query = np.asarray(query, np.float32)
    _check(query, pages, second)
    first, _ = _FollowedRows(pages, query).scores(query)
    return _target(first / (1 if refining.raw else len(query)), second, refining)


def _target(first: Scores, second: Scores, refining: Refining) -> Scores:
    share, heat = refining.alpha, refining.temperature
    if refining.raw:
        return softmax((1.0 - share) * first + share * second, temperature=heat)
    mixed = (1.0 - share) * softmax(first, temperature=heat)
    return np.asarray(mixed + share * softmax(second, temperature=heat))


def _divergence_and_gradient(
    query: FloatArray, rows: _FollowedRows, target: Scores, refining: Refining, divide_by: int
) -> tuple[float, FloatArray]:
    scores, best = rows.scores(query)
    chances = softmax(scores / divide_by, temperature=refining.temperature)
    pull = ((chances - target) / (refining.temperature * divide_by)).astype(np.float32)
    gradient = np.matmul(pull, best)  # (n_pages,) @ (n_query, n_pages, dim)
    return divergence(target, chances), np.asarray(gradient, np.float32)


class _FollowedRows:
    """For each query row and page, the few page rows among which the best is looked for."""

    def __init__(self, pages: Sequence[FloatArray], query: FloatArray) -> None:
        self._n_blocks = min(_FOLLOWED, max(len(page) for page in pages))
        dealt = [self._dealt(page) for page in pages]
        ends = np.cumsum([len(page) for page in dealt])
        self._bounds = list(zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True))
        self._rows = np.concatenate(dealt).astype(np.float32, copy=False)  # (n_rows, dim)
        self._trusted = _TRUSTED_MOVE * np.linalg.norm(query, axis=1)  # (n_query,)
        self._look(query)

    def scores(self, query: FloatArray) -> tuple[Scores, FloatArray]:
        """(n_pages,) MaxSim as a sum, and (n_query, n_pages, dim) the page rows that made it."""
        if (np.linalg.norm(query - self._looked_with, axis=1) > self._trusted).any():
            self._look(query)
        n_query, n_pages, n_blocks, dim = self._followed.shape
        flat = self._followed.reshape(n_query, n_pages * n_blocks, dim)
        similarity = np.matmul(flat, query[:, :, None]).reshape(-1, n_blocks)
        # Whole rows are taken by their number: take_along_axis would take them value by value.
        best = np.arange(len(similarity)) * n_blocks + similarity.argmax(axis=1)
        bests = similarity.ravel()[best].reshape(n_query, n_pages)
        rows = self._followed.reshape(-1, dim)[best].reshape(n_query, n_pages, dim)
        return bests.sum(axis=0, dtype=np.float64), rows

    def _dealt(self, page: FloatArray) -> FloatArray:
        """A page's rows, block after block, row j in block j mod n.

        Neighbouring rows are alike; dealt out like this they do not stand in each other's way. The
        last blocks are filled up with the first row, which changes no maximum.
        """
        full = np.concatenate([page, np.repeat(page[:1], -len(page) % self._n_blocks, axis=0)])
        return full.reshape(-1, self._n_blocks, page.shape[1]).swapaxes(0, 1).reshape(full.shape)

    def _look(self, query: FloatArray) -> None:
        """Choose the rows anew, the best of each block."""
        columns = np.ascontiguousarray(query.T)  # (dim, n_query)
        chosen = np.empty((len(query), len(self._bounds), self._n_blocks), np.intp)
        for page, (start, end) in enumerate(self._bounds):
            size = (end - start) // self._n_blocks
            # Blocks of one query row side by side: numpy looks through those many times faster.
            similarity = np.ascontiguousarray((self._rows[start:end] @ columns).T)
            best = similarity.reshape(len(query), self._n_blocks, size).argmax(axis=2)
            chosen[:, page] = best + np.arange(start, end, size)
        self._followed = self._rows[chosen]  # (n_query, n_pages, n_blocks, dim)
        self._looked_with = query.copy()


class _Adam:
    def __init__(self, start: FloatArray, learning_rate: float) -> None:
        self._learning_rate = learning_rate
        self._mean = np.zeros_like(start)
        self._square = np.zeros_like(start)
        self._n_steps = 0

    def step(self, value: FloatArray, gradient: FloatArray) -> FloatArray:
        self._n_steps += 1
        self._mean = _BETA1 * self._mean + (1 - _BETA1) * gradient
        self._square = _BETA2 * self._square + (1 - _BETA2) * gradient**2
        mean = self._mean / (1 - _BETA1**self._n_steps)
        square = self._square / (1 - _BETA2**self._n_steps)
        moved = value - self._learning_rate * mean / (np.sqrt(square) + _EPSILON)
        return np.asarray(moved, np.float32)


def _check(query: FloatArray, pages: Sequence[FloatArray], second: Scores) -> None:
    if query.ndim != 2 or not len(query):
        raise ShapeError(f"refinement wants a query (n_query >= 1, dim), got {query.shape}")
    if second.shape != (len(pages),):
        raise ShapeError(f"{len(pages)} pages want a second score each, got {second.shape}")
    for index, page in enumerate(pages):
        if page.ndim != 2 or not len(page) or page.shape[1] != query.shape[1]:
            raise ShapeError(
                f"refinement wants pages (n_rows >= 1, {query.shape[1]}), page {index} is "
                f"{page.shape}"
            )
    if not (np.isfinite(query).all() and np.isfinite(second).all()):
        raise ShapeError("refinement wants finite values in the query and the second scores")
    for index, page in enumerate(pages):
        if not np.isfinite(page).all():
            raise ShapeError(f"page {index} holds NaN or infinite values")
