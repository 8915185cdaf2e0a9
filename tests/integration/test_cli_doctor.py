"""`octavo doctor` on installations that lack something."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

import pytest

from rag.apps.cli.app import run
from rag.settings import Settings

Examined = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def examined(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Examined:
    def examine(*flags: str) -> tuple[int, dict[str, Any]]:
        code = run(["doctor", "--json", "--data-dir", str(tmp_path / "data"), *flags])
        return code, json.loads(capsys.readouterr().out)

    return examine


def failing(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    checks = [check for check in found["checks"] if not check["ok"]]
    assert all(check["detail"] and check["next_step"] for check in checks)
    return {check["name"]: check for check in checks}


def test_every_setting_is_there(examined):
    _, found = examined()
    assert found["settings"]["retrieval"]["top_k"] == 5
    assert set(found["settings"]) == set(Settings.model_fields)


def test_nothing_is_opened_or_written(examined, tmp_path):
    examined()
    assert not (tmp_path / "data").exists()


def test_weights_that_are_not_there_make_it_unusable(examined, tmp_path, monkeypatch):
    monkeypatch.setenv("OCTAVO_ENCODER__WEIGHTS", str(tmp_path))
    code, found = examined()
    assert (code, found["usable"]) == (1, False)
    assert "encoder weights" in failing(found)


def test_a_renderer_that_is_not_installed_makes_it_unusable(examined, monkeypatch):
    monkeypatch.setenv("OCTAVO_RENDER__RENDERER", "pdf2image")
    monkeypatch.setenv("PATH", "")
    code, found = examined()
    assert code == 1
    assert "poppler" in failing(found)["renderer"]["next_step"]


def test_each_reader_that_is_missing_comes_with_an_extra_that_exists(examined, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    monkeypatch.setenv("OCTAVO_RENDER__RENDERER", "pymupdf")
    missing = failing(examined()[1])
    assert {"renderer pymupdf", "renderer pypdfium2", "renderer pdf2image"} < set(missing)
    extras = metadata("octavo").get_all("Provides-Extra")
    for check in missing.values():
        assert set(re.findall(r"octavo\[(\w+)\]", check["next_step"])) <= set(extras)


def test_the_key_of_a_server_is_never_printed(examined, monkeypatch, capsys):
    monkeypatch.setenv("QDRANT_API_KEY", "s3cret-key")
    _, found = examined("--qdrant-url", "http://127.0.0.1:1")
    run(["doctor", "--qdrant-url", "http://127.0.0.1:1"])
    out = capsys.readouterr().out
    assert "127.0.0.1:1" in out
    assert "s3cret" not in json.dumps(found) + out


def test_a_settings_file_that_does_not_load_is_an_error(tmp_path, capsys):
    (tmp_path / "s.toml").write_text("[retrieval]\ntop_k = 500\n")
    assert run(["doctor", "--config", str(tmp_path / "s.toml")]) == 1
    assert "retrieval.top_k" in capsys.readouterr().err
    assert run(["doctor", "--config", os.devnull + "-not-there"]) == 1
