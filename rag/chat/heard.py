"""The text of a reply while it is spoken: without the thoughts before it, in whole characters."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from typing import Literal

_OPEN, _CLOSE = "<think>", "</think>"


class Heard:
    """Text as it comes, handed on as soon as it is known to be part of the reply.

    However the text is cut, the same is handed on in all.

    Attributes:
        n_bytes: of everything that came, thoughts included.
    """

    def __init__(self, on_piece: Callable[[str], None] | None = None) -> None:
        self._on_piece = on_piece
        self._thoughts = _Thoughts()
        # Half a surrogate pair cannot be written to any file later; the other half may come yet.
        self._mending = codecs.getincrementaldecoder("utf-16-le")("replace")
        self._pieces: list[str] = []
        self.n_bytes = 0

    @property
    def text(self) -> str:
        return "".join(self._pieces)

    @property
    def has_begun(self) -> bool:
        """Whether anything was handed on."""
        return bool(self._pieces)

    @property
    def is_thinking(self) -> bool:
        return self._thoughts.state == "inside"

    def hear(self, text: str) -> None:
        """Raises what `on_piece` raises."""
        self.n_bytes += len(text.encode("utf-8", "surrogatepass"))
        self._hand_on(self._thoughts.without(text), is_last=False)

    def end(self) -> None:
        """Nothing more will come."""
        self._hand_on(self._thoughts.rest(), is_last=True)

    def _hand_on(self, text: str, *, is_last: bool) -> None:
        mended = self._mending.decode(text.encode("utf-16-le", "surrogatepass"), final=is_last)
        if mended:
            self._pieces.append(mended)
            if self._on_piece is not None:
                self._on_piece(mended)


class _Thoughts:
    """Leaves out one `<think>` at the beginning, with what stands in it and the blanks around."""

    def __init__(self) -> None:
        self.state: Literal["before", "inside", "after", "reply"] = "before"
        self._held = ""

    def without(self, text: str) -> str:
        """As much of the reply as this text makes certain."""
        if self.state == "reply":
            return text
        held = self._held + text
        if self.state == "before":
            begun = held.lstrip()
            if begun.startswith(_OPEN):
                self.state, held = "inside", begun[len(_OPEN) :]
            elif not _OPEN.startswith(begun):
                self.state = "reply"
        if self.state == "inside":
            _, found, after = held.partition(_CLOSE)
            if found:
                self.state, held = "after", after
            else:
                held = held[1 - len(_CLOSE) :]
        if self.state == "after":
            held = held.lstrip()
            if held:
                self.state = "reply"
        self._held = "" if self.state == "reply" else held
        return held if self.state == "reply" else ""

    def rest(self) -> str:
        """What was held back, where it is no thought."""
        return self._held if self.state == "before" else ""
