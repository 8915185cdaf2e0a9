"""A collection of an encoder that looks at pixels, from ingest to answer, without a model."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import CELL_PT, GridEncoder, PageVectorEncoder
from PIL import Image

from rag.apps.cli.app import run
from rag.apps.service import Service
from rag.geometry import Box
from rag.ports import PageEncoder
from rag.settings import load_settings
from rag.testing import PdfPage, PdfText, covers, make_pdf
from rag.types import PageField, Principal, VectorKind
from rag.wiring import Engine

# A block of black that fills whole cells, beside a line of print.
BLOCKS = {
    1: Box(120, 360, 240, 420),  # portrait
    2: Box(540, 120, 600, 240),  # landscape
    3: Box(1380, 60, 1440, 120),  # a strip
}
FRAMES = {1: (600.0, 780.0), 2: (780.0, 600.0), 3: (1800.0, 180.0)}
BESIDE = {
    1: "The northern pier charges 37 euros for each night.",
    2: "Otters sleep in the kelp.",
    3: "A timetable of the ferry.",
}


def pages() -> list[PdfPage]:
    made = []
    for number, block in BLOCKS.items():
        width, height = FRAMES[number]
        label = PdfText(BESIDE[number], max(10, block.x0 - 100), block.y1 + 12, 10)
        other = PdfText("Nothing of note stands in this line", 20, 20, 10)
        made.append(PdfPage([label, other], [block], width, height))
    return [*made, PdfPage([PdfText("A page without any picture.", 72, 72)], (), 600, 780)]


@contextmanager
def opened(folder: Path, encoder: PageEncoder, **settings: Any) -> Iterator[Engine]:
    chosen = {"store": {"data_dir": folder}, "render": {"workers": 1}, **settings}
    with (
        pytest.MonkeyPatch.context() as patch,
        Engine(load_settings(overrides=chosen, environ={})) as engine,
    ):
        patch.setattr("rag.wiring.engine.load_encoder", lambda _: encoder)
        yield engine


def ingested(engine: Engine, folder: Path) -> Service:
    (folder / "harbour.pdf").write_bytes(make_pdf(pages()))
    service = Service(engine, Principal.owner())
    totals = service.ingest(paths=[folder / "harbour.pdf"], collection="c")
    assert totals["pages"] == {"indexed": 4, "blank": 0, "failed": 0}
    return service


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the collection in it, and no process at it."""
    folder = tmp_path_factory.mktemp("vision")
    with opened(folder / "data", GridEncoder()) as engine:
        ingested(engine, folder)
    return folder


@pytest.fixture
def service(place: Path) -> Iterator[Service]:
    with opened(place / "data", GridEncoder()) as engine:
        yield Service(engine, Principal.owner())


def pixels_of(found: dict[str, Any]) -> np.ndarray:
    image = Image.open(io.BytesIO(base64.b64decode(found["png"])))
    return np.asarray(image.convert("RGB"), np.int16)


def is_inside(box: list[float], block: Box) -> bool:
    return covers(block, Box(*box), tolerance_pt=0.2)


def test_boxes_of_every_vector_are_kept_over_a_restart(service: Service) -> None:
    reader = service._engine.reader(Principal.owner(), "c")
    (document,) = reader.documents()
    for number, (width, height) in FRAMES.items():
        page = reader.page(document.document_id, number)
        vectors = reader.vectors([page.record_id], PageField.PATCHES)[page.record_id]
        n_cells = round(width / CELL_PT) * round(height / CELL_PT)
        assert page.vector_words is None
        assert len(page.vector_boxes) == len(vectors) == 1 + n_cells
        assert page.vector_boxes.rows is None
        assert (
            page.vector_boxes.kinds.tolist() == [VectorKind.SPECIAL] + [VectorKind.PATCH] * n_cells
        )
        sides = page.vector_boxes.boxes[1:, 2:] - page.vector_boxes.boxes[1:, :2]
        assert sides.prod(axis=1).sum() == pytest.approx(width * height, rel=1e-5)


@pytest.mark.parametrize("mode", ["visual", "hybrid"])
def test_a_hit_marks_the_block_and_names_the_words_beside_it(service: Service, mode: str) -> None:
    found = service.search(query="black", collection="c", top_k=4, mode=mode)
    hits = {hit["page_number"]: hit for hit in found["hits"]}
    assert set(BLOCKS) <= set(hits)
    assert [hit["page_number"] for hit in found["hits"]][-1] == 4
    for number, block in BLOCKS.items():
        strongest = hits[number]["boxes"][0]
        assert strongest["weight"] == 1
        assert is_inside(strongest["box"], block)
        assert len(hits[number]["boxes"]) <= 24
        assert hits[number]["snippet"]


