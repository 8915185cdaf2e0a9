"""Section `cold_start`: processes from nothing to their first word.

Files are in the system's cache, as they are the second time a user types the command.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from eval.bench.contender import Contender, Effort, Entry, Gate, Outcome, race

ROUNDS = 10
_HELP = "from rag.apps.cli import main; main()"  # what the installed command does


def run(effort: Effort, *, say: Callable[[str], object]) -> Outcome:
    command = _command()
    return race(
        "cold_start",
        "a process, from start to end",
        [
            Entry(
                "octavo search --help",
                lambda: _process("octavo search --help", [*command, "search", "--help"], "search"),
            ),
            Entry(
                "import rag",
                lambda: _process(
                    "import rag",
                    [
                        sys.executable,
                        "-c",
                        "import rag, sys; print('torch' in sys.modules)",
                    ],
                    "False",
                ),
            ),
            Entry(
                "an empty Python",
                lambda: _process("an empty Python", [sys.executable, "-c", ""], ""),
            ),
        ],
        Effort(min(effort.rounds, ROUNDS), effort.budget_s),
        say=say,
        facts={"command": Path(command[0]).name if len(command) == 1 else "python -c (as octavo)"},
    )


def _command() -> list[str]:
    installed = Path(sys.executable).with_name("octavo")
    return [str(installed)] if installed.exists() else [sys.executable, "-c", _HELP]


def _process(name: str, command: list[str], expected: str) -> Contender:
    def call() -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    def check(done: subprocess.CompletedProcess[str]) -> Gate:
        said = expected in done.stdout
        return Gate(
            done.returncode == 0 and said,
            {"exit_code": done.returncode, "said_what_it_should": float(said)},
        )

    return Contender(name, call, check, ours=True)  # no peer: nothing to be a multiple of
