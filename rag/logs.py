"""Logs of this process and of those it starts: lines of text or JSON, without secrets.

The library itself installs no handler; a command or a server calls `begin`.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import unicodedata
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from rag.errors import ConfigError
from rag.secrets import keep_environment_secret, without_secrets

Level = Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True)
class LogForm:
    """How logs are written.

    Attributes:
        level: records below it are dropped.
        is_json: a JSON object a line.
        file: written to instead of stderr.
        is_silent: nothing is written anywhere.
    """

    level: Level = "warning"
    is_json: bool = False
    file: Path | None = None
    is_silent: bool = False


_about: ContextVar[dict[str, str]] = ContextVar("logged_about", default={})  # noqa: B039 - replaced, never changed
_handler: logging.Handler | None = None
_form: LogForm | None = None


@contextlib.contextmanager
def about(**facts: str | None) -> Iterator[None]:
    """What records say of the request while it is worked on: `command`, `collection`, `job`."""
    known = {name: value for name, value in facts.items() if value is not None}
    token = _about.set({**_about.get(), **known})
    try:
        yield
    finally:
        _about.reset(token)


def begin(form: LogForm) -> None:
    """Write the logs of this process in this form from now on, in place of what was before.

    Raises:
        ConfigError: `bad_log_file`.
    """
    global _handler, _form
    keep_environment_secret()
    made = _made(form)
    root = logging.getLogger()
    if _handler is not None:
        root.removeHandler(_handler)
        _handler.close()
    root.addHandler(made)
    root.setLevel(getattr(logging, form.level.upper()))
    _handler, _form = made, form


def form_in_use() -> LogForm | None:
    """What `begin` was last called with; None before. A process we start begins with the same."""
    return _form


def begin_in_child(form: LogForm | None) -> None:
    """In a process that we started: its own stderr, since it may open no file."""
    if form is not None:
        begin(LogForm(form.level, form.is_json, None, form.is_silent))


def _made(form: LogForm) -> logging.Handler:
    if form.is_silent:
        return logging.NullHandler()
    if form.file is None:
        handler: logging.Handler = _OnStderr()
    else:
        handler = _in_file(form.file)
    handler.setFormatter(_JsonLines() if form.is_json else _TextLines(is_dated=bool(form.file)))
    return handler


def _in_file(path: Path) -> logging.Handler:
    """Private, and followed when it is moved away to be kept."""
    from logging.handlers import WatchedFileHandler  # brings sockets, and is seldom asked for

    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
        return WatchedFileHandler(path, encoding="utf-8", errors="replace")
    except OSError as error:
        raise ConfigError(
            f"log.file {path.name!r} cannot be written: {error.strerror}",
            code="bad_log_file",
            next_step="Name a file in a folder that is there and that you may write to.",
        ) from error


class _OnStderr(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(self.format(record) + "\n")
        except Exception:  # noqa: BLE001  a log that cannot be written ends nothing
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # logging's name
        """Logging's own would print the message and its arguments as they are."""


class _TextLines(logging.Formatter):
    """For people, and in words that steer no terminal."""

    def __init__(self, *, is_dated: bool) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s" if is_dated else "%(message)s")

    def format(self, record: logging.LogRecord) -> str:
        lines = without_secrets(super().format(record)).splitlines()
        return "\n".join(map(_harmless, lines))


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        found: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": without_secrets(record.getMessage()),
            "process": record.process,
            **_about.get(),
        }
        if record.exc_info:
            found["traceback"] = without_secrets(self.formatException(record.exc_info))
        # ASCII: a lone surrogate of a file name is no UTF-8, and no control reaches a terminal.
        return json.dumps(found, default=str)


def _harmless(line: str) -> str:
    """Without controls and what turns text round."""
    return "".join(
        " "
        if character == "\t"
        else "\ufffd"
        if unicodedata.category(character) == "Cc"
        or unicodedata.bidirectional(character) in ("LRE", "RLE", "LRO", "RLO", "PDF")
        or character in "\u2066\u2067\u2068\u2069"
        else character
        for character in line
    )
