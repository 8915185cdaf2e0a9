"""A chat model as a judge: prompts as versioned files, replies held to their shape, everything
counted.

A reply that is none is asked for once more; then the reading has failed, and nobody guesses what it
would have said.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from rag.answer.generated.prompt import Prompt
from rag.chat.replies import parsed
from rag.chat.shown_text import shown
from rag.ports import ChatMessage, ChatModel, ChatReply
from rag.types import Json, TokenUsage

_MAX_TOKENS = 2_000
_MARK_CHARS = 16  # of a SHA-256


class Reply(BaseModel):
    """What a judge replies: all fields, no others, nothing turned into another type."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


AnyReply = TypeVar("AnyReply", bound=Reply)


class NoVerdict(Exception):
    """The judge's reply could not be used, twice; the message says why in words of ours alone."""


@dataclass
class Tally:
    """What judging one question took.

    Attributes:
        usages: of the replies whose server counts.
        n_unparsed: readings that failed.
    """

    n_calls: int = 0
    n_unparsed: int = 0
    usages: list[TokenUsage] = field(default_factory=list)

    def count(self, reply: ChatReply) -> None:
        self.n_calls += 1
        if reply.usage is not None:
            self.usages.append(reply.usage)


@cache
def judge_prompt(name: str, version: int = 1) -> Prompt:
    """The prompt's files as they are shipped.

    Raises:
        ValueError: there are none.
    """
    prefix = f"{name}-{version}."
    parts = {
        file.name.removeprefix(prefix).removesuffix(".md"): file.read_text("utf-8").rstrip("\n")
        for file in resources.files("eval.judge.prompts").iterdir()
        if file.name.startswith(prefix) and file.name.endswith(".md")
    }
    if not parts:
        raise ValueError(f"there is no prompt {name}-{version}")
    return Prompt(name, version, parts)


def pieces(prompt: Prompt, texts: Sequence[tuple[str, str]]) -> str:
    """Texts of strangers, each between lines with a mark that stands in none of them.

    Args:
        prompt: with the part `piece`.
        texts: name ("question", "page 3 of a.pdf") and text, in the order they are shown.
    """
    cleaned = [(shown(" ".join(name.split())), shown(text)) for name, text in texts]
    everything = "\0".join(part for piece in cleaned for part in piece)
    return "\n\n".join(
        prompt.filled("piece", name=name, text=text, mark=_mark(name, text, everything))
        for name, text in cleaned
    )


def _mark(name: str, text: str, everything: str) -> str:
    content = hashlib.sha256(f"{name}\0{text}".encode())
    while (mark := content.hexdigest()[:_MARK_CHARS]) in everything:
        content.update(b"\0")
    return mark


def asked(
    chat: ChatModel,
    prompt: Prompt,
    words: str,
    shape: type[AnyReply],
    schema: Json,
    tally: Tally,
    *,
    fault_of: Callable[[AnyReply], str] = lambda _reply: "",
) -> AnyReply:
    """One reply in its shape, within two tries.

    Args:
        chat: the judge.
        prompt: with the parts `system` and `repair`.
        words: what it is asked.
        shape: of the reply.
        schema: the same for servers that hold a model to one.
        tally: gets what the tries took.
        fault_of: what is wrong with a reply of this shape; empty where nothing is.

    Raises:
        NoVerdict: neither try could be used.
        RagError: as ChatModel.
    """
    fault = ""
    for _ in range(2):
        repair = f"\n\n{prompt.filled('repair', fault=fault)}" if fault else ""
        heard = chat.complete(
            [
                ChatMessage("system", (prompt.filled("system"),)),
                ChatMessage("user", (words + repair,)),
            ],
            max_tokens=_MAX_TOKENS,
            json_schema=schema,
        )
        tally.count(heard)
        if heard.is_cut:
            fault = "it was too long and was cut off"
            continue
        try:
            reply = shape.model_validate(parsed(heard.text))
        except ValidationError:
            fault = "it was not the one JSON object of that shape"
            continue
        if not (fault := fault_of(reply)):
            return reply
    tally.n_unparsed += 1
    raise NoVerdict(fault)


def object_schema(properties: Mapping[str, Json]) -> Json:
    """An object as servers that hold a model to a shape want it: all fields, no others."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }
