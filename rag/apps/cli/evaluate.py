"""`eval run`, `compare` and `list`: how good the search is on questions with gold pages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rag.apps.cli import exit_codes, output, report
from rag.apps.cli.dataset_runs import (
    DEFAULT_RUNS,
    Scope,
    bring_up_to_date,
    documents_of,
    search,
    what_could_matter,
)
from rag.apps.cli.flags import Common, Mode, ModeFlag, add_command, as_usage, made_folder, opened
from rag.apps.cli.folding import FoldRequest, check_axes, checked_measure, dealt, run_folds
from rag.apps.cli.progress import progress_bar
from rag.apps.cli.sweep import AxisFlag, parsed_axes, sweep

if TYPE_CHECKING:
    from eval.datasets import Dataset, Query
    from eval.run_eval import Found

DEFAULT_HISTORY = Path("eval/history")  # of a checkout; an installed Octavo keeps none by itself

_FOLDS_PANEL = "Choosing settings"

JsonFlag = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]


def register(app: typer.Typer) -> None:
    family = typer.Typer(no_args_is_help=False, help="Measure the search on a dataset.")
    add_command(family, run, name="run", help_text="Ask a dataset's questions and measure.")
    add_command(
        family,
        sweep,
        name="sweep",
        help_text="Ask a dataset's questions with many settings, and compare what they give.",
    )
    family.command("compare", help="Is the second run better than the first, or was it luck?")(
        compare
    )
    family.command("list", help="List runs, newest first.")(list_runs)
    app.add_typer(family, name="eval")


def run(
    common: Common,
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="With docs/, queries.jsonl and qrels.tsv.")
    ],
    scope: Annotated[Scope, typer.Option(help="Where each question is asked.")] = Scope.CORPUS,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where the run goes. Default: eval-runs/NAME-TIME"),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Ask only the first N questions.")
    ] = None,
    answers: Annotated[
        bool, typer.Option("--answers", help="Also ask for answers, and write answers.jsonl.")
    ] = False,
    mode: ModeFlag = Mode.HYBRID,
    exact: Annotated[
        bool, typer.Option("--exact", help="Score every page, without a first stage.")
    ] = False,
    history: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Add the figures to DIR/NAME.jsonl. Default: eval/history, if there.",
        ),
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(
            min=2,
            max=100,
            metavar="N",
            help="Choose the settings of --axis on all but one N-th of the documents, measure on "
            "that one, and so on.",
            rich_help_panel=_FOLDS_PANEL,
        ),
    ] = None,
    axes: AxisFlag = None,
    measure: Annotated[
        str,
        typer.Option(help="By which settings are chosen.", rich_help_panel=_FOLDS_PANEL),
    ] = "nDCG@10",
    seed: Annotated[
        int,
        typer.Option(min=0, help="Of dealing documents to folds.", rich_help_panel=_FOLDS_PANEL),
    ] = 0,
    group_by_name: Annotated[
        bool,
        typer.Option(
            "--group-by-name",
            help="Keep documents whose names begin with the same word in one fold.",
            rich_help_panel=_FOLDS_PANEL,
        ),
    ] = False,
) -> int:
    """An index that is up to date is used again; one that is not is brought up to date first."""
    from eval.datasets import load_dataset
    from eval.report import evaluation_report, folds_report
    from eval.run_eval import evaluate
    from eval.sweep_plan import collection_name

    settings = common.settings()
    request = None
    if folds is not None:
        if common.collection != "default":
            raise typer.BadParameter("--folds names its collections itself", param_hint="-c")
        parsed = parsed_axes(axes or [])
        request = FoldRequest(folds, parsed, checked_measure(measure), seed, group_by_name)
        with as_usage("--axis"):
            check_axes(settings, parsed)
    elif axes:
        raise typer.BadParameter(
            "values are chosen by --folds; eval sweep compares them", param_hint="--axis"
        )
    if history is None and DEFAULT_HISTORY.is_dir():
        history = DEFAULT_HISTORY
    dataset = load_dataset(folder)
    if limit is not None:
        dataset = dataset.first(limit, scope.value)
    if request is not None:
        dealt(dataset, scope, request)  # refused before minutes of asking
    out = out or DEFAULT_RUNS / f"{dataset.name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    made_folder(out, flag="--out")  # refused before minutes of asking
    if history is not None:
        made_folder(history, flag="--history")
    # Measures are over exactly the documents of the dataset, so they get a collection of their own.
    collection = common.collection
    if collection == "default":
        collection = collection_name(dataset.name, settings)
    with opened(settings, "eval run") as octavo:
        totals = bring_up_to_date(octavo, dataset, collection)

        def ask(query: Query) -> Found:
            return search(octavo, query, collection, scope, mode=mode, exact=exact)

        with progress_bar("questions") as progress:
            task = progress.add_task("asking", total=None)
            evaluation = evaluate(
                dataset,
                ask,
                out_dir=out,
                scope=scope.value,
                config={
                    **what_could_matter(settings, collection),
                    "mode": mode.value,
                    "exact": exact,
                },
                encoder=totals["encoder"],
                progress=lambda done, whole: progress.update(task, completed=done, total=whole),
                history_dir=history,
            )
            answered = _ask_all(octavo, dataset, collection, scope, mode, out) if answers else None
    folded = None
    if request is not None:
        folded = run_folds(settings, dataset, request, scope=scope, out=out, mode=mode, exact=exact)
    if common.as_json:
        extra = {"answers": answered, "folds": folded}
        shown = {name: value for name, value in extra.items() if value is not None}
        output.emit({**evaluation.as_dict(), "out": str(out), **shown})
    else:
        output.line(evaluation_report(evaluation))
        if folded is not None:
            output.line(f"\n{folds_report(folded)}")
        if answered is not None:
            output.record({"answers": answered})
        output.note(f"written to {out}")
    return exit_codes.after_ingest(totals["documents"])


def _ask_all(
    octavo: Any, dataset: Dataset, collection: str, scope: Scope, mode: Mode, out: Path
) -> dict[str, Any]:
    """Answers to the counted questions and to those that have none, as `answers.jsonl`."""
    from eval.runs import write_json_lines

    # A question without an answer is always about its document: elsewhere there might be one.
    questions: list[tuple[str, str, list[str] | None]] = [
        *(
            (each.id, each.text, documents_of(each.doc, scope))
            for each in dataset.counted(scope.value)
        ),
        *((each.id, each.text, [each.doc]) for each in dataset.unanswerable),
    ]
    abstained: set[str] = set()

    def rows() -> Iterable[Mapping[str, Any]]:
        for query_id, text, documents in questions:
            result = octavo.ask(
                question=text,
                collection=collection,
                mode=mode.value,
                filters=None,
                documents=documents,
                pages=None,
            )
            if result["abstained"]:
                abstained.add(query_id)
            yield {"id": query_id, **result}

    write_json_lines(out / "answers.jsonl", rows())
    unanswerable = {each.id for each in dataset.unanswerable}
    return {
        "answerable": len(questions) - len(unanswerable),
        "answerable_abstained": len(abstained - unanswerable),
        "unanswerable": len(unanswerable),
        "unanswerable_abstained": len(abstained & unanswerable),
    }


def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="Folder of a run.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Folder of another.")],
    as_json: JsonFlag = False,
) -> None:
    from eval.compare import compare_runs
    from eval.report import comparison_report

    comparison = compare_runs(first, second)
    if as_json:
        output.emit(asdict(comparison))
    else:
        output.line(comparison_report(comparison))


def list_runs(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Where runs are kept.")
    ] = DEFAULT_RUNS,
    as_json: JsonFlag = False,
) -> None:
    from eval.runs import read_json

    runs = [
        {"out": str(found.parent), **read_json(found)}
        for found in sorted(folder.glob("*/measures.json"))
    ]
    runs.sort(key=lambda each: str(each["finished_at"]), reverse=True)
    if as_json:
        output.emit({"runs": runs})
    else:
        report.runs(runs)
