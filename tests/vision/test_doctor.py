"""`octavo doctor` for vision encoders, on tiny checkpoints: what is there, damaged or missing."""

from __future__ import annotations

import json
import shutil

import pytest

torch = pytest.importorskip("torch", reason="needs torch: make test-torch")

from huggingface_hub import constants

from rag.apps import vision_checks
from rag.apps.cli.app import run
from rag.encoders import colpali
from rag.encoders.checkpoint import folder_digest

_MODEL, _COMMIT = "octavo/tiny", "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def own_caches(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def folder(tiny, tmp_path):
    return shutil.copytree(tiny("ColQwen2"), tmp_path / "model")


@pytest.fixture
def cached(tiny, tmp_path):
    model = tmp_path / "hub" / f"models--{_MODEL.replace('/', '--')}"
    shutil.copytree(tiny("ColQwen2"), model / "snapshots" / _COMMIT)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(_COMMIT)
    return model / "snapshots" / _COMMIT


@pytest.fixture
def examined(capsys, tmp_path):
    def examine(model, *flags, encoder="colpali"):
        arguments = ["doctor", "--json", "--data-dir", str(tmp_path / "data")]
        code = run([*arguments, "--encoder", f"{encoder}:{model}", *flags])
        found = json.loads(capsys.readouterr().out)
        return code, found, {check["name"]: check for check in found["checks"]}

    return examine


def as_adapter(folder, *, base):
    (folder / "config.json").unlink()
    (folder / "model.safetensors").rename(folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": base}))


def test_weights_libraries_and_device_are_told_and_no_model_is_loaded(
    examined, folder, monkeypatch
):
    monkeypatch.setattr(colpali.ColPaliEncoder, "load", None)
    code, found, checks = examined(folder, "--device", "cpu")
    assert (code, found["usable"]) == (0, True)
    size_bytes = (folder / "model.safetensors").stat().st_size
    revision = folder_digest(folder)[:16]
    assert found["encoder_model"] == {
        "name": "model",
        "family": "ColQwen2",
        "revision": revision,
        "folder": str(folder),
        "files": 1,
        "size_bytes": size_bytes,
        "base": None,
    }
    assert checks["encoder weights"]["detail"] == (
        f"model, ColQwen2, revision {revision}: 1 file, {size_bytes / 1e6:.2f} MB, in {folder}"
    )
    assert f"torch {torch.__version__}" in checks["vision extra"]["detail"]
    assert found["machine"]["packages"]["torchvision"] in checks["vision extra"]["detail"]
    assert found["encoder_device"] == {
        "device": "cpu",
        "reason": "encoder.device is cpu",
        "dtype": "float32",
        "attention": "sdpa",
        "gpus": [],
    }
    assert checks["encoder device"]["next_step"] == ""  # a tiny model is fast enough


def test_a_torchvision_mended_beside_another_torch_is_told(examined, folder, monkeypatch):
    for found_by_guard, said in (("named", True), ("whole", False)):
        monkeypatch.setattr(
            "rag.encoders.torchvision_guard.ensure_torchvision", lambda said=found_by_guard: said
        )
        extra = examined(folder)[2]["vision extra"]
        assert extra["ok"]
        assert ("torchvision's operators" in extra["detail"]) is said


def test_a_torchvision_that_does_not_load_is_an_error(examined, folder, monkeypatch):
    def broken():
        raise RuntimeError("undefined symbol\nmore")

    monkeypatch.setattr("rag.encoders.torchvision_guard.ensure_torchvision", broken)
    code, _, checks = examined(folder)
    assert code == 1
    assert checks["vision extra"]["detail"] == "torchvision does not load: undefined symbol"


def test_a_large_model_on_the_cpu_is_told_to_be_slow_but_usable(examined, folder, monkeypatch):
    monkeypatch.setattr(vision_checks, "_LARGE_BYTES", 1)
    code, _, checks = examined(folder, "--device", "cpu")
    assert code == 0
    device = checks["encoder device"]
    assert device["ok"]
    assert "seconds to minutes a page" in device["detail"]
    assert "GPU" in device["next_step"]


def test_gpus_are_told_with_their_memory(examined, folder, monkeypatch):
    # The scoring device has its own check, and would ask this GPU for its memory.
    monkeypatch.setenv("OCTAVO_RETRIEVAL__DEVICE", "cpu")
    monkeypatch.setattr(vision_checks, "_LARGE_BYTES", 1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    gpu = type("Gpu", (), {"name": "Big", "total_memory": 140 * 10**9})
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: gpu)
    _, found, checks = examined(folder)
    assert checks["encoder device"]["detail"].startswith(
        "cuda: Big with 140.00 GB, Big with 140.00 GB; bfloat16"
    )
    assert checks["encoder device"]["next_step"] == ""
    assert found["encoder_device"]["gpus"] == [{"name": "Big", "memory_bytes": 140 * 10**9}] * 2


def test_a_gpu_that_is_asked_for_and_not_seen_makes_it_unusable(examined, folder, monkeypatch):
    monkeypatch.setenv("OCTAVO_RETRIEVAL__DEVICE", "cpu")
    monkeypatch.setenv("OCTAVO_ENCODER__DEVICE", "cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    code, found, checks = examined(folder)
    assert (code, found["encoder_device"]) == (1, None)
    assert "torch sees no GPU" in checks["encoder device"]["detail"]


def test_weights_cut_short_are_named(examined, folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    code, found, checks = examined(folder)
    assert (code, found["encoder_model"]) == (1, None)
    assert "model.safetensors of model is damaged" in checks["encoder weights"]["detail"]
    assert "octavo models pull" in checks["encoder weights"]["next_step"]


def test_a_shard_that_is_missing_is_fetched_into_the_same_folder(examined, folder):
    (folder / "model.safetensors").unlink()
    weights = examined(folder)[2]["encoder weights"]
    assert "model.safetensors is not there" in weights["detail"]
    assert weights["next_step"].startswith(f"Run `octavo models pull ID --to {folder}`")


def test_an_adapter_is_told_with_its_base(examined, folder, cached):
    as_adapter(folder, base=_MODEL)
    code, found, checks = examined(folder)
    assert code == 0
    model = found["encoder_model"]
    assert (model["name"], model["base"]["name"]) == ("model", _MODEL)
    assert model["base"]["folder"] == str(cached)
    assert model["revision"].endswith(f"+{_COMMIT[:16]}")
    assert f"an adapter of {_MODEL}: 1 file" in checks["encoder weights"]["detail"]


def test_an_adapter_without_its_base_comes_with_the_command_that_completes_it(
    examined, folder, cached
):
    as_adapter(folder, base="vidore/colqwen2-base")
    weights = examined(folder)[2]["encoder weights"]
    assert weights["next_step"].startswith(
        f"Run `octavo models pull vidore/colqwen2-base --to {folder / 'base_model'}`"
    )
    as_adapter(cached, base="vidore/colqwen2-base")
    weights = examined(_MODEL)[2]["encoder weights"]
    assert weights["next_step"].startswith(f"Run `octavo models pull {_MODEL} --to DIR`")


def test_a_model_of_one_vector_is_for_the_other_encoder(examined, tiny):
    model = tiny("BiQwen2")
    code, found, _ = examined(model, encoder="dense")
    assert (code, found["encoder_model"]["family"]) == (0, "BiQwen2")
    code, _, checks = examined(model)
    assert code == 1
    assert "encoder.name to dense" in checks["encoder weights"]["next_step"]


def test_a_folder_of_another_library_wants_that_library(examined, tiny, tmp_path, monkeypatch):
    model = shutil.copytree(tiny("Clip"), tmp_path / "sentences")
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.CLIPModel"}
    ]
    (model / "modules.json").write_text(json.dumps(modules))
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"model_type": "mine"}))
    monkeypatch.setattr(vision_checks, "_is_importable", lambda name: "sentence" not in name)
    code, found, checks = examined(model, encoder="dense")
    assert (code, found["encoder_model"]["family"]) == (1, "sentence-transformers")
    assert (
        checks["sentence-transformers"]["next_step"] == "Run `pip install sentence-transformers`."
    )


