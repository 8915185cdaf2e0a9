"""The commands put together, and every way a command can end turned into an exit code.

0 done, 1 failed, 2 usage, 3 partial, 130 interrupted.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Sequence
from types import FrameType
from typing import Annotated

import typer

from rag.apps.cli import (
    answering,
    archives,
    estimate,
    exit_codes,
    jobs,
    lifecycle,
    look,
    migrate,
    models,
    output,
    read,
    streams,
    tune,
    upkeep,
    write,
)
from rag.apps.cli.evaluation import family as evaluation
from rag.errors import RagError

app = typer.Typer(
    name="octavo",
    help="Ask questions of PDFs and get answers with checked page citations.",
    epilog="Start with: octavo ingest FOLDER, then: octavo ask QUESTION",
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        from importlib.metadata import version as installed_version

        output.line(f"octavo {installed_version('octavo')}")
    elif context.invoked_subcommand is None:
        context.get_help()  # rich prints it


for family in (
    write,
    lifecycle,
    read,
    answering,
    look,
    upkeep,
    jobs,
    archives,
    estimate,
    tune,
    migrate,
    models,
    evaluation,
):
    family.register(app)


def run(arguments: Sequence[str]) -> int:
    """Run one command.

    Returns:
        The exit code.
    """
    with _Interrupts() as interrupts:
        return _run(arguments, interrupts)


def _run(arguments: Sequence[str], interrupts: _Interrupts) -> int:
    as_json = "--json" in arguments
    streams.prepare()
    try:
        ended = typer.main.get_command(app).main(
            list(arguments), prog_name="octavo", standalone_mode=False
        )
        sys.stdout.flush()
    except typer.TyperException as error:
        output.error(
            {
                "code": "usage",
                "message": error.format_message(),
                "next_step": _quoting(arguments, error) + _help(arguments),
            },
            as_json=as_json,
        )
        return error.exit_code
    except RagError as error:
        if interrupts.seen:
            return _interrupted(arguments)
        output.error(error.as_dict(), as_json=as_json)
        return exit_codes.FAILED
    except exit_codes.Interrupted as interrupted:
        return _interrupted(arguments, interrupted.next_step)
    except KeyboardInterrupt:
        return _interrupted(arguments)
    except BrokenPipeError:
        streams.point_away()  # whoever read stdout has seen enough
        return exit_codes.FAILED
    except Exception as error:  # the last resort: one line for people, the traceback on request
        if interrupts.seen:
            return _interrupted(arguments)
        if isinstance(error, OSError) and (why := streams.why_unwritable()) is not None:
            return _unwritable(why, as_json=as_json)
        # A fault of ours, said in one line like any other.
        if os.environ.get("OCTAVO_TRACEBACK"):
            raise
        output.error(
            {
                "code": "internal",
                "message": f"{type(error).__name__}: {error}",
                "next_step": "This is a fault in Octavo. Set OCTAVO_TRACEBACK=1 to see where.",
            },
            as_json=as_json,
        )
        return exit_codes.FAILED
    if ended == exit_codes.INTERRUPTED:
        return _interrupted(arguments)
    return ended if isinstance(ended, int) else exit_codes.DONE


class _Interrupts:
    """Remembers Ctrl-C: C extensions turn one that comes while they load into an ImportError."""

    def __init__(self) -> None:
        self.seen = False

    def __enter__(self) -> _Interrupts:
        self._is_ours = (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        )
        if self._is_ours:
            signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.seen = True
        signal.default_int_handler(number, frame)


def _interrupted(arguments: Sequence[str], next_step: str = "") -> int:
    if not next_step:
        next_step = (
            "Nothing was kept; the same command measures from the start."
            if _command(arguments) == "tune"
            else "What was reported done stays; the same command goes on from there."
        )
    output.error(
        {"code": "interrupted", "message": "interrupted", "next_step": next_step},
        as_json="--json" in arguments,
    )
    return exit_codes.INTERRUPTED


def _unwritable(why: str, *, as_json: bool) -> int:
    streams.point_away()
    output.error(
        {
            "code": "output_unwritable",
            "message": f"stdout cannot be written: {why}",
            "next_step": "Send it to a terminal, a pipe, or a file on a disk with room.",
        },
        as_json=as_json,
    )
    return exit_codes.FAILED


def _quoting(arguments: Sequence[str], error: typer.TyperException) -> str:
    """What to do about a question whose words came one by one."""
    command = _command(arguments)
    if command not in ("ask", "search") or "extra argument" not in error.format_message():
        return ""
    return f'Quote the question, as in octavo {command} "What was revenue?". '


def _help(arguments: Sequence[str]) -> str:
    command = _command(arguments)
    if command is None:
        return "See octavo --help."
    of_family = {
        each.name
        for group in app.registered_groups
        if group.name == command and group.typer_instance is not None
        for each in group.typer_instance.registered_commands
    }
    own = next((word for word in arguments if word in of_family), None)
    return f"See octavo {command} {own} --help." if own else f"See octavo {command} --help."


def _command(arguments: Sequence[str]) -> str | None:
    known = {command.name for command in app.registered_commands}
    known |= {group.name for group in app.registered_groups}
    return next((word for word in arguments if word in known), None)
