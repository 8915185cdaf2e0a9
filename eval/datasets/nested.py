"""Objects within rows of published sets, their fields checked as those of rows are."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from eval.datasets.published import ill_field


@dataclass(frozen=True)
class Nested:
    """An object within a row.

    Attributes:
        values: as read.
        where: file, row and place in the row, for messages.
        published: name of the set, for messages.
    """

    values: Mapping[str, Any]
    where: str
    published: str

    def text(self, name: str) -> str:
        """A text; numbers and truth values as JSON writers leave them where texts are meant."""
        value = self._value(name)
        if isinstance(value, str):
            return value
        if isinstance(value, bool | int | float):
            return str(value)
        raise self.ill(name, "a text", value)

    def whole_number(self, name: str) -> int:
        """A whole number."""
        value = self._value(name)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.ill(name, "a whole number", value)
        return value

    def whole_numbers(self, name: str) -> list[int]:
        """A list of whole numbers."""
        value = self._value(name)
        if not isinstance(value, list) or any(type(item) is not int for item in value):
            raise self.ill(name, "a list of whole numbers", value)
        return value

    def numbers(self, name: str, *, count: int) -> list[float]:
        """A list of so many numbers."""
        value = self._value(name)
        if (
            not isinstance(value, list)
            or len(value) != count
            or any(type(item) not in (int, float) for item in value)
        ):
            raise self.ill(name, f"a list of {count} numbers", value)
        return [float(item) for item in value]

    def objects(self, name: str) -> Iterator[Nested]:
        """The objects of a list."""
        value = self._value(name)
        if not isinstance(value, list) or any(not isinstance(item, dict) for item in value):
            raise self.ill(name, "a list of objects", value)
        for number, item in enumerate(value, start=1):
            yield Nested(item, f"{self.where} {name} {number}", self.published)

    def _value(self, name: str) -> Any:
        if name not in self.values:
            raise ill_field(
                self.published,
                self.where,
                name,
                f"is not there; there are {', '.join(self.values)}",
            )
        return self.values[name]

    def ill(self, name: str, wanted: str, got: object) -> Exception:
        """The error of a field that is not what it should be."""
        written = repr(got)
        shown = written if len(written) <= 60 else written[:57] + "..."
        return ill_field(self.published, self.where, name, f"wants {wanted}, got {shown}")


def written_list(text: str) -> list[Any] | None:
    """A list that a set holds as text, as Python writes it; None where it is none."""
    try:
        read = ast.literal_eval(text.strip())
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):  # all it documents
        return None
    return read if isinstance(read, list) else None
