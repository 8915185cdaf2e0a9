"""The models that stand in for real sizes: their operations are counted right."""

import pytest

pytest.importorskip("torch", reason="needs torch: make test-torch")

import torch

from eval.bench import vision_models
from eval.bench.vision_models import MODELS, FlopCounter, Sizes, full_size


def test_operations_of_a_layer_are_counted_as_by_hand():
    layer = torch.nn.Sequential(torch.nn.Linear(8, 3), torch.nn.Conv2d(1, 2, 2, stride=2))
    with FlopCounter(layer) as counter:
        layer[0](torch.zeros(5, 8))
        layer[1](torch.zeros(1, 1, 4, 4))
    # 5 rows of 8 x 3, and 4 places of 2 kernels of 2 x 2: a multiplication and an addition each.
    assert counter.flops == {"language": 2 * 5 * 24 + 2 * 4 * 8}


def test_operations_agree_with_torchs_own_counter_on_a_whole_model(monkeypatch):
    from torch.utils.flop_counter import FlopCounterMode

    small = Sizes(
        "small", "ColModernVBert", text={"hidden_size": 64}, vision={"hidden_size": 32}, image={}
    )
    monkeypatch.setitem(vision_models.MODELS, "small", small)
    model, processor = full_size("small")
    model.set_attn_implementation("eager")  # the counter knows no fused attention on the CPU
    inputs = processor.process_images([_page()])
    with (
        torch.inference_mode(),
        FlopCounter(model) as counter,
        FlopCounterMode(display=False) as oracle,
    ):
        model(**inputs)
    assert sum(counter.flops.values()) == pytest.approx(oracle.get_total_flops(), rel=0.02)


@pytest.mark.parametrize("name", list(MODELS))
def test_configurations_are_of_the_sizes_asked_for(name):
    with torch.device("meta"):
        model, processor = full_size(name, device="meta")
    text = model.config.text_config
    for key in ("hidden_size", "num_hidden_layers", "intermediate_size"):
        assert getattr(text, key) == MODELS[name].text[key]
    assert processor.image_processor.size["longest_edge"] in (2048, 768 * 28 * 28)


def _page():
    from eval.bench.vision import a4_page

    return a4_page().resize((310, 438))


def test_small_models_agree_between_numbers_and_batches():
    from eval.bench import vision_gpu

    assert vision_gpu.check("cpu") == {}


def test_a_model_whose_rows_differ_is_reported(monkeypatch):
    from eval.bench import vision_gpu

    monkeypatch.setattr(vision_gpu, "_LEAST_COSINE", 1.1)
    assert set(vision_gpu.check("cpu")) == {"ColQwen2 torch.bfloat16", "ColIdefics3 torch.bfloat16"}


def test_the_pipeline_of_the_check_encodes_every_page_and_tells_the_share():
    from eval.bench import vision_gpu
    from rag.testing.tiny_models import build

    model, processor = build("ColQwen2", seed=0)
    encoder = vision_gpu._encoder(model, processor, "ColQwen2", batch_size=4)
    found = vision_gpu.pipeline(encoder, vision_gpu._pages(20))
    assert found["pages"] == 20
    assert 0.3 < found["encode_busy"] <= 1
    assert 0 < found["record_busy"] <= 1
