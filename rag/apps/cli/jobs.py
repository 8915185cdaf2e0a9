"""The queue of jobs: added, looked at, paused, cancelled, tried again, worked on."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Nothing yet."""
