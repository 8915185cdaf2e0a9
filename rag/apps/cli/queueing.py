"""What commands share that put their work into the queue in place of doing it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from rag.apps.cli import output
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


def is_for_queue(queue: bool, priority: int, idempotency_key: str | None) -> bool:
    """Raises typer.BadParameter for a flag that says nothing without `--queue`."""
    if not queue and priority:
        raise typer.BadParameter("wants --queue beside it", param_hint="--priority")
    if not queue and idempotency_key is not None:
        raise typer.BadParameter("wants --queue beside it", param_hint="--idempotency-key")
    return queue


def print_queued(common: Common, job: Mapping[str, Any]) -> None:
    from rag.apps.cli.job_report import job_line  # rich, which JSON does without

    if common.as_json:
        output.emit(job)
        return
    job_line(job, output.open_console())
    output.note("octavo jobs run works on it; octavo jobs list shows the queue")
