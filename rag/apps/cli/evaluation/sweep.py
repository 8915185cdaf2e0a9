"""`eval sweep`: a dataset asked with many settings, and one table of what they gave."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rag.apps.cli import exit_codes, output
from rag.apps.cli.evaluation.dataset_runs import DEFAULT_RUNS, DatasetRuns, Scope, ended
from rag.apps.cli.flags import Common, Mode, ModeFlag, as_usage, made_folder, setting_value
from rag.apps.cli.progress import progress_bar
from rag.errors import InputError, RagError

if TYPE_CHECKING:
    from eval.datasets.folder import Dataset
    from eval.tuning.sweep import RowOutcome
    from eval.tuning.sweep_plan import Axis, Row
    from rag.settings import Settings

AxisFlag = Annotated[
    list[str] | None,
    typer.Option(
        "--axis",
        metavar="SECTION.KEY=V1,V2,...",
        help="Values of a setting, as in retrieval.fusion=zscore,rrf. Repeatable: all "
        "combinations.",
    ),
]


class Scopes(StrEnum):
    """Where each question is asked; both measures either."""

    CORPUS = "corpus"
    DOCUMENT = "document"
    BOTH = "both"


def sweep(
    common: Common,
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="FOLDER...", help="Datasets; several are also averaged."),
    ],
    axes: AxisFlag = None,
    rows: Annotated[
        Path | None,
        typer.Option(metavar="FILE.toml", help="Named rows, as in configs/sweep.toml."),
    ] = None,
    scope: Annotated[Scopes, typer.Option(help="Where each question is asked.")] = Scopes.CORPUS,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where runs, sweep.json, sweep.txt and sweep.svg go; what is there already is not "
            "asked again. Default: eval-runs/sweep-TIME",
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Ask only the first N questions.")
    ] = None,
    mode: ModeFlag = Mode.HYBRID,
    exact: Annotated[
        bool, typer.Option("--exact", help="Score every page, without a first stage.")
    ] = False,
) -> int:
    """A run folder a row and dataset, and one table; the first row is what others are held to."""
    from eval.datasets.folder import load_dataset
    from eval.tuning.sweep import sweep_report, sweep_result
    from eval.tuning.sweep_plan import row_settings
    from eval.tuning.sweep_plot import sweep_svg

    _require_default_collection(common)
    base = common.settings()
    planned = planned_rows(axes or [], rows)
    with as_usage("--axis") if axes else nullcontext():
        # All of them, before the first is run.
        settings = [row_settings(base, row) for row in planned]
    scopes = [Scope(each) for each in ("corpus", "document") if scope in (each, Scopes.BOTH)]
    datasets = [load_dataset(folder) for folder in folders]
    names = [dataset.name for dataset in datasets]
    if len({*names}) < len(names):
        raise typer.BadParameter("two datasets have the same name", param_hint="FOLDER")
    out = out or DEFAULT_RUNS / f"sweep-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    made_folder(out, flag="--out")
    is_partial = False
    parts = [(dataset, each) for dataset in datasets for each in scopes]
    with (
        DatasetRuns(base, "eval sweep", mode=mode, exact=exact) as runs,
        progress_bar("questions") as progress,
    ):
        n_rows = progress.add_task("rows", total=len(planned))
        asking = progress.add_task("asking", total=None)
        found: dict[str, RowOutcome] = {}
        # By what must be open, so that nothing is opened twice; the table keeps the given order.
        for row, chosen in sorted(zip(planned, settings, strict=True), key=_by_engine(base)):

            def tell(done: int, whole: int, name: str = row.name) -> None:
                progress.update(asking, completed=done, total=whole, description=name)

            outcome, was_partial = _measured(runs, row, chosen, parts, out, limit, tell)
            found[row.folder] = outcome
            is_partial = is_partial or was_partial
            progress.advance(n_rows)
    result = {**sweep_result([found[row.folder] for row in planned]), "out": str(out)}
    table = sweep_report(result)
    _write(out / "sweep.json", json.dumps(result, indent=2, ensure_ascii=False))
    _write(out / "sweep.txt", f"{table}\n")
    if result["baseline"] is not None:
        _write(out / "sweep.svg", sweep_svg(result))
    if common.as_json:
        output.emit(result)
    else:
        output.line(table)
        output.note(f"written to {out}")
    if result["baseline"] is None:
        return exit_codes.FAILED
    return exit_codes.PARTIAL if is_partial else exit_codes.DONE


def planned_rows(axes: Sequence[str], rows: Path | None) -> tuple[Row, ...]:
    """Raises typer.BadParameter where neither or both are given."""
    from eval.tuning.sweep_plan import grid, read_rows

    if bool(axes) == (rows is not None):
        raise typer.BadParameter(
            "give either --axis SECTION.KEY=V1,V2,... or --rows FILE.toml", param_hint="--axis"
        )
    if rows is not None:
        return read_rows(rows)
    with as_usage("--axis"):
        return grid(parsed_axes(axes))


def parsed_axes(flags: Sequence[str]) -> list[Axis]:
    """`retrieval.fusion=zscore,rrf` as a name and its values; commas in brackets stay.

    Raises:
        typer.BadParameter: a flag without values, or a name that is no setting.
    """
    from rag.settings import nested

    found: list[Axis] = []
    for text in flags:
        name, _, values = (part.strip() for part in text.partition("="))
        if not values:
            raise typer.BadParameter(
                f"expected SECTION.KEY=V1,V2,..., got {text!r}", param_hint="--axis"
            )
        with as_usage("--axis"):
            nested({name: None})
        found.append((name, tuple(setting_value(value) for value in _split(values))))
    return found


def _split(text: str) -> list[str]:
    parts, depth = [""], 0
    for character in text:
        depth += {"[": 1, "]": -1}.get(character, 0)
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def _by_engine(base: Settings) -> Any:
    from eval.tuning.sweep_plan import engine_key

    first = engine_key(base)

    def key(planned: tuple[Row, Settings]) -> tuple[bool, str]:
        return engine_key(planned[1]) != first, engine_key(planned[1])

    return key


def _measured(
    runs: DatasetRuns,
    row: Row,
    settings: Settings,
    parts: Sequence[tuple[Dataset, Scope]],
    out: Path,
    limit: int | None,
    tell: Any,
) -> tuple[RowOutcome, bool]:
    """A row over all parts, or why not; and whether a document could not be read."""
    from eval.documents_read import PAGE_MISSING, UNREAD
    from eval.tuning.sweep import Part, RowOutcome
    from eval.tuning.sweep_plan import what_is_missing

    outcome = RowOutcome(row, skipped=what_is_missing(settings, row.changes) or "")
    is_partial = False
    if outcome.skipped:
        return outcome, False
    try:
        for dataset, scope in parts:
            asked = dataset if limit is None else dataset.first(limit, scope.value)
            folder = run_folder(out, dataset.name, scope, row)
            evaluation, totals = runs.run(asked, settings, scope, folder, tell)
            outcome.runs[Part(dataset.name, scope.value)] = (folder, evaluation)
            outcome.of_pages |= {each["code"]: each["message"] for each in totals["warnings"]}
            outcome.of_pages |= {
                code: evaluation.notices[code]["message"]
                for code in (UNREAD, PAGE_MISSING)
                if code in evaluation.notices
            }
            is_partial = is_partial or ended(totals, evaluation.notices) != exit_codes.DONE
    except InputError:
        raise  # the dataset is wrong, not this row
    except RagError as error:
        if error.code == "data_folder_busy":
            raise
        outcome.skipped = error.message
        outcome.runs.clear()
    return outcome, is_partial


def run_folder(out: Path, dataset: str, scope: Scope, row: Row) -> Path:
    """Where a row's run lies, the same for sweeps and folds: either uses what the other asked."""
    return out / (dataset if scope is Scope.CORPUS else f"{dataset}-{scope.value}") / row.folder


def _require_default_collection(common: Common) -> None:
    if common.collection != "default":
        raise typer.BadParameter(
            "a sweep names its collections itself, by dataset and settings", param_hint="-c"
        )


def _write(path: Path, text: str) -> None:
    from eval.runs import write_atomically

    write_atomically(path, text)
