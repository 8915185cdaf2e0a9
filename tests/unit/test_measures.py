import importlib.util
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from eval.datasets import Dataset, PageKey, Query, Scope, load_dataset
from eval.measures import NAMES, mean, measure_queries
from eval.report import evaluation_report
from eval.run_eval import Evaluation, Found, evaluate
from eval.runs import Hit, checked_hits, read_json, read_json_lines, read_run, write_run
from rag.errors import BackendError, InputError


def query(query_id: str, **fields: Any) -> Query:
    return Query.model_validate(
        {"id": query_id, "text": "?", "answer": "", "type": "plain", "doc": "a.pdf"} | fields
    )


def dataset(qrels: dict[str, dict[tuple[str, int], int]], queries: Sequence[Query]) -> Dataset:
    return Dataset(
        name="tiny",
        folder=Path("tiny"),
        documents=("a.pdf", "b.pdf"),
        queries={each.id: each for each in queries},
        qrels={
            key: {PageKey(*page): grade for page, grade in grades.items()}
            for key, grades in qrels.items()
        },
        unanswerable=(),
        digest="0" * 64,
    )


def hits(*pages: int, doc: str = "a.pdf") -> list[Hit]:
    return [Hit(doc, page, float(-rank)) for rank, page in enumerate(pages)]


# --- measures -----------------------------------------------------------------------------------
def test_values_that_can_be_checked_by_hand() -> None:
    one = dataset({"q": {("a.pdf", 1): 1, ("a.pdf", 2): 1}}, [query("q")])
    values = measure_queries(one, {"q": hits(9, 1, 8, 7, 6, 2)}, scope="corpus")["q"]
    assert tuple(values) == NAMES
    assert values["R@1"] == 0
    assert values["R@5"] == 0.5
    assert values["R@10"] == 1
    assert values["RR@10"] == 0.5
    assert values["Success@1"] == 0
    assert values["Success@5"] == 1
    # Gains at ranks 2 and 6 over an ideal list with gains at ranks 1 and 2.
    assert values["nDCG@5"] == pytest.approx(0.63093 / 1.63093, abs=1e-5)
    assert values["nDCG@10"] == pytest.approx((0.63093 + 0.35621) / 1.63093, abs=1e-5)


def test_graded_gold_pages_gain_in_proportion() -> None:
    graded = dataset({"q": {("a.pdf", 1): 2, ("a.pdf", 2): 1, ("a.pdf", 3): 1}}, [query("q")])
    value = measure_queries(graded, {"q": hits(2, 9, 1)}, scope="corpus")["q"]["nDCG@5"]
    assert value == pytest.approx(0.63879, abs=1e-5)


def test_a_question_without_hits_counts_as_zero() -> None:
    two = dataset({"q": {("a.pdf", 1): 1}, "p": {("a.pdf", 1): 1}}, [query("q"), query("p")])
    for run in ({"q": hits(1)}, {"q": hits(1), "p": []}):
        values = measure_queries(two, run, scope="corpus")
        assert values["p"] == dict.fromkeys(NAMES, 0.0)
        assert mean(values.values()) == dict.fromkeys(NAMES, 0.5)
    for run in ({}, {"q": []}):
        assert measure_queries(two, run, scope="corpus")["q"] == dict.fromkeys(NAMES, 0.0)


def test_any_one_of_several_gold_pages_is_enough_where_the_question_says_so() -> None:
    gold = {("a.pdf", 1): 1, ("a.pdf", 2): 1}
    both = dataset({"all": gold, "any": gold}, [query("all"), query("any", gold_mode="any")])
    values = measure_queries(both, {"all": hits(1), "any": hits(1)}, scope="corpus")
    assert values["all"]["R@5"] == 0.5
    assert values["any"]["R@5"] == 1


def test_ties_keep_the_order_in_which_they_were_shown() -> None:
    one = dataset({"q": {("a.pdf", 1): 1}}, [query("q")])
    tied = [Hit("a.pdf", 1, 3.0), Hit("a.pdf", 2, 3.0), Hit("a.pdf", 3, 3.0)]
    assert measure_queries(one, {"q": tied}, scope="corpus")["q"]["RR@10"] == 1
    assert measure_queries(one, {"q": tied[::-1]}, scope="corpus")["q"]["RR@10"] == 1 / 3


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
        assert ours == {key: theirs[query_id][names.get(key, key)] for key in NAMES}
    assert mean(values.values()) == {key: averages[names.get(key, key)] for key in NAMES}
    assert mean(values.values())["nDCG@5"] > 0.1
    assert read_run(tmp_path / "run.tsv") == run


