"""`octavo eval`: its commands, and the list of the runs they left."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rag.apps.cli import exit_codes, output
from rag.apps.cli.evaluation import arms, export, judge, limit, make, prepare, report, unidoc
from rag.apps.cli.evaluation.compare import compare
from rag.apps.cli.evaluation.dataset_runs import DEFAULT_RUNS
from rag.apps.cli.evaluation.run import run
from rag.apps.cli.evaluation.sweep import sweep
from rag.apps.cli.flags import add_command
from rag.apps.cli.report import runs as told_runs

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
    family.command("compare", help="Are runs better than the first, or was it luck?")(compare)
    family.command("list", help="List runs of searches and of answers, newest first.")(list_runs)
    for commands in (prepare, limit, unidoc, arms, judge, make, report, export):
        commands.register(family)
    app.add_typer(family, name="eval")


def list_runs(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Where runs are kept.")
    ] = DEFAULT_RUNS,
    as_json: JsonFlag = False,
) -> int:
    """Of a set of several parts the mean over them; of answers the share that is right and cites a
    gold page, of the questions that can be judged by a rule.
    """
    from eval.run_list import listed_runs

    listed = listed_runs(folder)
    told = [
        {"code": "damaged_run", "message": f"{run} is left out: {message}"}
        for run, message in listed.damaged.items()
    ]
    if as_json:
        output.emit({"runs": listed.runs, "warnings": told})
    else:
        output.warnings(told)
        told_runs(listed.runs, folder)
    return exit_codes.PARTIAL if told else exit_codes.DONE
