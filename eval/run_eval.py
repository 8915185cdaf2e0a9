"""Asks every question of a dataset; writes down what was found, how good it was, how long it took.

What is asked is handed in as a function: this module knows no index and no encoder.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np

from eval.datasets import Dataset, Query, Scope, no_question
from eval.measures import Values, mean, measure_queries
from eval.provenance import commit, config_hash, machine
from eval.runs import Hit, checked_hits, write_atomically, write_json_lines, write_run
from rag.errors import InputError


class Found(NamedTuple):
    """What a search gave: pages, best first, and what it says of itself, by code."""

    hits: Sequence[Hit]
    notices: Mapping[str, str] = {}


Search = Callable[[Query], Found]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Evaluation:
    """What `measures.json` and a line of the history hold.

    Attributes:
        by_type: question type to {"n": ..., measure: mean, ...}.
        latency_ms: {"p50": ..., "p95": ...} over the questions.
        refused: id to reason, for questions that the search would not take; they count as 0.
        notices: code of a notice to {"questions": how many had it, "message": as the first said}.
    """

    dataset: str
    dataset_digest: str
    scope: Scope
    n_questions: int
    measures: Values
    by_type: dict[str, dict[str, float]]
    latency_ms: dict[str, float]
    refused: dict[str, str]
    notices: dict[str, dict[str, Any]]
    encoder: str
    config_hash: str
    commit: str
    machine: dict[str, Any]
    finished_at: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class _Answered:
    hits: list[Hit]
    ms: float
    refusal: str = ""
    notices: dict[str, str] = field(default_factory=dict)

    def as_row(self, query_id: str) -> dict[str, Any]:
        return {
            "id": query_id,
            "ms": self.ms,
            "refusal": self.refusal,
            "notices": self.notices,
            "hits": self.hits,
        }


@dataclass
class _Journal:
    """`answered.jsonl`: a line with the config hash, then a line for each question once answered.

    A process that dies leaves at most one torn line, which is asked again.
    """

    path: Path
    config_hash: str
    answered: dict[str, _Answered] = field(default_factory=dict)

    def recall(self) -> None:
        """Take over what an earlier run with the same settings has answered."""
        if not self.path.exists():
            return
        header, *lines = self.path.read_text(encoding="utf-8").split("\n")
        if header != self._header():
            return
        for line in lines[:-1]:  # what follows the last line end is empty or torn
            row = json.loads(line)
            hits = [Hit(*hit) for hit in row["hits"]]
            notices = row.get("notices", {})  # lines of older runs have none
            self.answered[row["id"]] = _Answered(hits, row["ms"], row["refusal"], notices)

    def open(self) -> TextIO:
        """Open for more lines, behind what was recalled and nothing else."""
        lines = [json.dumps(row.as_row(query_id)) for query_id, row in self.answered.items()]
        write_atomically(self.path, "".join(f"{line}\n" for line in [self._header(), *lines]))
        return self.path.open("a", encoding="utf-8")

    def add(self, file: TextIO, query_id: str, answered: _Answered) -> None:
        self.answered[query_id] = answered
        file.write(json.dumps(answered.as_row(query_id)) + "\n")
        file.flush()

    def _header(self) -> str:
        return json.dumps({"config_hash": self.config_hash})


def evaluate(
    dataset: Dataset,
    search: Search,
    *,
    out_dir: Path,
    scope: Scope = "corpus",
    config: Mapping[str, Any] | None = None,
    encoder: str = "",
    progress: Progress | None = None,
    resume: bool = True,
    history_dir: Path | None = None,
    warm_up: int = 0,
) -> Evaluation:
    """Ask, measure, and write `run.tsv`, `per_query.jsonl` and `measures.json` to `out_dir`.

    Args:
        dataset: what to ask.
        search: question to pages, best first; called once for each, one at a time.
        out_dir: made if it is not there. Files of an earlier run are replaced.
        scope: which questions count; "document" strikes out other documents' pages in the measures,
            and `search` may use `query.doc` to leave them out from the start.
        config: everything that could change what is found, as JSON knows it. Answers of an earlier
            run are taken over only where it, the dataset, the scope and the encoder are the same.
        encoder: identity of the encoder.
        progress: called with (questions answered, questions in all).
        resume: whether to take over answers at all.
        history_dir: where `<dataset>.jsonl` gets a line, if any question was asked anew.
        warm_up: questions asked once more, before any is timed: models load, caches fill.

    Returns:
        The figures.

    Raises:
        InputError: the dataset has no question in this scope, or `search` gave hits that no run
            file can hold.

    An InputError that `search` raises is a refused question: it counts as 0 and is named in the
    result. Any other error stops the run; what was answered by then is kept for the next try.
    """
    queries = dataset.counted(scope)
    if not queries:
        raise no_question(dataset, scope)
    settings_hash = config_hash(
        {
            "config": dict(config or {}),
            "dataset": dataset.digest,
            "scope": scope,
            "encoder": encoder,
        }
    )
    out_dir.mkdir(parents=True, exist_ok=True)
    journal = _Journal(out_dir / "answered.jsonl", settings_hash)
    if resume:
        journal.recall()
    asked_anew = _ask(queries, search, journal, progress, warm_up)

    answered = {query.id: journal.answered[query.id] for query in queries}
    run = {query_id: row.hits for query_id, row in answered.items()}
    values = measure_queries(dataset, run, scope=scope)
    latencies_ms = [row.ms for row in answered.values()]
    evaluation = Evaluation(
        dataset=dataset.name,
        dataset_digest=dataset.digest,
        scope=scope,
        n_questions=len(queries),
        measures=mean(values.values()),
        by_type=_by_type(queries, values),
        latency_ms={
            "p50": round(float(np.percentile(latencies_ms, 50)), 2),
            "p95": round(float(np.percentile(latencies_ms, 95)), 2),
        },
        refused={query_id: row.refusal for query_id, row in answered.items() if row.refusal},
        notices=_noticed(answered.values()),
        encoder=encoder,
        config_hash=settings_hash,
        commit=commit(),
        machine=machine(),
        finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    write_run(out_dir / "run.tsv", run)
    write_json_lines(
        out_dir / "per_query.jsonl",
        (
            {"id": query.id, "type": query.type, "ms": answered[query.id].ms, **values[query.id]}
            for query in queries
        ),
    )
    write_atomically(
        out_dir / "measures.json", json.dumps(evaluation.as_dict(), indent=2, ensure_ascii=False)
    )
    if history_dir is not None and asked_anew:
        _append_to_history(history_dir, evaluation)
    return evaluation


def _ask(
    queries: Sequence[Query],
    search: Search,
    journal: _Journal,
    progress: Progress | None,
    warm_up: int,
) -> int:
    """Ask what the journal does not know; how many that were."""
    missing = [query for query in queries if query.id not in journal.answered]
    n_answered = len(queries) - len(missing)
    for query in missing[:warm_up]:
        with contextlib.suppress(InputError):
            search(query)
    with journal.open() as file:
        for query in missing:
            start = time.perf_counter()
            refusal = ""
            found = Found(())
            try:
                found = search(query)
            except InputError as error:
                refusal = error.message
            ms = round((time.perf_counter() - start) * 1e3, 3)
            hits = checked_hits(query.id, found.hits)
            journal.add(file, query.id, _Answered(hits, ms, refusal, dict(found.notices)))
            n_answered += 1
            if progress is not None:
                progress(n_answered, len(queries))
    return len(missing)


def _noticed(answered: Iterable[_Answered]) -> dict[str, dict[str, Any]]:
    noticed: dict[str, dict[str, Any]] = {}
    for each in answered:
        for code, message in each.notices.items():
            seen = noticed.setdefault(code, {"questions": 0, "message": message})
            seen["questions"] += 1
    return noticed


def _by_type(queries: Sequence[Query], values: Mapping[str, Values]) -> dict[str, dict[str, float]]:
    groups: dict[str, list[Values]] = {}
    for query in queries:
        groups.setdefault(query.type, []).append(values[query.id])
    return {name: {"n": len(groups[name]), **mean(groups[name])} for name in sorted(groups)}


def _append_to_history(folder: Path, evaluation: Evaluation) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    row = evaluation.as_dict()
    del row["by_type"]  # in measures.json; a history is read by eye
    with (folder / f"{evaluation.dataset}.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(row, ensure_ascii=False) + "\n")
