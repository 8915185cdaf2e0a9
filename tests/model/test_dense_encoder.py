"""The dense encoder over tiny trained checkpoints of every family, loaded as real ones are."""

from __future__ import annotations

import importlib.util
import json
import shutil
import warnings
from functools import cache

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs torch: make test-torch")

import torch
from own_code import write_own_code
from PIL import Image
from safetensors.torch import load_file, save_file

from rag.encoders import dense_families
from rag.encoders.checkpoint import find_checkpoint, folder_digest
from rag.encoders.dense import DenseEncoder
from rag.encoders.dense_adapters import LoadingPlan, load_adapter
from rag.encoders.dense_families import family_of
from rag.encoders.dense_prompted import PROMPTS
from rag.encoders.self_test import QUERIES, page_inputs, pages
from rag.errors import ConfigError, InputError, ModelFailed
from rag.page_text import PageText
from rag.ports import PageInput
from rag.settings import EncoderSettings
from rag.testing import checkpoints, tiny_models
from rag.testing.checkpoints import make_checkpoint
from rag.types import PageRef, RenderedPage, VectorKind
from rag.wiring import load_encoder_here

# By family: the tiny checkpoint, and a name such as its models have.
MODELS = {
    "BiQwen2": ("BiQwen2", "biqwen2-v0.1"),
    "BiQwen2_5": ("BiQwen2_5", "nomic-embed-multimodal-3b"),
    "BiQwen3": ("BiQwen3", "biqwen3"),
    "BiModernVBert": ("BiModernVBert", "bimodernvbert"),
    "CLIP": ("Clip", "clip-vit-base-patch32"),
    "SigLIP": ("Siglip", "siglip-base-patch16-224"),
    "DSE": ("Qwen2VL", "dse-qwen2-2b-mrl-v1"),
    "mcDSE": ("Qwen2VL", "vdr-2b-multi-v1"),
    "GME": ("Qwen2VL", "gme-Qwen2-VL-2B-Instruct"),
    "Qwen3-VL-Embedding": ("Qwen3VL", "Qwen3-VL-Embedding-2B"),
}
FAMILIES = tuple(MODELS)
PROMPTED = tuple(PROMPTS)
OTHERS = tuple(family for family in FAMILIES if family not in PROMPTS)


def settings_of(folder, **changed):
    return EncoderSettings(name="dense", model=str(folder), device="cpu", threads=1, **changed)


def adapter_of(folder, **changed):
    """Before its self-test: a tiny model knows what it was trained on, and no other settings."""
    chosen = settings_of(folder, **changed)
    checkpoint = find_checkpoint(chosen)
    return load_adapter(checkpoint, family_of(checkpoint), chosen)


@pytest.fixture(scope="module")
def folder_of(tiny, tmp_path_factory):
    """A folder of each family, by the name that its models have; shared."""
    models = tmp_path_factory.mktemp("dense")

    @cache
    def named(family):
        made, name = MODELS[family]
        return shutil.copytree(tiny(made), models / name)

    return named


@pytest.fixture(scope="module")
def loaded(folder_of):
    return cache(lambda family: DenseEncoder.load(settings_of(folder_of(family))))


@pytest.fixture
def copied(folder_of, tmp_path):
    def copy(family):
        return shutil.copytree(folder_of(family), tmp_path / MODELS[family][1])

    return copy


def page_of(image, number=1):
    width, height = image.size
    return PageInput(
        ref=PageRef("d", number),
        width_pt=width / 2,
        height_pt=height / 2,
        text=PageText.empty(),
        image=RenderedPage(image, width / 2, height / 2),
    )


def mixed_pages():
    first, second, third, fourth = pages()
    images = (first, second.resize((600, 250)), third.resize((200, 700)), fourth)
    return [page_of(image, number) for number, image in enumerate(images, start=1)]


def rows(encoded):
    return np.concatenate([page.patches.vectors for page in encoded])


