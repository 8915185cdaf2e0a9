"""Logs of a command: what it warns of, on stderr, for people and in words that steer no terminal.

Programs read one JSON error from stderr, and nothing stands beside it.
"""

from __future__ import annotations

import logging
import os
import sys

from rag.apps.cli.output import clean


def tell(*, as_json: bool) -> None:
    """From now on warnings of this process go where its other words go.

    Args:
        as_json: nowhere, then, unless OCTAVO_TRACEBACK asks for more than one line.
    """
    is_wanted = not as_json or bool(os.environ.get("OCTAVO_TRACEBACK"))
    handler = _OnStderr(logging.WARNING) if is_wanted else logging.NullHandler()
    logging.getLogger().addHandler(handler)


class _OnStderr(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        try:
            lines = self.format(record).splitlines()
            sys.stderr.write("\n".join(map(clean, lines)) + "\n")
        except Exception:  # noqa: BLE001  a log that cannot be written ends nothing
            self.handleError(record)
