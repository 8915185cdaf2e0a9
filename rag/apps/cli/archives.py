"""`export`, `import`, `snapshot` and `collections`: collections as a whole."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rag.apps.cli import exit_codes, output, report
from rag.apps.cli.flags import Common, add_command, add_group, opened
from rag.apps.cli.progress import progress_bar, reporting
from rag.apps.cli.write import reporter

if TYPE_CHECKING:
    from collections.abc import Mapping

_ArchiveFile = Annotated[Path, typer.Argument(metavar="FILE", help="As archive.tar.")]


def register(app: typer.Typer) -> None:
    add_command(app, export, name="export", help_text="Write a collection to one file.")
    add_command(
        app, import_, name="import", help_text="Bring an exported collection in; encode nothing."
    )
    add_command(app, snapshot, name="snapshot", help_text="Copy the data folder while it is used.")
    group = add_group(app, collections, name="collections", help_text="List or drop collections.")
    add_command(group, drop, name="drop", help_text="Delete a collection and all that is in it.")


def export(common: Common, file: _ArchiveFile) -> int:
    with opened(common.settings(), "export") as octavo, progress_bar("pages") as progress:
        result = octavo.export(
            file, collection=common.collection, on_event=reporting(progress, lambda _: None)
        )
    _print(common, result)
    if not common.as_json and result["skipped"]:
        output.note(f"Replaced or deleted meanwhile: {', '.join(result['skipped'])}")
    return exit_codes.PARTIAL if result["skipped"] else exit_codes.DONE


def import_(
    common: Common,
    file: _ArchiveFile,
    into: Annotated[
        str | None,
        typer.Option("--into", metavar="NAME", help="Collection; default the one exported."),
    ] = None,
) -> int:
    with opened(common.settings(), "import") as octavo, progress_bar("pages") as progress:
        is_shared = sys.stdout.isatty() and progress.console.is_terminal
        console = progress.console if is_shared else output.open_console()
        totals = octavo.import_archive(
            file,
            collection=into,
            on_event=reporter(progress, console, as_json=common.as_json),
        )
    if common.as_json:
        output.emit(totals)
    else:
        report.totals(totals)
        output.warnings(totals["warnings"])
    return exit_codes.after_ingest(totals["documents"])


def snapshot(
    common: Common,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Made by this command.")],
) -> None:
    with opened(common.settings(), "snapshot") as octavo:
        _print(common, octavo.snapshot(folder))


def collections(common: Common, context: typer.Context) -> None:
    if context.invoked_subcommand is not None:
        return
    with opened(common.settings(), "collections") as octavo:
        result = octavo.collections()
    if common.as_json:
        output.emit(result)
    else:
        report.collections(result)


def drop(
    common: Common,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the collection.")],
    is_sure: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> int:
    with opened(common.settings(), "collections drop") as octavo:
        if not is_sure and not _agreed(octavo.collections(only=name), name):
            return exit_codes.FAILED
        result = octavo.drop_collection(name)
    _print(common, result)
    return exit_codes.FAILED if any(result["left"].values()) else exit_codes.DONE


def _agreed(found: Mapping[str, Any], name: str) -> bool:
    if not sys.stdin.isatty():
        raise typer.BadParameter("without a terminal to ask on, say --yes")
    for each in found["collections"]:
        if each["name"] == name:
            return typer.confirm(
                f"Delete {each['documents']} documents with {each['pages']} pages in {name!r}?",
                err=True,
            )
    return True  # what is wrong with the name is told by what comes next


def _print(common: Common, result: Mapping[str, Any]) -> None:
    if common.as_json:
        output.emit(result)
    else:
        output.record(result)
