"""Figures over the answers of a run, each with its number of questions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from eval.answers.abstention import auc_interval, least_misled, roc
from eval.answers.judged import Decision, Judged
from eval.answers.match import KINDS
from eval.answers.refusals import abstention_accuracy, scores_over_both
from rag.types import Json

MOST_REFUSED = 0.15  # of the answerable questions, in the goal of docs/answers.md
_OUTCOMES = ("right_cited", "right", "wrong", "abstained")  # counted, not averaged


def answer_figures(
    answers: Sequence[Judged], unanswerable: Sequence[Decision], *, threshold: float
) -> Json:
    """All figures of a run, as `answer_measures.json` holds them.

    Args:
        answers: of questions with gold pages, at least one.
        unanswerable: questions that have no answer, without those that failed.
        threshold: with which all were asked.
    """
    answered = [each for each in answers if each.is_answered]
    return {
        "threshold": threshold,
        "headline": _headline(answers),
        "all": outcome_figures(answers),
        "by_kind": _grouped(
            [each for each in answers if each.kind], lambda each: str(each.kind), KINDS
        ),
        "by_scope": _grouped(answers, lambda each: each.scope),
        "by_type": _grouped(answers, lambda each: each.type),
        "by_group": _by_group(answers),
        "means": measure_means(answers),
        "wording": {
            "EM": _mean([each.values["EM"] for each in answers]),
            "F1": _mean([each.values["F1"] for each in answers]),
            "ANLS": _mean([each.values["ANLS"] for each in answers]),
        },
        "cited_pages": cited_pages(answers),
        "support": {
            "citation_precision": _mean([each.support[0] for each in answered if each.support]),
            "citation_recall": _mean([each.support[1] for each in answered if each.support]),
        },
        "confidence": {
            name: _mean(
                [
                    each.decision.score
                    for each in answered
                    if each.kind and each.is_right == is_right
                ]
            )
            for name, is_right in (("right", True), ("wrong", False))
        },
        "latency_ms": _latency(answers),
        "latency_by_stage_ms": _latency_by_stage(answers),
        "abstention_accuracy": abstention_accuracy(answers, unanswerable),
        "with_unanswerable": scores_over_both(answers, unanswerable),
        "abstention": _abstention(
            [each.decision for each in answers if not each.error], unanswerable
        ),
    }


def outcome_figures(answers: Sequence[Judged]) -> Json:
    """Numbers of questions, not shares: `n` asked, of which `counted` can be right or wrong.

    `right_cited` are part of `right`; `right`, `wrong`, `abstained` and `errors` are all of
    `counted`. `answered` is of all `n`.
    """
    outcomes = [each.outcome for each in answers if each.kind is not None]
    return {
        "n": len(answers),
        "answered": sum(each.is_answered for each in answers),
        "counted": len(outcomes),
        "right_cited": outcomes.count("right_cited"),
        "right": outcomes.count("right_cited") + outcomes.count("right"),
        "wrong": outcomes.count("wrong"),
        "abstained": outcomes.count("abstained"),
        "errors": outcomes.count("error"),
    }


def _grouped(
    answers: Sequence[Judged],
    group_of: Callable[[Judged], str],
    order: Sequence[str] = (),
) -> dict[str, Json]:
    groups: dict[str, list[Judged]] = {name: [] for name in order}
    for each in answers:
        groups.setdefault(group_of(each), []).append(each)
    names = [*order, *sorted(groups.keys() - set(order))]
    return {
        name: {**outcome_figures(groups[name]), "means": measure_means(groups[name])}
        for name in names
        if groups[name]
    }


def _by_group(answers: Sequence[Judged]) -> dict[str, dict[str, Json]]:
    """Dimension to value to figures, over the questions that have the dimension."""
    dimensions = sorted({dimension for each in answers for dimension in each.groups})
    return {
        dimension: _grouped(
            [each for each in answers if dimension in each.groups], _value_in(dimension)
        )
        for dimension in dimensions
    }


def _value_in(dimension: str) -> Callable[[Judged], str]:
    return lambda each: each.groups[dimension]


def measure_means(answers: Sequence[Judged]) -> dict[str, Json]:
    """Each measure over the questions it applies to: what is not answered counts 0, save in the
    pages, which are of answers with citations.
    """
    found: dict[str, list[float]] = {}
    for each in answers:
        scored = {name: value for name, value in each.values.items() if name not in _OUTCOMES}
        for name, value in {**scored, **each.page_values}.items():
            found.setdefault(name, []).append(value)
    return {name: _mean(values) for name, values in found.items()}


def _headline(answers: Sequence[Judged]) -> Json:
    counted = [each for each in answers if each.kind is not None]
    hits = sum(each.outcome == "right_cited" for each in counted)
    low, high = wilson(hits, len(counted))
    return {
        "right_cited": hits / len(counted) if counted else None,
        "low": low,
        "high": high,
        "n": len(counted),
    }


def wilson(hits: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a share; 0 to 1 of nothing.

    Source: Wilson 1927, Probable inference, the law of succession, and statistical inference.
    """
    if not n:
        return 0.0, 1.0
    z, share = 1.959964, hits / n
    middle = share + z * z / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    whole = 1 + z * z / n
    return max(0.0, (middle - half) / whole), min(1.0, (middle + half) / whole)


