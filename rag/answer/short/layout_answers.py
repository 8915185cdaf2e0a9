"""Short answers that the layout holds: a title, who made a document, how many items a numbered list
has, the parties of a case.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from rag.answer.passages import Span
from rag.answer.short.candidates import persons_of, unmarked
from rag.answer.short.nearness import Layout
from rag.answer.short.wanted import FIRST_PARTY, MAKERS, SECOND_PARTY

_LARGEST = 0.9  # of the largest type: lines of one title may differ a little
_TITLE_WORDS = 20
_HEAD_LINES = 2  # above a list: what it is of
_ENUMERATOR = re.compile(r"\(?(\d{1,2})[.)]?")
_MARKED = re.compile(r"\(?\d{1,2}[.)]")
_AGAINST = frozenset({"v.", "vs.", "v", "vs", "V.", "VS.", "-v-", "-v.-", "against"})
_PARTY_WORDS = 10


@dataclass(frozen=True)
class Read:
    """What was read off the layout.

    Attributes:
        spans: words to quote, in reading order.
        share: of the question's terms, by weight, those that lead there; 0 to 1.
    """

    spans: tuple[Span, ...]
    value: str
    share: float


def title_of(layout: Layout) -> Read | None:
    """The lines of the largest type that follow each other."""
    text = layout.text
    if not len(text):
        return None
    sizes = np.where(text.sizes_pt > 0, text.sizes_pt, text.boxes[:, 3] - text.boxes[:, 1])
    lines = [
        (start, end, float(np.median(sizes[start:end])))
        for start, end in text.line_spans
        if any(len(word) > 1 and word.isalpha() for word in text.words[start:end])
    ]
    if not lines:
        return None
    largest = max(size for _, _, size in lines)
    first, last = None, 0
    for start, end, size in lines:
        if size < _LARGEST * largest:
            if first is not None:
                break
            continue
        first, last = start if first is None else first, end
    if first is None or last - first > _TITLE_WORDS:
        return None
    return Read(((first, last),), unmarked(text.span_text(first, last)), 1.0)


def length_of_list(layout: Layout, weights: Mapping[str, float]) -> Read | None:
    """How many numbered items stand below the line that says most of the question."""
    total = sum(weights.values())
    found: list[Read] = []
    for head, items in _numbered_lists(layout):
        held = {term for word in range(*head) for term in layout.word_terms[word]}
        share = sum(weight for term, weight in weights.items() if term in held) / (total or 1.0)
        found.append(Read((head, items[-1]), str(len(items)), share))
    return max(found, key=lambda read: read.share, default=None)


def _numbered_lists(layout: Layout) -> Iterator[tuple[Span, list[Span]]]:
    """The lines above each list that counts from 1, and the first lines of its items."""
    lines = layout.text.line_spans
    items: list[Span] = []
    head: Span = (0, 0)
    for number, (start, end) in enumerate(lines):
        mark = layout.text.words[start]
        if _MARKED.fullmatch(mark) is None or end - start < 2:
            continue
        counted = _ENUMERATOR.fullmatch(mark.rstrip(".)"))
        value = int(counted[1]) if counted is not None else 0
        if value == len(items) + 1 and items:
            items.append((start, end))
            continue
        if len(items) > 1:
            yield head, items
        items = []
        if value == 1 and number:
            head = (lines[max(0, number - _HEAD_LINES)][0], start)
            items = [(start, end)]
    if len(items) > 1:
        yield head, items


def speaker_of(layout: Layout, role: str) -> Read | None:
    """Who made a document, as its cover says: the name that is surest to be one."""
    if role not in MAKERS:
        return None
    found = max(persons_of(layout), key=lambda each: each.fits, default=None)
    return None if found is None else Read((found.span,), found.value, 1.0)


def party_of(layout: Layout, role: str) -> Read | None:
    """Who stands before or after the line "v." of a case's caption."""
    if role not in FIRST_PARTY | SECOND_PARTY:
        return None
    text = layout.text
    lines = text.line_spans
    for number, (start, end) in enumerate(lines):
        if end - start != 1 or text.words[start] not in _AGAINST or number + 1 == len(lines):
            continue
        if role in FIRST_PARTY:
            span = lines[number - 1] if number else None
        else:
            stop = start + 1
            while stop < min(len(text), start + 1 + _PARTY_WORDS):
                stop += 1
                if text.words[stop - 1].endswith((".", ",", ";")):
                    break
            span = (start + 1, stop)
        if span is not None and span[0] < span[1]:
            return Read((span,), unmarked(text.span_text(*span)), 1.0)
    return None
