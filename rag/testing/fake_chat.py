"""A chat model that follows a script, for tests and demonstrations without a server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Lock

from rag.deadline import Deadline
from rag.errors import RagError
from rag.ports import ChatMessage, ChatReply
from rag.types import Json

Said = str | ChatReply | RagError


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

    An error among the replies is raised.
    """

    replies: Sequence[Said] | Callable[[Asked], Said]
    model_id: str = "fake-chat"
    reads_images: bool = True
    piece_chars: int = 7  # of each piece, where pieces are listened to
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
        if deadline is not None:
            deadline.require_wanted()
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
        reply = said if isinstance(said, ChatReply) else ChatReply(said)
        if on_piece is not None:
            for start in range(0, len(reply.text), self.piece_chars):
                on_piece(reply.text[start : start + self.piece_chars])
        return reply

    def close(self) -> None:
        self.is_closed = True
