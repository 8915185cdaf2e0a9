"""`jobs`: the queue looked at, worked on and steered."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

import typer

from rag.apps.cli import exit_codes, output, report
from rag.apps.cli.flags import Common, add_command, opened
from rag.apps.cli.job_report import job as print_job
from rag.apps.cli.job_report import job_line, jobs_table
from rag.apps.cli.progress import progress_bar, reporting

JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="Its id.")]
JobsArgument = Annotated[list[str], typer.Argument(metavar="JOB...", help="Their ids.")]


class StateFlag(StrEnum):
    """States of jobs."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    DONE = "done"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


def register(app: typer.Typer) -> None:
    jobs = typer.Typer(help="The queue that `ingest --queue` fills.", no_args_is_help=True)
    add_command(jobs, list_jobs, name="list", help_text="List jobs: at work, waiting, then ended.")
    add_command(jobs, show, name="show", help_text="Show one job, document by document.")
    add_command(jobs, run, name="run", help_text="Work on the queue until it is empty.")
    add_command(jobs, pause, name="pause", help_text="Stop jobs for now; what is stored stays.")
    add_command(jobs, resume, name="resume", help_text="Go on with paused jobs.")
    add_command(jobs, cancel, name="cancel", help_text="Stop jobs for good; what is stored stays.")
    add_command(jobs, retry, name="retry", help_text="Do what is missing of jobs that ended.")
    app.add_typer(jobs, name="jobs")


def list_jobs(
    common: Common,
    state: Annotated[StateFlag | None, typer.Option(help="Only jobs in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
) -> None:
    with opened(common.settings(), "jobs list") as octavo:
        result = octavo.list_jobs(state=None if state is None else state.value, limit=limit)
    if common.as_json:
        output.emit(result)
    else:
        jobs_table(result["jobs"])
        if result["n_jobs"] > len(result["jobs"]):
            output.note(f"{result['n_jobs'] - len(result['jobs'])} more; see --limit")


def show(common: Common, job: JobArgument) -> None:
    show_one(common, job, command="jobs show")


def show_one(common: Common, job: str, *, command: str) -> None:
    """Also what `status JOB` prints."""
    with opened(common.settings(), command) as octavo:
        result = octavo.show_job(job=job)
    if common.as_json:
        output.emit(result)
    else:
        print_job(result)


def run(
    common: Common,
    once: Annotated[bool, typer.Option("--once", help="Work on one job.")] = False,
    until_empty: Annotated[
        bool, typer.Option("--until-empty", help="Until no job waits. This is the default.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on and wait for new jobs, until Ctrl-C.")
    ] = False,
) -> int:
    if once + until_empty + watch > 1:
        raise typer.BadParameter("says how long; give one of them", param_hint="--once")
    until = "one" if once else "stopped" if watch else "empty"
    with opened(common.settings(), "jobs run") as octavo, progress_bar("pages") as progress:
        is_shared = sys.stdout.isatty() and progress.console.is_terminal
        console = progress.console if is_shared else output.open_console()

        def on_other(event: Mapping[str, Any]) -> None:
            if common.as_json:
                output.emit(event)
            elif event["event"] == "job":
                job_line(event, console)
            else:
                report.ingested(event, console)

        result = octavo.run_jobs(until=until, on_event=reporting(progress, on_other))
    if common.as_json:
        output.emit({"event": "worked", "n_jobs": len(result["jobs"])})
    elif not result["jobs"]:
        output.note("no job waits")
    return exit_codes.of_several([_code(job) for job in result["jobs"]] or [exit_codes.DONE])


def _code(job: Mapping[str, Any]) -> int:
    if job["state"] == "failed":
        return exit_codes.FAILED
    if job["state"] == "done":
        return exit_codes.after_ingest(job["totals"].get("documents", {}))
    return exit_codes.DONE  # as was asked of it


def pause(common: Common, jobs: JobsArgument) -> None:
    _change(common, jobs, "pause")


def resume(common: Common, jobs: JobsArgument) -> None:
    _change(common, jobs, "resume")


def cancel(common: Common, jobs: JobsArgument) -> None:
    _change(common, jobs, "cancel")


def retry(common: Common, jobs: JobsArgument) -> None:
    _change(common, jobs, "retry")


def _change(common: Common, jobs: list[str], action: str) -> None:
    with opened(common.settings(), f"jobs {action}") as octavo:
        for job in jobs:
            changed = octavo.change_job(job=job, action=action)
            if common.as_json:
                output.emit(changed)
            else:
                job_line(changed, output.open_console())
