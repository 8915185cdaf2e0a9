"""What answers are worth: right or wrong, by which pages, how sure; each figure with its number of
questions.

Answers are judged as they were given, with the threshold that was set: an answer model may take
another way below it, so that no threshold can be applied afterwards. The rules are written down for
people in docs/answers.md.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eval.abstention import auc_interval, least_misled, roc
from eval.answer_match import KINDS, Kind, anls, countable, exact_match, matches, token_f1
from eval.datasets import PageKey, Query

Json = dict[str, Any]

MOST_REFUSED = 0.15  # of the answerable questions, in the goal of docs/answers.md
_NEVER = -1.0  # below every threshold, which are from 0 to 1


@dataclass(frozen=True)
class Decision:
    """Whether a question was answered, and how sure.

    Attributes:
        score: the confidence; -1 where there would be no answer at any threshold.
    """

    score: float
    is_answered: bool


@dataclass(frozen=True)
class Judged:
    """One answerable question and what its answer is worth.

    Attributes:
        scope: the question's own.
        said: the short answer, which `gold` is held against.
        kind: of a gold answer that counts as right or wrong; None for others.
        error: code of why the question failed; empty where it did not.
        cites_gold: at least one cited page is a gold page.
        n_cited: pages cited, each once.
        recall: share of the gold pages that are cited; of a question that any one answers, 1 or 0.
        support: citation precision and recall as the checks found them; None without checks.
        stage_ms: time of each stage.
    """

    id: str
    type: str
    scope: str
    said: str
    gold: str
    kind: Kind | None
    decision: Decision
    error: str
    is_right: bool
    cites_gold: bool
    n_cited: int
    n_cited_gold: int
    recall: float
    exact: float
    f1: float
    anls: float
    support: tuple[float, float] | None
    stage_ms: Mapping[str, float]

    @property
    def is_answered(self) -> bool:
        return self.decision.is_answered

    @property
    def outcome(self) -> str:
        """`right_cited`, `right` (by no gold page), `wrong`, `abstained` or `error`."""
        if self.error:
            return "error"
        if not self.is_answered:
            return "abstained"
        if not self.is_right:
            return "wrong"
        return "right_cited" if self.cites_gold else "right"

    @property
    def values(self) -> dict[str, float]:
        """What two runs are compared by."""
        outcome, answered = self.outcome, float(self.is_answered)
        return {
            "right_cited": float(outcome == "right_cited"),
            "right": float(outcome in ("right_cited", "right")),
            "wrong": float(outcome == "wrong"),
            "abstained": float(outcome == "abstained"),
            "EM": self.exact * answered,
            "F1": self.f1 * answered,
            "ANLS": self.anls * answered,
        }


COMPARED = ("right_cited", "right", "wrong", "abstained", "EM", "F1", "ANLS")


def judge(
    query: Query, row: Mapping[str, Any], gold: Sequence[PageKey], *, threshold: float
) -> Judged:
    """An answer in the shape of `octavo ask --json`, asked for with this threshold."""
    said = said_of(row)
    cited = {
        PageKey(citation["source"], citation["page_number"])
        for citation in row.get("citations") or ()
    }
    hit = cited & set(gold)
    support = row.get("support")
    return Judged(
        id=query.id,
        type=query.type,
        scope=query.scope,
        said=said,
        gold=query.answer,
        kind=countable(query.answer),
        decision=decision_of(row, threshold),
        error=(row.get("error") or {}).get("code", ""),
        is_right=matches(said, query.answer, question=query.text),
        cites_gold=bool(hit),
        n_cited=len(cited),
        n_cited_gold=len(hit),
        recall=float(bool(hit)) if query.gold_mode == "any" else len(hit) / max(1, len(gold)),
        exact=exact_match(said, query.answer),
        f1=token_f1(said, query.answer),
        anls=anls(said, query.answer),
        support=support and (support["citation_precision"], support["citation_recall"]),
        stage_ms=row.get("timings_ms") or {},
    )


def said_of(row: Mapping[str, Any]) -> str:
    """The short answer, else all of the text without the markers of citations."""
    short = str(row.get("short") or "").strip()
    if short:
        return short
    text = re.sub(r"\s*\[\d+\]", "", str(row.get("answer") or "")).strip()
    return text.removesuffix(".")


def decision_of(row: Mapping[str, Any], threshold: float) -> Decision:
    """No threshold makes an answer of a failure, or of an abstention in spite of its confidence."""
    if row.get("error"):
        return Decision(_NEVER, is_answered=False)
    confidence, is_answered = float(row["confidence"]), not row["abstained"]
    # As it is told it is rounded: just below the threshold may read as at it.
    return Decision(confidence if is_answered or confidence <= threshold else _NEVER, is_answered)


# --- figures --------------------------------------------------------------------------------------
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
    return {name: outcome_figures(groups[name]) for name in names if groups[name]}


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
        name: {
            "p50": float(np.percentile(times, 50)) if times else None,
            "p95": float(np.percentile(times, 95)) if times else None,
            "n": len(times),
        }
        for name, times in (
            ("answer", [stages["answer"] for stages in timed]),
            ("after_retrieval", after),
        )
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
