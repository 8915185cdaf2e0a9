"""`octavo eval run --answers` with the real pipeline, over a dataset of the sample report."""

import json
import shutil
from pathlib import Path

import pytest

from rag.apps.cli.app import run
from rag.apps.connection import connect
from rag.settings import load_settings

SAMPLE = Path(__file__).parents[2] / "examples" / "sample-report.pdf"
QUESTIONS = [
    ("What was the total revenue in 2024?", "325.0", 2),
    ("What was the revenue of Celtic Sea in 2023, in EUR million?", "71.8", 2),
    ("Which floating platform is to be tested off Brittany?", "Stormglass", 4),
    ("How many turbines does the second phase add in the Celtic Sea?", "38", 4),
]
WITHOUT = ["Who is the mayor of Oslo?", "What was the revenue of Lapland in 1999?"]


@pytest.fixture(name="dataset", scope="module")
def _dataset(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "report"
    (folder / "docs").mkdir(parents=True)
    shutil.copy(SAMPLE, folder / "docs")
    doc = SAMPLE.name
    queries = [
        {"id": f"q{i}", "text": text, "answer": answer, "type": "t", "doc": doc}
        for i, (text, answer, _) in enumerate(QUESTIONS)
    ]
    without = [{"id": f"u{i}", "text": text, "doc": doc} for i, text in enumerate(WITHOUT)]
    qrels = [f"q{i}\t{doc}\t{page}\t1" for i, (*_, page) in enumerate(QUESTIONS)]
    for name, rows in (("queries", queries), ("unanswerable", without)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "qrels.tsv").write_text("\n".join(["query_id\tdoc\tpage\trelevance", *qrels]) + "\n")
    return folder


@pytest.fixture(name="place", scope="module")
def _place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("place")


def measured(dataset, place, name, *flags):
    out = place / name
    command = ["eval", "run", str(dataset), "--answers", "--out", str(out)]
    command += ["--history", str(place / "history"), "--data-dir", str(place / "data"), *flags]
    assert run(command) == 0
    rows = [json.loads(line) for line in (out / "answers_per_query.jsonl").read_text().splitlines()]
    return json.loads((out / "answer_measures.json").read_text()), rows


def test_from_gold_pages_every_cited_page_is_gold(dataset, place):
    figures, rows = measured(dataset, place, "oracle", "--oracle-pages")
    assert [row["id"] for row in rows] == ["q0", "q1", "q2", "q3"]
    assert figures["headline"]["n"] == 4
    assert figures["cited_pages"]["precision"]["n"] >= 1
    assert figures["cited_pages"]["precision"]["value"] == 1.0
    assert figures["latency_ms"]["answer"]["n"] == 4


def test_a_threshold_withholds_here_what_it_withholds_when_asked_with(dataset, place):
    figures, rows = measured(dataset, place, "document", "--scope", "document")
    settings = load_settings(overrides={"store": {"data_dir": place / "data"}}, environ={})
    asked = {}
    with connect(settings, command="test") as octavo:
        for threshold in (0.0, figures["threshold"], 0.8, 1.0):
            asked[threshold] = [
                octavo.ask(
                    question=text,
                    collection="eval-report",
                    documents=[SAMPLE.name],
                    answering={"min_confidence": threshold},
                )["abstained"]
                for text in [*(text for text, *_ in QUESTIONS), *WITHOUT]
            ]
    for threshold, abstained in asked.items():
        assert abstained[: len(QUESTIONS)] == [row["score"] < threshold for row in rows]
    as_set = asked[figures["threshold"]]
    assert as_set[: len(QUESTIONS)] == [row["outcome"] == "abstained" for row in rows]
    assert sum(as_set[len(QUESTIONS) :]) == figures["abstention"]["abstained"]
    assert sum(asked[0.0]) < sum(asked[1.0])
