"""Printing: answers on stdout, everything else on stderr; JSON for programs, tables for people.

Words from documents are data: control characters in them never reach a terminal.
"""

from __future__ import annotations

import json
import os
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

WIDTH_WITHOUT_TERMINAL = 120
STATE_STYLES = {
    "indexed": "green",
    "replaced": "green",
    "unchanged": "dim",
    "partial": "yellow",
    "failed": "red",
    "refused": "red",
}
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
    """One JSON line, out at once."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def error(found: Mapping[str, str], *, as_json: bool) -> None:
    if as_json:
        sys.stderr.write(json.dumps({"error": dict(found)}, ensure_ascii=False) + "\n")
        return
    console = open_console(stderr=True)
    _say(console, "error", "bold red", found["message"])
    if found.get("next_step"):
        _say(console, "next", "bold", found["next_step"])


def warnings(found: Iterable[Mapping[str, str]]) -> None:
    console = open_console(stderr=True)
    for warning in found:
        _say(console, "warning", "yellow", warning["message"])


def note(text: str) -> None:
    """A remark beside the answer, on stderr."""
    from rich.text import Text

    open_console(stderr=True).print(Text(text, style="dim"), soft_wrap=True)


def _say(console: Console, label: str, style: str, message: str) -> None:
    from rich.text import Text

    text = Text.assemble((f"{label}: ", style), "\n".join(map(clean, message.splitlines())))
    console.print(text, soft_wrap=True)


def open_console(*, stderr: bool = False) -> Console:
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    fixed = None if stream.isatty() or "COLUMNS" in os.environ else WIDTH_WITHOUT_TERMINAL
    return Console(stderr=stderr, width=fixed, highlight=False, markup=False, emoji=False)


def _table(*columns: str, right: Sequence[str] = (), leading: int = 0) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", leading=leading)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left")
    return table


def _percent(part: float) -> str:
    return f"{100 * part:.0f} %"


def _where(found: Mapping[str, Any]) -> str:
    return f"{clean(found['source'])}, page {found['page_number']}"


def page_list(pages: Iterable[int]) -> str:
    """`[3, 5, 6, 7]` as `3, 5-7`."""
    runs: list[list[int]] = []
    for page in sorted(pages):
        if runs and page == runs[-1][1] + 1:
            runs[-1][1] = page
        else:
            runs.append([page, page])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


# --- answers -----------------------------------------------------------------------------------
def search(result: Mapping[str, Any]) -> None:
    from rich.text import Text

    console = open_console()
    if not result["hits"]:
        console.print("No page was found.")
        return
    table = _table("#", "page", "score", "match", "words", right=("#", "score", "match"), leading=1)
    table.columns[1].overflow = "fold"
    table.columns[4].ratio = 1
    for hit in result["hits"]:
        table.add_row(
            str(hit["rank"]),
            Text(_where(hit), style="cyan"),
            f"{hit['score']:.2f}",
            _percent(hit["score_normalized"]),
            Text(clean(hit["snippet"])),
        )
    console.print(table)


def explanation(result: Mapping[str, Any]) -> None:
    """Where the pages came from: stages, the scores of each hit, and what the search says."""
    console = open_console()
    stages = _table("stage", "candidates", "ms", right=("candidates", "ms"))
    for stage in result["stages"]:
        stages.add_row(stage["name"], str(stage["candidates"]), f"{stage['ms']:.2f}")
    console.print(stages)
    names = sorted({name for hit in result["hits"] for name in hit.get("scores", {})})
    if names:
        scores = _table("#", "page", *names, right=("#", *names))
        for hit in result["hits"]:
            parts = (hit["scores"].get(name) for name in names)
            scores.add_row(
                str(hit["rank"]),
                _where(hit),
                *("-" if part is None else f"{part:.3f}" for part in parts),
            )
        console.print(scores)
    if result.get("explain"):
        record(result["explain"])


def ask(result: Mapping[str, Any]) -> None:
    from rich.text import Text

    console = open_console()
    paragraphs = [clean(part) for part in str(result["answer"]).split("\n")]
    console.print(Text("\n".join(paragraphs), style="yellow" if result["abstained"] else ""))
    if result["citations"]:
        console.print()
    for citation in result["citations"]:
        console.print(
            Text.assemble(
                (f"[{citation['marker']}] ", "bold cyan"),
                (_where(citation), "cyan"),
                f': "{clean(citation["quote"])}"',
                "" if citation["verified"] else (" (not verified)", "yellow"),
            ),
            soft_wrap=not console.is_terminal,
        )


def documents(result: Mapping[str, Any]) -> None:
    from rich.text import Text

    console = open_console()
    if not result["documents"]:
        console.print("No documents.")
        return
    table = _table("source", "state", "pages", "notes", "document", right=("pages",))
    for document in result["documents"]:
        table.add_row(
            Text(clean(document["source"]), style="cyan"),
            Text(document["state"], style=STATE_STYLES.get(document["state"], "")),
            str(document["pages"]),
            Text("; ".join([*page_notes(document), *_metadata(document)])),
            Text(clean(document["document_id"]), style="dim"),
        )
    console.print(table)


def document(result: Mapping[str, Any]) -> None:
    """One document: its facts, then a line for each page."""
    record({key: value for key, value in result.items() if key != "page_list"})
    table = _table("page", "state", "words", "size, pt", "reason", right=("page", "words"))
    for page in result["page_list"]:
        table.add_row(
            str(page["page_number"]),
            page["state"],
            str(page["words"]),
            f"{page['width_pt']:g} x {page['height_pt']:g}",
            clean(page["reason"] or ""),
        )
    open_console().print(table)


def _metadata(document: Mapping[str, Any]) -> list[str]:
    metadata = document.get("metadata") or {}
    return [f"{clean(key)}={clean(value)}" for key, value in metadata.items()]


def page_notes(document: Mapping[str, Any]) -> list[str]:
    """Blank, wordless and failed pages by number."""
    failed = document.get("failed_pages") or []
    reasons = sorted({clean(page["reason"]) for page in failed})
    return [
        f"{label} {page_list(pages)}{suffix}"
        for label, pages, suffix in (
            ("blank", document.get("blank_pages") or [], ""),
            ("no text", document.get("no_text_pages") or [], ""),
            ("failed", [page["page_number"] for page in failed], f" ({', '.join(reasons)})"),
        )
        if pages
    ]


def ingested(event: Mapping[str, Any], console: Console) -> None:
    """One line for a document that is done, more where something was wrong with it."""
    from rich.text import Text

    state = event["state"]
    found = event.get("error")
    notes = page_notes(event)
    count = "" if found else f"  {event['pages']} page{'' if event['pages'] == 1 else 's'}"
    text = Text.assemble(
        (f"{state:<10}", STATE_STYLES.get(state, "")),
        (clean(event["source"]), "cyan"),
        count,
        f" ({'; '.join(notes)})" if notes else "",
    )
    if found:
        text.append(f"\n{'':10}{clean(found['message'])}", style="red")
        if found.get("next_step"):
            text.append(f"\n{'':10}next: {clean(found['next_step'])}")
    for warning in event.get("warnings") or []:
        text.append(f"\n{'':10}{clean(warning['message'])}", style="yellow")
    console.print(text, soft_wrap=True)


def totals(result: Mapping[str, Any]) -> None:
    def counted(counts: Mapping[str, int], *, noun: str) -> str:
        parts = ", ".join(f"{n} {name}" for name, n in counts.items() if n)
        whole = sum(counts.values())
        return f"{whole} {noun}{'' if whole == 1 else 's'}" + (f" ({parts})" if parts else "")

    pages = result["pages"]
    rate = sum(pages.values()) / result["seconds"] if result["seconds"] else 0.0
    open_console().print(
        f"{counted(result['documents'], noun='document')}, {counted(pages, noun='page')}"
        f" in {result['seconds']:.1f} s, {rate:.1f} pages/s"
    )


def runs(found: Sequence[Mapping[str, Any]]) -> None:
    console = open_console()
    if not found:
        console.print("No runs.")
        return
    names = list(found[0]["measures"])
    numbers = ("n", *names)
    table = _table("run", "scope", *numbers, "finished", right=numbers)
    for each in found:
        table.add_row(
            clean(each["out"]),
            each["scope"],
            str(each["n_questions"]),
            *(f"{each['measures'][name]:.4f}" for name in names),
            clean(each["finished_at"]),
        )
    console.print(table)


def examination(result: Mapping[str, Any], *, changed: Mapping[str, Any]) -> None:
    """What the doctor found; of the settings only those that differ from their defaults."""
    from rich.text import Text

    console = open_console()
    for check in result["checks"]:
        mark = ("ok      ", "green") if check["ok"] else ("missing ", "yellow")
        console.print(
            Text.assemble(mark, f"{check['name']:<20} ", (clean(check["detail"]), "dim")),
            soft_wrap=True,
        )
        if check["next_step"]:
            console.print(f"{'':8}next: {clean(check['next_step'])}", soft_wrap=True)
    console.print()
    facts = {key: value for key, value in result.items() if key not in ("checks", "settings")}
    record(facts | {"settings_changed": changed})


# --- anything else: nested facts ---------------------------------------------------------------
def record(facts: Mapping[str, Any]) -> None:
    """Facts as an aligned list, nested ones indented below their name."""
    console = open_console()
    for text in _lines(facts, indent=0):
        console.print(text, soft_wrap=True)


def _lines(facts: Mapping[str, Any], *, indent: int) -> Iterable[str]:
    width = max((len(_name(key)) for key in facts), default=0)
    for key, value in facts.items():
        name = _name(key)
        if isinstance(value, Mapping) and value:
            yield f"{'':{indent}}{name}"
            yield from _lines(value, indent=indent + 2)
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            yield f"{'':{indent}}{name}"
            for item in value:
                inner = list(_lines(item, indent=indent + 4))
                yield f"{'':{indent + 2}}- {inner[0].strip()}" if inner else f"{'':{indent + 2}}-"
                yield from inner[1:]
        else:
            shown = _size(value) if key.endswith("_bytes") and value else _plain(value)
            yield f"{'':{indent}}{name:<{width}}  {shown}"


def _name(key: str) -> str:
    """`free_bytes` as `free`; the dotted name of a setting as it is written."""
    return clean(key if "." in key else key.removesuffix("_bytes").replace("_", " "))


def _size(size_bytes: float) -> str:
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
    if isinstance(value, list | tuple):
        return ", ".join(clean(item) for item in value)
    return clean(value)
