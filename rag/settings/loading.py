"""All settings together, and how they are read."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr, ValidationError
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
from rag.settings.watching import LogSettings, ObserveSettings


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
    log: LogSettings = LogSettings()
    observe: ObserveSettings = ObserveSettings()


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Both, section by section; `over` has the last word."""
    both = dict(base)
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(both.get(key), Mapping):
            both[key] = merged(both[key], value)
        else:
            both[key] = value
    return both


_PREFIX = "OCTAVO_"
_SHOWN_KEYS = 12  # of a section
# They begin like a setting and are none: one is short for a setting, one chooses the kernels, one
# is the command line's, by one a test ends a process, by the others it finds what it started.
_NO_SETTINGS = frozenset(
    {
        "OCTAVO_DATA_DIR",
        "OCTAVO_FAILPOINT",
        "OCTAVO_NATIVE",
        "OCTAVO_TRACEBACK",
        "OCTAVO_TEST_MARK",
        "OCTAVO_TEST_ENCODED",
    }
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
    given: dict[str, Any] = {}
    if file is not None:
        try:
            given = tomllib.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise ConfigError(
                f"no settings file {file.name!r}", next_step="Check the path given to --config."
            ) from error
        except (IsADirectoryError, PermissionError) as error:
            raise ConfigError(
                f"settings cannot be read from {file.name!r}: {error.strerror}",
                next_step="Give --config a TOML file that you may read.",
            ) from error
        except (OSError, ValueError, RecursionError) as error:
            raise ConfigError(
                f"{file.name} is not readable TOML: {error}",
                next_step="Correct it there: a section is a line such as [retrieval], and a "
                'setting below it a line such as fusion = "rrf".',
            ) from error
    given = merged(given, _from_environment(os.environ if environ is None else environ))
    return _validated(merged(given, overrides or {}))


def _validated(given: Mapping[str, Any]) -> Settings:
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        fields = {".".join(path): field for path, field in _fields(Settings)}
        is_section = where not in fields and any(each.startswith(f"{where}.") for each in fields)
        if first["type"] == "extra_forbidden" or is_section:
            raise _no_setting(where, fields) from error
        about = f". {_described(fields[where])}" if where in fields else ""
        raise ConfigError(
            f"setting {where}: {first['msg']}{about}",
            next_step="Correct it in the flag, the environment or the settings file that sets it.",
        ) from error


def _no_setting(name: str, known: Collection[str]) -> ConfigError:
    section = name.upper()
    keys = [each for each in known if each.upper().startswith((f"{section}.", f"{section}__"))]
    if keys:
        return ConfigError(
            f"{name} is a section of settings, and no setting by itself",
            next_step=f"Set what is in it: {', '.join(keys[:_SHOWN_KEYS])}"
            f"{', ...' if len(keys) > _SHOWN_KEYS else '.'}",
        )
    spellings = {each.upper(): each for each in known}
    (nearest,) = difflib.get_close_matches(name.upper(), spellings, n=1, cutoff=0)
    return ConfigError(
        f"there is no setting {name}", next_step=f"Did you mean {spellings[nearest]}?"
    )


def changed_settings(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """The settings with changes, nested by section; what was set explicitly stays so.

    Raises:
        ConfigError: an unknown name, or a value out of bounds.
    """
    return _validated(merged(settings.model_dump(exclude_unset=True), changes))


def nested(dotted: Mapping[str, Any]) -> dict[str, Any]:
    """`{"retrieval.fusion": "rrf"}` as `{"retrieval": {"fusion": "rrf"}}`; values as they are.

    Raises:
        ConfigError: a name that is no setting, or one of a secret, which is not for flags.
    """
    fields = {".".join(path): field for path, field in _fields(Settings)}
    found: dict[str, Any] = {}
    for name, value in dotted.items():
        if name not in fields:
            raise _no_setting(name, fields)
        if "SecretStr" in str(fields[name].annotation):
            raise ConfigError(
                f"setting {name} is a secret, and others on this machine can read a command line",
                next_step=f"Set {_PREFIX}{name.replace('.', '__').upper()} in the environment.",
            )
        *sections, key = name.split(".")
        inner = found
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[key] = value
    return found


def dotted(changes: Mapping[str, Any], path: tuple[str, ...] = ()) -> dict[str, Any]:
    """The same the other way round."""
    found: dict[str, Any] = {}
    for name, value in changes.items():
        if isinstance(value, Mapping):
            found |= dotted(value, (*path, name))
        else:
            found[".".join((*path, name))] = value
    return found


def changed_retrieval(settings: RetrievalSettings, changes: Mapping[str, Any]) -> RetrievalSettings:
    """Settings of one request: as they are, with what it changes, nested by section.

    Raises:
        ConfigError: an unknown name, or a value out of bounds.
    """
    if not changes:
        return settings
    told = merged(settings.model_dump(exclude_unset=True), changes)
    return _validated({"retrieval": told}).retrieval


def changed_answers(settings: AnswerSettings, changes: Mapping[str, Any]) -> AnswerSettings:
    """As `changed_retrieval`, of answers."""
    if not changes:
        return settings
    told = merged(settings.model_dump(exclude_unset=True), changes)
    return _validated({"answer": told}).answer


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


def secrets_in(settings: BaseModel) -> Iterator[str]:
    """Every key in the settings. A password in an address is known by its place there."""
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            yield value.get_secret_value()
        elif isinstance(value, BaseModel):
            yield from secrets_in(value)
