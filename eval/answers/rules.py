"""Scores of an answer against its gold text by the rules that published sets rank systems by."""

from __future__ import annotations

from collections.abc import Callable

from eval.answers.list_match import list_exact_match, list_f1
from eval.answers.mmlongbench_rule import items_of, rule_score
from eval.datasets.folder import Query

Rule = Callable[[str, Query], dict[str, float]]


def rule_scores(said: str, query: Query) -> dict[str, float]:
    """Measure to value, of every rule that goes by what the question carries; none where none does.

    rule_score of questions with an answer format (MMLongBench-Doc); list_em and list_f1 too where
    that is List (MultimodalQA, M3DocVQA). Each is the best over the gold answers.

    Args:
        said: the short answer alone; lists as in Python or JSON.
        query: with its gold answers.
    """
    return {name: value for rule in _RULES for name, value in rule(said, query).items()}


def _mmlongbench(said: str, query: Query) -> dict[str, float]:
    form = query.answer_format
    if form is None:
        return {}
    return {"rule_score": max(rule_score(said, gold, form) for gold in _golds(query))}


def _multimodalqa(said: str, query: Query) -> dict[str, float]:
    if query.answer_format != "List":
        return {}
    given = items_of(said)
    golds = [items_of(gold) for gold in _golds(query)]
    return {
        "list_em": max(list_exact_match(given, gold) for gold in golds),
        "list_f1": max(list_f1(given, gold) for gold in golds),
    }


def _golds(query: Query) -> tuple[str, ...]:
    return (query.answer, *query.answers)


_RULES: tuple[Rule, ...] = (_mmlongbench, _multimodalqa)
