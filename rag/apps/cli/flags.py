"""Flags that commands share, and what their text means."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rag.settings import Settings

COMMON_PANEL = "Common flags"
SCOPE_PANEL = "Where to look"


class Mode(StrEnum):
    """Which legs of the search are used."""

    HYBRID = "hybrid"
    VISUAL = "visual"
    TEXT = "text"


class Granularity(StrEnum):
    """What is ranked."""

    PAGE = "page"
    DOCUMENT = "document"


class Device(StrEnum):
    """Where models and MaxSim run; auto takes cuda where there is such a device."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


@dataclass(frozen=True)
class Common:
    """What every command takes, declared once."""

    collection: Annotated[
        str, typer.Option("-c", "--collection", help="Collection.", rich_help_panel=COMMON_PANEL)
    ] = "default"
    data_dir: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the index. Default: ./octavo-data", rich_help_panel=COMMON_PANEL
        ),
    ] = None
    config: Annotated[
        Path | None, typer.Option(help="Settings file (TOML).", rich_help_panel=COMMON_PANEL)
    ] = None
    qdrant_url: Annotated[
        str | None,
        typer.Option(
            help="Qdrant server instead of the embedded store; its key is QDRANT_API_KEY.",
            rich_help_panel=COMMON_PANEL,
        ),
    ] = None
    encoder: Annotated[
        str | None,
        typer.Option(
            metavar="NAME[:MODEL]",
            help="Encoder of pages, with its model id or folder.",
            rich_help_panel=COMMON_PANEL,
        ),
    ] = None
    device: Annotated[
        Device | None,
        typer.Option(
            help="Where models and MaxSim run. Default: auto", rich_help_panel=COMMON_PANEL
        ),
    ] = None
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="SECTION.KEY=VALUE",
            help="Any setting, as in retrieval.fusion=rrf. Repeatable.",
            rich_help_panel=COMMON_PANEL,
        ),
    ] = None
    as_json: Annotated[
        bool, typer.Option("--json", help="Answer in JSON.", rich_help_panel=COMMON_PANEL)
    ] = False

    def settings(self) -> Settings:
        """Flags over environment over file over defaults; a flag of its own over `--set`.

        Raises:
            ConfigError: as `load_settings` does, of the environment and the file.
            typer.BadParameter: of the flags.
        """
        from rag.apps.cli import logs
        from rag.errors import ConfigError
        from rag.settings import dotted, load_settings, nested

        store = {"data_dir": self.data_dir, "qdrant_url": self.qdrant_url}
        on_device = {} if self.device is None else {"device": self.device.value}
        overrides = {
            "store": {key: value for key, value in store.items() if value is not None},
            "encoder": on_device | ({} if self.encoder is None else encoder_override(self.encoder)),
            "retrieval": on_device,
        }
        given = setting_values(self.sets or []) | dotted(overrides)
        with as_usage():
            flags = nested(given)
        try:
            settings = load_settings(self.config, overrides=flags)
        except ConfigError as error:
            load_settings(self.config)  # what is wrong without the flags is not theirs
            raise typer.BadParameter(error.message) from error
        logs.as_set(settings)
        return settings


def setting_values(flags: list[str], *, flag: str = "--set") -> dict[str, Any]:
    """`retrieval.fusion=rrf` flags as dotted names and values.

    Raises:
        typer.BadParameter: no name or no `=`, or the same name twice.
    """
    found: dict[str, Any] = {}
    for text in flags:
        name, separator, value = text.partition("=")
        if not separator or not name.strip():
            raise typer.BadParameter(f"expected SECTION.KEY=VALUE, got {text!r}", param_hint=flag)
        if name.strip() in found:
            raise typer.BadParameter(f"{name.strip()} is given twice", param_hint=flag)
        found[name.strip()] = setting_value(value)
    return found


@contextmanager
def as_usage(flag: str | None = None) -> Iterator[None]:
    """What is refused inside is a mistake of flags."""
    from rag.errors import ConfigError, InputError

    try:
        yield
    except (ConfigError, InputError) as error:
        message = f"{error.message.rstrip('.')}. {error.next_step}".strip()
        raise typer.BadParameter(message, param_hint=flag) from error


def setting_value(text: str) -> Any:
    """Text, which the setting reads as what it is; a list in brackets; `null` for none."""
    text = text.strip()
    if text == "null":
        return None
    if text.startswith("["):
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            shown = text if len(text) <= 80 else f"{text[:80]}..."
            raise typer.BadParameter(f"not JSON: {shown}", param_hint="--set") from error
    return text


def encoder_override(text: str) -> dict[str, str]:
    """`colpali:vidore/colqwen2.5-v0.2` as settings; a name alone leaves the model as it is."""
    name, _, model = text.partition(":")
    place = "weights" if name == "words" else "model"
    return {"name": name, place: model} if model else {"name": name}


@contextmanager
def opened(settings: Settings, command: str) -> Iterator[Any]:
    """The client, for as long as the command runs."""
    from rag.apps.connection import connect
    from rag.logs import about

    with about(command=command), connect(settings, command=f"octavo {command}") as octavo:
        yield octavo


def add_command(
    app: typer.Typer, run: Callable[..., int | None], *, name: str, help_text: str
) -> None:
    """Register `run(common, ...)` as a command that takes its own flags and the common ones.

    Whatever `run` returns is the exit code; None is 0.
    """
    app.command(name, help=help_text)(_with_common_flags(run))


def add_group(
    app: typer.Typer, run: Callable[..., int | None], *, name: str, help_text: str
) -> typer.Typer:
    """The same for a command that has commands of its own; `run` sees them in its context."""
    group = typer.Typer(invoke_without_command=True, help=help_text)
    group.callback(invoke_without_command=True)(_with_common_flags(run))
    app.add_typer(group, name=name)
    return group


