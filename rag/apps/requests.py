"""What processes that do not own a data folder ask of the one that does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rag.apps.service import Service
from rag.errors import IndexMismatch, InputError
from rag.settings import EncoderSettings, Settings
from rag.types import Json

# The methods another process may ask the owner of a data folder for.
REMOTE_METHODS: frozenset[str] = frozenset(
    {
        "search",
        "ask",
        "list_documents",
        "show",
        "page_png",
        "collections",
        "status",
        "delete",
        "reset_tuning",
    }
)


# Of these, the ones whose answer hangs on the encoder.
_ASK_THE_ENCODER = frozenset({"search", "ask", "page_png"})
_ASKED_OF = "asked_of"


def request_params(method: str, params: Json, settings: Settings) -> Json:
    """What is sent to the owner: with the encoder, where the asking process was told of one."""
    told = settings.encoder.model_fields_set & {"name", "model", "url"}
    if method not in _ASK_THE_ENCODER or not told:
        return params
    return {**params, _ASKED_OF: _encoder_asked_for(settings.encoder)}


def answer_request(service: Service) -> Callable[[str, Json], Json]:
    """The handler of requests from other processes of the same user.

    Raises:
        IndexMismatch: the asking process is set to another encoder than this one.
    """

    def handle(method: str, params: Json) -> Json:
        if method not in REMOTE_METHODS:
            raise InputError(f"no method {method!r}", code="unknown_method")
        asked_of = params.pop(_ASKED_OF, None)
        used = _encoder_asked_for(service.settings.encoder)
        if asked_of is not None and asked_of != used:
            raise IndexMismatch(
                f"the process that owns the data folder encodes by {_spelled(used)}, and "
                f"{_spelled(asked_of)} was asked for",
                next_step="Ask with the same --encoder or --config, or wait until that process "
                "has ended.",
            )
        result: Json = getattr(service, method)(**params)
        return result

    return handle


def _encoder_asked_for(settings: EncoderSettings) -> Json:
    model = settings.model
    if model is not None and Path(model).expanduser().is_dir():
        model = str(Path(model).expanduser().resolve())  # two processes may stand in two folders
    return {"name": settings.name, "model": model, "url": settings.url}


def _spelled(asked: Json) -> str:
    return ":".join(str(part) for part in (asked["name"], asked["model"]) if part)
