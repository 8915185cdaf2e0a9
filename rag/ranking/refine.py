"""The query moved until MaxSim agrees with all other legs, and the ranking made again with it.

MaxSim is the first search of GQR, every other leg together the second. Both name their best pages;
on those the query is refined (`rag/scoring/refine.py`), and all candidates get its MaxSim.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rag.filters import Filter
from rag.geometry import FloatArray
from rag.patch_search import PatchSearch
from rag.ranking.fuse import fused
from rag.ranking.legs import ABSOLUTE, Legs, Mode
from rag.repository import CollectionReader
from rag.scoring.cascade import StageClock
from rag.scoring.fusion import Scores, ranked
from rag.scoring.refine import Refining, refine_query
from rag.settings import RefineSettings, RetrievalSettings
from rag.types import Notice, PageField

_PATCHES = PageField.PATCHES.value


@dataclass(frozen=True)
class PatchAccess:
    """How pages are reached, whoever keeps them.

    Attributes:
        vectors: page vectors (n_rows, dim) by record id, as they were encoded; absent where a page
            has none.
        maxsim: exact MaxSim of given pages for query rows (n_query, dim), a sum over them.
        search: the same for the best pages in scope.
        legs: what every leg gives pages that no leg handed on before.
    """

    vectors: Callable[[Sequence[str]], Mapping[str, FloatArray]]
    maxsim: Callable[[FloatArray, Sequence[str]], Mapping[str, float]]
    search: Callable[[FloatArray], Mapping[str, float]]
    legs: Callable[[Sequence[str]], Legs]


@dataclass(frozen=True, eq=False)
class Refined:
    """What refining made of a ranking.

    Attributes:
        order: (record id, score), best first, of all candidates and the pages found anew.
        legs: of the same pages; `patches` is MaxSim of the refined query.
        new: record ids that only the refined query found.
        query: (n_query, dim), not of unit length.
        notices: why nothing was refined.
    """

    order: list[tuple[str, float]]
    legs: Legs
    new: tuple[str, ...]
    query: FloatArray
    notices: tuple[Notice, ...] = ()


def patch_access(
    reader: CollectionReader,
    patches: PatchSearch,
    scope: Filter | None,
    legs: Callable[[Sequence[str]], Legs],
    *,
    limit: int,
    left_out: str | None = None,
) -> PatchAccess:
    """The pages of a collection that a search may see.

    Args:
        reader: of the collection.
        patches: what scores its pages.
        scope: of the search.
        legs: as in `PatchAccess`; every leg of the search, those that are absolute as well.
        limit: pages that another search hands on.
        left_out: a page that must not be found, as it is the question.
    """

    def search(query: FloatArray) -> dict[str, float]:
        # Its warnings are those of the search before.
        found = patches.best(reader, scope, query, limit + (left_out is not None)).candidates
        return {c.record_id: c.score for c in found if c.record_id != left_out}

    return PatchAccess(
        vectors=lambda ids: reader.vectors(ids, PageField.PATCHES),
        maxsim=lambda query, ids: patches.scores(reader, scope, query, ids, exact=True),
        search=search,
        legs=legs,
    )


def refine(
    order: Sequence[tuple[str, float]],
    legs: Legs,
    query: FloatArray,
    access: PatchAccess,
    settings: RetrievalSettings,
    stages: StageClock,
) -> Refined:
    """The candidates of a hybrid search, ranked with a refined query.

    With `refine.order` "fused", refined MaxSim takes the place of MaxSim among the legs. With
    "maxsim" it alone orders the pages that were compared (those the refined query finds, where it
    searches again), and the others keep the fused order below them; scores then belong to the
    places, as fusion gave them.

    Args:
        order: (record id, fused score), best first.
        legs: raw scores, of all candidates.
        query: (n_query, dim).
        access: to page vectors and other pages.
        settings: `refine`, and how legs are fused.
        stages: gets one report, `refine`, with how many pages were compared.

    Returns:
        The order as it came, with a notice `not_refined`, where there are no two searches to
        compare or no two pages to compare them on.
    """
    chosen = settings.refine
    with stages.stage("refine") as counts:
        pool, second = _compared(order, legs, settings)
        vectors = access.vectors(pool) if pool else {}
        pool = [record_id for record_id in pool if len(vectors.get(record_id, ()))]
        if len(pool) < 2:
            message = (
                "the query was not refined: that takes page vectors, another leg beside them, and "
                f"two pages to compare them on; there were {len(pool)}"
            )
            return Refined(list(order), legs, (), query, (Notice("not_refined", message),))
        moved = refine_query(
            query,
            [vectors[record_id] for record_id in pool],
            _at_the_spread_of(
                np.array([legs[_PATCHES][record_id] for record_id in pool]) / len(query),
                np.array([second[record_id] for record_id in pool]),
            ),
            _refining(chosen),
        )
        compared = dict(zip(pool, moved.scores.tolist(), strict=True))
        first = compared if chosen.variant == "pool" else access.search(moved.vectors)
        known = dict(order)
        new = tuple(sorted(first.keys() - known.keys()))
        legs = _with(legs, access.legs(new)) if new else legs
        maxsim = compared | dict(first)
        others = [record_id for record_id in legs[_PATCHES] if record_id not in maxsim]
        maxsim |= access.maxsim(moved.vectors, others) if others else {}
        legs = {**legs, _PATCHES: maxsim}
        refused = fused(sorted([*known, *new]), legs, Mode.HYBRID, settings)
        counts.append(len(pool))
    if chosen.order == "maxsim":
        best = ranked(list(first), np.array(list(first.values()), np.float64))
        ids = dict.fromkeys([i for i, _ in best] + [i for i, _ in order])
        refused = [(i, score) for i, (_, score) in zip(ids, refused, strict=True)]
    return Refined(refused, legs, new, moved.vectors)


def _compared(
    order: Sequence[tuple[str, float]], legs: Legs, settings: RetrievalSettings
) -> tuple[list[str], dict[str, float]]:
    """The best pages of either search, ids ascending, and the second's scores of all candidates."""
    others = {name: leg for name, leg in legs.items() if name != _PATCHES}
    if not legs.get(_PATCHES) or not any(others[name] for name in others.keys() - ABSOLUTE):
        return [], {}
    # z-scores, whatever the fusion: the second search needs a scale, which ranks have not.
    by_zscore = settings.model_copy(update={"fusion": "zscore"})
    second = fused([record_id for record_id, _ in order], others, Mode.HYBRID, by_zscore)
    first = sorted(
        ((i, score) for i, score in legs[_PATCHES].items() if np.isfinite(score)),
        key=lambda item: (-item[1], item[0]),
    )
    n = settings.refine.pages
    held = {record_id for record_id, _ in first}
    # A page without vectors cannot be compared, and takes no other's place.
    best = [i for i, _ in first[:n]] + [i for i, _ in second if i in held][:n]
    return sorted(set(best) & dict(second).keys()), dict(second)


def _at_the_spread_of(first: Scores, second: Scores) -> Scores:
    """The second scores with the mean and deviation of the first.

    GQR compares two cosines. A sum of z-scores spreads wider by far, would make the surer chances,
    and `alpha` would mean nothing.
    """
    deviation = second.std()
    scaled = (second - second.mean()) * (first.std() / (deviation or 1.0))
    return np.asarray(first.mean() + scaled, np.float64)


def _refining(chosen: RefineSettings) -> Refining:
    return Refining(
        alpha=chosen.alpha,
        temperature=chosen.temperature,
        learning_rate=chosen.learning_rate,
        steps=chosen.steps,
        raw=chosen.variant == "tutorial",
    )


def _with(legs: Legs, more: Legs) -> Legs:
    return {name: legs.get(name, {}) | more.get(name, {}) for name in legs.keys() | more.keys()}
