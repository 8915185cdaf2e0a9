"""Marked pages of odd frames, and every way to search, through the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rag.apps.cli.app import run
from rag.testing import PdfPage, PdfText, make_pdf

TURNS = (0, 90, 180, 270)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("looking")
    words = [PdfText("turbine", 200, 300, 20), PdfText("harbour", 90, 500, 14)]
    turned = [PdfPage(words, rotate=turn, crop=(50, 100, 500, 700)) for turn in TURNS]
    (place / "turned.pdf").write_bytes(make_pdf(turned))
    (place / "plain.pdf").write_bytes(make_pdf(["The storm closed the harbour.", "A calm sea."]))
    assert run(["ingest", str(place), "--data-dir", str(place / "data")]) == 0
    return place / "data"


def asked(data: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    capsys.readouterr()
    assert run([*arguments, "--json", "--data-dir", str(data)]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.parametrize(("page_number", "turn"), [*enumerate(TURNS, start=1)])
def test_boxes_lie_on_their_words_on_a_turned_and_cropped_page(
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    page_number: int,
    turn: int,
) -> None:
    out = tmp_path / "page.png"
    shown = asked(
        data, capsys, "page", "turned.pdf", str(page_number), "-o", str(out), "--query", "turbine"
    )
    sides = (450, 600) if turn in (0, 180) else (600, 450)
    assert (shown["width_pt"], shown["height_pt"]) == sides
    strongest = shown["boxes"][0]
    x0, y0, x1, y1 = strongest["box"]
    assert 0 <= x0 < x1 <= sides[0]
    assert 0 <= y0 < y1 <= sides[1]
    is_upright = x1 - x0 > y1 - y0
    assert is_upright == (turn in (0, 180))
    pixels = np.asarray(Image.open(out).convert("RGB"), np.int16)
    scale = shown["width_px"] / shown["width_pt"]
    inside = pixels[int(y0 * scale) : int(y1 * scale), int(x0 * scale) : int(x1 * scale)]
    is_yellow = (inside[..., 0] > 150) & (inside[..., 2] < 150)
    assert is_yellow.mean() > 0.3  # the marker
    assert (inside.sum(axis=-1) < 150).mean() > 0.03  # and print under it


@pytest.mark.parametrize("mode", ["hybrid", "visual", "text"])
@pytest.mark.parametrize("exact", [[], ["--exact"]])
def test_every_mode_finds_the_page_and_says_how(
    data: Path, capsys: pytest.CaptureFixture[str], mode: str, exact: list[str]
) -> None:
    found = asked(data, capsys, "search", "storm", "--mode", mode, "--explain", *exact)
    assert (found["mode"], found["exact"]) == (mode, bool(exact))
    best = found["hits"][0]
    assert (best["source"], best["page_number"], best["rank"]) == ("plain.pdf", 1, 1)
    assert "storm" in best["snippet"]
    assert found["stages"][0]["name"] == "encode"
    assert found["explain"]["hits"][0]["page_number"] == 1


def test_an_expected_page_is_followed(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = asked(
        data, capsys, "search", "storm", "-k", "1", "--explain", "--expect", "plain.pdf:2"
    )
    assert found["explain"]["expected"]["rank"] > 1
