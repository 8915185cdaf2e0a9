"""Answers as people read them, whole or while they arrive."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.text import Text

from rag.apps.cli.output import clean, open_console, table

_CLAIM_NOTES = {"unsupported": " (no support found)", "visual": " (seen in the image)"}


def answer(result: Mapping[str, Any], *, is_heard: bool = False) -> None:
    """An answer and what it stands on; `is_heard` leaves out the text, which was shown before."""
    console = open_console()
    if result["error"] is None and not (is_heard and _was_told_whole(result)):
        paragraphs = [clean(part) for part in str(result["answer"]).split("\n")]
        console.print(Text("\n".join(paragraphs), style="yellow" if result["abstained"] else ""))
    for claim in result["claims"]:
        if worked := claim.get("calculation"):
            console.print(Text(_worked_out(worked), style="dim"), soft_wrap=True)
    if result["citations"]:
        console.print()
    for citation in result["citations"]:
        console.print(_cited(citation), soft_wrap=not console.is_terminal)
    if result["unsupported"]:
        console.print()
    for dropped in result["unsupported"]:
        console.print(
            Text.assemble(("left out, not supported: ", "yellow"), f'"{clean(dropped)}"'),
            soft_wrap=not console.is_terminal,
        )
    if result["error"] is not None:
        pages(result)


def _was_told_whole(result: Mapping[str, Any]) -> bool:
    """Whether what was heard is the answer: every claim of it stood."""
    return not result["abstained"] and all(
        claim["state"] != "unsupported" for claim in result["claims"]
    )


def _worked_out(calculation: Mapping[str, Any]) -> str:
    formula = clean(calculation["formula"])
    expression = f"{clean(calculation['expression'])} = {calculation['value']:.6g}"
    return f"worked out: {formula}: {expression}" if formula else f"worked out: {expression}"


def _cited(citation: Mapping[str, Any]) -> Text:
    where = f"{clean(citation['source'])}, page {citation['page_number']}"
    said = " (seen in the image)" if citation["visual"] else f': "{clean(citation["quote"])}"'
    return Text.assemble(
        (f"[{citation['marker']}] ", "bold cyan"),
        (where, "cyan"),
        said,
        "" if citation["verified"] or citation["visual"] else (" (not verified)", "yellow"),
    )


def pages(result: Mapping[str, Any]) -> None:
    """The pages found, where no answer was made of them."""
    console = open_console()
    for page in result["pages"]:
        console.print(
            Text(f"{clean(page['source'])}, page {page['page_number']}", style="cyan"),
            soft_wrap=True,
        )


class Teller:
    """Prints an answer while it arrives: its text at once, the marks once they are checked."""

    def __init__(self) -> None:
        self.has_told = False

    def __call__(self, event: Mapping[str, Any]) -> None:
        match event["event"]:
            case "delta":
                self._write(event["text"])
            case "claim":
                marks = "".join(f" [{marker}]" for marker in event["markers"])
                self._write(marks + _CLAIM_NOTES.get(event["state"], ""))
            case "restarted":
                self._write("\n... that reply could not be used; asking once more:\n")

    def end(self) -> None:
        if self.has_told:
            self._write("\n")

    def _write(self, text: str) -> None:
        self.has_told = True
        sys.stdout.write("\n".join(map(clean, text.split("\n"))))
        sys.stdout.flush()


def conversations(result: Mapping[str, Any]) -> None:
    console = open_console()
    if not result["conversations"]:
        console.print("No conversations.")
        return
    shown = table("conversation", "last", "turns", "collection", "about", right=("turns",))
    for each in result["conversations"]:
        shown.add_row(
            Text(each["conversation_id"], style="cyan"),
            _moment(each["updated_at"]),
            str(each["turns"]),
            clean(each["collection"]),
            Text(clean(each["title"])),
        )
    console.print(shown)


def conversation(result: Mapping[str, Any]) -> None:
    """Every question and answer, oldest first."""
    exchanges: Sequence[Mapping[str, Any]] = result["exchanges"]
    console = open_console()
    for number, exchange in enumerate(exchanges):
        if number:
            console.print()
        console.print(Text.assemble(("> ", "bold"), clean(exchange["question"])), soft_wrap=True)
        answer(exchange)


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")
