"""What is to be calculated, as a tree, and how it is written in words.

    formula = product (("+" | "-" | "less" | "minus" | "plus") product)*
    product = part (("*" | "/" | "times" | "divided by" | "over") part)*
    part    = "(" formula ")" | number | "average" name | "change in" name | name

A name runs to the next operator; periods in it are read out of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from rag.answer.asked_figures.periods import PeriodMention, periods_in
from rag.answer.tables.table import Period


@dataclass(frozen=True)
class Amount:
    """One figure, by name.

    Attributes:
        aside: words that tell it from others of that name, as in "Recruiter A".
        period: when; None for the time that is asked for.
        years_before: the time that is asked for, so many years earlier.
    """

    name: str
    aside: str = ""
    period: Period | None = None
    years_before: int = 0


@dataclass(frozen=True)
class Constant:
    text: str


@dataclass(frozen=True)
class Operation:
    """`operator` is one of + - * / and ** for a power."""

    operator: str
    left: Formula
    right: Formula


@dataclass(frozen=True)
class Mean:
    parts: tuple[Formula, ...]


Formula = Amount | Constant | Operation | Mean

_OPERATORS = {
    "less": "-",
    "minus": "-",
    "plus": "+",
    "times": "*",
    "divided by": "/",
    "over": "/",
    "\u00d7": "*",
    "\u00f7": "/",
    "\u2212": "-",
    "\u2013": "-",
}
# A hyphen inside a word is part of it, and so is a slash: "long-term", "and/or".
_TOKEN = re.compile(
    r"[()\[\]*\u00d7\u00f7+]|(?<=[\s)\]])[/\-\u2212\u2013](?=[\s(\[])|(?<=\))/|/(?=\()"
    r"|\b(?:less|minus|plus|times|divided by|over)\b(?!\s*\))",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_AVERAGE = re.compile(r"^(?:the\s+)?average\s+(?:of\s+)?(?:the\s+)?", re.IGNORECASE)
_CHANGE = re.compile(r"^(?:the\s+)?(?:net\s+)?change\s+in\s+", re.IGNORECASE)
_FILLER = re.compile(
    r"\b(?:between|from|to|and|for|in|of|during|at|the|year[- ]?end)\s*$"
    r"|^\s*(?:the|of|total year)\b",
    re.IGNORECASE,
)


_MARKS = " ,;:-\u2013"


class NoFormulaError(ValueError):
    """The text is no formula of this grammar."""


def parse_formula(text: str) -> Formula:
    """Read a formula of words.

    Raises:
        NoFormulaError: an operator or a bracket has nothing on one of its sides.
    """
    parser = _Parser(_tokens(text))
    formula = parser.sum()
    if parser.left:
        raise NoFormulaError(f"{text!r}: {parser.left[0]!r} is not expected there")
    return formula


def years_before(formula: Formula, years: int) -> Formula:
    """The same for an earlier year."""
    match formula:
        case Amount():
            return replace(formula, years_before=formula.years_before + years)
        case Operation(operator, left, right):
            return Operation(operator, years_before(left, years), years_before(right, years))
        case Mean(parts):
            return Mean(tuple(years_before(part, years) for part in parts))
        case Constant():
            return formula


def amounts_of(formula: Formula) -> Iterator[Amount]:
    """The figures that it names, in its order."""
    match formula:
        case Amount():
            yield formula
        case Operation(_, left, right):
            yield from amounts_of(left)
            yield from amounts_of(right)
        case Mean(parts):
            for part in parts:
                yield from amounts_of(part)
        case Constant():
            return


def _tokens(text: str) -> list[str]:
    tokens: list[str] = []
    at = 0
    for found in _TOKEN.finditer(text):
        tokens += [text[at : found.start()].strip(), found[0].lower()]
        at = found.end()
    tokens.append(text[at:].strip())
    return [_OPERATORS.get(token, token) for token in tokens if token.strip(" ,;:")]


@dataclass
class _Parser:
    left: list[str]

    def sum(self) -> Formula:
        formula = self.product()
        while self.left and self.left[0] in "+-":
            formula = Operation(self.left.pop(0), formula, self.product())
        return formula

    def product(self) -> Formula:
        formula = self.part()
        while self.left and self.left[0] in "*/":
            formula = Operation(self.left.pop(0), formula, self.part())
        return formula

    def part(self) -> Formula:
        if not self.left:
            raise NoFormulaError("a formula ends where a name is expected")
        token = self.left.pop(0)
        if token in "([":
            formula = self.sum()
            if not self.left or self.left.pop(0) not in ")]":
                raise NoFormulaError("a bracket is not closed")
            return formula
        if token in "+-*/)]":
            raise NoFormulaError(f"{token!r} stands where a name is expected")
        return Constant(token) if _NUMBER.fullmatch(token) else _named(token)


def _named(text: str) -> Formula:
    mentions = periods_in(text)
    bare = without(text, mentions)
    periods = [mention.period for mention in mentions]
    if average := _AVERAGE.match(bare):
        name = bare[average.end() :]
        if len(periods) > 1:
            return Mean(tuple(Amount(name, period=period) for period in periods))
        now = Amount(name, period=periods[0] if periods else None)
        return Mean((replace(now, years_before=1), now))
    if change := _CHANGE.match(bare):
        name = bare[change.end() :]
        if len(periods) > 1:
            return Operation("-", Amount(name, period=periods[-1]), Amount(name, period=periods[0]))
        now = Amount(name, period=periods[0] if periods else None)
        return Operation("-", now, replace(now, years_before=1))
    if not bare:
        raise NoFormulaError(f"{text!r} names nothing")
    return Amount(bare, period=periods[0] if periods else None)


def without(text: str, mentions: list[PeriodMention]) -> str:
    """A name without the periods in it, and without what led to them."""
    pieces: list[str] = []
    at = 0
    for mention in mentions:
        pieces.append(text[at : mention.start])
        at = mention.end
    pieces.append(text[at:])
    bare = ""
    for piece in pieces:
        bare = f"{bare} {piece.strip(_MARKS)}".strip()
        while (stripped := _FILLER.sub("", bare).strip(" ,;:")) != bare:
            bare = stripped
    return " ".join(bare.split())
