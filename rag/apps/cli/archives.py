"""Collections as a whole: exported, imported, copied, dropped."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Nothing yet."""
