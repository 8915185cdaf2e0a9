"""Where a model's files are found, which they are, and what is refused before it is read."""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import replace

import pytest

pytest.importorskip("torch", reason="needs torch: make test-torch")

from huggingface_hub import constants

from rag.encoders.checkpoint import find_checkpoint, load_errors, require_loaded
from rag.encoders.folder_digest import folder_digest
from rag.errors import ConfigError, ModelFailed
from rag.settings import EncoderSettings

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
    """The model in the hub's cache, as the hub's own client lays it out."""
    model = tmp_path / "hub" / f"models--{_MODEL.replace('/', '--')}"
    shutil.copytree(tiny("ColQwen2"), model / "snapshots" / _COMMIT)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(_COMMIT)
    return model / "snapshots" / _COMMIT


def find(model, **changed):
    return find_checkpoint(EncoderSettings(name="colpali", model=str(model), **changed))


def refusal(model, **changed):
    with pytest.raises((ConfigError, ModelFailed)) as refused:
        find(model, **changed)
    return refused.value


# --- found --------------------------------------------------------------------------------------
def test_a_folder_is_its_files(folder):
    found = find(folder)
    assert (found.name, found.folder) == ("model", folder)
    assert found.config["model_type"] == "qwen2_vl"
    assert found.revision == folder_digest(folder)[:16]
    assert found.base is None
    assert found.model_folder == found.processor_folder == folder


def test_a_folder_moved_or_copied_is_the_same_model(folder, tmp_path):
    assert folder_digest(shutil.copytree(folder, tmp_path / "copy")) == folder_digest(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_any_change_of_what_is_read_is_another_revision(folder, name):
    before = folder_digest(folder)
    (folder / "README.md").write_text("not read")
    assert folder_digest(folder) == before
    path = folder / name
    path.write_bytes(path.read_bytes() + b" ")
    assert folder_digest(folder) != before


def test_unchanged_files_are_not_read_again(folder, monkeypatch):
    before = folder_digest(folder)

    def unread(*_):
        raise AssertionError("read again")

    monkeypatch.setattr("hashlib.file_digest", unread)
    assert folder_digest(folder) == before
    later = time.time_ns() + 10**9
    os.utime(folder / "config.json", ns=(later, later))
    with pytest.raises(AssertionError, match="read again"):
        folder_digest(folder)


def test_a_model_id_is_looked_up_in_the_hubs_cache(cached):
    found = find(_MODEL)
    assert (found.name, found.folder, found.revision) == (_MODEL, cached, _COMMIT[:16])
    assert find(_MODEL, revision=_COMMIT).folder == cached


def test_a_revision_pins_a_folder_too(folder):
    digest = find(folder).revision
    assert find(folder, revision=digest).revision == digest
    refused = refusal(folder, revision="0" * 16)
    assert refused.code == "wrong_revision"
    assert digest in refused.message


def test_an_adapter_is_both_its_files_and_its_base(tiny, folder, cached):
    _as_adapter(folder, base=_MODEL)
    found = find(folder)
    assert found.base.folder == cached == found.model_folder
    assert found.revision == f"{folder_digest(folder)[:16]}+{_COMMIT[:16]}"
    assert found.config["model_type"] == "qwen2_vl"
    assert found.processor_folder == folder
    (folder / "processor_config.json").unlink()
    assert find(folder).processor_folder == cached
    pulled = shutil.copytree(tiny("ColQwen2"), folder / "base_model")
    assert find(folder).model_folder == pulled


def _as_adapter(folder, *, base):
    (folder / "config.json").unlink()
    (folder / "model.safetensors").rename(folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": base}))


# --- refused ------------------------------------------------------------------------------------
def test_a_model_that_is_nowhere_says_how_to_get_it():
    refused = refusal("vidore/colqwen2.5-v0.2")
    assert refused.code == "weights_missing"
    assert "octavo models pull vidore/colqwen2.5-v0.2 --to DIR" in refused.next_step


def test_a_cache_with_the_configuration_alone_does_not_count(cached):
    (cached / "model.safetensors").unlink()
    assert refusal(_MODEL).code == "weights_missing"


def test_a_revision_that_is_not_in_the_cache_is_not_another_one(cached):
    assert cached.is_dir()
    assert refusal(_MODEL, revision="f" * 40).code == "weights_missing"


@pytest.mark.parametrize("model", [None, "/nowhere/at/all", "./nowhere", "a/b/c"])
def test_no_model_and_no_folder_are_errors_of_the_settings(model):
    with pytest.raises(ConfigError):
        find_checkpoint(EncoderSettings(name="colpali", model=model))


def test_a_folder_that_holds_no_model_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    refused = refusal(tmp_path / "empty")
    assert refused.code == "no_model"
    assert "config.json" in refused.message


@pytest.mark.parametrize("text", ["{", "[]", "\xff"])
def test_a_configuration_that_is_not_json_is_named(folder, text):
    (folder / "config.json").write_bytes(text.encode("latin-1"))
    refused = refusal(folder)
    assert refused.code == "bad_model"
    assert "config.json" in refused.message


@pytest.mark.parametrize("keep", [-1, 100, 8, 3, 0])
def test_weights_cut_short_are_named_before_anything_is_loaded(folder, keep):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    refused = refusal(folder)
    assert refused.code == "weights_damaged"
    assert "model.safetensors" in refused.message


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "weights.pkl"])
def test_formats_that_run_code_are_never_read(folder, name):
    (folder / "model.safetensors").rename(folder / name)
    refused = refusal(folder)
    assert refused.code == "unsafe_weights"
    assert name in refused.message