@pytest.mark.parametrize(
    ("family", "built_as", "processor"),
    [
        ("BiPali", "_paligemma", "ColPaliProcessor"),
        ("BiPaliProj", "_paligemma", "ColPaliProcessor"),
        ("BiIdefics3", "_idefics3", "BiIdefics3Processor"),
        ("BiQwen3_5", "_qwen3_5", "BiQwen3_5Processor"),
        ("BiGemma3", "_gemma3", "BiGemmaProcessor3"),
    ],
)
def test_the_rarer_families_of_the_engine_are_read_too(
    family, built_as, processor, tmp_path, monkeypatch
):
    build = getattr(tiny_models, built_as)
    classes = (getattr(tiny_models.engine, name) for name in (family, processor))
    monkeypatch.setitem(tiny_models._BUILDERS, family, lambda: build(*classes))
    monkeypatch.setattr(checkpoints, "FAMILIES", (family,))
    encoder = DenseEncoder.load(settings_of(make_checkpoint(family, tmp_path / family)))
    assert encoder.identity.settings["family"] == family
    [alone] = encoder.encode_pages(page_inputs()[1:2])
    among = encoder.encode_pages(mixed_pages() + page_inputs())[5]
    np.testing.assert_allclose(among.dense, alone.dense, atol=1e-5)


# --- what holds for all -------------------------------------------------------------------------
@pytest.mark.parametrize("family", FAMILIES)
def test_a_page_is_one_unit_row_and_its_box_the_page(family, loaded):
    encoder = loaded(family)
    assert encoder.wants_image
    assert (encoder.identity.name, encoder.identity.settings["family"]) == ("dense", family)
    [page] = encoder.encode_pages([page_of(pages()[0].resize((300, 500)))])
    assert page.patches.vectors.shape == (1, encoder.identity.dim)
    assert np.linalg.norm(page.patches.vectors) == pytest.approx(1, abs=1e-6)
    np.testing.assert_array_equal(page.patches.boxes, [[0, 0, 150, 250]])
    assert page.patches.kinds.tolist() == [VectorKind.PATCH]
    np.testing.assert_array_equal(page.dense, page.patches.vectors)
    assert page.patch_words is None
    assert page.headings.vectors.shape == (0, encoder.identity.dim)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_page_has_the_same_vector_alone_and_among_any_others(family, loaded):
    encoder, shown = loaded(family), mixed_pages()
    alone = rows([encoder.encode_pages([page])[0] for page in shown])
    encoder._batch_size = 4
    np.testing.assert_allclose(rows(encoder.encode_pages(shown)), alone, atol=1e-5)
    backwards = rows(encoder.encode_pages(shown[::-1]))[::-1]
    np.testing.assert_allclose(backwards, alone, atol=1e-5)
    assert encoder.encode_pages([]) == []


@pytest.mark.parametrize("family", FAMILIES)
def test_a_question_is_one_unit_row_with_itself_as_label(family, loaded):
    query = loaded(family).encode_query(f"  {QUERIES[1]} ")
    assert query.labels == (QUERIES[1],)
    assert query.tokens.vectors.shape == (1, len(query.dense))
    assert np.linalg.norm(query.dense) == pytest.approx(1, abs=1e-6)
    np.testing.assert_array_equal(query.tokens.vectors[0], query.dense)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_image_as_question_finds_its_page(family, loaded):
    encoder = loaded(family)
    query = encoder.encode_query("", image=pages()[2])
    assert query.labels == ("image",)
    np.testing.assert_array_equal(query.tokens.boxes, [[0, 0, 448, 448]])
    scores = rows(encoder.encode_pages(page_inputs())) @ query.dense
    assert scores.argmax() == 2


@pytest.mark.parametrize("family", PROMPTED)
def test_chat_models_read_words_and_image_as_one_question(family, loaded):
    encoder, image = loaded(family), pages()[0]
    both = encoder.encode_query("what year is this", image=image)
    assert both.labels == ("image + what year is this",)
    for other in (
        encoder.encode_query("what year is this"),
        encoder.encode_query("", image=image),
        encoder.encode_query("another question", image=image),
    ):
        assert np.abs(both.dense - other.dense).max() > 1e-3


