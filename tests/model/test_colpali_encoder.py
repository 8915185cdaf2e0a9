"""The colpali encoder over a tiny trained checkpoint of every family, loaded as a real one is."""

from __future__ import annotations

import json
import shutil
import warnings
from functools import cache

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs torch: make test-torch")

import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from rag.encoders import colpali
from rag.encoders.checkpoint import find_checkpoint
from rag.encoders.colpali import ColPaliEncoder
from rag.encoders.colpali_families import FAMILIES, family_of
from rag.encoders.self_test import QUERIES, page_inputs, pages
from rag.errors import ConfigError, InputError, ModelFailed
from rag.page_text import PageText
from rag.ports import PageInput
from rag.scoring.maxsim import maxsim
from rag.settings import EncoderSettings
from rag.testing.checkpoints import make_checkpoint
from rag.types import PageRef, RenderedPage, VectorKind

TINY = tuple(family.name for family in FAMILIES)


def settings_of(folder, **changed):
    return EncoderSettings(name="colpali", model=str(folder), device="cpu", threads=1, **changed)


@pytest.fixture(scope="module")
def loaded(tiny):
    return cache(lambda family: ColPaliEncoder.load(settings_of(tiny(family))))


def page_of(image, number=1):
    width, height = image.size
    return PageInput(
        ref=PageRef("d", number),
        width_pt=width,
        height_pt=height,
        text=PageText.empty(),
        image=RenderedPage(image, width, height),
    )


def mixed_pages():
    first, second, third, fourth = pages()
    images = (first, second.resize((600, 250)), third.resize((200, 700)), fourth)
    return [page_of(image, number) for number, image in enumerate(images, start=1)]


def engine_of(folder, family):
    """Model and processor of colpali-engine, as its own documentation loads them."""
    from colpali_engine import models

    processor = {each.name: each.processor for each in FAMILIES}[family]
    model = getattr(models, family).from_pretrained(folder).eval()
    return model, getattr(models, processor).from_pretrained(folder)


# --- every family -------------------------------------------------------------------------------
@pytest.mark.parametrize("family", TINY)
def test_scores_are_the_engines_own(family, tiny, loaded):
    encoder = loaded(family)
    model, processor = engine_of(tiny(family), family)
    pages_ours = encoder.encode_pages(page_inputs())
    queries_ours = [encoder.encode_query(text) for text in QUERIES]
    ours = [
        [maxsim(query.tokens.vectors, page.patches.vectors) for page in pages_ours]
        for query in queries_ours
    ]
    with torch.inference_mode():
        # One at a time: the engine's padding rows score zero, and beat all that is negative.
        theirs = processor.score_multi_vector(
            [model(**processor.process_queries([text]))[0] for text in QUERIES],
            [model(**processor.process_images([image]))[0] for image in pages()],
            device="cpu",
        )
    np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-5 * max(1, np.abs(ours).max()))


@pytest.mark.parametrize("family", TINY)
def test_a_page_is_the_same_whichever_pages_it_is_encoded_with(family, loaded):
    encoder, together = loaded(family), mixed_pages()
    encoder._batch_size = len(together)
    for page, beside in zip(together, encoder.encode_pages(together), strict=True):
        [alone] = encoder.encode_pages([page])
        np.testing.assert_allclose(beside.patches.vectors, alone.patches.vectors, atol=1e-5)
        np.testing.assert_array_equal(beside.patches.boxes, alone.patches.boxes)
        np.testing.assert_array_equal(beside.patches.kinds, alone.patches.kinds)
        np.testing.assert_allclose(beside.dense, alone.dense, atol=1e-5)


