"""What routing could gain and what a router does: values of every route on every question."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

from rag.errors import InputError

Values = Mapping[str, Mapping[str, float]]  # route -> question id -> value of a measure


@dataclass(frozen=True)
class OracleRoute:
    """The upper bound of any router, and what the routes reach by themselves.

    Attributes:
        mean: value where each question takes its best route.
        best: question id -> its best route; the first by name among equals, the best fixed one
            before all others.
        fixed: route -> mean value, where all questions take it.
        best_fixed: the route with the highest of those.
    """

    mean: float
    best: dict[str, str]
    fixed: dict[str, float]
    best_fixed: str


def oracle_route(values_by_route: Values) -> OracleRoute:
    """Source: Yeo et al. 2025, UniversalRAG (arXiv:2504.20734), the oracle of its comparison.

    Raises:
        InputError: no route, no question, or routes that were not asked the same questions.
    """
    asked = {frozenset(values) for values in values_by_route.values()}
    if len(asked) != 1 or not next(iter(asked)):
        raise InputError(
            "routes are compared by the same questions, and by one at least",
            next_step="Run every route on all questions.",
        )
    fixed = {route: fmean(values.values()) for route, values in values_by_route.items()}
    best_fixed = min(fixed, key=lambda route: (-fixed[route], route))
    best = {
        question: min(
            values_by_route,
            key=lambda route: (-values_by_route[route][question], route != best_fixed, route),
        )
        for question in sorted(next(iter(asked)))
    }
    mean = fmean(values_by_route[route][question] for question, route in best.items())
    return OracleRoute(mean, best, fixed, best_fixed)


def routed_mean(values_by_route: Values, chosen: Mapping[str, str]) -> float:
    """The value where each question takes the route chosen for it.

    Raises:
        InputError: no question, or one whose route was not run on it.
    """
    if not chosen or any(
        question not in values_by_route.get(route, {}) for question, route in chosen.items()
    ):
        raise InputError(
            "a chosen route was not run on its question", next_step="Run every route on all."
        )
    return fmean(values_by_route[route][question] for question, route in chosen.items())


def accuracy(chosen: Mapping[str, str], labels: Mapping[str, str]) -> float:
    """Share of the labelled questions that took the route of their label.

    Raises:
        InputError: no label, or a labelled question that was not routed.
    """
    if not labels or labels.keys() - chosen.keys():
        raise InputError(
            "labelled questions were not routed, or there are none",
            next_step="Route every labelled question.",
        )
    return sum(chosen[question] == route for question, route in labels.items()) / len(labels)