@pytest.mark.parametrize("family", OTHERS)
def test_the_others_read_one_at_a_time(family, loaded):
    with pytest.raises(InputError) as refused:
        loaded(family).encode_query("dividend", image=pages()[0])
    assert refused.value.code == "query_not_supported"
    with pytest.raises(InputError) as refused:
        loaded(family).encode_query(" ")
    assert refused.value.code == "empty_query"


@pytest.mark.parametrize("family", ["CLIP", "BiModernVBert", "Qwen3-VL-Embedding"])
def test_fewer_dimensions_are_the_first_ones_made_unit_again(family, loaded, folder_of):
    whole = loaded(family)
    full = whole.identity.dim
    same = DenseEncoder.load(settings_of(folder_of(family), dim=full))
    np.testing.assert_allclose(
        rows(same.encode_pages(page_inputs())), rows(whole.encode_pages(page_inputs())), atol=1e-6
    )
    assert same.identity == whole.identity
    half = DenseEncoder.load(settings_of(folder_of(family), dim=48))
    assert half.identity.dim == half.identity.dense_dim == 48
    first = rows(whole.encode_pages(page_inputs()))[:, :48]
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    np.testing.assert_allclose(rows(half.encode_pages(page_inputs())), first, atol=1e-6)
    with pytest.raises(ConfigError, match=f"have {full} dimensions"):
        DenseEncoder.load(settings_of(folder_of(family), dim=full + 16))
    with pytest.raises(ConfigError, match="multiples of 16"):
        DenseEncoder.load(settings_of(folder_of(family), dim=40))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_with_a_weight_removed_is_refused(family, copied):
    folder = copied(family)
    weights = load_file(folder / "model.safetensors")
    key = sorted(key for key in weights if "layers.1" in key and key.endswith("weight"))[0]
    del weights[key]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelFailed) as refused:
        DenseEncoder.load(settings_of(folder))
    assert refused.value.code == "weights_incomplete"


@pytest.mark.parametrize("family", ["BiQwen3", "SigLIP", "Qwen3-VL-Embedding"])
def test_an_untrained_model_fails_its_self_test(family, tmp_path):
    made, name = MODELS[family]
    folder = make_checkpoint(made, tmp_path / name, trained=False)
    with pytest.raises(ModelFailed) as refused:
        DenseEncoder.load(settings_of(folder))
    assert refused.value.code == "self_test_failed"


def test_strips_and_pages_in_grey_are_read(loaded):
    shown = [page_of(Image.new(*of)) for of in (("L", (3000, 8)), ("RGBA", (8, 3000)))]
    for family in FAMILIES:
        assert len(loaded(family).encode_pages(shown)) == 2


def test_memory_that_does_not_suffice_halves_the_batch(folder_of, monkeypatch):
    encoder = DenseEncoder.load(settings_of(folder_of("CLIP"), batch_size=4))
    expected, vectors = rows(encoder.encode_pages(page_inputs())), encoder._adapter.vectors

    def limited(inputs):
        if len(inputs["pixel_values"]) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return vectors(inputs)

    monkeypatch.setattr(encoder._adapter, "vectors", limited)
    np.testing.assert_allclose(rows(encoder.encode_pages(page_inputs())), expected, atol=1e-5)
    assert encoder.batch_size == 1


def test_vectors_that_are_no_numbers_are_an_error(folder_of, monkeypatch):
    encoder = DenseEncoder.load(settings_of(folder_of("CLIP")))
    for bad in (np.nan, 0.0):
        found = np.full((1, 64), bad, np.float32)
        monkeypatch.setattr(encoder._adapter, "vectors", lambda _, found=found: found)
        with pytest.raises(ModelFailed) as refused:
            encoder.encode_query("anything")
        assert refused.value.code == "bad_vectors"


