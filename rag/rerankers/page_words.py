"""A page as a reader of words gets it: what it is about first, then its words, in windows that fit.

Models read a few hundred tokens, and pages have up to thousands: each window is read with the
page's title and headings before it, and the page is worth what its best window is worth.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import PurePosixPath

from rag.page_text import heading_spans
from rag.ports import RerankPage
from rag.scoring.lexical import content_terms, terms

# Tokens of each word, at least one.
Costs = Callable[[Sequence[str]], list[int]]

MOST_WINDOWS = 6  # of a page
_HEAD_SHARE = 4  # the head takes a quarter of the room
_OVERLAP_SHARE = 4  # and each window begins with the last quarter of the one before


def passages(
    page: RerankPage, question: str, *, costs: Costs, room: int, most: int = MOST_WINDOWS
) -> list[str]:
    """Texts of one page, at least one, in the order of the page.

    Args:
        page: its title is the name of its file.
        question: where there are more than `most` windows, those with most of its terms stay.
        costs: what words take of `room`.
        room: tokens of one text.
        most: texts of a page.
    """
    title = PurePosixPath(page.source).stem.replace("_", " ").split()
    headings = [
        word for start, end in heading_spans(page.text) for word in page.text.words[start:end]
    ]
    head_words = [*title, *headings]
    head_costs = costs(head_words) if head_words else []
    head_words = head_words[: _fitting(head_costs, room // _HEAD_SHARE)]
    head = " ".join(head_words)
    left = room - sum(head_costs[: len(head_words)])
    words = page.text.words
    if not words:
        return [head]
    spans = windows(costs(words), room=left)
    texts = [page.text.span_text(start, end) for start, end in spans]
    kept = _best(texts, question, most) if len(texts) > most else range(len(texts))
    return [f"{head}\n{texts[place]}" if head else texts[place] for place in kept]


def best_of_each(texts: Sequence[Sequence[str]], scores: Sequence[float]) -> list[float]:
    """What each page is worth.

    Args:
        texts: of each page, at least one.
        scores: of all texts, page after page.
    """
    ends = list(accumulate(map(len, texts)))
    return [max(scores[start:end]) for start, end in zip([0, *ends], ends, strict=False)]


def windows(word_costs: Sequence[int], *, room: int) -> list[tuple[int, int]]:
    """(start, end) of words: every word in one at least, none above `room` but for a word that is
    longer alone; a quarter of a window is the next one's beginning.
    """
    before = [0, *accumulate(word_costs)]  # tokens before each word, and of all
    spans: list[tuple[int, int]] = []
    start, end = 0, 0
    while end < len(word_costs):
        end = max(start + 1, bisect_right(before, before[start] + room) - 1)
        spans.append((start, end))
        if end < len(word_costs):
            overlap = bisect_left(before, before[end] - room // _OVERLAP_SHARE)
            # Less where the next word would not fit behind it.
            start = min(end, max(overlap, bisect_left(before, before[end + 1] - room)))
    return spans


def estimated_costs(words: Sequence[str]) -> list[int]:
    """Tokens of words for a model whose tokenizer is elsewhere; rather too many than too few.

    About four letters of Latin script a token, two digits or signs, one of any other script.
    """
    return [
        max(
            1,
            round(
                sum(
                    0.25 if char.isascii() and char.isalpha() else 0.5 if char.isascii() else 1.0
                    for char in word
                )
                + 0.5
            ),
        )
        for word in words
    ]


def fitting_words(text: str, *, costs: Costs, room: int) -> str:
    """The first words of a text that fit."""
    words = text.split()
    return " ".join(words[: _fitting(costs(words), room)]) if words else ""


def _fitting(word_costs: Sequence[int], room: int) -> int:
    """How many from the first on fit together."""
    return bisect_right(list(accumulate(word_costs)), room)


def _best(texts: Sequence[str], question: str, most: int) -> list[int]:
    wanted = set(content_terms(question))
    shared = [len(wanted & set(terms(text))) for text in texts]
    return sorted(sorted(range(len(texts)), key=lambda place: (-shared[place], place))[:most])
