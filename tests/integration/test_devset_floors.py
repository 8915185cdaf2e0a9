"""The retrieval floors of the development collections, through the command, as users measure.

They take minutes to ingest, so they are nightly; a slice of two filings and three mixed documents
runs every time.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rag.ocr.choose import is_installed
from rag.settings import load_settings
from rag.types import PageField, Principal
from rag.wiring import Engine

OCTAVO = Path(sys.executable).with_name("octavo")


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def evaluate(dataset: Path, work: Path, *flags: str) -> dict:
    out = work / "-".join(["run", dataset.name, *flags])
    command = [OCTAVO, "eval", "run", dataset, "--json", "--data-dir", work / "data", "--out", out]
    done = subprocess.run(
        [*command, *flags],
        capture_output=True,
        text=True,
        check=False,
        cwd=work,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["measures"]


def slice_of(collection: Path, target: Path, names: list[str], *, rename: bool = False) -> Path:
    """A dataset folder of some documents of a collection and the questions about them."""
    (target / "docs").mkdir(parents=True)
    new_names = {
        name: f"f{number:03d}.pdf" if rename else name for number, name in enumerate(names, start=1)
    }
    for name, new_name in new_names.items():
        shutil.copy(collection / "docs" / name, target / "docs" / new_name)
    queries = [json.loads(line) for line in _lines(collection / "queries.jsonl")]
    kept = [
        {**query, "doc": new_names[query["doc"]]} for query in queries if query["doc"] in new_names
    ]
    ids = {query["id"] for query in kept}
    (target / "queries.jsonl").write_text("".join(json.dumps(query) + "\n" for query in kept))
    header, *rows = _lines(collection / "qrels.tsv")
    cells = [row.split("\t") for row in rows]
    (target / "qrels.tsv").write_text(
        "\n".join(
            [header]
            + [
                "\t".join([query, new_names[doc], page, grade])
                for query, doc, page, grade in cells
                if query in ids
            ]
        )
        + "\n"
    )
    return target


def fde_recall(data: Path, collection: str, questions: list[str], n: int) -> float:
    """Share of the exact MaxSim top 10 among the first `n` of the FDE stage."""
    settings = load_settings(overrides={"store": {"data_dir": data}}, environ={})
    found = 0.0
    with Engine(settings) as engine:
        reader = engine.reader(Principal.owner(), collection)
        for question in questions:
            query = engine.encoder.encode_query(question).tokens.vectors
            fde = engine.fde(collection).encode_query(query)
            exact, first = reader.search_many(
                [(PageField.PATCHES, query, 10), (PageField.FDE, fde, n)]
            )
            first_ids = {candidate.record_id for candidate in first}
            found += sum(candidate.record_id in first_ids for candidate in exact) / len(exact)
    return found / len(questions)


@pytest.mark.devset
@pytest.mark.timeout(600)
def test_a_slice_of_both_collections_is_found_by_one_setting(devset, tmp_path):
    # On five documents the pages of the right one are nearly always among the first.
    filings = slice_of(
        devset / "finance",
        tmp_path / "filings",
        ["FOOTLOCKER_2022_8K_dated-2022-05-20.pdf", "JOHNSON_JOHNSON_2022Q4_EARNINGS.pdf"],
    )
    mixed = slice_of(
        devset / "visual",
        tmp_path / "mixed",
        ["PP_2021.04.22_voting-access_REPORT.pdf", "2310.05634v2.pdf", "owners-manual-2170416.pdf"],
    )
    assert evaluate(filings, tmp_path)["R@10"] >= 0.8
    assert evaluate(mixed, tmp_path)["nDCG@10"] >= 0.6


@pytest.mark.nightly
@pytest.mark.devset
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("rename", [False, True])
def test_finance_floors_hold_with_and_without_meaningful_names(devset, tmp_path, rename):
    names = sorted(path.name for path in (devset / "finance" / "docs").iterdir())
    dataset = slice_of(devset / "finance", tmp_path / "finance", names, rename=rename)
    measures = evaluate(dataset, tmp_path)
    assert measures["nDCG@10"] >= (0.40 if rename else 0.48)
    assert measures["R@10"] >= (0.60 if rename else 0.70)
    if not rename:
        inside = evaluate(dataset, tmp_path, "--scope", "document")
        assert inside["nDCG@10"] >= 0.52
        assert inside["R@10"] >= 0.75
        questions = [json.loads(line)["text"] for line in _lines(dataset / "queries.jsonl")]
        assert fde_recall(tmp_path / "data", "eval-finance", questions, 200) >= 0.90


@pytest.mark.nightly
@pytest.mark.devset
@pytest.mark.timeout(3600)
def test_visual_floor_holds_without_ocr(devset, tmp_path):
    assert evaluate(devset / "visual", tmp_path, "--set", "ocr.mode=off")["nDCG@10"] >= 0.46


@pytest.mark.nightly
@pytest.mark.devset
@pytest.mark.timeout(3600)
def test_visual_floors_hold_with_ocr(devset, tmp_path):
    if not is_installed("tesseract"):
        pytest.skip("no Tesseract with language data")
    measures = evaluate(devset / "visual", tmp_path)
    assert measures["nDCG@5"] >= 0.77
    assert measures["R@10"] >= 0.88
