"""How good a run is, question by question and on average. The arithmetic is trec_eval's.

Two measures that trec_eval lacks are reckoned here: nDCG of exponential gains and capped recall.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from eval.datasets.folder import Dataset, PageKey, Query, Scope
from eval.runs import Hit, Run
from rag.errors import ConfigError

try:
    import ir_measures
    from ir_measures import AP, RR, P, R, Success, nDCG
except ImportError as error:
    raise ConfigError(
        "measuring needs ir-measures, which is not installed",
        code="extra_missing",
        next_step='Install it: pip install "octavo[eval]".',
    ) from error

# Goes up when a name comes to mean something else, for figures by two rules are not compared. A
# run that tells none was measured by 1; a measure that is only new leaves it as it is.
MEASURES_VERSION = 1

_RECALL_CUTOFFS = (1, 2, 3, 5, 10, 20, 50, 100)
_TREC_MEASURES = (
    *(nDCG @ k for k in (5, 10)),
    *(R @ k for k in _RECALL_CUTOFFS),
    *(P @ k for k in (1, 3, 5, 10)),
    AP @ 5,
    AP @ 10,
    AP,  # over the 100 pages that a run keeps
    RR @ 10,
    *(Success @ k for k in (1, 5, 10)),
)
_EXPONENTIAL = {"nDCG_exp@5": 5, "nDCG_exp@10": 10}
_CAPPED = {"R_cap@10": 10}
_ANY_IS_ENOUGH = (*(f"R@{k}" for k in _RECALL_CUTOFFS), *_CAPPED)

# What tables for people and the history hold.
NAMES = (
    *("nDCG@5", "nDCG@10"),
    *("R@1", "R@5", "R@10"),
    "RR@10",
    *("Success@1", "Success@5", "Success@10"),
)
# What is told of every question.
ALL_NAMES = (*(str(measure) for measure in _TREC_MEASURES), *_EXPONENTIAL, *_CAPPED)
Values = dict[str, float]


def measure_queries(dataset: Dataset, run: Run, *, scope: Scope) -> dict[str, Values]:
    """ALL_NAMES for every question that counts in this scope; 0 where nothing was found.

    Scope "document" strikes out hits outside the question's own document first, so it measures the
    choice of the page. Pages of grade 0 are no gold; higher grades gain more in nDCG alone.

    For a question that any one gold page answers, R@k is Success@k, and so is R_cap@k: asking for
    the share of all gold pages would punish stopping at the first. P, AP and nDCG have no such
    form and take all gold pages as they do elsewhere, so there they stay below 1 for a run that
    shows one of several; RR@10 and Success@k are the same for both kinds.
    """
    queries = dataset.counted(scope)
    grades = {
        query.id: {_key(page): grade for page, grade in dataset.qrels[query.id].items()}
        for query in queries
    }
    scores = {query.id: _rank_scores(query, run.get(query.id, ()), scope) for query in queries}
    values: dict[str, Values] = {query.id: {} for query in queries}
    # Every question is in `scores`: trec_eval forgets those that a run leaves out.
    for metric in ir_measures.iter_calc(list(_TREC_MEASURES), grades, scores):
        values[metric.query_id][str(metric.measure)] = float(metric.value)
    for query in queries:
        row, gold = values[query.id], grades[query.id]
        found = [gold.get(key, 0) for key in scores[query.id]]  # best first, as they were put in
        row |= {
            name: exponential_ndcg(found, gold.values(), k=k) for name, k in _EXPONENTIAL.items()
        }
        row |= {name: _capped_recall(found, gold.values(), k=k) for name, k in _CAPPED.items()}
        if query.gold_mode == "any":
            row |= {name: float(row[name] > 0) for name in _ANY_IS_ENOUGH}
    return {query.id: {name: values[query.id][name] for name in ALL_NAMES} for query in queries}


def mean(values: Iterable[Mapping[str, float]], names: Sequence[str] = NAMES) -> Values:
    """Mean over questions; all 0 over none."""
    rows = list(values)
    return {name: sum(row[name] for row in rows) / max(1, len(rows)) for name in names}


def exponential_ndcg(found: Sequence[int], gold: Iterable[int], *, k: int) -> float:
    """NDCG whose gain is 2^grade - 1, as `nDCG(dcg="exp-log2")` of ir-measures; 0 without gold.

    The same as the linear one where all grades are 0 or 1.

    Args:
        found: grade of each page found, best first.
        gold: grades of all pages that are graded.
        k: how many of the first pages count.

    Source: Burges et al. 2005, Learning to rank using gradient descent.
    """
    ideal = sorted((grade for grade in gold if grade > 0), reverse=True)[:k]
    if not ideal:
        return 0.0
    return _discounted(found[:k], ideal[0]) / _discounted(ideal, ideal[0])


def _discounted(grades: Sequence[int], highest: int) -> float:
    # In units of 2^highest, which no grade is too large for.
    return sum(
        (math.ldexp(1.0, grade - highest) - math.ldexp(1.0, -highest)) / math.log2(rank + 1)
        for rank, grade in enumerate(grades, start=1)
        if grade > 0
    )


def _capped_recall(found: Sequence[int], gold: Iterable[int], *, k: int) -> float:
    n_gold = sum(grade > 0 for grade in gold)
    return sum(grade > 0 for grade in found[:k]) / max(1, min(k, n_gold))


def _rank_scores(query: Query, hits: Sequence[Hit], scope: Scope) -> dict[str, float]:
    """Scores that fall by 1 with every rank, best first.

    trec_eval sorts equal scores by page id, backwards: handed the search's own scores it would rank
    ties in an order that no user saw.
    """
    pages = [hit.page for hit in hits if scope == "corpus" or hit.doc == query.doc]
    return {_key(page): float(-rank) for rank, page in enumerate(dict.fromkeys(pages))}


def _key(page: PageKey) -> str:
    return f"{page.doc}:{page.page_number}"
