"""The sample report by a tiny ColQwen2: found, drawn, answered, found again after a restart.

What a toy model finds means nothing; that every way finds the same, and its shapes, do.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs torch: make test-torch")

from commands import Commands
from PIL import Image

from rag.apps.connection import Connection
from rag.settings import load_settings

SAMPLE = Path(__file__).parents[2] / "examples" / "sample-report.pdf"
QUESTION = "What was the revenue in the Celtic Sea in 2024?"
N_PAGES = 4
# An A4 page at 150 dpi within the 56 patches the tiny model allows, by 28 pixels a patch.
COLUMNS, ROWS = 6, 9


class Report:
    """The sample in a data folder that this process owns, so that commands find a loaded model."""

    def __init__(self, checkpoint: Path, data: Path) -> None:
        self.encoder = ("--encoder", f"colpali:{checkpoint}")
        self.octavo = Commands(data, *self.encoder)
        chosen = {"name": "colpali", "model": str(checkpoint), "device": "cpu"}
        overrides = {"store": {"data_dir": data}, "encoder": chosen, "render": {"workers": 1}}
        self.owner = Connection(load_settings(overrides=overrides), command="test")
        self.totals = self.owner.ingest([SAMPLE])


@pytest.fixture(scope="module")
def report(tiny, tmp_path_factory) -> Iterator[Report]:
    made = Report(tiny("ColQwen2"), tmp_path_factory.mktemp("report") / "data")
    yield made
    made.owner.close()


def ranking(found: dict[str, Any]) -> list[int]:
    return [hit["page_number"] for hit in found["hits"]]


def pixels(file: Path) -> np.ndarray:
    with Image.open(file) as image:
        return np.asarray(image.convert("RGB"), np.int16)


def test_every_page_is_indexed_by_the_model_of_the_folder(report):
    assert report.totals["pages"] == {"indexed": N_PAGES, "blank": 0, "failed": 0}
    (collection,) = report.octavo("collections")["collections"]
    assert (collection["documents"], collection["pages"]) == (1, N_PAGES)
    assert collection["encoder"] == report.totals["encoder"]
    assert collection["encoder"].startswith("colpali@")


def test_the_cascade_and_the_exact_search_agree(report):
    visual = report.octavo("search", QUESTION, "--mode", "visual")
    exact = report.octavo("search", QUESTION, "--mode", "visual", "--exact")
    assert (visual["exact"], exact["exact"]) == (False, True)
    assert sorted(ranking(visual)) == [1, 2, 3, 4]
    assert ranking(visual) == ranking(exact)
    scores = [hit["score"] for hit in exact["hits"]]
    assert max(scores) - min(scores) > 0.1
    np.testing.assert_allclose([hit["score"] for hit in visual["hits"]], scores, rtol=1e-3)


def test_words_of_the_pages_count_beside_what_the_model_sees(report):
    found = report.octavo("search", QUESTION)
    exact = report.octavo("search", QUESTION, "--exact")
    assert found["mode"] == "hybrid"
    assert ranking(found) == ranking(exact)
    hits = {hit["page_number"]: hit for hit in found["hits"]}
    assert all("maxsim" in hit["scores"] for hit in hits.values())
    assert max(hits, key=lambda number: hits[number]["scores"].get("words", 0)) == 2
    for hit in hits.values():
        assert hit["snippet"]
        for x0, y0, x1, y1 in (each["box"] for each in hit["boxes"]):
            assert 0 <= x0 < x1 <= hit["width_pt"]
            assert 0 <= y0 < y1 <= hit["height_pt"]


def test_the_heat_map_is_drawn_on_the_page(report, tmp_path):
    file, plain = tmp_path / "map.png", tmp_path / "plain.png"
    shown = report.octavo(
        "page", SAMPLE.name, "2", "-o", str(file), "--query", QUESTION, "--dpi", "72"
    )
    assert shown["map"] == {
        "rows": ROWS,
        "columns": COLUMNS,
        "pooled": False,
        "whole_page": False,
    }
    report.octavo("page", SAMPLE.name, "2", "-o", str(plain), "--dpi", "72")
    drawn, bare = pixels(file), pixels(plain)
    assert drawn.shape == bare.shape == (shown["height_px"], shown["width_px"], 3)
    assert (shown["width_px"], shown["height_px"]) == (595, 842)
    changed = np.abs(drawn - bare).sum(axis=2)
    x0, y0, x1, y1 = (round(edge) for edge in shown["boxes"][0]["box"])
    assert changed[y0:y1, x0:x1].mean() > changed.mean() > 0
    assert shown["words"]
    assert len(shown["tokens"]) > 5


def test_the_best_hit_is_drawn_as_its_page_is(report, tmp_path):
    best, page = tmp_path / "best.png", tmp_path / "page.png"
    found = report.octavo("search", QUESTION, "--heatmap", str(best))
    number = str(ranking(found)[0])
    shown = report.octavo("page", SAMPLE.name, number, "-o", str(page), "--query", QUESTION)
    assert best.read_bytes() == page.read_bytes()
    assert shown["boxes"] == found["hits"][0]["boxes"]


def test_a_question_is_answered_with_pages_it_was_read_from(report):
    told = report.octavo("ask", QUESTION)
    assert told["encoder"] == report.totals["encoder"]
    assert [each["code"] for each in told["warnings"]] == ["no_word_vectors"]
    assert sorted(each["page_number"] for each in told["pages"]) == [1, 2, 3, 4]
    assert not told["abstained"]
    assert "90.3" in told["answer"]
    assert {each["page_number"] for each in told["citations"]} == {2}
    assert all(each["verified"] for each in told["citations"])


def test_a_question_about_something_else_is_abstained_from(report):
    told = report.octavo("ask", "Which theatre in Vienna did Gustav Klimt paint?")
    assert told["abstained"]
    assert not told["citations"]
    assert told["warnings"]


def test_the_cost_is_estimated_from_its_pages(report, loaded_here):
    told = report.octavo("estimate", str(SAMPLE))
    rates = {each["name"]: each["value"] for each in told["rates"]}
    assert (told["documents"], told["pages"]) == (1, N_PAGES)
    shown = report.octavo("models", "check")
    assert rates["vectors_per_page"] == ROWS * COLUMNS + shown["special_rows"][0]


def test_the_model_is_checked_as_it_is(report, loaded_here):
    shown = report.octavo("models", "check")
    assert shown["encoder"] == report.totals["encoder"]
    assert shown["settings"]["family"] == "ColQwen2"
    assert shown["dim"] == 128
    assert all(
        n > n_special > 0
        for n, n_special in zip(shown["rows_per_page"], shown["special_rows"], strict=True)
    )
    assert shown["norms"] == pytest.approx([1, 1], abs=1e-4)


def test_the_doctor_finds_the_model_and_nothing_missing(report):
    told = report.octavo("doctor")
    assert (told["usable"], told["encoder"]) == (True, "colpali")
    checks = {each["name"]: each for each in told["checks"]}
    assert checks["encoder weights"]["ok"]
    assert "ColQwen2" in checks["encoder weights"]["detail"]
    assert "MiniLM" not in checks["encoder weights"]["detail"]


def test_a_document_that_is_deleted_leaves_no_page(report):
    report.owner.ingest([SAMPLE], collection="short")
    assert report.octavo("search", QUESTION, "-c", "short")["hits"]
    report.octavo("rm", SAMPLE.name, "-c", "short")
    assert report.octavo("search", QUESTION, "-c", "short")["hits"] == []
    held = {each["name"]: each for each in report.octavo("collections")["collections"]}
    assert (held["short"]["documents"], held["short"]["pages"]) == (0, 0)
    assert held["default"]["pages"] == N_PAGES


def test_another_process_finds_the_same_after_a_restart(report):
    before = report.octavo("search", QUESTION)
    report.owner.close()
    after = report.octavo.process("search", QUESTION)
    assert after["hits"] == before["hits"]
