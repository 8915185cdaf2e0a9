"""What a search found for each question, and the run file that says so.

Run files are ranked by score: that is what scorers read, whatever the rank column says. So hits
whose scores rise on the way down are refused where they come in.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from eval.datasets.folder import PageKey
from rag.errors import InputError

HITS_PER_QUERY = 100


class Hit(NamedTuple):
    """A page found: file name below docs/, page number from 1, score (higher is better)."""

    doc: str
    page_number: int
    score: float

    @property
    def page(self) -> PageKey:
        return PageKey(self.doc, self.page_number)


Run = Mapping[str, Sequence[Hit]]


def checked_hits(query_id: str, hits: Iterable[Hit]) -> list[Hit]:
    """The first 100 hits, as a run file can hold them.

    Raises:
        InputError: a score that is not finite, or higher than the one before; a page found twice.
    """
    kept = [Hit(str(hit[0]), int(hit[1]), float(hit[2])) for hit in hits][:HITS_PER_QUERY]
    seen: set[PageKey] = set()
    for rank, hit in enumerate(kept, start=1):
        where = f"question {query_id!r}, hit {rank} ({hit.doc} page {hit.page_number})"
        if not math.isfinite(hit.score):
            raise InputError(f"{where}: score {hit.score} is not finite")
        if rank > 1 and hit.score > kept[rank - 2].score:
            raise InputError(
                f"{where}: score {hit.score} is above {kept[rank - 2].score} before it"
            )
        if hit.page in seen:
            raise InputError(f"{where}: the page was found already")
        seen.add(hit.page)
    return kept


def write_run(path: Path, run: Run) -> None:
    """One line a hit: query_id, doc, page, rank from 1, score; tabs between."""
    lines = [
        f"{query_id}\t{hit.doc}\t{hit.page_number}\t{rank}\t{hit.score!r}\n"
        for query_id, hits in run.items()
        for rank, hit in enumerate(hits, start=1)
    ]
    write_atomically(path, "".join(lines))


def read_run(path: Path) -> dict[str, list[Hit]]:
    """What `write_run` wrote; of any order of lines, ranked by score and then rank.

    Raises:
        InputError: no such file, or a line that is not of a run file, by number.
    """
    found: dict[str, list[tuple[float, int, Hit]]] = {}
    for number, line in enumerate(_read(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            query_id, doc, page, rank, score = line.split("\t")
            hit = Hit(doc, int(page), float(score))
            found.setdefault(query_id, []).append((-hit.score, int(rank), hit))
        except ValueError as error:
            raise InputError(
                f"{path.name} line {number}: wants query_id, doc, page, rank, score between tabs"
            ) from error
    return {
        query_id: checked_hits(query_id, (hit for *_, hit in sorted(ranked)))
        for query_id, ranked in found.items()
    }


def write_json_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    write_atomically(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """Raises InputError for a file that is not there or holds anything but JSON objects."""
    rows = []
    for number, line in enumerate(_read(path).split("\n"), start=1):
        if line.strip():
            rows.append(_parse(line, f"{path.name} line {number}"))
    return rows


def read_json(path: Path) -> dict[str, Any]:
    """Raises InputError for a file that is not there or is not one JSON object."""
    return _parse(_read(path), path.name)


def write_atomically(path: Path, text: str) -> None:
    """A reader sees the old file or all of the new one."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path.parent.name}/{path.name} cannot be read: {error}",
            next_step="`octavo eval run` writes it.",
        ) from error


def _parse(text: str, where: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise InputError(f"{where} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise InputError(f"{where} is not a JSON object")
    return value
