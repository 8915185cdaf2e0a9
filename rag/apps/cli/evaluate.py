"""`eval run`, `compare` and `list`: how good the search is on questions with gold pages."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rag.apps.cli import exit_codes, output, report
from rag.apps.cli.answering import Answerer
from rag.apps.cli.answers import AnswerRun, answered_by, run_answers
from rag.apps.cli.dataset_runs import (
    DEFAULT_RUNS,
    Scope,
    bring_up_to_date,
    search,
    what_could_matter,
)
from rag.apps.cli.flags import Common, Mode, ModeFlag, add_command, as_usage, made_folder, opened
from rag.apps.cli.folding import FoldRequest, check_axes, checked_measure, dealt, run_folds
from rag.apps.cli.progress import progress_bar
from rag.apps.cli.sweep import AxisFlag, parsed_axes, sweep

if TYPE_CHECKING:
    from eval.answer_evaluation import AnswerPlan
    from eval.datasets import Dataset, Query
    from eval.run_eval import Found

DEFAULT_HISTORY = Path("eval/history")  # of a checkout; an installed Octavo keeps none by itself

_FOLDS_PANEL = "Choosing settings"
_ANSWERS_PANEL = "Answers"

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
        bool,
        typer.Option(
            "--answers",
            help="Ask for answers and measure them, in place of the search.",
            rich_help_panel=_ANSWERS_PANEL,
        ),
    ] = False,
    oracle_pages: Annotated[
        bool,
        typer.Option(
            "--oracle-pages",
            help="Answer each question from its gold pages, without a search.",
            rich_help_panel=_ANSWERS_PANEL,
        ),
    ] = False,
    answerer: Annotated[
        Answerer | None,
        typer.Option(help="Who answers. Default: answer.model", rich_help_panel=_ANSWERS_PANEL),
    ] = None,
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
            help="Choose the settings of --axis, or the threshold of --answers, on all but one "
            "N-th of the documents, measure on that one, and so on.",
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
    from eval.answer_evaluation import AnswerPlan
    from eval.datasets import load_dataset
    from eval.report import evaluation_report, folds_report
    from eval.run_eval import evaluate
    from eval.sweep_plan import collection_name

    settings = common.settings()
    if not answers:
        for given, flag in ((oracle_pages, "--oracle-pages"), (answerer, "--answerer")):
            if given:
                raise typer.BadParameter("it is for --answers", param_hint=flag)
    elif axes or exact:
        raise typer.BadParameter(
            "it is for measuring the search", param_hint="--axis" if axes else "--exact"
        )
    request = None
    if folds is not None and not answers:
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
    out = out or DEFAULT_RUNS / f"{dataset.name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    # Measures are over exactly the documents of the dataset, so they get a collection of their own.
    collection = common.collection
    if collection == "default":
        collection = collection_name(dataset.name, settings)
    if answers:
        settings = answered_by(settings, answerer)
        return _answers(
            AnswerRun(settings, collection, out, mode, history),
            dataset,
            AnswerPlan(
                scope=scope.value,
                threshold=settings.answer.min_confidence,
                oracle_pages=oracle_pages,
                limit=limit,
                folds=folds,
                seed=seed,
                by_name=group_by_name,
            ),
            as_json=common.as_json,
        )
    if limit is not None:
        dataset = dataset.first(limit, scope.value)
    if request is not None:
        dealt(dataset, scope, request)  # refused before minutes of asking
    _made(out, history)
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
    folded = None
    if request is not None:
        folded = run_folds(settings, dataset, request, scope=scope, out=out, mode=mode, exact=exact)
    if common.as_json:
        extra = {} if folded is None else {"folds": folded}
        output.emit({**evaluation.as_dict(), "out": str(out), **extra})
    else:
        output.line(evaluation_report(evaluation))
        if folded is not None:
            output.line(f"\n{folds_report(folded)}")
        output.note(f"written to {out}")
    return exit_codes.after_ingest(totals["documents"])


def _made(out: Path, history: Path | None) -> None:
    """The folders a run writes to; refused before minutes of asking."""
    made_folder(out, flag="--out")
    if history is not None:
        made_folder(history, flag="--history")


def _answers(run: AnswerRun, dataset: Dataset, plan: AnswerPlan, *, as_json: bool) -> int:
    from eval.answer_evaluation import deal
    from eval.answer_report import answer_folds_report, answers_report

    deal(dataset, plan)  # refused before minutes of asking
    _made(run.out, run.history)
    figures, totals = run_answers(run, dataset, plan)
    if as_json:
        output.emit({**figures, "out": str(run.out)})
    else:
        output.line(answers_report(figures))
        if plan.folds is not None:
            output.line(f"\n{answer_folds_report(figures['folds'])}")
        output.note(f"written to {run.out}")
    if figures["errors"]:
        return exit_codes.PARTIAL
    return exit_codes.after_ingest(totals["documents"])


def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="Folder of a run.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Folder of another.")],
    as_json: JsonFlag = False,
) -> None:
    from eval.answer_compare import are_answer_runs, compare_answers
    from eval.compare import compare_runs
    from eval.report import comparison_report

    is_of_answers = are_answer_runs(first, second)
    comparison = (compare_answers if is_of_answers else compare_runs)(first, second)
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
