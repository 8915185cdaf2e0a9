"""`octavo eval run` over documents that could not be read, and gold pages that are not there."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from commands import OCTAVO, Commands

from eval.datasets.folder import Dataset, PageKey, Query
from eval.documents_read import DocumentsRead
from rag.testing import make_pdf


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of two documents one is no PDF; a question is about each."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "tiny"
    (folder / "docs").mkdir(parents=True)
    (folder / "docs" / "a.pdf").write_bytes(make_pdf(["About otters.", "About granite."]))
    (folder / "docs" / "evil.pdf").write_bytes(b"nothing")
    asked = {"text": "otters?", "answer": "5818", "type": "t"}
    rows = [{"id": "q1", **asked}, {"id": "q2", **asked}]
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    graded(folder, "q1\ta.pdf\t1\t1", "q2\tevil.pdf\t1\t1")
    return folder


def graded(folder: Path, *lines: str) -> None:
    (folder / "qrels.tsv").write_text("\n".join(["query_id\tdoc\tpage\trelevance", *lines, ""]))


def told(*flags: str) -> tuple[int, str]:
    """Exit code and stdout of a run of `tiny`, at the terminal."""
    command = [OCTAVO, "eval", "run", "tiny", "--data-dir", "data", "--history", "h", *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("flags", "file"),
    [
        ((), "measures.json"),
        (("--answers", "--answerer", "extractive"), "answer_measures.json"),
    ],
)
def test_a_document_that_could_not_be_read_stands_in_the_figures(dataset, tmp_path, flags, file):
    code, said = told("--out", "out", *flags)
    assert code == 3
    figures = json.loads((tmp_path / "out" / file).read_text())
    assert figures["index"]["failed"] == {"documents": {"evil.pdf": "not_a_pdf"}, "pages": 0}
    notice = figures["notices"]["documents_unread"]
    assert notice["questions"] == 1
    assert "1 of 2 documents: evil.pdf (not_a_pdf)" in notice["message"]
    assert notice["message"] in said
    assert "gold_page_missing" not in figures["notices"]
    assert "documents_unread" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize(
    ("flags", "file"),
    [
        ((), "measures.json"),
        (("--answers", "--answerer", "extractive"), "answer_measures.json"),
    ],
)
def test_a_gold_page_past_the_end_is_told_and_makes_the_run_partial(dataset, tmp_path, flags, file):
    (dataset / "docs" / "evil.pdf").unlink()
    graded(dataset, "q1\ta.pdf\t1\t1", "q2\ta.pdf\t77\t1")
    code, said = told("--out", "out", "--no-report", *flags)
    assert code == 3
    figures = json.loads((tmp_path / "out" / file).read_text())
    notice = figures["notices"]["gold_page_missing"]
    assert notice["questions"] == 1
    assert "1 gold page not in the documents, such as page 77 of a.pdf (question q2)" in said
    assert "which has 2 pages" in notice["message"]
    graded(dataset, "q1\ta.pdf\t1\t1", "q2\ta.pdf\t2\t1")
    assert told("--out", "mended", "--no-report", *flags)[0] == 0


def test_a_sweep_tells_both_and_is_partial(dataset, tmp_path):
    graded(dataset, "q1\ta.pdf\t1\t1", "q2\ta.pdf\t77\t1")
    axis = ("--axis", "retrieval.fusion=zscore,rrf")
    octavo = Commands(tmp_path / "data")
    code, _ = octavo.outcome("eval", "sweep", "tiny", "--out", "swept", *axis)
    assert code == 3
    table = (tmp_path / "swept" / "sweep.txt").read_text()
    assert "pages      fusion=zscore: could not be read: 1 of 2 documents" in table
    assert "pages      fusion=zscore: 1 gold page not in the documents" in table
    assert "degraded" not in table


def dataset_of(*gold: tuple[str, int]) -> Dataset:
    asked: dict[str, Any] = {"text": "?", "answer": "", "type": "t"}
    queries = {f"q{n}": Query(id=f"q{n}", **asked) for n in range(len(gold))}
    return Dataset(
        name="tiny",
        folder=Path(),
        documents=("a.pdf", "b.pdf"),
        queries=queries,
        qrels={f"q{n}": {PageKey(*page): 1} for n, page in enumerate(gold)},
        unanswerable=(),
        digest="",
    )


def test_pages_that_failed_are_counted_and_a_document_that_is_not_listed_is_unread():
    dataset = dataset_of(("a.pdf", 2), ("a.pdf", 3), ("b.pdf", 1))
    listed = [{"source": "a.pdf", "pages": 3, "error": None, "failed_pages": [{"page_number": 2}]}]
    read = DocumentsRead.of(dataset, listed)
    assert read.unread() == {"documents": {"b.pdf": "not_listed"}, "pages": 1}
    (notice,) = read.notices(dataset, dataset.queries.values()).values()
    assert notice["questions"] == 2
    assert "1 page of others, such as page 2 of a.pdf" in notice["message"]
    whole = DocumentsRead({"a.pdf": 3, "b.pdf": 1}, {}, frozenset())
    assert whole.notices(dataset, dataset.queries.values()) == {}