# --- how chat models are asked ------------------------------------------------------------------
_IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"


def prompts_of(adapter):
    """Prompts of a question, a page, an image as question, and both, as the model reads them."""
    found = []
    original = adapter._inputs
    adapter._inputs = lambda prompts, images: found.extend(prompts) or original(prompts, images)
    try:
        adapter.encode_texts(["What grew?"])
        adapter.encode_images(pages()[:1])
        adapter.encode_mixed("", pages()[0])
        adapter.encode_mixed("What grew?", pages()[0])
    finally:
        del adapter._inputs
    return found


def test_qwen3_vl_embedding_is_asked_as_its_authors_do(loaded, folder_of):
    def turns(user, system="Represent the user's input."):
        return (
            f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{user}<|im_end|>\n"
            "<|im_start|>assistant\n"
        )

    encoder = loaded("Qwen3-VL-Embedding")
    assert prompts_of(encoder._adapter) == [
        turns("What grew?"),
        turns(_IMAGE),
        turns(_IMAGE),
        turns(_IMAGE + "What grew?"),
    ]
    assert encoder.identity.settings["instruction"] == "Represent the user's input."
    newline = encoder._adapter._processor.tokenizer.encode("\n")[0]
    assert encoder.identity.settings["last_token"] == f"{newline} '\\n'"
    assert encoder._adapter.prompt_of("", has_image=False, instruction="A.") == turns("NULL", "A.")
    # A query's instruction becomes a sentence; pages are represented the same way for all of them.
    told = DenseEncoder.load(
        settings_of(folder_of("Qwen3-VL-Embedding"), instruction=" Find the page ")
    )
    assert prompts_of(told._adapter) == [
        turns("What grew?", "Find the page."),
        turns(_IMAGE),
        turns(_IMAGE, "Find the page."),
        turns(_IMAGE + "What grew?", "Find the page."),
    ]
    assert told.identity != encoder.identity
    asked = DenseEncoder.load(
        settings_of(folder_of("Qwen3-VL-Embedding"), instruction="Which page?")
    )
    assert asked.identity.settings["instruction"] == "Which page?"


def test_dse_and_gme_are_asked_as_their_authors_do(loaded, folder_of):
    system = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
    ends = {
        "DSE": "<|im_end|>\n<|im_start|>assistant\n<|endoftext|>",
        "mcDSE": "<|im_end|>\n<|endoftext|>",
        "GME": "<|im_end|>\n<|im_start|>assistant\n<|endoftext|>",
    }
    for family in ("DSE", "mcDSE"):
        assert prompts_of(loaded(family)._adapter) == [
            f"{system}{_IMAGE}{words}{ends[family]}"
            for words in (
                "Query: What grew?",
                "What is shown in this image?",
                "What is shown in this image?",
                "Query: What grew?",
            )
        ]
    assert prompts_of(loaded("GME")._adapter) == [
        f"{system}{user}{ends['GME']}"
        for user in ("What grew?", _IMAGE, _IMAGE, _IMAGE + "What grew?")
    ]
    told = adapter_of(folder_of("GME"), instruction="Find a page")
    assert prompts_of(told)[0].startswith("<|im_start|>system\nFind a page<|im_end|>")


def test_a_question_of_dse_comes_with_a_black_square_as_in_its_training(loaded, monkeypatch):
    for family in ("DSE", "mcDSE"):
        shown = []
        adapter = loaded(family)._adapter
        monkeypatch.setattr(adapter, "_inputs", lambda _, images, shown=shown: shown.extend(images))
        adapter._of_texts(["a", "b"])
        assert [(image.size, image.getcolors()) for image in shown] == [
            ((56, 56), [(56 * 56, (0, 0, 0))])
        ] * 2


