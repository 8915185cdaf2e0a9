"""Tiny checkpoints load whole by the public path, and the trained ones know the self-test."""

import subprocess
import sys

import pytest

torch = pytest.importorskip("torch", reason="needs torch: make test-torch")

from rag.encoders.torchvision_guard import ensure_torchvision

ensure_torchvision()

engine = pytest.importorskip("colpali_engine.models", reason="needs the vision extra")
transformers = pytest.importorskip("transformers")

from rag.errors import InputError
from rag.testing import tiny_models, training
from rag.testing.checkpoints import FAMILIES, main, make_checkpoint

ENGINE_PROCESSORS = {
    "ColQwen2_5": "ColQwen2_5_Processor",
    "BiQwen2_5": "BiQwen2_5_Processor",
    "ColGemma3": "ColGemmaProcessor3",
}
TRANSFORMERS_MODELS = {
    "Clip": "CLIPModel",
    "Siglip": "SiglipModel",
    "Qwen2VL": "Qwen2VLForConditionalGeneration",
    "Qwen3VL": "Qwen3VLForConditionalGeneration",
}


def load(family, folder):
    """The model and processor of a folder by the public path; nothing may be missing."""
    if family in TRANSFORMERS_MODELS:
        model_class = getattr(transformers, TRANSFORMERS_MODELS[family])
        processor_class = transformers.AutoProcessor
    else:
        model_class = getattr(engine, family)
        processor_class = getattr(engine, ENGINE_PROCESSORS.get(family, f"{family}Processor"))
    # These two ask their base for a mapping that it no longer has.
    mapping = {"key_mapping": {}} if family in ("BiQwen2", "BiQwen2_5") else {}
    model, loading = model_class.from_pretrained(folder, output_loading_info=True, **mapping)
    assert not any(loading.values()), loading
    return model.eval(), processor_class.from_pretrained(folder)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_saved_is_loaded_bit_for_bit(family, tmp_path):
    made, processor = tiny_models.build(family, seed=3)
    tiny_models.save(made, processor, tmp_path / "saved")
    loaded, _ = load(family, tmp_path / "saved")
    held = loaded.state_dict()
    compared = 0
    for name, weights in made.state_dict().items():
        if not held[name].is_meta:  # ColPali leaves the head that it has no use for
            assert torch.equal(weights, held[name]), name
            compared += weights.numel()
    assert compared > 50_000


@pytest.mark.parametrize("family", FAMILIES)
def test_a_trained_one_tells_the_self_test_apart_once_it_is_loaded(family, tiny):
    model, processor = load(family, tiny(family))
    assert training.margin(family, model, processor) > 0.2


def test_an_untrained_one_does_not(tmp_path):
    for seed in range(3):
        folder = make_checkpoint("ColQwen2", tmp_path / f"{seed}", trained=False, seed=seed)
        assert training.margin("ColQwen2", *load("ColQwen2", folder)) < 0.0


def test_the_same_seed_makes_the_same_bytes_and_another_makes_others(tmp_path, tiny):
    again = make_checkpoint("BiModernVBert", tmp_path / "again")
    other = make_checkpoint("BiModernVBert", tmp_path / "other", seed=1)
    first, *rest = (
        {path.name: path.read_bytes() for path in folder.iterdir()}
        for folder in (tiny("BiModernVBert"), again, other)
    )
    assert rest[0] == first
    assert rest[1]["model.safetensors"] != first["model.safetensors"]
    assert set(rest[1]) == set(first)


def test_queries_of_any_words_and_lengths_have_finite_vectors(tiny):
    for family in ("ColIdefics3", "ColPali", "ColModernVBert"):
        model, processor = load(family, tiny(family))
        inputs = processor.process_queries(["?", "häuser 東京 " * 30, "fox jumps"])
        with torch.no_grad():
            vectors = model(**inputs)
        assert torch.isfinite(vectors).all()
        norms = vectors.norm(dim=-1)[inputs["attention_mask"] == 1]
        torch.testing.assert_close(norms, torch.ones_like(norms))


def test_a_folder_in_use_and_a_family_that_is_not_there_are_refused(tmp_path, capsys):
    (tmp_path / "note").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        make_checkpoint("Clip", tmp_path)
    with pytest.raises(InputError, match="ColNothing"):
        make_checkpoint("ColNothing", tmp_path / "new")
    assert main(["ColNothing", str(tmp_path / "new")]) == 1
    assert "ColQwen2" in capsys.readouterr().err
    assert main(["Clip", str(tmp_path / "new"), "--untrained"]) == 0
    assert (tmp_path / "new" / "model.safetensors").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "note"]


def test_the_rest_of_rag_testing_comes_without_torch():
    code = (
        "import sys, rag.testing, rag.testing.checkpoints;"
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
