"""A page's words as lines across the page, and each line as pieces: figures, and runs of words.

Only boxes say what stands beside what: the order of words in the file may be any. All distances
are in heights of words, so that the size of a page is of no matter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from statistics import median

from rag.answer.passages import Span
from rag.answer.tables.cell_figures import (
    cell_figure,
    closes,
    hangs_over,
    is_dash,
    is_figure,
    is_year,
    opens,
)
from rag.geometry import Box, as_boxes, union
from rag.page_text import PageText

_WIDE_GAP = 0.8  # heights: a space is about 0.3, between columns there is more
_WIDER_THAN_USUAL = 1.8  # of the spaces of a justified line
_CLOSE = 0.45  # heights: figures as close as words are one number, or a table set very close
_FAR_SIGN = 25  # heights from a sign of money to its figure, at most
_SAME_LINE = 0.5  # of the smaller height that two words share
_BULLET = re.compile(
    r"[\u2022\u25aa\u25cf\u25e6\u2023\u00b7\uf0b7>]|\(?(?:\d{1,2}|[a-zA-Z]|[ivx]+)[.)]"
)

_NOTE = re.compile(r"\(\d{1,2}\)|\[\d{1,2}\]")


@dataclass(frozen=True)
class Piece:
    """Words of one line that stand together: a figure with its marks, or a run of words.

    Attributes:
        words: indices into the page's words, from left to right.
        tail: of a run of words, how many of the last pieces it could be cut into are figures.
    """

    words: tuple[int, ...]
    box: Box
    core: Box  # of a figure, its number without marks that are words of their own
    is_figure: bool
    text: str
    edge: float = 0.0  # right edge of a figure's last digit
    tail: tuple[Piece, ...] = ()
    lead: Piece | None = None  # a run of words without its tail
    word_boxes: tuple[Box, ...] = ()  # of a run of words

    @property
    def is_year(self) -> bool:
        return self.is_figure and is_year(self.text)

    @property
    def middle(self) -> float:
        return (self.core.x0 + self.core.x1) / 2

    @property
    def n_words(self) -> int:
        return len(self.words)

    def cut(self, ends: Sequence[int]) -> tuple[Piece, ...]:
        """A run of words as several; `ends` are where each ends, in words of the run."""
        words = self.text.split(" ")
        starts = (0, *ends)
        parts = []
        for start, end in zip(starts, ends, strict=False):
            box = union(self.word_boxes[start:end])
            said = " ".join(words[start:end])
            own = self.word_boxes[start:end]
            parts.append(Piece(self.words[start:end], box, box, False, said, word_boxes=own))
        return tuple(parts)

    @property
    def spans(self) -> tuple[Span, ...]:
        return spans_of(self.words)


@dataclass(frozen=True)
class VisualLine:
    """Words at one height of the page."""

    pieces: tuple[Piece, ...]
    box: Box
    height: float  # of its words, in the middle

    @cached_property
    def figures(self) -> tuple[Piece, ...]:
        return tuple(piece for piece in self.pieces if piece.is_figure)

    @cached_property
    def texts(self) -> tuple[Piece, ...]:
        return tuple(piece for piece in self.pieces if not piece.is_figure)

    @property
    def text(self) -> str:
        return " ".join(piece.text for piece in self.pieces)

    @property
    def words(self) -> tuple[int, ...]:
        return tuple(word for piece in self.pieces for word in piece.words)

    @property
    def n_words(self) -> int:
        return sum(piece.n_words for piece in self.pieces)


def spans_of(words: Iterable[int]) -> tuple[Span, ...]:
    """Words as spans: one for words that follow each other as they stand."""
    spans: list[Span] = []
    for word in words:
        if spans and spans[-1][1] == word:
            spans[-1] = (spans[-1][0], word + 1)
        else:
            spans.append((word, word + 1))
    return tuple(spans)


def visual_lines(
    text: PageText, words: Iterable[int] | None = None, boxes: Sequence[Box] | None = None
) -> list[VisualLine]:
    """The lines of a page, or of some of its words, from the top, whatever their order.

    Args:
        text: the page.
        words: those to be read; None for all.
        boxes: of all the page's words, for who reads it several times.
    """
    if boxes is None:
        boxes = as_boxes(text.boxes)
    chosen = range(len(boxes)) if words is None else words
    return [_line(text, boxes, row) for row in _rows_of_words(boxes, chosen)]


def _rows_of_words(boxes: Sequence[Box], chosen: Iterable[int]) -> list[list[int]]:
    """Words that share a line, each row from left to right."""
    places = sorted(
        chosen,
        key=lambda place: (boxes[place].y0 + boxes[place].y1, boxes[place].x0, place),
    )
    rows: list[list[int]] = []
    bands: list[tuple[float, float]] = []  # of the words of most usual height in a row
    for place in places:
        box = boxes[place]
        best, best_shared = -1, 0.0
        for number in range(len(rows) - 1, max(-1, len(rows) - 4), -1):
            top, bottom = bands[number]
            shared = min(bottom, box.y1) - max(top, box.y0)
            smaller = min(bottom - top, box.height)
            if smaller > 0 and shared / smaller > max(_SAME_LINE, best_shared):
                best, best_shared = number, shared / smaller
        if best < 0:
            rows.append([place])
            bands.append((box.y0, box.y1))
            continue
        rows[best].append(place)
        top, bottom = bands[best]
        n = len(rows[best])
        bands[best] = (top + (box.y0 - top) / n, bottom + (box.y1 - bottom) / n)
    order = sorted(range(len(rows)), key=lambda number: sum(bands[number]))
    return [sorted(rows[number], key=lambda place: (boxes[place].x0, place)) for number in order]


def _line(text: PageText, boxes: Sequence[Box], words: Sequence[int]) -> VisualLine:
    height = median(boxes[word].height for word in words) or 1.0
    gaps = [boxes[b].x0 - boxes[a].x1 for a, b in pairwise(words)]
    limit = _WIDE_GAP * height
    n_figures = sum(is_figure(text.words[word]) for word in words)
    if len(gaps) >= 5 and 3 * n_figures < len(words):
        # A justified line: all of its spaces are wide.
        limit = max(limit, _WIDER_THAN_USUAL * sorted(gaps)[len(gaps) // 4])
    groups: list[list[int]] = [[words[0]]]
    for gap, (before, word) in zip(gaps, pairwise(words), strict=True):
        is_opened = opens(text.words[before]) and is_figure(text.words[word])
        is_closed = closes(text.words[word]) and is_figure(text.words[before])
        if gap <= limit or (is_closed and gap <= 2 * height):
            groups[-1].append(word)
        elif is_opened and gap <= _FAR_SIGN * height:
            # A sign at the left of its column, whatever stands before it.
            groups[-1].pop()
            groups.append([before, word])
        else:
            groups.append([word])
    groups = [group for group in groups if group]
    pieces: list[Piece] = []
    for group in groups:
        pieces += _pieces(text, boxes, group)
    if len(pieces) > 1 and pieces[0].is_figure and not pieces[1].is_figure:
        # A dash before words is the mark of a list, "(1)" that of a note.
        first = pieces[0]
        if is_dash(first.text) or _NOTE.fullmatch(first.text):
            pieces[0] = _words_piece(text, boxes, first.words)
    return VisualLine(
        tuple(_joined(text, boxes, pieces, height)), union(boxes[w] for w in words), height
    )


def _joined(
    text: PageText, boxes: Sequence[Box], pieces: Sequence[Piece], height: float
) -> list[Piece]:
    """A bullet or a number of a list goes with the words after it."""
    joined: list[Piece] = []
    for piece in pieces:
        if (
            joined
            and not piece.is_figure
            and not joined[-1].is_figure
            and _is_mark(joined[-1].text)
            and piece.box.x0 - joined[-1].box.x1 < 4 * height
        ):
            joined[-1] = _words_piece(text, boxes, joined[-1].words + piece.words)
        else:
            joined.append(piece)
    return joined


def _is_mark(text: str) -> bool:
    return is_dash(text) or any(found.fullmatch(text) for found in (_BULLET, _NOTE))


def _pieces(text: PageText, boxes: Sequence[Box], group: Sequence[int]) -> list[Piece]:
    """A run of words as one piece, or as its figures where it has nothing else."""
    figures = _figures_at_end(text, boxes, group)
    n_figure_words = sum(figure.n_words for figure in figures)
    if n_figure_words == len(group):
        gaps = [b.box.x0 - a.box.x1 for a, b in pairwise(figures)]
        if not gaps or max(gaps) > _CLOSE * boxes[group[0]].height:
            return figures
    return [_words_piece(text, boxes, tuple(group), figures)]


def _words_piece(
    text: PageText, boxes: Sequence[Box], words: tuple[int, ...], tail: Sequence[Piece] = ()
) -> Piece:
    n_tail = sum(figure.n_words for figure in tail)
    box = union(boxes[word] for word in words)
    return Piece(
        tuple(words),
        box,
        box,
        False,
        " ".join(text.words[word] for word in words),
        tail=tuple(tail),
        lead=_words_piece(text, boxes, words[:-n_tail]) if 0 < n_tail < len(words) else None,
        word_boxes=tuple(boxes[word] for word in words),
    )


def _figures_at_end(text: PageText, boxes: Sequence[Box], group: Sequence[int]) -> list[Piece]:
    """The figures that end a run of words, from left to right."""
    figures: list[Piece] = []
    end = len(group)
    while end > 0:
        number = end - 1
        while number > 0 and closes(text.words[group[number]]):
            number -= 1
        if not is_figure(text.words[group[number]]):
            break
        start = number
        while start > 0 and opens(text.words[group[start - 1]]):
            start -= 1
        figure = _figure_piece(text, boxes, group[start:end], group[number])
        if figure is None and start < number:
            start = number
            figure = _figure_piece(text, boxes, group[start:end], group[number])
        if figure is None:
            break
        figures.append(figure)
        end = start
    return figures[::-1]


def _figure_piece(
    text: PageText, boxes: Sequence[Box], words: Sequence[int], number: int
) -> Piece | None:
    """A figure in adjacent words of the page; marks that stand elsewhere in its order are left."""
    if list(words) != list(range(words[0], words[-1] + 1)):
        return None
    if cell_figure(text.words, words[0], words[-1] + 1) is None:
        return None
    box = boxes[number]
    word = text.words[number]
    edge = box.x1 - hangs_over(word) * box.width / max(1, len(word))
    return Piece(
        tuple(words),
        union(boxes[place] for place in words),
        box,
        True,
        " ".join(text.words[place] for place in words),
        edge=edge,
    )
