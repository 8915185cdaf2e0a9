"""A page cut into what may be quoted: sentences, table rows, and short lines with what follows.

Every part of a passage is a span of words in reading order, so that its text is verbatim. Only the
layout and the marks of punctuation are looked at, never what the words mean.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from rag.geometry import Box, as_boxes, union
from rag.page_text import PageText

Span = tuple[int, int]  # (start, end) word indices

_CELL_WORDS = 6
_LABEL_WORDS = 14
_SENTENCE_WORDS = 60
_WINDOW_WORDS = 32
_WINDOW_LINES = 8
_LINE_GAP = 0.9  # of a line's height: wider apart, and lines are not one paragraph
_FULL_LINE = 0.75  # of the next line's width: a line that stops before this has ended something
_FIGURE = re.compile(r"\d[\d.,:/]*(?:x|bn|m|k)?")  # what is left between the marks around it
_YEAR = re.compile(r"(?:19|20)\d\d")
_BULLET = re.compile(r"[\u2022\u25aa\u25cf\u25e6\u2023\u2013\u2014*\-]|\(?(?:\d{1,2}|[a-zA-Z])[.)]")
_HEADING_NUMBER = re.compile(r"[\d.]+[A-Za-z]?\.")  # "Item 9." goes with what follows
_CLOSING = "\"'\u201d\u2019)]"
_SENTENCE_ENDS = (".", "!", "?", "\u3002", "\uff01", "\uff1f")
# A full stop after these is part of the word. Wrong here only makes a passage longer or shorter.
_ABBREVIATION = re.compile(
    r"[(\[\"'\u201c]*(?:(?:[A-Za-z]\.)+|(?:approx|assn|co|corp|cf|dept|dr|ed|eds|eq|est|etc|fig|figs|"
    r"gen|inc|jr|ltd|max|min|mr|mrs|ms|no|nos|pp|prof|rev|sec|sr|st|univ|vol|vs|"
    r"jan|feb|mar|apr|jun|jul|aug|sep|sept|oct|nov|dec)\.)",
    re.IGNORECASE,
)


class PassageKind(StrEnum):
    SENTENCE = "sentence"
    ROW = "row"
    LINES = "lines"


@dataclass(frozen=True)
class Passage:
    """Words that are read together; more than one span where reading order scatters a row."""

    kind: PassageKind
    spans: tuple[Span, ...]

    @property
    def n_words(self) -> int:
        return sum(end - start for start, end in self.spans)


@dataclass(frozen=True)
class _Unit:
    """A passage in reading order: whether it may lead to what follows, whether a table holds it."""

    passage: Passage
    leads: bool = False
    is_table: bool = False


@dataclass(frozen=True)
class _Line:
    start: int
    end: int
    box: Box
    n_figures: int  # words that are numbers or marks around numbers
    n_last_figures: int  # how many of them end the line
    size_pt: float
    is_bold: bool

    @property
    def n_words(self) -> int:
        return self.end - self.start

    @property
    def is_cell(self) -> bool:
        return self.n_words <= _CELL_WORDS and self.n_figures > 0

    @property
    def is_prose(self) -> bool:
        return self.n_words > _CELL_WORDS and self.n_figures <= 0.3 * self.n_words

    @property
    def is_row(self) -> bool:
        """A label and the figures of its row, already on one line."""
        n_label = self.n_words - self.n_last_figures
        return 0 < n_label <= _LABEL_WORDS and (
            self.n_last_figures >= 2 or (self.n_last_figures == 1 and n_label <= _CELL_WORDS)
        )


def cut_passages(text: PageText) -> list[Passage]:
    """All passages of a page; they overlap where a line may be read with what follows it."""
    lines = _lines(text)
    before = {line.end: line for line in lines}
    rows, in_rows = _scattered_rows(lines)
    passages = [Passage(PassageKind.ROW, spans) for spans in rows]
    in_order: list[_Unit] = []
    for run in _runs(text, lines, in_rows):
        if len(run) == 1 and run[0].is_row:
            row = Passage(PassageKind.ROW, (_row_span(text, before.get(run[0].start), run[0]),))
            in_order.append(_Unit(row, is_table=run[0].n_last_figures > 1))
            continue
        sentences = list(_sentences(text, run[0].start, run[-1].end))
        is_table = run[-1].n_words == run[-1].n_figures > 1
        has_ended = text.words[run[-1].end - 1].endswith(".")
        leads = len(sentences) == 1 and not has_ended and not is_table
        in_order += [
            _Unit(Passage(PassageKind.SENTENCE, (span,)), leads=leads, is_table=is_table)
            for span in sentences
        ]
    passages += [unit.passage for unit in in_order]
    passages += [Passage(PassageKind.LINES, (span,)) for span in _windows(in_order)]
    return list(dict.fromkeys(passages))


def column_heads(text: PageText, row: Passage) -> Span | None:
    """The line nearest above a table row that names its columns, if there is one.

    It names them when each of its words is a word or a year, no other figure, and they stand over
    two of the row's figures, or over its only one.
    """
    words = [word for start, end in row.spans for word in range(start, end)]
    figures = [word for word in words if _is_figure(text.words[word])]
    if not figures:
        return None
    top = min(float(text.boxes[word][1]) for word in figures)
    found: tuple[float, Span] | None = None
    for line in _lines(text):
        if line.box.y1 > top + 0.5 * line.box.height or line.n_words > _LABEL_WORDS:
            continue
        names = [word for word in range(line.start, line.end) if _names_column(text.words[word])]
        over = [any(_are_aligned(text, name, figure) for name in names) for figure in figures]
        if (
            sum(over) >= min(2, len(figures))
            and len(names) == line.n_words
            and (found is None or line.box.y1 > found[0])
        ):
            found = (line.box.y1, (line.start, line.end))
    return None if found is None else found[1]


def _lines(text: PageText) -> list[_Line]:
    boxes = as_boxes(text.boxes)
    lines: list[_Line] = []
    for start, end in text.line_spans:
        figures = [_is_figure(word) for word in text.words[start:end]]
        last = next((n for n, figure in enumerate(reversed(figures)) if not figure), end - start)
        lines.append(
            _Line(
                start,
                end,
                union(boxes[start:end]),
                sum(figures),
                last,
                float(text.sizes_pt[start:end].max()),
                bool(text.bold[start:end].all()),
            )
        )
    return lines


def _is_figure(word: str) -> bool:
    """A number with the marks around it, or such marks alone: `(1,234)%`, `$`, a dash."""
    inner = [place for place, char in enumerate(word) if char.isalnum()]
    return not inner or _FIGURE.fullmatch(word, inner[0], inner[-1] + 1) is not None


def _names_column(word: str) -> bool:
    return not _is_figure(word) or _YEAR.search(word) is not None


def _are_aligned(text: PageText, above: int, below: int) -> bool:
    return bool(
        min(text.boxes[above][2], text.boxes[below][2])
        > max(text.boxes[above][0], text.boxes[below][0])
    )


# --- table rows ---------------------------------------------------------------------------------
def _scattered_rows(lines: Sequence[_Line]) -> tuple[list[tuple[Span, ...]], set[int]]:
    """Rows whose cells the file holds as lines of their own, and the lines they are made of."""
    rows: list[tuple[Span, ...]] = []
    taken: set[int] = set()
    for beside in _side_by_side([line for line in lines if line.n_words <= _LABEL_WORDS]):
        cells: list[_Line] = []
        for line in beside:
            if cells and cells[-1].is_cell and not line.is_cell:
                _close_row(cells, rows, taken)
                cells = []
            cells.append(line)
        _close_row(cells, rows, taken)
    return rows, taken


def _close_row(cells: list[_Line], rows: list[tuple[Span, ...]], taken: set[int]) -> None:
    """A row is a label and at least one cell with a figure."""
    if len(cells) >= 2 and cells[-1].is_cell and not cells[0].is_cell:
        label = max(number for number, line in enumerate(cells) if not line.is_cell)
        row = cells[label:]
        rows.append(_joined([(line.start, line.end) for line in row]))
        taken.update(line.start for line in row)


def _side_by_side(lines: Sequence[_Line]) -> Iterator[list[_Line]]:
    """Lines that overlap vertically by more than half of the lower one, left to right."""
    beside: list[_Line] = []
    for line in sorted(lines, key=lambda line: (line.box.y0, line.box.x0)):
        if beside:
            first = beside[0].box
            overlap = min(first.y1, line.box.y1) - max(first.y0, line.box.y0)
            if overlap <= 0.5 * min(first.height, line.box.height):
                yield sorted(beside, key=lambda line: (line.box.x0, line.start))
                beside = []
        beside.append(line)
    if beside:
        yield sorted(beside, key=lambda line: (line.box.x0, line.start))


def _joined(spans: Sequence[Span]) -> tuple[Span, ...]:
    """Spans that follow each other in reading order as one."""
    joined: list[Span] = []
    for start, end in spans:
        if joined and joined[-1][1] == start:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return tuple(joined)


def _row_span(text: PageText, before: _Line | None, row: _Line) -> Span:
    """The row, with the line before it where its label began there."""
    if (
        before is not None
        and text.words[row.start][0].islower()
        and before.n_figures == 0
        and before.n_words <= _LABEL_WORDS
        and _follows(before, row)
    ):
        return before.start, row.end
    return row.start, row.end


# --- running text -------------------------------------------------------------------------------
def _runs(text: PageText, lines: Sequence[_Line], in_rows: set[int]) -> Iterator[list[_Line]]:
    """Paragraphs as the layout shows them; a row, a heading and a list item stand alone."""
    run: list[_Line] = []
    for line in lines:
        if line.start in in_rows:
            continue
        if run and not _continues(text, run[-1], line):
            yield run
            run = []
        run.append(line)
    if run:
        yield run


def _continues(text: PageText, line: _Line, following: _Line) -> bool:
    has_ended = line.box.x1 - following.box.x0 < _FULL_LINE * following.box.width
    return (
        line.end == following.start
        and not line.is_row
        and (not following.is_row or line.is_prose)
        and _follows(line, following)
        and not has_ended
        and line.is_bold == following.is_bold
        and _BULLET.fullmatch(text.words[following.start]) is None
    )


def _follows(line: _Line, following: _Line) -> bool:
    """Set beneath, close by, in like type."""
    height = min(line.box.height, following.box.height)
    return (
        following.box.y0 > line.box.y0
        and following.box.y0 - line.box.y1 <= _LINE_GAP * height
        and min(line.box.x1, following.box.x1) > max(line.box.x0, following.box.x0)
        and abs(line.size_pt - following.size_pt) <= 0.15 * max(line.size_pt, following.size_pt)
    )


def _sentences(text: PageText, start: int, end: int) -> Iterator[Span]:
    first = start
    for word in range(start, end):
        is_last = word + 1 == end
        is_number = word - first < 2 and _HEADING_NUMBER.fullmatch(text.words[word])
        ends = is_last or (not is_number and ends_sentence(text.words[word], text.words[word + 1]))
        # What has no end for so long is a list or a table: it is cut where a line ends.
        is_long = word - first + 1 >= _SENTENCE_WORDS // 2 and not is_last
        if ends or (is_long and _cut_here(text, first, word, end)):
            yield first, word + 1
            first = word + 1


def _cut_here(text: PageText, first: int, word: int, end: int) -> bool:
    stop = next(
        (
            at + 1
            for at in range(word, min(end, first + _SENTENCE_WORDS))
            if at + 1 == end or ends_sentence(text.words[at], text.words[at + 1])
        ),
        None,
    )
    return stop is None and bool(text.lines[word] != text.lines[word + 1])


def ends_sentence(word: str, following: str) -> bool:
    """Whether a sentence ends between two words; a full stop of an abbreviation ends none."""
    return (
        word.rstrip(_CLOSING).endswith(_SENTENCE_ENDS)
        and _ABBREVIATION.fullmatch(word) is None
        and not following[0].islower()
    )


# --- lines that are no sentences ----------------------------------------------------------------
def _windows(in_order: Sequence[_Unit]) -> Iterator[Span]:
    """A short line with those after it: a heading and its list, a figure and what it counts.

    Rows of several figures are left to themselves: they are read with the heads of their columns.
    """
    for number, first in enumerate(in_order):
        start, end = first.passage.spans[0]
        if not first.leads or end - start > _LABEL_WORDS:
            continue
        for following in in_order[number + 1 : number + _WINDOW_LINES]:
            next_start, next_end = following.passage.spans[0]
            if next_start != end or next_end - start > _WINDOW_WORDS or following.is_table:
                break
            end = next_end
            yield start, end
