"""A page's lines as the eye sees them: words side by side, whatever the file holds together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from rag.geometry import Box, union
from rag.page_text import PageText

_FIGURE = re.compile(
    r"[(\[]?[-+\u2013\u2212]?[$\u20ac\u00a3\u00a5]?[(]?[-+\u2013\u2212]?\d[\d.,]*[)\]]?%?[)\]]?"
)
_NOTHING = frozenset({"-", "\u2013", "\u2014", "\u2212", "n/a", "N/A", "nm", "NM"})
_YEAR = re.compile(r"(?:19|20)\d\d")


@dataclass(frozen=True)
class PageRow:
    """Words that stand side by side, left to right.

    Attributes:
        places: of its words in the page's text.
        words: themselves.
        box: around them, page points.
    """

    places: tuple[int, ...]
    words: tuple[str, ...]
    box: Box

    @property
    def text(self) -> str:
        return " ".join(self.words)

    @cached_property
    def figures(self) -> tuple[int, ...]:
        """Of its words, those that are a figure or a dash where one would stand, and no year."""
        return tuple(
            place
            for place, word in zip(self.places, self.words, strict=True)
            if word in _NOTHING
            or (_FIGURE.fullmatch(word) and not _YEAR.fullmatch(word.rstrip(".,)")))
        )

    @cached_property
    def last_figures(self) -> tuple[int, ...]:
        """Those of `figures` that end the row, as its cells; marks between them do not count."""
        figures = set(self.figures)
        found: list[int] = []
        for place, word in zip(reversed(self.places), reversed(self.words), strict=True):
            if place in figures:
                found.append(place)
            elif any(map(str.isalnum, word)):
                break
        return tuple(reversed(found))


def page_rows(text: PageText) -> list[PageRow]:
    """All words of a page in rows, top to bottom."""
    boxes = [Box(*row) for row in text.boxes.tolist()]  # plain numbers: faster than an array's
    middles = [(box.y0 + box.y1) / 2 for box in boxes]
    groups: list[list[int]] = []
    for place in sorted(range(len(boxes)), key=lambda place: middles[place]):
        first = groups[-1][0] if groups else place
        lower = min(boxes[place].height, boxes[first].height)
        if groups and middles[place] - middles[first] <= 0.5 * lower:
            groups[-1].append(place)
        else:
            groups.append([place])
    return [_row(text, boxes, group) for group in groups]


def _row(text: PageText, boxes: Sequence[Box], places: Sequence[int]) -> PageRow:
    ordered = sorted(places, key=lambda place: (boxes[place].x0, place))
    return PageRow(
        tuple(ordered),
        tuple(text.words[place] for place in ordered),
        union(boxes[place] for place in ordered),
    )
