"""What can be compared: the figures of one column or one row of a table, each with its name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from rag.answer.figures.read import Figure
from rag.answer.passages import Span
from rag.answer.tables.cell_figures import cell_figure
from rag.answer.tables.read import read_tables
from rag.answer.tables.table import Cell, Column, Row, Table, scale_of
from rag.page_text import PageText
from rag.ports import Evidence

_ROW_WORDS = 10  # of a label
_HEAD_LINES = 4  # above the first row, within which the line of heads stands
_FIGURE = re.compile(
    r"[(]?[-+\u2013\u2212]?[$\u20ac\u00a3]?\d[\d,]*(?:\.\d+)?%?[)]?(?:\(\d[\d.]*%?\)|\u00b1[\d.]+)?"
)
_LEADING = re.compile(r"[^(\u00b1]+|\([^()]*\)")  # a figure without how far it may be off
_SUMS = re.compile(
    r"(?i)\b(?:sub-?totals?|totals?|all|overall|average|mean|median|sum|net|grand)\b"
)


@dataclass(frozen=True)
class Entry:
    """A figure and whose it is.

    Attributes:
        name: label of its row, or head of its column.
        value: with scale and sign.
        spans: words of its row's label and of the figure.
    """

    name: str
    name_spans: tuple[Span, ...]
    figure: Figure
    value: float
    spans: tuple[Span, ...]

    @property
    def is_sum(self) -> bool:
        """Whether it stands for several others, and is none of those that are compared."""
        return not self.name or _SUMS.search(self.name) is not None


@dataclass(frozen=True)
class Series:
    """Figures of one kind.

    Attributes:
        page: index into the evidence.
        head: what they measure: head of the column, or label of the row.
        around: words over the names, sections and title.
        by_row: whether each stands in a row of its own.
    """

    page: int
    head: str
    head_spans: tuple[Span, ...]
    around: str
    names_head: str
    entries: tuple[Entry, ...]
    by_row: bool


def series_of(evidence: Sequence[Evidence]) -> list[Series]:
    """Each column and each row that has two figures and more, tables from the top of each page."""
    found: list[Series] = []
    for index, page in enumerate(evidence):
        tables = with_parted_heads([*read_tables(page.text), *line_tables(page.text)])
        for table in tables:
            found += _columns(index, table)
            found += _rows(index, table)
    return found


def _columns(page: int, table: Table) -> Iterator[Series]:
    for place, column in enumerate(table.columns):
        entries = tuple(
            _entry(table, row, cell, row.label, row.label_spans)
            for row in table.rows
            for cell in row.cells
            if cell.column == place and not cell.is_dash and cell.figure.value is not None
        )
        if len(entries) > 1:
            sections = " ".join(dict.fromkeys(s for row in table.rows for s in row.section))
            around = f"{table.title} {sections}"
            yield Series(page, column.head, column.spans, around, table.stub, entries, by_row=True)


def _rows(page: int, table: Table) -> Iterator[Series]:
    for row in table.rows:
        entries = tuple(
            _entry(table, row, cell, column.head, column.spans)
            for cell in row.cells
            if (column := table.column_of(cell)) is not None
            and column.head
            and not cell.is_dash
            and cell.figure.value is not None
        )
        if len(entries) > 1 and row.label:
            around = " ".join((table.title, *row.section))
            yield Series(
                page, row.label, row.label_spans, around, table.stub, entries, by_row=False
            )


def _entry(table: Table, row: Row, cell: Cell, name: str, name_spans: tuple[Span, ...]) -> Entry:
    value = (cell.figure.value or 0.0) * scale_of(table, row, cell)
    return Entry(name, name_spans, cell.figure, value, (*row.label_spans, cell.span))


# --- heads ----------------------------------------------------------------------------------------
def with_parted_heads(tables: Sequence[Table]) -> list[Table]:
    """Tables whose heads are names: a rule between two heads parts them, and a table whose heads
    are figures goes on with the heads of the one before it.
    """
    found: list[Table] = []
    for table in tables:
        columns = _parted(table.columns)
        if columns and not any(any(map(str.isalpha, column.head)) for column in columns):
            before = next(
                (
                    other.columns
                    for other in reversed(found)
                    if len(other.columns) == len(columns)
                    and all(any(map(str.isalpha, column.head)) for column in other.columns)
                ),
                None,
            )
            columns = before or columns
        found.append(replace(table, columns=columns))
    return found


def _parted(columns: tuple[Column, ...]) -> tuple[Column, ...]:
    """Two columns below "Saved | Sent", read as one head: each has its part."""
    found = list(columns)
    for head in {column.head for column in columns if " | " in column.head}:
        below = [place for place, column in enumerate(columns) if column.head == head]
        parts = head.split(" | ")
        if len(parts) == len(below) == below[-1] - below[0] + 1:
            for place, part in zip(below, parts, strict=True):
                found[place] = replace(columns[place], head=part)
    return tuple(found)


# --- tables whose figures have words beside them --------------------------------------------------
def line_tables(text: PageText) -> list[Table]:
    """Tables read line by line: labels with equally many figures, below the heads of those.

    For figures with their error behind them ("92.0(1.5)"), which are no cells by themselves.
    """
    lines = [(span, _row_of(text, span)) for span in text.line_spans]
    found: list[Table] = []
    number = 0
    while number < len(lines):
        first = lines[number][1]
        end = number + 1
        while (
            first is not None
            and end < len(lines)
            and (row := lines[end][1]) is not None
            and len(row.cells) == len(first.cells)
        ):
            end += 1
        run = [row for _, row in lines[number:end] if row is not None]
        if len(run) > 1 and _has_errors(text, run):
            heads = _heads(text, [span for span, _ in lines[max(0, number - _HEAD_LINES) : number]])
            table = _with_heads(text, run, heads)
            if table is not None:
                found.append(table)
        number = end
    return found


def _has_errors(text: PageText, rows: Sequence[Row]) -> bool:
    return any("(" in text.words[row.cells[0].span[0]][1:] for row in rows)


def _row_of(text: PageText, span: Span) -> Row | None:
    start, end = span
    first = end
    while first > start and _FIGURE.fullmatch(text.words[first - 1]):
        first -= 1
    if first < end and text.words[first].startswith("("):
        first += 1  # "ChatGPT (0.1)": part of the name
    if not 0 < first - start <= _ROW_WORDS or first == end:
        return None
    cells: list[Cell] = []
    for column, word in enumerate(range(first, end)):
        leading = _LEADING.match(text.words[word])
        figure = cell_figure([leading[0]], 0, 1) if leading else None
        if figure is None:
            return None
        cells.append(Cell((word, word + 1), figure, column))
    return Row(text.span_text(start, first), ((start, first),), tuple(cells))


def _heads(text: PageText, above: Sequence[Span]) -> Span | None:
    """The nearest line above that has no figure of its own."""
    return next(
        (
            (start, end)
            for start, end in reversed(above)
            if not any(map(_FIGURE.fullmatch, text.words[start:end]))
        ),
        None,
    )


def _with_heads(text: PageText, rows: Sequence[Row], heads: Span | None) -> Table | None:
    """One word of the line of heads for each figure, those before them over the labels."""
    n_columns = len(rows[0].cells)
    if heads is None or not n_columns <= heads[1] - heads[0] <= n_columns + 2:
        return None
    first = heads[1] - n_columns
    columns = tuple(Column(text.words[n], ((n, n + 1),)) for n in range(first, heads[1]))
    stub = text.span_text(heads[0], first) if first > heads[0] else ""
    return Table(tuple(rows), columns, stub=stub)


def are_alike(entries: Sequence[Entry]) -> bool:
    """Whether their figures are of one unit, so that one can be more than another."""
    return all(a.figure.unit == b.figure.unit for a, b in pairwise(entries))
