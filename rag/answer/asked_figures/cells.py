"""Every figure of the tables of the evidence, with all that says what it is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from rag.answer.asked_figures.clause import STATEMENTS
from rag.answer.asked_figures.names import Words, label_words, name_words
from rag.answer.asked_figures.periods import periods_in
from rag.answer.asked_figures.stated import quote_source
from rag.answer.draft import Source
from rag.answer.figures.read import Figure
from rag.answer.figures.words import CURRENCIES, SCALES
from rag.answer.passages import Span
from rag.answer.tables.read import read_tables
from rag.answer.tables.table import (
    Cell,
    Column,
    Period,
    Row,
    Table,
    is_per_share,
    scale_of,
)
from rag.ports import Evidence

_PEOPLE = frozenset(name_words("employees staff headcount people workers workforce personnel"))
_OF_MONEY = frozenset(name_words("cost costs expense expenses benefits per wages salaries revenue"))
_YEAR_DAYS, _APART_DAYS = 365, 20
_HEAD_WORDS = 40  # of a page: what names a statement whose table has no title
_GAP_WORDS = 6  # between the parts of a row that are quoted as one: signs, leaders
_IN_PERCENT = re.compile(
    r"\(\s*(?:(?:in|as an?) )?(?:percent\w*|%)(?: of [^()]*)?\s*\)", re.IGNORECASE
)
_IN_TITLE = re.compile(r"\b(?P<money>[A-Z]{3}) (?:thousand|million|billion)\b")
_BY = re.compile(r"^(?:.*?[:.]\s)?(?P<name>[A-Za-z][A-Za-z ]{2,40}?)\s+by\s+[a-z]")
_YEAR = re.compile(r"\b(?:19|20)\d\d\b")


@dataclass(frozen=True, eq=False)
class PageTable:
    """A table where it stands.

    Attributes:
        number: among all tables of the evidence.
        scale: what its figures are to be multiplied by.
    """

    number: int
    evidence: Evidence
    table: Table
    scale: float

    @cached_property
    def statement(self) -> str:
        """Which of `STATEMENTS` it is, by its title or the head of its page; empty for none."""
        for text in (self.table.title, self._page_head):
            for name, said in _TITLES.items():
                if re.search(said, text, re.IGNORECASE):
                    return name
        return ""

    @cached_property
    def title_words(self) -> frozenset[str]:
        return frozenset(name_words(f"{self.table.title} {self._page_head}"))

    @cached_property
    def _page_head(self) -> str:
        """How the page begins, as far as that is over the rows of the table."""
        rows = self.table.rows
        first = min((span[0] for row in rows for span in row.label_spans), default=_HEAD_WORDS)
        return " ".join(self.evidence.text.words[: min(first, _HEAD_WORDS)])

    @cached_property
    def periods(self) -> list[Period]:
        return [column.period for column in self.table.columns if column.period is not None]

    @cached_property
    def interim(self) -> list[Period]:
        """Ends of quarters, beside the end of the year before: the latest, and those a year off."""
        ends = [(period, period.end) for period in self.periods if period.end is not None]
        if not ends:
            return []
        latest = max(end for _, end in ends)
        off = [(period, (latest - end).days % _YEAR_DAYS) for period, end in ends]
        is_mixed = any(_APART_DAYS < days < _YEAR_DAYS - _APART_DAYS for _, days in off)
        if not is_mixed:
            return []
        return [period for period, days in off if not _APART_DAYS < days < _YEAR_DAYS - _APART_DAYS]

    @cached_property
    def last_year(self) -> int | None:
        return max((period.year for period in self.periods if period.year), default=None)


# A cash flow statement also speaks of operations, a balance sheet of income: most telling first.
_TITLES = {
    "cash flow": rf"{STATEMENTS['cash flow']}|\bcash flows?\b",
    "balance": STATEMENTS["balance"] + r"|\bbalance sheets\b",
    "income": STATEMENTS["income"]
    + r"|\b(?:income|earnings|profit and loss) (?:statement|account)",
}


@dataclass(frozen=True, eq=False)
class TableFigure:
    """A cell with what says which figure it is.

    Attributes:
        row: number of its row in the table.
        label: words of the row's label.
        section: words of the heads above that the row stands under.
        head: words of the column's head.
        period: of the column, else of the row.
    """

    page_table: PageTable
    row_number: int
    row: Row
    cell: Cell
    label: Words
    section: Words
    head: Words
    period: Period | None

    @property
    def evidence(self) -> Evidence:
        return self.page_table.evidence

    @property
    def figure(self) -> Figure:
        return self.cell.figure

    @property
    def place(self) -> int:
        return self.cell.span[0]

    @property
    def name(self) -> str:
        return self.row.label.strip(" .:")

    @property
    def head_name(self) -> str:
        column = self._column
        return "" if column is None or column.period is not None else column.head

    @property
    def heading(self) -> str:
        column = self._column
        told = [*self.row.section[-1:], self.name, "" if column is None else column.head]
        return ", ".join(filter(None, told))

    @property
    def is_percent(self) -> bool:
        column, unit = self._column, self.cell.figure.unit
        if unit == "%" or (column is not None and column.unit == "%"):
            return True
        return not unit and _IN_PERCENT.search(self.page_table.table.title) is not None

    @property
    def scale(self) -> float:
        """What the written value is to be multiplied by."""
        table = self.page_table.table
        if self._counts_people:
            return self.cell.figure.scale
        if self._unit:
            return SCALES.get(self._unit[-1].lower(), 1.0)
        own = scale_of(table, self.row, self.cell)
        is_plain = own == table.scale == 1.0 and not self.is_percent and not is_per_share(self.row)
        return self.page_table.scale if is_plain else own

    @property
    def currency(self) -> str:
        unit = self.cell.figure.unit
        if not unit and self._counts_people:
            return ""
        if not unit and self._unit:
            return CURRENCIES.get(self._unit[0], "")
        return unit if unit and unit != "%" else self.page_table.table.currency

    @cached_property
    def _unit(self) -> list[str]:
        """Words of the row's cell in a column of units: "EUR million"."""
        table = self.page_table.table
        for cell in self.row.texts:
            column = table.column_of(cell)
            if column is not None and column.head.strip(" .:").lower() in ("unit", "units"):
                return cell.text.split()
        if table.currency or table.scale != 1.0 or self.is_percent:
            return []
        ends = _IN_TITLE.search(table.title)
        return [] if ends is None or ends["money"] not in CURRENCIES else ends[0].split()

    @property
    def _counts_people(self) -> bool:
        """Whether it is no money, whatever the head of the table says: "Employees", "Headcount"."""
        label = set(self.label)
        return bool(label & _PEOPLE) and not label & _OF_MONEY

    @property
    def _column(self) -> Column | None:
        columns = self.page_table.table.columns
        return columns[self.cell.column] if 0 <= self.cell.column < len(columns) else None

    def sources(self) -> tuple[Source, ...]:
        """The row, and the heads of the columns where they say when."""
        spans = [*self.row.label_spans, *(cell.span for cell in self.row.cells)]
        quoted = _merged(spans)
        columns = self.page_table.table.columns
        if 0 <= self.cell.column < len(columns) and columns[self.cell.column].spans:
            own = columns[self.cell.column].spans
            lines = _merged([span for column in columns for span in column.spans])
            over = [line for line in lines if any(line[0] <= span[0] < line[1] for span in own)]
            text = self.evidence.text
            dated = [line for line in over if _YEAR.search(text.span_text(*line))]
            quoted += dated or over
        return tuple(quote_source(self.page_table.evidence, span) for span in quoted)