# --- run files ----------------------------------------------------------------------------------
def test_a_run_file_holds_hits_in_order_with_their_very_scores(tmp_path: Path) -> None:
    run = {"q": [Hit("a b.pdf", 3, 1 / 3), Hit("c.pdf", 1, -2e-9)], "p": hits(1)}
    write_run(tmp_path / "run.tsv", run)
    first = (tmp_path / "run.tsv").read_text().split("\n")[0]
    assert first == f"q\ta b.pdf\t3\t1\t{1 / 3!r}"
    assert read_run(tmp_path / "run.tsv") == run
    assert [file.name for file in tmp_path.iterdir()] == ["run.tsv"]


def test_lines_of_a_run_file_are_ranked_by_score_then_rank(tmp_path: Path) -> None:
    (tmp_path / "run.tsv").write_text("q\ta\t1\t3\t1.0\nq\ta\t2\t2\t1.0\n\nq\ta\t3\t9\t2.0\n")
    assert [hit.page_number for hit in read_run(tmp_path / "run.tsv")["q"]] == [3, 2, 1]


@pytest.mark.parametrize("line", ["q\ta\t1\t1", "q\ta\tx\t1\t1.0", "q\ta\t1\t1\tx"])
def test_a_wrong_line_of_a_run_file_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "run.tsv").write_text(f"q\ta\t1\t1\t1.0\n{line}\n")
    with pytest.raises(InputError, match=r"run.tsv line 2"):
        read_run(tmp_path / "run.tsv")


def test_a_run_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"run.tsv cannot be read"):
        read_run(tmp_path / "run.tsv")


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ([Hit("a.pdf", 1, 1.0), Hit("a.pdf", 2, 1.5)], "score 1.5 is above 1.0"),
        ([Hit("a.pdf", 1, 1.0), Hit("a.pdf", 1, 0.5)], "found already"),
        ([Hit("a.pdf", 1, float("nan"))], "not finite"),
        ([Hit("a.pdf", 1, float("-inf"))], "not finite"),
    ],
)
def test_hits_that_a_run_file_cannot_hold_are_refused(found: list[Hit], message: str) -> None:
    with pytest.raises(InputError, match=message):
        checked_hits("q", found)


def test_a_run_keeps_the_first_hundred_hits() -> None:
    assert checked_hits("q", hits(*range(1, 150))) == hits(*range(1, 101))


# --- evaluations --------------------------------------------------------------------------------
GOLD = {
    "q1": {("a.pdf", 1): 1},
    "q2": {("a.pdf", 2): 1},
    "q3": {("a.pdf", 3): 1},
}
QUESTIONS = [query("q1", type="easy"), query("q2", type="hard"), query("q3", type="hard")]
TINY = dataset(GOLD, QUESTIONS)


class Searcher:
    """Finds page 1 then 2 for everything; remembers what it was asked."""

    def __init__(self, error_at: str = "", error: Exception | None = None) -> None:
        self.asked: list[str] = []
        self._error_at, self._error = error_at, error
        self.notices: dict[str, dict[str, str]] = {}  # by question

    def __call__(self, question: Query) -> Found:
        self.asked.append(question.id)
        if question.id == self._error_at and self._error is not None:
            raise self._error
        return Found(hits(1, 2), self.notices.get(question.id, {}))


Evaluate = Callable[..., Evaluation]


@pytest.fixture
def run(tmp_path: Path) -> Evaluate:
    def run(search: Searcher, **changes: Any) -> Evaluation:
        options: dict[str, Any] = {"out_dir": tmp_path / "out", "encoder": "fake@1"}
        return evaluate(changes.pop("collection", TINY), search, **(options | changes))

    return run