def cited_pages(answers: Sequence[Judged]) -> Json:
    """Of answers that cite any page: the share of cited pages that are gold (the mean over answers,
    and that of all pages together), and the share of gold pages that are cited.
    """
    citing = [each for each in answers if each.is_answered and each.n_cited]
    n_pages = sum(each.n_cited for each in citing)
    return {
        "precision": _mean([each.n_cited_gold / each.n_cited for each in citing]),
        "recall": _mean([each.recall for each in citing]),
        "precision_of_pages": {
            "value": sum(each.n_cited_gold for each in citing) / n_pages if n_pages else None,
            "n": n_pages,
        },
    }


def _mean(values: Sequence[float]) -> Json:
    return {"value": math.fsum(values) / len(values) if values else None, "n": len(values)}


def _latency(answers: Sequence[Judged]) -> Json:
    """Of the stage that answers, and of all that comes after the pages are found."""
    timed = [each.stage_ms for each in answers if "answer" in each.stage_ms]
    after = [stages["answer"] + stages.get("evidence", 0.0) for stages in timed]
    return {
        "answer": _percentiles([stages["answer"] for stages in timed]),
        "after_retrieval": _percentiles(after),
    }


def _latency_by_stage(answers: Sequence[Judged]) -> Json:
    """Of every stage that was timed, `total` too, over the questions that went through it."""
    times: dict[str, list[float]] = {}
    for each in answers:
        for stage, ms in each.stage_ms.items():
            times.setdefault(stage, []).append(ms)
    return {stage: _percentiles(times[stage]) for stage in times}


def _percentiles(times_ms: Sequence[float]) -> Json:
    return {
        "p50": float(np.percentile(times_ms, 50)) if times_ms else None,
        "p95": float(np.percentile(times_ms, 95)) if times_ms else None,
        "n": len(times_ms),
    }


def _abstention(answerable: Sequence[Decision], unanswerable: Sequence[Decision]) -> Json | None:
    """Which questions are refused; None where one side has no question that could be asked."""
    if not answerable or not unanswerable:
        return None
    scores = [[each.score for each in side] for side in (answerable, unanswerable)]
    curve = roc(*scores)
    low, high = auc_interval(*scores)
    best = least_misled(curve, answered=1 - MOST_REFUSED)
    return {
        "auc": curve.auc,
        "auc_low": low,
        "auc_high": high,
        "answerable": len(answerable),
        "refused": sum(not each.is_answered for each in answerable),
        "unanswerable": len(unanswerable),
        "abstained": sum(not each.is_answered for each in unanswerable),
        "most_refused": MOST_REFUSED,
        "abstained_at_most_refused": round((1 - best.misled) * len(unanswerable)),
        "threshold_at_most_refused": best.threshold if math.isfinite(best.threshold) else None,
        "points": [
            {
                # Infinity is no JSON: these two ends answer nothing, and everything.
                "threshold": point.threshold if math.isfinite(point.threshold) else None,
                "answered": point.answered,
                "misled": point.misled,
            }
            for point in curve.points
        ],
    }
