import importlib.util
import random
from pathlib import Path
from types import ModuleType

import pytest
from tiny_datasets import dataset, hits, query

from eval.datasets.folder import PageKey, Scope, load_dataset
from eval.measures import ALL_NAMES, NAMES, exponential_ndcg, mean, measure_queries
from eval.runs import Hit, read_run, write_run


# --- measures -----------------------------------------------------------------------------------
def test_values_that_can_be_checked_by_hand() -> None:
    one = dataset({"q": {("a.pdf", 1): 1, ("a.pdf", 2): 1}}, [query("q")])
    values = measure_queries(one, {"q": hits(9, 1, 8, 7, 6, 2)}, scope="corpus")["q"]
    assert tuple(values) == ALL_NAMES
    assert set(NAMES) < set(ALL_NAMES)
    assert values["R@1"] == 0
    assert values["R@5"] == 0.5
    assert values["R@10"] == 1
    assert values["RR@10"] == 0.5
    assert values["Success@1"] == 0
    assert values["Success@5"] == 1
    # Gains at ranks 2 and 6 over an ideal list with gains at ranks 1 and 2.
    assert values["nDCG@5"] == pytest.approx(0.63093 / 1.63093, abs=1e-5)
    assert values["nDCG@10"] == pytest.approx((0.63093 + 0.35621) / 1.63093, abs=1e-5)
    assert [values[f"R@{k}"] for k in (2, 3, 20, 50, 100)] == [0.5, 0.5, 1, 1, 1]
    assert [values[f"P@{k}"] for k in (1, 3, 5, 10)] == pytest.approx([0, 1 / 3, 0.2, 0.2])
    assert values["AP@5"] == pytest.approx((1 / 2) / 2)  # of both gold pages, not of those found
    assert values["AP@10"] == values["AP"] == pytest.approx((1 / 2 + 2 / 6) / 2)
    assert values["nDCG_exp@10"] == pytest.approx(values["nDCG@10"])  # grades of 0 and 1
    assert values["R_cap@10"] == 1


def test_graded_gold_pages_gain_in_proportion() -> None:
    graded = dataset({"q": {("a.pdf", 1): 2, ("a.pdf", 2): 1, ("a.pdf", 3): 1}}, [query("q")])
    value = measure_queries(graded, {"q": hits(2, 9, 1)}, scope="corpus")["q"]
    assert value["nDCG@5"] == pytest.approx(0.63879, abs=1e-5)
    assert value["nDCG_exp@5"] == pytest.approx(0.60519, abs=1e-5)


def test_grades_of_any_size_gain_without_overflow() -> None:
    assert exponential_ndcg([5000], [5000, 1], k=5) == pytest.approx(1)
    assert exponential_ndcg([0, 5000], [5000], k=5) == pytest.approx(0.63093, abs=1e-5)
    assert exponential_ndcg([], [1], k=5) == 0


def test_pages_of_grade_zero_are_no_gold() -> None:
    gold = {("a.pdf", 1): 1, ("a.pdf", 2): 0}
    one = dataset({"q": gold, "p": {("a.pdf", 1): 0}}, [query("q"), query("p")])
    values = measure_queries(one, {"q": hits(2, 1), "p": hits(1)}, scope="corpus")
    assert values.keys() == {"q"}  # whatever is found for the other would count as 0
    assert values["q"]["R@1"] == values["q"]["P@1"] == values["q"]["Success@1"] == 0
    assert values["q"]["R@2"] == values["q"]["R_cap@10"] == 1
    assert values["q"]["nDCG@5"] == values["q"]["nDCG_exp@5"] == pytest.approx(0.63093, abs=1e-5)


def test_capped_recall_reaches_one_with_more_gold_pages_than_places() -> None:
    many = dataset({"q": {("a.pdf", page): 1 for page in range(1, 21)}}, [query("q")])
    values = measure_queries(many, {"q": hits(*range(1, 11))}, scope="corpus")["q"]
    assert (values["R@10"], values["R_cap@10"]) == (0.5, 1)


def test_a_question_without_hits_counts_as_zero() -> None:
    two = dataset({"q": {("a.pdf", 1): 1}, "p": {("a.pdf", 1): 1}}, [query("q"), query("p")])
    for run in ({"q": hits(1)}, {"q": hits(1), "p": []}):
        values = measure_queries(two, run, scope="corpus")
        assert values["p"] == dict.fromkeys(ALL_NAMES, 0.0)
        assert mean(values.values()) == dict.fromkeys(NAMES, 0.5)
        assert tuple(mean(values.values(), ALL_NAMES)) == ALL_NAMES
    for run in ({}, {"q": []}):
        assert measure_queries(two, run, scope="corpus")["q"] == dict.fromkeys(ALL_NAMES, 0.0)


