"""Arithmetic that an answer states, done again here: nothing of it is ever run as code.

Numbers are written as pages write them ("$1,234.5 million", "12.3%"), so brackets group and never
mean a loss. A percent sign is kept where percents are added or compared, and divides by 100 where
they multiply.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from rag.answer.figures.read import Figure, figures_in
from rag.answer.figures.words import CURRENCIES, SCALES
from rag.errors import InputError

_MOST_CHARS = 600
_MOST_TOKENS = 200
_MOST_NESTED = 20
_MOST = 1e18
_MOST_EXPONENT = 100.0
_CLOSE = 1e-9  # of two floats that went two ways

# The year of a bank and of a calendar, the whole, and counts of what is averaged or compounded.
_CONSTANTS = frozenset({1.0, 100.0, 360.0, 365.0, *map(float, range(2, 13))})
_ALWAYS = frozenset({1.0, 100.0})  # "a / b - 1", "100 - a"
# The whole of an expression: as many as the places that a claim cites and that hold.
COUNT_OF_SOURCES = "count(sources)"


@dataclass(frozen=True)
class Operand:
    """A number of an expression.

    Attributes:
        is_constant: needs no source: a count, an exponent, 1, 100, or the days of a year.
    """

    figure: Figure
    text: str
    is_constant: bool


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
    steps: tuple[float, ...] = ()


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
            Operand(figure, text, is_constant=_is_constant(figure, is_quantity))
            for figure, text, is_quantity in parser.operands
        ),
        found.is_percent,
        tuple(parser.steps),
    )
    if said:
        _require_agreement(recomputed, said[0])
    return recomputed


def count_of(n_sources: int) -> Recomputed:
    """The value of `COUNT_OF_SOURCES`: a count has no operands that could stand on a page."""
    return Recomputed(float(n_sources), (), steps=(float(n_sources),))


def comes_to(recomputed: Recomputed, figure: Figure, *, scales: Sequence[float] = (1.0,)) -> bool:
    """Whether a figure is the value, or a step on its way, rounded as the figure is written.

    Args:
        recomputed: from `recompute`.
        figure: as a text writes it; a loss may be written without its sign.
        scales: what the operands may be in, as in 1e6 for pages in millions.
    """
    if figure.value is None:
        return False
    written, half = abs(figure.value), 0.5 * 10.0**-figure.decimals
    for step in recomputed.steps or (recomputed.value,):
        for factor in _factors(recomputed, figure.unit, scales):
            exact = abs(step) * factor / figure.scale
            is_near = abs(exact - written) <= half + _CLOSE * max(1.0, exact)
            # Nothing is "about 0".
            if is_near and (written > 0 or exact < _CLOSE):
                return True
    return False


def _factors(recomputed: Recomputed, unit: str, scales: Sequence[float]) -> Sequence[float]:
    if unit in ("%", "percentage point"):
        return (1.0,) if recomputed.is_percent else (100.0, 1.0)
    if unit == "basis point":
        return (100.0,) if recomputed.is_percent else (1e4, 100.0, 1.0)
    if recomputed.is_percent:
        return (1.0,) if not unit else ()
    return tuple({1.0: None, **dict.fromkeys(scales)})


def _require_agreement(recomputed: Recomputed, said: str) -> None:
    figures = [each for each in figures_in(said.split()) if each.value is not None]
    if len(figures) != 1:
        raise _unreadable(f"its result {said!r} is not one number")
    last = replace(recomputed, steps=(recomputed.value,))
    is_opposite = (figures[0].value or 0.0) < 0 < recomputed.value or (
        recomputed.value < 0 < (figures[0].value or 0.0)
    )
    if is_opposite or not comes_to(last, figures[0]):
        raise InputError(
            f"the arithmetic comes to {recomputed.value:.10g}, not to {said}", code="bad_arithmetic"
        )


def _is_constant(figure: Figure, is_quantity: bool) -> bool:
    if figure.unit or figure.scale != 1 or figure.decimals or figure.value not in _CONSTANTS:
        return False
    return not is_quantity or figure.value in _ALWAYS


def _unreadable(reason: str) -> InputError:
    return InputError(
        f"the expression cannot be read: {reason}",
        code="bad_expression",
        next_step="Write numbers with + - * / ** ( ), average, sum, min, max, abs.",
    )


# --- reading --------------------------------------------------------------------------------------
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
    amount: float
    is_percent: bool = False
    operand: int | None = None  # the one it is, where nothing was done to it


class _Parser:
    """Sums of products of powers, read from the left; powers from the right."""

    def __init__(self, tokens: Sequence[str | Figure]) -> None:
        self._tokens = tokens
        self._at = 0
        self._nested = 0
        self._exponents = 0
        self.operands: list[tuple[Figure, str, bool]] = []
        self.steps: list[float] = []

    def whole(self) -> _Value:
        value = self._sum()
        if self._at < len(self._tokens):
            raise _unreadable("something follows its end")
        if not self.operands:
            raise _unreadable("it has no number")
        if not self.steps:
            self.steps.append(value.amount)
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
            if value.is_percent != other.is_percent:
                value, other = _alike(value, other)
            self._quantity(value, other)
            amount = value.amount + (other.amount if sign == "+" else -other.amount)
            value = self._step(amount, is_percent=value.is_percent)
        return value

    def _product(self) -> _Value:
        value = self._power()
        while (sign := self._next("*", "/")) is not None:
            other = self._power()
            if sign == "*":
                amount = value.amount * other.amount
                n_percents = value.is_percent + other.is_percent
                # Half of 12% is a percent; 12% of 500 is not.
                is_percent = n_percents == 1 and self._is_count(value, other)
                value = self._step(amount / 100.0 ** (n_percents - is_percent), is_percent)
                continue
            self._quantity(value)
            if other.amount == 0:
                raise InputError("the arithmetic divides by zero", code="bad_arithmetic")
            amount = value.amount / other.amount
            if other.is_percent and not value.is_percent:
                amount *= 100.0
            value = self._step(amount, is_percent=value.is_percent and not other.is_percent)
        return value

    def _power(self) -> _Value:
        value = self._signed()
        if self._next("**") is None:
            return value
        self._exponents += 1
        exponent = self._nest(self._power)
        self._exponents -= 1
        base = value.amount / 100.0 if value.is_percent else value.amount
        if abs(exponent.amount) > _MOST_EXPONENT:
            raise _unreadable(f"an exponent of {exponent.amount:g} is too large")
        try:
            amount = math.pow(base, exponent.amount)
        except (ValueError, OverflowError) as error:
            raise InputError(
                f"{base:g} to the power of {exponent.amount:g} has no value", code="bad_arithmetic"
            ) from error
        return self._step(amount, is_percent=False)

    def _signed(self) -> _Value:
        sign = self._next("-", "+")
        if sign is None:
            return self._single()
        value = self._nest(self._signed)
        return replace(value, amount=-value.amount) if sign == "-" else value

    def _single(self) -> _Value:
        if self._at >= len(self._tokens):
            raise _unreadable("it ends too early")
        token = self._tokens[self._at]
        self._at += 1
        if isinstance(token, Figure):
            self.operands.append((token, token.text, False))
            return _Value(token.amount or 0.0, token.unit == "%", len(self.operands) - 1)
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
        self._quantity(*values)
        amount = _FUNCTIONS[name]([value.amount for value in values])
        return self._step(amount, is_percent=values[0].is_percent)

    def _nest(self, read: Callable[[], _Value]) -> _Value:
        self._nested += 1
        if self._nested > _MOST_NESTED:
            raise _unreadable(f"its brackets are deeper than {_MOST_NESTED}")
        value = read()
        self._nested -= 1
        return value

    def _step(self, amount: float, is_percent: bool) -> _Value:
        if not math.isfinite(amount) or abs(amount) > _MOST:
            raise InputError(f"the arithmetic goes beyond {_MOST:g}", code="bad_arithmetic")
        self.steps.append(amount)
        return _Value(amount, is_percent)

    def _quantity(self, *values: _Value) -> None:
        """These are added or divided: amounts that stand somewhere, and no counts."""
        for value in values:
            if value.operand is not None and not self._exponents:
                figure, text, _ = self.operands[value.operand]
                self.operands[value.operand] = (figure, text, True)

    def _is_count(self, value: _Value, other: _Value) -> bool:
        number = other if value.is_percent else value
        return (
            number.operand is not None
            and self.operands[number.operand][0].value in _CONSTANTS
            and not self.operands[number.operand][0].unit
        )


def _alike(value: _Value, other: _Value) -> tuple[_Value, _Value]:
    """A percent beside a plain number: "1 + 5%" is 1.05, "100 - 38%" is 62%."""
    plain = other if value.is_percent else value
    if plain.amount == 100.0:
        return replace(value, is_percent=True), replace(other, is_percent=True)

    def as_share(each: _Value) -> _Value:
        return (
            replace(each, amount=each.amount / 100.0, is_percent=False) if each.is_percent else each
        )

    return as_share(value), as_share(other)
