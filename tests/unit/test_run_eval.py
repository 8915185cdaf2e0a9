import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_datasets import dataset, hits, query

from eval.cache import QueryCache
from eval.measures import NAMES
from eval.questions import Question
from eval.report import evaluation_report
from eval.run_eval import Evaluation, Found, Searched, evaluate
from eval.runs import Hit, checked_hits, read_json, read_json_lines, read_run, write_run
from rag.errors import BackendError, InputError


# --- measures -----------------------------------------------------------------------------------
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
FAKE = Searched(encoder="fake@1", code="0.9", index={"documents": 2, "pages": 7})
OF_FIVE = replace(FAKE, config={"top_k": 5})


class Searcher:
    """Finds page 1 then 2 for everything; remembers what it was asked."""

    def __init__(self, error_at: str = "", error: Exception | None = None) -> None:
        self.asked: list[str] = []
        self._error_at, self._error = error_at, error
        self.notices: dict[str, dict[str, str]] = {}  # by question

    def __call__(self, question: Question) -> Found:
        self.asked.append(question.id)
        if question.id == self._error_at and self._error is not None:
            raise self._error
        return Found(hits(1, 2), self.notices.get(question.id, {}))


Evaluate = Callable[..., Evaluation]


@pytest.fixture
def run(tmp_path: Path) -> Evaluate:
    def run(search: Searcher, **changes: Any) -> Evaluation:
        options: dict[str, Any] = {"out_dir": tmp_path / "out", "searched": FAKE}
        return evaluate(changes.pop("collection", TINY), search, **(options | changes))

    return run


def test_questions_that_no_page_answers_are_told_and_in_no_figure(run: Evaluate) -> None:
    of_zeros = GOLD | {"q4": {("a.pdf", 1): 0}}
    search = Searcher()
    found = run(search, collection=dataset(of_zeros, [*QUESTIONS, query("q4"), query("q5")]))
    assert (found.n_questions, found.without_gold) == (3, 2)
    assert search.asked == ["q1", "q2", "q3"]
    assert found.measures["RR@10"] == pytest.approx((1 + 0.5 + 0) / 3)
    assert "2 questions that no page answers" in evaluation_report(found)
    assert "no page answers" not in evaluation_report(run(Searcher()))


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


@pytest.mark.parametrize("line", ["no JSON", "[1]", '{"id": "q2"}', "[" * 100_000, "\udcff"])
def test_a_line_of_the_journal_that_is_no_answer_is_asked_again(
    run: Evaluate, tmp_path: Path, line: str
) -> None:
    whole = run(Searcher())
    journal = tmp_path / "out" / "answered.jsonl"
    lines = journal.read_text().split("\n")
    lines[2] = line
    journal.write_bytes("\n".join(lines).encode("utf-8", "surrogateescape"))
    again = Searcher()
    found = run(again)
    assert again.asked == ["q2"]
    assert found.measures == whole.measures


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
        {"searched": replace(OF_FIVE, config={"top_k": 6})},
        {"searched": replace(OF_FIVE, encoder="fake@2")},
        {"searched": replace(OF_FIVE, index={"documents": 1, "pages": 7})},
        {"scope": "document"},
        {"collection": dataset(GOLD | {"q3": {("a.pdf", 4): 1}}, QUESTIONS)},
        {"resume": False},
    ],
    ids=["settings", "encoder", "a document that failed", "scope", "dataset", "told to"],
)
def test_whatever_could_change_the_hits_asks_everything_again(
    run: Evaluate, change: dict[str, Any]
) -> None:
    if "collection" in change:
        object.__setattr__(change["collection"], "digest", "1" * 64)
    run(Searcher(), searched=OF_FIVE)
    again = Searcher()
    run(again, **({"searched": OF_FIVE} | change))
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
    first = run(Searcher(), searched=replace(FAKE, config={"a": 1, "b": {"c": 2, "d": 3}}))
    again = Searcher()
    config = json.loads('{"b": {"d": 3, "c": 2}, "a": 1}')
    second = run(again, searched=replace(FAKE, config=config))
    assert second.config_hash == first.config_hash
    assert again.asked == []


def test_a_search_over_the_corpus_is_told_nothing_that_gives_the_answer_away(
    run: Evaluate,
) -> None:
    told: list[Question] = []

    def search(question: Question) -> Found:
        told.append(question)
        return Found(hits(1))

    secret = query("q1", doc="a.pdf", answer="42", type="secret", groups={"domain": "secret"})
    of_one = dataset({"q1": {("a.pdf", 1): 1}}, [secret])
    run(search, collection=of_one)
    assert told == [Question("q1", secret.text, image=None, doc=None)]
    run(search, collection=of_one, scope="document")
    assert told[1:] == [Question("q1", secret.text, image=None, doc="a.pdf")]


