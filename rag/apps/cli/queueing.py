"""What commands share that put their work into the queue in place of doing it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from rag.apps.cli import exit_codes, output
from rag.apps.cli.flags import Common

QUEUE_PANEL = "For later"
_LIMIT = 1000  # as the service has it, which is not loaded to print help

QueueFlag = Annotated[
    bool,
    typer.Option(
        "--queue",
        help="Put it into the queue that `octavo jobs run` works on, and return at once.",
        rich_help_panel=QUEUE_PANEL,
    ),
]
PriorityFlag = Annotated[
    int,
    typer.Option(
        "--priority",
        min=-_LIMIT,
        max=_LIMIT,
        help="With --queue: the highest goes first.",
        rich_help_panel=QUEUE_PANEL,
    ),
]
KeyFlag = Annotated[
    str | None,
    typer.Option(
        "--idempotency-key",
        metavar="KEY",
        help="With --queue: the same key again gives the same job back.",
        rich_help_panel=QUEUE_PANEL,
    ),
]


def queued(
    queue: bool, priority: int, idempotency_key: str | None, *, dry_run: bool
) -> dict[str, Any] | None:
    """How it is to be queued, as the client takes it; None where it is to be done at once.

    Raises:
        typer.BadParameter: flags that do not go together.
    """
    if not queue and priority:
        raise typer.BadParameter("wants --queue beside it", param_hint="--priority")
    if not queue and idempotency_key is not None:
        raise typer.BadParameter("wants --queue beside it", param_hint="--idempotency-key")
    if queue and dry_run:
        raise typer.BadParameter("wants no --dry-run beside it", param_hint="--queue")
    return {"priority": priority, "idempotency_key": idempotency_key} if queue else None


def print_queued(common: Common, job: Mapping[str, Any]) -> int:
    """The exit code."""
    from rag.apps.cli.job_report import job_line  # rich, which JSON does without

    if common.as_json:
        output.emit(job)
        return exit_codes.DONE
    job_line(job, output.open_console())
    output.note("octavo jobs run works on it; octavo jobs list shows the queue")
    return exit_codes.DONE
