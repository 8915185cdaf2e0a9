"""What processes that do not own a data folder ask of the one that does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rag.apps import archives, figures, jobs, lifecycle, upkeep
from rag.apps.ownership import Handler, Tell
from rag.apps.service import Service
from rag.errors import ConfigError, IndexMismatch, InputError
from rag.logs import about
from rag.settings import EncoderSettings, Settings, merged
from rag.types import Json

# The methods another process may ask the owner of a data folder for.
REMOTE_METHODS: frozenset[str] = frozenset(
    {
        *archives.REMOTE_METHODS,
        *figures.REMOTE_METHODS,
        *jobs.REMOTE_METHODS,
        *lifecycle.REMOTE_METHODS,
        *upkeep.REMOTE_METHODS,
        "search",
        "ask",
        "chat",
        "conversations",
        "conversation",
        "delete_conversation",
        "list_documents",
        "show",
        "page_png",
        "collections",
        "status",
        "delete",
        "reset_tuning",
    }
)

# Of these, the ones that tell of their work before they have a result.
STREAMED_METHODS = frozenset({"ask", "chat", *archives.STREAMED_METHODS})

# Of these, the ones whose answer hangs on the encoder, or on search settings.
_ASK_THE_ENCODER = frozenset({"search", "ask", "chat", "page_png"})
_ASK_BY_SETTINGS = frozenset({"search", "ask", "chat"})
_ASK_FOR_ANSWERS = frozenset({"ask", "chat"})
_ASKED_OF = "asked_of"
_ANSWERED_BY = "answered_by"
# Sections the owner cannot take over for one request: what it has made of them serves everybody.
_OWNERS_OWN = ("chat",)
# They say how a model is reached and not what it says, or must not leave the process.
_NOT_COMPARED = frozenset({"api_key", "timeout_s", "retry_s", "requests"})


def request_params(method: str, params: Json, settings: Settings) -> Json:
    """What is sent to the owner: with the settings that the asking process was told of.

    Settings of search and answers go along and hold for the request. The encoder and the settings
    of `chat` go along to be compared, since the owner answers by its own. Keys stay here: the owner
    has its own, or says that it was refused.
    """
    sent = dict(params)
    if method in _ASK_THE_ENCODER and settings.encoder.model_fields_set & {"name", "model", "url"}:
        sent[_ASKED_OF] = _encoder_asked_for(settings.encoder)
    if method not in _ASK_BY_SETTINGS:
        return sent
    told = settings.retrieval.model_dump(mode="json", exclude_unset=True)
    told = merged(told, params.get("retrieval") or {})
    if isinstance(rerank := told.get("rerank"), Mapping):
        told["rerank"] = _reranker_asked_for(rerank)
    if told:
        sent["retrieval"] = told
    if method in _ASK_FOR_ANSWERS:
        answering = settings.answer.model_dump(mode="json", exclude_unset=True)
        if answering := merged(answering, params.get("answering") or {}):
            sent["answering"] = answering
    if by := _told_of_models(settings):
        sent[_ANSWERED_BY] = by
    return sent


def answer_request(service: Service) -> Handler:
    """The handler of requests from other processes of the same user.

    Raises:
        IndexMismatch: the asking process is set to another encoder than this one.
        ConfigError: `other_settings`, it is set to another chat model.
    """

    def handle(method: str, params: Json, tell: Tell) -> Json:
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
        _require_same(params.pop(_ANSWERED_BY, {}), service.settings)
        if method in STREAMED_METHODS:
            params["on_event"] = tell
        with about(command=method, collection=params.get("collection")):
            result: Json = getattr(service, method)(**params)
        return result

    return handle


def _told_of_models(settings: Settings) -> Json:
    """Dotted names and values that were set explicitly."""
    return {
        f"{section}.{name}": value
        for section in _OWNERS_OWN
        for name, value in getattr(settings, section)
        .model_dump(mode="json", exclude_unset=True)
        .items()
        if name not in _NOT_COMPARED
    }


def _require_same(told: Json, settings: Settings) -> None:
    ours = settings.model_dump(mode="json", include=set(_OWNERS_OWN))
    for name, value in told.items():
        section, _, key = name.partition(".")
        if ours[section].get(key) != value:
            raise ConfigError(
                f"{name} is set to {value!r}, and the process that owns the data folder answers "
                f"by {ours[section].get(key)!r}",
                code="other_settings",
                next_step=f"Leave {name} as it is there, set it there, or wait until that process "
                "has ended.",
            )


def _encoder_asked_for(settings: EncoderSettings) -> Json:
    return {"name": settings.name, "model": _absolute(settings.model), "url": settings.url}


def _reranker_asked_for(rerank: Mapping[str, Any]) -> Json:
    sent = {name: value for name, value in rerank.items() if name != "api_key"}
    return sent | ({"model": _absolute(sent["model"])} if "model" in sent else {})


def _absolute(model: str | None) -> str | None:
    """A model that is a folder, by its full path: two processes may stand in two folders."""
    if model is None or not Path(model).expanduser().is_dir():
        return model
    return str(Path(model).expanduser().resolve())


def _spelled(asked: Json) -> str:
    return ":".join(str(part) for part in (asked["name"], asked["model"]) if part)