@pytest.mark.parametrize("family", TINY)
def test_rows_are_unit_vectors_of_patches_and_special_tokens_and_never_padding(family, loaded):
    encoder = loaded(family)
    for page, encoded in zip(mixed_pages(), encoder.encode_pages(mixed_pages()), strict=True):
        patches = encoded.patches
        assert patches.dim == encoder.identity.dim == encoder.identity.dense_dim
        np.testing.assert_allclose(np.linalg.norm(patches.vectors, axis=1), 1, atol=1e-5)
        is_patch = patches.kinds == VectorKind.PATCH
        assert set(patches.kinds) == {VectorKind.PATCH, VectorKind.SPECIAL}
        assert not patches.boxes[~is_patch].any()
        area = np.prod(patches.boxes[is_patch][:, 2:] - patches.boxes[is_patch][:, :2], axis=1)
        assert area.min() > 0
        # Tiles are followed by the whole page once more.
        covered = area.sum() / (page.width_pt * page.height_pt)
        assert covered == pytest.approx(round(covered), rel=1e-3)
        assert encoded.patch_words is None
        assert len(encoded.headings) == 0
        mean = patches.vectors[is_patch].mean(axis=0)
        np.testing.assert_allclose(encoded.dense[0], mean / np.linalg.norm(mean), atol=1e-5)


@pytest.mark.parametrize("family", TINY)
def test_questions_keep_their_augmentation_tokens_and_say_what_each_row_is(family, tiny, loaded):
    query = loaded(family).encode_query("sales")
    _, processor = engine_of(tiny(family), family)
    token_ids = processor.process_queries(["sales"])["input_ids"][0].tolist()
    assert query.labels == tuple(processor.tokenizer.decode([each]) for each in token_ids)
    assert len(query.tokens) == len(token_ids)
    assert np.linalg.norm(query.dense) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("family", TINY)
def test_markup_of_the_models_input_is_text_in_a_question(family, loaded):
    encoder = loaded(family)
    markup = list(encoder._processor.tokenizer.get_added_vocab())
    query = encoder.encode_query(" ".join(["what", *markup[:12], "<image>", "<|image_pad|>"]))
    words = query.labels[: -10 if family != "ColGemma3" else None]
    assert not {"<image>", "<|image_pad|>", "<image_soft_token>"} & set(words)


@pytest.mark.parametrize("family", ["ColQwen2", "ColIdefics3", "ColPali"])
@pytest.mark.parametrize("size", [(1, 1), (3, 900), (1200, 2)])
def test_pages_of_any_shape_are_encoded(family, size, loaded):
    [encoded] = loaded(family).encode_pages([page_of(Image.new("RGB", size, "white"))])
    assert (encoded.patches.kinds == VectorKind.PATCH).any()
    assert encoded.patches.boxes[:, 2].max() == pytest.approx(size[0])
    assert encoded.patches.boxes[:, 3].max() == pytest.approx(size[1])


# --- questions by image -------------------------------------------------------------------------
def test_an_image_asks_with_its_patches_in_its_own_pixels(loaded):
    encoder, image = loaded("ColQwen2"), pages()[2].resize((640, 320))
    query = encoder.encode_query("", image=image)
    [page] = encoder.encode_pages([page_of(image)])
    is_patch = page.patches.kinds == VectorKind.PATCH
    np.testing.assert_allclose(query.tokens.vectors, page.patches.vectors[is_patch], atol=1e-6)
    assert query.tokens.boxes[:, 2].max() == pytest.approx(640)
    assert query.tokens.boxes[:, 3].max() == pytest.approx(320)
    assert query.labels == ()


def test_text_and_image_together_score_the_sum_of_both(loaded):
    encoder, image = loaded("ColQwen2"), pages()[2]
    [page] = encoder.encode_pages([page_inputs()[1]])

    def score(text, image):
        query = encoder.encode_query(text, image=image)
        return maxsim(query.tokens.vectors, page.patches.vectors)

    apart = score("sales", None) + score("", image)
    assert score("sales", image) == pytest.approx(apart, abs=1e-3)
    both = encoder.encode_query("sales", image=image)
    n_text = len(encoder.encode_query("sales").tokens)
    assert not both.tokens.boxes[:n_text].any()
    assert (both.tokens.boxes[n_text:, 2] > 0).all()
    assert len(both.labels) == len(both.tokens)


