"""How well it is told apart which questions have an answer, and scores over both kinds."""

from __future__ import annotations

import math
from collections.abc import Sequence

from eval.answers.judged import Decision, Judged
from rag.types import Json


def abstention_accuracy(answers: Sequence[Judged], unanswerable: Sequence[Decision]) -> Json:
    """Answerable questions that are answered, others that are not, and the share of both; those
    that failed take no part.
    """
    asked = [each for each in answers if not each.error]
    answered = sum(each.is_answered for each in asked)
    abstained = sum(not each.is_answered for each in unanswerable)
    n = len(asked) + len(unanswerable)
    return {
        "value": (answered + abstained) / n if n else None,
        "n": n,
        "answerable": {"answered": answered, "n": len(asked)},
        "unanswerable": {"abstained": abstained, "n": len(unanswerable)},
    }


def scores_over_both(answers: Sequence[Judged], unanswerable: Sequence[Decision]) -> Json:
    """By measure that every answerable question has: accuracy and F1 over all questions.

    An unanswerable question that is refused scores 1. Precision is over the questions that were
    answered, recall over those that have an answer; their F1 is 0 where both are.

    Source: Ma et al. 2024, MMLongBench-Doc (arXiv:2407.01523), and its evaluation code.
    """
    if not answers:
        return {}
    names = [
        name
        for name in ("EM", *answers[0].rules)
        if name == "EM" or all(name in each.rules for each in answers)
    ]
    return {name: _over_both(name, answers, unanswerable) for name in names}


def _over_both(name: str, answers: Sequence[Judged], unanswerable: Sequence[Decision]) -> Json:
    score = math.fsum(each.values[name] for each in answers)
    refused = sum(not each.is_answered for each in unanswerable)
    n_answered = sum(each.is_answered for each in answers) + len(unanswerable) - refused
    precision = score / n_answered if n_answered else 0.0
    recall = score / len(answers)
    both = precision + recall
    return {
        "accuracy": (score + refused) / (len(answers) + len(unanswerable)),
        "precision": precision,
        "recall": recall,
        "F1": 2 * precision * recall / both if both else 0.0,
        "answerable": len(answers),
        "unanswerable": len(unanswerable),
    }
