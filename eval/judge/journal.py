"""What a judge said of each question, kept as it comes: judging that was stopped goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from eval.answers.parallel import each_until_all_fail
from eval.runs import write_atomically
from rag.errors import RagError
from rag.types import Json

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Wanted:
    """One question that is to be judged.

    Attributes:
        digest: of what the judge is shown; a row of another digest is judged anew.
        judge: gives the row.
    """

    id: str
    digest: str
    judge: Callable[[], Json]


def judged_all(
    wanted: Sequence[Wanted],
    path: Path,
    *,
    config_hash: str,
    workers: int,
    progress: Progress,
) -> tuple[dict[str, Json], dict[str, RagError], int]:
    """Judge what the journal at `path` does not know; rows in the order of `wanted`.

    Returns:
        id to row; id to why it could not be asked (it is asked again the next time); how many were
        judged now.

    Raises:
        RagError: each of the first five failed for the same reason, and none was judged before.
    """
    digests = {each.id: each.digest for each in wanted}
    rows = {
        row["id"]: row
        for row in _recalled(path)
        if row.get("config_hash") == config_hash and digests.get(row["id"]) == row.get("digest")
    }
    errors: dict[str, RagError] = {}
    missing = [each for each in wanted if each.id not in rows]
    is_first = not rows
    write_atomically(path, "".join(_line(row) for row in rows.values()))
    with path.open("a", encoding="utf-8", newline="\n") as file:

        def keep(each: Wanted, told: Json | RagError) -> RagError | None:
            if isinstance(told, RagError):
                errors[each.id] = told
            else:
                about = {"id": each.id, "config_hash": config_hash, "digest": each.digest}
                rows[each.id] = {**about, **told}
                file.write(_line(rows[each.id]))
                file.flush()
            progress(len(rows) + len(errors), len(wanted))
            return errors.get(each.id)

        each_until_all_fail(missing, _tried, keep, workers=workers, is_first=is_first)
    in_order = {each.id: rows[each.id] for each in wanted if each.id in rows}
    write_atomically(path, "".join(_line(row) for row in in_order.values()))
    return in_order, errors, len(missing) - len(errors)


def _tried(each: Wanted) -> Json | RagError:
    try:
        return each.judge()
    except RagError as error:
        return error


def _recalled(path: Path) -> list[Json]:
    """Whole lines that are rows; a torn one is judged again."""
    if not path.exists():
        return []
    found = []
    for line in path.read_bytes().split(b"\n"):
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and isinstance(row.get("id"), str):
            found.append(row)
    return found


def _line(row: Json) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"
