"""The `octavo` command over one data folder: in this process, or in one of its own."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rag.apps.cli.app import run

OCTAVO = Path(sys.executable).with_name("octavo")


def talk_to(monkeypatch: pytest.MonkeyPatch, client: object) -> None:
    """Commands of this process ask `client`, and open no data folder."""

    def connect(_settings: object, *, command: str) -> contextlib.nullcontext[object]:
        return contextlib.nullcontext(client)

    module = types.SimpleNamespace(connect=connect)
    monkeypatch.setitem(sys.modules, "rag.apps.connection", module)


class Commands:
    """Runs commands with the same flags, in JSON; answers are what they print."""

    def __init__(self, data: Path, *flags: str) -> None:
        self.data = data
        self._flags = ("--data-dir", str(data), "--device", "cpu", "--json", *flags)

    def __call__(self, *arguments: str) -> dict[str, Any]:
        """The last line of what a command prints that runs in this process."""
        code, printed = self.outcome(*arguments)
        assert code == 0, printed
        last: dict[str, Any] = json.loads(printed.splitlines()[-1])
        return last

    def refused(self, *arguments: str) -> dict[str, str]:
        """The error that ends a command in this process."""
        code, printed = self.outcome(*arguments)
        assert code != 0, printed
        error: dict[str, str] = json.loads(printed.splitlines()[-1])["error"]
        return error

    def outcome(self, *arguments: str) -> tuple[int, str]:
        """Exit code of a command in this process, and all it prints."""
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            code = run([*arguments, *self._flags])
        return code, out.getvalue()

    def process(self, *arguments: str) -> dict[str, Any]:
        """As a call, from a process of its own."""
        with self.started(*arguments) as running:
            printed, errors = running.communicate(timeout=200)
        assert running.returncode == 0, errors
        last: dict[str, Any] = json.loads(printed.splitlines()[-1])
        return last

    @contextlib.contextmanager
    def started(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """A command in a process of its own, which does not outlive the block."""
        command = [str(OCTAVO), *arguments, *self._flags]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as running:
            try:
                yield running
            finally:
                running.kill()
