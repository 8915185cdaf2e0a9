"""`models`: weights of encoders, for machines that reach no hub."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from rag.apps.cli import output
from rag.apps.cli.flags import Common, add_command


def register(app: typer.Typer) -> None:
    models = typer.Typer(no_args_is_help=True)
    add_command(
        models,
        check,
        name="check",
        help_text="Load the encoder of the settings, hold it to its self-test, and time it.",
    )
    models.command("pull", help="Fetch a model into a folder that can be carried elsewhere.")(pull)
    app.add_typer(models, name="models", help="Weights of encoders.")


def pull(
    model: Annotated[
        str, typer.Argument(metavar="ID", help="On the hub, as vidore/colqwen2.5-v0.2.")
    ],
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="Folder to put it in.")],
    revision: Annotated[
        str | None, typer.Option(help="Commit, branch or tag. Default: the main branch.")
    ] = None,
    code: Annotated[
        bool,
        typer.Option(
            "--with-code", help="Also the code that lives with the weights (some models need it)."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON.")] = False,
) -> None:
    from tqdm.auto import tqdm

    from rag.encoders.hub import pull as pull_model

    shows = sys.stderr.isatty() and not as_json
    pulled = pull_model(
        model, to, revision=revision, code=code, progress=tqdm if shows else silent_bar()
    )
    if as_json:
        output.emit(pulled.as_dict())
        return
    size = pulled.size_bytes + (0 if pulled.base is None else pulled.base.size_bytes)
    output.line(f"{output.clean(model)} at {pulled.revision}: {size / 1e9:.2f} GB in {to}")
    output.note(f"use it with --encoder colpali:{to} (or dense:{to})")


def check(common: Common) -> None:
    from rag.apps.model_check import check_encoder

    result = check_encoder(common.settings().encoder)
    if common.as_json:
        output.emit(result)
    else:
        output.record(result)
        output.note("the self-test held")


def silent_bar() -> type:
    from tqdm import tqdm

    class Silent(tqdm):  # type: ignore[misc]  # its types are not installed; it shows a bar unless told
        def __init__(self, *args: object, **options: object) -> None:
            super().__init__(*args, **{**options, "disable": True})

    return Silent
