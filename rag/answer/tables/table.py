"""What a table is, once its words are read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from rag.answer.figures import Figure
from rag.answer.passages import Span


@dataclass(frozen=True)
class Period:
    """A time that a column, a row or a question speaks of.

    Attributes:
        year: fiscal or calendar, as written; None where only a quarter is said.
        quarter: 1 to 4; None for a year.
        end: its last day, where written.
        months: how long it is, where written ("three months ended"); None where not.
    """

    text: str
    year: int | None = None
    quarter: int | None = None
    end: date | None = None
    months: int | None = None


@dataclass(frozen=True)
class Column:
    """A column of figures.

    Attributes:
        spans: words of its head, from the top.
    """

    head: str
    spans: tuple[Span, ...]
    period: Period | None = None
    unit: str = ""


@dataclass(frozen=True)
class Cell:
    """A figure in a row; `column` is an index into the table's columns, -1 for none."""

    span: Span
    figure: Figure
    column: int


@dataclass(frozen=True)
class Row:
    """A label and its figures.

    Attributes:
        label: words in reading order.
        section: heads above that the row stands under, outermost first.
    """

    label: str
    label_spans: tuple[Span, ...]
    cells: tuple[Cell, ...]
    section: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """Rows under columns.

    Attributes:
        title: of the lines above that name it; empty where none does.
        title_spans: words of the title.
        scale: what its figures are to be multiplied by, as in 1e6 for "in millions".
        currency: sign or code; empty where none is written.
        scale_span: the words that say scale and currency; None where they are not written.
    """

    rows: tuple[Row, ...]
    columns: tuple[Column, ...]
    title: str = ""
    title_spans: tuple[Span, ...] = ()
    scale: float = 1.0
    currency: str = ""
    scale_span: Span | None = None
