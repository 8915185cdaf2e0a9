"""What a chat model replied, held to the one shape that is taken as a draft.

A fence around the object, and prose before and after it that holds no brace, are overlooked;
whatever else is not of the shape is no draft.
"""

from __future__ import annotations

import json
from typing import Annotated, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from rag.answer.draft import Draft, DraftClaim, Source
from rag.chat.shown_text import whole
from rag.types import Json

MAX_REPLY_CHARS = 100_000
MAX_CLAIMS = 40
MAX_SOURCES = 24  # of a claim; a sum over two years of quarters has eight
MAX_TEXT_CHARS = 2_000
MAX_QUOTE_CHARS = 1_500
MAX_FORMULA_CHARS = 1_000
MAX_SHORT_CHARS = 300


class BadReply(Exception):
    """A reply that is no draft; the message says why, in words of ours alone."""


_Text = Annotated[str, BeforeValidator(lambda said: whole(said) if isinstance(said, str) else said)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _Source(_Part):
    evidence: int = Field(ge=0, le=1_000_000)
    quote: _Text = Field(max_length=MAX_QUOTE_CHARS)

    def source(self) -> Source:
        return Source(self.evidence, self.quote)


class _Claim(_Part):
    text: _Text = Field(max_length=MAX_TEXT_CHARS)
    sources: list[_Source] = Field(max_length=MAX_SOURCES)
    formula: _Text = Field(max_length=MAX_FORMULA_CHARS)
    expression: _Text = Field(max_length=MAX_FORMULA_CHARS)

    def claim(self) -> DraftClaim:
        return DraftClaim(
            text=self.text,
            sources=tuple(source.source() for source in self.sources),
            formula=self.formula,
            expression=self.expression,
        )


class _Reply(_Part):
    abstained: bool
    reason: _Text = Field(max_length=MAX_TEXT_CHARS)
    claims: list[_Claim] = Field(max_length=MAX_CLAIMS)
    short: _Text = Field(max_length=MAX_SHORT_CHARS)


def _object(**properties: Json) -> Json:
    """An object as servers that hold a model to a shape want it: all fields, no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


_TEXT: Json = {"type": "string"}
# Lengths and numbers of items are left out: not every server knows them, and some refuse.
REPLY_SCHEMA: Json = _object(
    abstained={"type": "boolean"},
    reason=_TEXT,
    claims={
        "type": "array",
        "items": _object(
            text=_TEXT,
            sources={
                "type": "array",
                "items": _object(evidence={"type": "integer"}, quote=_TEXT),
            },
            formula=_TEXT,
            expression=_TEXT,
        ),
    },
    short=_TEXT,
)


def parse_reply(text: str) -> Draft:
    """The draft of a whole reply.

    Raises:
        BadReply: it is none.
    """
    if len(text) > MAX_REPLY_CHARS:
        raise BadReply(f"it is longer than {MAX_REPLY_CHARS} characters")
    start = text.find("{")
    if start < 0:
        raise BadReply("there is no JSON object in it")
    try:
        value, end = _DECODER.raw_decode(text, start)
    except RecursionError as error:
        raise BadReply("it is nested too deeply") from error
    except ValueError as error:
        raise BadReply("it is no JSON") from error
    if "{" in text[end:]:
        raise BadReply("it holds more than one JSON object")
    reply = _held(_Reply, value)
    if reply.abstained:
        return Draft(abstained=True, reason=reply.reason)
    return Draft(
        claims=tuple(claim.claim() for claim in reply.claims),
        short=reply.short,
        reason=reply.reason,
    )


def parse_claim(text: str) -> DraftClaim:
    """One object of `claims`, as it stands in a reply.

    Raises:
        BadReply: it is none.
    """
    try:
        value = _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise BadReply("it is no JSON") from error
    return _held(_Claim, value).claim()


# --- shape --------------------------------------------------------------------------------------
def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Raises BadReply where a field comes twice: which of the two is meant nobody knows."""
    if len({name for name, _ in pairs}) < len(pairs):
        raise BadReply("a field stands twice in one object")
    return dict(pairs)


def _no_number(_name: str) -> object:
    raise BadReply("it is no JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_number)
_Shape = TypeVar("_Shape", bound=_Part)


def _held(shape: type[_Shape], value: object) -> _Shape:
    try:
        return shape.model_validate(value)
    except ValidationError as error:
        raise BadReply(_fault(error)) from error


def _fault(error: ValidationError) -> str:
    """The first thing that is wrong, in words of ours: names that a reply made up stay out."""
    first = error.errors(include_input=False, include_context=True, include_url=False)[0]
    place, limit = list(first["loc"]), first.get("ctx", {}).get("max_length")
    match first["type"]:
        case "extra_forbidden":
            return f"{_named(place[:-1])} has a field that is not of the shape"
        case "missing":
            return f"{_named(place)} is missing"
        case "string_too_long":
            return f"{_named(place)} is longer than {limit} characters"
        case "too_long":
            return f"{_named(place)} has more than {limit} items"
        case kind:
            wanted = kind.removesuffix("_type").replace("_", " ")
            return f"{_named(place)} is not what it has to be ({wanted})"


def _named(place: list[str | int]) -> str:
    """As "claims[0].text"; an item counts from 0, as programs do."""
    named = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place)
    return named.removeprefix(".") or "the object"
