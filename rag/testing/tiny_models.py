"""Models of a few hundred thousand random weights, built as each family builds its own.

Every part a real checkpoint has is there, and small: two layers, 64 dimensions, about 64 visual
tokens a page. Only `rag.testing.checkpoints` is meant to be called.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from rag.encoders.torchvision_guard import ensure_torchvision
from rag.testing import tiny_tokenizers as tokenizers
from rag.types import Json

ensure_torchvision()
import colpali_engine.models as engine  # noqa: E402  # the guard comes first
import transformers as hf  # noqa: E402  # the guard comes first
from transformers.models.qwen3_vl.video_processing_qwen3_vl import (  # noqa: E402  # the guard comes first
    Qwen3VLVideoProcessor,
)

# A model and the processor that feeds it; neither library's classes share a type that says more.
Pair = tuple[Any, Any]

_TEXT: Json = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
}
_VISION: Json = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
_VISUAL_TOKENS = 64


def build(family: str, *, seed: int) -> Pair:
    """A model with random weights, the same for the same seed, and its processor."""
    with torch.random.fork_rng(devices=[]), _quiet():
        torch.manual_seed(seed)
        model, processor = _BUILDERS[family]()
        for module in model.modules():
            _draw(module)
    return model.eval(), processor


def save(model: Any, processor: Any, folder: Path) -> None:
    with _quiet():
        model.save_pretrained(folder)
        processor.save_pretrained(folder)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without bars for a megabyte, and advice on kernels that a tiny model does not need."""
    log = hf.utils.logging
    had_bar, verbosity = log.is_progress_bar_enabled(), log.get_verbosity()
    log.disable_progress_bar()
    log.set_verbosity_error()
    try:
        yield
    finally:
        log.set_verbosity(verbosity)
        if had_bar:
            log.enable_progress_bar()


def _draw(module: torch.nn.Module) -> None:
    """Weights whose outputs are as large as their inputs, so that a page's ink is seen at the end.

    The libraries' own start, 0.02 everywhere, is made for wide layers: here all pages come out
    alike. Biases are not zero: a row that attends to nothing would have no norm.
    """
    if isinstance(module, torch.nn.Embedding):
        torch.nn.init.normal_(module.weight, std=0.5)
    elif isinstance(module, torch.nn.Linear | torch.nn.Conv2d | torch.nn.Conv3d):
        torch.nn.init.normal_(module.weight, std=module.weight[0].numel() ** -0.5)
        if module.bias is not None:
            torch.nn.init.normal_(module.bias, std=0.02)


# --- Qwen: pages of any size, their patches merged two by two -----------------------------------
def _qwen_text(tokenizer: Any, sections: list[int], **rope: Any) -> Json:
    return {
        **_TEXT,
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.convert_tokens_to_ids("<|endoftext|>"),
        "eos_token_id": tokenizer.eos_token_id,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 1e6,
            "mrope_section": sections,
            **rope,
        },
    }


def _qwen_ids(tokenizer: Any) -> dict[str, int]:
    names = {
        "image_token_id": "<|image_pad|>",
        "video_token_id": "<|video_pad|>",
        "vision_start_token_id": "<|vision_start|>",
        "vision_end_token_id": "<|vision_end|>",
    }
    return {name: tokenizer.convert_tokens_to_ids(token) for name, token in names.items()}


def _qwen_images(patch_px: int) -> Json:
    cell = (2 * patch_px) ** 2
    return {
        "patch_size": patch_px,
        "merge_size": 2,
        "temporal_patch_size": 2,
        "size": {"shortest_edge": 4 * cell, "longest_edge": _VISUAL_TOKENS * cell},
    }


def _qwen2(model: Any, processor: Any) -> Pair:
    tokenizer = tokenizers.qwen_tokenizer()
    config = hf.Qwen2VLConfig(
        text_config=_qwen_text(tokenizer, [2, 3, 3]),
        vision_config={"depth": 2, "embed_dim": 32, "hidden_size": 64, "num_heads": 2},
        **_qwen_ids(tokenizer),
    )
    return model(config), _qwen2_processor(processor, tokenizer)


def _qwen2_5(model: Any, processor: Any) -> Pair:
    tokenizer = tokenizers.qwen_tokenizer()
    config = hf.Qwen2_5_VLConfig(
        text_config=_qwen_text(tokenizer, [2, 3, 3]),
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "out_hidden_size": 64,
            "num_heads": 2,
            "fullatt_block_indexes": [1],
        },
        **_qwen_ids(tokenizer),
    )
    return model(config), _qwen2_processor(processor, tokenizer)


def _qwen2_processor(processor: Any, tokenizer: Any) -> Any:
    images = _qwen_images(14)
    return processor(
        image_processor=hf.Qwen2VLImageProcessor(**images),
        tokenizer=tokenizer,
        video_processor=hf.Qwen2VLVideoProcessor(**images),
        chat_template=tokenizers.QWEN2_TEMPLATE,
    )


