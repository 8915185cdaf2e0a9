"""Asking for answers: which questions, with what, and what stands in the file after a fault."""

import json

import pytest

from eval.answer_run import (
    AnswerQuestion,
    answerable_queries,
    ask_all,
    gold_pages,
    questions_asked,
    unanswerable_asked,
)
from eval.datasets import Dataset, PageKey, Query, UnanswerableQuery
from rag.errors import BackendError, InputError


def dataset(tmp_path):
    queries = [
        Query(id="q1", text="What?", answer="x", type="t", doc="a.pdf"),
        Query(id="q2", text="Who?", answer="y", type="t", doc="b.pdf", scope="document"),
        Query(id="q3", text="Why?", answer="z", type="t", doc="b.pdf"),
    ]
    qrels = {
        "q1": {PageKey("a.pdf", 2): 1, PageKey("a.pdf", 1): 1, PageKey("a.pdf", 3): 0},
        "q2": {PageKey("b.pdf", 1): 1},
    }
    return Dataset(
        name="d",
        folder=tmp_path,
        documents=("a.pdf", "b.pdf"),
        queries={query.id: query for query in queries},
        qrels=qrels,
        unanswerable=(UnanswerableQuery(id="u1", text="Where?", doc="b.pdf"),),
        digest="0",
    )


def test_gold_pages_are_those_with_a_grade(tmp_path):
    assert gold_pages(dataset(tmp_path), "q1") == (PageKey("a.pdf", 1), PageKey("a.pdf", 2))
    assert gold_pages(dataset(tmp_path), "q3") == ()


def test_questions_are_asked_as_their_scope_says(tmp_path):
    data = dataset(tmp_path)

    def asked(scope, **how):
        queries = answerable_queries(data, scope, **how)
        found = questions_asked(data, queries, scope, **how)
        return [(each.id, each.doc, len(each.pages)) for each in found]

    assert asked("corpus") == [("q1", None, 0)]
    assert asked("document") == [("q1", "a.pdf", 0), ("q2", "b.pdf", 0)]
    for scope in ("corpus", "document"):
        assert asked(scope, oracle_pages=True) == [("q1", None, 2), ("q2", None, 1)]
    assert unanswerable_asked(data) == [AnswerQuestion("u1", "Where?", "b.pdf")]
    assert [each.id for each in answerable_queries(data, "document", limit=1)] == ["q1"]


def test_a_dataset_without_gold_pages_is_refused(tmp_path):
    data = dataset(tmp_path)
    empty = Dataset(**{**vars(data), "qrels": {}})
    for oracle_pages in (False, True):
        with pytest.raises(InputError, match="no question"):
            answerable_queries(empty, "corpus", oracle_pages=oracle_pages)


def questions(n):
    return [AnswerQuestion(f"q{i}", f"Question {i}?") for i in range(n)]


def said(question):
    return {"answer": question.text, "abstained": False, "confidence": 1.0}


def test_rows_stand_in_the_file_as_they_come_and_others_are_dropped(tmp_path):
    path = tmp_path / "answers.jsonl"

    def ask(question):
        if question.id == "q2":
            raise KeyboardInterrupt
        return said(question)

    with pytest.raises(KeyboardInterrupt):
        ask_all(questions(4), ask, out_dir=tmp_path, config_hash="one")
    assert [json.loads(line)["id"] for line in path.read_text().splitlines()] == ["q0", "q1"]
    asked = []

    def ask_rest(question):
        asked.append(question.id)
        return said(question)

    rows, n_asked = ask_all(questions(4), ask_rest, out_dir=tmp_path, config_hash="one")
    assert (asked, n_asked, list(rows)) == (["q2", "q3"], 2, ["q0", "q1", "q2", "q3"])
    _, n_asked = ask_all(questions(4), ask_rest, out_dir=tmp_path, config_hash="two")
    assert n_asked == 4
    assert {json.loads(line)["config_hash"] for line in path.read_text().splitlines()} == {"two"}


def test_failures_of_several_kinds_or_after_a_success_do_not_stop_a_run(tmp_path):
    def differently(question):
        raise BackendError("failed", code=f"code_{int(question.id[1:]) % 2}")

    rows, _ = ask_all(questions(8), differently, out_dir=tmp_path, config_hash="one")
    assert len(rows) == 8

    def after_one(question):
        if question.id == "q0":
            return said(question)
        raise BackendError("failed")

    rows, _ = ask_all(questions(8), after_one, out_dir=tmp_path, config_hash="two")
    assert sum("error" in row for row in rows.values()) == 7
    # The next time the first is known, and what fails is no reason to stop either.
    rows, n_asked = ask_all(questions(8), after_one, out_dir=tmp_path, config_hash="two")
    assert (len(rows), n_asked) == (8, 7)


@pytest.mark.parametrize("in_shape", [False, True])
def test_five_failures_for_one_reason_from_the_beginning_stop_a_run(tmp_path, in_shape):
    error = BackendError("no such server", code="chat_unreachable", next_step="Start it.")
    asked = []

    def ask(question):
        asked.append(question.id)
        if in_shape:
            return {**said(question), "abstained": True, "error": error.as_dict()}
        raise error

    with pytest.raises(BackendError, match="no such server") as caught:
        ask_all(questions(9), ask, out_dir=tmp_path, config_hash="one")
    assert (caught.value.code, caught.value.next_step) == ("chat_unreachable", "Start it.")
    assert len(asked) == 5


def test_progress_counts_what_was_known_before(tmp_path):
    ask_all(questions(2), said, out_dir=tmp_path, config_hash="one")
    told = []
    ask_all(
        questions(4),
        said,
        out_dir=tmp_path,
        config_hash="one",
        progress=lambda done, whole: told.append((done, whole)),
    )
    assert told == [(3, 4), (4, 4)]
