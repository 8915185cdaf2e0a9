"""All settings together, and how they are read."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from rag.errors import ConfigError
from rag.settings.answers import AnswerSettings, ChatSettings
from rag.settings.ingest import (
    CaptionSettings,
    EncoderSettings,
    FdeSettings,
    OcrSettings,
    PoolingSettings,
    RenderSettings,
    StoreSettings,
)
from rag.settings.search import RetrievalSettings
from rag.settings.section import Section


class Settings(Section):
    render: RenderSettings = RenderSettings()
    ocr: OcrSettings = OcrSettings()
    caption: CaptionSettings = CaptionSettings()
    encoder: EncoderSettings = EncoderSettings()
    pooling: PoolingSettings = PoolingSettings()
    fde: FdeSettings = FdeSettings()
    store: StoreSettings = StoreSettings()
    retrieval: RetrievalSettings = RetrievalSettings()
    answer: AnswerSettings = AnswerSettings()
    chat: ChatSettings = ChatSettings()


def _merge(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), dict):
            merged[key] = _merge(merged[key], value)
        else:
            merged[key] = value
    return merged


_PREFIX = "OCTAVO_"
# They begin like a setting and are none: one is short for a setting, one chooses the kernels, one
# is the command line's, by one the tests find the processes they started.
_NO_SETTINGS = frozenset(
    {"OCTAVO_DATA_DIR", "OCTAVO_NATIVE", "OCTAVO_TRACEBACK", "OCTAVO_TEST_MARK"}
)


def _fields(
    section: type[BaseModel], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], FieldInfo]]:
    """Every setting below a section, with the names that lead to it."""
    for name, field in section.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, Section):
            yield from _fields(inner, (*path, name))
        else:
            yield (*path, name), field


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """`OCTAVO_SECTION__KEY=value`, `__` for each level, and the names other programs share.

    Raises:
        ConfigError: a name that begins with OCTAVO_ and is no setting.
    """
    known = {_PREFIX + "__".join(path).upper(): path for path, _ in _fields(Settings)}
    found: dict[str, Any] = {}
    for name, value in environ.items():
        if not name.startswith(_PREFIX) or name in _NO_SETTINGS:
            continue
        if name not in known:
            raise _no_setting(name, known)
        *sections, key = known[name]
        inner = found
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[key] = value
    for name, key in (
        ("OCTAVO_DATA_DIR", "data_dir"),
        ("QDRANT_URL", "qdrant_url"),
        ("QDRANT_API_KEY", "qdrant_api_key"),
    ):
        if environ.get(name):
            found.setdefault("store", {})[key] = environ[name]
    return found


def load_settings(
    file: Path | None = None,
    *,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Read settings in their order of precedence.

    Args:
        file: TOML, sections as in Settings.
        overrides: what flags said, nested by section.
        environ: defaults to the process environment.

    Raises:
        ConfigError: a file that is missing or not TOML, an unknown key, a value out of bounds.
    """
    merged: dict[str, Any] = {}
    if file is not None:
        try:
            merged = tomllib.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise ConfigError(
                f"no settings file {file.name!r}", next_step="Check the path given to --config."
            ) from error
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigError(f"{file.name} is not readable TOML: {error}") from error
    merged = _merge(merged, _from_environment(os.environ if environ is None else environ))
    return _validated(_merge(merged, overrides or {}))


def _validated(merged: Mapping[str, Any]) -> Settings:
    try:
        return Settings.model_validate(merged)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        fields = {".".join(path): field for path, field in _fields(Settings)}
        if first["type"] == "extra_forbidden":
            raise _no_setting(where, fields) from error
        about = f". {_described(fields[where])}" if where in fields else ""
        raise ConfigError(
            f"setting {where}: {first['msg']}{about}",
            next_step="Correct it in the flag, the environment or the settings file that sets it.",
        ) from error


def _no_setting(name: str, known: Iterable[str]) -> ConfigError:
    spellings = {each.upper(): each for each in known}
    (nearest,) = difflib.get_close_matches(name.upper(), spellings, n=1, cutoff=0)
    return ConfigError(
        f"there is no setting {name}", next_step=f"Did you mean {spellings[nearest]}?"
    )


def changed_retrieval(settings: RetrievalSettings, changes: Mapping[str, Any]) -> RetrievalSettings:
    """Settings of one request: as they are, with what it changes, nested by section.

    Raises:
        ConfigError: an unknown name, or a value out of bounds.
    """
    if not changes:
        return settings
    merged = _merge(settings.model_dump(exclude_unset=True), changes)
    return _validated({"retrieval": merged}).retrieval


_BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


def _described(field: FieldInfo) -> str:
    """As in "Pages that come back. At least 1, at most 50; default 5."."""
    bounds = ", ".join(
        f"{words} {getattr(bound, name)}"
        for bound in field.metadata
        for name, words in _BOUNDS.items()
        if hasattr(bound, name)
    )
    default = f"default {'none' if field.default is None else field.default}"
    text = f"{bounds}; {default}" if bounds else default
    return f"{field.description} {text[0].upper()}{text[1:]}."
