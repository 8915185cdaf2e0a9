"""`eval compare`: are runs better than another, or was it luck?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from rag.apps.cli import output


def compare(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="A B...",
            help="Folders of runs, or of folders with a run over each of several datasets.",
        ),
    ],
    measures: Annotated[
        list[str] | None,
        typer.Option(
            "--measure",
            metavar="NAME",
            help="Compare by it; may be given several times. Default: those that runs tell.",
        ),
    ] = None,
    baseline: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="What the others are held against. Default: A"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON.")] = False,
) -> None:
    """Two runs over one dataset, or any number of them, over one dataset or several."""
    from eval.answers.compare import ANSWERS, are_answer_runs, compare_answers
    from eval.compare import compare_runs
    from eval.compare_many import SEARCHES, baseline_first, compare_many
    from eval.report import comparison_report, many_compared_report

    runs = baseline_first(folders, baseline)
    # Where a folder is a run itself, runs below it are of something else.
    kinds = [kind for kind in (ANSWERS, SEARCHES) if all(map(kind.is_run, runs))]
    kinds += [kind for kind in (ANSWERS, SEARCHES) if all(map(kind.runs_of, runs))]
    is_of_answers = kinds[0] is ANSWERS if kinds else are_answer_runs(*runs)  # which says why not
    kind = ANSWERS if is_of_answers else SEARCHES
    chosen = tuple(dict.fromkeys(measures or kind.measures))
    if len(runs) > 2 or not all(map(kind.is_run, runs)):
        many = compare_many(runs, kind=kind, measures=chosen)
        if as_json:
            output.emit(many.as_dict())
        else:
            output.line(many_compared_report(many))
        return
    comparison = (compare_answers if is_of_answers else compare_runs)(*runs, measures=chosen)
    if as_json:
        output.emit(asdict(comparison))
    else:
        output.line(comparison_report(comparison))
