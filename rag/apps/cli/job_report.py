"""Jobs for people: a table of many, a line, or all there is of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.text import Text

from rag.apps.cli.output import clean, labelled, open_console, record, table

if TYPE_CHECKING:
    from rich.console import Console

_STYLES = {
    "running": "bold",
    "pausing": "bold",
    "cancelling": "bold",
    "failed": "red",
    "interrupted": "yellow",
    "done": "green",
}


def jobs_table(jobs: Sequence[Mapping[str, Any]]) -> None:
    console = open_console()
    if not jobs:
        console.print("No jobs.")
        return
    right = ("priority", "s")
    shown = table(
        "job", "kind", "collection", "state", "priority", "since", "s", "documents", right=right
    )
    for job in jobs:
        began, ended = job["started_at"], job["finished_at"]
        since = began or job.get("queued_at")
        priority = job.get("priority")
        shown.add_row(
            clean(job["job_id"]),
            job["kind"],
            clean(job.get("collection") or "-"),
            Text(job["state"], style=_STYLES.get(job["state"], "")),
            "-" if priority is None else str(priority),
            "-" if since is None else _time(since),
            "-" if ended is None or began is None else f"{ended - began:.1f}",
            _documents(job),
        )
    console.print(shown)


def job_line(job: Mapping[str, Any], console: Console) -> None:
    """As in `job 1f2e... paused (3 of 10 documents)`."""
    replayed = ", was there already" if job.get("replayed") else ""
    counts = _documents(job)
    console.print(
        Text.assemble(
            f"job {clean(job['job_id'])} ",
            (job["state"], _STYLES.get(job["state"], "")),
            f"{replayed}{f' ({counts})' if counts else ''}",
        ),
        soft_wrap=True,
    )
    if job.get("error"):
        labelled(console, "error", "bold red", job["error"]["message"])


def job(found: Mapping[str, Any]) -> None:
    """Its facts, then its documents."""
    facts = {key: value for key, value in found.items() if key not in ("documents", "totals")}
    for key in ("queued_at", "started_at", "finished_at"):
        facts[key] = None if facts[key] is None else _time(facts[key])
    if found["progress"] is not None:
        facts["progress"] = {
            key: value for key, value in found["progress"].items() if key != "documents"
        }
    record(facts)
    if not found["documents"]:
        return
    shown = table("document", "state", "pages", "failed", "", right=("pages", "failed"))
    for each in found["documents"]:
        reason = clean(each["error"]["message"]) if each["error"] else ""
        row = (clean(each["source"]), each["state"], str(each["pages"]), str(each["failed"]))
        shown.add_row(*row, reason)
    open_console().print(shown)


def _documents(job: Mapping[str, Any]) -> str:
    progress = job.get("progress")
    if job["finished_at"] is None and progress is not None:
        return f"{progress['documents_done']} of {progress['documents_total']} documents"
    counts = (job["totals"] or {}).get("documents") or {}
    return ", ".join(f"{n} {state}" for state, n in counts.items())


def _time(seconds: float) -> str:
    """In the time of here."""
    return f"{datetime.fromtimestamp(seconds).astimezone():%Y-%m-%d %H:%M:%S}"