def test_the_vector_is_the_last_attended_hidden_state(loaded):
    for family in PROMPTED:
        adapter = loaded(family)._adapter
        short, long = adapter._of_texts(["a"]), adapter._of_texts(["a", "b " * 30])
        assert long["attention_mask"][0].sum() < long["attention_mask"].shape[1]
        with torch.inference_mode():
            hidden = adapter.model(**short, use_cache=False).last_hidden_state[0, -1]
        expected = hidden.numpy()
        np.testing.assert_allclose(adapter.vectors(long)[0], expected, atol=1e-5)


def test_markup_in_a_question_is_text_like_any_other(loaded):
    encoder = loaded("Qwen3-VL-Embedding")
    inputs = encoder._adapter._of_texts([f"show {_IMAGE}<|im_end|> now"])
    plain = encoder._adapter._of_texts(["show now"])
    marks = encoder._adapter._processor.tokenizer.all_special_ids
    counted = [
        int(torch.isin(each["input_ids"], torch.tensor(marks)).sum()) for each in (inputs, plain)
    ]
    assert counted[0] == counted[1]
    assert np.isfinite(encoder.encode_query(_IMAGE).dense).all()


def test_a_question_is_refused_and_never_cut(loaded):
    for family in ("CLIP", "SigLIP", "GME", "BiQwen2"):
        with pytest.raises(InputError) as refused:
            loaded(family).encode_query("why? " * 5000)
        assert refused.value.code == "query_too_long"


@pytest.mark.parametrize("family", ["Qwen3-VL-Embedding", "BiQwen2"])
def test_fewer_patches_make_smaller_pages(family, folder_of):
    whole, small = adapter_of(folder_of(family)), adapter_of(folder_of(family), max_patches=16)
    image_token = small._processor.image_token_id
    before, after = (
        int((each.prepare_images(pages()[:1])["input_ids"] == image_token).sum())
        for each in (whole, small)
    )
    assert (before, after) == (64, 16)
    assert small.max_pixels == whole.max_pixels // 4


def test_what_vectors_depend_on_is_in_the_identity(loaded, folder_of):
    settings = {"max_patches": 60, "instruction": "Represent the user's input"}
    other = DenseEncoder.load(settings_of(folder_of("Qwen3-VL-Embedding"), **settings))
    assert other.identity.settings == {
        "model": "Qwen3-VL-Embedding-2B",
        "family": "Qwen3-VL-Embedding",
        "instruction": "Represent the user's input.",
        "last_token": loaded("Qwen3-VL-Embedding")._adapter.last_token,
        "max_patches": 60,
    }
    assert other.identity != loaded("Qwen3-VL-Embedding").identity


def test_more_patches_than_a_prompt_may_have_are_refused(folder_of):
    with pytest.raises(ConfigError, match="reads 4,096 tokens"):
        DenseEncoder.load(settings_of(folder_of("DSE"), max_patches=4000))


@pytest.mark.parametrize(
    ("family", "changed"),
    [("CLIP", {"max_patches": 64}), ("BiModernVBert", {"max_patches": 64})]
    + [(family, {"instruction": "Find it."}) for family in ("SigLIP", "DSE", "BiQwen2")],
)
def test_a_setting_that_a_model_has_no_use_for_is_refused(family, changed, folder_of):
    with pytest.raises(ConfigError, match=f"encoder.{next(iter(changed))} is set"):
        DenseEncoder.load(settings_of(folder_of(family), **changed))


def test_an_instruction_of_nothing_is_refused(folder_of):
    with pytest.raises(ConfigError, match="instruction is empty"):
        DenseEncoder.load(settings_of(folder_of("GME"), instruction="  "))