def test_models_in_the_hubs_cache_are_offered_where_they_are_whole_and_for_pages(
    examined, cached, tmp_path
):
    other = tmp_path / "hub" / "models--some--chat"
    shutil.copytree(cached.parent.parent, other)
    config = other / "snapshots" / _COMMIT / "config.json"
    config.write_text(json.dumps({"architectures": ["LlamaForCausalLM"], "model_type": "llama"}))
    grown = json.loads((cached / "config.json").read_text())
    grown["architectures"] = ["Qwen2VLForConditionalGeneration"]
    shutil.copytree(other, tmp_path / "hub" / "models--some--grown")
    (tmp_path / "hub/models--some--grown/snapshots" / _COMMIT / "config.json").write_text(
        json.dumps(grown)
    )
    part = shutil.copytree(cached.parent.parent, tmp_path / "hub" / "models--some--part")
    (part / "snapshots" / _COMMIT / "model.safetensors").unlink()
    _, found, checks = examined("some/part")
    assert [model["name"] for model in found["hub_models"]] == [_MODEL]
    assert checks["hub cache"]["detail"].startswith(f"{_MODEL} (")
    assert "not complete in the hub's cache" in checks["encoder weights"]["detail"]


def test_people_read_it_in_lines(folder, tmp_path, capsys):
    assert (
        run(["doctor", "--data-dir", str(tmp_path / "data"), "--encoder", f"colpali:{folder}"]) == 0
    )
    out = capsys.readouterr().out
    for name in ("encoder weights", "vision extra", "encoder device", "hub cache"):
        assert f"ok      {name}" in out
    assert "hub models" not in out