def test_any_one_of_several_gold_pages_is_enough_where_the_question_says_so() -> None:
    gold = {("a.pdf", 1): 1, ("a.pdf", 2): 1}
    both = dataset({"all": gold, "any": gold}, [query("all"), query("any", gold_mode="any")])
    values = measure_queries(both, {"all": hits(3, 1), "any": hits(3, 1)}, scope="corpus")
    for name in ("R@2", "R@5", "R@100", "R_cap@10"):
        assert (values["all"][name], values["any"][name]) == (0.5, 1)
    assert values["any"]["R@1"] == 0
    # These have no form for it, and stay as they are.
    for name in ("nDCG@5", "nDCG_exp@5", "AP", "P@5", "RR@10", "Success@5"):
        assert 0 < values["all"][name] == values["any"][name]


def test_ties_keep_the_order_in_which_they_were_shown() -> None:
    one = dataset({"q": {("a.pdf", 1): 1}}, [query("q")])
    tied = [Hit("a.pdf", 1, 3.0), Hit("a.pdf", 2, 3.0), Hit("a.pdf", 3, 3.0)]
    assert measure_queries(one, {"q": tied}, scope="corpus")["q"]["RR@10"] == 1
    assert measure_queries(one, {"q": tied[::-1]}, scope="corpus")["q"]["RR@10"] == 1 / 3


def test_a_page_found_twice_stands_where_it_was_found_first() -> None:
    one = dataset({"q": {("a.pdf", 1): 1}}, [query("q")])
    values = measure_queries(one, {"q": hits(1, 2, 1)}, scope="corpus")["q"]
    assert (values["RR@10"], values["P@3"]) == (1, pytest.approx(1 / 3))


def test_document_scope_strikes_out_other_documents_and_counts_every_question() -> None:
    gold = {("a.pdf", 1): 1}
    both = dataset({"q": gold, "p": gold}, [query("q", scope="document"), query("p")])
    found = [Hit("b.pdf", 1, 2.0), Hit("a.pdf", 1, 1.0)]
    run = {"q": found, "p": found}
    assert measure_queries(both, run, scope="document").keys() == {"q", "p"}
    assert measure_queries(both, run, scope="document")["p"]["RR@10"] == 1
    assert measure_queries(both, run, scope="corpus").keys() == {"p"}
    assert measure_queries(both, run, scope="corpus")["p"]["RR@10"] == 0.5


def test_the_mean_over_no_questions_is_zero() -> None:
    assert mean([]) == dict.fromkeys(NAMES, 0.0)


@pytest.fixture(scope="session")
def scorer(devset: Path) -> ModuleType:
    """The scorer that comes with the development collections."""
    path = devset.parents[1] / "score.py"
    if not path.is_file():
        pytest.skip("no score.py beside the development collections")
    spec = importlib.util.spec_from_file_location("scorer", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.devset
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # the scorer leaves its run file open
@pytest.mark.parametrize("scope", ["corpus", "document"])
@pytest.mark.parametrize("name", ["finance", "visual"])
def test_measures_equal_those_of_the_collections_own_scorer(
    devset: Path, scorer: ModuleType, tmp_path: Path, name: str, scope: Scope
) -> None:
    collection = load_dataset(devset / name)
    rng = random.Random(5)
    run: dict[str, list[Hit]] = {}
    for query_id, gold in list(collection.qrels.items())[:-3]:  # three questions without results
        pages = {PageKey(rng.choice(collection.documents), rng.randint(1, 60)) for _ in range(15)}
        pages |= {page for page in gold if rng.random() < 0.7}
        ranked = sorted(pages)
        rng.shuffle(ranked)
        scores = sorted((rng.randint(0, 8) / 3 for _ in ranked), reverse=True)  # with ties
        run[query_id] = [Hit(*page, score) for page, score in zip(ranked, scores, strict=True)]
    write_run(tmp_path / "run.tsv", run)

    values = measure_queries(collection, run, scope=scope)
    queries, qrels = scorer.load_collection(devset / name)
    theirs, averages, n_questions = scorer.evaluate(
        queries, qrels, scorer.load_run(tmp_path / "run.tsv"), scope
    )
    names = {"RR@10": "MRR@10"} | {f"Success@{k}": f"S@{k}" for k in (1, 5, 10)}
    assert len(values) == n_questions
    for query_id, ours in values.items():
        of_both = {key: ours[key] for key in NAMES}
        assert of_both == {key: theirs[query_id][names.get(key, key)] for key in NAMES}
    assert mean(values.values()) == {key: averages[names.get(key, key)] for key in NAMES}
    assert mean(values.values())["nDCG@5"] > 0.1
    assert read_run(tmp_path / "run.tsv") == run


# --- run files ----------------------------------------------------------------------------------
