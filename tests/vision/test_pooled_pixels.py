"""Pages of a tiny ColQwen2 pooled at ingest: fewer rows, and maps that say so."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs torch: make test-torch")

from commands import Commands

from rag.settings import load_settings
from rag.types import PageField, Principal
from rag.wiring import Engine

SAMPLE = Path(__file__).parents[2] / "examples" / "sample-report.pdf"
QUESTION = "revenue in the Celtic Sea"
COLUMNS, ROWS = 6, 9  # of a tiny model on an A4 page


@pytest.mark.parametrize("method", ["grid_rows", "hierarchical"])
def test_a_pooled_page_has_fewer_rows_and_a_map_of_the_whole_page(
    tiny, loaded_here, tmp_path, monkeypatch, method
):
    monkeypatch.setenv("OCTAVO_POOLING__METHOD", method)
    monkeypatch.setenv("OCTAVO_POOLING__FACTOR", "3")
    data = tmp_path / "data"
    octavo = Commands(data, "--encoder", f"colpali:{tiny('ColQwen2')}")
    assert octavo("ingest", str(SAMPLE))["pages"]["indexed"] == 4
    n_special = octavo("models", "check")["special_rows"][0]

    chosen = {"name": "colpali", "model": str(tiny("ColQwen2")), "device": "cpu"}
    settings = load_settings(overrides={"store": {"data_dir": data}, "encoder": chosen})
    with Engine(settings) as engine:
        reader = engine.reader(Principal.owner(), "default")
        (document,) = reader.documents()
        page = reader.page(document.document_id, 2)
        rows = reader.vectors([page.record_id], PageField.PATCHES)[page.record_id]
    if method == "grid_rows":
        assert len(rows) == n_special + ROWS
    else:
        assert 0 < len(rows) <= (n_special + ROWS * COLUMNS) // 3
    assert len(page.vector_boxes) == n_special + ROWS * COLUMNS  # all places are kept

    found = octavo("search", QUESTION, "--mode", "visual")
    exact = octavo("search", QUESTION, "--mode", "visual", "--exact")
    assert len(found["hits"]) == 4
    assert [hit["page_number"] for hit in found["hits"]] == [
        hit["page_number"] for hit in exact["hits"]
    ]
    out = tmp_path / "map.png"
    shown = octavo("page", SAMPLE.name, "2", "-o", str(out), "--query", QUESTION, "--dpi", "40")
    assert shown["map"] == {"rows": ROWS, "columns": COLUMNS, "pooled": True, "whole_page": False}
    if method == "grid_rows":
        assert all(box["box"][0] == 0 for box in shown["boxes"])
        assert all(box["box"][2] == shown["width_pt"] for box in shown["boxes"])

    monkeypatch.setenv("OCTAVO_POOLING__METHOD", "none")
    assert "pooling" in octavo.refused("search", QUESTION)["message"]
