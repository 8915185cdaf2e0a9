"""`octavo eval run --answers` over a small dataset folder; a fake gives the answers."""

from __future__ import annotations

import json
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from commands import talk_to

from rag.apps.cli.app import run
from rag.errors import BackendError, DocumentError


def answer(short: str, source: str, page_number: int, confidence: float) -> dict[str, Any]:
    return {
        "answer": f"It is {short} [1].",
        "short": short,
        "abstained": False,
        "confidence": confidence,
        "citations": [{"marker": 1, "source": source, "page_number": page_number}],
        "support": {"citation_precision": 1.0, "citation_recall": 0.5},
        "timings_ms": {"evidence": 2.0, "answer": 3.0, "total": 9.0},
        "warnings": [{"code": "slow", "message": "It is slow."}],
    }


class FakeOctavo:
    """Answers what `said` holds for a question, withheld below the threshold it is asked with; an
    exception is raised.
    """

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.said: dict[str, dict[str, Any] | Exception] = {
            "How many?": answer("5,818 million", "a.pdf", 1, 0.9),
            "Where?": answer("Graz", "b.pdf", 3, 0.8),
            "Which colour?": answer("red", "b.pdf", 4, 0.3),
            "How much in 2020?": answer("12%", "a.pdf", 7, 0.7),
            "Who is the mayor?": answer("Jane Example", "b.pdf", 1, 0.2),
        }

    def ingest(self, **_: Any) -> dict[str, Any]:
        return {"documents": {"indexed": 2}, "encoder": "words@1"}

    def page_png(self, *, document: str, **rest: Any) -> dict[str, Any]:
        raise DocumentError(f"{document} is no PDF", code="not_a_pdf")

    def list_documents(self, *, collection: str) -> dict[str, Any]:
        read = {"pages": 20, "failed_pages": [], "error": None}
        names = ("a.pdf", "b.pdf")
        return {"documents": [{"document_id": name, "source": name, **read} for name in names]}

    def collections(self, *, only: str | None = None) -> dict[str, Any]:
        about = {"documents": 2, "pages": 20, "encoder": "words@1", "size_bytes": 4000}
        return {"collections": [{"name": "eval-tiny", "identity": {"dim": 8}, **about}]}

    def ask(self, **arguments: Any) -> dict[str, Any]:
        self.asked.append(arguments)
        said = self.said[arguments["question"]]
        if isinstance(said, Exception):
            raise said
        least = arguments["answering"]["min_confidence"]
        if said.get("confidence", 1.0) >= least:
            return said
        return {**said, "abstained": True, "short": "", "answer": "No.", "citations": []}


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
        {"id": "q1", "text": "How many?", "answer": "5818", "type": "money", "doc": "a.pdf"},
        {"id": "q2", "text": "Where?", "answer": "Vienna", "type": "place", "doc": "b.pdf"},
        {"id": "q3", "text": "Which colour?", "answer": "red", "type": "place", "doc": "b.pdf"},
        {
            "id": "q4",
            "text": "How much in 2020?",
            "answer": "12%",
            "type": "money",
            "doc": "a.pdf",
            "scope": "document",
        },
    ]
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in questions))
    qrels = ["q1\ta.pdf\t1\t1", "q1\ta.pdf\t2\t1", "q2\tb.pdf\t3\t1", "q3\tb.pdf\t4\t1"]
    rows = ["query_id\tdoc\tpage\trelevance", *qrels, "q4\ta.pdf\t8\t1"]
    (folder / "qrels.tsv").write_text("".join(f"{row}\n" for row in rows))
    unanswerable = {"id": "u1", "text": "Who is the mayor?", "doc": "b.pdf"}
    (folder / "unanswerable.jsonl").write_text(json.dumps(unanswerable) + "\n")
    return folder


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(row) for row in path.read_text().splitlines()]


def measured(dataset: Path, out: Path, *flags: str, code: int = 0) -> dict[str, Any]:
    assert run(["eval", "run", str(dataset), "--answers", "--out", str(out), *flags]) == code
    figures: dict[str, Any] = json.loads((out / "answer_measures.json").read_text())
    return figures