def test_a_shard_that_is_not_there_is_named(folder):
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    weight_map = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    refused = refusal(folder)
    assert refused.code == "weights_missing"
    assert "model-00002-of-00002.safetensors" in refused.message


def test_an_adapter_without_base_or_of_nothing_is_refused(folder):
    _as_adapter(folder, base="vidore/colqwen2-base")
    assert "vidore/colqwen2-base" in refusal(folder).message
    (folder / "adapter_config.json").write_text("{}")
    assert refusal(folder).code == "bad_model"


def test_a_model_and_an_adapter_in_one_folder_and_an_adapter_of_one_are_refused(
    folder, cached, tmp_path
):
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": _MODEL}))
    assert refusal(folder).code == "bad_model"
    _as_adapter(folder, base=_MODEL)
    (folder / "config.json").write_text("{}")  # as some trainers leave it beside an adapter
    assert find(folder).model_folder == cached
    second = shutil.copytree(folder, tmp_path / "second")
    (second / "adapter_config.json").write_text(
        json.dumps({"base_model_name_or_path": str(folder)})
    )
    assert refusal(second).code == "bad_model"


@pytest.mark.parametrize("where", ["folder", "hub"])
def test_code_beside_the_weights_wants_a_pinned_revision(where, folder, cached):
    model, revision = (
        (folder, folder_digest(folder, code=True))
        if where == "folder"
        else (
            _MODEL,
            cached.name,
        )
    )
    assert "encoder.revision" in refusal(model, trust_remote_code=True).message
    assert find(model, trust_remote_code=True, revision=revision).trust_remote_code
    assert not find(model, revision=revision).trust_remote_code


def test_code_is_part_of_what_a_folder_is_only_where_it_may_run(folder):
    without, allowed = folder_digest(folder), folder_digest(folder, code=True)
    (folder / "modeling.py").write_text("print()")
    assert folder_digest(folder) == without
    assert folder_digest(folder, code=True) != allowed


# --- what did not load --------------------------------------------------------------------------
def test_weights_that_did_not_load_are_an_error_that_names_some():
    require_loaded({"missing_keys": set(), "mismatched_keys": set(), "unexpected_keys": {"x"}}, "m")
    require_loaded({"missing_keys": {"a"}}, "m", given={"a"})
    for info, named in (
        ({"missing_keys": {"a", "b", "c", "d"}}, "4 missing (a, b, c, ...)"),
        ({"mismatched_keys": {("w", (1,), (2,))}}, "1 of another shape (w)"),
        ({"error_msgs": ["no"]}, "1 unreadable (no)"),
    ):
        with pytest.raises(ModelFailed) as refused:
            require_loaded(info, "m")
        assert refused.value.code == "weights_incomplete"
        assert named in refused.value.message


# --- what a library says ------------------------------------------------------------------------
def test_a_library_that_names_the_folder_is_quoted_with_the_model_s_name(folder, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(folder)
    found = find(link)
    for spelled in (link, folder):
        with pytest.raises(ModelFailed) as failed, load_errors(found):
            raise OSError(f"no file {spelled}/spiece.model" + "\nand more of it")
        assert failed.value.code == "load_failed"
        assert (
            failed.value.message == "model could not be loaded: OSError: no file model/spiece.model"
        )


def test_no_path_of_the_hub_s_cache_or_of_an_adapter_s_base_is_said(folder, cached, tmp_path):
    in_cache = find(_MODEL)
    adapter = replace(find(folder), base=in_cache)
    for path in (cached / "config.json", cached.parent.parent / "blobs" / "a1", folder / "x.json"):
        with pytest.raises(ModelFailed) as failed, load_errors(adapter):
            raise ValueError(f"cannot read {path}")
        assert str(tmp_path) not in failed.value.message
        assert path.name in failed.value.message


def test_a_name_below_a_folder_that_is_here_is_a_path_and_no_id(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "file").write_text("")
    for name in ("models/nothere", "models/file"):
        with pytest.raises(ConfigError, match="there is no folder") as refused:
            find_checkpoint(EncoderSettings(name="colpali", model=name))
        assert refused.value.code == "no_model"
