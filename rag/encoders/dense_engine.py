"""The single-vector models of colpali-engine: BiQwen and its kin, with or without an adapter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import torch
from PIL import Image

from rag.encoders.adapters import apply_adapter, full_weights
from rag.encoders.checkpoint import Checkpoint, load_errors, require_loaded
from rag.encoders.dense_adapters import (
    DenseAdapter,
    LoadingPlan,
    not_taken,
    require_short,
)
from rag.encoders.encoded import without_markup
from rag.encoders.page_images import limit_cells, shaped
from rag.encoders.torchvision_guard import ensure_torchvision
from rag.settings import EncoderSettings

ensure_torchvision()
from colpali_engine import models  # noqa: E402  # the guard comes first
from transformers.utils import logging  # noqa: E402  # the guard comes first

_PROCESSORS = {
    "BiQwen2_5": "BiQwen2_5_Processor",
    # The same as BiPaliProcessor, whose signature hides the tokenizer from transformers 5.
    "BiPali": "ColPaliProcessor",
    "BiPaliProj": "ColPaliProcessor",
    "BiGemma3": "BiGemmaProcessor3",
}
# These ask their base class for a mapping of keys that it no longer has; here is one from what the
# chat models below adapters call their weights, then and now.
_QWEN2_KEYS = {
    r"^model\.(?=(layers|embed_tokens|norm)\.)": "language_model.",
    r"^model\.(?=(language_model|visual)\.)": "",
}
_KEYS: dict[str, dict[str, str]] = {
    "BiQwen2": _QWEN2_KEYS,
    "BiQwen2_5": _QWEN2_KEYS,
    "BiGemma3": {},
}
_HEAD = "model.lm_head.weight"  # of BiPali, which looks at hidden states only
# Trained on questions as they are; the others on questions with ten tokens more behind them.
_BARE_QUESTIONS = ("BiModernVBert",)


class EngineModel(DenseAdapter):
    def __init__(self, model: Any, processor: Any, family: str) -> None:
        text = getattr(model.config, "text_config", model.config)
        super().__init__(
            model,
            dim=int(getattr(model, "dim", None) or text.hidden_size),
            # Its processor puts inputs beside each other that crops have made of different lengths.
            mixes_sizes=family != "BiGemma3",
        )
        self._processor = processor
        self._family = family
        self._max_tokens = int(getattr(text, "max_position_embeddings", 0) or 2**31)

    @classmethod
    def load(
        cls, checkpoint: Checkpoint, family: str, settings: EncoderSettings, plan: LoadingPlan
    ) -> Self:
        logging.disable_progress_bar()
        logging.set_verbosity_error()  # what it reports of missing keys is an error here
        mapping = {"key_mapping": _KEYS[family]} if family in _KEYS else {}
        with load_errors(checkpoint):
            model, loaded = getattr(models, family).from_pretrained(
                checkpoint.model_folder, output_loading_info=True, **plan.options, **mapping
            )
            processor = getattr(models, _PROCESSORS.get(family, f"{family}Processor"))
            processor = processor.from_pretrained(
                checkpoint.processor_folder, local_files_only=True
            )
        given = full_weights(checkpoint) | ({_HEAD} if family.startswith("BiPali") else set())
        require_loaded(loaded, checkpoint.name, given=given)
        if checkpoint.adapter is not None:
            apply_adapter(model, checkpoint)
        if family.startswith("BiPali"):
            model.model.lm_head = torch.nn.Identity()  # a vocabulary for each token, for nothing
        unloaded = [name for name, weight in model.named_parameters() if weight.is_meta]
        require_loaded({"missing_keys": unloaded}, checkpoint.name)
        with load_errors(checkpoint):
            adapter = cls(model.to(plan.device).eval(), processor, family)
        if family.startswith("BiQwen"):
            most = settings.max_patches or 2**31
            adapter.max_pixels = limit_cells(processor, most=most)
        elif settings.max_patches is not None:
            raise not_taken("max_patches", family)
        return adapter

    def _of_texts(self, texts: Sequence[str]) -> Any:
        texts = [without_markup(text, self._processor.tokenizer) for text in texts]
        bare = self._family in _BARE_QUESTIONS
        asked = self._processor.process_texts if bare else self._processor.process_queries
        inputs = asked(texts)
        require_short(inputs["input_ids"].shape[1], self._max_tokens)
        return inputs

    def _of_images(self, images: Sequence[Image.Image]) -> Any:
        inputs = self._processor.process_images([shaped(image) for image in images])
        inputs.pop("labels", None)  # what a loss would compare
        return inputs

    def _vectors(self, inputs: Any) -> torch.Tensor:
        found: torch.Tensor = self.model(**self._on_device(inputs))
        return found
