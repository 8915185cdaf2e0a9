"""Answers to a whole dataset: asked, measured, written down."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from eval.answers.folds import THRESHOLDS, AnsweredAt, fold_answers
from eval.answers.judged import Judged, decision_of, judge
from eval.answers.measures import answer_figures
from eval.answers.roc_plot import roc_svg
from eval.answers.run import (
    UNREADABLE_FILE,
    AnswerQuestion,
    Ask,
    AskedAll,
    Progress,
    Row,
    answerable_queries,
    ask_all,
    gold_pages,
    questions_asked,
    set_aside_unreadable,
    unanswerable_asked,
)
from eval.answers.spending import Prices, spending
from eval.cache import QueryCache
from eval.datasets.folder import Dataset, Query, Scope
from eval.documents_read import DocumentsRead
from eval.folds import assign_folds, document_groups
from eval.provenance import commit, config_hash, machine
from eval.questions import QUESTIONS_FILE, write_questions
from eval.run_eval import indexed
from eval.runs import write_atomically, write_json_lines
from rag.types import Json

MEASURES_FILE = "answer_measures.json"
PER_QUERY_FILE = "answers_per_query.jsonl"
_TOO_LONG = frozenset({"by_type", "by_group", "config"})  # for a history; in the figures

AskAt = Callable[[float], Ask]


@dataclass(frozen=True)
class AnswerPlan:
    """Which questions are asked, and how.

    Attributes:
        threshold: an answer of less confidence is withheld.
        oracle_pages: answer from the gold pages, without a search.
        folds: of documents, over which a threshold is chosen; None is no folds.
        seed: of dealing documents to folds.
        by_name: documents whose names begin with the same word stay together.
    """

    scope: Scope
    threshold: float
    oracle_pages: bool = False
    limit: int | None = None
    folds: int | None = None
    seed: int = 0
    by_name: bool = False


@dataclass(frozen=True)
class AnsweredBy:
    """Who answers, with every setting that could change an answer; the threshold is the plan's.

    Attributes:
        index: of the pages searched, told in the result (documents, pages, digests, ...).
        seeds: of whatever draws, by name.
        code: version of the code (`code_version`); "" lets nothing be taken from other runs, as
            another code may answer otherwise.
        documents: of the dataset, as the index has them; None where nobody knows.
    """

    answerer: str
    encoder: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    index: Mapping[str, Any] = field(default_factory=dict)
    seeds: Mapping[str, int] = field(default_factory=dict)
    code: str = ""
    documents: DocumentsRead | None = None


@dataclass(frozen=True)
class Asking:
    """How the questions are put, which changes no answer.

    Attributes:
        workers: questions under way at a time.
        cache_dir: where answers of the same code to the same question with the same settings, over
            the same documents, are kept for other runs; None keeps none.
        prices: of the tokens; None tells no cost.
    """

    workers: int = 1
    cache_dir: Path | None = None
    prices: Prices | None = None


def deal(dataset: Dataset, plan: AnswerPlan) -> dict[str, int]:
    """Question to fold, those without an answer too; by document. None without folds.

    Raises:
        InputError: no question, or fewer groups of documents than folds.
    """
    groups = _groups(dataset, plan)
    return {} if plan.folds is None else assign_folds(groups, plan.folds, seed=plan.seed)


def _groups(dataset: Dataset, plan: AnswerPlan) -> dict[str, frozenset[str]]:
    """Question to the groups of documents that it is about."""
    group_of = document_groups(dataset, by_name=plan.by_name)
    about: dict[str, set[str]] = {}
    for query in answerable_queries(
        dataset, plan.scope, oracle_pages=plan.oracle_pages, limit=plan.limit
    ):
        docs = {page.doc for page in dataset.gold(query.id)}
        about[query.id] = docs | ({query.doc} if query.doc else set())
    if _asks_unanswerable(plan):
        about |= {each.id: {each.doc} for each in dataset.unanswerable[: plan.limit]}
    return {each: frozenset(group_of[doc] for doc in docs) for each, docs in about.items()}


def _asks_unanswerable(plan: AnswerPlan) -> bool:
    """In its document only: no gold page can be given, and another document may have an answer."""
    return plan.scope == "document" and not plan.oracle_pages


@dataclass(frozen=True)
class _Questions:
    """What is asked: questions with gold pages, and those that have no answer."""

    queries: Sequence[Query]
    with_answer: Sequence[AnswerQuestion]
    without: Sequence[AnswerQuestion]

    @classmethod
    def of(cls, dataset: Dataset, plan: AnswerPlan) -> _Questions:
        """Raises InputError where there is none."""
        queries = answerable_queries(
            dataset, plan.scope, oracle_pages=plan.oracle_pages, limit=plan.limit
        )
        return cls(
            queries,
            questions_asked(dataset, queries, plan.scope, oracle_pages=plan.oracle_pages),
            unanswerable_asked(dataset, limit=plan.limit) if _asks_unanswerable(plan) else [],
        )


@dataclass(frozen=True)
class _Asked:
    """All questions with one threshold: what was answered, and what that is worth."""

    at: AnsweredAt
    all: AskedAll
    config_hash: str
    n_unreadable: int

    @property
    def rows(self) -> dict[str, Row]:
        return self.all.rows


@dataclass(frozen=True)
class _Run:
    """A dataset on its way to its figures."""

    dataset: Dataset
    plan: AnswerPlan
    by: AnsweredBy
    asking: Asking
    ask_at: AskAt
    questions: _Questions
    commit: str
    progress: Progress

    def asked(self, threshold: float, folder: Path) -> _Asked:
        """Ask with this threshold, and keep the answers in `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        settings_hash = self._settings_hash(
            threshold,
            dataset=self.dataset.digest,
            scope=self.plan.scope,
            oracle_pages=self.plan.oracle_pages,
            filled=indexed(self.by.index),
        )
        n_unreadable = set_aside_unreadable(folder)
        with contextlib.ExitStack() as stack:
            found = ask_all(
                [*self.questions.with_answer, *self.questions.without],
                self.ask_at(threshold),
                out_dir=folder,
                config_hash=settings_hash,
                commit=self.commit,
                progress=self.progress,
                workers=self.asking.workers,
                cache=self._cache(threshold, stack),
            )
        return _Asked(self._judged(found.rows, threshold), found, settings_hash, n_unreadable)

    def _cache(self, threshold: float, stack: contextlib.ExitStack) -> QueryCache | None:
        documents = self.dataset.documents_digest
        if self.asking.cache_dir is None or not documents or not self.by.code:
            return None
        # What is asked stands in the key of each question; a limit or another dataset over the same
        # documents changes nothing.
        known_as = self._settings_hash(
            threshold, documents=documents, code=self.by.code, filled=indexed(self.by.index)
        )
        return stack.enter_context(QueryCache.open(self.asking.cache_dir, known_as))

    def _settings_hash(self, threshold: float, **about: Any) -> str:
        config = {"config": dict(self.by.config), "encoder": self.by.encoder}
        return config_hash({**config, "threshold": threshold, **about})

    def _judged(self, rows: Mapping[str, Row], threshold: float) -> AnsweredAt:
        return AnsweredAt(
            [
                judge(
                    query, rows[query.id], gold_pages(self.dataset, query.id), threshold=threshold
                )
                for query in self.questions.queries
            ],
            {
                each.id: decision_of(rows[each.id], threshold)
                for each in self.questions.without
                if not rows[each.id].get("error")
            },
        )

    def folded(self, as_set: _Asked, fold_of: Mapping[str, int], out_dir: Path) -> tuple[Json, int]:
        """Figures by fold, and how many lines of answers could not be read."""
        others = {
            threshold: self.asked(threshold, out_dir / "thresholds" / f"{threshold:g}")
            for threshold in THRESHOLDS
            if threshold != self.plan.threshold
        }
        at = {threshold: asked.at for threshold, asked in others.items()}
        figures = {
            **fold_answers(
                {**at, self.plan.threshold: as_set.at}, fold_of, threshold=self.plan.threshold
            ),
            "seed": self.plan.seed,
            "groups": len(frozenset().union(*_groups(self.dataset, self.plan).values())),
        }
        return figures, sum(asked.n_unreadable for asked in others.values())

    def figures(self, asked: _Asked) -> Json:
        """What `answer_measures.json` holds, without the folds."""
        origin = self.dataset.origin
        rows = asked.rows.values()
        return {
            "dataset": self.dataset.name,
            "dataset_digest": self.dataset.digest,
            "origin": None if origin is None else origin.model_dump(mode="json"),
            "scope": self.plan.scope,
            "pages": "gold" if self.plan.oracle_pages else "found",
            "answerer": self.by.answerer,
            "models": sorted({str(row["model_id"]) for row in rows if row.get("model_id")}),
            "encoder": self.by.encoder,
            "index": dict(self.by.index),
            "seeds": {"folds": self.plan.seed, **self.by.seeds},
            "config": dict(self.by.config),
            "config_hash": asked.config_hash,
            "n_questions": len(asked.at.answers),
            "n_unanswerable": len(self.questions.without),
            **answer_figures(
                asked.at.answers,
                list(asked.at.unanswerable.values()),
                threshold=self.plan.threshold,
            ),
            **spending(rows, self.asking.prices),
            "errors": _errors(rows),
            "notices": {**self._of_documents(), **_notices(rows), **self._images_not_shown()},
            "taken_over": {
                "answers": len(asked.rows) - asked.all.n_anew,
                "commits": _commits(rows),
            },
            "from_cache": asked.all.n_cached,
            "workers": self.asking.workers,
            "commit": self.commit,
            "machine": machine(),
            "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }

    def _of_documents(self) -> dict[str, Json]:
        documents = self.by.documents
        return {} if documents is None else documents.notices(self.dataset, self.questions.queries)

    def _images_not_shown(self) -> dict[str, Json]:
        n_images = sum(query.image is not None for query in self.questions.queries)
        if not n_images:
            return {}
        message = "the question has an image, and was asked with its text alone"
        return {"image_not_asked": {"questions": n_images, "message": message}}


def evaluate_answers(
    dataset: Dataset,
    ask_at: AskAt,
    plan: AnswerPlan,
    by: AnsweredBy,
    *,
    out_dir: Path,
    asking: Asking = Asking(),
    progress: Progress = lambda _done, _whole: None,
    history_dir: Path | None = None,
) -> Json:
    """Ask, judge, and write `answers.jsonl`, `questions.jsonl`, `answers_per_query.jsonl`,
    `answer_measures.json` and, where questions without an answer were asked, `roc.svg` to
    `out_dir`.

    Args:
        dataset: what to ask.
        ask_at: for a threshold, what takes one question to its answer in the shape of
            `octavo ask --json`; called in as many threads as `asking` has workers.
        plan: which questions, and how.
        by: who answers.
        out_dir: made if it is not there; answers of a run with the same settings are taken over.
        asking: how they are put.
        progress: called with (questions answered, questions in all).
        history_dir: where `<dataset>-answers.jsonl` gets a line, if any question was asked anew.

    Returns:
        What `answer_measures.json` holds.

    Raises:
        InputError: the dataset has no question in this scope, or too few documents for the folds.
        RagError: as `ask_all`.
    """
    questions = _Questions.of(dataset, plan)
    fold_of = deal(dataset, plan)
    run = _Run(dataset, plan, by, asking, ask_at, questions, commit(), progress)
    asked = run.asked(plan.threshold, out_dir)
    figures, n_unreadable = run.figures(asked), asked.n_unreadable
    if plan.folds is not None:
        figures["folds"], more = run.folded(asked, fold_of, out_dir)
        n_unreadable += more
    if n_unreadable:
        figures["notices"]["answers_unreadable"] = _unreadable(n_unreadable)
    write_questions(out_dir / QUESTIONS_FILE, dataset, questions.queries)
    write_json_lines(out_dir / PER_QUERY_FILE, map(_per_query, asked.at.answers))
    if figures["abstention"] is not None:
        write_atomically(out_dir / "roc.svg", roc_svg(figures))
    write_atomically(out_dir / MEASURES_FILE, json.dumps(figures, indent=2, ensure_ascii=False))
    if history_dir is not None and asked.all.n_anew:
        _append_to_history(history_dir, figures)
    return figures


def _per_query(each: Judged) -> Json:
    return {
        "id": each.id,
        "type": each.type,
        "scope": each.scope,
        "kind": each.kind,
        "said": each.said,
        "gold": each.gold,
        "outcome": each.outcome,
        "score": each.decision.score,
        "cites_gold": each.cites_gold,
        **each.values,
        **each.page_values,
    }


def _unreadable(n_lines: int) -> Json:
    return {
        "questions": n_lines,
        "message": "lines of answers.jsonl were no answers; their questions were asked again, "
        f"and the lines are in {UNREADABLE_FILE} beside it",
    }


def _commits(rows: Iterable[Row]) -> list[str]:
    """Of the code that answered, ascending: more than one where it was changed meanwhile."""
    return sorted({str(row["commit"]) for row in rows})


def _errors(rows: Iterable[Row]) -> dict[str, Json]:
    return _counted(row["error"] for row in rows if row.get("error"))


def _notices(rows: Iterable[Row]) -> dict[str, Json]:
    return _counted(notice for row in rows for notice in row.get("warnings") or ())


def _counted(found: Iterable[Mapping[str, str]]) -> dict[str, Json]:
    """By code: how many, and the first message."""
    counted: dict[str, Json] = {}
    for each in found:
        seen = counted.setdefault(each["code"], {"questions": 0, "message": each["message"]})
        seen["questions"] += 1
    return counted


def _append_to_history(folder: Path, figures: Json) -> None:
    """A line beside those of searches, in a file of its own; what is read by eye stays short."""
    folder.mkdir(parents=True, exist_ok=True)
    row = {name: value for name, value in figures.items() if name not in _TOO_LONG}
    if row["abstention"] is not None:
        row["abstention"] = {k: v for k, v in row["abstention"].items() if k != "points"}
    with (folder / f"{figures['dataset']}-answers.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(row, ensure_ascii=False) + "\n")
