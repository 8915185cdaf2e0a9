"""A bar on stderr while something long runs: what is done, how fast, how long it will take."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from rag.apps.cli.output import clean, open_console


class _Rate(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f} {self._unit}/s" if task.speed else "", style="dim")


def progress_bar(unit: str) -> Progress:
    """Shown only where stderr is a terminal, and gone when it is done."""
    console: Console = open_console(stderr=True)
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total}", markup=False),
        _Rate(unit),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
        redirect_stdout=False,
    )


def reporting(
    progress: Progress, on_document: Callable[[Mapping[str, Any]], None]
) -> Callable[[Mapping[str, Any]], None]:
    """A handler of an ingest's events: the bar shows those of pages, the rest are handed on."""
    task = progress.add_task("reading", total=None)

    def on_event(event: Mapping[str, Any]) -> None:
        if event["event"] == "progress":
            progress.update(
                task,
                completed=event["pages_done"],
                total=event["pages_total"],
                description=clean(event["source"]),
            )
        else:
            on_document(event)

    return on_event


def counting(progress: Progress) -> Callable[[str, int, int], None]:
    """A handler of `(what, done, whole)`: a bar for each `what`, in the order they begin."""
    tasks: dict[str, TaskID] = {}

    def report(what: str, done: int, whole: int) -> None:
        if what not in tasks:
            tasks[what] = progress.add_task(what, total=whole)
        progress.update(tasks[what], completed=done, total=whole)

    return report
