"""Tokenizers of a few hundred pieces, with the special tokens and chat templates of real families.

Each is learned from a few sentences; byte-level pieces below them cover every other text.
"""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from rag.encoders.self_test import QUERIES
from rag.encoders.torchvision_guard import ensure_torchvision

ensure_torchvision()
from transformers import PreTrainedTokenizerFast  # noqa: E402  # the guard comes first

_VOCABULARY = 600
_SENTENCES = (
    *QUERIES,
    "Describe the image. What is shown in this image? Represent the user's input.",
    "You are a helpful assistant. Query: user assistant system",
    "What dividend does the board propose? Revenue, net income and cash flow of the year.",
    "The quick brown fox jumps over the lazy dog. How many pages does the report have?",
)

# What an image becomes in a message, and where the model's turn begins, as the families write them.
_QWEN_MESSAGES = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif c['type'] == 'text' %}{{ c['text'] }}{% endif %}{% endfor %}{% endif %}"
    "<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
QWEN3_TEMPLATE = _QWEN_MESSAGES
QWEN2_TEMPLATE = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\n"
    "You are a helpful assistant.<|im_end|>\n{% endif %}" + _QWEN_MESSAGES
)
IDEFICS_TEMPLATE = (
    "<|im_start|>{% for m in messages %}{{ m['role'] | capitalize }}:"
    "{% if m['content'] is string %} {{ m['content'] }}{% else %}{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<image>{% elif c['type'] == 'text' %}{{ c['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
GEMMA_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<start_of_turn>{{ m['role'] }}\n"
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<start_of_image>{% elif c['type'] == 'text' %}{{ c['text'] }}"
    "{% endif %}{% endfor %}{% endif %}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)


def qwen_tokenizer(*, words: Sequence[str] = ()) -> PreTrainedTokenizerFast:
    """With `words` as one token each, where they stand alone."""
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>"]
    special += ["<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"]
    return PreTrainedTokenizerFast(
        tokenizer_object=_learned(special, words=words),
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=special[1:],
    )


def paligemma_tokenizer() -> PreTrainedTokenizerFast:
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<image>"]
    return PreTrainedTokenizerFast(
        tokenizer_object=_learned(special), **_SENTENCE_PIECE, additional_special_tokens=special[4:]
    )


def gemma3_tokenizer() -> PreTrainedTokenizerFast:
    images = ["<image_soft_token>", "<start_of_image>", "<end_of_image>"]
    turns = ["<start_of_turn>", "<end_of_turn>"]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=_learned(["<pad>", "<eos>", "<bos>", "<unk>", *images, *turns]),
        **_SENTENCE_PIECE,
        additional_special_tokens=[*images, *turns],
        extra_special_tokens=dict(
            zip(("image_token", "boi_token", "eoi_token"), images, strict=True)
        ),
    )
    tokenizer.chat_template = GEMMA_TEMPLATE
    return tokenizer


def idefics3_tokenizer(*, tiles_a_side: int) -> PreTrainedTokenizerFast:
    """With a name for each tile that a page can be cut into."""
    numbers = range(1, tiles_a_side + 1)
    tiles = [f"<row_{row}_col_{column}>" for row in numbers for column in numbers]
    ends = ["<|im_start|>", "<|im_end|>", "<pad>", "<end_of_utterance>"]
    images = ["<image>", "<fake_token_around_image>", "<global-img>"]
    return PreTrainedTokenizerFast(
        tokenizer_object=_learned([*ends, *images, *tiles]),
        bos_token="<|im_start|>",
        eos_token="<end_of_utterance>",
        pad_token="<pad>",
        additional_special_tokens=[*ends[3:], *images, *tiles],
    )


def clip_tokenizer(*, length: int) -> PreTrainedTokenizerFast:
    """Each text between its two ends; the model pools at the second."""
    ends = ["<|startoftext|>", "<|endoftext|>"]
    learned = _learned(ends)
    learned.post_processor = processors.TemplateProcessing(
        single=f"{ends[0]} $A {ends[1]}",
        special_tokens=[(end, learned.token_to_id(end)) for end in ends],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=learned,
        bos_token=ends[0],
        eos_token=ends[1],
        pad_token=ends[1],
        model_max_length=length,
    )


def siglip_tokenizer(*, length: int) -> PreTrainedTokenizerFast:
    """Each text ends with `</s>` and is filled up with it; the model pools at the last place."""
    learned = _learned(["<unk>", "</s>"])
    learned.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", learned.token_to_id("</s>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=learned,
        eos_token="</s>",
        pad_token="</s>",
        unk_token="<unk>",
        model_max_length=length,
        model_input_names=["input_ids"],
    )


_SENTENCE_PIECE = {
    "pad_token": "<pad>",
    "eos_token": "<eos>",
    "bos_token": "<bos>",
    "unk_token": "<unk>",
}


def _learned(special: Sequence[str], *, words: Sequence[str] = ()) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY,
        special_tokens=list(special),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator((*_SENTENCES, *(100 * tuple(words))), trainer)
    return tokenizer