def test_answers_are_asked_of_all_documents_and_judged(octavo, dataset, tmp_path):
    figures = measured(dataset, tmp_path / "out")
    assert [call["question"] for call in octavo.asked] == ["How many?", "Where?", "Which colour?"]
    assert {call["documents"] for call in octavo.asked} == {None}
    # q1 is right by a gold page, q2 wrong; "red" is no name, so q3 is neither.
    assert figures["all"] == {
        "n": 3,
        "answered": 2,
        "counted": 2,
        "right_cited": 1,
        "right": 1,
        "wrong": 1,
        "abstained": 0,
        "errors": 0,
    }
    assert figures["headline"]["right_cited"] == 0.5
    assert figures["headline"]["n"] == 2
    assert figures["by_kind"]["number"]["right_cited"] == 1
    assert figures["by_type"]["place"]["counted"] == 1
    # Both answers cite one gold page; q1 has a second one, which is not cited.
    assert figures["cited_pages"]["precision"] == {"value": 1.0, "n": 2}
    assert figures["cited_pages"]["recall"] == {"value": 0.75, "n": 2}
    assert figures["support"]["citation_recall"] == {"value": 0.5, "n": 2}
    assert figures["latency_ms"]["after_retrieval"] == {"p50": 5.0, "p95": 5.0, "n": 3}
    assert figures["notices"]["slow"]["questions"] == 3
    assert figures["abstention"] is None


def test_rows_are_the_answers_as_given_with_their_ids(octavo, dataset, tmp_path):
    measured(dataset, tmp_path / "out")
    rows = lines(tmp_path / "out" / "answers.jsonl")
    assert [row["id"] for row in rows] == ["q1", "q2", "q3"]
    assert {**rows[0], **octavo.said["How many?"]} == rows[0]


def test_questions_are_asked_with_the_threshold_that_is_set(octavo, dataset, tmp_path):
    out = tmp_path / "out"
    high = measured(dataset, out, "--set", "answer.min_confidence=0.85")
    assert (high["all"]["right"], high["all"]["abstained"]) == (1, 1)
    assert {call["answering"]["min_confidence"] for call in octavo.asked} == {0.85}
    octavo.asked.clear()
    low = measured(dataset, out, "--set", "answer.min_confidence=0.1")
    assert (low["all"]["answered"], low["all"]["wrong"]) == (3, 1)
    # Below a threshold a model may take another way: nothing is taken over.
    assert [call["answering"]["min_confidence"] for call in octavo.asked] == [0.1] * 3


def test_in_scope_document_each_is_asked_in_its_own_and_the_unanswerable_too(
    octavo, dataset, tmp_path
):
    figures = measured(dataset, tmp_path / "out", "--scope", "document")
    assert [call["documents"] for call in octavo.asked] == [
        ["a.pdf"],
        ["b.pdf"],
        ["b.pdf"],
        ["a.pdf"],
        ["b.pdf"],
    ]
    found = figures["abstention"]
    # 0.9, 0.8, 0.7 and 0.3 are all above 0.2; at 0.45 the 0.3 is refused.
    assert (found["auc"], found["answerable"], found["unanswerable"]) == (1.0, 4, 1)
    assert (found["refused"], found["abstained"]) == (1, 1)
    # q4 is right by a page that is not gold.
    assert figures["all"]["right"] - figures["all"]["right_cited"] == 1
    assert figures["by_scope"]["document"]["right_cited"] == 0
    svg = ET.fromstring((tmp_path / "out" / "roc.svg").read_text())
    assert svg.tag.endswith("svg")


