"""The standard streams as a command may find them: closed, full, or with bytes that are no text."""

from __future__ import annotations

import io
import os
import sys


def prepare() -> None:
    """Every stream is there, and no byte of a name or a question ends a command.

    A closed input is one that has ended, a closed stderr hears nothing; a closed output takes
    nothing, as a full one does, so that an answer that goes nowhere is no success.
    """
    # In this order: each takes the lowest free number, and so no file of the index becomes stdout.
    if sys.stdin is None:
        sys.stdin = os.fdopen(os.open(os.devnull, os.O_RDONLY), encoding="utf-8")
    if sys.stdout is None:
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_RDONLY), "w", encoding="utf-8")
    if sys.stderr is None:
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8")
    # PYTHONUNBUFFERED: nothing that was written would be left to be tried again.
    if isinstance(sys.stdout, io.TextIOWrapper) and isinstance(sys.stdout.buffer, io.RawIOBase):
        sys.stdout = os.fdopen(
            sys.stdout.fileno(), "w", buffering=1, encoding=sys.stdout.encoding, closefd=False
        )
    # File names are bytes; one that is not valid UTF-8 must not end a listing.
    for stream, errors in (
        (sys.stdin, "surrogateescape"),
        (sys.stdout, "backslashreplace"),
        (sys.stderr, "backslashreplace"),
    ):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)


def why_unwritable() -> str | None:
    """Why stdout does not take what it still holds; None where it does."""
    try:
        sys.stdout.flush()
    except OSError as error:
        return error.strerror
    return None


def point_away() -> None:
    """What stdout still holds goes nowhere, so that the exit stays silent."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