@pytest.mark.parametrize(
    ("family", "limits"), [("DSE", (1, 2560)), ("mcDSE", (1, 768)), ("GME", (256, 1280))]
)
def test_limits_of_the_authors_hold_where_the_files_allow_more(family, limits, copied):
    folder = copied(family)
    written = json.loads((folder / "processor_config.json").read_text())
    # As in the files of Qwen2-VL on the hub.
    del written["image_processor"]["size"]
    written["image_processor"] |= {"min_pixels": 3136, "max_pixels": 12845056}
    (folder / "processor_config.json").write_text(json.dumps(written))
    size = adapter_of(folder)._processor.image_processor.size
    assert (size["shortest_edge"] / 784, size["longest_edge"] / 784) == limits


# --- which family, and which code ---------------------------------------------------------------
@pytest.mark.parametrize("family", FAMILIES)
def test_a_folder_tells_its_family(family, folder_of):
    assert family_of(find_checkpoint(settings_of(folder_of(family)))).name == family


def test_a_chat_model_of_no_known_name_is_refused(tiny):
    with pytest.raises(ConfigError) as refused:
        DenseEncoder.load(settings_of(tiny("Qwen2VL")))
    assert refused.value.code == "encoder_family"
    assert "Qwen3-VL-Embedding" in refused.value.message
    assert "dse-qwen2-2b-mrl-v1" in refused.value.next_step


def test_the_hub_name_that_a_config_remembers_is_taken(tiny, tmp_path):
    folder = shutil.copytree(tiny("Qwen2VL"), tmp_path / "mine")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps({**config, "architectures": ["GmeQwen2VLForVision2Seq"]})
    )
    assert family_of(find_checkpoint(settings_of(folder))).name == "GME"
    (folder / "config.json").write_text(
        json.dumps({**config, "_name_or_path": "MrLight/dse-qwen2-2b-mrl-v1"})
    )
    assert family_of(find_checkpoint(settings_of(folder))).name == "DSE"


def test_a_late_interaction_model_is_sent_to_its_encoder(tiny):
    with pytest.raises(ConfigError) as refused:
        DenseEncoder.load(settings_of(tiny("ColModernVBert")))
    assert refused.value.code == "encoder_family"
    assert "encoder.name to colpali" in refused.value.next_step


def test_code_that_lives_with_the_weights_runs_only_where_it_may(tmp_path):
    folder = write_own_code(tmp_path / "own-clip")
    with pytest.raises(ConfigError) as refused:
        load_encoder_here(settings_of(folder))
    assert refused.value.code == "remote_code"
    with pytest.raises(ConfigError, match=r"encoder\.revision"):
        load_encoder_here(settings_of(folder, trust_remote_code=True))
    revision = folder_digest(folder, code=True)[:16]
    trusted = settings_of(folder, trust_remote_code=True, revision=revision)
    encoder = load_encoder_here(trusted)
    assert encoder.identity.settings["family"] == "own_clip"
    assert encoder.identity.revision == revision
    np.testing.assert_allclose(rows(encoder.encode_pages(page_inputs())), np.eye(4, 32), atol=1e-3)
    with pytest.raises(InputError, match="not both"):
        encoder.encode_query("dividend", image=pages()[0])
    # Other code at the same weights is another revision.
    (folder / "modeling_own.py").write_text((folder / "modeling_own.py").read_text() + "\n")
    with pytest.raises(ConfigError) as refused:
        load_encoder_here(trusted)
    assert refused.value.code == "wrong_revision"


def test_code_of_another_model_is_refused(tmp_path):
    folder = write_own_code(tmp_path / "own-clip", code_of="somebody/code--")
    revision = folder_digest(folder, code=True)
    with pytest.raises(ConfigError, match="code of another model, somebody/code"):
        DenseEncoder.load(settings_of(folder, trust_remote_code=True, revision=revision))


