"""`octavo eval make`: a starter set from one's own documents, with a person deciding."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from commands import OCTAVO, Commands
from servers import ChatServer, serving

from eval.datasets.folder import load_dataset
from rag.testing.pdfs import PdfPage, PdfText, make_pdf

PAGES = [
    "# Dividends Of The Year\nThe board proposes a dividend of 4 dollars a share.",
    "# Staff And Offices\nThe company has 120 employees in three offices.",
    "# Dividends Of Other Years\nNone were paid before.\n# Staff And Offices\nAs it was before.",
]


def table_page(heads: tuple[str, str] = ("2021", "2022"), label: str = "Revenue") -> PdfPage:
    rows = [("", *heads), (label, "1,204", "1,377"), ("Net income", "88", "131")]
    texts = [PdfText("Selected figures in millions of dollars", 72, 60, bold=True)]
    for number, row in enumerate(rows):
        for cell, x_pt in zip(row, (72, 300, 400), strict=True):
            if cell:
                texts.append(PdfText(cell, x_pt, 100 + 20 * number))
    return PdfPage(texts)


@pytest.fixture
def octavo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "report.pdf").write_bytes(
        make_pdf([*PAGES, table_page()], title="Annual report of Tiny Inc")
    )
    return Commands(tmp_path / "data")


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_questions_are_made_of_headings_and_tables_and_can_be_run(octavo, tmp_path):
    made = octavo("eval", "make", "report.pdf", "--to", "set", "--accept-all")
    assert made["accepted"] == made["candidates"] > 4
    dataset = load_dataset(tmp_path / "set")
    gold = {
        query.text: (sorted(dataset.qrels[query.id])[0].page_number, query.answer)
        for query in dataset.queries.values()
    }
    title = "Annual report of Tiny Inc"
    page, answer = gold[f"What does {title} say about Dividends Of The Year?"]
    assert page == 1
    assert answer.startswith("The board proposes a dividend of 4 dollars")
    table = 'the table "Selected figures in millions of dollars"'
    asked = f"In {title}, what does {table} say for"
    assert gold[f'{asked} "Net income", "2022"?'] == (4, "131")
    assert gold[f'{asked} "Revenue", "2021"?'] == (4, "1,204")
    run = octavo("eval", "run", "set", "--out", "run", "--history", "history")
    assert run["n_questions"] == made["accepted"]
    assert run["measures"]["Success@1"] > 0.5


def test_sentences_and_what_no_one_can_read_are_not_asked_about(octavo, tmp_path):
    pages = [
        "# Garden Tools Of Spring\nSpades and rakes.",
        "# All tools are made of ash wood and stainless steel\nWith care.",
        "# It was cold outside.\nSnow fell.",
        "# Congratulations, you and your spade\nwere made for each other.",
        "# Xkcdq Wrtp Mnbv\nNothing.",
        table_page(heads=("Price", "ml ,, I ,")),
        table_page(label="Krtw mnq zz"),
    ]
    (tmp_path / "report.pdf").write_bytes(make_pdf(pages, title="Catalogue of tools"))
    octavo("eval", "make", "report.pdf", "--to", "set", "--accept-all")
    texts = [row["text"] for row in rows(tmp_path / "set" / "queries.jsonl")]
    about = [text.partition(" say ")[2] for text in texts if " say about " in text]
    assert about == ["about Garden Tools Of Spring?"]
    figures = {text.partition(" say for ")[2] for text in texts if " say for " in text}
    assert figures == {
        *('"Revenue", "Price"?', '"Net income", "Price"?'),
        *('"Net income", "2021"?', '"Net income", "2022"?'),
    }


def test_the_documents_of_a_set_are_copies(octavo, tmp_path):
    original = tmp_path / "report.pdf"
    octavo("eval", "make", "report.pdf", "--to", "set", "--accept-all")
    kept = tmp_path / "set" / "docs" / "report.pdf"
    before = kept.read_bytes()
    with original.open("r+b") as file:  # as an editor does that writes in place
        file.write(b"edited")
    assert kept.read_bytes() == before


def test_documents_that_lie_in_the_set_already_stay_as_they_are(octavo, tmp_path):
    docs = tmp_path / "set" / "docs"
    docs.mkdir(parents=True)
    (tmp_path / "report.pdf").rename(docs / "report.pdf")
    before = (docs / "report.pdf").read_bytes()
    octavo("eval", "make", "set/docs", "--to", "set", "--accept-all")
    assert (docs / "report.pdf").read_bytes() == before


def test_a_heading_on_several_pages_is_not_asked_about(octavo, tmp_path):
    octavo("eval", "make", "report.pdf", "--to", "set", "--from", "heading", "--accept-all")
    texts = [row["text"] for row in rows(tmp_path / "set" / "queries.jsonl")]
    assert texts
    assert not [text for text in texts if "Staff And Offices" in text]


def test_documents_whose_names_differ_in_their_signs_alone_have_questions_of_their_own(
    octavo, tmp_path
):
    names = ("a b.pdf", "a-b.pdf", "a%20b.pdf", "год.pdf", "дом.pdf")
    (tmp_path / "more").mkdir()
    for name in names:
        (tmp_path / "more" / name).write_bytes((tmp_path / "report.pdf").read_bytes())
    octavo("eval", "make", "more", "--to", "set", "--per-document", "1", "--accept-all")
    dataset = load_dataset(tmp_path / "set")
    assert {query.doc for query in dataset.queries.values()} == {*names}
    assert {*dataset.qrels} == {*dataset.queries}


def test_a_document_gives_as_many_questions_as_are_asked_for(octavo, tmp_path):
    made = octavo("eval", "make", "report.pdf", "--to", "set", "--per-document", "3")
    assert made["candidates"] == 3
    assert made["pending"] == 3
    assert set(made["kinds"]) == {"heading", "table"}
    assert (tmp_path / "set" / "queries.jsonl").read_text() == ""


def reviewed(tmp_path: Path, typed: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [OCTAVO, "eval", "make", *arguments, "--to", "set", "--data-dir", "data"],
        input=typed,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_person_accepts_rewords_rejects_and_goes_on_another_day(octavo, tmp_path):
    first = reviewed(tmp_path, "a\ne\nWhat did they earn?\n131 million\nr\n", "report.pdf")
    assert first.returncode == 0, first.stderr
    assert "2 questions accepted, 1 rejected" in first.stdout
    # Neither the edited nor the rejected one is among those that flatter a search.
    *_, last = first.stderr.splitlines()
    n_left = len(rows(tmp_path / "set" / "candidates.jsonl")) - 2
    assert last.startswith(f"{n_left} of the questions use the words of their page")
    assert "reword them" in last
    kept = rows(tmp_path / "set" / "queries.jsonl")
    assert [row["groups"]["edited"] for row in kept] == ["no", "yes"]
    assert (kept[1]["text"], kept[1]["answer"]) == ("What did they earn?", "131 million")

    again = reviewed(tmp_path, "a\nnonsense\nq\n")
    assert "3 questions accepted, 1 rejected" in again.stdout
    assert "a accept" in again.stderr
    decided = rows(tmp_path / "set" / "candidates.jsonl")
    assert [row["decision"] for row in decided[:4]] == [
        "accepted",
        "accepted",
        "rejected",
        "accepted",
    ]
    assert len(load_dataset(tmp_path / "set").queries) == 3


def test_a_folder_of_any_name_is_made_and_measured(octavo, tmp_path):
    (tmp_path / "report.pdf").rename(tmp_path / "mein bericht ü.pdf")
    name = "mein set ü.v1"
    typed = (OCTAVO, "eval", "make", "mein bericht ü.pdf", "--to", name, "--data-dir", "data")
    made = subprocess.run(
        typed, input="a\nq\n", cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    # As a shell takes it: copied whole, the line is the command.
    assert f"octavo eval run '{name}'" in made.stderr
    assert f"octavo eval make --to '{name}'" in made.stderr
    run = octavo("eval", "run", name, "--out", "run", "--history", "history")
    assert run["n_questions"] == 1
    assert run["index"]["collection"].startswith("eval-mein-set-u-v1-")


def test_what_was_decided_is_not_proposed_over(octavo, tmp_path):
    octavo("eval", "make", "report.pdf", "--to", "set", "--accept-all")
    before = (tmp_path / "set" / "candidates.jsonl").read_bytes()
    code, said = octavo.outcome("eval", "make", "report.pdf", "--to", "set")
    assert code == 2
    assert "holds questions already" in said
    assert (tmp_path / "set" / "candidates.jsonl").read_bytes() == before


def model(messages: list[dict[str, Any]]) -> str:
    shown = json.dumps(messages)
    questions = []
    if "120 employees" in shown:
        questions = [
            {
                "question": "How many people work at Tiny?",
                "answer": "120",
                "quote": "120 employees in three offices",
            },
            {"question": "Who founded Tiny?", "answer": "Ada", "quote": "founded by Ada"},
        ]
    return json.dumps({"questions": questions})


def test_a_model_writes_questions_and_those_without_their_quote_on_the_page_are_dropped(
    octavo, tmp_path, monkeypatch
):
    with serving(ChatServer(model)) as server:
        monkeypatch.setenv("OCTAVO_CHAT__URL", server.url)
        monkeypatch.setenv("OCTAVO_CHAT__MODEL", "tiny-chat")
        made = octavo("eval", "make", "report.pdf", "--to", "set", "--from", "model")
    assert made["kinds"] == {"model": 1}
    (candidate,) = rows(tmp_path / "set" / "candidates.jsonl")
    assert (candidate["text"], candidate["page_number"]) == ("How many people work at Tiny?", 2)
    (warning,) = made["warnings"]
    assert warning["code"] == "questions_dropped"
    assert "1 x a quote that is not on the page" in warning["message"]


def test_a_reply_of_another_shape_is_counted_and_nothing_is_made_of_it(
    octavo, tmp_path, monkeypatch
):
    with serving(ChatServer(lambda _: "Sure! Here are some questions.")) as server:
        monkeypatch.setenv("OCTAVO_CHAT__URL", server.url)
        monkeypatch.setenv("OCTAVO_CHAT__MODEL", "tiny-chat")
        error = octavo.refused("eval", "make", "report.pdf", "--to", "set", "--from", "model")
    assert "nothing was found to ask about" in error["message"]
    assert not (tmp_path / "set" / "candidates.jsonl").exists()


def test_a_model_that_is_not_set_is_asked_for_by_name(octavo):
    error = octavo.refused("eval", "make", "report.pdf", "--to", "set", "--from", "model")
    assert error["code"] == "no_chat_model"
    assert "OCTAVO_CHAT__MODEL" in error["next_step"]


def test_files_that_cannot_be_read_are_told_and_the_others_are_asked_about(octavo, tmp_path):
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.4 nothing")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "report.pdf").write_bytes(make_pdf(["# Another Report Of It\nWords."]))
    made = octavo("eval", "make", "report.pdf", "broken.pdf", "sub", "--to", "set", "--accept-all")
    assert {warning["code"] for warning in made["warnings"]} == {"damaged", "same_name"}
    assert load_dataset(tmp_path / "set").documents == ("report.pdf",)


def test_damaged_candidates_are_named_by_file(octavo, tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "candidates.jsonl").write_text('{"id": "x"}\n')
    error = octavo.refused("eval", "make", "--to", "set")
    assert "candidates.jsonl" in error["message"]
