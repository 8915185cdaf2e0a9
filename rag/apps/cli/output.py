"""Printing: answers on stdout, everything else on stderr; JSON for programs, tables for people.

Words from documents are data: control characters in them never reach a terminal.
"""

from __future__ import annotations

import json
import os
import re
import sys
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rag.secrets import without_secrets

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

WIDTH_WITHOUT_TERMINAL = 120
# Directional overrides reorder what follows them: a file name could show as another one.
_DIRECTIONAL = {*range(0x202A, 0x202F), *range(0x2066, 0x206A)}


def clean(value: object) -> str:
    """Text from outside, on one line, without characters that steer a terminal."""
    return "".join(
        " "
        if character in "\n\r\t"
        else "\ufffd"
        if unicodedata.category(character) == "Cc" or ord(character) in _DIRECTIONAL
        else character
        for character in str(value)
    )


def line(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def emit(value: Mapping[str, Any]) -> None:
    """One JSON line, out at once; Infinity and NaN are no JSON."""
    sys.stdout.write(_json(value) + "\n")
    sys.stdout.flush()


# JSON need not escape them, and a terminal heeds them: other controls, and what turns text round.
_STEERING = re.compile("[\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def _json(value: Mapping[str, Any]) -> str:
    written = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return _STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", written)


def error(found: Mapping[str, str], *, as_json: bool) -> None:
    """The last words of a command that failed; a server's answer among them may hold a key."""
    found = {name: without_secrets(text) for name, text in found.items()}
    if as_json:
        sys.stderr.write(_json({"error": dict(found)}) + "\n")
        return
    console = open_console(stderr=True)
    labelled(console, "error", "bold red", found["message"])
    if found.get("next_step"):
        labelled(console, "next", "bold", found["next_step"])


def warnings(found: Iterable[Mapping[str, str]]) -> None:
    console = open_console(stderr=True)
    for warning in found:
        labelled(console, "warning", "yellow", without_secrets(warning["message"]))


def note(text: str) -> None:
    """A remark beside the answer, on stderr."""
    from rich.text import Text

    shown = "\n".join(map(clean, text.split("\n")))
    open_console(stderr=True).print(Text(shown, style="dim"), soft_wrap=True)


def labelled(console: Console, label: str, style: str, message: str) -> None:
    from rich.text import Text

    text = Text.assemble((f"{label}: ", style), "\n".join(map(clean, message.splitlines())))
    console.print(text, soft_wrap=True)


def open_console(*, stderr: bool = False) -> Console:
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    fixed = None if stream.isatty() or "COLUMNS" in os.environ else WIDTH_WITHOUT_TERMINAL
    return Console(stderr=stderr, width=fixed, highlight=False, markup=False, emoji=False)


def table(*columns: str, right: Sequence[str] = (), leading: int = 0) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", leading=leading)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left")
    return table


def record(facts: Mapping[str, Any]) -> None:
    """Facts as an aligned list, nested ones indented below their name."""
    console = open_console()
    for text in _lines(facts, indent=0):
        console.print(text, soft_wrap=True)


def _name(key: str) -> str:
    """`free_bytes` as `free`; the dotted name of a setting as it is written."""
    return clean(key if "." in key else key.removesuffix("_bytes").replace("_", " "))


def _lines(
    facts: Mapping[str, Any], *, indent: int, name_of: Callable[[str], str] = _name
) -> Iterable[str]:
    width = max((len(name_of(key)) for key in facts), default=0)
    for key, value in facts.items():
        name = name_of(key)
        if isinstance(value, Mapping) and value:
            yield f"{'':{indent}}{name}"
            # Keys of metadata are the user's, and go back into filters as they are.
            inner_name = clean if key == "metadata" else name_of
            yield from _lines(value, indent=indent + 2, name_of=inner_name)
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            yield f"{'':{indent}}{name}"
            for item in value:
                inner = list(_lines(item, indent=indent + 4))
                yield f"{'':{indent + 2}}- {inner[0].strip()}" if inner else f"{'':{indent + 2}}-"
                yield from inner[1:]
        else:
            is_size = name_of is _name and key.endswith("_bytes") and value
            shown = size(value) if is_size else _plain(value)
            yield f"{'':{indent}}{name:<{width}}  {shown}"


def size(size_bytes: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if size_bytes < 1000:
            return f"{size_bytes:.3g} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.3g} GB"


def _plain(value: object) -> str:
    if value is None or value in ({}, []):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(clean(item) for item in value)
    return clean(value)
