"""Search settings that `octavo tune` measured for one collection, kept beside its index.

They are defaults of that collection: whatever a flag, the environment or a settings file says of
the same setting goes before them.
"""

from __future__ import annotations

import errno
import os
import stat
import tomllib
from pathlib import Path

from pydantic import Field, ValidationError

from rag.errors import ConfigError
from rag.settings import RetrievalSettings, Section
from rag.types import Json

FILE_NAME = "tuned.toml"


class TunedWidths(Section, strict=True):
    """What is tuned; bounds and meaning as in RetrievalSettings."""

    candidates: int = Field(ge=1)
    int8_candidates: int = Field(ge=1)
    scan_rows: int = Field(ge=0)


class TuningFacts(Section, strict=True, allow_inf_nan=False):
    """What the widths were chosen on.

    Attributes:
        recall: share of the exact top k that was found, with its 95 % interval.
        median_ms: of the cascade alone.
    """

    pages: int = Field(ge=1)
    questions: int = Field(ge=1)
    questions_from: str = Field(pattern="^(file|sampled)$")
    k: int = Field(ge=1)
    target_recall: float = Field(gt=0, le=1)
    recall: float = Field(ge=0, le=1)
    recall_low: float = Field(ge=0, le=1)
    recall_high: float = Field(ge=0, le=1)
    median_ms: float = Field(ge=0)


class Tuning(Section):
    """The file as a whole; a table a section."""

    retrieval: TunedWidths
    tuning: TuningFacts

    def outdated_by(self, n_pages: int) -> bool:
        """Whether the collection has outgrown it: what share of a top 10 is among so many
        candidates depends on how many pages they are chosen from.
        """
        return n_pages > 2 * self.tuning.pages


def tuning_path(data_dir: Path, collection: str) -> Path:
    return data_dir / "collections" / collection / FILE_NAME


def with_tuning(settings: RetrievalSettings, tuning: Tuning | None) -> RetrievalSettings:
    """The settings with what was tuned in the place of defaults, never of what somebody set."""
    if tuning is None:
        return settings
    tuned = tuning.retrieval.model_dump()
    open_to_it = {name: tuned[name] for name in tuned.keys() - settings.model_fields_set}
    return settings.model_copy(update=open_to_it)


def read_tuning(path: Path) -> Tuning | None:
    """None where there is none.

    Raises:
        ConfigError: `bad_tuning`, for a file that is not what `write_tuning` wrote.
    """
    try:
        return Tuning.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, ValidationError) as error:
        raise ConfigError(
            f"{FILE_NAME} of collection {path.parent.name!r} cannot be used: "
            f"{_what_is_wrong(error)}",
            code="bad_tuning",
            next_step=f"Remove the folder {FILE_NAME}, which Octavo did not make."
            if isinstance(error, IsADirectoryError)
            else f"Drop it with `octavo tune --reset -c {path.parent.name}`.",
        ) from error


def _what_is_wrong(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return (isinstance(error, OSError) and error.strerror) or str(error)


def write_tuning(path: Path, tuning: Tuning) -> None:
    """Whole or not at all."""
    text = (
        "# Written by octavo tune; octavo tune --reset drops it.\n"
        f"{_table('retrieval', tuning.retrieval.model_dump())}\n"
        f"{_table('tuning', tuning.tuning.model_dump())}"
    )
    _write(path, text)


def write_settings(path: Path, tuning: Tuning) -> None:
    """The widths as a settings file for --config; a link there stays, what it leads to is written.

    Raises:
        ConfigError: `not_written` or `disk_full`.
    """
    target = file_to_write(path)
    facts = tuning.tuning
    text = (
        f"# Measured by octavo tune: recall@{facts.k} {facts.recall:.4f} "
        f"({facts.recall_low:.4f} to {facts.recall_high:.4f}) of exact MaxSim,\n"
        f"# {facts.questions} questions ({facts.questions_from}), {facts.pages} pages.\n"
        f"{_table('retrieval', tuning.retrieval.model_dump())}"
    )
    try:
        _write(target, text)
    except OSError as error:
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise ConfigError(
            f"{path.name} cannot be written: {error.strerror}",
            code="disk_full" if is_full else "not_written",
            next_step="Make room there, or choose another file with --write."
            if is_full
            else "Choose another file with --write.",
        ) from error


def file_to_write(path: Path) -> Path:
    """Where a file given by a user would be written: links followed, devices and folders refused.

    Raises:
        ConfigError: `not_written`; nothing is there that could be replaced or made.
    """
    try:
        target = Path(os.path.realpath(path))
        if not stat.S_ISREG(target.stat().st_mode):
            kind = "a folder" if target.is_dir() else "no regular file"
            raise _refused(path, f"it is {kind}")
    except FileNotFoundError:
        if not target.parent.is_dir():
            raise _refused(path, f"there is no folder {target.parent}") from None
    except OSError as error:
        raise _refused(path, str(error.strerror)) from error
    if not os.access(target.parent, os.W_OK):
        raise _refused(path, f"nothing can be written to the folder {target.parent}")
    return target


def _refused(path: Path, why: str) -> ConfigError:
    return ConfigError(
        f"{path} cannot be written: {why}", code="not_written", next_step="Choose another file."
    )


def _table(name: str, values: Json) -> str:
    # Numbers and one of two words: Python writes them as TOML does, but for the quotes.
    lines = [
        f'{key} = "{value}"' if isinstance(value, str) else f"{key} = {value}"
        for key, value in values.items()
    ]
    return "\n".join([f"[{name}]", *lines, ""])


def _write(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
