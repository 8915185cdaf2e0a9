"""A document's bookmarks as every reader tells them: bounded, whatever the file links to.

Bookmarks are linked lists in the file, so they may lead in circles, nest without end, or lead
nowhere. Titles are cleaned like words.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import TypeVar

from rag.ports import OutlineEntry
from rag.renderers.page_frame import clean_word

MAX_ENTRIES = 5_000
MAX_TITLE_CHARS = 200
_NOWHERE = 0

_Node = TypeVar("_Node")


def read_outline(
    first: _Node | None,
    *,
    child: Callable[[_Node], _Node | None],
    sibling: Callable[[_Node], _Node | None],
    identity: Callable[[_Node], Hashable],
    told: Callable[[_Node], tuple[str, int | None]],
    n_pages: int,
) -> tuple[OutlineEntry, ...]:
    """Bookmarks in their order, at most `MAX_ENTRIES`; what a circle repeats is read once.

    A bookmark that leads to no page of the file stands where the first one below it leads; without
    such a one it is left out, as is one without a title.

    Args:
        first: the first bookmark of the outermost level.
        child: the first bookmark below one.
        sibling: the next one of the same level.
        identity: equal for the same bookmark reached twice.
        told: its title as the file has it, and its page from 1.
        n_pages: of the file.
    """
    found: list[OutlineEntry] = []
    seen: set[Hashable] = set()
    waiting: list[tuple[_Node, int]] = [] if first is None else [(first, 1)]
    while waiting and len(seen) < MAX_ENTRIES:
        node, level = waiting.pop()
        key = identity(node)
        if key in seen:
            continue
        seen.add(key)
        title, page_number = told(node)
        leads = page_number is not None and 1 <= page_number <= n_pages
        found.append(
            OutlineEntry(
                level=level,
                title=_cleaned(title),
                page_number=page_number if leads and page_number else _NOWHERE,
            )
        )
        for following, at in ((sibling(node), level), (child(node), level + 1)):
            if following is not None:
                waiting.append((following, at))
    return tuple(entry for entry in _placed(found) if entry.title and entry.page_number)


def _cleaned(title: str) -> str:
    # Cut twice: a title may be as long as the file.
    words = (clean_word(word) for word in title[: 4 * MAX_TITLE_CHARS].split())
    return " ".join(word for word in words if word)[:MAX_TITLE_CHARS].strip()


def _placed(entries: list[OutlineEntry]) -> list[OutlineEntry]:
    """Entries that lead nowhere take the page of the first one below them that leads somewhere."""
    placed: list[OutlineEntry] = []
    following: OutlineEntry | None = None  # the next one that leads somewhere
    for entry in reversed(entries):
        told = entry
        if entry.page_number == _NOWHERE and following and following.level > entry.level:
            told = replace(entry, page_number=following.page_number)
        if told.page_number != _NOWHERE:
            following = told
        placed.append(told)
    return placed[::-1]
