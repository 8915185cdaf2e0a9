"""What the doctor looks at, one thing a check: whether it is as it should be, and what to do."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass, field

from rag.errors import RagError
from rag.settings import StoreSettings
from rag.types import Json


@dataclass(frozen=True)
class EncoderExamination:
    """Checks that count, checks that inform, and the same as data."""

    needed: list[Json]
    optional: list[Json] = field(default_factory=list)
    packages: dict[str, str | None] = field(default_factory=dict)
    facts: Json = field(
        default_factory=lambda: {"encoder_model": None, "encoder_device": None, "hub_models": []}
    )


def check(name: str, run: Callable[[], str]) -> Json:
    """What `run` found, in words, or why it failed."""
    try:
        return passed(name, run())
    except RagError as error:
        return failed(name, error)


def passed(name: str, detail: str, *, next_step: str = "") -> Json:
    return {"name": name, "ok": True, "detail": detail, "next_step": next_step}


def failed(name: str, error: RagError) -> Json:
    return {"name": name, "ok": False, "detail": error.message, "next_step": error.next_step}


def qdrant_server(store: StoreSettings) -> Json | None:
    """Whether it answers, within seconds; None where the store is embedded."""
    if store.qdrant_url is None:
        return None
    from rag.index.qdrant import server_version  # slow to import, and seldom asked

    url, key = store.qdrant_url, store.qdrant_api_key
    return check(
        "qdrant server",
        lambda: server_version(url, None if key is None else key.get_secret_value()),
    )


def version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
