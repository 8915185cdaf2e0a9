"""`octavo doctor` on installations that lack something."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants
from huggingface_hub.errors import LocalEntryNotFoundError

from rag.apps.cli.app import run
from rag.scoring import device, native
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


def test_the_native_kernels_in_use_are_named(examined, monkeypatch):
    monkeypatch.setattr(native, "status", lambda: native.NativeStatus(True, "avx2, 8 threads"))
    code, found = examined()
    (check,) = (check for check in found["checks"] if check["name"] == "native kernels")
    assert (check["ok"], check["detail"]) == (True, "in use: avx2, 8 threads")
    assert (code, found["usable"]) == (0, True)


def test_kernels_that_are_not_in_use_are_named_but_leave_it_usable(examined, monkeypatch):
    status = native.NativeStatus(False, "not built; numpy does the same", "Run `make setup`.")
    monkeypatch.setattr(native, "status", lambda: status)
    code, found = examined()
    assert (code, found["usable"]) == (0, True)
    check = failing(found)["native kernels"]
    assert "not in use: not built; numpy" in check["detail"]
    assert check["next_step"] == "Run `make setup`."


def by_name(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {check["name"]: check for check in found["checks"]}


@pytest.fixture
def no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty hub cache, and a hub that must not be asked."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    looked: list[object] = []

    def look(*_: object, **options: object) -> None:
        looked.append(options.get("local_files_only"))
        raise LocalEntryNotFoundError("not here")

    monkeypatch.setattr("rag.encoders.checkpoint.snapshot_download", look)
    yield
    assert set(looked) <= {True}  # the rest would have been sent for


@pytest.mark.parametrize("name", ["colpali", "dense"])
@pytest.mark.parametrize("revision", [None, "0123abc"])
def test_a_vision_model_that_is_not_here_comes_with_the_command_that_brings_it(
    examined, no_hub, monkeypatch, name, revision
):
    if revision:
        monkeypatch.setenv("OCTAVO_ENCODER__REVISION", revision)
    code, found = examined("--encoder", f"{name}:vidore/colqwen2.5-v0.2")
    assert (code, found["usable"], found["encoder_model"]) == (1, False, None)
    pinned = f" --revision {revision}" if revision else ""
    assert (
        f"`octavo models pull vidore/colqwen2.5-v0.2{pinned} --to DIR`"
        in failing(found)["encoder weights"]["next_step"]
    )


def test_code_that_is_wanted_comes_along(examined, no_hub, monkeypatch):
    monkeypatch.setenv("OCTAVO_ENCODER__REVISION", "0123abc")
    monkeypatch.setenv("OCTAVO_ENCODER__TRUST_REMOTE_CODE", "true")
    missing = failing(examined("--encoder", "dense:jinaai/jina-clip-v2")[1])
    assert (
        "pull jinaai/jina-clip-v2 --revision 0123abc --with-code --to DIR`"
        in (missing["encoder weights"]["next_step"])
    )


def test_a_name_that_no_hub_would_have_is_not_sent_for(examined):
    weights = failing(examined("--encoder", "colpali:a model")[1])["encoder weights"]
    assert "the hub has no model" in weights["detail"]
    assert "pull" not in weights["next_step"]


def test_a_vision_encoder_without_its_extra_says_how_to_install_it(
    examined, no_hub, tmp_path, monkeypatch, capsys
):
    for module in ("torch", "torchvision", "transformers", "colpali_engine"):
        monkeypatch.setitem(sys.modules, module, None)
    _, found = examined("--encoder", f"colpali:{model_folder(tmp_path)}")
    extra = failing(found)["vision extra"]
    assert extra["detail"] == "colpali-engine, torch, torchvision, transformers not installed"
    assert extra["next_step"] == "Run `pip install 'octavo[vision]'`."
    assert "encoder device" not in by_name(found)
    assert (found["encoder_device"], found["hub_models"]) == (None, [])
    # The weights are told of all the same.
    assert found["encoder_model"]["size_bytes"] == 12
    run(["doctor", "--encoder", f"colpali:{tmp_path / 'model'}"])
    out = capsys.readouterr().out
    assert "ok      encoder weights      model, ColQwen2, revision " in out
    assert "1 file, 0.00 MB, in " in out
    assert "encoder model" not in out


def model_folder(tmp_path: Path) -> Path:
    """As much of a model as is looked at: its kind, and weights of no weight."""
    folder = tmp_path / "model"
    folder.mkdir()
    config = {"architectures": ["ColQwen2"], "model_type": "qwen2_vl"}
    (folder / "config.json").write_text(json.dumps(config))
    header = b"{}  "
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    return folder


def test_untried_versions_of_the_extra_are_named(examined, no_hub, tmp_path, monkeypatch):
    monkeypatch.setattr("rag.apps.vision_checks._missing_packages", lambda: ["torch"])
    assert failing(examined("--encoder", "colpali")[1])["vision extra"]["detail"] == (
        "torch not installed"
    )
    monkeypatch.setattr("rag.apps.vision_checks._missing_packages", list)
    monkeypatch.setattr("rag.apps.vision_checks.version", {"torch": "2.9.1+cpu"}.get)
    monkeypatch.setitem(sys.modules, "torch", None)
    _, found = examined("--encoder", "colpali")
    extra = failing(found)["vision extra"]
    assert "torch 2.9.1+cpu, wanted <2.14,>=2.13" in extra["detail"]
    assert found["machine"]["packages"]["torch"] == "2.9.1+cpu"
    assert "torch does not load" in failing(found)["encoder device"]["detail"]


def test_words_are_examined_without_what_vision_encoders_need(tmp_path):
    # Installed, as far as anybody could see.
    for module in ("torch", "torchvision", "transformers", "colpali_engine"):
        (tmp_path / f"{module}.py").write_text("raise SystemExit('imported')\n")
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); from rag.apps.cli.app import run;"
        "code = run(['doctor', '--json', '--data-dir', sys.argv[1]]);"
        "heavy = {'torch', 'torchvision', 'transformers', 'colpali_engine',"
        " 'rag.apps.vision_checks', 'rag.encoders.checkpoint'} & set(sys.modules);"
        "sys.exit(f'{code} {heavy}' if code or heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "OCTAVO_RETRIEVAL__DEVICE": "cpu"},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["encoder_model"], found["encoder_device"], found["hub_models"]) == (
        None,
        None,
        [],
    )
    assert "torch" not in found["machine"]["packages"]


def scoring_device(found: dict[str, Any]) -> dict[str, Any]:
    (check,) = (check for check in found["checks"] if check["name"] == "scoring device")
    return check


def test_the_device_that_scores_is_named_with_the_reason(examined, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(device, "_has_driver", lambda: True)
    assert scoring_device(examined()[1])["detail"] == "cpu: torch is not installed"


def test_a_gpu_that_scores_comes_with_what_pages_may_take_of_it(examined, monkeypatch):
    choice = device.DeviceChoice("cuda", "a GPU, 5 of 9 bytes free")
    monkeypatch.setattr("rag.apps.doctor.choose_device", lambda _: choice)
    detail = scoring_device(examined()[1])["detail"]
    assert detail.startswith("cuda: a GPU, 5 of 9 bytes free")
    assert detail.endswith("within 80 % of what is free then")
    monkeypatch.setenv("OCTAVO_RETRIEVAL__DEVICE_BYTES", "4000000")
    assert scoring_device(examined()[1])["detail"].endswith("within 4,000,000 bytes")


def test_a_gpu_that_is_asked_for_and_not_there_makes_it_unusable(examined, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setenv("OCTAVO_RETRIEVAL__DEVICE", "cuda")
    code, found = examined()
    assert (code, found["usable"]) == (1, False)
    assert "torch is not installed" in failing(found)["scoring device"]["detail"]
    assert found["device"] == "cuda, which cannot be had"


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