@pytest.mark.parametrize("number", BLOCKS)
def test_the_map_of_a_page_is_hottest_on_the_block(service: Service, number: int) -> None:
    width, height = FRAMES[number]
    found = service.page_png(
        document="harbour.pdf", page_number=number, collection="c", query="black kite", dpi=72
    )
    assert found["map"] == {
        "rows": round(height / CELL_PT),
        "columns": round(width / CELL_PT),
        "pooled": False,
        "whole_page": False,
    }
    black, kite = found["tokens"]
    assert (black["token"], kite["token"]) == ("black", "kite")
    assert black["max"] == pytest.approx(1, abs=1e-3)
    assert abs(kite["max"]) < 0.1  # the special token alone may be near to it
    assert is_inside(black["box"], BLOCKS[number])
    assert is_inside(found["boxes"][0]["box"], BLOCKS[number])
    plain = service.page_png(document="harbour.pdf", page_number=number, collection="c", dpi=72)
    assert (plain["boxes"], plain["words"], plain["tokens"], plain["map"]) == ([], [], [], None)
    changed = np.abs(pixels_of(found) - pixels_of(plain)).sum(axis=2)
    x0, y0, x1, y1 = (round(edge) for edge in BLOCKS[number])
    assert changed[y0 + 15 : y1 - 15, x0 + 15 : x1 - 15].min() > 30
    outside = np.ones(changed.shape, bool)
    outside[max(0, y0 - 60) : y1 + 60, max(0, x0 - 60) : x1 + 60] = False
    assert (changed[outside] > 30).mean() < 0.05


def test_a_word_of_the_query_has_a_map_of_its_own(service: Service) -> None:
    def drawn(**options: Any) -> dict[str, Any]:
        return service.page_png(
            document="harbour.pdf", page_number=1, collection="c", query="black kite", **options
        )

    whole, black, kite = drawn(), drawn(token="Black"), drawn(token="kite")
    assert is_inside(black["boxes"][0]["box"], BLOCKS[1])
    assert black["tokens"] == kite["tokens"] == whole["tokens"]

    def redness(found: dict[str, Any]) -> float:
        pixels = pixels_of(found)
        return float((pixels[..., 0] - pixels[..., 2]).max())

    assert redness(kite) < redness(black)
    sheet = drawn(tokens=True)
    assert sheet["width_px"] > sheet["height_px"]
    assert pixels_of(sheet).shape[:2] == (sheet["height_px"], sheet["width_px"])
    assert (sheet["width_pt"], sheet["height_pt"]) == FRAMES[1]


def test_a_page_as_the_query_is_shown_where_it_is_met(service: Service) -> None:
    block = list(BLOCKS[1])
    found = service.page_png(
        document="harbour.pdf", page_number=2, collection="c", like=["harbour.pdf", 1, block]
    )
    assert len(found["tokens"]) == 2  # two cells of the first page are the block
    assert is_inside(found["boxes"][0]["box"], BLOCKS[2])


def test_words_that_a_query_moves_away_from_change_its_map(service: Service) -> None:
    def hottest(**moved: Any) -> float:
        found = service.page_png(
            document="harbour.pdf", page_number=1, collection="c", query="kite", **moved
        )
        return float(found["tokens"][0]["max"])

    assert hottest(towards="black") > hottest() + 0.3


def test_words_under_the_best_patches_are_named(place: Path, tmp_path: Path) -> None:
    # The print stands on the block, so that it is under the hottest cells.
    words = PdfText("Hidden treasure here", 125, 400, 11, grey=1.0)
    (tmp_path / "dark.pdf").write_bytes(
        make_pdf([PdfPage([words, PdfText("Far away", 60, 740, 11)], [BLOCKS[1]], 600, 780)])
    )
    with opened(tmp_path / "data", GridEncoder()) as engine:
        service = Service(engine, Principal.owner())
        service.ingest(paths=[tmp_path / "dark.pdf"], collection="c")
        found = service.page_png(
            document="dark.pdf", page_number=1, collection="c", query="black", dpi=50
        )
    assert found["words"] == ["Hidden", "treasure", "here"]


def test_a_question_is_answered_from_the_words_of_the_page_and_says_how(service: Service) -> None:
    told = service.ask(
        question="How many euros does the northern pier charge for each night?", collection="c"
    )
    assert not told["abstained"]
    assert "37 euros" in told["answer"]
    assert told["citations"][0]["verified"]
    assert told["citations"][0]["page_number"] == 1
    (notice,) = [each for each in told["warnings"] if each["code"] == "no_word_vectors"]
    assert notice["message"].startswith("4 of the 4 pages")


