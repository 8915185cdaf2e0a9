"""Documents that follow their files: `sync`, changed metadata and readers, versions."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Nothing yet."""
