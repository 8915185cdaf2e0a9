"""Where on a page tables are: runs of lines whose figures stand under each other."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import median

from rag.answer.tables.lines import Piece, VisualLine

_FAR = 3.6  # heights between lines of one table
_HEAD_FAR = 3.0  # heights between a head and what is under it
_TITLE_FAR = 6.0  # heights between a title and what is under it, once
_MOST_HEADS = 9  # lines
_SAME_EDGE = 1.0  # heights
_LABEL_WORDS = 12
_HEAD_WORDS = 8
_PROSE_WORDS = 11
_WRAP_WORDS = 4
_RUNNING_WORDS = 4  # so many that begin with a small letter are running text and no label
_LEADING = 0.6  # heights between the lines of one row
_PERIOD_WORDS = re.compile(
    r"\b(?:years?|fiscal|fy|ended|ending|quarters?|months?|weeks?|january|february|march|april|"
    r"may|june|july|august|september|october|november|december|in|millions|thousands|as|at|of|"
    r"note|notes|change|first|second|third|fourth|q[1-4]|for|the|dollars|amounts|"
    r"except|per|share|data)\b",
    re.IGNORECASE,
)
_MONTH_LAST = re.compile(
    r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?$|\b(?:fiscal|fy|note|and|or|of|"
    r"in|to|for|from|by|the|than|about|approximately|item|page|part|section|form|rule|no\.?)$|"
    r"\d{1,2},$",
    re.IGNORECASE,
)


@dataclass
class Block:
    """Lines of one table, as numbers of the page's lines.

    Attributes:
        body: from its first row to its last.
        data: those of the body that have figures.
        above: the lines over it that may be heads and titles, from the top.
        wraps: lines of the body with words that go on in the cells of the row above.
    """

    body: list[int]
    data: list[int]
    above: list[int] = field(default_factory=list)
    wraps: list[int] = field(default_factory=list)


def with_tails_cut(lines: Sequence[VisualLine]) -> list[VisualLine]:
    """Lines where figures that only a space parts from their label are pieces of their own.

    They are cells where figures stand under or over all of them.
    """
    cut: list[VisualLine] = []
    for number, line in enumerate(lines):
        pieces: list[Piece] = []
        for place, piece in enumerate(line.pieces):
            if not piece.tail or not _is_cut(lines, number, place):
                pieces.append(piece)
            else:
                pieces += [*([piece.lead] if piece.lead else []), *piece.tail]
        cut.append(line if len(pieces) == len(line.pieces) else replace(line, pieces=tuple(pieces)))
    return cut


def _is_cut(lines: Sequence[VisualLine], number: int, place: int) -> bool:
    line = lines[number]
    piece = line.pieces[place]
    lead = piece.lead
    if lead is not None and (
        lead.n_words > 2 * _LABEL_WORDS
        or _MONTH_LAST.search(lead.text)
        or (lead.text[0].islower() and lead.n_words >= _RUNNING_WORDS)
    ):
        return False
    others = (*lines[max(0, number - 4) : number], *lines[number + 1 : number + 5])
    near = [figure for other in others for figure in other.figures]
    if len(piece.tail) > 1:
        near += [figure for other in others for found in other.texts for figure in found.tail]
    n_aligned = sum(
        any(abs(figure.edge - other.edge) <= 0.5 * line.height for other in near)
        for figure in piece.tail
    )
    if len(piece.tail) > 1:
        return n_aligned >= max(2, len(piece.tail) - 1)
    is_last = place + 1 == len(line.pieces) or line.pieces[place + 1].is_figure
    return n_aligned == 1 and is_last and lead is not None and lead.n_words <= _LABEL_WORDS


def blocks_of(lines: Sequence[VisualLine]) -> list[Block]:
    """Tables of a page from the top; no line is in two of them."""
    scan = _Scan(lines)
    for number in range(len(lines)):
        scan.take(number)
    scan.close()
    return scan.blocks


class _Scan:
    """Goes down a page with at most one table open."""

    def __init__(self, lines: Sequence[VisualLine]) -> None:
        self.lines = lines
        self.blocks: list[Block] = []
        self.open: Block | None = None
        self.waiting: list[int] = []  # lines of words that are the table's if a row follows
        self.wraps: list[int] = []  # those of them that go on with cells

    def take(self, number: int) -> None:
        line = self.lines[number]
        if self.open is not None and self._goes_inside(number):
            self.waiting.append(number)
            if not line.figures:
                self.wraps.append(number)
        elif is_data(line):
            if self.open is not None and not self._goes_on(number):
                self.close()
            if self.open is None:
                self.open = Block([number], [number])
            else:
                self.open.body += [*self.waiting, number]
                self.open.data.append(number)
                self.open.wraps += self.wraps
            self.waiting, self.wraps = [], []
        elif self.open is not None:
            if self._is_label(line) and self._gap(number) <= _FAR * line.height:
                self.waiting.append(number)
            elif self._may_wrap(number):
                self.waiting.append(number)
                self.wraps.append(number)
            else:
                self.close()

    def close(self) -> None:
        if self.open is not None:
            # What goes on in the cells or the label of the last row is the table's too.
            after = self.waiting[:1]
            if after and after[0] in self.wraps:
                self.open.wraps += after
            elif not after or not is_continuation(self.lines[after[0] - 1], self.lines[after[0]]):
                after = []
            self.open.body += after
            used = self.blocks[-1].body[-1] if self.blocks else -1
            self.open.above = self._above(self.open.body[0], used)
            self.blocks.append(self.open)
        self.open, self.waiting, self.wraps = None, [], []

    def _gap(self, number: int) -> float:
        return self.lines[number].box.y0 - self.lines[number - 1].box.y1

    def _goes_on(self, number: int) -> bool:
        """Whether a row belongs to the open table: near by, and a figure under one of its own."""
        if self.open is None:
            return False
        line = self.lines[number]
        if self._gap(number) > _FAR * line.height:
            return False
        others = [piece for at in self.open.data[-12:] for piece in self.lines[at].figures]
        under = [
            any(
                abs(piece.edge - other.edge) <= _SAME_EDGE * line.height
                or min(piece.core.x1, other.core.x1) - max(piece.core.x0, other.core.x0)
                > 0.3 * min(piece.core.width, other.core.width)
                for other in others
            )
            for piece in line.figures
        ]
        return sum(under) * 2 >= len(under) or (any(under) and self._gap(number) <= line.height)

    def _goes_inside(self, number: int) -> bool:
        """Whether a line close under another of the table is no row of its own.

        Its figures stand among the labels, as in "Shares outstanding 2018: 576,575,168"; or it has
        none and goes on with words of the cells above it.
        """
        if self.open is None or self._gap(number) > _LEADING * self.lines[number].height:
            return False
        line = self.lines[number]
        if line.figures:
            zone = min(piece.core.x0 for at in self.open.data for piece in self.lines[at].figures)
            return len(self.open.data) > 2 and line.box.x1 < zone - 2 * line.height
        above = [piece for at in self.open.data[-1:] for piece in self.lines[at].texts[1:]]
        if not any(
            abs(piece.core.x0 - other.core.x0) <= 0.7 * line.height
            or abs(piece.middle - other.middle) <= line.height
            for piece in line.pieces
            for other in above
        ):
            return False
        if number != self.open.body[-1] + 1 + len(self.waiting):
            return False
        return all(
            any(
                abs(piece.core.x0 - other.core.x0) <= 0.7 * line.height
                or abs(piece.middle - other.middle) <= line.height
                for other in (*above, self.lines[self.open.data[-1]].texts[0])
            )
            or any(
                abs(piece.middle - other.middle) <= 3 * line.height and piece.n_words <= _WRAP_WORDS
                for other in self.lines[self.open.data[-1]].figures
            )
            for piece in line.pieces
        )

    def _may_wrap(self, number: int) -> bool:
        """Words close under a row, all right of its label, that are no heads of what follows."""
        if self.open is None:
            return False
        line = self.lines[number]
        row = self.lines[self.open.data[-1]]
        return (
            number == self.open.data[-1] + 1
            and self._gap(number) <= _LEADING * line.height
            and not line.figures
            and line.n_words <= _HEAD_WORDS
            and len(line.pieces) < len(row.pieces)
            and bool(row.texts)
            and row.pieces[0] is row.texts[0]
            and line.box.x0 > row.texts[0].box.x1
            and _PERIOD_WORDS.search(line.text) is None
        )

    def _is_label(self, line: VisualLine) -> bool:
        """Words left of the figures, as a label that wraps and a head of rows are."""
        if self.open is None or line.figures:
            return False
        zone = min(piece.core.x0 for at in self.open.data for piece in self.lines[at].figures)
        if max(piece.core.x1 for piece in line.pieces) <= zone + 0.5 * line.height:
            return True
        first = min(self.lines[at].box.x0 for at in self.open.data)
        return (
            len(line.pieces) == 1
            and line.n_words <= _LABEL_WORDS
            and line.box.x0 <= first + 3 * line.height
            and line.text.endswith(":")
        )

    def _above(self, first: int, used: int) -> list[int]:
        found: list[int] = []
        below = self.lines[first]
        has_jumped = False
        for number in range(first - 1, max(used, first - 1 - _MOST_HEADS), -1):
            line = self.lines[number]
            gap = (below.box.y0 - line.box.y1) / max(line.height, below.height)
            if gap > _HEAD_FAR and (has_jumped or gap > _TITLE_FAR or is_prose(line)):
                break
            has_jumped |= gap > _HEAD_FAR
            found.append(number)
            if is_prose(line):
                # The sentence that leads to a table may have begun a line before.
                if number - 1 > used and is_prose(self.lines[number - 1]):
                    found.append(number - 1)
                break
            below = line
        return found[::-1]


def is_prose(line: VisualLine) -> bool:
    """Running text: so many words together that they are no label."""
    return any(
        not piece.is_figure and piece.n_words >= _PROSE_WORDS for piece in line.pieces
    ) and not is_data(line)


def is_data(line: VisualLine) -> bool:
    """A row of a table: figures with a label, or several figures, that are no heads."""
    if not line.figures or is_head(line):
        return False
    return bool(line.texts) or len(line.figures) > 1 or not line.figures[0].is_year


def is_head(line: VisualLine) -> bool:
    """Years over columns, alone or with words that speak of time or scale."""
    if not line.figures or not all(piece.is_year for piece in line.figures):
        return False
    if len(line.figures) == 1 and not line.texts:
        return True
    texts = line.texts
    if not texts or len(line.figures) >= 2:
        return True
    return any(_PERIOD_WORDS.search(piece.text) for piece in texts) or len(texts) > 1


def is_continuation(line: VisualLine, following: VisualLine) -> bool:
    """Whether words on a line of their own go on with the label of the row above."""
    if following.figures or len(following.pieces) != 1 or not line.texts:
        return False
    if following.box.y0 - line.box.y1 > following.height:
        return False
    label = line.texts[0].text
    words = following.text
    is_open = label.count("(") > label.count(")")
    return is_open or (not words.endswith((".", ":")) and (words[0].islower() or ends_open(label)))


def ends_open(label: str) -> bool:
    """Whether a label cannot end here: after "of", a comma, a dash, within a bracket."""
    return (
        label.count("(") > label.count(")")
        or re.search(
            r"(?:,|\u2014|\u2013|\s-|/|&|\b(?:of|and|or|the|to|in|from|for|by|on|with|at|as|a|an|"
            r"per))$",
            label,
            re.IGNORECASE,
        )
        is not None
    )


def usual_height(lines: Sequence[VisualLine]) -> float:
    return median(line.height for line in lines) if lines else 1.0
