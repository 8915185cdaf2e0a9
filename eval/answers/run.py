"""Asks every question of a dataset for an answer, and writes down what was answered.

Who is asked is handed in as a function: this module knows no index and no model. A question that
fails is a row with its error; what stands in the file already is not asked again.

The leakage guard: an `AnswerQuestion` is all that who answers is told. It holds no gold answer, a
document only where the question is asked of that document, and gold pages only where they are to be
given.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TextIO

from eval.answers.parallel import each_until_all_fail
from eval.datasets.folder import Dataset, PageKey, Query, Scope, no_question
from eval.runs import write_atomically
from rag.errors import BackendError, RagError

ANSWERS_FILE = "answers.jsonl"
UNREADABLE_FILE = "answers.jsonl.unreadable"

Row = dict[str, Any]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class AnswerQuestion:
    """A question as it is to be asked.

    Attributes:
        doc: the one document to look in; None is all of them.
        pages: to answer from without a search; none where pages are to be found.
    """

    id: str
    text: str
    doc: str | None = None
    pages: tuple[PageKey, ...] = ()

    def key(self) -> str:
        """Equal for questions that are asked alike, whatever their ids: 64 hex digits."""
        asked = [self.text, self.doc, [list(page) for page in self.pages]]
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()


class AnswerCache(Protocol):
    """Answers of other runs with the same settings, by `AnswerQuestion.key`."""

    def get(self, key: str) -> Row | None: ...

    def put(self, key: str, row: Row) -> None: ...


Ask = Callable[[AnswerQuestion], Mapping[str, Any]]


def answerable_queries(
    dataset: Dataset, scope: Scope, *, oracle_pages: bool = False, limit: int | None = None
) -> list[Query]:
    """Those that have gold pages and can be asked so.

    With the gold pages given nothing is looked for, so that every question can be asked, whether or
    not its words tell the document.

    Raises:
        InputError: there is none.
    """
    if oracle_pages:
        queries = [query for query in dataset.queries.values() if gold_pages(dataset, query.id)]
    else:
        queries = dataset.counted(scope)
    if not queries:
        raise no_question(dataset, scope)
    return queries[:limit]


def gold_pages(dataset: Dataset, query_id: str) -> tuple[PageKey, ...]:
    """Ascending."""
    return tuple(sorted(dataset.gold(query_id)))


def questions_asked(
    dataset: Dataset, queries: Sequence[Query], scope: Scope, *, oracle_pages: bool = False
) -> list[AnswerQuestion]:
    """With the document in scope `document`, or with the gold pages."""
    return [
        AnswerQuestion(
            query.id,
            query.text,
            query.doc if scope == "document" and not oracle_pages else None,
            gold_pages(dataset, query.id) if oracle_pages else (),
        )
        for query in queries
    ]


def unanswerable_asked(dataset: Dataset, *, limit: int | None = None) -> list[AnswerQuestion]:
    """Each in its own document: in another one there might be an answer."""
    return [AnswerQuestion(each.id, each.text, each.doc) for each in dataset.unanswerable[:limit]]


@dataclass(frozen=True)
class AskedAll:
    """What became of the questions.

    Attributes:
        rows: by id, in the order of the questions.
        n_anew: asked now.
        n_cached: taken from the cache of other runs.
    """

    rows: dict[str, Row]
    n_anew: int
    n_cached: int


def ask_all(
    questions: Sequence[AnswerQuestion],
    ask: Ask,
    *,
    out_dir: Path,
    config_hash: str,
    commit: str = "",
    progress: Progress = lambda _done, _whole: None,
    workers: int = 1,
    cache: AnswerCache | None = None,
) -> AskedAll:
    """Ask, and keep `answers.jsonl` in `out_dir`: a row a question, as it was answered.

    Args:
        questions: in the order they are asked in, and stand in the file in the end.
        ask: one question to its answer, in the shape of `octavo ask --json`; a RagError, and an
            answer with an `error`, is a question that failed. Called in `workers` threads.
        out_dir: is there. Rows of the same `config_hash` that are there are taken over, except
            those that failed; all others are dropped, and so is what `set_aside_unreadable` finds.
        config_hash: of every setting that could change an answer.
        commit: of the code that answers; stands in each row, so that answers of older code show.
        progress: called with (questions answered, questions in all).
        workers: questions under way at a time.
        cache: what other runs with these settings were answered; gets what is answered now and did
            not fail.

    Raises:
        RagError: each of the first five questions failed for the same reason, and none was answered
            before. What a question raised, or a BackendError with the code of the failure.
    """
    path = out_dir / ANSWERS_FILE
    known = {row["id"]: row for row in _recalled(path, config_hash)}
    cached = {} if cache is None else _cached(questions, known, cache, config_hash)
    rows = {each.id: row for each in questions if (row := _either(each.id, known, cached))}
    missing = [each for each in questions if each.id not in rows]
    provenance = {"config_hash": config_hash, "commit": commit}
    is_first = not rows
    write_atomically(path, "".join(map(_line, rows.values())))
    with path.open("a", encoding="utf-8", newline="\n") as file:

        def keep(question: AnswerQuestion, told: tuple[Row, RagError | None]) -> RagError | None:
            row, failure = told
            _written(file, row)
            rows[question.id] = row
            if cache is not None and failure is None:
                cache.put(question.key(), row)
            progress(len(rows), len(questions))
            return failure

        each_until_all_fail(
            missing,
            lambda question: _answered(question, ask, provenance),
            keep,
            workers=workers,
            is_first=is_first,
        )
    in_order = {each.id: rows[each.id] for each in questions}
    write_atomically(path, "".join(map(_line, in_order.values())))
    return AskedAll(in_order, n_anew=len(missing), n_cached=len(cached))


def _either(query_id: str, known: Mapping[str, Row], cached: Mapping[str, Row]) -> Row | None:
    return known.get(query_id) or cached.get(query_id)


def _cached(
    questions: Sequence[AnswerQuestion],
    known: Mapping[str, Row],
    cache: AnswerCache,
    config_hash: str,
) -> dict[str, Row]:
    """Of the questions that this run does not know yet, what others were answered, as if here."""
    found = {}
    for question in questions:
        if question.id not in known and (row := cache.get(question.key())) is not None:
            found[question.id] = {**row, "id": question.id, "config_hash": config_hash}
    return found


def set_aside_unreadable(out_dir: Path) -> int:
    """How many lines of `answers.jsonl` are no answers; they are kept beside it.

    A last line without its end is a run that was cut off, and not counted.
    """
    path = out_dir / ANSWERS_FILE
    unreadable = [line for line in _whole_lines(path) if line.strip() and _row(line) is None]
    if unreadable:
        with path.with_name(UNREADABLE_FILE).open("ab") as file:
            file.writelines(line + b"\n" for line in unreadable)
    return len(unreadable)


def _answered(
    question: AnswerQuestion, ask: Ask, provenance: Mapping[str, str]
) -> tuple[Row, RagError | None]:
    head = {"id": question.id, **provenance}
    try:
        row = {**head, **ask(question)}
    except RagError as error:
        return {**head, "question": question.text, "error": error.as_dict()}, error
    told = row.get("error")
    if not told:
        return row, None
    return row, BackendError(told["message"], code=told["code"], next_step=told["next_step"])


def _recalled(path: Path, config_hash: str) -> Iterator[Row]:
    """Answers that an earlier run with the same settings was given."""
    for line in _whole_lines(path):
        row = _row(line)
        if row is not None and row.get("config_hash") == config_hash and not row.get("error"):
            yield row


def _whole_lines(path: Path) -> list[bytes]:
    """None of a file that is not there."""
    return path.read_bytes().split(b"\n")[:-1] if path.exists() else []


def _row(line: bytes) -> Row | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) and isinstance(row.get("id"), str) else None


def _written(file: TextIO, row: Row) -> None:
    """At once: a run that is cut off later has it."""
    file.write(_line(row))
    file.flush()


def _line(row: Row) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"
