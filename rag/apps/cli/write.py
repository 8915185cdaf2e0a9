"""`ingest` and `rm`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rag.apps.cli import exit_codes, output, report
from rag.apps.cli.flags import (
    Common,
    PasswordFile,
    add_command,
    assignments,
    opened,
    password_in,
)
from rag.apps.cli.progress import progress_bar, reporting
from rag.apps.cli.queueing import KeyFlag, PriorityFlag, QueueFlag, print_queued, queued

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

MetadataFlag = Annotated[
    list[str] | None,
    typer.Option("--metadata", metavar="KEY=VALUE", help="Kept with each page. Repeatable."),
]
ReadersFlag = Annotated[
    list[str] | None,
    typer.Option("--readers", metavar="user:ID|group:NAME|*", help="Who may read. Repeatable."),
]
ForceFlag = Annotated[
    bool, typer.Option("--force", help="Read and encode again what is unchanged.")
]
RetryFailedFlag = Annotated[
    bool,
    typer.Option("--retry-failed", help="Read again what is unchanged and has failed pages."),
]
DryRunFlag = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")
]


def register(app: typer.Typer) -> None:
    add_command(app, ingest, name="ingest", help_text="Read PDFs and folders into a collection.")
    add_command(app, rm, name="rm", help_text="Delete documents and say what is left of them.")


def ingest(
    common: Common,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="PDFs and folders.")],
    metadata: MetadataFlag = None,
    readers: ReadersFlag = None,
    force: ForceFlag = False,
    retry_failed: RetryFailedFlag = False,
    dry_run: DryRunFlag = False,
    password_file: PasswordFile = None,
    queue: QueueFlag = False,
    priority: PriorityFlag = 0,
    idempotency_key: KeyFlag = None,
) -> int:
    files = [path.absolute() for path in paths]
    fixed: dict[str, Any] = {
        "collection": common.collection,
        "metadata": dict(assignments(metadata or [], flag="--metadata")),
        "readers": readers or None,
        "force": force,
        "retry_failed": retry_failed,
    }
    if later := queued(queue, priority, idempotency_key, dry_run=dry_run):
        later["password_file"] = None if password_file is None else str(password_file.absolute())
        with opened(common.settings(), "ingest --queue") as octavo:
            job = octavo.enqueue_ingest(files, **fixed, **later)
        return print_queued(common, job)
    fixed |= {"dry_run": dry_run, "password": password_in(password_file)}
    with opened(common.settings(), "ingest") as octavo:
        totals = with_progress(common, partial(octavo.ingest, paths=files, **fixed))
    return ended(common, totals)


def rm(
    common: Common,
    documents: Annotated[list[str], typer.Argument(metavar="DOC...", help="Sources or ids.")],
) -> int:
    with opened(common.settings(), "rm") as octavo:
        result = octavo.delete(documents=documents, collection=common.collection)
    if common.as_json:
        output.emit(result)
    else:
        output.record(result)
    return exit_codes.FAILED if any(result["left"].values()) else exit_codes.DONE


def with_progress(common: Common, work: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """The totals of work that tells `on_event` of its documents and pages."""
    with progress_bar("pages") as progress:
        # On one terminal the lines go above the bar, which only the bar's own console can do.
        is_shared = sys.stdout.isatty() and progress.console.is_terminal
        console = progress.console if is_shared else output.open_console()
        return work(on_event=reporter(progress, console, as_json=common.as_json))


def ended(common: Common, totals: dict[str, Any]) -> int:
    """Show the totals; the exit code."""
    if common.as_json:
        output.emit(totals)
    else:
        report.totals(totals)
        output.warnings(totals.get("warnings", []))
    if any(totals.get("left", {}).values()):
        return exit_codes.FAILED
    return exit_codes.after_ingest(totals["documents"])


def reporter(
    progress: Progress, console: Console, *, as_json: bool
) -> Callable[[Mapping[str, Any]], None]:
    """Documents as lines, pages as progress."""

    def on_document(event: Mapping[str, Any]) -> None:
        if as_json:
            output.emit(event)
        else:
            report.ingested(event, console)

    return reporting(progress, on_document)
