"""Tiny checkpoints of rerankers with random weights, for tests: they load as real ones do and know
nothing. Brings torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers as hf
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from rag.testing import tiny_models

_SENTENCES = (
    "What net income does the annual report tell? What dividend does the board propose?",
    "The quick brown fox jumps over the lazy dog. Cash flow, revenue and figures of the year.",
)


def make_qwen3_vl_reranker(folder: Path, *, seed: int = 0) -> Path:
    """As Qwen3-VL-Reranker is published: a chat model whose tokenizer has "yes" and "no"."""
    model, processor = tiny_models.build("Qwen3VLReranker", seed=seed)
    tiny_models.save(model, processor, folder)
    return folder


def make_cross_encoder(folder: Path, *, seed: int = 0, max_tokens: int = 64) -> Path:
    """BERT with one output, which reads `max_tokens` of question and text together."""
    tokenizer = _bert_tokenizer(max_tokens)
    config = hf.BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=max_tokens,
        num_labels=1,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = hf.BertForSequenceClassification(config)
        for weight in model.parameters():
            torch.nn.init.normal_(weight, std=0.3)
    tiny_models.save(model.eval(), tokenizer, folder)
    return folder


def _bert_tokenizer(max_tokens: int) -> Any:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    learned = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    learned.normalizer = normalizers.BertNormalizer()
    learned.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=200, special_tokens=special, show_progress=False)
    learned.train_from_iterator(_SENTENCES, trainer)
    learned.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, learned.token_to_id(token)) for token in ("[CLS]", "[SEP]")],
    )
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=learned,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=max_tokens,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )
