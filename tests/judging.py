"""A judge of known verdicts: it finds sentences in what it is shown, word for word."""

from __future__ import annotations

import json
import re
from typing import Any

CRITERIA = ("correct", "numbers", "nothing_missing", "nothing_unsupported", "concise", "clear")


def piece(words: str, name: str) -> str:
    """What stands between the lines of a name; empty where there are none."""
    found = re.search(
        rf"\[{re.escape(name)} begins (\w+)\]\n(.*?)\n\[\S[^\n]* ends \1\]", words, re.S
    )
    return found[2] if found else ""


def pages(words: str) -> str:
    found = re.findall(
        r"\[page \d+ of \S+ begins (\w+)\]\n(.*?)\n\[\S[^\n]* ends \1\]", words, re.S
    )
    return " ".join(text for _, text in found)


def sentences(text: str) -> list[str]:
    return [part.strip() for part in text.split(".") if part.strip()]


def claims_shown(words: str) -> list[tuple[int, str]]:
    listed = words.partition("Claims, in reading")[2]
    return [(int(number), text) for number, text in re.findall(r"^(\d+)\. (.+)$", listed, re.M)]


def reading(words: str) -> int:
    found = re.search(r"in reading (\d+) of|This is reading (\d+) of", words)
    return int(found[1] or found[2]) if found else 0


def kind(words: str) -> str:
    """needed, said, held, supported or compare."""
    for name, beginning in (
        ("needed", "Take from the reference"),
        ("said", "Take from the answer"),
        ("held", "For each numbered claim, say whether the answer"),
        ("supported", "For each numbered claim, say whether the reference"),
        ("compare", "Judge each of the two answers"),
    ):
        if words.startswith(beginning):
            return name
    raise AssertionError(words[:200])


def verdicts(words: str, text: str) -> str:
    return json.dumps(
        {"verdicts": [{"claim": n, "holds": claim in text} for n, claim in claims_shown(words)]}
    )


def met(answer: str, reference: str) -> dict[str, bool]:
    """Correct and all else where it says the reference, concise where it says nothing more."""
    is_right = reference in answer
    return dict.fromkeys(CRITERIA, is_right) | {"concise": len(answer) <= len(reference) + 1}


def fair(words: str) -> str:
    """The reply of a judge that makes no mistake and prefers no place."""
    asked = kind(words)
    reference, answer = piece(words, "reference answer"), piece(words, "answer")
    if asked == "needed":
        return json.dumps({"claims": sentences(reference)})
    if asked == "said":
        return json.dumps({"claims": sentences(answer)})
    if asked == "held":
        return verdicts(words, answer)
    if asked == "supported":
        return verdicts(words, f"{reference} {pages(words)}")
    sides = {
        side: met(piece(words, f"{side} answer"), reference.rstrip("."))
        for side in ("first", "second")
    }
    return json.dumps(sides)


def words_of(messages: list[dict[str, Any]]) -> str:
    """What is asked, of the messages that a server is sent."""
    return str(messages[-1]["content"])
