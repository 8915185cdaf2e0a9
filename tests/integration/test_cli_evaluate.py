"""`octavo eval` over a small dataset folder; the client is a fake with a fixed index."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from commands import talk_to

from rag.apps.cli.app import run


class FakeOctavo:
    """Finds page 1 of a.pdf for every question; knows one document too many."""

    def __init__(self) -> None:
        self.searched: list[dict[str, Any]] = []
        self.deleted: list[str] = []
        self.ingested: list[Path] = []
        self.states = {"indexed": 2}

    def ingest(self, *, paths: list[Path], on_event: Any, **rest: Any) -> dict[str, Any]:
        self.ingested = paths
        on_event({"event": "progress", "pages_done": 1, "pages_total": 2, "source": "a.pdf"})
        return {"documents": self.states, "encoder": "words@1"}

    def list_documents(self, *, collection: str) -> dict[str, Any]:
        names = ("a.pdf", "b.pdf", "gone.pdf")
        return {"documents": [{"document_id": name[0], "source": name} for name in names]}

    def delete(self, *, documents: list[str], collection: str) -> None:
        self.deleted = documents

    def search(self, **arguments: Any) -> dict[str, Any]:
        self.searched.append(arguments)
        return {"hits": [{"source": "a.pdf", "page_number": 1, "score": 2.0}]}


@pytest.fixture
def octavo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeOctavo:
    fake = FakeOctavo()
    monkeypatch.chdir(tmp_path)  # away from the checkout, whose history is for real runs
    talk_to(monkeypatch, fake)
    return fake


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder = tmp_path / "tiny"
    (folder / "docs").mkdir(parents=True)
    for name in ("a.pdf", "b.pdf"):
        (folder / "docs" / name).write_bytes(b"%PDF-1.4 " + name.encode())
    questions = [
        {"id": "q1", "text": "What?", "answer": "x", "type": "text", "doc": "a.pdf"},
        {"id": "q2", "text": "Where?", "answer": "y", "type": "table", "doc": "b.pdf"},
    ]
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in questions))
    (folder / "qrels.tsv").write_text(
        "query_id\tdoc\tpage\trelevance\nq1\ta.pdf\t1\t1\nq2\tb.pdf\t3\t1\n"
    )
    unanswerable = {"id": "u1", "text": "Who is the mayor?", "doc": "b.pdf"}
    (folder / "unanswerable.jsonl").write_text(json.dumps(unanswerable) + "\n")
    return folder


def ids(path: Path) -> list[str]:
    return [json.loads(row)["id"] for row in path.read_text().splitlines()]


def test_eval_run_writes_the_run_and_the_measures(octavo, dataset, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(["eval", "run", str(dataset), "--out", str(out), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    # One of two questions found, at rank 1.
    assert shown["measures"]["nDCG@5"] == shown["measures"]["R@1"] == 0.5
    assert json.loads((out / "measures.json").read_text())["measures"] == shown["measures"]
    assert (out / "run.tsv").read_text().splitlines()[0].split("\t")[:4] == [
        "q1",
        "a.pdf",
        "1",
        "1",
    ]
    assert ids(out / "per_query.jsonl") == ["q1", "q2"]
    assert octavo.ingested == [dataset / "docs"]
    assert {(call["top_k"], call["collection"]) for call in octavo.searched} == {(100, "eval-tiny")}


def test_eval_run_forgets_documents_the_dataset_no_longer_has(octavo, dataset, tmp_path):
    run(["eval", "run", str(dataset), "--out", str(tmp_path / "out")])
    assert octavo.deleted == ["g"]


def test_scope_document_searches_within_the_document_of_each_question(octavo, dataset, tmp_path):
    run(["eval", "run", str(dataset), "--out", str(tmp_path / "o1"), "--scope", "document"])
    assert [call["documents"] for call in octavo.searched] == [["a.pdf"], ["b.pdf"]]
    octavo.searched.clear()
    run(["eval", "run", str(dataset), "--out", str(tmp_path / "o2")])
    assert [call["documents"] for call in octavo.searched] == [None, None]


def test_limit_asks_only_the_first_questions(octavo, dataset, tmp_path):
    run(["eval", "run", str(dataset), "--out", str(tmp_path / "out"), "--limit", "1"])
    assert [call["query"] for call in octavo.searched] == ["What?"]


def test_a_document_that_could_not_be_read_makes_the_evaluation_partial(octavo, dataset, tmp_path):
    for other in ("failed", "refused", "partial"):
        octavo.states = {"indexed": 1, other: 1}
        assert run(["eval", "run", str(dataset), "--out", str(tmp_path / other)]) == 3


def test_the_history_gets_a_line_where_it_is_asked_for(octavo, dataset, tmp_path):
    run(
        [
            "eval",
            "run",
            str(dataset),
            "--out",
            str(tmp_path / "o"),
            "--history",
            str(tmp_path / "history"),
        ]
    )
    (line,) = (tmp_path / "history" / "tiny.jsonl").read_text().splitlines()
    assert json.loads(line)["encoder"] == "words@1"


def test_a_folder_that_is_no_dataset_is_an_error_in_one_line(octavo, tmp_path, capsys):
    assert run(["eval", "run", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("error: dataset")


def test_runs_are_listed_and_compared(octavo, dataset, tmp_path, capsys):
    folders = [str(tmp_path / "runs" / name) for name in ("first", "second")]
    for folder in folders:
        run(["eval", "run", str(dataset), "--out", folder])
    capsys.readouterr()
    assert run(["eval", "list", str(tmp_path / "runs"), "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["runs"]
    assert {each["out"] for each in listed} == set(folders)
    assert run(["eval", "list", str(tmp_path / "runs")]) == 0
    assert "nDCG@5" in capsys.readouterr().out
    assert run(["eval", "compare", *folders, "--json"]) == 0
    compared = json.loads(capsys.readouterr().out)
    assert {each["difference"] for each in compared["differences"]} == {0.0}
    assert run(["eval", "compare", *folders]) == 0
    assert "difference" in capsys.readouterr().out


def test_listing_where_no_run_was_made_says_so(tmp_path, capsys):
    assert run(["eval", "list", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "No runs.\n"