@pytest.mark.parametrize("method", ["grid_rows", "grid_columns"])
def test_a_page_pooled_by_its_grid_keeps_all_its_places(tmp_path: Path, method: str) -> None:
    with opened(tmp_path / "data", GridEncoder(), pooling={"method": method}) as engine:
        ingested(engine, tmp_path)
    with opened(tmp_path / "data", GridEncoder(), pooling={"method": method}) as engine:
        service = Service(engine, Principal.owner())
        reader = engine.reader(Principal.owner(), "c")
        (document,) = reader.documents()
        page = reader.page(document.document_id, 1)
        vectors = reader.vectors([page.record_id], PageField.PATCHES)[page.record_id]
        assert len(vectors) == 1 + (13 if method == "grid_rows" else 10)
        assert len(page.vector_boxes) == 1 + 130
        found = service.page_png(
            document="harbour.pdf", page_number=1, collection="c", query="black", dpi=50
        )
        assert found["map"] == {"rows": 13, "columns": 10, "pooled": True, "whole_page": False}
        x0, y0, x1, y1 = found["boxes"][0]["box"]
        if method == "grid_rows":
            assert (x0, y0, x1, y1) == (0, 360, 600, 420)
        else:
            assert (x0, y0, x1, y1) == (120, 0, 240, 780)
        assert service.search(query="black", collection="c", top_k=1)["hits"]


def test_a_vector_a_page_marks_the_words_of_the_question(tmp_path: Path) -> None:
    with opened(tmp_path / "data", PageVectorEncoder()) as engine:
        service = ingested(engine, tmp_path)
        found = service.search(query="northern pier", collection="c", top_k=4)
        (hit,) = [hit for hit in found["hits"] if hit["page_number"] == 1]
        assert len(hit["boxes"]) == 2
        assert "northern pier" in hit["snippet"]
        (other,) = [hit for hit in found["hits"] if hit["page_number"] == 3]
        assert [box["box"] for box in other["boxes"]] == [[0, 0, 1800, 180]]
        shown = service.page_png(
            document="harbour.pdf", page_number=1, collection="c", query="northern pier", dpi=72
        )
        assert shown["boxes"] == hit["boxes"]
        assert shown["words"] == ["northern", "pier"]
        assert shown["map"] == {"rows": 1, "columns": 1, "pooled": False, "whole_page": True}
        told = service.ask(
            question="How many euros does the northern pier charge for each night?", collection="c"
        )
        assert "37 euros" in told["answer"]


def test_the_command_line_draws_maps(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("rag.wiring.engine.load_encoder", lambda _: GridEncoder())

    def told(*arguments: str) -> dict[str, Any]:
        capsys.readouterr()
        assert run([*arguments, "-c", "c", "--json", "--data-dir", str(place / "data")]) == 0
        printed: dict[str, Any] = json.loads(capsys.readouterr().out)
        return printed

    out = tmp_path / "page.png"
    asked = ("page", "harbour.pdf", "1", "-o", str(out), "--query", "black kite")
    shown = told(*asked)
    assert [token["token"] for token in shown["tokens"]] == ["black", "kite"]
    assert shown["map"]["whole_page"] is False
    whole = out.read_bytes()
    told(*asked, "--token", "kite")
    assert out.read_bytes() != whole
    sheet = told(*asked, "--tokens")
    with Image.open(out) as drawn:
        assert drawn.size == (sheet["width_px"], sheet["height_px"])
    found = told("search", "black", "--heatmap", str(tmp_path / "best.png"))
    number = found["hits"][0]["page_number"]
    best = told("page", "harbour.pdf", str(number), "-o", str(out), "--query", "black")
    assert best["boxes"] == found["hits"][0]["boxes"]
    assert (tmp_path / "best.png").read_bytes() == out.read_bytes()
    told("search", "black", "--heatmap", str(out), "--heatmap-pages", "3")
    with Image.open(out) as drawn:
        assert drawn.width > 2 * 400  # three pages, of which two stand side by side
    assert run([*asked, "--token", "owl", "-c", "c", "--data-dir", str(place / "data")]) == 1
    assert "black, kite" in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags", [["--token", "x"], ["--tokens"], ["--query", "x", "--token", "x", "--tokens"]]
)
def test_flags_that_say_nothing_together_are_refused(flags: list[str], tmp_path: Path) -> None:
    assert run(["page", "a.pdf", "1", "-o", str(tmp_path / "x.png"), *flags]) == 2
    assert run(["search", "x", "--heatmap-pages", "2"]) == 2


def test_an_estimate_counts_the_boxes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "harbour.pdf").write_bytes(make_pdf(pages()))
    monkeypatch.setattr("rag.apps.estimation.load_encoder", lambda _: GridEncoder())
    command = ["estimate", str(tmp_path), "--json", "--data-dir", str(tmp_path / "data")]
    assert run(command) == 0
    rates = {r["name"]: r["value"] for r in json.loads(capsys.readouterr().out)["rates"]}
    assert rates["vectors_per_page"] == pytest.approx((131 + 131 + 91 + 131) / 4, rel=1e-3)
    with_boxes = rates["text_bytes_per_page"]
    monkeypatch.setattr("rag.vector_boxes.VectorBoxes.to_bytes", lambda _: b"")
    assert run(command) == 0
    rates = {r["name"]: r["value"] for r in json.loads(capsys.readouterr().out)["rates"]}
    assert with_boxes > rates["text_bytes_per_page"] + 100
