"""`estimate`: what an ingest would cost, before it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from rag.apps.cli import exit_codes, output
from rag.apps.cli.flags import Common, PasswordFile, add_command, opened, password_in
from rag.apps.cli.progress import counting, progress_bar


def register(app: typer.Typer) -> None:
    add_command(
        app,
        estimate,
        name="estimate",
        help_text="Say what an ingest would cost: pages, memory, disk, minutes.",
    )


def estimate(
    common: Common,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="PDFs and folders.")],
    sample: Annotated[
        bool,
        typer.Option(
            "--sample/--no-sample",
            help="Measure a few of these pages, or take rates measured elsewhere.",
        ),
    ] = True,
    password_file: PasswordFile = None,
) -> int:
    with opened(common.settings(), "estimate") as octavo, progress_bar("") as progress:
        result = octavo.estimate(
            paths=[path.absolute() for path in paths],
            sample=sample,
            password=password_in(password_file),
            progress=counting(progress),
        )
    if common.as_json:
        output.emit(result)
    else:
        _print(result)
    return exit_codes.PARTIAL if result["unreadable"] else exit_codes.DONE


def _print(result: Mapping[str, Any]) -> None:
    console = output.open_console()
    for each in result["unreadable"]:
        console.print(
            Text.assemble(
                ("refused  ", "red"),
                (output.clean(each["source"]), "cyan"),
                f"  {output.clean(each['error']['message'])}",
            ),
            soft_wrap=True,
        )
        if each["error"]["next_step"]:
            console.print(f"{'':9}next: {output.clean(each['error']['next_step'])}", soft_wrap=True)
    documents, pages = result["documents"], result["pages"]
    output.record(
        {
            "documents": f"{documents:,}",
            "pages": f"{pages:,}",
            "time": _time(result["minutes"]),
            "memory": _sizes(result["memory_bytes"]),
            "disk": _sizes(result["disk_bytes"]),
            "free": output.size(result["free_bytes"]),
        }
    )
    sample = result["sample"]
    if sample is None:
        measured = "no page was measured: all rates are constants"
    else:
        measured = f"from {sample['pages']} of these pages, measured in {sample['seconds']:.1f} s"
    constants = next(each["measured_on"] for each in result["rates"] if each["from"] == "constant")
    output.note(f"{measured}; constants are from {constants} (--json lists both)")
    output.warnings(result["warnings"])


def _time(minutes: float) -> str:
    if minutes < 2:
        return f"{max(1.0, minutes * 60):.0f} seconds"
    return f"{minutes:.0f} minutes" if minutes < 120 else f"{minutes / 60:.1f} hours"


def _sizes(sizes: Mapping[str, int]) -> str:
    parts = ", ".join(
        f"{name.replace('_', ' ')} {output.size(size)}"
        for name, size in sizes.items()
        if name != "total"
    )
    return f"{output.size(sizes['total'])} ({parts})"
