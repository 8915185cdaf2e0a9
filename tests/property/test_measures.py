"""Measures are what pytrec_eval and ranx make of the same rankings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, NamedTuple

import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.datasets.folder import Dataset, PageKey, Query, Scope
from eval.measures import ALL_NAMES, measure_queries
from eval.runs import Hit, checked_hits
from eval.unidoc_measures import unidoc_values

# The names of ours that ranx has, by its own.
RANX = {
    **{f"nDCG@{k}": f"ndcg@{k}" for k in (5, 10)},
    **{f"nDCG_exp@{k}": f"ndcg_burges@{k}" for k in (5, 10)},
    **{f"R@{k}": f"recall@{k}" for k in (1, 2, 3, 5, 10, 20, 50, 100)},
    **{f"P@{k}": f"precision@{k}" for k in (1, 3, 5, 10)},
    **{"AP@5": "map@5", "AP@10": "map@10", "AP": "map@100", "RR@10": "mrr@10"},
    **{f"Success@{k}": f"hit_rate@{k}" for k in (1, 5, 10)},
}
TREC = {
    **{f"nDCG@{k}": f"ndcg_cut_{k}" for k in (5, 10)},
    **{f"R@{k}": f"recall_{k}" for k in (1, 2, 3, 5, 10, 20, 50, 100)},
    **{f"P@{k}": f"P_{k}" for k in (1, 3, 5, 10)},
    **{"AP@5": "map_cut_5", "AP@10": "map_cut_10", "AP": "map", "RR@10": "recip_rank"},
    **{f"Success@{k}": f"success_{k}" for k in (1, 5, 10)},
}


class World(NamedTuple):
    """Questions with graded pages, and what was found; some found nothing, some are missing."""

    dataset: Dataset
    run: dict[str, list[Hit]]

    def orders(self, scope: Scope) -> dict[str, list[str]]:
        """What is measured of each question, best first."""
        return {
            query.id: [
                f"{hit.doc}#{hit.page_number:03d}"
                for hit in self.run.get(query.id, [])
                if scope == "corpus" or hit.doc == query.doc
            ]
            for query in self.dataset.queries.values()
        }

    def grades(self) -> dict[str, dict[str, int]]:
        return {
            name: {f"{page.doc}#{page.page_number:03d}": grade for page, grade in gold.items()}
            for name, gold in self.dataset.qrels.items()
        }


DOCS = ("a.pdf", "b c.pdf", "é.pdf")
PAGES = st.builds(PageKey, st.sampled_from(DOCS), st.integers(1, 12))


@st.composite
def worlds(draw: st.DrawFn, mode: Literal["all", "any"] = "all") -> World:
    names = [f"q{number}" for number in range(draw(st.integers(1, 4)))]
    # A question without a page above grade 0 is not counted: there is nothing to hold equal.
    grades = st.dictionaries(PAGES, st.integers(0, 4), min_size=1, max_size=14)
    qrels = {name: draw(grades.filter(lambda gold: any(gold.values()))) for name in names}
    run: dict[str, list[Hit]] = {}
    for name in names:
        if draw(st.integers(0, 5)) == 0:
            continue
        # Gold pages twice in the bag, so that rankings are neither all right nor all wrong.
        pages = draw(
            st.lists(PAGES | st.sampled_from(sorted(qrels[name])), unique=True, max_size=30)
        )
        scores = sorted((draw(st.integers(0, 5)) / 3 for _ in pages), reverse=True)  # with ties
        hits = [Hit(*page, score) for page, score in zip(pages, scores, strict=True)]
        run[name] = checked_hits(name, hits)
    queries = [
        Query(id=name, text="?", answer="", type="t", doc=DOCS[0], gold_mode=mode) for name in names
    ]
    dataset = Dataset(
        name="world",
        folder=Path("world"),
        documents=DOCS,
        queries={query.id: query for query in queries},
        qrels=qrels,
        unanswerable=(),
        digest="",
    )
    return World(dataset, run)


SCOPES = st.sampled_from(["corpus", "document"])


@given(world=worlds(), scope=SCOPES)
def test_every_measure_of_trec_eval_is_what_pytrec_eval_says(world: World, scope: Scope) -> None:
    # A question without a result gets an empty entry; without, pytrec_eval leaves it out.
    falling = {
        name: {page: 1.0 / rank for rank, page in enumerate(order, start=1)}
        for name, order in world.orders(scope).items()
    }
    kinds = {"ndcg_cut.5,10", "recall.1,2,3,5,10,20,50,100", "P.1,3,5,10", "map_cut.5,10"}
    kinds |= {"map", "recip_rank", "success.1,5,10"}
    theirs = pytrec_eval.RelevanceEvaluator(world.grades(), kinds).evaluate(falling)
    ours = measure_queries(world.dataset, world.run, scope=scope)
    assert ours.keys() == world.dataset.queries.keys()
    for name, values in ours.items():
        wanted = {key: theirs[name][trec] for key, trec in TREC.items()}
        if wanted["RR@10"] < 1 / 10:
            wanted["RR@10"] = 0.0
        assert {key: values[key] for key in TREC} == pytest.approx(wanted, abs=1e-12)


@pytest.fixture(scope="module")
def ranx() -> Iterator[ModuleType]:
    """Without its compiler, which takes 35 s to be ready and these rankings are too small for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NUMBA_DISABLE_JIT", "1")
        import numba

        patch.setattr(numba.config, "DISABLE_JIT", 1)
        import ranx

        yield ranx


