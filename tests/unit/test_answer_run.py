"""Asking for answers: which questions, with what, and what stands in the file after a fault."""

import json
import threading
import time
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.answers.run import (
    AnswerQuestion,
    answerable_queries,
    ask_all,
    gold_pages,
    questions_asked,
    unanswerable_asked,
)
from eval.cache import QueryCache
from eval.datasets.folder import Dataset, PageKey, Query, UnanswerableQuery
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

    found = ask_all(questions(4), ask_rest, out_dir=tmp_path, config_hash="one")
    assert (asked, found.n_anew, list(found.rows)) == (["q2", "q3"], 2, ["q0", "q1", "q2", "q3"])
    found = ask_all(questions(4), ask_rest, out_dir=tmp_path, config_hash="two")
    assert found.n_anew == 4
    assert {json.loads(line)["config_hash"] for line in path.read_text().splitlines()} == {"two"}


def test_failures_of_several_kinds_or_after_a_success_do_not_stop_a_run(tmp_path):
    def differently(question):
        raise BackendError("failed", code=f"code_{int(question.id[1:]) % 2}")

    found = ask_all(questions(8), differently, out_dir=tmp_path, config_hash="one")
    assert len(found.rows) == 8

    def after_one(question):
        if question.id == "q0":
            return said(question)
        raise BackendError("failed")

    found = ask_all(questions(8), after_one, out_dir=tmp_path, config_hash="two")
    assert sum("error" in row for row in found.rows.values()) == 7
    # The next time the first is known, and what fails is no reason to stop either.
    found = ask_all(questions(8), after_one, out_dir=tmp_path, config_hash="two")
    assert (len(found.rows), found.n_anew) == (8, 7)


@pytest.mark.parametrize("workers", [1, 3, 16])
@pytest.mark.parametrize("in_shape", [False, True])
def test_five_failures_for_one_reason_from_the_beginning_stop_a_run(tmp_path, in_shape, workers):
    error = BackendError("no such server", code="chat_unreachable", next_step="Start it.")
    asked = []

    def ask(question):
        asked.append(question.id)
        if in_shape:
            return {**said(question), "abstained": True, "error": error.as_dict()}
        raise error

    with pytest.raises(BackendError, match="no such server") as caught:
        ask_all(questions(9), ask, out_dir=tmp_path, config_hash="one", workers=workers)
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


def in_the_file(folder):
    return [json.loads(line)["id"] for line in (folder / "answers.jsonl").read_text().splitlines()]


def test_rows_stand_in_the_order_of_the_dataset_however_many_are_asked_at_a_time(tmp_path):
    at_once, most, lock = [], [], threading.Lock()

    def ask(question):
        with lock:
            at_once.append(question.id)
            most.append(len(at_once))
        time.sleep(0.004 if question.id in ("q0", "q5") else 0.001)
        with lock:
            at_once.remove(question.id)
        return said(question)

    found = ask_all(questions(12), ask, out_dir=tmp_path, config_hash="one", workers=4)
    ids = [f"q{i}" for i in range(12)]
    assert list(found.rows) == in_the_file(tmp_path) == ids
    assert all(found.rows[name]["answer"] == f"Question {name[1:]}?" for name in ids)
    assert 1 < max(most) <= 4


def test_an_interrupt_keeps_what_is_under_way_and_begins_no_other(tmp_path):
    begun, lock = [], threading.Lock()

    def ask(question):
        with lock:
            begun.append(question.id)
        if question.id == "q1":
            raise KeyboardInterrupt
        time.sleep(0.05)
        return said(question)

    (tmp_path / "answers.jsonl").write_text(
        json.dumps({"id": "known", "config_hash": "one", **said(questions(1)[0])}) + "\n"
    )
    asked = [AnswerQuestion("known", "K?"), *questions(40)]
    with pytest.raises(KeyboardInterrupt):
        ask_all(asked, ask, out_dir=tmp_path, config_hash="one", workers=2)
    assert len(begun) < 10
    assert set(in_the_file(tmp_path)) == {"known", *begun} - {"q1"}
    found = ask_all(asked, said, out_dir=tmp_path, config_hash="one", workers=2)
    assert found.n_anew == 41 - len(begun)
    assert in_the_file(tmp_path) == [each.id for each in asked]


def test_an_early_success_that_is_slow_keeps_a_run_going_with_any_workers(tmp_path):
    def ask(question):
        if question.id == "q4":
            time.sleep(0.05)
            return said(question)
        raise BackendError("failed", code="chat_timeout")

    for workers in (1, 8):
        found = ask_all(
            questions(9), ask, out_dir=tmp_path, config_hash=str(workers), workers=workers
        )
        assert sum("error" in row for row in found.rows.values()) == 8


def test_what_another_run_was_answered_is_not_asked_again_and_failures_are(tmp_path):
    asked = []

    def ask(question):
        asked.append(question.id)
        if question.text == "Question 1?" and len(asked) < 3:
            raise BackendError("failed")
        return {**said(question), "asked_as": question.id}

    def run(name, wanted):
        folder = tmp_path / name
        folder.mkdir()
        with QueryCache.open(tmp_path / "cache", "settings") as cache:
            return ask_all(wanted, ask, out_dir=folder, config_hash=name, cache=cache)

    run("first", questions(2))
    assert asked == ["q0", "q1"]
    # Another id, the same words; another document is another question.
    same = AnswerQuestion("other", "Question 0?")
    elsewhere = AnswerQuestion("elsewhere", "Question 0?", doc="a.pdf")
    found = run("second", [same, elsewhere, *questions(3)[1:]])
    assert asked == ["q0", "q1", "elsewhere", "q1", "q2"]
    assert (found.n_anew, found.n_cached) == (3, 1)
    assert found.rows["other"]["asked_as"] == "q0"
    assert found.rows["other"]["config_hash"] == "second"
    assert in_the_file(tmp_path / "second") == ["other", "elsewhere", "q1", "q2"]


secrets = st.text(st.characters(codec="ascii", categories=["Ll"]), min_size=12, max_size=16)


@given(
    doc=secrets,
    answer=secrets,
    other=secrets,
    kind=secrets,
    group=secrets,
    gold_doc=secrets,
    pages=st.lists(st.integers(1_000_000, 9_999_999), min_size=1, max_size=3, unique=True),
)
def test_nothing_that_only_the_dataset_knows_reaches_who_answers_in_corpus_scope(
    doc, answer, other, kind, group, gold_doc, pages
):
    query = Query(
        id="q1",
        text="WHAT IS IT?",
        answer=answer,
        answers=(other,),
        type=kind,
        doc=doc,
        groups={"domain": group},
    )
    data = Dataset(
        name="d",
        folder=None,
        documents=(doc, gold_doc),
        queries={"q1": query},
        qrels={"q1": {PageKey(gold_doc, page): 1 for page in pages}},
        unanswerable=(),
        digest="0",
    )
    (asked,) = questions_asked(data, answerable_queries(data, "corpus"), "corpus")
    told = json.dumps(asdict(asked))
    for secret in (doc, answer, other, kind, group, gold_doc, *map(str, pages)):
        assert secret not in told
    # The same eyes do find it where it is meant to be told.
    (within,) = questions_asked(data, answerable_queries(data, "document"), "document")
    assert doc in json.dumps(asdict(within))
