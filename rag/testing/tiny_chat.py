"""Tiny checkpoints of chat models, for tests: they load as real ones do, and say nonsense, or the
one thing they were made to say. Brings torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import transformers as hf

from rag.testing import tiny_models, tiny_tokenizers

FAMILIES = ("Qwen2_5VL", "Qwen3VL", "Qwen2")  # the last reads words alone
_POSITIONS = 32_768  # a prompt of answers has thousands of tokens where the vocabulary is small


def make_chat(
    family: str,
    folder: Path,
    *,
    says: Sequence[str] = (),
    positions: int = _POSITIONS,
    seed: int = 0,
) -> Path:
    """A chat model of this family.

    Args:
        family: one of FAMILIES.
        folder: written to.
        says: the pieces of what it replies whatever it is asked, each another; with none it is
            random.
        positions: tokens it has room for.
        seed: of its weights.
    """
    model, processor = _text(seed) if family == "Qwen2" else tiny_models.build(family, seed=seed)
    model.config.get_text_config().max_position_embeddings = positions
    if says:
        _teach(model, getattr(processor, "tokenizer", processor), says)
    tiny_models.save(model, processor, folder)
    return folder


def _text(seed: int) -> tiny_models.Pair:
    tokenizer = tiny_tokenizers.qwen_tokenizer()
    tokenizer.chat_template = tiny_tokenizers.QWEN2_TEMPLATE
    config = hf.Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        eos_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = hf.Qwen2ForCausalLM(config)
        for weight in model.parameters():
            if weight.dim() > 1:  # norms stay as they are
                torch.nn.init.normal_(weight, std=0.2)
    return model.eval(), tokenizer


def _teach(model: Any, tokenizer: Any, says: Sequence[str]) -> None:
    """Each token is followed by its own next one: no layer adds anything, and the head turns what
    one token is into what follows it.
    """
    assert len({*says}) == len(says), "a piece is followed by one other"
    tokenizer.add_tokens(list(says))
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    for name, weight in model.named_parameters():
        if "visual" not in name and name.endswith(("o_proj.weight", "down_proj.weight")):
            torch.nn.init.zeros_(weight)
    (newline,) = tokenizer.encode("\n", add_special_tokens=False)  # the last of every prompt
    pieces = [newline, *tokenizer.convert_tokens_to_ids(list(says)), tokenizer.eos_token_id]
    inward, outward = model.get_input_embeddings(), model.get_output_embeddings()
    with torch.no_grad():
        inward.weight.copy_(torch.nn.functional.normalize(torch.randn_like(inward.weight), dim=-1))
        outward.weight.zero_()
        for before, after in pairwise(pieces):
            outward.weight[after] = 10 * inward.weight[before]
