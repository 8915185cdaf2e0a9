"""`eval run`: how good the search, or the answers, are on questions with gold pages."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Annotated

import typer

from rag.apps.cli import exit_codes, output
from rag.apps.cli.answering import Answerer
from rag.apps.cli.evaluation.answers import ANSWER_CACHE, AnswerRun, answered_by, run_answers
from rag.apps.cli.evaluation.dataset_runs import DEFAULT_CACHE, DEFAULT_RUNS, Scope, ended
from rag.apps.cli.evaluation.folding import (
    FoldRequest,
    check_axes,
    checked_measure,
    dealt,
    run_folds,
)
from rag.apps.cli.evaluation.prices import PriceCached, PriceCompletion, PricePrompt, prices_asked
from rag.apps.cli.evaluation.search_runs import SearchRun, run_search
from rag.apps.cli.evaluation.sweep import AxisFlag, parsed_axes
from rag.apps.cli.flags import Common, Mode, ModeFlag, as_usage, made_folder

if TYPE_CHECKING:
    from eval.answers.evaluation import AnswerPlan
    from eval.datasets.folder import Dataset
    from rag.settings import Settings
    from rag.types import Json

DEFAULT_HISTORY = Path("eval/history")  # of a checkout; an installed Octavo keeps none by itself

_FOLDS_PANEL = "Choosing settings"
_ANSWERS_PANEL = "Answers"


def run(
    common: Common,
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER",
            help="With docs/, queries.jsonl and qrels.tsv, or with such folders in it.",
        ),
    ],
    scope: Annotated[
        Scope | None,
        typer.Option(help="Where each question is asked. Default: as its authors, else corpus"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where the run goes. Default: eval-runs/NAME-TIME"),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Ask only the first N questions.")
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, max=64, metavar="N", help="Questions asked at a time.")
    ] = 1,
    cache: Annotated[
        bool,
        typer.Option(help="Take over what was answered before under the same settings."),
    ] = True,
    writes_report: Annotated[
        bool,
        typer.Option(
            "--report/--no-report",
            help="Write report.html beside the figures, with the worst questions.",
        ),
    ] = True,
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
    price_prompt: PricePrompt = None,
    price_completion: PriceCompletion = None,
    price_cached: PriceCached = None,
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
        str | None,
        typer.Option(
            metavar="NAME",
            help="By which settings are chosen. Default: nDCG@10",
            rich_help_panel=_FOLDS_PANEL,
        ),
    ] = None,
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
    from eval.answers.evaluation import AnswerPlan
    from eval.datasets.folder import dataset_folders, load_dataset
    from eval.tuning.sweep_plan import collection_name

    settings = common.settings()
    request = None
    if answers:
        _refused({"--axis": axes, "--exact": exact, "--measure": measure}, "it is for searches")
        settings = answered_by(settings, answerer)
    else:
        prices = {"--price-prompt": price_prompt, "--price-completion": price_completion}
        of_answers = {"--oracle-pages": oracle_pages, "--answerer": answerer, **prices}
        _refused({**of_answers, "--price-cached": price_cached}, "it is for --answers")
        request = _folds_asked(settings, common, folds, axes, measure, seed, group_by_name)
    if history is None and DEFAULT_HISTORY.is_dir():
        history = DEFAULT_HISTORY
    datasets = [load_dataset(each) for each in dataset_folders(folder)]
    if len(datasets) > 1 and common.collection != "default":
        raise typer.BadParameter("each part of a set has a collection of its own", param_hint="-c")
    out = out or DEFAULT_RUNS / f"{folder.resolve().name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"

    def part_of(dataset: Dataset) -> _Searches | _Answers:
        place = out if len(datasets) == 1 else out / dataset.name
        asked_in = scope or Scope(dataset.origin.scope if dataset.origin else "corpus")
        # Measures are over exactly the documents of the dataset: it gets a collection of its own.
        collection = common.collection
        if collection == "default":
            collection = collection_name(dataset.name, settings)
        if not answers:
            search_run = SearchRun(
                settings,
                collection,
                place,
                asked_in,
                mode,
                exact=exact,
                history=history,
                cache=DEFAULT_CACHE if cache else None,
                workers=workers,
                writes_report=writes_report,
            )
            asked = dataset if limit is None else dataset.first(limit, asked_in.value)
            return _Searches(search_run, asked, request)
        plan = AnswerPlan(
            scope=asked_in.value,
            threshold=settings.answer.min_confidence,
            oracle_pages=oracle_pages,
            limit=limit,
            folds=folds,
            seed=seed,
            by_name=group_by_name,
        )
        answer_run = AnswerRun(
            settings,
            collection,
            place,
            mode,
            history=history,
            workers=workers,
            cache=ANSWER_CACHE if cache else None,
            prices=prices_asked(price_prompt, price_completion, price_cached),
            writes_report=writes_report,
        )
        return _Answers(answer_run, dataset, plan)

    parts = [part_of(dataset) for dataset in datasets]
    for part in parts:  # refused before minutes of asking
        part.check()
    for part in parts:
        _made(part.run.out, history)
    told, codes = zip(*(part.measured(tells=not common.as_json) for part in parts), strict=True)
    return _told_together(told, codes, out, as_json=common.as_json)


def _refused(flags: Mapping[str, object], why: str) -> None:
    """Raises typer.BadParameter for the first of these flags that is given."""
    for flag, given in flags.items():
        if given is not None and given is not False:
            raise typer.BadParameter(why, param_hint=flag)


def _folds_asked(
    settings: Settings,
    common: Common,
    n_folds: int | None,
    axes: list[str] | None,
    measure: str | None,
    seed: int,
    by_name: bool,
) -> FoldRequest | None:
    """Raises typer.BadParameter for flags of folds without folds, or with a collection."""
    if n_folds is None:
        _refused({"--axis": axes}, "values are chosen by --folds; eval sweep compares them")
        _refused({"--measure": measure}, "it is for --folds")
        return None
    if common.collection != "default":
        raise typer.BadParameter("--folds names its collections itself", param_hint="-c")
    parsed = parsed_axes(axes or [])
    request = FoldRequest(n_folds, parsed, checked_measure(measure or "nDCG@10"), seed, by_name)
    with as_usage("--axis"):
        check_axes(settings, parsed)
    return request


@dataclass(frozen=True)
class _Searches:
    """A dataset to be searched for; with folds, where they are asked for."""

    run: SearchRun
    dataset: Dataset
    folds: FoldRequest | None

    def check(self) -> None:
        """Raises InputError for what could only fail: no question, too few documents, or a folder
        with answers over another dataset.
        """
        from eval.answers.evaluation import MEASURES_FILE as ANSWERS_FILE
        from eval.datasets.folder import no_question
        from eval.questions import check_same_questions

        check_same_questions(self.run.out / ANSWERS_FILE, self.dataset)
        if not self.dataset.counted(self.run.scope.value):
            raise no_question(self.dataset, self.run.scope.value)
        if self.folds is not None:
            dealt(self.dataset, self.run.scope, self.folds)

    def measured(self, *, tells: bool) -> tuple[Json, int]:
        """The figures, and the exit code; told as text where `tells`."""
        from eval.report import evaluation_report, folds_report

        evaluation, totals = run_search(self.run, self.dataset)
        figures = {**evaluation.as_dict(), "out": str(self.run.out)}
        if tells:
            output.line(evaluation_report(evaluation))
        if self.folds is not None:
            figures["folds"] = run_folds(
                self.run.settings,
                self.dataset,
                self.folds,
                scope=self.run.scope,
                out=self.run.out,
                mode=self.run.mode,
                exact=self.run.exact,
            )
            if tells:
                output.line(f"\n{folds_report(figures['folds'])}")
        return figures, ended(totals, evaluation.notices)


@dataclass(frozen=True)
class _Answers:
    """A dataset to be asked for answers."""

    run: AnswerRun
    dataset: Dataset
    plan: AnswerPlan

    def check(self) -> None:
        """Raises InputError for what could only fail: no question, too few documents, or a folder
        with searches over another dataset.
        """
        from eval.answers.evaluation import deal
        from eval.questions import check_same_questions
        from eval.run_list import SEARCHES_FILE

        check_same_questions(self.run.out / SEARCHES_FILE, self.dataset)
        deal(self.dataset, self.plan)

    def measured(self, *, tells: bool) -> tuple[Json, int]:
        """The figures, and the exit code; told as text where `tells`."""
        from eval.answers.report import answer_folds_report, answers_report

        figures, totals = run_answers(self.run, self.dataset, self.plan)
        if tells:
            output.line(answers_report(figures))
            if self.plan.folds is not None:
                output.line(f"\n{answer_folds_report(figures['folds'])}")
        code = exit_codes.PARTIAL if figures["errors"] else ended(totals, figures["notices"])
        return {**figures, "out": str(self.run.out)}, code


def _told_together(told: Sequence[Json], codes: Sequence[int], out: Path, *, as_json: bool) -> int:
    """What is said of all parts at once, which are written to `parts.json` where there are several.

    Of searches that is also the mean over the parts, each as heavy as any other.
    """
    from eval.report import parts_report
    from eval.runs import write_atomically

    if len(told) == 1:
        shown = told[0]
    else:
        macro = {
            name: fmean(each["measures"][name] for each in told)
            for name in told[0].get("measures", ())
        }
        shown = {"parts": told, "macro": macro, "out": str(out)}
        write_atomically(out / "parts.json", json.dumps(shown, indent=2, ensure_ascii=False))
        if macro and not as_json:
            output.line(f"\n{parts_report(told, macro)}")
    if as_json:
        output.emit(shown)
    else:
        output.note(f"written to {out}")
    return exit_codes.of_several(codes)


def _made(out: Path, history: Path | None) -> None:
    """The folders a run writes to; refused before minutes of asking."""
    made_folder(out, flag="--out")
    if history is not None:
        made_folder(history, flag="--history")
