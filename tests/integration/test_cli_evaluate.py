"""`octavo eval` over a small dataset folder; the client is a fake with a fixed index."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from commands import talk_to

from eval.datasets.folder import load_dataset
from ingestion.source import document_id
from rag.apps.cli import exit_codes
from rag.apps.cli.app import run
from rag.errors import DocumentError


class FakeOctavo:
    """Finds page 1 of a.pdf for every question; knows one document too many."""

    def __init__(self) -> None:
        self.searched: list[dict[str, Any]] = []
        self.deleted: list[str] = []
        self.ingested: list[Path] = []
        self.states = {"indexed": 2}
        self.read: dict[str, Any] = {}  # of each document
        self.listed = [("a", "a.pdf"), ("b", "b.pdf"), ("g", "gone.pdf")]

    def ingest(self, *, paths: list[Path], on_event: Any, **rest: Any) -> dict[str, Any]:
        self.ingested = paths
        on_event({"event": "progress", "pages_done": 1, "pages_total": 2, "source": "a.pdf"})
        return {"documents": self.states, "encoder": "words@1"}

    def page_png(self, *, document: str, **rest: Any) -> dict[str, Any]:
        raise DocumentError(f"{document} is no PDF", code="not_a_pdf")

    def list_documents(self, *, collection: str) -> dict[str, Any]:
        read = {"pages": 3, "failed_pages": [], "error": None} | self.read
        return {
            "documents": [{"document_id": key, "source": name, **read} for key, name in self.listed]
        }

    def collections(self, *, only: str | None = None) -> dict[str, Any]:
        index = {"documents": 2, "pages": 4, "size_bytes": 8192, "identity": {"schema": 2}}
        return {"collections": [{"name": "eval-tiny", "encoder": "words@1", **index}]}

    def delete(self, *, documents: list[str], collection: str) -> None:
        self.deleted = documents

    def search(self, **arguments: Any) -> dict[str, Any]:
        self.searched.append(arguments)
        return {"hits": [{"source": "a.pdf", "page_number": 1, "score": 2.0}]}


@pytest.fixture
def octavo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeOctavo:
    fake = FakeOctavo()
    monkeypatch.chdir(tmp_path)  # away from the checkout, whose history is for real runs
    # As code with changes since its commit, which takes over nothing of other runs.
    monkeypatch.setattr("eval.provenance.code_version", lambda: "")
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


def set_of_two(dataset: Path, tmp_path: Path) -> Path:
    """Two parts: of the first both questions are asked of all documents, of the second one is."""
    folder = tmp_path / "set"
    for name in ("one", "two"):
        shutil.copytree(dataset, folder / name)
    lines = (dataset / "queries.jsonl").read_text().splitlines()
    (folder / "two" / "queries.jsonl").write_text(
        f"{lines[0]}\n{json.dumps(json.loads(lines[1]) | {'scope': 'document'})}\n"
    )
    return folder


def told_of_parts(octavo: FakeOctavo) -> None:
    about = {"encoder": "words@1", "documents": 2, "pages": 4, "size_bytes": 8192}
    octavo.collections = lambda only: {"collections": [{"name": only, "identity": {}, **about}]}


def test_parts_of_a_set_are_runs_of_their_own_with_a_mean_in_which_each_is_as_heavy(
    octavo, dataset, tmp_path, capsys
):
    told_of_parts(octavo)
    out = tmp_path / "runs" / "both"
    assert run(["eval", "run", str(set_of_two(dataset, tmp_path)), "--out", str(out)]) == 0
    assert "mean of parts" in capsys.readouterr().out
    told = json.loads((out / "parts.json").read_text())
    assert [part["n_questions"] for part in told["parts"]] == [2, 1]
    assert told["macro"]["R@1"] == 0.75  # of 0.5 and 1, however many questions each has
    assert {call["collection"] for call in octavo.searched} == {"eval-one", "eval-two"}
    assert run(["eval", "list", str(tmp_path / "runs"), "--json"]) == 0
    (listed,) = json.loads(capsys.readouterr().out)["runs"]
    assert (listed["kind"], listed["parts_are"], listed["n_questions"]) == ("parts", "search", 3)
    assert listed["finished_at"] == max(part["finished_at"] for part in told["parts"])
    assert run(["eval", "list", str(tmp_path / "runs")]) == 0
    assert "0.7500" in capsys.readouterr().out
    assert run(["eval", "list", str(out), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["runs"]
    assert {Path(each["out"]).name for each in shown} == {"one", "two"}


def test_a_part_that_has_nothing_to_ask_is_refused_before_any_is_asked(
    octavo, dataset, tmp_path, capsys
):
    told_of_parts(octavo)
    folder = set_of_two(dataset, tmp_path)
    (folder / "two" / "qrels.tsv").write_text("query_id\tdoc\tpage\trelevance\n")
    for flags in ([], ["--answers"]):
        command = ["eval", "run", str(folder), "--out", str(tmp_path / "out"), *flags]
        assert run(command) == 1
        assert "dataset 'two' has no question" in capsys.readouterr().err
    assert not octavo.ingested
    assert not (tmp_path / "out").exists()


def test_parts_share_no_collection(octavo, dataset, tmp_path, capsys):
    command = ["eval", "run", str(set_of_two(dataset, tmp_path)), "-c", "mine"]
    assert run(command) == 2
    assert "collection of its own" in capsys.readouterr().err
    assert not octavo.ingested


@pytest.mark.parametrize(
    ("codes", "of_all"),
    [((0,), 0), ((0, 0), 0), ((1, 1), 1), ((0, 1), 3), ((1, 3), 3), ((3, 0, 0), 3)],
)
def test_parts_that_end_differently_are_partial(codes, of_all):
    assert exit_codes.of_several(codes) == of_all


def test_runs_of_older_versions_and_other_files_do_not_end_a_listing(octavo, tmp_path, capsys):
    old, answers = tmp_path / "runs" / "old", tmp_path / "runs" / "answers"
    for folder in (old, answers, tmp_path / "runs" / "cache"):
        folder.mkdir(parents=True)
    (old / "measures.json").write_text('{"scope": "corpus", "measures": {"nDCG@5": 0.25}}')
    (answers / "answer_measures.json").write_text(
        '{"scope": "document", "n_questions": 4, "headline": {"right_cited": null}}'
    )
    (tmp_path / "runs" / "notes.txt").write_text("mine")
    assert run(["eval", "list", str(tmp_path / "runs")]) == 0
    assert "0.2500" in capsys.readouterr().out
    (tmp_path / "runs" / "cut").mkdir()
    (tmp_path / "runs" / "cut" / "measures.json").write_text("{")
    assert run(["eval", "list", str(tmp_path / "runs")]) == 3
    said = capsys.readouterr()
    assert "/runs/cut is left out: measures.json is not JSON" in said.err
    assert "0.2500" in said.out
    assert run(["eval", "list", str(tmp_path / "runs"), "--json"]) == 3
    listed = json.loads(capsys.readouterr().out)
    assert [Path(each["out"]).name for each in listed["runs"]] == ["answers", "old"]
    assert [each["code"] for each in listed["warnings"]] == ["damaged_run"]


@pytest.mark.parametrize(
    "flags",
    [["--price-prompt", "0", "--price-completion", "1"], ["--measure", "R@1"], ["--oracle-pages"]],
)
def test_flags_that_nothing_is_done_with_are_mistakes(octavo, dataset, tmp_path, flags):
    assert run(["eval", "run", str(dataset), "--out", str(tmp_path / "out"), *flags]) == 2
    assert not octavo.ingested


def test_listing_where_no_run_was_made_says_so(tmp_path, capsys):
    assert run(["eval", "list", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"No runs in {tmp_path}.\n"
    assert run(["eval", "list", str(tmp_path / "none")]) == 0
    assert capsys.readouterr().out == f"No runs in {tmp_path / 'none'}, which is no folder.\n"


@pytest.mark.parametrize(
    ("file", "flags", "kind"),
    [("answer_measures.json", [], "answers"), ("measures.json", ["--answers"], "searches")],
)
def test_searches_and_answers_of_two_datasets_do_not_share_a_folder(
    octavo, dataset, tmp_path, capsys, file, flags, kind
):
    out = tmp_path / "out"
    out.mkdir()
    (out / file).write_text(json.dumps({"dataset": "other", "dataset_digest": "of other"}))
    (out / "questions.jsonl").write_text("of other\n")
    assert run(["eval", "run", str(dataset), "--out", str(out), *flags]) == 1
    assert f"holds a run of {kind} over 'other'" in capsys.readouterr().err
    assert (out / "questions.jsonl").read_text() == "of other\n"
    assert not octavo.ingested
    if not flags:  # of the same dataset there is nothing to refuse
        told = {"dataset": "tiny", "dataset_digest": load_dataset(dataset).digest}
        (out / file).write_text(json.dumps(told))
        assert run(["eval", "run", str(dataset), "--out", str(out), "--no-report"]) == 0


def test_a_dataset_that_moved_is_not_found_twice(octavo, dataset, tmp_path):
    """Its documents lie in the collection twice then, under one name: those of here stay."""
    here = document_id("eval-tiny", (dataset / "docs").absolute(), "a.pdf")
    octavo.listed = [("there", "a.pdf"), (here, "a.pdf"), ("b", "b.pdf")]
    assert run(["eval", "run", str(dataset), "--out", str(tmp_path / "out")]) == 0
    assert octavo.deleted == ["there"]


def test_code_of_one_version_takes_over_what_it_asked_before(
    octavo, dataset, tmp_path, monkeypatch
):
    asked = []
    for version, *flags in (["1"], ["1"], ["1", "--no-cache"], ["2"], [""]):
        monkeypatch.setattr("eval.provenance.code_version", lambda version=version: version)
        octavo.searched.clear()
        out = tmp_path / f"out-{len(asked)}"
        assert run(["eval", "run", str(dataset), "--out", str(out), *flags]) == 0
        asked.append(len(octavo.searched))
    assert asked == [2, 0, 2, 2, 2]
