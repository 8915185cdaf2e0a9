"""Parts of a page that stand side by side: columns of text, two tables beside each other.

A gap between columns of one table is not such a border: what stands right of a border begins with
words, line for line, and is either running text or has labels and figures of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from rag.answer.tables.lines import Piece, VisualLine, visual_lines
from rag.geometry import Box, as_boxes
from rag.page_text import PageText

_LEAST_LINES = 4
_LEAST_ROWS = 5
_PROSE_WORDS = 4.5  # a piece, in the middle: columns of text are narrow
_GOING_ON = 0.3  # of the lines of running text begin with a small letter; labels hardly do
_HEAD_LINES = 3
_SAME_LEFT = 0.6  # heights
_CROSSING = 0.1  # of the lines: headings and pictures cross a border here and there


@dataclass(frozen=True)
class _Border:
    x: float
    top: float
    bottom: float


def zones_of(text: PageText) -> list[list[VisualLine]]:
    """Lines of the parts of a page, each to be read from top to bottom by itself.

    A page of one column is one part. No word is in two.
    """
    return _cut(text, as_boxes(text.boxes), tuple(range(len(text))), depth=2)


def _cut(
    text: PageText, boxes: Sequence[Box], words: tuple[int, ...], *, depth: int
) -> list[list[VisualLine]]:
    if not words:
        return []
    lines = visual_lines(text, words, boxes)
    border = _border(lines) if depth and len(words) >= 4 * _LEAST_LINES else None
    if border is None:
        return [lines]
    above: list[int] = []
    left: list[int] = []
    right: list[int] = []
    below: list[int] = []
    for word in words:
        box = boxes[word]
        middle = (box.y0 + box.y1) / 2
        if middle < border.top:
            above.append(word)
        elif middle > border.bottom:
            below.append(word)
        elif (box.x0 + box.x1) / 2 < border.x:
            left.append(word)
        else:
            right.append(word)
    parts: list[list[VisualLine]] = []
    for part in (above, left, right, below):
        parts += _cut(text, boxes, tuple(part), depth=depth - 1)
    return parts


def _border(lines: Sequence[VisualLine]) -> _Border | None:
    """The border that most lines have, if any is one."""
    if len(lines) < _LEAST_LINES:
        return None
    height = median(line.height for line in lines)
    starts = sorted(
        (piece.box.x0, number)
        for number, line in enumerate(lines)
        for before, piece in zip(line.pieces, line.pieces[1:], strict=False)
        if not piece.is_figure and before.box.x1 < piece.box.x0
    )
    groups: list[list[tuple[float, int]]] = []
    for start in starts:
        if groups and start[0] - groups[-1][0][0] <= _SAME_LEFT * height:
            groups[-1].append(start)
        else:
            groups.append([start])
    groups.sort(key=lambda group: (-len(group), group[0]))
    for group in groups[:6]:
        if len(group) < _LEAST_LINES:
            break
        border = _checked(lines, group[0][0] - 0.1 * height, [number for _, number in group])
        if border is not None:
            return border
    return None


def _checked(lines: Sequence[VisualLine], x: float, numbers: Sequence[int]) -> _Border | None:
    first, last = min(numbers), max(numbers)
    left, right, n_crossing = _sides(lines[first : last + 1], x)
    if n_crossing <= _CROSSING * len(left) and _are_two_tables(left, right):
        top = first
        while top > max(0, first - _HEAD_LINES) and _is_head_of_both(lines, top - 1, x):
            top -= 1
        return _Border(x, lines[top].box.y0, lines[last].box.y1)
    first, last = _reach(lines, x, first, last)
    left, right, n_crossing = _sides(lines[first : last + 1], x)
    if n_crossing <= _CROSSING * len(left) and (_is_prose(left) or _is_prose(right)):
        return _Border(x, lines[first].box.y0, lines[last].box.y1)
    return None


def _sides(
    lines: Sequence[VisualLine], x: float
) -> tuple[list[list[Piece]], list[list[Piece]], int]:
    """Pieces of each line left and right of a border, and how many lines cross it."""
    left = [[piece for piece in line.pieces if piece.box.x1 <= x] for line in lines]
    right = [[piece for piece in line.pieces if piece.box.x0 >= x] for line in lines]
    n_crossing = sum(
        any(p.box.x0 < x < p.box.x1 and not p.is_figure for p in line.pieces) for line in lines
    )
    return left, right, n_crossing


def _is_head_of_both(lines: Sequence[VisualLine], number: int, x: float) -> bool:
    line = lines[number]
    (left,), (right,), n_crossing = _sides([line], x)
    near = lines[number + 1].box.y0 - line.box.y1 <= 2 * line.height
    return near and bool(left) and bool(right) and not n_crossing


def _reach(lines: Sequence[VisualLine], x: float, first: int, last: int) -> tuple[int, int]:
    """The run of lines with nothing across the border, as far as it goes both ways."""

    def is_clear(line: VisualLine) -> bool:
        return all(piece.box.x1 <= x or piece.box.x0 >= x for piece in line.pieces)

    while first > 0 and is_clear(lines[first - 1]):
        first -= 1
    while last + 1 < len(lines) and is_clear(lines[last + 1]):
        last += 1
    return first, last


def _is_prose(side: Sequence[Sequence[Piece]]) -> bool:
    """Running text: lines of many words, many of which go on with a sentence."""
    filled = [pieces for pieces in side if pieces]
    alone = [pieces[0] for pieces in filled if len(pieces) == 1 and not pieces[0].is_figure]
    if len(alone) < max(_LEAST_LINES, 0.6 * len(filled)):
        return False
    n_going_on = sum(piece.text[0].islower() for piece in alone)
    return median(
        piece.n_words for piece in alone
    ) >= _PROSE_WORDS and n_going_on >= _GOING_ON * len(alone)


def _is_table(side: Sequence[Sequence[Piece]]) -> bool:
    """Rows with a label and figures after it."""
    filled = [pieces for pieces in side if pieces]
    rows = [p for p in filled if len(p) > 1 and not p[0].is_figure and p[-1].is_figure]
    return len(rows) >= _LEAST_LINES and len(rows) >= 0.4 * len(filled)


def _are_two_tables(left: Sequence[Sequence[Piece]], right: Sequence[Sequence[Piece]]) -> bool:
    """Whether both sides have labels of their own: labels that hardly ever come again."""
    both = [
        (a, b)
        for a, b in zip(left, right, strict=True)
        if len(a) > 1
        and len(b) > 1
        and not a[0].is_figure
        and not b[0].is_figure
        and a[-1].is_figure
        and b[1].is_figure
    ]
    if len(both) < _LEAST_ROWS or not (_is_table(left) and _is_table(right)):
        return False
    labels = [b[0].text for _, b in both]
    return len(set(labels)) >= 0.9 * len(labels)