_QWEN3_VISION: Json = {
    "depth": 2,
    "hidden_size": 32,
    "intermediate_size": 64,
    "out_hidden_size": 64,
    "num_heads": 2,
    "num_position_embeddings": 256,
}


def _qwen3(model: Any, processor: Any, *, words: Sequence[str] = ()) -> Pair:
    tokenizer = tokenizers.qwen_tokenizer(words=words)
    config = hf.Qwen3VLConfig(
        text_config={
            **_qwen_text(tokenizer, [4, 2, 2], mrope_interleaved=True),
            "head_dim": 16,
        },
        vision_config={**_QWEN3_VISION, "deepstack_visual_indexes": [0]},
        **_qwen_ids(tokenizer),
    )
    return model(config), _qwen3_processor(processor, tokenizer)


def _qwen3_5(model: Any, processor: Any) -> Pair:
    tokenizer = tokenizers.qwen_tokenizer()
    rope = {"mrope_interleaved": True, "partial_rotary_factor": 0.25}
    config = hf.Qwen3_5Config(
        text_config={
            **_qwen_text(tokenizer, [1, 1, 0], **rope),
            "head_dim": 16,
            "linear_num_key_heads": 2,
            "linear_num_value_heads": 2,
            "linear_key_head_dim": 16,
            "linear_value_head_dim": 16,
            "layer_types": ["linear_attention", "full_attention"],
        },
        vision_config=_QWEN3_VISION,
        **_qwen_ids(tokenizer),
    )
    return model(config), _qwen3_processor(processor, tokenizer)


def _qwen3_processor(processor: Any, tokenizer: Any) -> Any:
    return processor(
        image_processor=hf.Qwen2VLImageProcessor(**_qwen_images(16)),
        tokenizer=tokenizer,
        video_processor=Qwen3VLVideoProcessor(),
        chat_template=tokenizers.QWEN3_TEMPLATE,
    )


# --- one square of fixed size -------------------------------------------------------------------
def _siglip_vision(side_px: int, *, patch_px: int = 14) -> Json:
    return {
        **_VISION,
        "model_type": "siglip_vision_model",
        "image_size": side_px,
        "patch_size": patch_px,
        "vision_use_head": False,
    }


