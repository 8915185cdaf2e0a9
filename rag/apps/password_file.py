"""Passwords of PDFs, which come in files so that no list of processes shows them."""

from __future__ import annotations

from pathlib import Path

from rag.errors import InputError
from rag.secrets import keep_secret


def first_line(path: Path) -> str:
    """Raises InputError for a file that cannot be read."""
    try:
        password = path.read_text(encoding="utf-8").partition("\n")[0].rstrip("\r")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"cannot read the password file {path.name!r}: {error}",
            next_step="Give a text file whose first line is the password.",
        ) from error
    keep_secret([password])
    return password
