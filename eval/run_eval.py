"""Asks every question of a dataset; writes down what was found, how good it was, how long it took.

What is asked is handed in as a function: this module knows no index and no encoder.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from eval.cache import QueryCache
from eval.datasets.folder import Dataset, Scope, no_question
from eval.documents_read import DocumentsRead
from eval.groups import TYPE, by_group
from eval.journal import Answered, Journal
from eval.latency import latency_ms
from eval.measures import ALL_NAMES, MEASURES_VERSION, NAMES, Values, mean, measure_queries
from eval.provenance import commit, config_hash, machine
from eval.questions import QUESTIONS_FILE, Question, question_of, write_questions
from eval.runs import Hit, checked_hits, write_atomically, write_json_lines, write_run
from rag.errors import InputError
from rag.types import Json


class Found(NamedTuple):
    """What a search gave: pages, best first, and what it says of itself, by code.

    `ms` is the time that counts where it is not that of the call: of what was searched before.
    """

    hits: Sequence[Hit]
    notices: Mapping[str, str] = {}
    ms: float | None = None


_TOO_LONG = frozenset({"by_type", "by_group", "further", "config"})  # for a history; in the figures
Search = Callable[[Question], Found]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Searched:
    """What is searched, and with what: all that could change what is found.

    Attributes:
        config: settings, as JSON knows them.
        encoder: its identity.
        index: of the pages searched (collection, documents, pages, digest of the documents, ...).
        seeds: of whatever draws, by name.
        workers: questions asked at a time.
        code: version of the code, which alone may take over what it has cached; "" caches nothing.
        documents: of the dataset, as the index has them; None where nobody knows.
    """

    config: Mapping[str, Any] = field(default_factory=dict)
    encoder: str = ""
    index: Mapping[str, Any] = field(default_factory=dict)
    seeds: Mapping[str, int] = field(default_factory=dict)
    workers: int = 1
    code: str = ""
    documents: DocumentsRead | None = None


@dataclass(frozen=True)
class Evaluation:
    """What `measures.json` and a line of the history hold.

    Attributes:
        by_type: question type to {"n": ..., measure: mean, ...}.
        by_group: the same by the other dimensions of the dataset (domain, language, ...).
        further: means of the measures that tables leave out.
        latency_ms: {"p50": ..., "p95": ...} over the questions.
        refused: id to reason, for questions that the search would not take; they count as 0.
        notices: code of a notice to {"questions": how many had it, "message": as the first said};
            of documents that could not be read, and of gold pages they lack, among them.
        origin: of a set that others published: source, revision, licence.
        index, seeds, config, workers: as `Searched`.
        taken_over: questions that an earlier run or the cache had answered; their times are of
            then.
        without_gold: questions of the scope that no page answers; they are in no figure.
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
    origin: Json | None = None
    index: Json = field(default_factory=dict)
    seeds: dict[str, int] = field(default_factory=dict)
    config: Json = field(default_factory=dict)
    workers: int = 1
    taken_over: int = 0
    without_gold: int = 0
    by_group: dict[str, dict[str, Values]] = field(default_factory=dict)
    further: Values = field(default_factory=dict)
    measures_version: int = MEASURES_VERSION

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def evaluate(
    dataset: Dataset,
    search: Search,
    *,
    out_dir: Path,
    scope: Scope = "corpus",
    searched: Searched = Searched(),
    progress: Progress | None = None,
    resume: bool = True,
    history_dir: Path | None = None,
    cache_dir: Path | None = None,
    warm_up: int = 0,
) -> Evaluation:
    """Ask, measure, and write `run.tsv`, `questions.jsonl`, `per_query.jsonl` and `measures.json`
    to `out_dir`.

    Args:
        dataset: what to ask.
        search: question to pages, best first; called once for each, `searched.workers` at a time.
            Of what the dataset knows it is told the text and the image, and in scope "document"
            the document.
        out_dir: made if it is not there. Files of an earlier run are replaced.
        scope: which questions count; "document" strikes out other documents' pages in the measures.
        searched: answers of an earlier run are taken over only where it, the dataset and the scope
            are the same; of the index, how much is in it.
        progress: called with (questions answered, questions in all).
        resume: whether to take over answers at all.
        history_dir: where `<dataset>.jsonl` gets a line, if any question was asked anew.
        cache_dir: where answers of the same code to the same question under the same settings, over
            the same documents, are kept for other runs; None keeps none.
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
    about = {"dataset": dataset.digest, "scope": scope}
    settings_hash = _settings_hash(searched, about)
    out_dir.mkdir(parents=True, exist_ok=True)
    filled = {"filled": indexed(searched.index)}
    journal = Journal(out_dir / "answered.jsonl", _settings_hash(searched, about | filled))
    if resume:
        journal.recall()
    asking = _Asking(
        [question_of(query, dataset, scope) for query in queries], search, journal, progress
    )
    with contextlib.ExitStack() as stack:
        documents, code = dataset.documents_digest, searched.code
        if resume and cache_dir is not None and documents and code:
            cached_as = _settings_hash(searched, {"documents": documents, "code": code, **filled})
            asking.cache = stack.enter_context(QueryCache.open(cache_dir, cached_as))
        taken_over = asking.take_over()
        asked_anew = asking.ask(warm_up=warm_up, workers=searched.workers)

    answered = {query.id: journal.answered[query.id] for query in queries}
    run = {query_id: row.hits for query_id, row in answered.items()}
    values = measure_queries(dataset, run, scope=scope)
    groups = by_group(queries, values)
    evaluation = Evaluation(
        dataset=dataset.name,
        dataset_digest=dataset.digest,
        scope=scope,
        n_questions=len(queries),
        measures=mean(values.values()),
        further=mean(values.values(), [name for name in ALL_NAMES if name not in NAMES]),
        measures_version=MEASURES_VERSION,
        by_type=groups.pop(TYPE),
        by_group=groups,
        latency_ms=latency_ms(row.ms for row in answered.values()),
        refused={query_id: row.refusal for query_id, row in answered.items() if row.refusal},
        notices={
            **(searched.documents.notices(dataset, queries) if searched.documents else {}),
            **_noticed(answered.values()),
        },
        encoder=searched.encoder,
        config_hash=settings_hash,
        commit=commit(),
        machine=machine(),
        finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
        origin=None if dataset.origin is None else dataset.origin.model_dump(mode="json"),
        index=dict(searched.index),
        seeds=dict(searched.seeds),
        config=dict(searched.config),
        workers=searched.workers,
        taken_over=taken_over,
        without_gold=len(dataset.without_gold(scope)),
    )
    write_run(out_dir / "run.tsv", run)
    write_questions(out_dir / QUESTIONS_FILE, dataset, queries)
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


def indexed(index: Mapping[str, Any]) -> Json:
    """What of an index could change what is found in it, besides settings and documents: a page
    that failed may be there the next time.
    """
    return {name: index.get(name) for name in ("documents", "pages", "identity")}


def _settings_hash(searched: Searched, about: Json) -> str:
    return config_hash({"config": dict(searched.config), "encoder": searched.encoder, **about})


@dataclass
class _Asking:
    """The questions of one run on their way into its journal."""

    questions: Sequence[Question]
    search: Search
    journal: Journal
    progress: Progress | None
    cache: QueryCache | None = None

    def take_over(self) -> int:
        """What the cache knows goes into the journal; how many questions need not be asked."""
        known = [each for each in self.questions if each.id in self.journal.answered]
        if self.cache is None:
            return len(known)
        found = 0
        for question in self.questions:
            row = self.cache.get(question.key())
            if row is not None and question.id not in self.journal.answered:
                self.journal.answered[question.id] = Answered.of_row(row)
                found += 1
        return len(known) + found

    def ask(self, *, warm_up: int, workers: int) -> int:
        """Ask what the journal does not know; how many that were."""
        missing = [each for each in self.questions if each.id not in self.journal.answered]
        for question in missing[:warm_up]:
            with contextlib.suppress(InputError):
                self.search(question)
        n_answered = len(self.questions) - len(missing)
        with self.journal.open() as file:
            for question, answered in self._answers(missing, workers):
                self.journal.add(file, question.id, answered)
                # A refusal may be mended by an encoder that is installed, without other settings.
                if self.cache is not None and not answered.refusal:
                    self.cache.put(question.key(), answered.as_row())
                n_answered += 1
                if self.progress is not None:
                    self.progress(n_answered, len(self.questions))
        return len(missing)

    def _answers(
        self, questions: Sequence[Question], workers: int
    ) -> Iterator[tuple[Question, Answered]]:
        """As they come; an error of any ends the rest."""
        if workers == 1:
            yield from ((each, self._answer(each)) for each in questions)
            return
        with ThreadPoolExecutor(workers, thread_name_prefix="asking") as pool:
            waiting = {pool.submit(self._answer, each): each for each in questions}
            try:
                for done in as_completed(waiting):
                    yield waiting[done], done.result()
            finally:
                for each in waiting:
                    each.cancel()

    def _answer(self, question: Question) -> Answered:
        start = time.perf_counter()
        refusal = ""
        found = Found(())
        try:
            found = self.search(question)
        except InputError as error:
            refusal = error.message
        ms = (time.perf_counter() - start) * 1e3 if found.ms is None else found.ms
        hits: list[Hit] = checked_hits(question.id, found.hits)
        return Answered(hits, round(ms, 3), refusal, dict(found.notices))


def _noticed(answered: Iterable[Answered]) -> dict[str, dict[str, Any]]:
    noticed: dict[str, dict[str, Any]] = {}
    for each in answered:
        for code, message in each.notices.items():
            seen = noticed.setdefault(code, {"questions": 0, "message": message})
            seen["questions"] += 1
    return noticed


def _append_to_history(folder: Path, evaluation: Evaluation) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    row = {name: value for name, value in evaluation.as_dict().items() if name not in _TOO_LONG}
    with (folder / f"{evaluation.dataset}.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(row, ensure_ascii=False) + "\n")
