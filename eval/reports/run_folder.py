"""Reads a run folder for a report. What an older run does not hold is left out, and said."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eval.datasets.folder import PageKey
from eval.reports.damage import (
    RUN_AGAIN,
    check_answered,
    check_found,
    check_questions,
    checked_rows,
)
from eval.runs import Hit, read_json, read_json_lines, read_run
from rag.errors import InputError
from rag.types import Json

MEASURES_FILE, ROWS_FILE = "measures.json", "per_query.jsonl"
ANSWER_MEASURES_FILE, ANSWER_ROWS_FILE = "answer_measures.json", "answers_per_query.jsonl"
JUDGED_FILE, JUDGE_MEASURES_FILE = "judge.jsonl", "judge_measures.json"
_JUDGED = ("completeness", "faithfulness")
# Columns of a row of questions that are no measures.
_NO_MEASURES = frozenset({"id", "ms", "score", "n", "rank", "tokens", "cost"})


@dataclass(frozen=True)
class Asked:
    """A question as the run folder knows it; of a run without questions.jsonl its id and type.

    Attributes:
        any_page: one gold page is as good as all.
        part: of a run over several datasets, the one it is of.
        gold: grades above 0.
    """

    id: str
    type: str = ""
    text: str = ""
    answer: str = ""
    groups: Mapping[str, str] = field(default_factory=dict)
    doc: str | None = None
    any_page: bool = False
    part: str = ""
    gold: Mapping[PageKey, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Side:
    """One kind of figures of a run: of its searches, or of its answers.

    Attributes:
        head: what measures.json or answer_measures.json holds.
        rows: question id to its row.
        measures: columns of the rows that are measures, in their order.
    """

    head: Json
    rows: Mapping[str, Json]
    measures: tuple[str, ...]

    def value(self, question_id: str, measure: str) -> float | None:
        """None where the question does not count for it."""
        row = self.rows.get(question_id, {})
        value: Any = row.get(measure)
        # Whether an answer is right or wrong is told of those gold answers alone that can be.
        if measure in OUTCOMES and "kind" in row and row["kind"] is None:
            return None
        return float(value) if is_number(value) else None


OUTCOMES = frozenset({"right_cited", "right", "wrong", "abstained"})


@dataclass(frozen=True)
class RunFolder:
    """A run as read; at least one of `searches` and `answers` is there.

    Attributes:
        found: question id to hits, best first; empty where there is no run.tsv.
        answered: question id to its row of answers.jsonl.
        has_questions: there is a questions.jsonl.
        parts: of a run over several datasets, those over each; none of any other.
    """

    folder: Path
    name: str
    searches: Side | None
    answers: Side | None
    found: Mapping[str, tuple[Hit, ...]]
    answered: Mapping[str, Json]
    questions: Mapping[str, Asked]
    has_questions: bool
    parts: tuple[RunFolder, ...] = ()

    @property
    def sides(self) -> tuple[Side, ...]:
        return tuple(side for side in (self.searches, self.answers) if side is not None)

    @property
    def head(self) -> Json:
        return self.sides[0].head


def has_run(folder: Path) -> bool:
    return any((folder / name).is_file() for name in (MEASURES_FILE, ANSWER_MEASURES_FILE))


def read_run_folder(folder: Path) -> RunFolder:
    """Raises InputError for a folder without a run, and for a file that is ill written or does not
    agree with the others.
    """
    try:
        return _read(folder)
    except InputError as error:
        if folder.name in error.message:
            raise
        raise InputError(
            f"{folder.name}/{error.message}", next_step=error.next_step or RUN_AGAIN
        ) from error


def _read(folder: Path) -> RunFolder:
    searches = _side(folder, MEASURES_FILE, ROWS_FILE)
    answers = _judged(folder, _side(folder, ANSWER_MEASURES_FILE, ANSWER_ROWS_FILE))
    sides = [side for side in (searches, answers) if side is not None]
    if not sides:
        raise InputError(
            f"there is no run in {str(folder)!r}",
            next_step="`octavo eval run --out DIR` writes one; `octavo eval list DIR` names those "
            "that are there.",
        )
    known = _by_id(folder / "questions.jsonl")
    named = ((ROWS_FILE, searches), (ANSWER_ROWS_FILE, answers))
    check_questions(folder, known, [(name, side.rows) for name, side in named if side is not None])
    found = _found(folder / "run.tsv")
    if searches is not None:
        check_found(folder, found, searches.rows)
    answered = _by_id(folder / "answers.jsonl") or {}
    if answers is not None:
        check_answered(folder, answered, answers.rows)
    return RunFolder(
        folder=folder,
        name=folder.resolve().name,
        searches=searches,
        answers=answers,
        found=found,
        answered=answered,
        questions=_questions(folder, sides, known or {}, answered),
        has_questions=known is not None,
    )


def _by_id(path: Path) -> dict[str, Json] | None:
    if not path.exists():
        return None
    return {str(row.get("id")): row for row in read_json_lines(path)}


def _side(folder: Path, head_name: str, rows_name: str) -> Side | None:
    if not (folder / head_name).exists():
        return None
    head = read_json(folder / head_name)
    rows = checked_rows(folder, head_name, head, rows_name, read_json_lines(folder / rows_name))
    measures: dict[str, None] = {}
    for row in rows.values():
        measures |= {
            name: None
            for name, value in row.items()
            if is_number(value) and name not in _NO_MEASURES
        }
    return Side(head, rows, tuple(measures))


def _judged(folder: Path, answers: Side | None) -> Side | None:
    """With what a judge said of each answer, where one was asked.

    An abstention says none of the claims that are wanted; what could not be judged has no value.
    """
    if answers is None or not (folder / JUDGE_MEASURES_FILE).exists():
        return answers
    judged = {str(row.get("id")): row for row in read_json_lines(folder / JUDGED_FILE)}
    rows = {
        query_id: {**row, **_judged_values(judged.get(query_id, {}), row)}
        for query_id, row in answers.rows.items()
    }
    told = [name for name in _JUDGED if any(name in row for row in rows.values())]
    head = {**answers.head, "judge": read_json(folder / JUDGE_MEASURES_FILE)}
    return Side(head, rows, (*answers.measures, *told))


def _judged_values(judged: Json, row: Json) -> dict[str, float]:
    if row.get("outcome") == "abstained" and row.get("gold"):
        return {"completeness": 0.0}
    told = {name: judged[name].get("value") for name in _JUDGED if name in judged}
    return {name: float(value) for name, value in told.items() if is_number(value)}


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _found(path: Path) -> dict[str, tuple[Hit, ...]]:
    if not path.exists():
        return {}
    return {query_id: tuple(hits) for query_id, hits in read_run(path).items()}


def _questions(
    folder: Path,
    sides: list[Side],
    known: Mapping[str, Json],
    answered: Mapping[str, Json],
) -> dict[str, Asked]:
    ids = dict.fromkeys(query_id for side in sides for query_id in side.rows)
    return {
        query_id: _asked(
            query_id,
            known.get(query_id, {}),
            next(side.rows[query_id] for side in sides if query_id in side.rows),
            answered.get(query_id, {}),
            folder.name,
        )
        for query_id in ids
    }


def _asked(
    query_id: str, known: Json, row: Json, answered: Mapping[str, Any], run_name: str
) -> Asked:
    """From questions.jsonl, else from what the figures and the answers tell by the way."""
    try:
        gold = {
            PageKey(str(doc), int(page)): int(grade) for doc, page, grade in _list(known, "gold")
        }
        groups = {str(key): str(value) for key, value in (known.get("groups") or {}).items()}
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{run_name}/questions.jsonl: question {query_id!r} wants gold as lists of doc, page, "
            "grade, and groups as an object of texts",
            next_step="`octavo eval run` writes it; run it again with the same --out.",
        ) from error
    doc = known.get("doc")
    return Asked(
        id=query_id,
        type=str(known.get("type") or row.get("type") or ""),
        text=str(known.get("text") or answered.get("question") or ""),
        answer=str(known.get("answer") or row.get("gold") or ""),
        groups=groups,
        doc=None if doc is None else str(doc),
        any_page=known.get("gold_mode") == "any",
        gold={page: grade for page, grade in gold.items() if grade > 0},
    )


def _list(row: Json, name: str) -> list[Any]:
    value = row.get(name) or []
    return list(value)