def test_gold_pages_are_given_for_every_question_that_has_some(octavo, dataset, tmp_path):
    figures = measured(dataset, tmp_path / "out", "--oracle-pages")
    assert [call["from_pages"] for call in octavo.asked] == [
        [["a.pdf", 1], ["a.pdf", 2]],
        [["b.pdf", 3]],
        [["b.pdf", 4]],
        [["a.pdf", 8]],
    ]
    assert {call["documents"] for call in octavo.asked} == {None}
    assert (figures["pages"], figures["headline"]["n"]) == ("gold", 3)
    assert figures["abstention"] is None
    # What has no answer has no gold page, in any scope; and what was found is not what was given.
    octavo.asked.clear()
    measured(dataset, tmp_path / "out", "--oracle-pages", "--scope", "document")
    assert "Who is the mayor?" not in [call["question"] for call in octavo.asked]
    octavo.asked.clear()
    measured(dataset, tmp_path / "out", "--scope", "document")
    assert len(octavo.asked) == 5


def test_an_unanswerable_question_that_fails_is_not_taken_for_an_abstention(
    octavo, dataset, tmp_path
):
    octavo.said["Who is the mayor?"] = BackendError("no answer in time", code="chat_timeout")
    figures = measured(dataset, tmp_path / "out", "--scope", "document", code=3)
    assert figures["errors"]["chat_timeout"]["questions"] == 1
    assert (figures["n_unanswerable"], figures["abstention"]) == (1, None)


def test_a_question_that_fails_is_counted_and_asked_again_the_next_time(
    octavo, dataset, tmp_path, capsys
):
    good = octavo.said["Where?"]
    octavo.said["Where?"] = BackendError("no answer in time", code="chat_timeout")
    failed_in_shape = {"message": "cut off", "code": "chat_bad_reply", "next_step": ""}
    whole = octavo.said["Which colour?"]
    octavo.said["Which colour?"] = {"abstained": True, "answer": "", "error": failed_in_shape}
    out = tmp_path / "out"
    figures = measured(dataset, out, code=3)
    assert {code: seen["questions"] for code, seen in figures["errors"].items()} == {
        "chat_timeout": 1,
        "chat_bad_reply": 1,
    }
    assert figures["by_kind"]["name"]["errors"] == 1
    assert "no answer in time" in capsys.readouterr().out
    octavo.said |= {"Where?": good, "Which colour?": whole}
    octavo.asked.clear()
    assert measured(dataset, out)["errors"] == {}
    assert [call["question"] for call in octavo.asked] == ["Where?", "Which colour?"]


def test_a_run_where_every_question_fails_alike_stops_early(octavo, dataset, tmp_path, capsys):
    queries = [
        {"id": f"q{n}", "text": "Where?", "answer": "Vienna", "type": "place", "doc": "b.pdf"}
        for n in range(9)
    ]
    (dataset / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in queries))
    rows = ["query_id\tdoc\tpage\trelevance", *(f"q{n}\tb.pdf\t3\t1" for n in range(9))]
    (dataset / "qrels.tsv").write_text("".join(f"{row}\n" for row in rows))
    octavo.said["Where?"] = BackendError("no such server", code="chat_unreachable")
    out = tmp_path / "out"
    assert run(["eval", "run", str(dataset), "--answers", "--out", str(out)]) == 1
    assert "no such server" in capsys.readouterr().err
    assert len(octavo.asked) == 5
    assert len(lines(out / "answers.jsonl")) == 5


def test_a_change_of_the_code_meanwhile_shows_and_asks_nothing_anew(
    octavo, dataset, tmp_path, monkeypatch, capsys
):
    out = tmp_path / "out"
    monkeypatch.setattr("eval.answers.evaluation.commit", lambda: "before")
    assert measured(dataset, out)["taken_over"] == {"answers": 0, "commits": ["before"]}
    octavo.asked.clear()
    monkeypatch.setattr("eval.answers.evaluation.commit", lambda: "after")
    figures = measured(dataset, out)
    assert not octavo.asked
    assert figures["taken_over"] == {"answers": 3, "commits": ["before"]}
    assert figures["commit"] == "after"
    assert "taken over 3 answers of an earlier run; commits before" in capsys.readouterr().out


def test_a_torn_line_is_asked_again(octavo, dataset, tmp_path):
    out = tmp_path / "out"
    measured(dataset, out)
    path = out / "answers.jsonl"
    path.write_text(path.read_text()[:-20])
    octavo.asked.clear()
    measured(dataset, out)
    assert [call["question"] for call in octavo.asked] == ["Which colour?"]


