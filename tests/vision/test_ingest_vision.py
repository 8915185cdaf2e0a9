"""`octavo ingest` with a small ColQwen2 in a process of its own, which is killed on the way."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest

pytest.importorskip("torch", reason="needs torch: make test-torch")

from commands import Commands

from rag.encoders.self_test import page_inputs
from rag.settings import EncoderSettings
from rag.testing import make_pdf
from rag.wiring import load_encoder, load_encoder_here

SAMPLE = Path(__file__).parents[2] / "examples" / "sample-report.pdf"
N_PAGES = 24


def encoder_process(pid: int) -> psutil.Process | None:
    """The child that has torch in memory."""
    for process in psutil.Process(pid).children():
        with contextlib.suppress(psutil.Error, OSError):
            if "libtorch" in Path("/proc", str(process.pid), "maps").read_text():
                return process
    return None


def until(condition: Callable[[], object], limit_s: float = 60.0) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_an_ingest_survives_the_end_of_its_encoder_and_its_own(
    tiny: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OCTAVO_ENCODER__NAME", "colpali")
    monkeypatch.setenv("OCTAVO_ENCODER__MODEL", str(tiny("ColQwen2")))
    monkeypatch.setenv("OCTAVO_STORE__BATCH_PAGES", "2")
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "a.pdf").write_bytes(SAMPLE.read_bytes())
    (docs / "b.pdf").write_bytes(make_pdf([f"# Chapter {n}" for n in range(N_PAGES)]))
    octavo = Commands(tmp_path / "data")

    with octavo.started("ingest", str(docs)) as running:
        assert running.stdout is not None
        first = json.loads(running.stdout.readline())
        assert (first["source"], first["state"], first["pages"]) == ("a.pdf", "indexed", 4)
        child = encoder_process(running.pid)
        assert child is not None, "the model is in a process of its own"
        assert "libtorch" not in Path("/proc", str(running.pid), "maps").read_text()
        child.kill()
        until(lambda: encoder_process(running.pid) not in (None, child))
        # Now the command itself, with -9: its encoder must not outlive it.
        again = encoder_process(running.pid)
        running.kill()
        running.wait()
        assert again is not None
        until(lambda: not again.is_running() or again.status() == psutil.STATUS_ZOMBIE, 5.0)

    with octavo.started("ingest", str(docs)) as running:
        assert running.stdout is not None
        first = json.loads(running.stdout.readline())
        child = encoder_process(running.pid)
        assert child is not None
        child.kill()
        printed, errors = running.communicate(timeout=200)
    assert running.returncode == 0, errors
    assert (first["source"], first["state"]) == ("a.pdf", "unchanged")
    second, totals = map(json.loads, printed.splitlines())
    assert (second["source"], second["state"], second["pages"]) == ("b.pdf", "indexed", N_PAGES)
    assert second["failed_pages"] == []
    assert 0 < totals["throughput"]["encode_busy"] <= 1


def test_vectors_are_those_of_the_model_in_this_process(tiny: Callable[[str], Path]) -> None:
    settings = EncoderSettings(name="colpali", model=str(tiny("ColQwen2")), device="cpu")
    with contextlib.closing(load_encoder(settings)) as apart:
        here = load_encoder_here(settings)
        assert apart.identity == here.identity
        pages = page_inputs()
        for one, other in zip(apart.encode_pages(pages), here.encode_pages(pages), strict=True):
            np.testing.assert_array_equal(one.patches.vectors, other.patches.vectors)
            np.testing.assert_array_equal(one.patches.boxes, other.patches.boxes)
        found, expected = apart.encode_query("sales"), here.encode_query("sales")
        np.testing.assert_array_equal(found.tokens.vectors, expected.tokens.vectors)
        assert found.labels == expected.labels
