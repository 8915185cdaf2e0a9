"""`eval run --folds`: settings chosen on some documents, measured on the others."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from rag.apps.cli.evaluation.dataset_runs import DatasetRuns, Scope
from rag.apps.cli.evaluation.sweep import run_folder
from rag.apps.cli.flags import Mode
from rag.apps.cli.progress import progress_bar

if TYPE_CHECKING:
    from eval.datasets.folder import Dataset
    from eval.folds import Choice, Folded
    from eval.tuning.sweep_plan import Axis
    from rag.settings import Settings
    from rag.types import Json


@dataclass(frozen=True)
class FoldRequest:
    """What the flags say.

    Attributes:
        by_name: documents whose names begin with the same word stay together.
    """

    n_folds: int
    axes: Sequence[Axis]
    measure: str
    seed: int
    by_name: bool


def checked_measure(name: str) -> str:
    """Raises typer.BadParameter for a name that is no measure."""
    from eval.measures import ALL_NAMES

    if name not in ALL_NAMES:
        raise typer.BadParameter(
            f"no measure {name!r}; there are {', '.join(ALL_NAMES)}", param_hint="--measure"
        )
    return name


def check_axes(base: Settings, axes: Sequence[Axis]) -> None:
    """Every value by itself, before anything is asked. Raises ConfigError."""
    from eval.tuning.sweep_plan import grid, row_settings

    for axis in axes:
        for row in grid([axis]):
            row_settings(base, row)


def dealt(
    dataset: Dataset, scope: Scope, request: FoldRequest
) -> tuple[dict[str, int], dict[str, frozenset[str]]]:
    """Question to its fold, and to the groups of documents it is about.

    Raises:
        InputError: fewer groups of documents than folds.
    """
    from eval.folds import assign_folds, document_groups, question_groups

    groups_of = question_groups(
        dataset, scope.value, document_groups(dataset, by_name=request.by_name)
    )
    return assign_folds(groups_of, request.n_folds, seed=request.seed), groups_of


def run_folds(
    base: Settings,
    dataset: Dataset,
    request: FoldRequest,
    *,
    scope: Scope,
    out: Path,
    mode: Mode,
    exact: bool,
) -> Json:
    """Answer the combinations that the search for the best one wants, and put what came of it into
    the `measures.json` of the run in `out`.

    Raises:
        InputError: fewer groups of documents than folds.
        RagError: a combination that cannot be measured; what was answered is kept.
    """
    from eval.folds import cross_validate
    from eval.runs import read_json, read_json_lines, write_atomically
    from eval.tuning.sweep import degraded
    from eval.tuning.sweep_plan import combination_name, named_rows, row_settings
    from rag.settings import nested

    fold_of, groups_of = dealt(dataset, scope, request)
    names = [name for name, _ in request.axes]
    said: dict[str, dict[str, int]] = {}
    with (
        DatasetRuns(base, "eval run", mode=mode, exact=exact) as runs,
        progress_bar("questions") as progress,
    ):
        asking = progress.add_task("asking", total=None)

        def values(choice: Choice) -> dict[str, Any]:
            if not request.axes:
                return _values(out)
            chosen = [of_axis[i] for (_, of_axis), i in zip(request.axes, choice, strict=True)]
            name = combination_name(names, chosen)
            (row,) = named_rows([(name, nested(dict(zip(names, chosen, strict=True))))])
            folder = run_folder(out, dataset.name, scope, row)

            def tell(done: int, whole: int) -> None:
                progress.update(asking, completed=done, total=whole, description=name)

            evaluation, _ = runs.run(dataset, row_settings(base, row), scope, folder, tell)
            if notices := degraded([evaluation]):
                said[name] = notices
            return _values(folder)

        def _values(folder: Path) -> dict[str, Any]:
            return {str(row["id"]): row for row in read_json_lines(folder / "per_query.jsonl")}

        folded = cross_validate(request.axes, values, fold_of, groups_of, measure=request.measure)
        baseline = _values(out)
    found = {**_as_dict(folded, request, groups_of, baseline), "degraded": said}
    measures = {**read_json(out / "measures.json"), "folds": found}
    write_atomically(out / "measures.json", json.dumps(measures, indent=2, ensure_ascii=False))
    return found


def _as_dict(
    folded: Folded,
    request: FoldRequest,
    groups_of: Mapping[str, frozenset[str]],
    baseline: Mapping[str, Mapping[str, float]],
) -> Json:
    from eval.compare import paired_bootstrap
    from eval.folds import settings_of
    from eval.measures import NAMES, mean

    names = tuple(dict.fromkeys((*NAMES, request.measure)))
    axes = request.axes
    against = paired_bootstrap(
        baseline, folded.held_out, measures=[request.measure], n_resamples=10_000, seed=0
    )[0]
    return {
        "n": request.n_folds,
        "seed": request.seed,
        "measure": request.measure,
        "n_questions": len(groups_of),
        "groups": len(frozenset().union(*groups_of.values())),
        "axes": {name: list(values) for name, values in axes},
        "combinations": math.prod(len(values) for _, values in axes),
        "tried": folded.n_tried,
        "search": "one axis at a time" if folded.is_greedy else "all combinations",
        "baseline": mean(baseline.values(), names),
        "in_sample": {
            "settings": settings_of(axes, folded.in_sample),
            "measures": mean(folded.in_sample_values.values(), names),
        },
        "held_out": mean(folded.held_out.values(), names),
        "held_out_difference": {
            "value": against.difference,
            "low": against.low,
            "high": against.high,
            "p_value": against.p_value,
        },
        "folds": [
            {
                "fold": fold.number,
                "questions": len(fold.questions),
                "groups": list(fold.groups),
                "settings": settings_of(axes, fold.choice),
                "chosen_at": fold.chosen_at,
                "held_out": fold.held_out,
                "baseline": sum(baseline[each][request.measure] for each in fold.questions)
                / len(fold.questions),
            }
            for fold in folded.folds
        ],
    }