@settings(max_examples=60)
@given(world=worlds(), scope=SCOPES)
def test_every_measure_but_capped_recall_is_what_ranx_says(
    ranx: ModuleType, world: World, scope: Scope
) -> None:
    grades = {
        name: {page: grade for page, grade in gold.items() if grade > 0}
        for name, gold in world.grades().items()
    }
    orders = world.orders(scope)
    ours = measure_queries(world.dataset, world.run, scope=scope)
    for name, gold in grades.items():
        if not gold or not orders[name]:  # ranx takes neither
            assert set(ours[name].values()) == {0}
            continue
        falling = {page: 100.0 - rank for rank, page in enumerate(orders[name])}
        theirs = ranx.evaluate(
            ranx.Qrels({name: gold}), ranx.Run({name: falling}), list(RANX.values())
        )
        wanted = {key: float(theirs[other]) for key, other in RANX.items()}
        assert {key: ours[name][key] for key in RANX} == pytest.approx(wanted, abs=1e-9)


def test_all_measures_have_an_oracle() -> None:
    assert set(ALL_NAMES) == RANX.keys() | {"R_cap@10"}
    assert TREC.keys() == RANX.keys() - {"nDCG_exp@5", "nDCG_exp@10"}


@given(world=worlds(), scope=SCOPES)
def test_capped_recall_divides_by_what_could_be_shown(world: World, scope: Scope) -> None:
    for name, values in measure_queries(world.dataset, world.run, scope=scope).items():
        gold = {page for page, grade in world.grades()[name].items() if grade > 0}
        found = gold.intersection(world.orders(scope)[name][:10])
        wanted = len(found) / min(10, len(gold)) if gold else 0
        assert values["R_cap@10"] == pytest.approx(wanted)
        assert values["R@10"] <= values["R_cap@10"] <= 1


@given(world=worlds(), scope=SCOPES)
def test_only_the_order_counts_and_not_the_scores(world: World, scope: Scope) -> None:
    tied = {name: [hit._replace(score=1.0) for hit in hits] for name, hits in world.run.items()}
    assert measure_queries(world.dataset, tied, scope=scope) == measure_queries(
        world.dataset, world.run, scope=scope
    )


@given(world=worlds("any"), scope=SCOPES)
def test_where_any_page_is_enough_recall_is_success(world: World, scope: Scope) -> None:
    for name, values in measure_queries(world.dataset, world.run, scope=scope).items():
        gold = {page for page, grade in world.grades()[name].items() if grade > 0}
        for k in (1, 2, 3, 5, 10, 20, 50, 100):
            assert values[f"R@{k}"] == (not gold.isdisjoint(world.orders(scope)[name][:k]))
        assert values["R_cap@10"] == values["R@10"] == values["Success@10"]


@given(world=worlds())
def test_every_value_is_between_none_and_all(world: World) -> None:
    for values in measure_queries(world.dataset, world.run, scope="corpus").values():
        assert tuple(values) == ALL_NAMES
        assert all(0 <= value <= 1 + 1e-12 for value in values.values())
        recalls = [values[f"R@{k}"] for k in (1, 2, 3, 5, 10, 20, 50, 100)]
        assert recalls == sorted(recalls)


# --- UniDoc-Bench's own -------------------------------------------------------------------------
@given(hits=st.lists(PAGES, max_size=15), gold=st.sets(PAGES, min_size=1, max_size=8))
def test_their_recall_is_ours_and_their_ndcg_never_below_ours(
    hits: Sequence[PageKey], gold: set[PageKey]
) -> None:
    theirs = unidoc_values(hits, gold, k=10)
    query = Query(id="q", text="?", answer="", type="t")
    grades: Mapping[str, Any] = {"q": dict.fromkeys(gold, 1)}
    dataset = Dataset("w", Path("w"), DOCS, {"q": query}, grades, (), "")
    run = {"q": [Hit(*page, 0.0) for page in hits[:10]]}
    ours = measure_queries(dataset, run, scope="corpus")["q"]
    assert theirs["unidoc_R@10"] == pytest.approx(ours["R@10"])
    if len(set(hits[:10])) == len(hits[:10]):  # else ours closes up where a page is repeated
        assert theirs["unidoc_ndcg@10"] >= ours["nDCG@10"] - 1e-12
