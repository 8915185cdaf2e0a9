"""Where runs are kept: a line in the history, and the last whole run in the document."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eval.bench.contender import Outcome
from eval.bench.report import table
from rag.errors import InputError

_BEGIN, _END = "<!-- last run: begin -->", "<!-- last run: end -->"


def append(run: Mapping[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(run, ensure_ascii=False) + "\n")


def caption(run: Mapping[str, Any]) -> str:
    """Of what and where a run is: commit, machine, and whose pages where they are not made up."""
    place, corpus = run["machine"], run["arguments"]["corpus"]
    words = f"commit {run['commit'] or 'unknown'}; {place['cores']} cores, {place['cpu']}"
    return words if corpus is None else f"{words}; pages of {corpus}"


def write_tables(document: Path, outcomes: Sequence[Outcome], caption: str, picture: str) -> None:
    """Put the picture and all tables between the document's two marks; nothing else changes.

    Raises:
        InputError: `no_marks`; the document is left as it is.
    """
    text = document.read_text(encoding="utf-8")
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise InputError(
            f"{document.name} has no lines {_BEGIN} and {_END}, in this order",
            code="no_marks",
            next_step="Put both lines where the tables belong, and run it again.",
        )
    tables = "\n".join(table(outcome) for outcome in outcomes)
    block = f"\n`make bench`, {caption}.\n\n![times]({picture})\n\n```text\n{tables}```\n"
    document.write_text(f"{before}{begin}{block}{end}{after}", encoding="utf-8")
