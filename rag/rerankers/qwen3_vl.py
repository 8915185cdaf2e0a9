"""Qwen3-VL-Reranker: a chat model asked whether a page meets a question, read at its next token.

Its words, their order and its limits are the model's as much as its weights are.
Source: huggingface.co/Qwen/Qwen3-VL-Reranker-2B; arXiv:2601.04720.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from typing import Any

import torch
from PIL import Image

from rag.encoders.checkpoint import load_errors, require_loaded
from rag.encoders.encoded import without_markup
from rag.encoders.local_model import LocalPlan
from rag.encoders.page_images import limit_cells, rgb, shaped
from rag.encoders.torch_runtime import in_batches
from rag.encoders.torchvision_guard import ensure_torchvision
from rag.errors import ConfigError
from rag.ports import RerankPage
from rag.rerankers.local_model import own_names, plan_of, sigmoid
from rag.settings import RerankSettings
from rag.types import Json

ensure_torchvision()
import transformers as hf  # noqa: E402  # the guard comes first
from transformers.utils import logging  # noqa: E402  # the guard comes first

SYSTEM = (
    "Judge whether the Document meets the requirements based on the Query and the Instruct "
    'provided. Note that the answer can only be "yes" or "no".'
)
INSTRUCTION = "Given a search query, retrieve relevant candidates that answer the query."
NOTHING = "NULL"
MAX_TOKENS = 10_240
PROTECTED = 5  # tokens at the end, which open the answer
# Visual tokens of a page: 4,096 to 1,843,200 pixels, in cells of 32 by 32.
_LEAST, _MOST = 4, 1800
_PROMPT_TOKENS = 512  # words around a page's image


class Qwen3VlReranker:
    """Scores are sigmoid(h . (W_yes - W_no)), h the last hidden state: the softmax over the two."""

    is_probability = True

    def __init__(self, model: Any, processor: Any, name: str, settings: RerankSettings) -> None:
        self._model = model  # without its head
        self._processor = processor
        self._name = name
        self._instruction = (settings.instruction or "").strip() or INSTRUCTION
        self._page_as = settings.page_as
        self._batch_size = settings.batch_size
        text = model.config.text_config
        self.max_tokens = min(MAX_TOKENS, int(text.max_position_embeddings))
        tokenizer = processor.tokenizer
        self._kept = {*tokenizer.all_special_ids, *tokenizer.get_added_vocab().values()}
        self._preparing, self._running = threading.Lock(), threading.Lock()

    # (dim,) float32, set by `load`: what turns a hidden state into a logit.
    direction: torch.Tensor

    @classmethod
    def load(cls, settings: RerankSettings) -> Qwen3VlReranker:
        """Raises as `load_reranker` says."""
        logging.disable_progress_bar()
        logging.set_verbosity_error()  # what it reports of missing keys is an error here
        with own_names():
            plan = plan_of(settings)
            whole, processor = _loaded(plan)
            found = cls(whole.model.eval(), processor, plan.checkpoint.name, settings)
            found.direction = _direction(whole, processor.tokenizer, plan.checkpoint.name)
            most = min(_MOST, found.max_tokens - _PROMPT_TOKENS)
            limit_cells(processor, least=_LEAST, most=most)
            return found

    @property
    def model_id(self) -> str:
        return self._name

    @property
    def wants_image(self) -> bool:
        return self._page_as != "words"

    def scores(self, question: str, pages: Sequence[RerankPage]) -> list[float]:
        """Probabilities. Raises ModelFailed `out_of_memory`, `gpu_lost`."""

        def prepared(batch: Sequence[RerankPage]) -> dict[str, torch.Tensor]:
            with self._preparing:
                return self.inputs(question, batch)

        with own_names():
            logits = in_batches(pages, self._logits, size=self._batch_size, prepare=prepared)
        return sigmoid(logits)

    def close(self) -> None:
        self._model = None

    # --- what it reads --------------------------------------------------------------------------
    def prompt_of(self, question: str, *, has_image: bool, words: str) -> str:
        """The whole prompt as the model reads it, an image still a single mark."""
        document: list[Json] = [{"type": "image"}] if has_image else []
        if words or not has_image:
            document.append(_text(words or NOTHING))
        content = [
            _text(f"<Instruct>: {self._instruction}"),
            _text("<Query>:"),
            _text(question or NOTHING),
            _text("\n<Document>:"),
            *document,
        ]
        messages: list[Json] = [
            {"role": "system", "content": [_text(SYSTEM)]},
            {"role": "user", "content": content},
        ]
        return str(
            self._processor.apply_chat_template(
                messages, add_generation_prompt=True, tokenize=False
            )
        )

    def inputs(self, question: str, pages: Sequence[RerankPage]) -> dict[str, torch.Tensor]:
        """Of one batch, padded on the left, so that every prompt ends at the last place."""
        made = [self._inputs_of(question, page) for page in pages]
        longest = max(each["input_ids"].shape[1] for each in made)
        padding = {"input_ids": int(self._processor.tokenizer.pad_token_id)}
        batch = {
            name: torch.cat(
                [
                    torch.nn.functional.pad(
                        each[name],
                        (longest - each[name].shape[1], 0),
                        value=padding.get(name, 0),
                    )
                    for each in made
                ]
            )
            for name in ("input_ids", "attention_mask", "mm_token_type_ids")
        }
        with_image = [each for each in made if "pixel_values" in each]
        for name in ("pixel_values", "image_grid_thw") if with_image else ():
            batch[name] = torch.cat([each[name] for each in with_image])
        return batch

    def _inputs_of(self, question: str, page: RerankPage) -> dict[str, torch.Tensor]:
        """One prompt, of `max_tokens` at most."""
        tokenizer = self._processor.tokenizer
        image = self._image_of(page)
        words = page.text.text if image is None or self._page_as == "both" else ""
        prompt = self.prompt_of(
            without_markup(question, tokenizer),
            has_image=image is not None,
            words=without_markup(words, tokenizer),
        )
        inputs = dict(
            self._processor(
                text=[prompt],
                images=None if image is None else [image],
                return_tensors="pt",
            )
        )
        places = shortened(inputs["input_ids"][0].tolist(), most=self.max_tokens, keep=self._kept)
        for name in ("input_ids", "attention_mask", "mm_token_type_ids"):
            inputs[name] = inputs[name][:, places]
        return inputs

    def _image_of(self, page: RerankPage) -> Image.Image | None:
        if page.image is None or not self.wants_image:
            return None
        return shaped(rgb(page.image.image))

    # --- what it says ---------------------------------------------------------------------------
    def _logits(self, inputs: dict[str, torch.Tensor]) -> list[float]:
        device, dtype = self._model.device, self._model.dtype
        on_device = {
            name: value.to(device, dtype if value.is_floating_point() else None)
            for name, value in inputs.items()
        }
        with self._running, torch.inference_mode():
            hidden = self._model(**on_device, use_cache=False).last_hidden_state[:, -1]  # (n, dim)
            found: list[float] = (hidden.float() @ self.direction).tolist()
        return found


def shortened(token_ids: Sequence[int], *, most: int, keep: Collection[int]) -> list[int]:
    """Places of tokens that stay: the last ones, those of `keep`, and the first of the others.

    Tokens of `keep` are turns and image marks: a prompt without them is another prompt.
    """
    if len(token_ids) <= most:
        return list(range(len(token_ids)))
    body = len(token_ids) - PROTECTED
    kept = sum(token_ids[place] in keep for place in range(body))
    left = most - PROTECTED - kept
    places: list[int] = []
    for place in range(body):
        if token_ids[place] in keep:
            places.append(place)
        elif left > 0:
            places.append(place)
            left -= 1
    return [*places, *range(body, len(token_ids))]


def _text(text: str) -> Json:
    return {"type": "text", "text": text}


def _loaded(plan: LocalPlan) -> tuple[Any, Any]:
    checkpoint = plan.checkpoint
    if checkpoint.config.get("model_type") != "qwen3_vl":
        raise ConfigError(
            f"{checkpoint.name} is of the type {checkpoint.config.get('model_type')!r}, not "
            "qwen3_vl",
            code="bad_model",
            next_step="Name a model such as Qwen/Qwen3-VL-Reranker-2B.",
        )
    with load_errors(checkpoint):
        whole, loaded = hf.Qwen3VLForConditionalGeneration.from_pretrained(
            checkpoint.folder, output_loading_info=True, **plan.options
        )
        processor = hf.Qwen3VLProcessor.from_pretrained(checkpoint.folder, local_files_only=True)
    require_loaded(loaded, checkpoint.name)
    with load_errors(checkpoint):
        return whole.to(plan.device), processor


def _direction(whole: Any, tokenizer: Any, name: str) -> torch.Tensor:
    """(dim,) W_yes - W_no; in float32, where their difference loses nothing."""
    vocabulary = tokenizer.get_vocab()
    missing = [word for word in ("yes", "no") if word not in vocabulary]
    if missing:
        raise ConfigError(
            f"the tokenizer of {name} has no token {missing[0]!r}, which its answer is read from",
            code="bad_model",
            next_step="Name a model such as Qwen/Qwen3-VL-Reranker-2B.",
        )
    head = whole.get_output_embeddings().weight.detach()  # (n_tokens, dim)
    found: torch.Tensor = head[vocabulary["yes"]].float() - head[vocabulary["no"]].float()
    return found
