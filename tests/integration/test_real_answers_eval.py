"""`octavo eval run --answers` with the real pipeline, over a dataset of the sample report."""

import json
import shutil
from pathlib import Path

import pytest

from eval.answers.judged import said_of
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


def test_what_is_measured_is_what_whoever_asks_is_answered(dataset, place):
    figures, rows = measured(dataset, place, "document", "--scope", "document")
    settings = load_settings(overrides={"store": {"data_dir": place / "data"}}, environ={})
    with connect(settings, command="test") as octavo:
        asked = [
            octavo.ask(question=text, collection="eval-report", documents=[SAMPLE.name])
            for text in [*(text for text, *_ in QUESTIONS), *WITHOUT]
        ]
    answered, without = asked[: len(QUESTIONS)], asked[len(QUESTIONS) :]
    assert [row["outcome"] == "abstained" for row in rows] == [a["abstained"] for a in answered]
    assert [row["said"] for row in rows if row["outcome"] != "abstained"] == [
        said_of(each) for each in answered if not each["abstained"]
    ]
    assert figures["abstention"]["abstained"] == sum(each["abstained"] for each in without)
    assert figures["all"]["answered"] > 0
