"""A chat model that follows a script, for tests and demonstrations without a server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Lock

from rag.deadline import Deadline
from rag.errors import ModelFailed, RagError
from rag.ports import ChatMessage, ChatReply
from rag.types import Json


@dataclass(frozen=True)
class BreaksOff:
    """A reply of which so much is heard before it fails."""

    text: str
    error: RagError


Said = str | ChatReply | BreaksOff | RagError


@dataclass(frozen=True)
class Asked:
    """One call of `complete`."""

    messages: tuple[ChatMessage, ...]
    max_tokens: int | None
    json_schema: Json | None
    first_token: bool

    @property
    def text(self) -> str:
        """All texts of all messages, a line each."""
        parts = (part for message in self.messages for part in message.parts)
        return "\n".join(part for part in parts if isinstance(part, str))


@dataclass
class FakeChat:
    """Says its replies in turn, the last one from then on, or what a function makes of a call.

    An error among the replies is raised. A reply is said in pieces of `piece_chars`, each after
    `piece_s`, whether anybody listens or not; a deadline ends it within that time.
    """

    replies: Sequence[Said] | Callable[[Asked], Said]
    model_id: str = "fake-chat"
    reads_images: bool = True
    piece_chars: int = 7
    piece_s: float = 0.0
    asked: list[Asked] = field(default_factory=list)
    is_closed: bool = False
    _lock: Lock = field(default_factory=Lock, repr=False)

    def complete(
        self,
        messages: Sequence[ChatMessage],
        *,
        max_tokens: int | None = None,
        json_schema: Json | None = None,
        first_token: bool = False,
        on_piece: Callable[[str], None] | None = None,
        deadline: Deadline | None = None,
    ) -> ChatReply:
        deadline = deadline or Deadline()
        self._pause(0, deadline)
        call = Asked(tuple(messages), max_tokens, json_schema, first_token)
        with self._lock:
            self.asked.append(call)
            number = len(self.asked) - 1
        if callable(self.replies):
            said = self.replies(call)
        else:
            said = self.replies[min(number, len(self.replies) - 1)]
        if isinstance(said, RagError):
            raise said
        if isinstance(said, str):
            said = ChatReply(said)
        for start in range(0, len(said.text), self.piece_chars):
            self._pause(self.piece_s, deadline)
            if on_piece is not None:
                on_piece(said.text[start : start + self.piece_chars])
        if isinstance(said, BreaksOff):
            raise said.error
        self._pause(0, deadline)
        return said

    def _pause(self, seconds: float, deadline: Deadline) -> None:
        deadline.wait(seconds)
        if deadline.is_over:
            raise ModelFailed(
                f"the time for the answer was over before {self.model_id} had given it",
                code="chat_timeout",
                next_step="Raise answer.deadline_s.",
            )

    def close(self) -> None:
        self.is_closed = True