def test_what_another_run_asked_under_the_same_settings_is_not_asked_again(
    run: Evaluate, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    first = run(Searcher(), cache_dir=cache, out_dir=tmp_path / "one")
    again = Searcher()
    second = run(again, cache_dir=cache, out_dir=tmp_path / "two")
    assert again.asked == []
    assert second.measures == first.measures
    assert (first.taken_over, second.taken_over) == (0, 3)
    for number, change in enumerate(
        (
            {"searched": replace(FAKE, encoder="fake@2")},
            {"searched": replace(FAKE, code="1.0")},
            {"searched": replace(FAKE, code="")},
            {"searched": replace(FAKE, index={"documents": 2, "pages": 6})},
            {"collection": replace(TINY, documents_digest="")},
            {"resume": False},
        )
    ):
        other = Searcher()
        run(other, cache_dir=cache, out_dir=tmp_path / f"other-{number}", **change)
        assert other.asked == ["q1", "q2", "q3"]


@pytest.mark.parametrize(
    "unknown",
    [{"searched": replace(FAKE, code="")}, {"collection": replace(TINY, documents_digest="")}],
    ids=["code", "documents"],
)
def test_nothing_is_cached_of_code_or_documents_that_nobody_knows(
    run: Evaluate, tmp_path: Path, unknown: dict[str, Any]
) -> None:
    for name in ("one", "two"):
        asked = Searcher()
        run(asked, cache_dir=tmp_path / "cache", out_dir=tmp_path / name, **unknown)
        assert asked.asked == ["q1", "q2", "q3"]


def test_a_cached_answer_is_of_the_words_and_not_of_the_id(run: Evaluate, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    run(Searcher(), cache_dir=cache, out_dir=tmp_path / "one")
    reworded = [query("q1", text="Reworded?"), *QUESTIONS[1:]]
    again = Searcher()
    run(again, collection=dataset(GOLD, reworded), cache_dir=cache, out_dir=tmp_path / "two")
    assert again.asked == ["q1"]


def test_a_refused_question_is_asked_again_by_the_next_run(run: Evaluate, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    of_two = dataset({key: GOLD[key] for key in ("q1", "q2")}, [query("q1"), query("q2", text="B")])
    refusing = Searcher("q2", InputError("no"))
    run(refusing, collection=of_two, cache_dir=cache, out_dir=tmp_path / "one")
    again = Searcher()
    run(again, collection=of_two, cache_dir=cache, out_dir=tmp_path / "two")
    assert again.asked == ["q2"]


def test_a_torn_line_of_the_cache_costs_that_line_alone(tmp_path: Path) -> None:
    with QueryCache.open(tmp_path, "abc") as cache:
        cache.put("one", {"x": 1})
        cache.put("two", {"x": 2})
    path = tmp_path / "abc.jsonl"
    path.write_bytes(path.read_bytes()[:-9])
    with QueryCache.open(tmp_path, "abc") as cache:
        assert (cache.get("one"), cache.get("two")) == ({"x": 1}, None)
        cache.put("three", {"x": 3})
    with QueryCache.open(tmp_path, "abc") as cache:
        assert (cache.get("one"), cache.get("three")) == ({"x": 1}, {"x": 3})


def test_several_workers_find_what_one_finds(run: Evaluate, tmp_path: Path) -> None:
    many = [query(f"q{number}") for number in range(40)]
    of_many = dataset({each.id: {("a.pdf", 1): 1} for each in many}, many)
    one = run(Searcher(), collection=of_many, out_dir=tmp_path / "one")
    four = run(
        Searcher(),
        collection=of_many,
        searched=replace(FAKE, workers=4),
        out_dir=tmp_path / "four",
    )
    assert four.measures == one.measures
    for name in ("run.tsv", "questions.jsonl"):
        assert (tmp_path / "four" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()


def test_an_error_among_several_workers_stops_the_run_and_keeps_what_was_answered(
    run: Evaluate,
) -> None:
    parallel = replace(FAKE, workers=2)
    with pytest.raises(BackendError):
        run(Searcher("q3", BackendError("gone")), searched=parallel)
    again = Searcher()
    assert run(again, searched=parallel).n_questions == 3
    assert "q3" in again.asked


def test_a_run_says_where_its_figures_come_from(run: Evaluate, tmp_path: Path) -> None:
    found = run(
        Searcher(),
        searched=replace(
            FAKE, index={"collection": "eval-tiny", "pages": 3}, seeds={"fde": 7}, config={"a": 1}
        ),
    )
    told = read_json(tmp_path / "out" / "measures.json")
    assert told["index"] == {"collection": "eval-tiny", "pages": 3}
    assert told["seeds"] == {"fde": 7}
    assert told["config"] == {"a": 1}
    assert told["origin"] is None
    assert len(found.config_hash) == 12
    rows = read_json_lines(tmp_path / "out" / "questions.jsonl")
    assert [row["id"] for row in rows] == ["q1", "q2", "q3"]
    assert rows[0]["gold"] == [["a.pdf", 1, 1]]
