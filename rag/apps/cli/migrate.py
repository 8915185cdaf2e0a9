"""`migrate`: a collection made again by another encoder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rag.apps.cli import exit_codes, output, report
from rag.apps.cli.flags import (
    Common,
    PasswordFile,
    add_command,
    encoder_override,
    opened,
    password_in,
    setting_values,
)
from rag.apps.cli.progress import progress_bar
from rag.apps.cli.write import reporter

if TYPE_CHECKING:
    from rag.settings import Settings


def register(app: typer.Typer) -> None:
    add_command(
        app,
        migrate,
        name="migrate",
        help_text="Encode a collection again with another encoder, and switch when all is done.",
    )


def migrate(
    common: Common,
    to_encoder: Annotated[
        str | None,
        typer.Option(metavar="NAME[:MODEL]", help="The encoder to change to."),
    ] = None,
    to_config: Annotated[
        Path | None, typer.Option(help="Settings file (TOML) to change to.")
    ] = None,
    abandon: Annotated[
        bool, typer.Option("--abandon", help="Delete what an unfinished migration has made.")
    ] = False,
    password_file: PasswordFile = None,
) -> int:
    if abandon:
        with opened(common.settings(), "migrate") as octavo:
            result = octavo.abandon_migration(collection=common.collection)
        _show(common, result)
        return exit_codes.DONE
    if to_encoder is None and to_config is None:
        raise typer.BadParameter(
            "name what to change to: --to-encoder or --to-config", param_hint="--to-encoder"
        )
    settings, target = common.settings(), _target(common, to_encoder, to_config)
    with opened(settings, "migrate") as octavo, progress_bar("pages") as progress:
        is_shared = sys.stdout.isatty() and progress.console.is_terminal
        console = progress.console if is_shared else output.open_console()
        result = octavo.migrate(
            target,
            collection=common.collection,
            password=password_in(password_file),
            on_event=reporter(progress, console, as_json=common.as_json),
        )
    if common.as_json:
        output.emit(result)
    else:
        report.migrated(result)
        output.warnings(result["warnings"])
    return exit_codes.DONE if result["switched"] else exit_codes.FAILED


def _target(common: Common, to_encoder: str | None, to_config: Path | None) -> Settings:
    """The settings to change to: the file named, or the present ones, with the encoder named."""
    from rag.settings import load_settings, merged, nested

    overrides: dict[str, Any] = nested(setting_values(common.sets or []))
    if to_encoder is not None:
        overrides = merged(overrides, {"encoder": encoder_override(to_encoder)})
    return load_settings(to_config or common.config, overrides=overrides)


def _show(common: Common, result: dict[str, Any]) -> None:
    if common.as_json:
        output.emit(result)
    else:
        output.record(result)
