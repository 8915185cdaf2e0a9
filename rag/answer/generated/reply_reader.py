"""A reply read while it arrives: the text of its claims letter by letter, each claim as it ends.

What it makes of a reply does not hang on where the pieces are cut. It is no judge of the whole:
`parse_reply` is, and whatever that takes as a draft is read here as the same claims.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from rag.answer.draft import DraftClaim
from rag.answer.generated.reply import (
    MAX_CLAIMS,
    MAX_REPLY_CHARS,
    MAX_TEXT_CHARS,
    BadReply,
    parse_claim,
)
from rag.chat.shown_text import whole

_MAX_DEPTH = 16
_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_HEX = frozenset("0123456789abcdefABCDEF")


@dataclass(frozen=True)
class ClaimText:
    """A piece of the text of the claim that is arriving."""

    text: str


@dataclass(frozen=True)
class ClaimTextEnds:
    """The claim's text is whole; its sources may still be on their way."""


ReplyEvent = ClaimText | ClaimTextEnds | DraftClaim


@dataclass
class _Open:
    """An object or a list that has begun and not ended."""

    is_object: bool
    key: str = ""
    wants_key: bool = True
    keys: set[str] = field(default_factory=set)
    items: int = 0


class ReplyReader:
    """Reads one reply. `feed` takes its pieces in their order.

    Attributes:
        fault: why nothing that follows can make it a draft; None as long as something can.
    """

    def __init__(self) -> None:
        self.fault: BadReply | None = None
        self._open: list[_Open] = []
        self._is_done = False
        self._n_chars = 0
        self._events: list[ReplyEvent] = []
        # Of the string that is arriving.
        self._in_string = False
        self._string: list[str] = []
        self._escape = ""  # from its backslash on
        self._high = ""  # half of a pair that waits for the other
        self._is_text = False
        self._text_chars = 0
        # Of the claim that is arriving, as it stands; None outside.
        self._claim: list[str] | None = None
        self._abstains = False

    def feed(self, piece: str) -> list[ReplyEvent]:
        """What the piece brings, up to a fault."""
        if self.fault is None:
            try:
                for char in piece:
                    self._take(char)
            except BadReply as fault:
                self.fault = fault
        events, self._events = self._events, []
        return events

    # --- structure ------------------------------------------------------------------------------
    def _take(self, char: str) -> None:
        self._n_chars += 1
        if self._n_chars > MAX_REPLY_CHARS:
            raise BadReply(f"it is longer than {MAX_REPLY_CHARS} characters")
        if self._is_done:
            if char == "{":
                raise BadReply("it holds more than one JSON object")
            return
        if not self._open and char != "{":
            return  # a fence, or prose
        if self._claim is not None:
            self._claim.append(char)
        if self._in_string:
            self._take_of_string(char)
        elif char == '"':
            self._begin_string()
        elif char in "{[":
            self._begin(is_object=char == "{")
        elif char in "}]":
            self._end(is_object=char == "}")
        elif char == ",":
            top = self._open[-1]
            top.wants_key, top.items = True, top.items + 1
        elif char == ":":
            self._open[-1].wants_key = False
        elif char == "t" and len(self._open) == 1 and self._open[0].key == "abstained":
            self._abstains = True

    def _begin(self, *, is_object: bool) -> None:
        if is_object and self._is_at("claims") and len(self._open) == 2:
            if self._open[1].items >= MAX_CLAIMS:
                raise BadReply(f"claims has more than {MAX_CLAIMS} items")
            self._claim = ["{"]
        self._open.append(_Open(is_object))
        if len(self._open) > _MAX_DEPTH:
            raise BadReply("it is nested too deeply")

    def _end(self, *, is_object: bool) -> None:
        if self._open.pop().is_object != is_object:
            raise BadReply("it is no JSON")
        if self._claim is not None and len(self._open) == 2:
            claim = parse_claim("".join(self._claim))
            self._claim = None
            if not self._abstains:
                self._events.append(claim)
        self._is_done = not self._open

    def _is_at(self, *keys: str) -> bool:
        """Whether the keys of the open objects are these, from the outermost."""
        return tuple(each.key for each in self._open if each.is_object) == keys

    # --- strings --------------------------------------------------------------------------------
    def _begin_string(self) -> None:
        top = self._open[-1]
        self._in_string, self._string = True, []
        self._is_text = (
            len(self._open) == 3 and not top.wants_key and self._is_at("claims", "text")
        ) and self._claim is not None
        self._text_chars = 0

    def _take_of_string(self, char: str) -> None:
        if self._escape:
            self._take_of_escape(char)
        elif char == "\\":
            self._escape = char
        elif char < " ":
            raise BadReply("it is no JSON")
        else:
            self._lone_half()
            if char == '"':
                self._end_string()
            else:
                self._said(char)

    def _take_of_escape(self, char: str) -> None:
        self._escape += char
        if self._escape[1] != "u":
            if (said := _ESCAPES.get(char)) is None:
                raise BadReply("it is no JSON")
            self._lone_half()
            self._escape = ""
            self._said(said)
            return
        if len(self._escape) > 2 and char not in _HEX:
            raise BadReply("it is no JSON")
        if len(self._escape) < 6:
            return
        unit = chr(int(self._escape[2:], 16))
        self._escape = ""
        if self._high and "\udc00" <= unit <= "\udfff":
            pair = (self._high + unit).encode("utf-16", "surrogatepass").decode("utf-16")
            self._high = ""
            self._said(pair)
            return
        self._lone_half()
        if "\ud800" <= unit <= "\udbff":
            self._high = unit
        else:
            self._said(unit)

    def _lone_half(self) -> None:
        """The other half of a pair did not come."""
        if self._high:
            half, self._high = self._high, ""
            self._said(half)

    def _said(self, char: str) -> None:
        if not self._is_text:
            self._string.append(char)
            return
        self._text_chars += 1
        if self._text_chars > MAX_TEXT_CHARS:
            raise BadReply(f"the text of a claim is longer than {MAX_TEXT_CHARS} characters")
        if not self._abstains:
            self._hear(whole(char))

    def _hear(self, char: str) -> None:
        if self._events and isinstance(last := self._events[-1], ClaimText):
            self._events[-1] = ClaimText(last.text + char)
        else:
            self._events.append(ClaimText(char))

    def _end_string(self) -> None:
        self._in_string = False
        top = self._open[-1]
        if top.is_object and top.wants_key:
            top.key = "".join(self._string)
            if top.key in top.keys:
                raise BadReply("a field stands twice in one object")
            top.keys.add(top.key)
        elif self._is_text and not self._abstains:
            self._events.append(ClaimTextEnds())
