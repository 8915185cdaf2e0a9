"""CLIP and SigLIP: one tower reads words, another looks at an image of fixed size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import torch
from PIL import Image

from rag.encoders.checkpoint import Checkpoint, load_errors, require_loaded
from rag.encoders.dense_adapters import DenseAdapter, LoadingPlan, not_taken, require_short
from rag.encoders.torchvision_guard import ensure_torchvision
from rag.settings import EncoderSettings

ensure_torchvision()
import transformers as hf  # noqa: E402  # the guard comes first
from transformers.utils import logging  # noqa: E402  # the guard comes first

_MODELS = {"CLIP": "CLIPModel", "SigLIP": "SiglipModel", "SigLIP2": "Siglip2Model"}


class TwoTowers(DenseAdapter):
    def __init__(self, model: Any, processor: Any, family: str) -> None:
        text = model.config.text_config
        dim = model.config.projection_dim if family == "CLIP" else text.projection_size
        super().__init__(model, dim=int(dim))
        self._processor = processor
        self._max_tokens = int(text.max_position_embeddings)
        # SigLIP pools at the last place, whatever stands there, and was trained on full ones.
        self._padding = "longest" if family == "CLIP" else "max_length"

    @classmethod
    def load(
        cls, checkpoint: Checkpoint, family: str, settings: EncoderSettings, plan: LoadingPlan
    ) -> Self:
        logging.disable_progress_bar()
        logging.set_verbosity_error()
        with load_errors(checkpoint):
            model, loaded = getattr(hf, _MODELS[family]).from_pretrained(
                checkpoint.model_folder, output_loading_info=True, **plan.options
            )
            processor = hf.AutoProcessor.from_pretrained(
                checkpoint.processor_folder, local_files_only=True
            )
        require_loaded(loaded, checkpoint.name)
        if settings.max_patches is not None:
            if family != "SigLIP2":
                raise not_taken("max_patches", family)
            images = processor.image_processor
            images.max_num_patches = min(images.max_num_patches, settings.max_patches)
        with load_errors(checkpoint):
            return cls(model.to(plan.device).eval(), processor, family)

    def _of_texts(self, texts: Sequence[str]) -> Any:
        tokenizer = self._processor.tokenizer
        longest = max(len(each) for each in tokenizer(list(texts))["input_ids"])
        require_short(longest, self._max_tokens)
        return tokenizer(
            list(texts), padding=self._padding, max_length=self._max_tokens, return_tensors="pt"
        )

    def _of_images(self, images: Sequence[Image.Image]) -> Any:
        return self._processor.image_processor(list(images), return_tensors="pt")

    def _vectors(self, inputs: Any) -> torch.Tensor:
        ask = self.model.get_text_features if "input_ids" in inputs else None
        look = self.model.get_image_features
        found: torch.Tensor = (ask or look)(**self._on_device(inputs)).pooler_output
        return found
