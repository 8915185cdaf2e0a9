"""Vision encoders with the layers of real checkpoints and random weights: they cost as much.

Sizes are those of the published configurations; what such a model answers means nothing. Only the
vocabulary is small: rows of an embedding that nobody reads cost memory, not time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from rag.testing.tiny_models import Pair, build
from rag.types import Json


@dataclass(frozen=True)
class Sizes:
    """What differs from the tiny checkpoint of the family.

    Attributes:
        like: the model whose sizes these are.
        text, vision, top: entries of the configuration.
        image: what its image processor is set to.
        image_seq_len: tokens of a tile, where the family cuts pages into tiles.
    """

    like: str
    family: str
    text: Json
    vision: Json
    image: Json
    top: Json = field(default_factory=dict)
    image_seq_len: int | None = None


_SIGLIP_BASE_512: Json = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "image_size": 512,
    "patch_size": 16,
}
_TILES: Json = {
    "size": {"longest_edge": 2048},
    "max_image_size": {"longest_edge": 512},
}
_QWEN_CELL = 28 * 28
_QWEN_IMAGE: Json = {"size": {"shortest_edge": 4 * _QWEN_CELL, "longest_edge": 768 * _QWEN_CELL}}

MODELS: Mapping[str, Sizes] = {
    "colmodernvbert": Sizes(
        "ModernVBERT/colmodernvbert",
        "ColModernVBert",
        text={
            "hidden_size": 768,
            "intermediate_size": 1152,
            "num_hidden_layers": 22,
            "num_attention_heads": 12,
            "max_position_embeddings": 8192,
        },
        vision=_SIGLIP_BASE_512,
        image=_TILES,
        top={"pixel_shuffle_factor": 4},
        image_seq_len=64,
    ),
    "colsmol-256m": Sizes(
        "vidore/colSmol-256M",
        "ColIdefics3",
        text={
            "hidden_size": 576,
            "intermediate_size": 1536,
            "num_hidden_layers": 30,
            "num_attention_heads": 9,
            "num_key_value_heads": 3,
            "max_position_embeddings": 8192,
        },
        vision=_SIGLIP_BASE_512,
        image=_TILES,
        top={"scale_factor": 4},
        image_seq_len=64,
    ),
    "colsmol-500m": Sizes(
        "vidore/colSmol-500M",
        "ColIdefics3",
        text={
            "hidden_size": 960,
            "intermediate_size": 2560,
            "num_hidden_layers": 32,
            "num_attention_heads": 15,
            "num_key_value_heads": 5,
            "max_position_embeddings": 8192,
        },
        vision=_SIGLIP_BASE_512,
        image=_TILES,
        top={"scale_factor": 4},
        image_seq_len=64,
    ),
    "colqwen2": Sizes(
        "vidore/colqwen2-v1.0",
        "ColQwen2",
        text={
            "hidden_size": 1536,
            "intermediate_size": 8960,
            "num_hidden_layers": 28,
            "num_attention_heads": 12,
            "num_key_value_heads": 2,
            "max_position_embeddings": 32768,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e6,
                "mrope_section": [16, 24, 24],
            },
        },
        vision={"depth": 32, "embed_dim": 1280, "hidden_size": 1536, "num_heads": 16},
        image=_QWEN_IMAGE,
    ),
}


def full_size(name: str, *, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Pair:
    """A model of these sizes with random weights, in eval mode, and the processor that feeds it."""
    sizes = MODELS[name]
    tiny, processor = build(sizes.family, seed=0)
    config = _config(tiny.config, sizes)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            model = type(tiny)(config)
    finally:
        torch.set_default_dtype(before)
    model = model.to(device=device, dtype=dtype).eval()
    for key, value in sizes.image.items():
        setattr(processor.image_processor, key, value)
    if sizes.image_seq_len is not None:
        processor.image_seq_len = sizes.image_seq_len
    return model, processor


def _config(tiny: Any, sizes: Sizes) -> Any:
    entries = tiny.to_dict()
    text, vision = entries["text_config"], entries["vision_config"]
    for derived in ("layer_types", "head_dim"):  # the class works them out again
        text.pop(derived, None)
    entries["text_config"] = {**text, **sizes.text}
    entries["vision_config"] = {**vision, **sizes.vision}
    return type(tiny).from_dict({**entries, **sizes.top})


# The projections that attention ends with, as the families name them.
_AFTER_ATTENTION = ("attn.o_proj", "attn.out_proj", "attn.Wo", "attn.proj")


class FlopCounter:
    """Counts multiplications and additions of a forward pass, by part of the model.

    Attention's own products are counted from the shapes of its projections, as
    2 x 2 x rows x rows x width a layer: the two products with every row of the same sequence.
    """

    def __init__(self, model: Any) -> None:
        self.flops: dict[str, float] = {}
        self._hooks = []
        for name, module in model.named_modules():
            if isinstance(module, torch.nn.Linear | torch.nn.Conv2d | torch.nn.Conv3d):
                part = _part(name)
                self._hooks.append(module.register_forward_hook(self._counter(part, module)))
            if name.endswith(_AFTER_ATTENTION):
                self._hooks.append(module.register_forward_hook(self._attention(_part(name))))

    def __enter__(self) -> FlopCounter:
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _counter(self, part: str, module: Any) -> Any:
        n_weights = module.weight.numel()

        def count(_module: Any, _inputs: Any, output: Any) -> None:
            if isinstance(module, torch.nn.Linear):
                n_rows = output.numel() / module.out_features
            else:
                n_rows = output.numel() / module.out_channels
            self._add(part, 2.0 * n_weights * n_rows)

        return count

    def _attention(self, part: str) -> Any:
        def count(_module: Any, inputs: Any, _output: Any) -> None:
            shape = inputs[0].shape
            width, n_rows = shape[-1], shape[-2]
            n_sequences = math.prod(shape[:-2])
            self._add(part, 4.0 * n_sequences * n_rows * n_rows * width)

        return count

    def _add(self, part: str, flops: float) -> None:
        self.flops[part] = self.flops.get(part, 0.0) + flops


def _part(module_name: str) -> str:
    return "vision" if "vision" in module_name or "visual" in module_name else "language"
