"""Questions with their answers and citations, kept in the order they were asked."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Row, Select, delete, func, insert, select, update

from rag.manifest import schema
from rag.manifest.database import FILE_NAME, Database
from rag.types import Json

_TITLE_CHARS = 80


@dataclass(frozen=True)
class Exchange:
    """A question and what was answered; `number` counts from 1, `asked_at` seconds since 1970."""

    number: int
    question: str
    answer: Json
    asked_at: float


@dataclass(frozen=True)
class Conversation:
    """What is known of a conversation without its exchanges; `title` is its first question."""

    conversation_id: str
    subject: str
    collection: str
    title: str
    n_exchanges: int
    created_at: float
    updated_at: float


class Conversations(Database):
    """All conversations of a data folder; whoever reads them asks who may."""

    @classmethod
    def in_folder(cls, folder: Path) -> Conversations:
        """Beside the manifest's other tables. Close it."""
        folder.mkdir(parents=True, exist_ok=True)
        return cls(f"sqlite:///{folder / FILE_NAME}")

    def begin(self, subject: str, collection: str, question: str) -> str:
        """A new conversation, still without an exchange; its id."""
        conversation_id, now = uuid.uuid4().hex[:16], time.time()
        line = " ".join(question.split())
        title = line if len(line) <= _TITLE_CHARS else f"{line[: _TITLE_CHARS - 3]}..."
        with self._writing() as connection:
            connection.execute(
                insert(schema.conversations).values(
                    conversation_id=conversation_id,
                    subject=subject,
                    collection=collection,
                    title=title,
                    created_at=now,
                    updated_at=now,
                )
            )
        return conversation_id

    def add(self, conversation_id: str, question: str, answer: Json) -> int | None:
        """The exchange's number; None where the conversation is gone."""
        exchanges, held, now = schema.exchanges.c, schema.conversations, time.time()
        with self._writing() as connection:
            found = connection.execute(
                update(held).where(held.c.conversation_id == conversation_id).values(updated_at=now)
            )
            if found.rowcount == 0:
                return None
            last = connection.scalar(
                select(func.max(exchanges.number)).where(
                    exchanges.conversation_id == conversation_id
                )
            )
            number = (last or 0) + 1
            connection.execute(
                insert(schema.exchanges).values(
                    conversation_id=conversation_id,
                    number=number,
                    question=question,
                    answer=answer,
                    asked_at=now,
                )
            )
        return number

    def conversation(self, conversation_id: str) -> Conversation | None:
        with self._reading() as connection:
            row = connection.execute(
                _listing().where(schema.conversations.c.conversation_id == conversation_id)
            ).first()
        return None if row is None else _conversation(row)

    def conversations(self, subject: str | None = None) -> list[Conversation]:
        """Of one subject, or of all; the last one spoken in first."""
        listing = _listing()
        if subject is not None:
            listing = listing.where(schema.conversations.c.subject == subject)
        with self._reading() as connection:
            return [_conversation(row) for row in connection.execute(listing)]

    def exchanges(self, conversation_id: str) -> list[Exchange]:
        """In the order they were asked."""
        table = schema.exchanges.c
        with self._reading() as connection:
            rows = connection.execute(
                select(table.number, table.question, table.answer, table.asked_at)
                .where(table.conversation_id == conversation_id)
                .order_by(table.number)
            )
            return [Exchange(*row) for row in rows]

    def delete(self, conversation_id: str) -> None:
        """With its exchanges, which the schema deletes with it."""
        held = schema.conversations
        with self._writing() as connection:
            connection.execute(delete(held).where(held.c.conversation_id == conversation_id))


def _listing() -> Select[tuple[str, str, str, str, int, float, float]]:
    held = schema.conversations
    n_exchanges = (
        select(func.count())
        .where(schema.exchanges.c.conversation_id == held.c.conversation_id)
        .scalar_subquery()
        .label("n_exchanges")
    )
    return select(
        held.c.conversation_id,
        held.c.subject,
        held.c.collection,
        held.c.title,
        n_exchanges,
        held.c.created_at,
        held.c.updated_at,
    ).order_by(held.c.updated_at.desc(), held.c.conversation_id)


def _conversation(row: Row[tuple[str, str, str, str, int, float, float]]) -> Conversation:
    return Conversation(**row._mapping)
