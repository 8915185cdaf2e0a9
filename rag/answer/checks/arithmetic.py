"""Arithmetic that an answer states, done again here: nothing of it is ever run as code.

Numbers are written as pages write them ("$1,234.5 million", "12.3%"), so brackets group and never
mean a loss. A percent sign is kept where percents are added or compared, and divides by 100 where
they multiply.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from rag.answer.figures.read import Figure, figures_in
from rag.answer.figures.words import CURRENCIES, SCALES
from rag.errors import InputError

_MOST_CHARS = 600
_MOST_TOKENS = 200
_MOST_NESTED = 20
_MOST = 1e18
_MOST_EXPONENT = 100.0
_CLOSE = 1e-9  # of two floats that went two ways

_DAYS = frozenset({360.0, 365.0})  # the year of a bank and of a calendar
_COUNTS = frozenset({1.0, *map(float, range(2, 13))})  # of what is averaged or compounded
_PARTS_OF_YEAR = frozenset({4.0, 12.0})
_LEAST_OF_A_YEAR = 100.0  # what is shared out over its months or quarters
_FEW_DIGITS_OFF = 0.2  # a single digit may be off by so much of what it rounds

Kind = Literal["amount", "ratio", "percent"]

# The whole of an expression: as many as the places that a claim cites and that hold.
COUNT_OF_SOURCES = "count(sources)"


@dataclass(frozen=True)
class Operand:
    """A number of an expression.

    Attributes:
        is_constant: needs no source where it stands: the 100 of a percent, the 1 of a growth, how
            many are averaged, an exponent, the days, months or quarters of a year.
    """

    figure: Figure
    text: str
    is_constant: bool


@dataclass(frozen=True)
class Step:
    """What a part of an expression comes to; a ratio is of two amounts, 0.384 and not 38.4."""

    amount: float
    kind: Kind


@dataclass(frozen=True)
class Recomputed:
    """What an expression comes to.

    Attributes:
        value: with the operands' words of scale multiplied in.
        operands: in their order.
        is_percent: the value is one of percents, as in "12% - 11%", which is 1.
        steps: what its parts come to on the way, the last is the value.
    """

    value: float
    operands: tuple[Operand, ...]
    is_percent: bool = False
    steps: tuple[Step, ...] = ()

    def of_percents(self) -> Recomputed:
        """The same where its operands are percents that are written without their sign."""
        if any(step.kind == "ratio" for step in self.steps):
            return self
        steps = tuple(replace(step, kind="percent") for step in self.steps)
        return replace(self, is_percent=True, steps=steps)


def recompute(expression: str) -> Recomputed:
    """An expression of numbers, + - * / ** ( ), average, sum, min, max and abs, done again.

    Args:
        expression: as in "(19,378 - 13,997) / 13,997"; "= 38.4%" may follow, and must agree to the
            decimals it is written with.

    Raises:
        InputError: `bad_expression` where it cannot be read or is too large; `bad_arithmetic` where
            it has no value, or another than it says.
    """
    if len(expression) > _MOST_CHARS:
        raise _unreadable(f"it has {len(expression)} characters, at most {_MOST_CHARS} are read")
    asked, *said = re.split(r"\s*(?:=|\u2248|\u2245|~=)+\s*~?\s*", expression.strip())
    if len(said) > 1:
        raise _unreadable("it has more than one sign of equality")
    parser = _Parser(_tokens(asked))
    found = parser.whole()
    recomputed = Recomputed(
        found.amount,
        tuple(
            Operand(figure, figure.text, is_constant=number in parser.free)
            for number, figure in enumerate(parser.operands)
        ),
        found.kind == "percent",
        tuple(parser.steps),
    )
    if said:
        _require_agreement(recomputed, said[0])
    return recomputed


def count_of(n_sources: int) -> Recomputed:
    """The value of `COUNT_OF_SOURCES`: a count has no operands that could stand on a page."""
    return Recomputed(float(n_sources), (), steps=(Step(float(n_sources), "amount"),))


def comes_to(recomputed: Recomputed, figure: Figure, *, scales: Sequence[float] = (1.0,)) -> bool:
    """Whether a figure is the value, or a step on its way; as `results_that_are`."""
    return bool(results_that_are(recomputed, figure, scales=scales))


def results_that_are(
    recomputed: Recomputed, figure: Figure, *, scales: Sequence[float] = (1.0,)
) -> list[Step]:
    """The value and the steps on its way that a figure is, rounded as the figure is written.

    A percent is a ratio times 100 or a percent, and never an amount.

    Args:
        recomputed: from `recompute`.
        figure: as a text writes it; a loss may be written without its sign.
        scales: what the operands may be in, as in 1e6 for pages in millions.
    """
    if figure.value is None:
        return []
    steps = recomputed.steps
    return [
        step
        for step in steps
        if not figure.value < 0 < step.amount
        and any(
            _is_written(abs(step.amount) * factor / figure.scale, figure)
            for factor in _factors(step.kind, figure, scales)
        )
    ]


def _is_written(exact: float, figure: Figure) -> bool:
    written = abs(figure.value or 0.0)
    off = abs(exact - written)
    if off > 0.5 * 10.0**-figure.decimals + _CLOSE * max(1.0, exact):
        return False
    if written == 0:  # nothing is "about 0"
        return exact < _CLOSE
    is_one_digit = not figure.decimals and written < 10
    return not is_one_digit or off <= _FEW_DIGITS_OFF * exact


def _factors(kind: Kind, figure: Figure, scales: Sequence[float]) -> Sequence[float]:
    is_bare = not figure.unit
    match kind, figure.unit:
        case "percent", "%" | "percentage point":
            return (1.0,)
        case "percent", "basis point":
            return (100.0,)
        case "percent", _:
            return (1.0,) if is_bare and figure.scale == 1 else ()
        case "ratio", "%" | "percentage point":
            return (100.0,)
        case "ratio", "basis point":
            return (1e4,)
        case _, "%" | "percentage point" | "basis point":
            return ()
        case "ratio", unit if unit not in _MONEY:
            return (1.0, figure.scale)  # of an amount and a number, "2,422 million" of each
    return tuple({1.0: None, **dict.fromkeys(scales)})


def _require_agreement(recomputed: Recomputed, said: str) -> None:
    figures = [each for each in figures_in(said.split()) if each.value is not None]
    if len(figures) != 1:
        raise _unreadable(f"its result {said!r} is not one number")
    last = replace(recomputed, steps=recomputed.steps[-1:])
    is_opposite = (figures[0].value or 0.0) < 0 < recomputed.value or (
        recomputed.value < 0 < (figures[0].value or 0.0)
    )
    if is_opposite or not comes_to(last, figures[0]):
        raise InputError(
            f"the arithmetic comes to {recomputed.value:.10g}, not to {said}", code="bad_arithmetic"
        )


def _unreadable(reason: str) -> InputError:
    return InputError(
        f"the expression cannot be read: {reason}",
        code="bad_expression",
        next_step="Write numbers with + - * / ** ( ), average, sum, min, max, abs.",
    )


# --- reading --------------------------------------------------------------------------------------
_MONEY = frozenset(CURRENCIES.values())
_CURRENCY = "|".join(re.escape(each) for each in sorted(CURRENCIES, key=len, reverse=True))
_SCALE = "|".join(sorted(SCALES, key=len, reverse=True))
_DIGITS = (
    r"\d{1,3}(?:,\d{3})+(?:\.\d+)?(?!,?\d)|\d{1,2}(?:,\d\d)+,\d{3}(?:\.\d+)?|"
    r"\d{1,3}(?:\.\d{3})+,\d+|\d{1,3}(?:\.\d{3}){2,}|\d+(?:\.\d+)?|\.\d+"
)
_NUMBER = re.compile(
    rf"(?:(?:{_CURRENCY}) ?)?(?:{_DIGITS})(?: ?%|(?: ?(?:{_SCALE}|[kmMbB])\b\.?){{0,2}}"
    rf"(?: (?:{_CURRENCY}|per ?cent)(?!\w))?)"
)
_DECIMAL_COMMA = re.compile(r"\d+,\d{1,2}(?!\d)")
_NAME = re.compile(r"[A-Za-z]+")
_SAME = {
    "\u00d7": "*", "\u00b7": "*", "x": "*", "X": "*", "\u00f7": "/", "\u2215": "/", "\u2044": "/",
    "\u2212": "-", "\u2013": "-", "\u2014": "-", "^": "**", "[": "(", "]": ")", ";": ",",
}  # fmt: skip
_FUNCTIONS: dict[str, Callable[[Sequence[float]], float]] = {
    "average": lambda values: math.fsum(values) / len(values),
    "avg": lambda values: math.fsum(values) / len(values),
    "mean": lambda values: math.fsum(values) / len(values),
    "sum": math.fsum,
    "min": min,
    "max": max,
    "abs": lambda values: abs(values[0]),
}


def _tokens(text: str) -> list[str | Figure]:
    """Signs, names of functions, and figures."""
    tokens: list[str | Figure] = []
    at = n_open = 0
    while at < len(text):
        if len(tokens) >= _MOST_TOKENS:
            raise _unreadable(f"it has more than {_MOST_TOKENS} parts")
        if text[at].isspace():
            at += 1
            continue
        number = _NUMBER.match(text, at)
        comma = _DECIMAL_COMMA.match(text, at) if not n_open else None
        if comma is not None and (number is None or comma.end() > number.end()):
            number = comma
        name = _NAME.match(text, at)
        sign = "**" if text.startswith("**", at) else text[at]
        if number is not None:
            tokens.append(_figure(number.group()))
            at = number.end()
        elif name is not None and name.group() not in _SAME:
            if name.group().lower() not in _FUNCTIONS:
                raise _unreadable(f'"{name.group()}" is no number and no function')
            tokens.append(name.group().lower())
            n_open += 1
            at = name.end()
        else:
            token = _SAME.get(sign, sign)
            if token not in ("+", "-", "*", "/", "**", "(", ")", ","):
                raise _unreadable(f'"{sign}" has no meaning in it')
            tokens.append(token)
            at += len(sign)
    return tokens


def _figure(text: str) -> Figure:
    found = figures_in(text.split())
    if len(found) != 1 or found[0].value is None:
        raise _unreadable(f'"{text}" is not one number')
    return found[0]


# --- working out ----------------------------------------------------------------------------------
@dataclass(frozen=True)
class _Value:
    """What a part comes to.

    Attributes:
        operand: the one it is, where nothing was done to it.
        n_added: how many it is the sum of.
        hundred: the operand 100 it was multiplied with, which makes a percent of it where it is
            divided next.
        is_product: of two amounts; divided by 100 it is a share.
    """

    amount: float
    kind: Kind = "amount"
    operand: int | None = None
    n_added: int = 1
    hundred: int | None = None
    is_product: bool = False

    @property
    def is_percent(self) -> bool:
        return self.kind == "percent"


class _Parser:
    """Sums of products of powers, read from the left; powers from the right.

    Attributes:
        operands: in their order.
        free: numbers of those that need no source where they stand.
    """

    def __init__(self, tokens: Sequence[str | Figure]) -> None:
        self._tokens = tokens
        self._at = 0
        self._nested = 0
        self.operands: list[Figure] = []
        self.free: set[int] = set()
        self.steps: list[Step] = []

    def whole(self) -> _Value:
        value = self._sum()
        if self._at < len(self._tokens):
            raise _unreadable("something follows its end")
        if not self.operands:
            raise _unreadable("it has no number")
        if not self.steps:
            self.steps.append(Step(value.amount, value.kind))
        return value

    def _next(self, *wanted: str) -> str | None:
        """The token here, if it is one of these; it is then read."""
        token = self._tokens[self._at] if self._at < len(self._tokens) else None
        if not isinstance(token, str) or token not in wanted:
            return None
        self._at += 1
        return token

    def _sum(self) -> _Value:
        value = self._product()
        while (sign := self._next("+", "-")) is not None:
            other = self._product()
            n_added = value.n_added + other.n_added
            for one, beside in ((value, other), (other, value)):
                if beside.kind != "amount":  # the whole
                    self._frees(one, {1.0, 100.0} if beside.is_percent else {1.0})
            kinds = {each.kind for each in (value, other) if not self._is_free(each)}
            if value.is_percent != other.is_percent:
                value, other = _alike(value, other)
                kinds = {value.kind, other.kind}
            amount = value.amount + (other.amount if sign == "+" else -other.amount)
            value = replace(self._step(amount, _common(kinds)), n_added=n_added)
        return value

    def _product(self) -> _Value:
        value = self._power()
        while (sign := self._next("*", "/")) is not None:
            other = self._power()
            value = self._times(value, other) if sign == "*" else self._over(value, other)
        return value

    def _times(self, value: _Value, other: _Value) -> _Value:
        amount = value.amount * other.amount
        n_percents = value.is_percent + other.is_percent
        if n_percents:
            # Half of 12% is a percent; 12% of 500 is not.
            number = other if value.is_percent else value
            is_percent = n_percents == 1 and self._has(number, _COUNTS)
            kind: Kind = "percent" if is_percent else "amount" if n_percents == 1 else "ratio"
            return self._step(amount / 100.0 ** (n_percents - is_percent), kind)
        for one, by in ((value, other), (other, value)):
            if by.kind == "ratio" and self._frees(one, {100.0}):
                return self._step(amount, "percent")
            if self._frees(one, _DAYS):
                return self._step(amount, by.kind)
            if self._has(one, {100.0}):
                return replace(self._step(amount, "amount"), hundred=one.operand)
        is_ratio = value.kind == other.kind == "ratio"
        product = self._step(amount, "ratio" if is_ratio else "amount")
        return replace(product, is_product=not is_ratio)

    def _over(self, value: _Value, other: _Value) -> _Value:
        if other.amount == 0:
            raise InputError("the arithmetic divides by zero", code="bad_arithmetic")
        amount = value.amount / other.amount
        # An average of sums has more parts than it is of.
        counts = set(map(float, range(2, value.n_added + 1)))
        if abs(value.amount) >= _LEAST_OF_A_YEAR:  # "3 / 12" is a share of twelve
            counts |= _PARTS_OF_YEAR
        self._frees(value, _DAYS)
        if self._frees(other, (counts & _COUNTS) | _DAYS):
            return self._step(amount, value.kind)
        if value.is_product and self._frees(other, {100.0}):
            return self._step(amount, "amount")
        if value.is_percent:
            return self._step(amount, "ratio" if other.is_percent else "percent")
        if other.is_percent:
            return self._step(amount * 100.0, "amount")
        if value.hundred is not None and other.kind == "amount":
            self.free.add(value.hundred)
            return self._step(amount, "percent")
        is_amount = value.kind == "amount" and other.kind == "ratio"
        return self._step(amount, "amount" if is_amount else "ratio")

    def _power(self) -> _Value:
        value = self._signed()
        if self._next("**") is None:
            return value
        n_before = len(self.operands)
        exponent = self._nest(self._power)
        for number in range(n_before, len(self.operands)):
            self._frees(_Value(0.0, operand=number), _COUNTS)
        base = value.amount / 100.0 if value.is_percent else value.amount
        if abs(exponent.amount) > _MOST_EXPONENT:
            raise _unreadable(f"an exponent of {exponent.amount:g} is too large")
        try:
            amount = math.pow(base, exponent.amount)
        except (ValueError, OverflowError) as error:
            raise InputError(
                f"{base:g} to the power of {exponent.amount:g} has no value", code="bad_arithmetic"
            ) from error
        return self._step(amount, "amount" if value.kind == "amount" else "ratio")

    def _signed(self) -> _Value:
        sign = self._next("-", "+")
        if sign is None:
            return self._single()
        value = self._nest(self._signed)
        return replace(value, amount=-value.amount, operand=None) if sign == "-" else value

    def _single(self) -> _Value:
        if self._at >= len(self._tokens):
            raise _unreadable("it ends too early")
        token = self._tokens[self._at]
        self._at += 1
        if isinstance(token, Figure):
            self.operands.append(token)
            kind: Kind = "percent" if token.unit == "%" else "amount"
            return _Value(token.amount or 0.0, kind, len(self.operands) - 1)
        if token == "(":
            value = self._nest(self._sum)
            if self._next(")") is None:
                raise _unreadable("a bracket is not closed")
            return value
        if token in _FUNCTIONS:
            return self._called(token)
        raise _unreadable(f'a number was expected where "{token}" stands')

    def _called(self, name: str) -> _Value:
        if self._next("(") is None:
            raise _unreadable(f'"{name}" has no bracket')
        values = [self._nest(self._sum)]
        while self._next(",") is not None:
            values.append(self._nest(self._sum))
        if self._next(")") is None:
            raise _unreadable("a bracket is not closed")
        if name == "abs" and len(values) > 1:
            raise _unreadable("abs is of one number")
        if len({value.is_percent for value in values}) > 1:
            raise _unreadable(f"{name} mixes percents and other numbers")
        amount = _FUNCTIONS[name]([value.amount for value in values])
        step = self._step(amount, _common({value.kind for value in values}))
        return replace(step, n_added=len(values)) if name == "sum" else step

    def _nest(self, read: Callable[[], _Value]) -> _Value:
        self._nested += 1
        if self._nested > _MOST_NESTED:
            raise _unreadable(f"its brackets are deeper than {_MOST_NESTED}")
        value = read()
        self._nested -= 1
        return value

    def _step(self, amount: float, kind: Kind) -> _Value:
        if not math.isfinite(amount) or abs(amount) > _MOST:
            raise InputError(f"the arithmetic goes beyond {_MOST:g}", code="bad_arithmetic")
        self.steps.append(Step(amount, kind))
        return _Value(amount, kind)

    # --- numbers that need no source --------------------------------------------------------------
    def _has(self, value: _Value, wanted: Collection[float]) -> bool:
        """Whether it is one of these numbers, written without unit, scale and decimals."""
        if value.operand is None:
            return False
        figure = self.operands[value.operand]
        return (
            figure.value in wanted and not figure.unit and figure.scale == 1 and not figure.decimals
        )

    def _frees(self, value: _Value, wanted: Collection[float]) -> bool:
        """Marks it as a number that needs no source, if it is one of these."""
        if value.operand is None or not self._has(value, wanted):
            return False
        self.free.add(value.operand)
        return True

    def _is_free(self, value: _Value) -> bool:
        return value.operand is not None and value.operand in self.free


def _common(kinds: Collection[Kind]) -> Kind:
    return next(iter(kinds)) if len(kinds) == 1 else "amount"


def _alike(value: _Value, other: _Value) -> tuple[_Value, _Value]:
    """A percent beside a plain number: "1 + 5%" is 1.05, "100 - 38%" is 62%."""
    plain = other if value.is_percent else value
    if plain.amount == 100.0:
        return replace(value, kind="percent"), replace(other, kind="percent")

    def as_share(each: _Value) -> _Value:
        amount = each.amount / 100.0 if each.is_percent else each.amount
        return replace(each, amount=amount, kind="ratio")

    return as_share(value), as_share(other)
