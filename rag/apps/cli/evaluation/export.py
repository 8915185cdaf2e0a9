"""`eval export`: a run's figures in the form of others."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from rag.apps.cli import output


class Format(StrEnum):
    """Whose form figures take."""

    MTEB = "mteb"


def register(family: typer.Typer) -> None:
    family.command("export", help="A run's figures as mteb and its leaderboards take them.")(export)


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")],
    to: Annotated[Path, typer.Option("-o", "--out", metavar="FILE", help="Where they go.")],
    form: Annotated[Format, typer.Option("--format", help="Whose form.")] = Format.MTEB,
    task: Annotated[
        str | None, typer.Option(metavar="NAME", help="mteb's task. Default: as the set is named.")
    ] = None,
    main_score: Annotated[
        str | None,
        typer.Option(metavar="SCORE", help="As ndcg_at_10. Default: the set's main measure."),
    ] = None,
    subset: Annotated[str, typer.Option(help="Of the task.")] = "default",
    split: Annotated[str, typer.Option(help="Of the task.")] = "test",
    languages: Annotated[
        list[str] | None,
        typer.Option(
            "--language",
            metavar="CODE",
            help="Repeatable. Default: as questions are grouped, else und",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON.")] = False,
) -> None:
    from eval.mteb_export import Named, export_run
    from eval.runs import write_atomically

    assert form is Format.MTEB  # the only one there is
    named = Named(task, subset, split, tuple(languages or ()), main_score)
    result = export_run(run, named)
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(to, json.dumps(result, indent=2) + "\n")
    except OSError as error:
        raise typer.BadParameter(
            f"{str(to)!r} cannot be written: {error.strerror}", param_hint="-o"
        ) from error
    if as_json:
        output.emit({"out": str(to), **result})
    else:
        (scores,) = result["scores"][split]
        output.line(f"{result['task_name']}: main score {scores['main_score']:.4f}")
        output.note(f"written to {to}")
