"""A slice of the visual development collection by a tiny ColQwen2: counts, shapes and maps."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs torch: make test-torch")

from commands import Commands
from PIL import Image

from rag.encoders.torchvision_guard import ensure_torchvision
from rag.repository.repository import CollectionReader
from rag.settings import load_settings
from rag.types import PageField, Principal, VectorKind
from rag.wiring import Engine

pytestmark = pytest.mark.devset

# A report on letter paper, and slides.
N_PAGES = {"7c3f6204b3241f142f0f8eb8e1fefe7a.pdf": 15, "c31e6580d0175ab3f9d99d1ff0bfa000.pdf": 20}
DIM = 128
DPI = 150.0


class Slice:
    """The dataset of two documents, ingested once, and the commands over it."""

    def __init__(self, devset: Path, checkpoint: Path, place: Path) -> None:
        self.dataset = place / "visual"
        (self.dataset / "docs").mkdir(parents=True)
        for name in N_PAGES:
            shutil.copy(devset / "visual" / "docs" / name, self.dataset / "docs")
        for table in ("queries.jsonl", "qrels.tsv"):
            lines = (devset / "visual" / table).read_text(encoding="utf-8").splitlines()
            kept = [line for line in lines if any(name in line for name in N_PAGES)]
            header = lines[:1] if table == "qrels.tsv" else []
            (self.dataset / table).write_text("\n".join([*header, *kept]) + "\n", "utf-8")
        self.checkpoint = checkpoint
        flags = ("--encoder", f"colpali:{checkpoint}", "-c", "slice")
        self.octavo = Commands(place / "data", *flags)
        chosen = {"name": "colpali", "model": str(checkpoint), "device": "cpu"}
        self.settings = load_settings(
            overrides={"store": {"data_dir": place / "data"}, "encoder": chosen}
        )
        self.totals = self.octavo("ingest", str(self.dataset / "docs"))


@pytest.fixture(scope="module", name="visual")
def _visual(devset, tiny, loaded_here, tmp_path_factory) -> Slice:
    return Slice(devset, tiny("ColQwen2"), tmp_path_factory.mktemp("slice"))


@pytest.fixture
def reader(visual) -> Iterator[CollectionReader]:
    with Engine(visual.settings) as engine:
        yield engine.reader(Principal.owner(), "slice")


def test_every_page_is_indexed_blank_or_failed(visual):
    assert visual.totals["documents"] == {"indexed": len(N_PAGES)}
    assert sum(visual.totals["pages"].values()) == sum(N_PAGES.values())
    assert visual.totals["pages"]["failed"] == 0
    listed = visual.octavo("list")["documents"]
    assert {each["source"]: each["pages"] for each in listed} == N_PAGES
    (collection,) = visual.octavo("collections")["collections"]
    assert collection["encoder"] == visual.octavo("models", "check")["encoder"]
    assert collection["encoder"] == visual.totals["encoder"]
    assert collection["pages"] == sum(N_PAGES.values())


def test_a_dataset_is_measured(visual, tmp_path):
    pytest.importorskip("ir_measures", reason="needs octavo[eval]")
    where = ("--out", str(tmp_path), "--history", str(tmp_path / "history"))
    told = visual.octavo("eval", "run", str(visual.dataset), "--limit", "3", *where)
    assert told["n_questions"] == 3
    assert told["refused"] == {}
    assert all(0 <= value <= 1 for value in told["measures"].values())
    run = (tmp_path / "run.tsv").read_text()
    assert len({line.split()[0] for line in run.splitlines()}) == 3


def test_stored_rows_are_those_of_the_models_grid(visual, reader):
    """Against the processor of the engine, given a picture of the page's size."""
    ensure_torchvision()
    from colpali_engine.models import ColQwen2Processor

    processor = ColQwen2Processor.from_pretrained(visual.checkpoint)
    shapes = set()
    for document in reader.documents():
        for number in range(1, document.n_pages + 1):
            if number in document.blank_pages:
                continue
            page = reader.page(document.document_id, number)
            size = (round(page.width_pt * DPI / 72), round(page.height_pt * DPI / 72))
            made = processor.process_images([Image.new("RGB", size)])
            _, tall, wide = made["image_grid_thw"][0].tolist()
            n_patches = tall * wide // 4  # four become one
            rows = reader.vectors([page.record_id], PageField.PATCHES)[page.record_id]
            assert rows.shape == (made["input_ids"].shape[1], DIM)
            np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=2e-3)  # float16
            is_patch = page.vector_boxes.kinds == VectorKind.PATCH
            assert is_patch.sum() == n_patches
            boxes = page.vector_boxes.boxes[is_patch]
            area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1).sum()
            assert area == pytest.approx(page.width_pt * page.height_pt, rel=1e-4)
            shapes.add((tall // 2, wide // 2))
    assert len(shapes) == 2, shapes  # as many as there are frames


@pytest.mark.parametrize("name", N_PAGES)
def test_maps_are_drawn_on_real_pages(visual, name, tmp_path):
    (document,) = (each for each in visual.octavo("list")["documents"] if each["source"] == name)
    number = min({*range(1, N_PAGES[name] + 1)} - {*document["blank_pages"]})
    out, plain = tmp_path / "map.png", tmp_path / "plain.png"
    asked = ("page", name, str(number), "--dpi", "40")
    shown = visual.octavo(*asked, "-o", str(out), "--query", "bar chart of sales")
    visual.octavo(*asked, "-o", str(plain))
    assert shown["boxes"]
    assert not shown["map"]["whole_page"]
    assert (shown["map"]["rows"] > shown["map"]["columns"]) == (
        shown["height_pt"] > shown["width_pt"]
    )
    assert len({token["max"] for token in shown["tokens"]}) > 1
    assert out.read_bytes() != plain.read_bytes()
    with Image.open(out) as drawn:
        assert drawn.size == (shown["width_px"], shown["height_px"])


def test_hits_of_real_questions_have_boxes(visual):
    first = json.loads((visual.dataset / "queries.jsonl").read_text().splitlines()[0])
    found = visual.octavo("search", first["text"], "-k", "10")
    assert len(found["hits"]) == 10
    assert {hit["source"] for hit in found["hits"]} <= set(N_PAGES)
    assert all(hit["boxes"] for hit in found["hits"])
