"""How good a run is, question by question and on average. The arithmetic is trec_eval's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from eval.datasets import Dataset, PageKey, Query, Scope
from eval.runs import Hit, Run
from rag.errors import ConfigError

try:
    import ir_measures
    from ir_measures import RR, R, Success, nDCG
except ImportError as error:
    raise ConfigError(
        "measuring needs ir-measures, which is not installed",
        code="extra_missing",
        next_step='Install it: pip install "octavo[eval]".',
    ) from error

_MEASURES = {
    str(measure): measure
    for measure in (
        nDCG @ 5,
        nDCG @ 10,
        R @ 1,
        R @ 5,
        R @ 10,
        RR @ 10,
        Success @ 1,
        Success @ 5,
        Success @ 10,
    )
}
NAMES = tuple(_MEASURES)
Values = dict[str, float]


def measure_queries(dataset: Dataset, run: Run, *, scope: Scope) -> dict[str, Values]:
    """Every measure for every question that counts in this scope; 0 where nothing was found.

    Scope "document" strikes out hits outside the question's own document first, so it measures the
    choice of the page. For a question that any one gold page answers, R@k is Success@k: asking for
    the share of all gold pages would punish stopping at the first.
    """
    queries = dataset.counted(scope)
    grades = {
        query.id: {_key(page): grade for page, grade in dataset.qrels[query.id].items()}
        for query in queries
    }
    scores = {query.id: _rank_scores(query, run.get(query.id, ()), scope) for query in queries}
    values: dict[str, Values] = {query.id: {} for query in queries}
    for metric in ir_measures.iter_calc(list(_MEASURES.values()), grades, scores):
        values[metric.query_id][str(metric.measure)] = float(metric.value)
    for query in queries:
        if query.gold_mode == "any":
            for k in (1, 5, 10):
                values[query.id][f"R@{k}"] = values[query.id][f"Success@{k}"]
    return {query.id: {name: values[query.id][name] for name in NAMES} for query in queries}


def mean(values: Iterable[Mapping[str, float]]) -> Values:
    """Mean over questions; all 0 over none."""
    rows = list(values)
    return {name: sum(row[name] for row in rows) / max(1, len(rows)) for name in NAMES}


def _rank_scores(query: Query, hits: Sequence[Hit], scope: Scope) -> dict[str, float]:
    """Scores that fall by 1 with every rank.

    trec_eval sorts equal scores by page id, backwards: handed the search's own scores it would rank
    ties in an order that no user saw.
    """
    pages = [hit.page for hit in hits if scope == "corpus" or hit.doc == query.doc]
    return {_key(page): float(-rank) for rank, page in enumerate(pages)}


def _key(page: PageKey) -> str:
    return f"{page.doc}:{page.page_number}"