def test_a_question_of_nothing_and_one_too_long_are_refused(loaded):
    encoder = loaded("ColQwen2")
    with pytest.raises(InputError) as empty:
        encoder.encode_query("  ")
    assert empty.value.code == "empty_query"
    with pytest.raises(InputError) as long:
        encoder.encode_query("dividend " * 5000)
    assert long.value.code == "query_too_long"


# --- identity and settings ----------------------------------------------------------------------
def test_dim_is_the_models_own_and_the_identity_names_model_and_files(tiny, loaded):
    assert loaded("ColQwen3").identity.dim == 320
    identity = loaded("ColQwen2").identity
    assert identity.dim == 128
    assert identity.revision == find_checkpoint(settings_of(tiny("ColQwen2"))).revision
    assert identity.settings == {"model": "ColQwen2", "family": "ColQwen2"}


@pytest.mark.parametrize(
    ("family", "most"), [("ColQwen2", 20), ("ColQwen3", 20), ("ColIdefics3", 20)]
)
def test_max_patches_holds_and_is_part_of_the_identity(family, most, tiny, monkeypatch):
    # What the tiny models learned, they learned at their own resolution.
    monkeypatch.setattr("rag.encoders.colpali.prove", lambda _: None)
    encoder = ColPaliEncoder.load(settings_of(tiny(family), max_patches=most))
    assert encoder.identity.settings["max_patches"] == most
    for encoded in encoder.encode_pages(mixed_pages()):
        assert 0 < (encoded.patches.kinds == VectorKind.PATCH).sum() <= most


def test_max_patches_where_every_page_has_as_many_is_refused(tiny):
    with pytest.raises(ConfigError, match="max_patches"):
        ColPaliEncoder.load(settings_of(tiny("ColPali"), max_patches=32))


def test_every_family_is_found_by_its_class_or_by_the_kind_of_its_model(tiny):
    found = find_checkpoint(settings_of(tiny("ColQwen2")))
    for family in FAMILIES:
        for model_type in family.model_types:
            for architectures in ([family.name], ["SomethingElse"], None):
                config = {"model_type": model_type, "architectures": architectures}
                assert family_of(_with(found, config)) is family
    for config in (
        {"model_type": "bert"},
        {"model_type": "qwen2_vl", "architectures": ["BiQwen2"]},
        {},
    ):
        with pytest.raises(ConfigError, match=r"ColPali.*ColQwen2_5.*ColGemma3") as refused:
            family_of(_with(found, config))
        assert refused.value.code == "encoder_family"


def test_every_family_of_the_engine_that_can_be_built_is_read():
    from colpali_engine import models

    classes = {name for name in dir(models) if name.startswith("Col") and "Processor" not in name}
    assert classes - {"ColQwen2_5Omni"} == set(TINY)
    assert all(hasattr(models, family.processor) for family in FAMILIES)


def _with(checkpoint, config):
    from dataclasses import replace

    return replace(checkpoint, config=config)


# --- weights that are not all there -------------------------------------------------------------
@pytest.fixture
def copied(tiny, tmp_path):
    def copy(family):
        return shutil.copytree(tiny(family), tmp_path / family)

    return copy


@pytest.mark.parametrize(
    ("family", "part"),
    [("ColQwen2", "custom_text_proj.weight"), ("ColIdefics3", "vision"), ("ColPali", "layers.1")],
)
def test_a_checkpoint_without_one_of_its_weights_is_refused(family, part, copied):
    file = copied(family) / "model.safetensors"
    weights = load_file(file)
    key = next(key for key in sorted(weights) if part in key)
    del weights[key]
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(ModelFailed) as refused:
        ColPaliEncoder.load(settings_of(file.parent))
    assert refused.value.code == "weights_incomplete"


