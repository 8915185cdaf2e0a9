"""Answers to a whole dataset: asked, measured, written down."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from eval.answer_folds import THRESHOLDS, AnsweredAt, fold_answers
from eval.answer_measures import answer_figures, decision_of, judge
from eval.answer_run import (
    UNREADABLE_FILE,
    Ask,
    Progress,
    Row,
    answerable_queries,
    ask_all,
    gold_pages,
    questions_asked,
    set_aside_unreadable,
    unanswerable_asked,
)
from eval.datasets import Dataset, Scope
from eval.folds import assign_folds, document_groups
from eval.provenance import commit, config_hash, machine
from eval.roc_plot import roc_svg
from eval.runs import write_atomically, write_json_lines
from rag.types import Json

MEASURES_FILE = "answer_measures.json"
PER_QUERY_FILE = "answers_per_query.jsonl"

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
    """Who answers, with every setting that could change an answer; the threshold is the plan's."""

    answerer: str
    encoder: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)


def deal(dataset: Dataset, plan: AnswerPlan) -> dict[str, int]:
    """Question to fold, those without an answer too; by document.

    Raises:
        InputError: no question, or fewer groups of documents than folds.
    """
    if plan.folds is None:
        return {}
    return assign_folds(_groups(dataset, plan), plan.folds, seed=plan.seed)


def _groups(dataset: Dataset, plan: AnswerPlan) -> dict[str, frozenset[str]]:
    """Question to the groups of documents that it is about."""
    group_of = document_groups(dataset, by_name=plan.by_name)
    about: dict[str, set[str]] = {}
    for query in answerable_queries(
        dataset, plan.scope, oracle_pages=plan.oracle_pages, limit=plan.limit
    ):
        docs = {page.doc for page in dataset.qrels[query.id]}
        about[query.id] = docs | ({query.doc} if query.doc else set())
    if _asks_unanswerable(plan):
        about |= {each.id: {each.doc} for each in dataset.unanswerable[: plan.limit]}
    return {each: frozenset(group_of[doc] for doc in docs) for each, docs in about.items()}


def _asks_unanswerable(plan: AnswerPlan) -> bool:
    """In its document only: no gold page can be given, and another document may have an answer."""
    return plan.scope == "document" and not plan.oracle_pages


def evaluate_answers(
    dataset: Dataset,
    ask_at: AskAt,
    plan: AnswerPlan,
    by: AnsweredBy,
    *,
    out_dir: Path,
    progress: Progress = lambda _done, _whole: None,
    history_dir: Path | None = None,
) -> Json:
    """Ask, judge, and write `answers.jsonl`, `answers_per_query.jsonl`, `answer_measures.json` and,
    where questions without an answer were asked, `roc.svg` to `out_dir`.

    Args:
        dataset: what to ask.
        ask_at: for a threshold, what takes one question to its answer in the shape of
            `octavo ask --json`; called one at a time.
        plan: which questions, and how.
        by: who answers.
        out_dir: made if it is not there; answers of a run with the same settings are taken over.
        progress: called with (questions answered, questions in all).
        history_dir: where `<dataset>-answers.jsonl` gets a line, if any question was asked anew.

    Returns:
        What `answer_measures.json` holds.

    Raises:
        InputError: the dataset has no question in this scope, or too few documents for the folds.
        RagError: as `ask_all`.
    """
    queries = answerable_queries(
        dataset, plan.scope, oracle_pages=plan.oracle_pages, limit=plan.limit
    )
    fold_of = deal(dataset, plan)
    questions = questions_asked(dataset, queries, plan.scope, oracle_pages=plan.oracle_pages)
    without = unanswerable_asked(dataset, limit=plan.limit) if _asks_unanswerable(plan) else []
    head = {
        "dataset": dataset.name,
        "dataset_digest": dataset.digest,
        "scope": plan.scope,
        "pages": "gold" if plan.oracle_pages else "found",
        "answerer": by.answerer,
        "encoder": by.encoder,
    }
    now_at = commit()
    unreadable: list[int] = []

    def asked_at(threshold: float, folder: Path) -> tuple[AnsweredAt, dict[str, Row], str, int]:
        settings_hash = config_hash(
            {
                "config": dict(by.config),
                "dataset": dataset.digest,
                "scope": plan.scope,
                "oracle_pages": plan.oracle_pages,
                "threshold": threshold,
                "encoder": by.encoder,
            }
        )
        folder.mkdir(parents=True, exist_ok=True)
        unreadable.append(set_aside_unreadable(folder))
        rows, n_anew = ask_all(
            [*questions, *without],
            ask_at(threshold),
            out_dir=folder,
            config_hash=settings_hash,
            commit=now_at,
            progress=progress,
        )
        judged = [
            judge(query, rows[query.id], gold_pages(dataset, query.id), threshold=threshold)
            for query in queries
        ]
        decided = {
            each.id: decision_of(rows[each.id], threshold)
            for each in without
            if not rows[each.id].get("error")
        }
        return AnsweredAt(judged, decided), rows, settings_hash, n_anew

    as_set, rows, settings_hash, asked_anew = asked_at(plan.threshold, out_dir)
    answers = as_set.answers
    figures: Json = {
        **head,
        "config_hash": settings_hash,
        "n_questions": len(answers),
        "n_unanswerable": len(without),
        **answer_figures(answers, list(as_set.unanswerable.values()), threshold=plan.threshold),
        "errors": _errors(rows.values()),
        "notices": _notices(rows.values()),
        "taken_over": {"answers": len(rows) - asked_anew, "commits": _commits(rows.values())},
        "commit": now_at,
        "machine": machine(),
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    if plan.folds is not None:
        others = {
            threshold: asked_at(threshold, out_dir / "thresholds" / f"{threshold:g}")[0]
            for threshold in THRESHOLDS
            if threshold != plan.threshold
        }
        figures["folds"] = {
            **fold_answers({**others, plan.threshold: as_set}, fold_of, threshold=plan.threshold),
            "seed": plan.seed,
            "groups": len(frozenset().union(*_groups(dataset, plan).values())),
        }
    if n_unreadable := sum(unreadable):
        figures["notices"]["answers_unreadable"] = {
            "questions": n_unreadable,
            "message": "lines of answers.jsonl were no answers; their questions were asked again, "
            f"and the lines are in {UNREADABLE_FILE} beside it",
        }
    write_json_lines(
        out_dir / PER_QUERY_FILE,
        (
            {
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
            }
            for each in answers
        ),
    )
    if figures["abstention"] is not None:
        write_atomically(out_dir / "roc.svg", roc_svg(figures))
    write_atomically(out_dir / MEASURES_FILE, json.dumps(figures, indent=2, ensure_ascii=False))
    if history_dir is not None and asked_anew:
        _append_to_history(history_dir, figures)
    return figures


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
    row = {name: value for name, value in figures.items() if name != "by_type"}
    if row["abstention"] is not None:
        row["abstention"] = {k: v for k, v in row["abstention"].items() if k != "points"}
    with (folder / f"{figures['dataset']}-answers.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(row, ensure_ascii=False) + "\n")
