"""What a table is, once its words are read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

from rag.answer.figures.read import Figure
from rag.answer.passages import Span

_PER_ONE = re.compile(
    r"\bper\b.{0,24}\b(?:share|unit|ads|adr)\b|\beps\b|\b(?:basic|diluted)\s+(?:net\s+)?"
    r"(?:earnings|income|loss)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Period:
    """A time that a column, a row or a question speaks of.

    Attributes:
        year: fiscal or calendar, as written; None where only a quarter is said.
        quarter: 1 to 4; None for a year.
        end: its last day, where written.
        months: how long it is, where written ("three months ended"); None where not.
        is_fiscal: whether the year is said to be a fiscal one.
    """

    text: str
    year: int | None = None
    quarter: int | None = None
    end: date | None = None
    months: int | None = None
    is_fiscal: bool = False


@dataclass(frozen=True)
class Column:
    """A column of figures or of words; the column of the rows' labels is none.

    Attributes:
        head: all that stands over it, outermost first, in one string.
        spans: words of its head, from the top.
        unit: "%" where the head or its figures say so.
        scale: where its head says one of its own; None where it is the table's.
    """

    head: str
    spans: tuple[Span, ...]
    period: Period | None = None
    unit: str = ""
    scale: float | None = None


@dataclass(frozen=True)
class Cell:
    """A figure in a row; `column` is an index into the table's columns, -1 for none.

    A dash is a figure of value 0 whose text has no digit.
    """

    span: Span
    figure: Figure
    column: int

    @property
    def is_dash(self) -> bool:
        return not any(map(str.isdigit, self.figure.text))


@dataclass(frozen=True)
class TextCell:
    """Words in a row, beside its label: a name, a place, "Yes"."""

    spans: tuple[Span, ...]
    text: str
    column: int


@dataclass(frozen=True)
class Row:
    """A label and its figures.

    Attributes:
        label: words in reading order; dots that lead to its figures are left out.
        section: heads above that the row stands under, outermost first.
        texts: cells of words.
        scale: where its label says one of its own, as in "Net sales (millions)".
    """

    label: str
    label_spans: tuple[Span, ...]
    cells: tuple[Cell, ...]
    section: tuple[str, ...] = ()
    texts: tuple[TextCell, ...] = ()
    scale: float | None = None


@dataclass(frozen=True)
class Table:
    """Rows under columns.

    Attributes:
        title: of the lines above that name it; empty where none does.
        title_spans: words of the title.
        scale: what its figures are to be multiplied by, as in 1e6 for "in millions".
        currency: sign or code; empty where none is written.
        scale_span: the words that say scale and currency; None where they are not written.
        stub: what stands over the labels, as in "Year ended December 31,"; empty for nothing.
        stub_spans: words of the stub.
        period: of stub or title, for columns that have none of their own.
    """

    rows: tuple[Row, ...]
    columns: tuple[Column, ...]
    title: str = ""
    title_spans: tuple[Span, ...] = ()
    scale: float = 1.0
    currency: str = ""
    scale_span: Span | None = None
    stub: str = ""
    stub_spans: tuple[Span, ...] = ()
    period: Period | None = None

    def column_of(self, cell: Cell | TextCell) -> Column | None:
        return self.columns[cell.column] if 0 <= cell.column < len(self.columns) else None


def is_per_share(row: Row) -> bool:
    """Whether the row counts by the share, which "in millions" does not speak of."""
    return any(_PER_ONE.search(words) for words in (row.label, *row.section[-1:]))


def scale_of(table: Table, row: Row, cell: Cell) -> float:
    """What this figure is to be multiplied by: its own scale, its row's, column's or table's.

    1 for a percentage and for an amount per share, whether or not the table says "except".
    """
    column = table.column_of(cell)
    if cell.figure.unit == "%" or (column is not None and column.unit == "%"):
        return 1.0
    if cell.figure.scale != 1.0:
        return cell.figure.scale
    if row.scale is not None:
        return row.scale
    if is_per_share(row) and cell.figure.decimals:
        return 1.0
    return column.scale if column is not None and column.scale is not None else table.scale
