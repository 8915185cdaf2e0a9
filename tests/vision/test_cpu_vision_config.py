"""`configs/cpu-vision.toml` as a user runs it, in processes of their own, on a model of tiles."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs torch: make test-torch")

from commands import Commands
from PIL import Image

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "examples" / "sample-report.pdf"
QUESTION = "revenue in the Celtic Sea"


def test_the_settings_for_a_cpu_carry_a_report_to_a_heat_map(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("OCTAVO_ENCODER__MODEL", str(tiny("ColIdefics3")))
    octavo = Commands(tmp_path / "data", "--config", str(ROOT / "configs" / "cpu-vision.toml"))
    totals = octavo.process("ingest", str(SAMPLE))
    assert totals["pages"] == {"indexed": 4, "blank": 0, "failed": 0}
    (collection,) = octavo("collections")["collections"]
    assert collection["encoder"] == totals["encoder"]

    best = tmp_path / "best.png"
    found = octavo.process("search", QUESTION, "--heatmap", str(best))
    assert found["encoder"] == totals["encoder"]
    assert len(found["hits"]) == 4
    with Image.open(best) as drawn:
        assert drawn.height > drawn.width > 500
        colours = drawn.convert("RGB").getcolors(1 << 24)
    assert colours is not None
    assert len(colours) > 1000  # more than print on paper


def test_a_page_of_tiles_has_one_map(tiny, loaded_here, tmp_path, monkeypatch):
    monkeypatch.setenv("OCTAVO_ENCODER__MODEL", str(tiny("ColIdefics3")))
    octavo = Commands(tmp_path / "data", "--config", str(ROOT / "configs" / "cpu-vision.toml"))
    octavo("ingest", str(SAMPLE))
    out = tmp_path / "map.png"
    shown = octavo("page", SAMPLE.name, "2", "-o", str(out), "--query", QUESTION, "--dpi", "40")
    # Each tile, and the page as a whole, are looked at by as many rows; the tiles make the grid.
    assert shown["map"]["rows"] > shown["map"]["columns"] > 2
    assert (shown["map"]["pooled"], shown["map"]["whole_page"]) == (False, False)
    cell_pt = (
        shown["width_pt"] / shown["map"]["columns"],
        shown["height_pt"] / shown["map"]["rows"],
    )
    for x0, y0, x1, y1 in (each["box"] for each in shown["boxes"]):
        for low, high, side in ((x0, x1, cell_pt[0]), (y0, y1, cell_pt[1])):
            assert low / side == pytest.approx(round(low / side), abs=0.01)
            assert high > low
