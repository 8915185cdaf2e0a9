"""One question and what its answer is worth: right or wrong, by which pages, how sure.

Answers are judged as they were given, with the threshold that was set: an answer model may take
another way below it, so that no threshold can be applied afterwards. The rules are written down for
people in docs/answers.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from eval.answers.match import Kind, anls, countable, exact_match, matches, token_f1
from eval.answers.numeric import numeric_match
from eval.answers.rules import rule_scores
from eval.datasets.folder import PageKey, Query

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
        is_right: it is the gold answer, or another one of the dataset's.
        cites_gold: at least one cited page is a gold page.
        n_cited: pages cited, each once.
        recall: share of the gold pages that are cited; of a question that any one answers, 1 or 0.
        exact, f1, anls: the best over all gold answers, and so are `numeric` and `rules`.
        support: citation precision and recall as the checks found them; None without checks.
        stage_ms: time of each stage.
        groups: dimension to value, as the dataset has them.
        numeric: exact equality of figures; None where no gold answer has any.
        rules: of published sets, by name.
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
    groups: Mapping[str, str] = field(default_factory=dict)
    numeric: float | None = None
    rules: Mapping[str, float] = field(default_factory=dict)

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
        """What two runs are compared by; of figures and rules only what applies."""
        outcome, answered = self.outcome, float(self.is_answered)
        figures = {} if self.numeric is None else {"numeric_match": self.numeric * answered}
        return {
            "right_cited": float(outcome == "right_cited"),
            "right": float(outcome in ("right_cited", "right")),
            "wrong": float(outcome == "wrong"),
            "abstained": float(outcome == "abstained"),
            "EM": self.exact * answered,
            "F1": self.f1 * answered,
            "ANLS": self.anls * answered,
            **figures,
            **{name: value * answered for name, value in self.rules.items()},
        }

    @property
    def page_values(self) -> dict[str, float]:
        """Of an answer with citations: cited pages that are gold, gold pages that are cited."""
        if not (self.is_answered and self.n_cited):
            return {}
        return {"page_precision": self.n_cited_gold / self.n_cited, "page_recall": self.recall}


COMPARED = ("right_cited", "right", "wrong", "abstained", "EM", "F1", "ANLS")


def judge(
    query: Query, row: Mapping[str, Any], gold: Sequence[PageKey], *, threshold: float
) -> Judged:
    """An answer in the shape of `octavo ask --json`, asked for with this threshold."""
    said = said_of(row)
    golds = (query.answer, *query.answers)
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
        is_right=any(matches(said, each, question=query.text) for each in golds),
        cites_gold=bool(hit),
        n_cited=len(cited),
        n_cited_gold=len(hit),
        recall=float(bool(hit)) if query.gold_mode == "any" else len(hit) / max(1, len(gold)),
        exact=_best(exact_match, said, golds),
        f1=_best(token_f1, said, golds),
        anls=_best(anls, said, golds),
        support=support and (support["citation_precision"], support["citation_recall"]),
        stage_ms=row.get("timings_ms") or {},
        groups=query.groups,
        numeric=_best_numeric(said, golds),
        rules=rule_scores(said, query),
    )


def _best(score: Callable[[str, str], float], said: str, golds: Sequence[str]) -> float:
    return max(score(said, gold) for gold in golds)


def _best_numeric(said: str, golds: Sequence[str]) -> float | None:
    scores = [score for gold in golds if (score := numeric_match(said, gold)) is not None]
    return max(scores, default=None)


def said_of(row: Mapping[str, Any]) -> str:
    """The short answer, else all of the text without the markers of citations."""
    short = str(row.get("short") or "").strip()
    return short or text_of(row).removesuffix(".")


def text_of(row: Mapping[str, Any]) -> str:
    """All of the answer without the markers of citations."""
    return re.sub(r"\s*\[\d+\]", "", str(row.get("answer") or "")).strip()


def decision_of(row: Mapping[str, Any], threshold: float) -> Decision:
    """No threshold makes an answer of a failure, or of an abstention in spite of its confidence."""
    if row.get("error"):
        return Decision(_NEVER, is_answered=False)
    confidence, is_answered = float(row["confidence"]), not row["abstained"]
    # As it is told it is rounded: just below the threshold may read as at it.
    return Decision(confidence if is_answered or confidence <= threshold else _NEVER, is_answered)
