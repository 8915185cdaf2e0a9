"""Which figure of the tables a name and a time mean.

A label is held against the names a measure goes by, or against the words of the question; a column
against the time. Every score is a share from 0 to 1, and scores of one figure multiply.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from rag.answer.asked_figures.cells import PageTable, TableFigure, figures_of
from rag.answer.asked_figures.measures import Measure
from rag.answer.asked_figures.names import Words, name_words
from rag.answer.asked_figures.stated import Found
from rag.answer.tables.periods import matches
from rag.answer.tables.table import Period

_LEAST = 0.3  # a figure that scores less is not what was asked for
_LATER_NAME = 0.004  # what each more unusual name of a measure costs
# Words beside a name that leave it the same figure.
_NEUTRAL = frozenset(
    "net total company consolidated inc co corp corporation plc ltd group s loss and".split()
)
_OWNERS = frozenset(
    "attributable applicable available common shareholder shareowner stockholder".split()
)
# After a name they begin another: "net income per share", "net income from continuing operations".
_ANOTHER_FIGURE = frozenset(name_words("before per margin continuing discontinued"))
_TELLING = 3  # words of a name that may have others between them
_ANOTHER_STATEMENT, _NO_STATEMENT = 0.75, 0.8
_CHANGE_OF_BALANCE = 0.4  # a cash flow statement says how a balance changed
_ONE_PART = 0.6  # of a company, where another column says the whole
_AMORTIZED = 0.85  # what a debt costs includes its discount, written off (ASC 835-30-45-3)
_ONE_WORD = 0.7  # a name of one word is on many pages
_INTERIM = 0.3  # a year is asked for, and the column is the end of a quarter
_SHARE_OF_MONEY = 0.2  # statements report money, and shares of it beside that
_NO_PERIODS = 0.75  # the column says no time
_LATEST = 0.9  # no time was asked for, and the latest was taken
_EXPENSE_NEGATIVE = re.compile(r"\((?:expense|provision|charge)s?\)", re.IGNORECASE)
_COSTS = frozenset("cost expense".split())
_CHANGE = frozenset("change variance increase decrease growth".split())


@dataclass(frozen=True)
class FoundCell(Found):
    """A cell; `figure` is one of a table."""

    figure: TableFigure


class Tables:
    """The figures of all tables of the evidence, to be searched."""

    def __init__(self, tables: Sequence[PageTable]) -> None:
        self.tables = tables
        self.figures = [figure for table in tables for figure in figures_of(table)]

    @cached_property
    def _n_rows(self) -> int:
        return sum(len(table.table.rows) for table in self.tables)

    @cached_property
    def _rows_with(self) -> Counter[str]:
        counts: Counter[str] = Counter()
        for table in self.tables:
            for row in table.table.rows:
                counts.update(set(name_words(f"{row.label} {' '.join(row.section)}")))
            for column in table.table.columns:
                counts.update(set(name_words(column.head)))
        return counts

    def weight(self, word: str) -> float:
        """What a word tells: little where many rows have it."""
        count = self._rows_with.get(word, 0)
        return math.log(1 + (1 + self._n_rows) / (1 + count)) + 0.1

    def find(
        self,
        name: Words,
        measure: Measure | None,
        *,
        aside: Words,
        period: Period | None,
        statements: Sequence[str],
        near: TableFigure | None = None,
    ) -> list[FoundCell]:
        """Figures that may be meant, best first, each with a score of at least `_LEAST`.

        Args:
            name: words of the figure asked for.
            measure: what the name means, where that is known.
            aside: words that need not be there and tell figures of one name apart.
            period: when; None for the latest.
            statements: that the question names.
            near: a figure of the same name at another time: its row is preferred.
        """
        found: list[FoundCell] = []
        for figure in self.figures:
            time = self._time_score(figure, period)
            if time == 0:
                continue
            label = (
                _measure_score(figure, measure)
                if measure is not None
                else self._words_score(figure, name, aside)
            )
            if label * time < _LEAST:
                continue
            score = label * time * self._aside_score(figure, aside)
            score *= _statement_score(figure, measure, statements)
            score *= _ONE_PART if _is_part(figure) else 1.0
            if near is not None and figure.label == near.label:
                same = figure.page_table.number == near.page_table.number
                score *= 1.1 if same and figure.row_number == near.row_number else 1.05
            if score >= _LEAST:
                found.append(FoundCell(figure, min(1.0, score)))
        return sorted(found, key=lambda each: -each.score)

    def writes_costs_negative(self, found: Found) -> bool:
        """Whether a figure stands where what is spent has a minus sign or brackets."""
        figure = found.figure
        if not isinstance(figure, TableFigure):
            return False
        if _EXPENSE_NEGATIVE.search(figure.row.label):
            return True
        costs = [
            each.cell.figure.value or 0.0
            for each in self.figures
            if each.page_table is figure.page_table and set(each.label) & _COSTS
        ]
        return sum(value < 0 for value in costs) > len(costs) / 2

    def _words_score(self, figure: TableFigure, name: Words, aside: Words) -> float:
        """How much of the name a row and its column say, and how much of the row the name says."""
        if not name:
            return 0.0
        label, head, section = set(figure.label), set(figure.head), set(figure.section)
        title = figure.page_table.title_words
        total = said = 0.0
        for word in dict.fromkeys(name):
            weight = self.weight(word)
            total += weight
            if word in label or word in head:
                said += weight
            elif word in section:
                said += 0.9 * weight
            elif word in title:
                said += 0.6 * weight
        wanted = set(name)
        if not wanted & (label | head):
            return 0.0
        extra = [
            word
            for word in label - wanted - {*aside}
            if word not in _NEUTRAL and not word.isdigit()
        ]
        precision = 1 / (1 + 0.15 * len(extra))
        is_total = figure.label[:1] == ("total",)
        if len(wanted) == 1:
            precision *= _ONE_WORD
        return said / total * precision * (1.0 if is_total or not extra else 0.97)

    def _aside_score(self, figure: TableFigure, aside: Words) -> float:
        """Words that tell figures apart, as far as any table has them."""
        known = [word for word in dict.fromkeys(aside) if word in self._rows_with]
        if not known:
            return 1.0
        here = {*figure.label, *figure.section, *figure.head}
        title = figure.page_table.title_words
        total = sum(map(self.weight, known))
        said = sum(
            self.weight(word) * (1.0 if word in here else 0.8 if word in title else 0.0)
            for word in known
        )
        return 0.4 + 0.6 * said / total

    def _time_score(self, figure: TableFigure, wanted: Period | None) -> float:
        table = figure.page_table
        if figure.head and set(figure.head) & _CHANGE and len(table.table.columns) > 1:
            return 0.0
        told = figure.period
        if wanted is None:
            if told is None:
                return 1.0 if not table.periods else 0.5
            if told.year is None or told.year != table.last_year:
                return 0.3
            return _LATEST
        if told is None:
            return _without_time(figure, wanted)
        if wanted.quarter is None and wanted.end is None and told in table.interim:
            return _INTERIM * matches(wanted, told)
        return matches(wanted, told)


def _without_time(figure: TableFigure, wanted: Period) -> float:
    """A column that says no time: what stands around the table may say it."""
    if figure.page_table.periods:
        return 0.4
    year = str(wanted.year)
    table = figure.page_table.table
    if wanted.year and year in table.title:
        return 0.95
    if wanted.year and any(year in word for word in figure.page_table.evidence.text.words):
        return _NO_PERIODS
    return 0.6


def _measure_score(figure: TableFigure, measure: Measure) -> float:
    """How surely a row is the measure: its whole label, or all but words that change nothing."""
    best = max(
        (
            _same_name(words, name) - _LATER_NAME * place
            for words in ((figure.label, figure.head) if figure.period else (figure.label,))
            for place, name in enumerate(measure.rows)
        ),
        default=0.0,
    )
    if best <= 0:
        return 0.0
    if measure.is_per_share:
        told = {*figure.label, *figure.section}
        if not told & {"per", "earning"} or figure.section[-1:] == ("outstanding",):
            best *= 0.6
        if not figure.cell.figure.decimals:
            best *= 0.3
    if measure.unlike in figure.label and measure.name.split()[0] not in figure.label:
        best *= 0.3
    if figure.is_percent is not measure.is_percent and (measure.statement or measure.is_percent):
        best *= _SHARE_OF_MONEY
    return best


_WHOLE = frozenset(("consolidated", "total"))


def _is_part(figure: TableFigure) -> bool:
    """Whether a column beside it of the same time is the total of both."""
    if _WHOLE & set(figure.head):
        return False
    told = figure.period
    return told is not None and any(
        column.period is not None
        and replace(column.period, text=told.text) == told
        and _WHOLE & set(name_words(column.head))
        for column in figure.page_table.table.columns
    )


def _same_name(label: Words, name: Words) -> float:
    if not label or not name:
        return 0.0
    if label == name:
        return 1.0
    if label[: len(name)] == name:
        extra = [word for word in label[len(name) :] if word not in _NEUTRAL]
        if not extra:
            return 0.96
        if extra[0] in _OWNERS:
            return 0.9 if len(extra) < 6 else 0.85
        if extra[0] == "including":
            return 0.6
        if extra[0] == "amortization" and "debt" in extra:
            return _AMORTIZED
        if extra[0] in _ANOTHER_FIGURE:
            return 0.3
        return max(0.0, 0.9 - 0.12 * len(extra))
    if label[-len(name) :] == name:
        extra = [word for word in label[: -len(name)] if word not in _NEUTRAL]
        return 0.94 if not extra else max(0.0, 0.6 - 0.15 * len(extra))
    if len(name) >= _TELLING and set(name) <= set(label):
        extra = [word for word in label if word not in {*name, *_NEUTRAL, *_OWNERS}]
        return max(0.0, 0.88 - 0.12 * len(extra))
    return 0.0


def _statement_score(
    figure: TableFigure, measure: Measure | None, statements: Sequence[str]
) -> float:
    statement = figure.page_table.statement
    wanted = {measure.statement} if measure is not None and measure.statement else set(statements)
    if not wanted:
        return 1.0
    if not statement:
        return _NO_STATEMENT
    # Of balances, a cash flow statement has that of cash alone.
    if statement == "cash flow" and wanted == {"balance"} and "cash" not in figure.label:
        return _CHANGE_OF_BALANCE
    return 1.0 if statement in wanted else _ANOTHER_STATEMENT