def _paligemma(model: Any, processor: Any) -> Pair:
    tokenizer = tokenizers.paligemma_tokenizer()
    images = hf.SiglipImageProcessor(size={"height": 112, "width": 112})
    images.image_seq_length = _VISUAL_TOKENS
    config = hf.PaliGemmaConfig(
        text_config={
            **_TEXT,
            "model_type": "gemma",
            "head_dim": 16,
            "vocab_size": len(tokenizer),
        },
        vision_config={**_siglip_vision(112), "projection_dim": 64},
        projection_dim=64,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    return model(config), processor(image_processor=images, tokenizer=tokenizer)


def _gemma3(model: Any, processor: Any) -> Pair:
    tokenizer = tokenizers.gemma3_tokenizer()
    config = hf.Gemma3Config(
        text_config={**_TEXT, "head_dim": 16, "vocab_size": len(tokenizer)},
        vision_config=_siglip_vision(224),  # 16 x 16 patches, pooled two by two
        mm_tokens_per_image=_VISUAL_TOKENS,
        image_token_index=tokenizer.convert_tokens_to_ids("<image_soft_token>"),
        boi_token_index=tokenizer.convert_tokens_to_ids("<start_of_image>"),
        eoi_token_index=tokenizer.convert_tokens_to_ids("<end_of_image>"),
    )
    return model(config), processor(
        image_processor=hf.Gemma3ImageProcessor(size={"height": 224, "width": 224}),
        tokenizer=tokenizer,
        image_seq_length=_VISUAL_TOKENS,
        chat_template=tokenizers.GEMMA_TEMPLATE,
    )


# --- tiles and a small picture of the whole -----------------------------------------------------
_TILE_PX, _TILES_A_SIDE, _SHUFFLE = 64, 4, 2
_TILE_VISION = _siglip_vision(_TILE_PX, patch_px=16)


def _tiling(processor: Any) -> tuple[Any, Any]:
    tokenizer = tokenizers.idefics3_tokenizer(tiles_a_side=_TILES_A_SIDE)
    images = hf.Idefics3ImageProcessor(
        size={"longest_edge": _TILES_A_SIDE * _TILE_PX},
        max_image_size={"longest_edge": _TILE_PX},
        do_image_splitting=True,
    )
    made = processor(
        image_processor=images,
        tokenizer=tokenizer,
        image_seq_len=(_TILE_PX // 16 // _SHUFFLE) ** 2,
        chat_template=tokenizers.IDEFICS_TEMPLATE,
    )
    return made, tokenizer


def _idefics3(model: Any, processor: Any) -> Pair:
    made, tokenizer = _tiling(processor)
    config = hf.Idefics3Config(
        text_config={
            **_TEXT,
            "model_type": "llama",
            "vocab_size": len(tokenizer),
            "pad_token_id": tokenizer.pad_token_id,
        },
        vision_config=_TILE_VISION,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        pad_token_id=tokenizer.pad_token_id,
        scale_factor=_SHUFFLE,
    )
    return model(config), made


def _modernvbert(model: Any, processor: Any) -> Pair:
    made, tokenizer = _tiling(processor)
    start, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    config = hf.ModernVBertConfig(
        text_config={
            **{name: _TEXT[name] for name in _TEXT if name != "num_key_value_heads"},
            "model_type": "modernbert",
            "vocab_size": len(tokenizer),
            "pad_token_id": tokenizer.pad_token_id,
            "bos_token_id": start,
            "eos_token_id": end,
            "cls_token_id": start,
            "sep_token_id": end,
        },
        vision_config=_TILE_VISION,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        pixel_shuffle_factor=_SHUFFLE,
    )
    return model(config), made


# --- two towers ---------------------------------------------------------------------------------
_TWO_TOWERS_TEXT: Json = {
    name: _TEXT[name] for name in ("hidden_size", "intermediate_size", "num_hidden_layers")
} | {"num_attention_heads": 4}


def _clip() -> Pair:
    tokenizer = tokenizers.clip_tokenizer(length=77)
    config = hf.CLIPConfig(
        text_config={
            **_TWO_TOWERS_TEXT,
            "vocab_size": len(tokenizer),
            "max_position_embeddings": 77,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        vision_config={**_VISION, "image_size": 112, "patch_size": 14},
        projection_dim=64,
    )
    square = {"height": 112, "width": 112}
    images = hf.CLIPImageProcessor(size={"shortest_edge": 112}, crop_size=square)
    return hf.CLIPModel(config), hf.CLIPProcessor(image_processor=images, tokenizer=tokenizer)


def _siglip() -> Pair:
    tokenizer = tokenizers.siglip_tokenizer(length=64)
    config = hf.SiglipConfig(
        text_config={
            **_TWO_TOWERS_TEXT,
            "vocab_size": len(tokenizer),
            "max_position_embeddings": 64,
            "projection_size": 64,
            "bos_token_id": tokenizer.eos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        vision_config={
            **_TWO_TOWERS_TEXT,
            "image_size": 112,
            "patch_size": 14,
        },
    )
    images = hf.SiglipImageProcessor(size={"height": 112, "width": 112})
    return hf.SiglipModel(config), hf.SiglipProcessor(image_processor=images, tokenizer=tokenizer)


_BUILDERS: dict[str, Callable[[], Pair]] = {
    "ColPali": lambda: _paligemma(engine.ColPali, engine.ColPaliProcessor),
    "ColQwen2": lambda: _qwen2(engine.ColQwen2, engine.ColQwen2Processor),
    "ColQwen2_5": lambda: _qwen2_5(engine.ColQwen2_5, engine.ColQwen2_5_Processor),
    "ColQwen3": lambda: _qwen3(engine.ColQwen3, engine.ColQwen3Processor),
    "ColQwen3_5": lambda: _qwen3_5(engine.ColQwen3_5, engine.ColQwen3_5Processor),
    "ColIdefics3": lambda: _idefics3(engine.ColIdefics3, engine.ColIdefics3Processor),
    "ColModernVBert": lambda: _modernvbert(engine.ColModernVBert, engine.ColModernVBertProcessor),
    "ColGemma3": lambda: _gemma3(engine.ColGemma3, engine.ColGemmaProcessor3),
    "BiQwen2": lambda: _qwen2(engine.BiQwen2, engine.BiQwen2Processor),
    "BiQwen2_5": lambda: _qwen2_5(engine.BiQwen2_5, engine.BiQwen2_5_Processor),
    "BiQwen3": lambda: _qwen3(engine.BiQwen3, engine.BiQwen3Processor),
    "BiModernVBert": lambda: _modernvbert(engine.BiModernVBert, engine.BiModernVBertProcessor),
    "Clip": _clip,
    "Siglip": _siglip,
    "Qwen2VL": lambda: _qwen2(hf.Qwen2VLForConditionalGeneration, hf.Qwen2VLProcessor),
    "Qwen2_5VL": lambda: _qwen2_5(hf.Qwen2_5_VLForConditionalGeneration, hf.Qwen2_5_VLProcessor),
    "Qwen3VL": lambda: _qwen3(hf.Qwen3VLForConditionalGeneration, hf.Qwen3VLProcessor),
    "Qwen3VLReranker": lambda: _qwen3(
        hf.Qwen3VLForConditionalGeneration, hf.Qwen3VLProcessor, words=("yes", "no")
    ),
}