def test_a_weight_of_another_shape_is_refused(copied):
    file = copied("ColQwen2") / "model.safetensors"
    weights = load_file(file)
    weights["custom_text_proj.weight"] = torch.zeros(64, 64)
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(ModelFailed) as refused:
        ColPaliEncoder.load(settings_of(file.parent))
    assert refused.value.code == "weights_incomplete"
    assert "of another shape (custom_text_proj.weight)" in refused.value.message


@pytest.mark.parametrize("family", ["ColQwen2", "ColModernVBert"])
def test_a_checkpoint_that_learned_nothing_fails_the_self_test(family, tmp_path):
    folder = make_checkpoint(family, tmp_path / family, trained=False)
    with pytest.raises(ModelFailed) as refused:
        ColPaliEncoder.load(settings_of(folder))
    assert refused.value.code == "self_test_failed"


def test_rows_that_are_not_finite_are_refused(tiny, monkeypatch):
    encoder = ColPaliEncoder.load(settings_of(tiny("ColQwen2")))
    with torch.no_grad():
        encoder._model.custom_text_proj.bias.fill_(torch.nan)
    with pytest.raises(ModelFailed) as refused:
        encoder.encode_pages(page_inputs())
    assert refused.value.code == "bad_vectors"


# --- adapters -----------------------------------------------------------------------------------
def write_adapter(base, folder, **config):
    """LoRA on a trained ColQwen2 as peft writes it, small enough to keep what was learned.

    Returns:
        What peft's own model makes of the first page.
    """
    from peft import LoraConfig, get_peft_model

    model, processor = engine_of(base, "ColQwen2")
    torch.manual_seed(0)
    with warnings.catch_warnings():
        # peft asks transformers by an old name.
        warnings.simplefilter("ignore", FutureWarning)
        model = get_peft_model(model, LoraConfig(r=2, task_type="FEATURE_EXTRACTION", **config))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.02)
            if "modules_to_save" in name:
                weight.add_(0.001)
    model.peft_config["default"].base_model_name_or_path = str(base)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    with torch.inference_mode():
        return model.eval()(**processor.process_images([pages()[0]]))[0].numpy()


