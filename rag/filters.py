"""Record filters as values: parsed once at the border and translated by each store.

`Filter.matches` is the meaning of every operator; a store's translation must agree with it.
A payload value that is a list matches when any of its members does (as in Qdrant).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rag.errors import InputError
from rag.types import Json

Scalar = str | int | float | bool
OPERATORS = ("$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$exists")
# Keys of a record that are not the user's metadata.
RECORD_KEYS = frozenset({"source", "document_id", "page_number"})
_MAX_DEPTH = 16

_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "$gt": lambda value, bound: value > bound,
    "$gte": lambda value, bound: value >= bound,
    "$lt": lambda value, bound: value < bound,
    "$lte": lambda value, bound: value <= bound,
}


@dataclass(frozen=True)
class Condition:
    """One comparison; `value` is a tuple for $in and $nin, a bool for $exists."""

    key: str
    operator: str
    value: Scalar | tuple[Scalar, ...]

    def matches(self, payload: Json) -> bool:
        found: Any = payload
        for part in self.key.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
        members = found if isinstance(found, list) else [] if found is None else [found]
        if self.operator == "$exists":
            return bool(members) == self.value
        if self.operator in ("$ne", "$nin"):
            unwanted = self.value if isinstance(self.value, tuple) else (self.value,)
            return not any(_same(member, value) for member in members for value in unwanted)
        if self.operator in ("$eq", "$in"):
            wanted = self.value if isinstance(self.value, tuple) else (self.value,)
            return any(_same(member, value) for member in members for value in wanted)
        return any(
            _is_number(member) and _ORDER[self.operator](member, self.value) for member in members
        )


@dataclass(frozen=True)
class Filter:
    """All of `must`, at least one of `should` (where there are any), none of `must_not`."""

    must: tuple[Condition | Filter, ...] = ()
    should: tuple[Condition | Filter, ...] = ()
    must_not: tuple[Condition | Filter, ...] = ()

    def matches(self, payload: Json) -> bool:
        return (
            all(part.matches(payload) for part in self.must)
            and (not self.should or any(part.matches(payload) for part in self.should))
            and not any(part.matches(payload) for part in self.must_not)
        )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _same(left: object, right: object) -> bool:
    # True == 1 in Python, but not in a payload.
    if isinstance(left, bool) or isinstance(right, bool):
        return isinstance(left, bool) and isinstance(right, bool) and left == right
    return left == right


def parse_filters(raw: Mapping[str, Any], *, depth: int = 0) -> Filter:
    """Read `{"year": {"$gte": 2022}, "$or": [{...}, {...}]}` as INTERFACES defines it.

    Keys are the user's metadata, or `source`, `document_id`, `page_number`.

    Args:
        raw: one filter object.
        depth: how many filters this one is inside of.

    Raises:
        InputError: an unknown operator, a value that the operator cannot compare with, or filters
            nested too deep.
    """
    if depth > _MAX_DEPTH:
        raise InputError(f"filters are nested more than {_MAX_DEPTH} deep")
    parts: list[Condition | Filter] = []
    for key, value in raw.items():
        if key in ("$and", "$or"):
            if not isinstance(value, list) or not value:
                raise InputError(f"filter {key} wants a list of filters, got {value!r}")
            inner = tuple(parse_filters(_as_mapping(item), depth=depth + 1) for item in value)
            parts.append(Filter(must=inner) if key == "$and" else Filter(should=inner))
        elif key == "$not":
            parts.append(Filter(must_not=(parse_filters(_as_mapping(value), depth=depth + 1),)))
        elif key.startswith("$"):
            raise _unknown_operator(key)
        else:
            payload_key = key if key in RECORD_KEYS else f"metadata.{key}"
            comparisons = value if isinstance(value, Mapping) else {"$eq": value}
            parts.extend(
                _condition(payload_key, operator, operand)
                for operator, operand in comparisons.items()
            )
    return Filter(must=tuple(parts))


def parse_assignment(flag: str) -> tuple[str, Any]:
    """`year=2023` -> ("year", 2023); `name=Best Buy` -> ("name", "Best Buy").

    Raises:
        InputError: no `=`, nothing before it, or a number that no float holds.
    """
    key, separator, text = flag.partition("=")
    if not separator or not key.strip():
        raise InputError(f"expected key=value, got {flag!r}")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = text
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{text!r} is no finite number")
    return key.strip(), value if isinstance(value, str | int | float | bool) else text


def require_readers(readers: Sequence[str]) -> None:
    """Raises InputError for an entry that is neither `user:ID`, `group:NAME` nor `*`."""
    for entry in readers:
        kind, separator, name = entry.partition(":")
        is_name = bool(name.strip()) and name.isprintable()
        if entry != "*" and not (kind in ("user", "group") and separator and is_name):
            raise InputError(f"{entry!r} is no reader", next_step="Write user:ID, group:NAME or *.")


def require_metadata(metadata: Mapping[str, Any] | None) -> None:
    """Raises InputError `bad_metadata` for what JSON, and so no index, can hold."""
    try:
        json.dumps(metadata, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(
            f"metadata cannot be kept: {error}",
            code="bad_metadata",
            next_step="Give text, finite numbers, true or false.",
        ) from error


def _as_mapping(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InputError(f"expected a filter object, got {value!r}")
    return value


def _unknown_operator(operator: str) -> InputError:
    return InputError(
        f"unknown filter operator {operator!r}",
        code="unknown_operator",
        next_step=f"Known are {' '.join(OPERATORS)} $and $or $not.",
    )


def _condition(key: str, operator: str, operand: object) -> Condition:
    if operator not in OPERATORS:
        raise _unknown_operator(operator)
    if operator in ("$in", "$nin"):
        if not isinstance(operand, list) or not all(
            isinstance(item, str | int | float | bool) for item in operand
        ):
            raise InputError(
                f"filter {operator} on {key!r} wants a list of values, got {operand!r}"
            )
        return Condition(key, operator, tuple(operand))
    if operator == "$exists" and not isinstance(operand, bool):
        raise InputError(f"filter $exists on {key!r} wants true or false, got {operand!r}")
    if operator in _ORDER and not _is_number(operand):
        raise InputError(f"filter {operator} on {key!r} wants a number, got {operand!r}")
    if not isinstance(operand, str | int | float | bool):
        raise InputError(f"filter {operator} on {key!r} wants a value, got {operand!r}")
    if isinstance(operand, float) and not math.isfinite(operand):
        raise InputError(f"filter {operator} on {key!r} wants a finite number, got {operand!r}")
    return Condition(key, operator, operand)