def _with_common_flags(run: Callable[..., int | None]) -> Callable[..., int | None]:
    own = [
        parameter
        for parameter in inspect.signature(run, eval_str=True).parameters.values()
        if parameter.name != "common"
    ]
    shared = list(inspect.signature(Common, eval_str=True).parameters.values())

    def command(**values: Any) -> int | None:
        common = Common(**{parameter.name: values.pop(parameter.name) for parameter in shared})
        return run(common, **values)

    parameters = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in (*own, *shared)
    ]
    # Typer reads the flags from the signature, and their types from the annotations.
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # not in typeshed
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    return command


# --- flags that some commands share ------------------------------------------------------------
ModeFlag = Annotated[Mode, typer.Option(help="Which legs of the search are used.")]
AfterFlag = Annotated[
    list[str] | None,
    typer.Option(
        "--after",
        metavar="QUESTION",
        help="A question asked before, which this one follows up. Repeatable, oldest first.",
    ),
]
FilterFlag = Annotated[
    list[str] | None,
    typer.Option("--filter", metavar="KEY=VALUE", help="Repeatable.", rich_help_panel=SCOPE_PANEL),
]
FiltersFlag = Annotated[
    str | None,
    typer.Option(
        metavar="JSON", help='As in {"year": {"$gte": 2022}}.', rich_help_panel=SCOPE_PANEL
    ),
]
DocumentFlag = Annotated[
    list[str] | None,
    typer.Option(
        "--doc", metavar="DOC", help="Source or id. Repeatable.", rich_help_panel=SCOPE_PANEL
    ),
]
PagesFlag = Annotated[
    str | None,
    typer.Option(metavar="3-7", help="Page or range of pages.", rich_help_panel=SCOPE_PANEL),
]


def scope(
    filter_flags: list[str] | None,
    filters: str | None,
    documents: list[str] | None,
    pages: str | None,
) -> dict[str, Any]:
    """The flags that narrow a search, as the client takes them.

    Raises:
        typer.BadParameter: a flag that does not read, or an unknown operator.
    """
    return {
        "filters": _all_filters(filter_flags or [], filters),
        "documents": documents or None,
        "pages": None if pages is None else page_range(pages),
    }


def assignments(flags: list[str], *, flag: str) -> list[tuple[str, Any]]:
    """`key=value` flags as pairs; a value that reads as JSON is taken as JSON."""
    from rag.errors import InputError
    from rag.filters import parse_assignment

    try:
        return [parse_assignment(text) for text in flags]
    except InputError as error:
        raise typer.BadParameter(error.message, param_hint=flag) from error


def _all_filters(flags: list[str], text: str | None) -> dict[str, Any] | None:
    from rag.errors import InputError
    from rag.filters import parse_filters

    # A list, not one object: the same key given twice must hold twice, not lose the first.
    parts: list[dict[str, Any]] = [
        {key: value} for key, value in assignments(flags, flag="--filter")
    ]
    if text is not None:
        try:
            given = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise typer.BadParameter(f"not JSON: {error}", param_hint="--filters") from error
        if not isinstance(given, dict):
            raise typer.BadParameter("expected a JSON object", param_hint="--filters")
        parts.append(given)
    if not parts:
        return None
    whole = parts[0] if len(parts) == 1 else {"$and": parts}
    try:
        parse_filters(whole)
    except InputError as error:
        message = f"{error.message} {error.next_step}".strip()
        raise typer.BadParameter(message, param_hint="--filters") from error
    return whole


def page_range(text: str) -> tuple[int, int]:
    """`3-7` -> (3, 7); `5` -> (5, 5); pages count from 1."""
    found = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", text.strip())
    first = int(found[1]) if found else 0
    last = int(found[2] or first) if found else 0
    if not 1 <= first <= last:
        raise typer.BadParameter(
            f"expected a page or a range such as 3-7, from 1, got {text!r}", param_hint="--pages"
        )
    return first, last


def page_reference(text: str, *, flag: str) -> tuple[str, int]:
    """`report.pdf:60` -> ("report.pdf", 60); a name may hold colons of its own."""
    document, _, number = text.rpartition(":")
    if not document or not re.fullmatch(r"[0-9]{1,9}", number) or int(number) < 1:
        raise typer.BadParameter(f"expected DOC:PAGE, a page from 1, got {text!r}", param_hint=flag)
    return document, int(number)


def region_reference(text: str, *, flag: str) -> tuple[str, int, tuple[float, ...] | None]:
    """`report.pdf:60` or `report.pdf:60:72,90,300,200`: document, page, and the box in points."""
    reference, _, last = text.rpartition(":")
    if "," not in last:
        return (*page_reference(text, flag=flag), None)
    try:
        box = tuple(float(number) for number in last.split(","))
    except ValueError:
        box = ()
    if len(box) != 4:
        raise typer.BadParameter(
            f"expected DOC:PAGE:x0,y0,x1,y1, four numbers in points, got {text!r}",
            param_hint=flag,
        )
    return (*page_reference(reference, flag=flag), box)


def made_folder(path: Path, *, flag: str) -> Path:
    """The folder, which is there from now on.

    Raises:
        typer.BadParameter: it cannot be.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = "there is a file" if isinstance(error, FileExistsError) else error.strerror
        raise typer.BadParameter(f"no folder {str(path)!r}: {why}", param_hint=flag) from error
    return path


PasswordFile = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, help="File whose first line opens protected PDFs."),
]


def password_in(path: Path | None) -> str | None:
    """The first line of a `--password-file`."""
    from rag.apps.password_file import first_line

    return None if path is None else first_line(path)