@pytest.fixture(scope="module")
def adapter(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapter") / "lora"
    targets = r"(.*(language_model).*(q_proj|v_proj|down_proj).*$|.*(custom_text_proj).*$)"
    return folder, write_adapter(tiny("ColQwen2"), folder, target_modules=targets)


def test_an_adapter_is_on_its_base(adapter, loaded):
    folder, expected = adapter
    encoder = ColPaliEncoder.load(settings_of(folder))
    [page] = encoder.encode_pages(page_inputs()[:1])
    np.testing.assert_allclose(page.patches.vectors, expected, atol=1e-5)
    [without] = loaded("ColQwen2").encode_pages(page_inputs()[:1])
    assert np.abs(page.patches.vectors - without.patches.vectors).max() > 1e-3
    own, base = encoder.identity.revision.split("+")
    assert base == loaded("ColQwen2").identity.revision
    assert own != base


def test_a_base_that_was_pulled_with_its_adapter_is_found_inside(adapter, tiny, tmp_path):
    folder = shutil.copytree(adapter[0], tmp_path / "lora")
    shutil.copytree(tiny("ColQwen2"), folder / "base_model")
    config = json.loads((folder / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = "somebody/elsewhere"
    (folder / "adapter_config.json").write_text(json.dumps(config))
    encoder = ColPaliEncoder.load(settings_of(folder))
    [page] = encoder.encode_pages(page_inputs()[:1])
    np.testing.assert_allclose(page.patches.vectors, adapter[1], atol=1e-5)


def test_a_projection_may_come_with_the_adapter_alone(copied, tmp_path):
    base = copied("ColQwen2")
    expected = write_adapter(
        base, tmp_path / "lora", target_modules=["q_proj"], modules_to_save=["custom_text_proj"]
    )
    weights = load_file(base / "model.safetensors")
    del weights["custom_text_proj.weight"], weights["custom_text_proj.bias"]
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    encoder = ColPaliEncoder.load(settings_of(tmp_path / "lora"))
    [page] = encoder.encode_pages(page_inputs()[:1])
    np.testing.assert_allclose(page.patches.vectors, expected, atol=1e-5)
    with pytest.raises(ModelFailed, match="custom_text_proj"):
        ColPaliEncoder.load(settings_of(base))


@pytest.mark.parametrize("change", ["removed", "renamed", "added"])
def test_an_adapter_of_which_one_weight_does_not_land_is_refused(change, adapter, tmp_path):
    folder = shutil.copytree(adapter[0], tmp_path / "lora")
    weights = load_file(folder / "adapter_model.safetensors")
    key = next(key for key in sorted(weights) if "layers.0" in key and "lora_B" in key)
    weight = weights[key].clone()
    if change != "added":
        del weights[key]
    if change != "removed":
        weights[key.replace("layers.0", "layers.9")] = weight
    save_file(weights, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelFailed) as refused:
        ColPaliEncoder.load(settings_of(folder))
    assert refused.value.code == "weights_incomplete"


# --- memory and the device ----------------------------------------------------------------------
_NO_MEMORY = torch.OutOfMemoryError("CUDA out of memory.")


class Limited:
    """A model's forward pass that fails as a GPU does, above some number of pages."""

    def __init__(self, encoder, most, error=_NO_MEMORY):
        self._forward = type(encoder._model).forward
        self.most, self.error, self.sizes = most, error, []

    def __call__(self, *args, **kwargs):
        self.sizes.append(len(kwargs["input_ids"]))
        if self.sizes[-1] > self.most:
            raise self.error
        return self._forward(*args, **kwargs)


@pytest.fixture
def limited(loaded, monkeypatch):
    def limit(**limits):
        encoder = loaded("ColQwen2")
        forward = Limited(encoder, **limits)
        monkeypatch.setattr(
            type(encoder._model),
            "forward",
            lambda self, *args, **kwargs: forward(self, *args, **kwargs),
        )
        monkeypatch.setattr(encoder, "_batch_size", 4)
        monkeypatch.setattr(colpali, "_BATCHES_AT_LEAST", 1)
        return encoder, forward

    return limit


def test_batches_that_do_not_fit_are_halved_and_stay_small(limited, loaded):
    expected = [page.patches.vectors for page in loaded("ColQwen2").encode_pages(page_inputs())]
    encoder, forward = limited(most=1)
    found = encoder.encode_pages(page_inputs())
    assert forward.sizes == [4, 2, 1, 1, 1, 1]
    assert encoder.batch_size == 1
    for page, vectors in zip(found, expected, strict=True):
        np.testing.assert_allclose(page.patches.vectors, vectors, atol=1e-5)
    encoder.encode_pages(page_inputs())
    assert forward.sizes[6:] == [1, 1, 1, 1]


def test_one_page_that_does_not_fit_is_an_error(limited):
    encoder, _ = limited(most=0)
    with pytest.raises(ModelFailed) as refused:
        encoder.encode_pages(page_inputs())
    assert refused.value.code == "out_of_memory"


def test_a_gpu_that_is_gone_is_an_error_of_its_own(limited):
    lost = torch.AcceleratorError("CUDA error: unspecified launch failure")
    encoder, forward = limited(most=0, error=lost)
    with pytest.raises(ModelFailed) as refused:
        encoder.encode_pages(page_inputs())
    assert refused.value.code == "gpu_lost"
    assert len(forward.sizes) == 1
    with pytest.raises(ModelFailed) as refused:
        encoder.encode_query("sales")
    assert refused.value.code == "gpu_lost"


def test_a_fault_of_the_code_stays_what_it_is(limited):
    encoder, _ = limited(most=0, error=RuntimeError("shape '[3]' is invalid"))
    with pytest.raises(RuntimeError, match="shape"):
        encoder.encode_pages(page_inputs())
