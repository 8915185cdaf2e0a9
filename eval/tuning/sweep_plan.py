"""The rows of a sweep: settings to measure, what each wants, and which pages it searches.

A row changes some settings. Those that decide what is stored of a page (ingest side) give the row a
collection of its own; all others share one.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import tomllib
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.provenance import config_hash
from rag.errors import ConfigError, InputError, RagError
from rag.settings import Settings, changed_settings, dotted, nested
from rag.types import Json

Axis = tuple[str, tuple[Any, ...]]  # dotted name of a setting, and its values

_INGEST_SECTIONS = ("render", "ocr", "caption", "encoder", "pooling", "fde")
# How pages are made, not what is made of them.
_NOT_IN_PAGES = frozenset(
    {
        *("render.workers", "render.page_timeout_s", "render.worker_memory_bytes"),
        *("render.image_cache_bytes", "ocr.page_timeout_s", "encoder.threads", "encoder.device"),
        *("encoder.attention", "encoder.batch_size", "encoder.api_key", "encoder.timeout_s"),
        *("encoder.retry_s", "encoder.requests", "encoder.restarts"),
    }
)
_NOT_MEASURED = {
    "store": "it says where pages lie, not which are found",
    "answer": "answers are not measured here",
}
_LONGEST_NAME = 80
_NAME_CHARS = 50  # of a dataset in a collection's name: "eval-" and a hash of the pages fit beside
_PAGES_HASH, _NAME_HASH = 8, 10  # hex digits, of different numbers so that neither is the other


@dataclass(frozen=True)
class Row:
    """One line of a sweep.

    Attributes:
        changes: settings nested by section, over those of the command.
        folder: name of its run folders.
    """

    name: str
    changes: Json
    folder: str


def grid(axes: Sequence[Axis]) -> tuple[Row, ...]:
    """A row for each combination; the first values come first, the last axis turns fastest.

    Raises:
        InputError: an axis without values or with one twice, or two of the same name.
    """
    names = [name for name, _ in axes]
    for name, values in axes:
        if not values or names.count(name) > 1:
            what = "no values" if not values else "its values in two places"
            raise InputError(f"axis {name} has {what}")
        twice = [value for at, value in enumerate(values) if value in values[:at]]
        if twice:
            raise InputError(
                f"axis {name} has the value {_plain(twice[0])} twice",
                next_step="Leave one of them out.",
            )
    return named_rows(
        (combination_name(names, values), nested(dict(zip(names, values, strict=True))))
        for values in itertools.product(*(values for _, values in axes))
    )


def combination_name(names: Sequence[str], values: Sequence[Any]) -> str:
    """As in `fusion=rrf rrf_k=20`; a section stays where the last word alone could be two."""
    short = [name.rpartition(".")[2] for name in names]
    return " ".join(
        f"{name if short.count(last) > 1 else last}={_plain(value)}"
        for name, last, value in zip(names, short, values, strict=True)
    )


def read_rows(path: Path) -> tuple[Row, ...]:
    """A TOML file with a table for each row: its name, and settings as in a settings file.

    Raises:
        ConfigError: a file that is missing or not TOML, one without rows, a name that is no
            setting, a secret.
    """
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(
            f"rows cannot be read from {path.name!r}: {error}",
            next_step="Give a TOML file with a table for each row, as configs/sweep.toml.",
        ) from error
    for name, changes in found.items():
        if not isinstance(changes, dict):
            raise ConfigError(
                f"{path.name}: {name!r} is no table",
                next_step=f'Write ["{name}"] and the settings of that row below it.',
            )
    if not found:
        raise ConfigError(
            f"{path.name} has no rows",
            next_step="Write a table for each row, with its settings below the name.",
        )
    return named_rows((name, nested(dotted(changes))) for name, changes in found.items())


def named_rows(rows: Iterable[tuple[str, Json]]) -> tuple[Row, ...]:
    """Rows with folders that tell them apart."""
    taken: set[str] = set()
    made: list[Row] = []
    for name, changes in rows:
        folder = re.sub(r"[^\w.=,+-]+", "-", name, flags=re.ASCII).strip("-.")[:_LONGEST_NAME]
        if folder in taken or not folder:
            folder = f"{folder}-{config_hash(changes)}".strip("-")
        taken.add(folder)
        made.append(Row(name, changes, folder))
    return tuple(made)


def row_settings(base: Settings, row: Row) -> Settings:
    """The settings a row is measured with.

    Raises:
        ConfigError: a value that does not fit its setting, or a setting that changes no measure.
    """
    for section, reason in _NOT_MEASURED.items():
        if section in row.changes:
            raise ConfigError(
                f"row {row.name!r} sets {next(iter(dotted(row.changes)))}, and {reason}"
                if list(row.changes) == [section]
                else f"row {row.name!r} sets something of {section}, and {reason}",
                next_step="Leave it out of the rows; --set holds for all of them.",
            )
    try:
        return changed_settings(base, row.changes)
    except ConfigError as error:
        raise ConfigError(
            f"row {row.name!r}: {error.message}", code=error.code, next_step=error.next_step
        ) from error


def page_settings(settings: Settings) -> dict[str, Any]:
    """Dotted settings that decide what is stored of a page, those at their default left out."""
    plain, ours = Settings().model_dump(mode="json"), settings.model_dump(mode="json")
    found = {
        name: value
        for section in _INGEST_SECTIONS
        for name, value in dotted({section: ours[section]}).items()
        if name not in _NOT_IN_PAGES and value != dotted({section: plain[section]}).get(name)
    }
    if settings.ocr.mode == "off":
        found = {k: v for k, v in found.items() if k == "ocr.mode" or not k.startswith("ocr.")}
    if settings.caption.mode == "off":
        return {k: v for k, v in found.items() if not k.startswith("caption.")}
    return {**found, "chat.model": settings.chat.model, "chat.url": settings.chat.url}


def collection_name(dataset: str, settings: Settings) -> str:
    """`eval-NAME` for pages as they are stored by default, else with a hash of what differs.

    At most 64 letters; datasets of different names never share one.
    """
    differing = page_settings(settings)
    of_pages = f"-{config_hash(differing)[:_PAGES_HASH]}" if differing else ""
    return f"eval-{_plain_name(dataset)}{of_pages}"


def _plain_name(dataset: str) -> str:
    """The name itself where a collection may be called so, else what is left of it and its hash."""
    ends_like_a_hash = re.search(
        rf"-([0-9a-f]{{{_PAGES_HASH}}}|[0-9a-f]{{{_NAME_HASH}}})$", dataset
    )
    if re.fullmatch(rf"[A-Za-z0-9_-]{{1,{_NAME_CHARS}}}", dataset) and not ends_like_a_hash:
        return dataset
    # Accents go, letters stay.
    folded = unicodedata.normalize("NFKD", dataset).encode("ascii", "ignore").decode()
    kept = re.sub(r"[^A-Za-z0-9_]+", "-", folded).strip("-")[: _NAME_CHARS - _NAME_HASH - 1]
    # A folder's name may hold bytes that are no letters at all.
    digest = hashlib.sha256(dataset.encode("utf-8", "surrogateescape")).hexdigest()[:_NAME_HASH]
    return f"{kept or 'set'}-{digest}"


def engine_key(settings: Settings) -> str:
    """Equal for settings that one open data folder can serve: all but those of a search."""
    return settings.model_dump_json(exclude={"retrieval", "store"})


def what_is_missing(settings: Settings, changes: Json) -> str | None:
    """Why a row cannot be measured here, as far as that can be told before measuring it."""
    retrieval, rerank = settings.retrieval, settings.retrieval.rerank
    asks_chat = {
        f"retrieval.rerank.method={rerank.method}": rerank.method.startswith("vlm_"),
        "retrieval.wording.decompose=chat": retrieval.wording.decompose == "chat",
        "retrieval.wording.dialogue=chat": retrieval.wording.dialogue == "chat",
        "retrieval.route.method=chat": retrieval.route.method == "chat",
        "caption.mode=on": settings.caption.mode == "on",
    }
    for what, is_asked in asks_chat.items():
        if is_asked and (reason := _no_chat(settings)):
            return f"{what} asks a chat model: {reason}"
    if rerank.method in ("cross_encoder", "qwen3_vl") and rerank.model is None:
        return f"retrieval.rerank.method={rerank.method} wants retrieval.rerank.model"
    if rerank.method == "http" and rerank.url is None:
        return "retrieval.rerank.method=http wants retrieval.rerank.url"
    if changes.get("ocr", {}).get("mode", "off") != "off" and (reason := _no_engine(settings)):
        return f"ocr.mode={settings.ocr.mode}: {reason}"
    return None


def _no_chat(settings: Settings) -> str | None:
    from rag.chat.choose import describe as ask_server  # a client that only this wants

    if settings.chat.model is None:
        return "chat.model is not set"
    try:
        ask_server(settings.chat)
    except RagError as error:
        return error.message
    return None


def _no_engine(settings: Settings) -> str | None:
    from rag.ocr.choose import choose_engine  # it looks for programs and libraries

    try:
        found = choose_engine(settings.ocr.engine, settings.ocr.languages)
    except ConfigError as error:
        return error.message
    return None if found else "no OCR engine is installed"


def describe(changes: Mapping[str, Any]) -> str:
    """`retrieval.fusion=rrf ...`, or a word for nothing."""
    return " ".join(f"{name}={_plain(value)}" for name, value in dotted(changes).items()) or "-"


def _plain(value: object) -> str:
    if isinstance(value, list | tuple):
        return "+".join(map(_plain, value))
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else str(value)
