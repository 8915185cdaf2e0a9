"""Logs of a command: what it warns of, on stderr or in a file.

Programs read one JSON error from stderr, and nothing stands beside it unless they asked for logs.
"""

from __future__ import annotations

import os
import sys
import traceback
from types import TracebackType
from typing import TYPE_CHECKING

from rag import logs
from rag.secrets import keep_environment_secret, keep_secret, without_secrets

if TYPE_CHECKING:
    from rag.settings import Settings

_is_telling = False
_as_json = False


def tell(*, as_json: bool) -> None:
    """From now on warnings of this process go where its other words go.

    Args:
        as_json: nowhere, then, unless OCTAVO_TRACEBACK or a setting asks for more than one line.
    """
    global _is_telling, _as_json
    _is_telling, _as_json = True, as_json
    logs.begin(logs.LogForm(is_silent=_is_silent()))
    sys.excepthook = _tell_fault


def as_set(settings: Settings) -> None:
    """Keep what is secret in the settings so; log as they say, in a process that tells at all.

    Raises:
        ConfigError: `bad_log_file`.
    """
    from rag.settings import secrets_in

    keep_environment_secret()
    keep_secret(secrets_in(settings))
    chosen = settings.log
    if _is_telling and chosen.model_fields_set:
        logs.begin(logs.LogForm(chosen.level, chosen.format == "json", chosen.file))


def _is_silent() -> bool:
    return _as_json and not os.environ.get("OCTAVO_TRACEBACK")


def _tell_fault(
    kind: type[BaseException], error: BaseException, where: TracebackType | None
) -> None:
    """The traceback that OCTAVO_TRACEBACK asks for."""
    lines = traceback.format_exception(kind, error, where)
    sys.stderr.write(without_secrets("".join(lines)))
