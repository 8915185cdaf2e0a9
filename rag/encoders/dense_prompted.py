"""Chat models trained to embed: a prompt in, the hidden state of its last token out.

The words of a prompt are the model's as much as its weights are: each stands here as its authors
give it, and the model's own chat template puts it into turns.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from PIL import Image

from rag.encoders.adapters import apply_adapter, full_weights
from rag.encoders.checkpoint import Checkpoint, load_errors, require_loaded
from rag.encoders.dense_adapters import (
    DenseAdapter,
    LoadingPlan,
    require_short,
)
from rag.encoders.encoded import without_markup
from rag.encoders.page_images import limit_cells, shaped
from rag.encoders.torchvision_guard import ensure_torchvision
from rag.errors import ConfigError
from rag.settings import EncoderSettings
from rag.types import Json

ensure_torchvision()
import transformers as hf  # noqa: E402  # the guard comes first
from transformers.utils import logging  # noqa: E402  # the guard comes first

# Words around a page's patches: instruction, turns, image marks.
_PROMPT_TOKENS = 512


@dataclass(frozen=True)
class Prompt:
    """How one family is asked.

    Attributes:
        model: class of transformers, and of its processor.
        processor: likewise.
        query: around the words of a question.
        page: what stands beside a page's image.
        instruction: of the system's turn, the same for pages whatever a query asks for; None
            leaves that turn to the template.
        is_sentence: an instruction ends with a full stop, or another mark.
        nothing: what stands for no words and no image.
        shows_blank: a question without an image comes with a black one.
        opens_answer: the prompt ends where the model's own turn begins.
        end: after all.
        least: visual tokens of a page, as its authors set them.
        most: likewise.
        max_tokens: of a prompt; more are refused, where they would be cut.
    """

    model: str = "Qwen2VLForConditionalGeneration"
    processor: str = "Qwen2VLProcessor"
    query: str = "{}"
    page: str = ""
    instruction: str | None = None
    is_sentence: bool = False
    nothing: str = ""
    shows_blank: bool = False
    opens_answer: bool = True
    end: str = ""
    least: int = 1
    most: int = 1280
    max_tokens: int = 32768


_SHOWN = "What is shown in this image?"
PROMPTS = {
    # huggingface.co/MrLight/dse-qwen2-2b-mrl-v1
    "DSE": Prompt(query="Query: {}", page=_SHOWN, shows_blank=True, end="<|endoftext|>", most=2560),
    # huggingface.co/marco/mcdse-2b-v1, llamaindex/vdr-2b-multi-v1
    "mcDSE": Prompt(
        query="Query: {}",
        page=_SHOWN,
        shows_blank=True,
        opens_answer=False,
        end="<|endoftext|>",
        most=768,
    ),
    # huggingface.co/Alibaba-NLP/gme-Qwen2-VL-2B-Instruct
    "GME": Prompt(
        instruction="You are a helpful assistant.", end="<|endoftext|>", least=256, most=1280
    ),
    # huggingface.co/Qwen/Qwen3-VL-Embedding-2B
    "Qwen3-VL-Embedding": Prompt(
        model="Qwen3VLForConditionalGeneration",
        processor="Qwen3VLProcessor",
        instruction="Represent the user's input.",
        is_sentence=True,
        nothing="NULL",
        least=4,
        most=1800,
        max_tokens=8192,
    ),
}
_BLANK = Image.new("RGB", (56, 56))


class PromptedModel(DenseAdapter):
    def __init__(
        self, model: Any, processor: Any, prompt: Prompt, *, instruction: str | None
    ) -> None:
        text = getattr(model.config, "text_config", model.config)
        super().__init__(model, dim=int(text.hidden_size))
        self._processor = processor
        self._prompt = prompt
        self._max_tokens = min(prompt.max_tokens, int(text.max_position_embeddings))
        if prompt.instruction is not None:
            self.instruction = _instruction(instruction or prompt.instruction, prompt)

    @classmethod
    def load(
        cls, checkpoint: Checkpoint, family: str, settings: EncoderSettings, plan: LoadingPlan
    ) -> Self:
        logging.disable_progress_bar()
        logging.set_verbosity_error()
        prompt = PROMPTS[family]
        with load_errors(checkpoint):
            whole, loaded = getattr(hf, prompt.model).from_pretrained(
                checkpoint.model_folder, output_loading_info=True, **plan.options
            )
            processor = getattr(hf, prompt.processor).from_pretrained(
                checkpoint.processor_folder, local_files_only=True
            )
        # Nothing is generated: GME comes without the head.
        given = full_weights(checkpoint) | {"lm_head.weight"}
        require_loaded(loaded, checkpoint.name, given=given)
        if checkpoint.adapter is not None:
            apply_adapter(whole, checkpoint)
        with load_errors(checkpoint):
            model = whole.model.to(plan.device).eval()
        adapter = cls(model, processor, prompt, instruction=settings.instruction)
        most = settings.max_patches or prompt.most
        if most + _PROMPT_TOKENS > adapter._max_tokens:
            raise ConfigError(
                f"encoder.max_patches is {most:,}, and {checkpoint.name} reads "
                f"{adapter._max_tokens:,} tokens of a page and its prompt",
                next_step=f"Set it to {adapter._max_tokens - _PROMPT_TOKENS:,} at most.",
            )
        adapter.max_pixels = limit_cells(processor, least=prompt.least, most=most)
        # The authors of some describe another end than their template makes: whichever it is, all
        # vectors of an index are to have the same.
        adapter.made_by["last_token"] = adapter.last_token
        return adapter

    @property
    def last_token(self) -> str:
        """Id and text of what the vector is read from."""
        inputs = self._of_texts(["?"])
        token_ids = inputs["input_ids"][0][inputs["attention_mask"][0].bool()]
        last = int(token_ids[-1])
        return f"{last} {self._processor.tokenizer.decode([last])!r}"

    def prompt_of(
        self, text: str, *, has_image: bool, instruction: str | None, is_page: bool = False
    ) -> str:
        """The whole prompt as the model reads it, an image still a single mark."""
        content: list[Json] = [{"type": "image"}] if has_image else []
        words = self._prompt.page if is_page or not text else self._prompt.query.format(text)
        words = words or ("" if content else self._prompt.nothing)
        if words:
            content.append({"type": "text", "text": words})
        messages: list[Json] = [{"role": "user", "content": content}]
        if instruction is not None:
            system = [{"type": "text", "text": instruction}]
            messages.insert(0, {"role": "system", "content": system})
        turns = self._processor.apply_chat_template(
            messages, add_generation_prompt=self._prompt.opens_answer, tokenize=False
        )
        return str(turns) + self._prompt.end

    # --- inputs ---------------------------------------------------------------------------------
    def _of_texts(self, texts: Sequence[str]) -> Any:
        images = [_BLANK] * len(texts) if self._prompt.shows_blank else []
        prompts = [
            self.prompt_of(
                without_markup(text, self._processor.tokenizer),
                has_image=self._prompt.shows_blank,
                instruction=self.instruction,
            )
            for text in texts
        ]
        return self._inputs(prompts, images)

    def _of_images(self, images: Sequence[Image.Image]) -> Any:
        # Pages are represented the same way for every question.
        prompt = self.prompt_of(
            "", has_image=True, instruction=self._prompt.instruction, is_page=True
        )
        return self._inputs([prompt] * len(images), [shaped(image) for image in images])

    def _of_mixed(self, text: str, image: Image.Image) -> Any:
        text = without_markup(text, self._processor.tokenizer)
        prompt = self.prompt_of(text, has_image=True, instruction=self.instruction)
        return self._inputs([prompt], [shaped(image)])

    def _inputs(self, prompts: list[str], images: list[Image.Image]) -> Any:
        """Never truncated: an image whose marks were cut would have patches without a place."""
        inputs = self._processor(
            text=prompts,
            images=images or None,
            padding=True,
            padding_side="right",
            return_tensors="pt",
        )
        require_short(inputs["input_ids"].shape[1], self._max_tokens)
        return inputs

    # --- vectors --------------------------------------------------------------------------------
    def _vectors(self, inputs: Any) -> torch.Tensor:
        on_device = self._on_device(inputs)
        hidden = self.model(**on_device, use_cache=False).last_hidden_state  # (n, n_tokens, dim)
        last = on_device["attention_mask"].sum(dim=1) - 1
        found: torch.Tensor = hidden[torch.arange(len(hidden), device=hidden.device), last]
        return found


def _instruction(text: str, prompt: Prompt) -> str:
    text = text.strip()
    if not text:
        raise ConfigError(
            "encoder.instruction is empty",
            next_step="Leave it out for the model's own, or say what a query asks for.",
        )
    ends = unicodedata.category(text[-1]).startswith("P")
    return text if ends or not prompt.is_sentence else f"{text}."
