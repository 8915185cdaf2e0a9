"""Record filters in Qdrant's terms, written once for both of its libraries.

`Filter.matches` is the meaning; what differs between Qdrant's comparisons and it is settled here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Protocol, TypeVar

from rag.errors import InputError
from rag.filters import Condition, Filter, Scalar
from rag.index.contract import INTEGER_KEYS

C = TypeVar("C")

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+\Z")
_EXACT_AS_FLOAT = 2**53
_INT64 = range(-(2**63), 2**63)


class Dialect(Protocol[C]):
    """How one library writes a condition; `C` is any of its conditions, a filter among them."""

    def equals(self, key: str, value: bool | int) -> C: ...

    def any_of(self, key: str, values: list[str] | list[int]) -> C:
        """True where the value, or a member of it, is one of `values`; never for none."""
        ...

    def between(self, key: str, **bounds: float) -> C:
        """`bounds` are gt, gte, lt, lte; true for numbers alone."""
        ...

    def is_empty(self, key: str) -> C:
        """True where the key is absent, null or an empty list."""
        ...

    def has_id(self, record_ids: Sequence[str]) -> C: ...

    def combine(self, *, must: list[C], should: list[C], must_not: list[C]) -> C:
        """An empty list says nothing; three of them let everything pass."""
        ...


def translate(
    where: Filter | None, record_ids: Sequence[str] | None, dialect: Dialect[C]
) -> C | None:
    """The store's filter for records that pass `where` and are among `record_ids`; None for all.

    Whole numbers beyond 2**53 are compared exactly by $eq and $in with whole numbers, and as the
    nearest float by the other operators.

    Raises:
        InputError: a number that is not finite, or a key with a double quote in it.
    """
    must: list[C] = []
    if where is not None:
        must.append(_filter(where, dialect))
    if record_ids is not None:
        must.append(dialect.has_id(record_ids))
    return dialect.combine(must=must, should=[], must_not=[]) if must else None


def _filter(where: Filter, dialect: Dialect[C]) -> C:
    return dialect.combine(
        must=[_part(part, dialect) for part in where.must],
        should=[_part(part, dialect) for part in where.should],
        must_not=[_part(part, dialect) for part in where.must_not],
    )


def _part(part: Condition | Filter, dialect: Dialect[C]) -> C:
    if isinstance(part, Filter):
        return _filter(part, dialect)
    key = _path(part.key)
    values = part.value if isinstance(part.value, tuple) else (part.value,)
    if part.operator == "$exists":
        empty = dialect.is_empty(key)
        return _not(empty, dialect) if part.value else empty
    if part.operator in ("$eq", "$in"):
        return _one_of(key, values, dialect)
    if part.operator in ("$ne", "$nin"):
        return _not(_one_of(key, values, dialect), dialect)
    return dialect.between(key, **{part.operator[1:]: _bound(key, values[0])})


def _one_of(key: str, values: Sequence[Scalar], dialect: Dialect[C]) -> C:
    # Qdrant matches integers and strings apart from each other, and floats not at all: numbers
    # are compared as ranges, so that 2023 and 2023.0 are the same.
    whole = [value for value in values if type(value) is int and value in _INT64]
    if key in INTEGER_KEYS and whole == list(values):
        return dialect.any_of(key, whole)
    conditions: list[C] = []
    strings = [value for value in values if isinstance(value, str)]
    for value in values:
        if isinstance(value, bool):
            conditions.append(dialect.equals(key, value))
        elif isinstance(value, int) and abs(value) > _EXACT_AS_FLOAT:
            if value in _INT64:
                conditions.append(dialect.equals(key, value))
        elif not isinstance(value, str):
            number = _bound(key, value)
            conditions.append(dialect.between(key, gte=number, lte=number))
    if strings or not conditions:
        conditions.append(dialect.any_of(key, strings))
    if len(conditions) == 1:
        return conditions[0]
    return dialect.combine(must=[], should=conditions, must_not=[])


def _not(condition: C, dialect: Dialect[C]) -> C:
    return dialect.combine(must=[], should=[], must_not=[condition])


def _bound(key: str, value: Scalar) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise InputError(f"filter on {key!r} wants a finite number, got {value!r:.50}")
    return number


def _path(key: str) -> str:
    if '"' in key:
        raise InputError(f"a filter key cannot hold a double quote, got {key!r}")
    return ".".join(part if _PLAIN_KEY.match(part) else f'"{part}"' for part in key.split("."))
