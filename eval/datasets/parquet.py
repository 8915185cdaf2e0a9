"""Rows of published tables: Parquet, JSON lines, JSON lists, CSV and TSV, with every field checked.

The one file that imports pyarrow. Images are bytes, as the hub's tables hold them (a struct of
bytes and path); they are read a few rows at a time, or by row number where they are wanted later.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from eval.datasets.published import ReadImage, ill_field, missing_file
from rag.errors import ConfigError, InputError

Kind = Literal["id", "text", "texts", "int", "number", "bool", "image", "rows", "any"]
WHERE = "@where"  # key of each row: file and row number, for messages
SUFFIXES = (".parquet", ".arrow", ".jsonl", ".json", ".csv", ".tsv")
_ROWS_AT_ONCE = 32  # page images are a megabyte or so each
_KIND_NAMES = {
    "id": "a text or a whole number",
    "text": "a text",
    "texts": "a list of texts",
    "int": "a whole number",
    "number": "a number",
    "bool": "true or false",
    "image": "an image (a struct of bytes and path)",
    "rows": "a list of objects",
}


@dataclass(frozen=True)
class Field:
    """A column that is read.

    Attributes:
        name: key of the rows that come out.
        kind: what its values are; an "id" comes out as text.
        also: other names it was published under; the first that is there is taken.
        needed: whether its absence is an error; else it comes out as None.
        nullable: whether a row may lack a value.
    """

    name: str
    kind: Kind
    also: tuple[str, ...] = ()
    needed: bool = True
    nullable: bool = False


def may(name: str, kind: Kind, *also: str) -> Field:
    """A column that need not be there, nor have a value in each row."""
    return Field(name, kind, also, needed=False, nullable=True)


def must(name: str, kind: Kind, *also: str) -> Field:
    """A column that has to be there, with a value in each row."""
    return Field(name, kind, also)


def table_files(
    folder: Path, table: str, split: str, *, published: str, layout: str
) -> tuple[Path, ...]:
    """The files of one table and split of a repository, in order.

    The hub's forms are known: `TABLE/SPLIT-00000-of-00001.parquet`, `TABLE/SPLIT/0000.parquet`,
    `TABLE/SPLIT.jsonl`, `TABLE.jsonl`; and with `data` in place of an empty table name.

    Raises:
        InputError: none is there.
    """
    base = folder / (table or "data")
    patterns = [f"{split}-*", f"{split}.*", f"{split}/*", f"{split}_*"]
    for pattern in patterns:
        if found := _tables(base.glob(pattern)):
            return found
    if table and (found := _tables(folder.glob(f"{table}.*"))):
        return found
    raise missing_file(published, f"{table or 'data'}/{split}-*.parquet", layout)


def _tables(paths: Iterator[Path]) -> tuple[Path, ...]:
    found = sorted(path for path in paths if path.suffix in SUFFIXES and path.is_file())
    # One kind at a time: a table may lie there twice, as Parquet and as JSON.
    kinds = [suffix for suffix in SUFFIXES if any(path.suffix == suffix for path in found)]
    return tuple(path for path in found if path.suffix == kinds[0]) if kinds else ()


def read_rows(
    path: Path | Sequence[Path], *fields: Field, published: str
) -> Iterator[dict[str, Any]]:
    """The rows of a table, one after the other; only the columns asked for are read.

    Args:
        path: a file, or several that are one table.
        fields: what is read and checked.
        published: name of the set, for messages.

    Yields:
        Field name to value, and `WHERE` to file and row. Images come as bytes.

    Raises:
        InputError: `dataset_layout`, `dataset_field`.
        ConfigError: `extra_missing`, where Parquet is to be read without pyarrow.
    """
    for file in [path] if isinstance(path, Path) else path:
        shown = _shown(file)
        raw, columns = _raw_rows(file, fields, published)
        for number, row in enumerate(raw, start=1):
            where = f"{shown} row {number}"
            checked = {
                field.name: _checked(row, field, column, where, file, published)
                for field, column in zip(fields, columns(row, where), strict=True)
            }
            checked[WHERE] = where
            yield checked


def column_names(path: Path, *, published: str) -> tuple[str, ...]:
    """The columns of a table (of text forms, of its first row), to tell published forms apart."""
    if path.suffix == ".parquet":
        return tuple(_parquet(path, published).schema_arrow.names)
    if path.suffix == ".arrow":
        return tuple(_arrow(path, published).schema.names)
    for row in _text_rows(path, published):
        return tuple(row)
    return ()


@dataclass(frozen=True)
class _Group:
    file: Path
    index: int
    first_row: int
    n_rows: int


class ImageColumn:
    """Images of Parquet files by row number; in order, each group of rows is read once.

    Holds one group of rows at a time, the last that was read.
    """

    def __init__(self, files: Sequence[Path], field: Field, *, published: str) -> None:
        self._field = field
        self._published = published
        self._groups: list[_Group] = []
        self._columns: dict[Path, str] = {}
        self._held: tuple[_Group, list[Any]] | None = None
        first_row = 0
        for file in files:
            opened = _parquet(file, published)
            column = _column(tuple(opened.schema_arrow.names), field, _shown(file), published)
            assert column is not None  # a column that is not needed has no reader
            self._columns[file] = column
            for index in range(opened.metadata.num_row_groups):
                n_rows = opened.metadata.row_group(index).num_rows
                self._groups.append(_Group(file, index, first_row, n_rows))
                first_row += n_rows
        self.n_rows = first_row

    def reader(self, row: int) -> ReadImage:
        """What reads the image of a row, counted from 0 over all files."""
        return lambda: self.read(row)

    def read(self, row: int) -> bytes:
        """The image of a row, counted from 0 over all files.

        Raises:
            InputError: it has none.
        """
        group = next(
            each for each in self._groups if each.first_row <= row < each.first_row + each.n_rows
        )
        if self._held is None or self._held[0] is not group:
            self._held = None  # before the next is read: two groups can be gigabytes
            column = self._columns[group.file]
            table = _parquet(group.file, self._published).read_row_group(
                group.index, columns=[column], use_threads=False
            )
            self._held = (group, table.column(column).to_pylist())
        value = self._held[1][row - group.first_row]
        where = f"{_shown(group.file)} row {row + 1}"
        image: bytes = _typed(value, self._field, where, group.file, self._published)
        return image


def _raw_rows(
    file: Path, fields: Sequence[Field], published: str
) -> tuple[Iterator[dict[str, Any]], Callable[[dict[str, Any], str], Sequence[str | None]]]:
    """Rows as they are stored, and which column of a row each field is."""
    shown = _shown(file)
    if file.suffix in (".parquet", ".arrow"):
        names = column_names(file, published=published)
        fixed = [_column(names, field, shown, published) for field in fields]
        wanted = list(dict.fromkeys(column for column in fixed if column is not None))
        read = _parquet_rows if file.suffix == ".parquet" else _arrow_rows
        return read(file, wanted, published), lambda _row, _where: fixed
    return (
        _text_rows(file, published),
        lambda row, where: [_column(tuple(row), field, where, published) for field in fields],
    )


def _column(names: tuple[str, ...], field: Field, where: str, published: str) -> str | None:
    for name in (field.name, *field.also):
        if name in names:
            return name
    if not field.needed:
        return None
    other = f" (nor {', '.join(field.also)})" if field.also else ""
    raise ill_field(
        published, where, field.name, f"is not there{other}; there are {', '.join(names)}"
    )


def _checked(
    row: dict[str, Any], field: Field, column: str | None, where: str, file: Path, published: str
) -> Any:
    value = None if column is None else row.get(column)
    if value is None or (value == "" and file.suffix in (".csv", ".tsv") and field.nullable):
        if field.nullable or column is None:
            return None
        raise ill_field(published, where, field.name, "has no value")
    if file.suffix in (".csv", ".tsv"):
        value = _parsed(value, field.kind)
    return _typed(value, field, where, file, published)


def _typed(value: Any, field: Field, where: str, file: Path, published: str) -> Any:
    """The value in the form its kind says; refused where it is of another."""
    found = _CONVERSIONS[field.kind](value)
    if found is None and field.kind == "image":
        found = _image_beside(value, file)
    if found is None:
        raise ill_field(
            published,
            where,
            field.name,
            f"wants {_KIND_NAMES.get(field.kind, 'a value')}, got {_brief(value)}",
        )
    return found


def _brief(value: object) -> str:
    written = repr(value)
    return f"{type(value).__name__} {written if len(written) <= 60 else written[:57] + '...'}"


def _as_id(value: Any) -> str | None:
    if isinstance(value, str):
        return value or None
    number = _as_int(value)
    return None if number is None else str(number)


def _as_int(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    # Scores are float64 in some repositories, whole all the same.
    return int(value) if isinstance(value, float) and value.is_integer() else None


def _as_number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else None


def _as_texts(value: Any) -> list[str] | None:
    is_list = isinstance(value, list) and all(isinstance(each, str) for each in value)
    return list(value) if is_list else None


def _as_objects(value: Any) -> list[dict[str, Any]] | None:
    is_list = isinstance(value, list) and all(isinstance(each, dict) for each in value)
    return list(value) if is_list else None


def _as_image(value: Any) -> bytes | None:
    if isinstance(value, dict):
        value = value.get("bytes")
    return value if isinstance(value, bytes) and value else None


_CONVERSIONS: dict[Kind, Callable[[Any], Any]] = {
    "id": _as_id,
    "text": lambda value: value if isinstance(value, str) else None,
    "texts": _as_texts,
    "int": _as_int,
    "number": _as_number,
    "bool": lambda value: value if isinstance(value, bool) else None,
    "image": _as_image,
    "rows": _as_objects,
    "any": lambda value: value,
}


def _image_beside(value: Any, file: Path) -> bytes | None:
    """An image that the table names and does not hold: a file near it."""
    name = value.get("path") if isinstance(value, dict) else value
    if not isinstance(name, str) or not name:
        return None
    for folder in (file.parent, file.parent.parent):
        path = (folder / name).resolve()
        # A name in a table is no leave to read the whole disk.
        if path.is_relative_to(folder.resolve()) and path.is_file():
            return path.read_bytes()
    return None


def _parsed(value: str, kind: Kind) -> Any:
    """A value of a CSV, whose values are all text."""
    try:
        if kind in ("texts", "rows"):
            return json.loads(value)
        if kind == "bool":
            return {"true": True, "false": False}.get(value.lower(), value)
        if kind in ("int", "number"):
            return float(value) if kind == "number" or "." in value else int(value)
    except ValueError:
        pass  # told as a value of the wrong type, by whoever looks at it next
    return value


def _shown(file: Path) -> str:
    return f"{file.parent.name}/{file.name}"


def _parquet_rows(file: Path, columns: list[str], published: str) -> Iterator[dict[str, Any]]:
    opened = _parquet(file, published)
    for batch in opened.iter_batches(_ROWS_AT_ONCE, columns=columns, use_threads=False):
        yield from batch.to_pylist()


def _arrow_rows(file: Path, columns: list[str], published: str) -> Iterator[dict[str, Any]]:
    batches = _arrow(file, published)
    while (batch := _opened(file, published, lambda _pyarrow: next(batches, None))) is not None:
        for start in range(0, batch.num_rows, _ROWS_AT_ONCE):
            yield from batch.select(columns).slice(start, _ROWS_AT_ONCE).to_pylist()


def _parquet(file: Path, published: str) -> Any:
    return _opened(file, published, lambda pyarrow: pyarrow.parquet.ParquetFile(file))


def _arrow(file: Path, published: str) -> Any:
    """The form that `datasets` saves tables in: a stream, mapped and not read as a whole."""
    return _opened(
        file, published, lambda pyarrow: pyarrow.ipc.open_stream(pyarrow.memory_map(str(file)))
    )


def _opened(file: Path, published: str, opens: Callable[[Any], Any]) -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ConfigError(
            "published sets in Parquet are read with pyarrow, which is not installed",
            code="extra_missing",
            next_step='pip install "octavo[eval]"',
        ) from error
    try:
        return opens(pyarrow)
    except FileNotFoundError as error:
        raise missing_file(published, _shown(file), "see `octavo eval sets --json`") from error
    except (pyarrow.ArrowException, OSError) as error:
        kind = file.suffix[1:].capitalize()
        raise InputError(
            f"{published}: {_shown(file)} is no whole {kind} file ({_first_line(error)})",
            code="dataset_layout",
            next_step="A file of a hundred bytes is a pointer of Git LFS: fetch the file itself "
            "(`git lfs pull`). Else copy it again.",
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:120]


def _text_rows(file: Path, published: str) -> Iterator[dict[str, Any]]:
    try:
        if file.suffix in (".csv", ".tsv"):
            yield from _csv_rows(file)
        else:
            yield from _json_rows(file, published)
    except FileNotFoundError as error:
        raise missing_file(published, _shown(file), "see `octavo eval sets --json`") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{published}: {_shown(file)} is not UTF-8: {error.reason} at byte {error.start}",
            code="dataset_layout",
            next_step="Copy the file again.",
        ) from error


def _csv_rows(file: Path) -> Iterator[dict[str, Any]]:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # captions and OCR are longer than its 131072
    with file.open(encoding="utf-8-sig", newline="") as lines:
        yield from csv.DictReader(lines, delimiter="\t" if file.suffix == ".tsv" else ",")


def _json_rows(file: Path, published: str) -> Iterator[dict[str, Any]]:
    with file.open(encoding="utf-8-sig") as lines:
        if file.suffix == ".json" and lines.read(1) == "[":
            lines.seek(0)
            rows = _json(lines.read(), _shown(file), published)
            numbered: Iterator[tuple[int, Any]] = enumerate(rows, start=1)
        else:
            lines.seek(0)
            numbered = (
                (number, _json(line, f"{_shown(file)} line {number}", published))
                for number, line in enumerate(lines, start=1)
                if line.strip()
            )
        for number, row in numbered:
            if not isinstance(row, dict):
                raise _no_json(f"{_shown(file)} row {number} is no object", published)
            yield row


def _json(text: str, where: str, published: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise _no_json(f"{where} is no JSON: {error}", published) from error


def _no_json(said: str, published: str) -> InputError:
    return InputError(
        f"{published}: {said}", code="dataset_layout", next_step="Copy the file again."
    )
