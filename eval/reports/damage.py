"""Whether a run folder is whole: what its files tell of each other must agree.

A file that was cut, edited or mixed with another run's gives figures of what is left of it, which
look like any others; so nothing of it is shown.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rag.errors import InputError
from rag.types import Json

RUN_AGAIN = "Run it again with the same --out: what was asked is taken over, and measured anew."
_NEAR = 1e-6


def checked_rows(
    folder: Path, head_name: str, head: Json, rows_name: str, rows: list[Json]
) -> Json:
    """Rows by question id, once they are those that the head counts.

    Raises:
        InputError: no row, a row without an id, an id twice, a value that is not finite, other
            numbers of questions or other means than the head tells.
    """
    where = f"{folder.name}/{rows_name}"
    if not rows:
        raise _damaged(f"{where} has no question")
    by_id: Json = {}
    for number, row in enumerate(rows, start=1):
        if "id" not in row:
            raise _damaged(f"{where} row {number} has no 'id'")
        query_id = str(row["id"])
        if query_id in by_id:
            raise _damaged(f"{where} has question {query_id!r} twice")
        for name, value in row.items():
            if isinstance(value, float) and not math.isfinite(value):
                raise _damaged(f"{where}: {name} of question {query_id!r} is {value}, no number")
        by_id[query_id] = row
    told = head.get("n_questions")
    if told != len(by_id):
        raise _damaged(
            f"{where} has {len(by_id)} questions, and {folder.name}/{head_name} tells of {told!r}"
        )
    _check_means(folder, head_name, head, rows_name, by_id)
    return by_id


def check_questions(
    folder: Path, known: Collection[str] | None, sides: Sequence[tuple[str, Mapping[str, Any]]]
) -> None:
    """The questions of questions.jsonl are those of the rows.

    Args:
        folder: of the run.
        known: ids in questions.jsonl; None where an older run wrote none.
        sides: names of files with their rows by id. Searches and answers may be of one folder and
            of other questions; the file is then that of the run that came last.

    Raises:
        InputError: a question in one of them and not in the other.
    """
    if known is None:
        return
    measured = {query_id for _, rows in sides for query_id in rows}
    if odd := sorted(set(known) - measured):
        raise _damaged(
            f"{folder.name}/questions.jsonl has {len(odd)} questions that {_names(sides)} has not, "
            f"such as {odd[0]!r}"
        )
    lacking = {name: sorted(set(rows) - set(known)) for name, rows in sides}
    if all(lacking.values()):
        name, odd = next(iter(lacking.items()))
        raise _damaged(
            f"{folder.name}/{name} has {len(odd)} questions that questions.jsonl has not, such as "
            f"{odd[0]!r}"
        )


def check_found(folder: Path, found: Collection[str], rows: Mapping[str, Any]) -> None:
    """Raises InputError where run.tsv has a question that was not measured, or has lost those that
    something was found for.
    """
    if odd := sorted(set(found) - set(rows)):
        raise _damaged(
            f"{folder.name}/run.tsv has {len(odd)} questions that per_query.jsonl has not, such as "
            f"{odd[0]!r}"
        )
    lost = [
        query_id
        for query_id, row in rows.items()
        if query_id not in found and any(value for name, value in row.items() if "@" in name)
    ]
    if found and lost:
        raise _damaged(
            f"{folder.name}/run.tsv has no page for {len(lost)} questions that per_query.jsonl has "
            f"measures above 0 of, such as {lost[0]!r}"
        )


def check_answered(folder: Path, answered: Collection[str], rows: Mapping[str, Any]) -> None:
    """Raises InputError where an answer that was measured is not in answers.jsonl."""
    if odd := [query_id for query_id in rows if query_id not in answered]:
        raise _damaged(
            f"{folder.name}/answers.jsonl lacks the answers of {len(odd)} of the {len(rows)} "
            f"questions of answers_per_query.jsonl, such as {odd[0]!r}"
        )


def _check_means(
    folder: Path, head_name: str, head: Json, rows_name: str, rows: Mapping[str, Json]
) -> None:
    for name, mean, n in _told(folder, head_name, head):
        values = [row[name] for row in rows.values() if _is_number(row.get(name))]
        if len(values) != n:
            raise _damaged(
                f"{folder.name}/{rows_name} has {name} of {len(values)} questions, and "
                f"{head_name} tells of {n}"
            )
        if values and abs(math.fsum(values) / len(values) - mean) > _NEAR:
            raise _damaged(
                f"{folder.name}/{rows_name}: the mean of {name} is "
                f"{math.fsum(values) / len(values):.4f}, and {head_name} tells of {mean:.4f}"
            )


def _told(folder: Path, head_name: str, head: Json) -> Iterator[tuple[str, float, int]]:
    """Means of a head with how many questions each is of: all of a search's are of every one."""
    searches = [(key, head[key]) for key in ("measures", "further") if head.get(key) is not None]
    for key, told in [*searches, ("means", head.get("means") or {})]:
        if not isinstance(told, dict):
            raise _damaged(
                f"{folder.name}/{head_name}: {key} wants an object of measures, got {told!r:.60}"
            )
        for name, value in told.items():
            of_some = isinstance(value, dict)
            mean = value.get("value") if of_some else value
            n = value.get("n") if of_some else head["n_questions"]
            if of_some and n == 0 and mean is None:
                continue
            if not _is_number(mean) or not isinstance(n, int):
                raise _damaged(
                    f"{folder.name}/{head_name}: {name} wants a finite number, got {mean!r:.60}"
                )
            yield name, float(mean), n


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _names(sides: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    return " or ".join(name for name, _ in sides)


def _damaged(what: str) -> InputError:
    return InputError(what, next_step=RUN_AGAIN)
