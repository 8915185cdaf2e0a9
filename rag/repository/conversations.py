"""The conversations of one principal; those of others are not there."""

from __future__ import annotations

from rag.errors import NotFound
from rag.manifest.conversations import Conversation, Conversations, Exchange
from rag.types import Json, Principal


class PrincipalConversations:
    """Thread-safe. The owner of the data folder sees all conversations."""

    def __init__(self, principal: Principal, held: Conversations) -> None:
        self._principal = principal
        self._held = held

    def begin(self, collection: str, question: str) -> str:
        """A new conversation's id."""
        return self._held.begin(self._principal.subject, collection, question)

    def add(self, conversation_id: str, question: str, answer: Json) -> int:
        """The number of the exchange in its conversation. Raises NotFound."""
        self.conversation(conversation_id)
        number = self._held.add(conversation_id, question, answer)
        if number is None:
            raise _unknown(conversation_id)
        return number

    def all(self) -> list[Conversation]:
        """The last one spoken in first."""
        return self._held.conversations(
            None if self._principal.is_owner else self._principal.subject
        )

    def conversation(self, conversation_id: str) -> Conversation:
        """Raises NotFound `unknown_conversation`, for those of others as for none."""
        found = self._held.conversation(conversation_id)
        if found is None or not (
            self._principal.is_owner or found.subject == self._principal.subject
        ):
            raise _unknown(conversation_id)
        return found

    def exchanges(self, conversation_id: str) -> list[Exchange]:
        """In the order they were asked. Raises NotFound."""
        self.conversation(conversation_id)
        return self._held.exchanges(conversation_id)

    def delete(self, conversation_id: str) -> None:
        """Raises NotFound."""
        self.conversation(conversation_id)
        self._held.delete(conversation_id)

    def quoting(self, document_id: str) -> list[str]:
        """Ids of the conversations whose answers cite a document."""
        return [
            conversation.conversation_id
            for conversation in self.all()
            if any(
                citation.get("document_id") == document_id
                for exchange in self._held.exchanges(conversation.conversation_id)
                for citation in exchange.answer.get("citations", ())
            )
        ]


def _unknown(conversation_id: str) -> NotFound:
    return NotFound(
        f"there is no conversation {conversation_id!r}",
        code="unknown_conversation",
        next_step="`octavo chat --list` names those there are.",
    )
