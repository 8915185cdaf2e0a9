"""How much of a question is read: everything after it costs time with its length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rag.query import Query
from rag.types import Notice
from rag.wording.dialogue import Turn

MAX_CHARS = 4000  # two pages of a book; models read a few hundred words of it at most


def first_part(text: str) -> str:
    """The text, or as much of its beginning as is read, up to a space where there is one."""
    if len(text) <= MAX_CHARS:
        return text
    head = text[: MAX_CHARS + 1]
    whole_words = head[: head.rfind(" ")] if " " in head[MAX_CHARS // 2 :] else head[:MAX_CHARS]
    return whole_words.rstrip()


def shortened(query: Query) -> tuple[Query, tuple[Notice, ...]]:
    """The query with as much of its texts as is read, and a notice where that is not all."""
    short = replace(
        query,
        text=first_part(query.text),
        towards=first_part(query.towards),
        away_from=first_part(query.away_from),
    )
    longest = max(len(query.text), len(query.towards), len(query.away_from))
    return short, _notices("the question", longest)


def shortened_turns(history: Sequence[Turn]) -> tuple[tuple[Turn, ...], tuple[Notice, ...]]:
    """The same of what was asked before; answers are read for names and numbers alone."""
    short = tuple((first_part(asked), answer) for asked, answer in history)
    longest = max((len(asked) for asked, _ in history), default=0)
    return short, _notices("a question asked before", longest)


def _notices(what: str, n_chars: int) -> tuple[Notice, ...]:
    if n_chars <= MAX_CHARS:
        return ()
    return (
        Notice(
            "question_cut",
            f"{what} has {n_chars:,} characters; the first {MAX_CHARS:,} of them were read",
        ),
    )