def test_an_evaluation_measures_by_type_and_writes_its_files(run: Evaluate, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    found = run(Searcher(), progress=lambda *step: steps.append(step), history_dir=tmp_path / "h")
    assert found.measures["RR@10"] == pytest.approx((1 + 0.5 + 0) / 3)
    assert found.by_type["easy"]["Success@1"] == 1
    assert found.by_type["hard"]["RR@10"] == 0.25
    assert found.by_type["hard"]["n"] == 2
    assert 0 <= found.latency_ms["p50"] <= found.latency_ms["p95"]
    assert steps == [(1, 3), (2, 3), (3, 3)]

    out = tmp_path / "out"
    assert read_run(out / "run.tsv") == {key: hits(1, 2) for key in GOLD}
    assert read_json(out / "measures.json") == found.as_dict()
    rows = read_json_lines(out / "per_query.jsonl")
    assert [(row["id"], row["type"], row["RR@10"]) for row in rows] == [
        ("q1", "easy", 1),
        ("q2", "hard", 0.5),
        ("q3", "hard", 0),
    ]
    (line,) = read_json_lines(tmp_path / "h" / "tiny.jsonl")
    assert line["measures"] == found.measures
    assert line["encoder"] == "fake@1"
    assert line["dataset_digest"] == TINY.digest
    assert line["machine"]["cores"] >= 1


def test_a_stopped_run_goes_on_where_it_stopped(run: Evaluate, tmp_path: Path) -> None:
    with pytest.raises(BackendError):
        run(Searcher("q3", BackendError("gone")))
    again = Searcher()
    assert run(again).n_questions == 3
    assert again.asked == ["q3"]


def test_a_torn_line_is_asked_again(run: Evaluate, tmp_path: Path) -> None:
    run(Searcher())
    journal = tmp_path / "out" / "answered.jsonl"
    journal.write_bytes(journal.read_bytes()[:-5])
    again = Searcher()
    first = run(again)
    assert again.asked == ["q3"]
    assert first.measures == run(Searcher()).measures


def test_a_finished_run_asks_nothing_and_adds_nothing_to_the_history(
    run: Evaluate, tmp_path: Path
) -> None:
    first, again = run(Searcher(), history_dir=tmp_path), Searcher()
    second = run(again, history_dir=tmp_path)
    assert again.asked == []
    assert second.measures == first.measures
    assert second.latency_ms == first.latency_ms
    assert len(read_json_lines(tmp_path / "tiny.jsonl")) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"config": {"top_k": 6}},
        {"encoder": "fake@2"},
        {"scope": "document"},
        {"collection": dataset(GOLD | {"q3": {("a.pdf", 4): 1}}, QUESTIONS)},
        {"resume": False},
    ],
    ids=["settings", "encoder", "scope", "dataset", "told to"],
)
def test_whatever_could_change_the_hits_asks_everything_again(
    run: Evaluate, change: dict[str, Any]
) -> None:
    if "collection" in change:
        object.__setattr__(change["collection"], "digest", "1" * 64)
    run(Searcher(), config={"top_k": 5})
    again = Searcher()
    run(again, **({"config": {"top_k": 5}} | change))
    assert again.asked == ["q1", "q2", "q3"]


def test_a_limit_asks_the_first_questions_and_a_later_run_the_rest(run: Evaluate) -> None:
    assert run(Searcher(), collection=TINY.first(2, "corpus")).n_questions == 2
    again = Searcher()
    assert run(again).n_questions == 3
    assert again.asked == ["q3"]


def test_a_refused_question_counts_as_zero_and_is_named(run: Evaluate) -> None:
    found = run(Searcher("q1", InputError("a question without words")))
    assert found.refused == {"q1": "a question without words"}
    assert found.by_type["easy"]["RR@10"] == 0
    assert "refused    q1: a question without words" in evaluation_report(found)


def test_notices_are_counted_and_outlive_a_stopped_run(run: Evaluate) -> None:
    first = Searcher("q3", BackendError("gone"))
    first.notices = {"q1": {"rerank_failed": "no answer in 9 s"}}
    with pytest.raises(BackendError):
        run(first)
    again = Searcher()
    again.notices = {"q3": {"rerank_failed": "refused", "other": "x"}}
    found = run(again)
    assert found.notices == {
        "rerank_failed": {"questions": 2, "message": "no answer in 9 s"},
        "other": {"questions": 1, "message": "x"},
    }
    assert "notice     rerank_failed, 2 questions: no answer in 9 s" in evaluation_report(found)


def test_what_warms_up_is_asked_once_more_and_not_kept(run: Evaluate) -> None:
    searcher = Searcher("q1", InputError("a question without words"))
    assert run(searcher, warm_up=2).n_questions == 3
    assert searcher.asked == ["q1", "q2", "q1", "q2", "q3"]
    again = Searcher()
    run(again, warm_up=2)
    assert again.asked == []


def test_a_dataset_without_questions_in_the_scope_is_refused(run: Evaluate) -> None:
    with pytest.raises(InputError, match="no question with gold pages"):
        run(Searcher(), collection=dataset({}, QUESTIONS))


def test_an_evaluation_reads_as_a_table(run: Evaluate) -> None:
    report = evaluation_report(run(Searcher())).split("\n")
    assert report[0] == "tiny, scope corpus, 3 questions"
    assert report[2].split() == ["n", *NAMES]
    assert [line.split()[:2] for line in report[3:6]] == [
        ["all", "3"],
        ["easy", "1"],
        ["hard", "2"],
    ]
    assert report[3].split()[2 + NAMES.index("RR@10")] == "0.5000"


def test_settings_hash_alike_in_any_order(tmp_path: Path, run: Evaluate) -> None:
    first = run(Searcher(), config={"a": 1, "b": {"c": 2, "d": 3}})
    again = Searcher()
    second = run(again, config=json.loads('{"b": {"d": 3, "c": 2}, "a": 1}'))
    assert second.config_hash == first.config_hash
    assert again.asked == []