def test_own_code_with_a_weight_missing_or_no_encode_text_is_refused(tmp_path):
    folder = write_own_code(tmp_path / "own-clip")
    weights = load_file(folder / "model.safetensors")
    save_file({"words.weight": weights["words.weight"]}, folder / "model.safetensors")
    with pytest.raises(ModelFailed, match=r"looks\.weight"):
        DenseEncoder.load(
            settings_of(folder, trust_remote_code=True, revision=folder_digest(folder, code=True))
        )
    folder = write_own_code(tmp_path / "mute")
    code = (folder / "modeling_own.py").read_text().replace("encode_text", "read_text")
    (folder / "modeling_own.py").write_text(code)
    with pytest.raises(ConfigError, match="no encode_text"):
        DenseEncoder.load(
            settings_of(folder, trust_remote_code=True, revision=folder_digest(folder, code=True))
        )


def test_a_model_of_jina_is_asked_with_its_task(tmp_path):
    folder = write_own_code(tmp_path / "jina", architecture="JinaEmbeddingsV4Model")
    encoder = DenseEncoder.load(
        settings_of(folder, trust_remote_code=True, revision=folder_digest(folder, code=True))
    )
    assert encoder._adapter._for_text == {"task": "retrieval"}
    assert encoder.encode_query("dividend").dense.shape == (32,)


def test_code_of_its_own_that_makes_several_vectors_is_late_interaction(tmp_path):
    folder = write_own_code(tmp_path / "jina", architecture="JinaEmbeddingsV4Model")
    chosen = EncoderSettings(name="colpali", model=str(folder), device="cpu", threads=1)
    with pytest.raises(ConfigError):
        load_encoder_here(chosen)
    allowed = {"trust_remote_code": True, "revision": folder_digest(folder, code=True)}
    encoder = load_encoder_here(chosen.model_copy(update=allowed))
    assert (encoder.identity.name, encoder.identity.dim) == ("colpali", 32)
    assert encoder.identity.settings == {"model": "jina", "family": "jina_embeddings_v4"}
    [page] = encoder.encode_pages(page_inputs()[:1])
    assert page.patches.vectors.shape == (3, 32)
    assert page.patches.kinds.tolist() == [VectorKind.SPECIAL] * 3
    assert not page.patches.boxes.any()
    np.testing.assert_allclose(np.linalg.norm(page.patches.vectors, axis=1), 1, atol=1e-6)
    assert len(encoder.encode_query("", image=pages()[0]).tokens) == 3
    with pytest.raises(InputError, match="not both"):
        encoder.encode_query("dividend", image=pages()[0])


def test_code_that_makes_one_vector_is_sent_to_the_dense_encoder(tmp_path):
    folder = write_own_code(tmp_path / "one")
    code = (folder / "modeling_own.py").read_text().replace("return_multivector", "more")
    (folder / "modeling_own.py").write_text(code)
    digest = folder_digest(folder, code=True)
    with pytest.raises(ConfigError, match="makes one vector") as refused:
        load_encoder_here(
            settings_of(folder, trust_remote_code=True, revision=digest).model_copy(
                update={"name": "colpali"}
            )
        )
    assert "encoder.name to dense" in refused.value.next_step


# --- folders of sentence-transformers -----------------------------------------------------------
@pytest.fixture
def sentence_folder(copied, loaded, monkeypatch):
    """CLIP as sentence-transformers keeps it; read by that library, not by ours."""
    loaded("CLIP")
    monkeypatch.setattr(dense_families, "_TOWERS", {})
    folder = copied("CLIP")
    transformer = "sentence_transformers.base.modules.transformer.Transformer"
    modules = [{"idx": 0, "name": "0", "path": "", "type": transformer}]
    (folder / "modules.json").write_text(json.dumps(modules))
    return folder


def test_without_the_library_its_folder_says_what_to_install(sentence_folder, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "sentence_transformers" else found(name, *rest),
    )
    with pytest.raises(ConfigError) as refused:
        DenseEncoder.load(settings_of(sentence_folder))
    assert "pip install sentence-transformers" in refused.value.next_step


