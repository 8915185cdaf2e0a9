"""`verify` and `repair`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from rag.apps.cli import exit_codes, output
from rag.apps.cli.flags import Common, add_command, opened
from rag.apps.cli.progress import counting, progress_bar

_SHOWN = 50  # findings; --json has them all


def register(app: typer.Typer) -> None:
    add_command(
        app,
        verify,
        name="verify",
        help_text="Read the data folder from end to end, and name all that is damaged.",
    )
    add_command(
        app,
        repair,
        name="repair",
        help_text="Restore what is damaged from what is intact, and encode the rest again.",
    )


def verify(
    common: Common,
    deep: Annotated[
        bool,
        typer.Option(
            "--deep/--quick", help="Read every record too, or files and the manifest alone."
        ),
    ] = True,
) -> int:
    with opened(common.settings(), "verify") as octavo, progress_bar("bytes") as progress:
        result = octavo.verify(deep=deep, progress=counting(progress))
    if common.as_json:
        output.emit(result)
    else:
        _show_checked(result["checked"])
        _show("damaged", result["damage"])
        _tell(result)
        output.line("Everything is as it was written." if result["ok"] else _n_damaged(result))
    return exit_codes.DONE if result["ok"] else exit_codes.FAILED


def repair(
    common: Common,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what is damaged and what would mend it.")
    ] = False,
) -> int:
    with opened(common.settings(), "repair") as octavo, progress_bar("bytes") as progress:
        result = octavo.repair(dry_run=dry_run, progress=counting(progress))
    if common.as_json:
        output.emit(result)
    elif dry_run:
        _show("damaged", result["damage"])
        _tell(result)
    else:
        _show_checked(result["checked"])
        _show("found", result["found"])
        output.line(
            f"{len(result['restored'])} files put back, {len(result['set_aside'])} set aside in "
            f"damaged/, {result['records_made_again']} pages encoded again."
        )
        _show("left", result["left"])
    if dry_run:
        return exit_codes.DONE
    return exit_codes.DONE if result["ok"] else exit_codes.PARTIAL


def _show_checked(checked: Mapping[str, Any]) -> None:
    output.line(
        f"Checked {checked['files']} files ({output.size(checked['bytes'])}), "
        f"{checked['documents']} documents, {checked['pages']} pages, {checked['records']} records "
        f"in {checked['seconds']:.1f} s."
    )


def _show(label: str, found: list[Mapping[str, Any]]) -> None:
    console = output.open_console()
    for each in found[:_SHOWN]:
        where = f" (collection {each['collection']})" if each["collection"] else ""
        output.labelled(console, label, "red", f"{each['message']}{where}")
        if each["pages"]:
            pages = ", ".join(map(str, each["pages"][:_SHOWN]))
            output.labelled(console, "  pages", "dim", pages)
        output.labelled(console, "  next", "dim", each["repair"])
    if len(found) > _SHOWN:
        output.line(f"... and {len(found) - _SHOWN} more; --json lists them all.")


def _tell(result: Mapping[str, Any]) -> None:
    for said in result["notes"]:
        output.note(said)
    if unknown := result["unknown_files"]:
        more = f" and {len(unknown) - 3} more" if len(unknown) > 3 else ""
        output.note(f"Files that nobody knows: {', '.join(unknown[:3])}{more}.")


def _n_damaged(result: Mapping[str, Any]) -> str:
    n_found = len(result["damage"])
    noun = "finding" if n_found == 1 else "findings"
    return f"{n_found} {noun}. `octavo repair` mends what can be mended."