def test_a_line_that_is_no_answer_is_told_kept_aside_and_asked_again(
    octavo, dataset, tmp_path, capsys
):
    out = tmp_path / "out"
    measured(dataset, out)
    path = out / "answers.jsonl"
    _, *others = path.read_bytes().splitlines(keepends=True)
    bad = [b'{"id": "q1", \xff oh\n', b"[1]\n", b"{}\n"]
    path.write_bytes(b"".join([*bad, b"\n", *others]))
    octavo.asked.clear()
    capsys.readouterr()
    notices = measured(dataset, out)["notices"]
    assert [call["question"] for call in octavo.asked] == ["How many?"]
    assert notices["answers_unreadable"]["questions"] == 3
    assert "answers_unreadable" in capsys.readouterr().out
    assert (out / "answers.jsonl.unreadable").read_bytes() == b"".join(bad)
    assert "answers_unreadable" not in measured(dataset, out)["notices"]


def test_answers_of_somebody_else_are_asked_anew(octavo, dataset, tmp_path):
    out = tmp_path / "out"
    measured(dataset, out)
    figures = measured(dataset, out, "--answerer", "chat")
    assert figures["answerer"] == "chat"
    assert len(octavo.asked) == 6


def test_the_history_of_answers_is_apart_from_that_of_searches(octavo, dataset, tmp_path):
    history = tmp_path / "history"
    measured(dataset, tmp_path / "out", "--scope", "document", "--history", str(history))
    measured(dataset, tmp_path / "out", "--scope", "document", "--history", str(history))
    assert [path.name for path in history.iterdir()] == ["tiny-answers.jsonl"]
    (line,) = lines(history / "tiny-answers.jsonl")  # the second run asked nothing
    assert line["headline"]["n"] == 3
    assert "points" not in line["abstention"]


def test_folds_choose_the_threshold_on_other_documents(octavo, dataset, tmp_path, capsys):
    figures = measured(dataset, tmp_path / "out", "--folds", "2", "--scope", "document")
    folds = figures["folds"]
    assert (folds["n"], folds["groups"], folds["as_it_is"]["n"]) == (2, 2, 4)
    # One fold is a.pdf (0.9, 0.7; nothing unanswerable), the other b.pdf (0.8, 0.3; 0.2).
    of_a = next(fold for fold in folds["folds"] if fold["as_it_is"]["unanswerable"] == 0)
    of_b = next(fold for fold in folds["folds"] if fold["as_it_is"]["unanswerable"] == 1)
    assert of_a["threshold"] == 0.3  # of b.pdf: answers 0.8 and 0.3, and not 0.2
    assert of_b["threshold"] == 0.2  # nothing wrong by a gold answer is known of a.pdf
    assert of_b["held_out"]["unanswerable_abstained"] == 0
    assert folds["as_it_is"]["unanswerable_abstained"] == 1
    asked = {call["answering"]["min_confidence"] for call in octavo.asked}
    assert asked == set(folds["thresholds"]) == {0.2, 0.3, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8}
    octavo.asked.clear()
    assert measured(dataset, tmp_path / "out", "--folds", "2", "--scope", "document")
    assert not octavo.asked
    assert "held out" in capsys.readouterr().out