def test_with_the_library_its_folder_is_read_whole(sentence_folder, loaded, tmp_path):
    library = pytest.importorskip("sentence_transformers", reason="needs sentence-transformers")
    from sentence_transformers.sentence_transformer.modules import Transformer

    made = library.SentenceTransformer(modules=[Transformer(str(sentence_folder))], device="cpu")
    sentence_folder = tmp_path / "made"
    made.save_pretrained(str(sentence_folder))
    encoder = DenseEncoder.load(settings_of(sentence_folder))
    ours = rows(loaded("CLIP").encode_pages(page_inputs()))
    np.testing.assert_allclose(rows(encoder.encode_pages(page_inputs())), ours, atol=1e-5)
    weights = load_file(sentence_folder / "model.safetensors")
    del weights["visual_projection.weight"]
    save_file(weights, sentence_folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelFailed, match="visual_projection"):
        DenseEncoder.load(settings_of(sentence_folder))


def test_modules_with_code_of_their_own_are_refused(sentence_folder):
    modules = [{"idx": 0, "name": "0", "path": "", "type": "custom_st.Transformer"}]
    (sentence_folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ConfigError) as refused:
        DenseEncoder.load(settings_of(sentence_folder))
    assert refused.value.code == "remote_code"
    (sentence_folder / "modules.json").write_text("[1]")
    with pytest.raises(ConfigError, match="lists no modules") as refused:
        DenseEncoder.load(settings_of(sentence_folder))
    assert "octavo models pull" in refused.value.next_step


# --- adapters and older names of weights --------------------------------------------------------
def test_an_adapter_on_a_chat_model_is_read(folder_of, tmp_path):
    from colpali_engine.models import BiQwen2, BiQwen2Processor
    from peft import LoraConfig, get_peft_model

    base = folder_of("BiQwen2")
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by an old name
        model = get_peft_model(
            BiQwen2.from_pretrained(base, key_mapping={}),
            LoraConfig(r=2, task_type="FEATURE_EXTRACTION", target_modules=["q_proj"]),
        )
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.02)
    model.peft_config["default"].base_model_name_or_path = str(base)
    model.save_pretrained(tmp_path / "lora")
    encoder = DenseEncoder.load(settings_of(tmp_path / "lora"))
    assert encoder.identity.settings["family"] == "BiQwen2"
    processor = BiQwen2Processor.from_pretrained(base)
    with torch.inference_mode():
        expected = model.eval()(**processor.process_images([pages()[0]])).numpy()
    np.testing.assert_allclose(rows(encoder.encode_pages(page_inputs()[:1])), expected, atol=1e-5)


@pytest.mark.parametrize("family", ["DSE", "Qwen3-VL-Embedding"])
def test_weights_by_the_names_of_either_time_are_the_same_model(family, copied, loaded):
    """Qwen2-VL on the hub has `visual.` and `model.layers.`, Qwen3-VL `model.language_model.`."""
    folder = copied(family)
    weights = load_file(folder / "model.safetensors")

    def renamed(key):
        if family != "DSE":
            return key.removeprefix("model.")
        if key.startswith("visual."):
            return f"model.{key}"
        return key.replace("model.", "model.language_model.", 1)

    before = set(weights)
    weights = {renamed(key): weight for key, weight in weights.items()}
    assert len(before & set(weights)) <= 1
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    encoder = DenseEncoder.load(settings_of(folder))
    np.testing.assert_array_equal(
        encoder.encode_query(QUERIES[0]).dense, loaded(family).encode_query(QUERIES[0]).dense
    )


def test_bi_encoders_read_a_chat_models_weights_by_both_names(folder_of):
    """What an adapter goes on top of is a chat model as it lies on the hub."""
    from rag.encoders.dense_engine import EngineModel

    folder = folder_of("DSE")
    chosen = settings_of(folder)
    adapter = EngineModel.load(find_checkpoint(chosen), "BiQwen2", chosen, LoadingPlan(chosen))
    weights = load_file(folder / "model.safetensors")
    assert "model.embed_tokens.weight" in weights
    torch.testing.assert_close(
        adapter.model.language_model.embed_tokens.weight, weights["model.embed_tokens.weight"]
    )
