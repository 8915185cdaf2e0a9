"""A formula of named figures carried out: every figure found, the value, and how it is written."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from operator import mul, truediv

from rag.answer.asked_figures.find import FoundCell, Tables
from rag.answer.asked_figures.formula import Amount, Constant, Formula, Mean, Operation
from rag.answer.asked_figures.measures import Measure, known_measure
from rag.answer.asked_figures.names import Words, name_words
from rag.answer.asked_figures.periods import year_before
from rag.answer.asked_figures.sentences import SENTENCE, Sentences
from rag.answer.asked_figures.stated import Found, digits_of, value_of
from rag.answer.asked_figures.wanted import Wanted
from rag.answer.tables.table import Period

_DERIVED = 0.97  # a figure that follows from others, against one that is stated
_NESTED = 4  # formulas in formulas
_OTHER_DOCUMENT = 0.6  # operands of several documents hardly belong together
_OTHER_SCALE = 0.6  # figures in other scales may be so because a scale was not read
_BINDING = {"+": 1, "-": 1, "*": 2, "/": 2, "**": 3}


@dataclass(frozen=True)
class Calculated:
    """A value, and how it came to be.

    Attributes:
        value: scales applied: dollars, not millions of dollars; percent are as written.
        written: what `expression` comes to; differs from `value` by the scale of the operands.
        words: the formula in words.
        dated: the same with the year of each figure.
        expression: the formula in figures as the pages write them.
        operands: in the order of the expression, each figure once.
        score: 0 to 1.
        binding: of its last operator; 9 for a single figure.
        is_relative: whether units have cancelled out.
        measure: what it is, where that is known.
    """

    value: float
    written: float
    words: str
    dated: str
    expression: str
    operands: tuple[Found, ...]
    score: float
    binding: int = 9
    is_relative: bool = False
    measure: Measure | None = None

    @property
    def is_figure(self) -> bool:
        """Whether it is a figure of a page as it stands there."""
        return len(self.operands) == 1 and self.binding == 9


@dataclass
class Calculator:
    """Carries out formulas on the tables of the evidence."""

    tables: Tables
    sentences: Sentences
    wanted: Wanted
    sources: frozenset[str] = frozenset()
    _rows: dict[tuple[Words, Words], FoundCell] = field(default_factory=dict)

    def calculate(
        self,
        formula: Formula,
        period: Period | None = None,
        years: int = 0,
        within: tuple[Words, ...] = (),
    ) -> Calculated | None:
        """The value of a formula; None where a figure of it is not found.

        Args:
            formula: what is to be calculated.
            period: when, for figures that name no time.
            years: so many years earlier.
            within: names whose formula this is part of: one that needs itself is none.
        """
        match formula:
            case Constant(text):
                return Calculated(
                    float(text), float(text), text, text, text, (), 1.0, is_relative=True
                )
            case Amount():
                return self._amount(formula, period, years, within)
            case Mean(parts):
                found = [self.calculate(part, period, years, within) for part in parts]
                values = [each for each in found if each is not None]
                return _mean(values) if len(values) == len(found) else None
            case Operation(operator, left, right):
                first = self.calculate(left, period, years, within)
                second = None if first is None else self.calculate(right, period, years, within)
                if first is None or second is None:
                    return None
                if self.wanted.is_growth and operator == "/" and second.written < 0:
                    return None  # from a loss nothing grows by a share of it
                return _combined(operator, first, second)

    def _amount(
        self, amount: Amount, period: Period | None, years: int, within: tuple[Words, ...]
    ) -> Calculated | None:
        when = amount.period or period
        years += amount.years_before
        name = name_words(amount.name)
        measure = known_measure(name)
        own = name if measure is None else measure.asked[0]
        can_derive = own not in within and len(within) < _NESTED
        for defined, formula in self.wanted.definitions:
            if can_derive and is_same_name(defined, name, measure):
                found = self.calculate(formula, when, years, (*within, own))
                if found is not None:
                    return replace(found, measure=measure)
        options = [self._stated(amount, name, measure, when, years)]
        if measure is not None and can_derive:
            for formula in measure.formulas:
                found = self.calculate(formula, when, years, (*within, own))
                if found is not None:
                    options.append(replace(found, score=found.score * _DERIVED, measure=measure))
                    break
        return max(
            (option for option in options if option is not None),
            key=lambda option: option.score,
            default=None,
        )

    def _stated(
        self,
        amount: Amount,
        name: Words,
        measure: Measure | None,
        when: Period | None,
        years: int,
    ) -> Calculated | None:
        """The figure as a row states it."""
        if when is None and years:
            return None
        aside = tuple(
            word
            for word in name_words(amount.aside)
            if not any(word in source for source in self.sources)
        )
        key = (name, aside)
        before = self._rows.get(key)
        period = None if when is None else year_before(when, years)
        cells = self.tables.find(
            name,
            measure,
            aside=aside,
            period=period,
            statements=self.wanted.statements,
            near=None if before is None else before.figure,
        )
        if cells:
            self._rows.setdefault(key, cells[0])
        found: list[Found] = [*cells]
        if not cells or cells[0].score < SENTENCE:
            found += self.sentences.find(amount.name, name, measure, period=period)
            found.sort(key=lambda each: -each.score)
        if not found:
            return None
        best, figure = found[0], found[0].figure
        written = value_of(figure)
        if measure is not None and measure.is_outflow:
            written = abs(written)
        elif measure is not None and measure.is_cost and self.tables.writes_costs_negative(best):
            written = -written
        others = [each for each in found[1:] if abs(value_of(each.figure)) != abs(written)]
        margin = 1.0 if not others else min(1.0, 0.7 + 3 * (best.score - others[0].score))
        digits = digits_of(figure)
        head = figure.head_name if measure is None else ""
        name_said = ", ".join(filter(None, (figure.name, head))) or amount.name
        return Calculated(
            written * figure.scale,
            written,
            name_said,
            f"{name_said} ({period.year})" if period is not None and period.year else name_said,
            f"(-{digits})" if written < 0 else digits,
            (best,),
            best.score * margin,
            measure=measure,
        )


def is_same_name(defined: Words, name: Words, measure: Measure | None) -> bool:
    if defined == name:
        return True
    return measure is not None and known_measure(defined) is measure


def _mean(values: Sequence[Calculated]) -> Calculated | None:
    total = values[0]
    for value in values[1:]:
        longer = _sum_of(total, value, "+")
        if longer is None:
            return None
        total = longer
    count = len(values)
    return replace(
        total,
        value=total.value / count,
        written=total.written / count,
        words=f"({total.words}) / {count}",
        dated=f"({total.dated}) / {count}",
        expression=f"({total.expression}) / {count}",
        binding=_BINDING["/"],
        measure=None,
    )


def _combined(operator: str, first: Calculated, second: Calculated) -> Calculated | None:
    if operator in "+-":
        return _sum_of(first, second, operator)
    if operator == "/" and second.written == 0:
        return None
    if operator == "**" and first.written <= 0:
        return None
    apply: Callable[[float, float], float] = {
        "*": mul,
        "/": truediv,
        "**": math.pow,
    }[operator]
    is_relative = (
        (operator == "/" and bool(second.operands))
        or operator == "**"
        or (first.is_relative and second.is_relative)
    )
    return _joined(
        operator,
        first,
        second,
        apply(first.value, second.value),
        apply(first.written, second.written),
        is_relative=is_relative,
    )


def _sum_of(first: Calculated, second: Calculated, operator: str) -> Calculated | None:
    sign = 1 if operator == "+" else -1
    return _joined(
        operator,
        first,
        second,
        first.value + sign * second.value,
        first.written + sign * second.written,
        is_relative=first.is_relative and second.is_relative,
    )


def _joined(
    operator: str,
    first: Calculated,
    second: Calculated,
    value: float,
    written: float,
    *,
    is_relative: bool,
) -> Calculated | None:
    binding = _BINDING[operator]
    if operator in "+-" and _is_same_figure(first, second):
        return None  # what tells the two apart was not found
    scales = {
        each.figure.scale
        for part in (first, second)
        for each in part.operands
        if not each.figure.is_percent
    }
    if operator in "+-" and len(scales) > 1:
        return None  # a scale was not read
    operands = tuple(
        {
            (each.figure.evidence.number, each.figure.place): each
            for each in first.operands + second.operands
        }.values()
    )
    documents = {found.figure.evidence.hit.ref.document_id for found in operands}
    score = min(first.score, second.score) * (_OTHER_DOCUMENT if len(documents) > 1 else 1.0)
    score *= _OTHER_SCALE if len(scales) > 1 else 1.0
    return Calculated(
        value,
        written,
        f"{_bracketed(first, binding, first.words)} {operator} "
        f"{_bracketed(second, binding + 1, second.words)}",
        f"{_bracketed(first, binding, first.dated)} {operator} "
        f"{_bracketed(second, binding + 1, second.dated)}",
        f"{_bracketed(first, binding, first.expression)} {operator} "
        f"{_bracketed(second, binding + 1, second.expression)}",
        operands,
        score,
        binding,
        is_relative,
    )


def _is_same_figure(first: Calculated, second: Calculated) -> bool:
    places = [
        {(each.figure.evidence.number, each.figure.place) for each in part.operands}
        for part in (first, second)
    ]
    return first.is_figure and second.is_figure and places[0] == places[1]


def _bracketed(part: Calculated, binding: int, text: str) -> str:
    return f"({text})" if part.binding < binding else text