def test_two_runs_of_answers_are_compared_on_the_questions_that_count(
    octavo, dataset, tmp_path, capsys
):
    measured(dataset, tmp_path / "first")
    octavo.said["Where?"] = answer("Vienna", "b.pdf", 3, 0.8)
    measured(dataset, tmp_path / "second")
    capsys.readouterr()
    both = [str(tmp_path / name) for name in ("first", "second")]
    assert run(["eval", "compare", *both, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["n_questions"] == 2
    gained = {each["measure"]: each["difference"] for each in found["differences"]}
    assert (gained["right_cited"], gained["wrong"], gained["abstained"]) == (0.5, -0.5, 0.0)
    measured(dataset, tmp_path / "third", "--oracle-pages")
    capsys.readouterr()
    assert run(["eval", "compare", both[0], str(tmp_path / "third")]) == 1
    assert "differ in pages" in capsys.readouterr().err


@pytest.mark.parametrize("place", [0, 1])
def test_the_run_that_is_not_there_is_the_one_that_is_named(
    octavo, dataset, tmp_path, capsys, place
):
    measured(dataset, tmp_path / "there")
    (tmp_path / "searched").mkdir()
    (tmp_path / "searched" / "measures.json").write_text("{}")
    for name, message in (("absent", "there is no run in"), ("searched", "run of answers")):
        both = [str(tmp_path / "there")]
        both.insert(place, str(tmp_path / name))
        capsys.readouterr()
        assert run(["eval", "compare", *both]) == 1
        (said, *_) = capsys.readouterr().err.splitlines()
        assert message in said
        assert ("absent'" if name == "absent" else "there'") in said


def test_runs_of_answers_are_listed_with_their_headline(octavo, dataset, tmp_path, capsys):
    runs = tmp_path / "runs"
    figures = measured(dataset, runs / "alone", "--scope", "document")
    about = {"encoder": "words@1", "documents": 2, "pages": 20, "size_bytes": 4000}
    octavo.collections = lambda only: {"collections": [{"name": only, "identity": {}, **about}]}
    for name in ("one", "two"):
        shutil.copytree(dataset, tmp_path / "set" / name)
    qrels = (dataset / "qrels.tsv").read_text().splitlines()
    (tmp_path / "set" / "two" / "unanswerable.jsonl").unlink()
    (tmp_path / "set" / "two" / "qrels.tsv").write_text("\n".join([*qrels[:3], ""]))
    command = ["eval", "run", str(tmp_path / "set"), "--answers", "--answerer", "extractive"]
    flags = ["--scope", "document", "--folds", "2", "--out", str(runs / "both")]
    # Of the second part there is one document to ask about: refused before any is asked.
    assert run([*command, *flags]) == 1
    assert not (runs / "both").exists()
    assert run([*command, *flags[:2], *flags[4:]]) == 0
    capsys.readouterr()
    assert run(["eval", "list", str(runs), "--json"]) == 0
    listed = {Path(each["out"]).name: each for each in json.loads(capsys.readouterr().out)["runs"]}
    assert listed["alone"] == {**figures, "kind": "answers", "out": str(runs / "alone")}
    assert (listed["both"]["kind"], listed["both"]["parts_are"]) == ("parts", "answers")
    shares = [part["headline"]["right_cited"] for part in listed["both"]["parts"]]
    assert shares == [pytest.approx(1 / 3), 1.0]
    assert listed["both"]["headline"]["right_cited"] == pytest.approx(2 / 3)
    assert run(["eval", "list", str(runs)]) == 0
    shown = capsys.readouterr().out
    assert "0.3333" in shown
    assert "0.6667" in shown


def test_json_is_the_figures_and_where_they_are(octavo, dataset, tmp_path, capsys):
    out = tmp_path / "out"
    figures = measured(dataset, out, "--json", "--scope", "document")
    assert json.loads(capsys.readouterr().out) == {**figures, "out": str(out)}


def test_a_limit_holds_for_both_kinds_of_questions(octavo, dataset, tmp_path):
    measured(dataset, tmp_path / "out", "--limit", "1", "--scope", "document")
    assert [call["question"] for call in octavo.asked] == ["How many?", "Who is the mayor?"]


@pytest.mark.parametrize(
    "flags",
    [
        ["--oracle-pages"],
        ["--answerer", "chat"],
        ["--answers", "--exact"],
        ["--answers", "--folds", "2", "--measure", "R@1"],
        ["--answers", "--folds", "2", "--axis", "retrieval.rrf_k=1,2"],
    ],
)
def test_flags_that_say_nothing_here_are_mistakes(octavo, dataset, tmp_path, flags):
    assert run(["eval", "run", str(dataset), "--out", str(tmp_path / "out"), *flags]) == 2