def tables_of(evidence: Sequence[Evidence]) -> list[PageTable]:
    """All tables in their order.

    An amount of money whose table says no scale has that of its document's other tables, where they
    agree.
    """
    found = [(page, table) for page in evidence for table in read_tables(page.text)]
    said: dict[str, set[float]] = {}
    for page, table in found:
        if table.scale_span is not None or table.scale != 1.0:
            said.setdefault(page.hit.ref.document_id, set()).add(table.scale)
    tables: list[PageTable] = []
    for page, table in found:
        scales = said.get(page.hit.ref.document_id, set())
        is_silent = table.scale_span is None and table.scale == 1.0 and table.currency != ""
        scale = next(iter(scales)) if is_silent and len(scales) == 1 else table.scale
        tables.append(PageTable(len(tables), page, table, scale))
    return tables


def figures_of(page_table: PageTable) -> Iterator[TableFigure]:
    table = page_table.table
    heads = [name_words(column.head) for column in table.columns]
    for number, row in enumerate(table.rows):
        label, section = label_words(row.label), name_words(" ".join(row.section))
        if label == ("total",) and (whole := _BY.match(table.title)):
            label = name_words(whole["name"])  # "Revenue by region": its total is the revenue
        own = periods_in(row.label) or periods_in(" ".join(row.section[-1:]))
        for cell in row.cells:
            if cell.figure.value is None:
                continue
            is_placed = 0 <= cell.column < len(heads)
            period = table.columns[cell.column].period if is_placed else None
            if period is None and own:
                period = own[-1].period
            head = heads[cell.column] if is_placed else ()
            yield TableFigure(page_table, number, row, cell, label, section, head, period)


def _merged(spans: list[Span]) -> list[Span]:
    """Spans in order, those near each other as one."""
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start - merged[-1][1] <= _GAP_WORDS:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged
