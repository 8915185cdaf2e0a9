"""Figures of the questions of one kind: by type, domain, language, modality, answer format."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from eval.datasets.folder import Query
from eval.measures import NAMES, Values, mean
from rag.errors import InputError

TYPE = "type"


def by_group(
    queries: Iterable[Query],
    values: Mapping[str, Mapping[str, float]],
    *,
    names: Sequence[str] = NAMES,
) -> dict[str, dict[str, Values]]:
    """Means over the questions of each value of each dimension.

    Args:
        queries: that count.
        values: question id to measures, as `measure_queries` gives them.
        names: of the measures that are told.

    Returns:
        Dimension to value to {"n": questions, measure: mean}; dimensions and values ascending, but
        "type" first. A question without a dimension is in no group of it, so the n of one
        dimension may be fewer than the questions. A dimension of the dataset that is called "type"
        itself is told as "groups.type".
    """
    rows: dict[str, dict[str, list[Mapping[str, float]]]] = {TYPE: {}}
    for query in queries:
        dimensions = {
            f"groups.{name}" if name == TYPE else name: value
            for name, value in query.groups.items()
        }
        for name, value in (dimensions | {TYPE: query.type}).items():
            rows.setdefault(name, {}).setdefault(value, []).append(values[query.id])
    return {
        dimension: {
            value: {"n": len(of_value), **mean(of_value, names)}
            for value, of_value in sorted(rows[dimension].items())
        }
        for dimension in sorted(rows, key=lambda name: (name != TYPE, name))
    }


def macro_mean(parts: Mapping[str, Mapping[str, float]], names: Sequence[str] = NAMES) -> Values:
    """Mean over parts (datasets, domains, languages), each as heavy as any other.

    Args:
        parts: name to measures, such as a dimension of `by_group`; "n" and what else is no measure
            of `names` is passed over.
        names: of the measures.

    Raises:
        InputError: no parts, or one without a measure.
    """
    if not parts:
        raise InputError("a mean over datasets wants at least one")
    for part, values in parts.items():
        if missing := [name for name in names if name not in values]:
            raise InputError(
                f"no measure {missing[0]!r} for {part!r}",
                next_step="Runs of older versions hold fewer measures; run it again with the same "
                "--out: what was answered is not asked again.",
            )
    return mean(parts.values(), names)
