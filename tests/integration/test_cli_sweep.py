"""`octavo eval sweep` and `eval run --folds` over small real collections."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from rag.apps.cli.app import run
from rag.errors import ModelFailed
from rag.scoring.coded_pages import CodedPages
from rag.testing import make_pdf
from rag.wiring import Engine
from tests.commands import Commands

WORDS = ("otter", "lighthouse", "granite", "saffron", "violin", "glacier", "walnut", "compass")


def write_dataset(folder: Path, words: tuple[str, ...] = WORDS) -> Path:
    """A document a word, four pages each; its third page is what the question asks for."""
    (folder / "docs").mkdir(parents=True)
    questions, qrels = [], ["query_id\tdoc\tpage\trelevance"]
    for number, word in enumerate(words):
        other = words[(number + 1) % len(words)]
        pages = [
            f"Notes of {word}.\nAbout {other} and weather.",
            f"Nothing but {other}, {other} and {other} here.",
            f"The price of a {word} was {number + 11} crowns.",
            f"Old stories of the {word} and of the {other}.",
        ]
        (folder / "docs" / f"{word}.pdf").write_bytes(make_pdf(pages))
        question = {"id": f"q{number}", "text": f"What was the price of a {word}?"}
        questions.append(question | {"answer": "x", "type": "text", "doc": f"{word}.pdf"})
        qrels.append(f"q{number}\t{word}.pdf\t3\t1")
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in questions))
    (folder / "qrels.tsv").write_text("\n".join(qrels) + "\n")
    return folder


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("sets") / "tiny")


@pytest.fixture(scope="module")
def octavo(tmp_path_factory: pytest.TempPathFactory) -> Commands:
    data = tmp_path_factory.mktemp("data") / "d"
    return Commands(data, "--set", "render.workers=1", "--set", "ocr.mode=off")


@pytest.fixture(autouse=True)
def away_from_the_checkout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_sweep_writes_runs_a_table_and_a_picture(octavo, dataset, tmp_path):
    out = tmp_path / "out"
    shown = octavo(
        *("eval", "sweep", str(dataset), "--out", str(out)),
        *("--axis", "retrieval.fusion=zscore,rrf"),
        *("--axis", "retrieval.weights.document=2,0"),
    )
    assert [row["name"] for row in shown["rows"]] == [
        "fusion=zscore document=2",
        "fusion=zscore document=0",
        "fusion=rrf document=2",
        "fusion=rrf document=0",
    ]
    assert shown["baseline"] == "fusion=zscore document=2"
    for row in shown["rows"]:
        (part,) = row["parts"]
        measures = json.loads((Path(part["out"]) / "measures.json").read_text())
        assert measures["measures"] == part["measures"]
        assert part["n_questions"] == len(WORDS)
    # The settings reached the search: the rows did not all score alike.
    runs = {(Path(row["parts"][0]["out"]) / "run.tsv").read_text() for row in shown["rows"]}
    assert len(runs) == 4
    assert json.loads((out / "sweep.json").read_text()) == shown
    assert "fusion=rrf document=0" in (out / "sweep.txt").read_text()
    ElementTree.fromstring((out / "sweep.svg").read_text())
    assert len(list(out.glob("tiny/*/measures.json"))) == 4


def test_a_row_finds_what_a_run_with_its_settings_finds(octavo, dataset, tmp_path):
    axis = ("--axis", "retrieval.fusion=zscore,rrf")
    shown = octavo("eval", "sweep", str(dataset), *axis, "--out", str(tmp_path / "s"))
    octavo(
        *("eval", "run", str(dataset), "--out", str(tmp_path / "r")),
        *("--set", "retrieval.fusion=rrf"),
    )
    row = Path(shown["rows"][1]["parts"][0]["out"])
    assert (row / "run.tsv").read_text() == (tmp_path / "r" / "run.tsv").read_text()


def test_what_was_asked_already_is_not_asked_again(octavo, dataset, tmp_path, monkeypatch):
    out = ("--out", str(tmp_path / "out"))
    axis = "retrieval.fusion=zscore,rrf"
    first = octavo("eval", "sweep", str(dataset), "--axis", axis, *out)
    asked = count_searches(monkeypatch)
    again = octavo("eval", "sweep", str(dataset), "--axis", axis, *out)
    assert asked == []
    assert [row["mean"] for row in again["rows"]] == [row["mean"] for row in first["rows"]]
    octavo("eval", "sweep", str(dataset), "--axis", f"{axis},min_max", *out)
    assert len(asked) == len(WORDS) + 2  # the new row, with what warms up


def count_searches(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    asked: list[str] = []
    search = Engine.retriever

    def counted(self, collection, changes=None):
        asked.append(collection)
        return search(self, collection, changes)

    monkeypatch.setattr(Engine, "retriever", counted)
    return asked


def test_settings_of_pages_get_a_collection_of_their_own_which_is_used_again(
    octavo, dataset, tmp_path, monkeypatch
):
    axis = ("--axis", "pooling.method=none,runs")
    shown = octavo("eval", "sweep", str(dataset), *axis, "--out", str(tmp_path / "a"))
    assert [row["skipped"] for row in shown["rows"]] == [None, None]
    names = {each["name"] for each in octavo("status")["collections"]}
    mine = {name for name in names if name.startswith("eval-tiny")}
    assert len(mine) == 2
    asked = count_searches(monkeypatch)
    octavo("eval", "sweep", str(dataset), *axis, "--out", str(tmp_path / "b"))
    assert {each["name"] for each in octavo("status")["collections"]} == names
    assert {*asked} == mine


def test_several_datasets_and_both_scopes_are_averaged(octavo, dataset, tmp_path):
    other = write_dataset(tmp_path / "other", WORDS[:3])
    shown = octavo(
        *("eval", "sweep", str(dataset), str(other), "--scope", "both"),
        *("--axis", "retrieval.fusion=zscore,rrf", "--out", str(tmp_path / "out")),
    )
    assert [(part["dataset"], part["scope"]) for part in shown["parts"]] == [
        ("tiny", "corpus"),
        ("tiny", "document"),
        ("other", "corpus"),
        ("other", "document"),
    ]
    for row in shown["rows"]:
        values = [part["measures"]["nDCG@10"] for part in row["parts"]]
        assert row["mean"]["measures"]["nDCG@10"] == pytest.approx(sum(values) / 4)


def test_a_row_that_wants_what_is_not_there_is_skipped_with_its_reason(octavo, dataset, tmp_path):
    rows = tmp_path / "rows.toml"
    rows.write_text(
        '[plain]\n[described]\ncaption.mode = "on"\n'
        '[elsewhere]\nencoder.name = "remote"\nencoder.url = "http://127.0.0.1:9"\n'
        "encoder.retry_s = 0.0\nencoder.timeout_s = 1.0\n"
    )
    shown = octavo(
        *("eval", "sweep", str(dataset), "--rows", str(rows), "--out", str(tmp_path / "out"))
    )
    plain, described, elsewhere = shown["rows"]
    assert plain["skipped"] is None
    assert "chat.model is not set" in described["skipped"]
    assert elsewhere["skipped"]
    text = (tmp_path / "out" / "sweep.txt").read_text()
    assert "skipped    described: " in text
    assert "skipped    elsewhere: " in text


def test_a_row_whose_model_fails_half_way_does_not_end_the_sweep(
    octavo, dataset, tmp_path, monkeypatch
):
    retriever = Engine.retriever
    n_asked = 0

    def failing(self, collection, changes=None):
        nonlocal n_asked
        if (changes or {}).get("fusion") == "rrf":
            n_asked += 1
            if n_asked > 5:
                raise ModelFailed("the reranker has gone")
        return retriever(self, collection, changes)

    monkeypatch.setattr(Engine, "retriever", failing)
    shown = octavo(
        *("eval", "sweep", str(dataset), "--out", str(tmp_path / "out")),
        *("--axis", "retrieval.fusion=zscore,rrf,min_max"),
    )
    assert [row["skipped"] for row in shown["rows"]] == [None, "the reranker has gone", None]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--axis", "retrieval.fusoin=rrf"], "Did you mean retrieval.fusion?"),
        (["--axis", "retrieval.code_bits=1,9"], "retrieval.code_bits"),
        (["--axis", "store.batch_pages=1"], "store.batch_pages"),
        (["--axis", "retrieval.fusion="], "expected SECTION.KEY"),
        (["--axis", "retrieval.fusion=rrf,zscore,rrf"], "the value rrf twice"),
        (["--axis", "retrieval.top_k=3", "--axis", "retrieval.top_k=4"], "in two places"),
        (["--axis", "retrieval.fusion=rrf", "--rows", "x.toml"], "either"),
        ([], "either"),
        (["--axis", "retrieval.fusion=rrf", "-c", "mine"], "names its collections itself"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_asked(octavo, dataset, tmp_path, flags, said):
    found = octavo.refused("eval", "sweep", str(dataset), "--out", str(tmp_path / "o"), *flags)
    assert said in found["message"]
    assert (found["code"], found["next_step"]) == ("usage", "See octavo eval sweep --help.")
    assert not list(tmp_path.glob("o/*/*"))


# --- eval run --folds ---------------------------------------------------------------------------
AXES = ("--axis", "retrieval.fusion=zscore,rrf", "--axis", "retrieval.weights.document=2,0")


def test_folds_choose_on_some_documents_and_measure_on_the_others(octavo, dataset, tmp_path):
    out = tmp_path / "out"
    shown = octavo("eval", "run", str(dataset), "--folds", "4", *AXES, "--out", str(out))
    folds = shown["folds"]
    assert json.loads((out / "measures.json").read_text())["folds"] == folds
    assert folds["tried"] == folds["combinations"] == 4
    assert sum(fold["questions"] for fold in folds["folds"]) == len(WORDS)
    documents = [name for fold in folds["folds"] for name in fold["groups"]]
    assert sorted(documents) == sorted(f"{word}.pdf" for word in WORDS)
    assert folds["in_sample"]["measures"]["nDCG@10"] >= folds["held_out"]["nDCG@10"]
    assert folds["baseline"] == shown["measures"]


def test_folds_use_what_a_sweep_has_asked(octavo, dataset, tmp_path, monkeypatch):
    out = ("--out", str(tmp_path / "out"))
    octavo("eval", "sweep", str(dataset), *AXES, *out)
    asked = count_searches(monkeypatch)
    shown = octavo("eval", "run", str(dataset), "--folds", "2", *AXES, *out)
    assert len(asked) == len(WORDS)  # the run itself; no combination
    assert shown["folds"]["tried"] == 4


def test_folds_without_axes_show_the_spread(octavo, dataset, tmp_path):
    shown = octavo("eval", "run", str(dataset), "--folds", "2", "--out", str(tmp_path / "o"))
    assert shown["folds"]["held_out"] == shown["measures"]


def test_folds_choose_by_any_measure_that_is_told_of_each_question(octavo, dataset, tmp_path):
    out = ("--measure", "AP@10", "--out", str(tmp_path / "o"))
    folds = octavo("eval", "run", str(dataset), "--folds", "2", *AXES, *out)["folds"]
    assert folds["measure"] == "AP@10"
    assert {"AP@10", "nDCG@10"} <= folds["held_out"].keys() & folds["baseline"].keys()
    sizes = [fold["questions"] for fold in folds["folds"]]
    held_out = sum(n * fold["held_out"] for n, fold in zip(sizes, folds["folds"], strict=True))
    assert folds["held_out"]["AP@10"] == pytest.approx(held_out / sum(sizes))
    assert 0 < folds["held_out"]["AP@10"] <= folds["in_sample"]["measures"]["AP@10"]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--axis", "retrieval.fusion=rrf"], "chosen by --folds"),
        (["--folds", "99"], "Ask for fewer folds"),
        (["--folds", "3", "--measure", "F1"], "no measure"),
        (["--folds", "3", "--axis", "retrieval.code_bits=9"], "code_bits"),
        (["--folds", "3", "-c", "mine"], "names its collections itself"),
    ],
)
def test_folds_that_cannot_be_had_are_refused(octavo, dataset, tmp_path, flags, said):
    found = octavo.refused("eval", "run", str(dataset), "--out", str(tmp_path / "o"), *flags)
    assert said in f"{found['message']} {found['next_step']}"
    assert not (tmp_path / "o").exists()


def test_codes_score_what_is_not_shown_where_they_are_switched_on(
    octavo, dataset, tmp_path, monkeypatch
):
    scored: dict[int, int] = {}
    scores = CodedPages.scores

    def counted(self, query, pages, among, **options):
        scored[self.n_bits] = scored.get(self.n_bits, 0) + len(among)
        return scores(self, query, pages, among, **options)

    monkeypatch.setattr(CodedPages, "scores", counted)
    shown = octavo(
        *("eval", "sweep", str(dataset), "--out", str(tmp_path / "out"), "--limit", "1"),
        *("--axis", "retrieval.codes=int8,bebr", "--axis", "retrieval.code_bits=1,2"),
    )
    assert [row["skipped"] for row in shown["rows"]] == [None] * 4
    n_pages = 4 * len(WORDS)
    assert scored == {1: 2 * n_pages, 2: 2 * n_pages}  # asked once to warm up, once to be timed


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "--out"),
        ("run", "--history"),
        ("sweep", "--axis", "retrieval.fusion=rrf", "--out"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("below", ["", "further/down"])
def test_a_file_where_a_folder_is_to_be_is_found_before_anything_is_asked(
    dataset, tmp_path, monkeypatch, capsys, arguments, below
):
    monkeypatch.setattr(Engine, "__init__", lambda *_, **__: pytest.fail("opened"))
    (tmp_path / "taken").write_text("mine")
    command, *flags = arguments
    assert run(["eval", command, str(dataset), *flags, str(tmp_path / "taken" / below)]) == 2
    said = capsys.readouterr().err
    assert flags[-1] in said
    assert "fault" not in said
    assert (tmp_path / "taken").read_text() == "mine"
