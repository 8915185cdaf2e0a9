"""Models that bring their own code: it is run where the settings allow it, at a pinned revision.

What they have in common is what they are asked by: `encode_text` and `encode_image`, as the models
of Jina AI have them.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
from PIL import Image

from rag.encoders.checkpoint import Checkpoint, load_errors, require_loaded
from rag.encoders.dense_adapters import DenseAdapter, LoadingPlan, not_taken
from rag.encoders.torchvision_guard import ensure_torchvision
from rag.errors import ConfigError
from rag.settings import EncoderSettings

ensure_torchvision()
import transformers as hf  # noqa: E402  # the guard comes first
from transformers.dynamic_module_utils import get_class_from_dynamic_module  # noqa: E402  # the guard comes first
from transformers.utils import logging  # noqa: E402  # the guard comes first

# What they take beside texts and images, by the name of their model in config.json; nothing else is
# handed to code that nobody here has seen.
_ASKED: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "jina_embeddings_v4": (
        {"task": "retrieval", "prompt_name": "query"},
        {"task": "retrieval"},
    ),
    "jina_clip": ({"task": "retrieval.query"}, {}),
}


class OwnCode(DenseAdapter):
    def __init__(self, model: Any, family: str) -> None:
        self._for_text, self._for_image = asked(model, family)
        super().__init__(model, dim=0)
        self.dim = self.encode_texts(["?"]).shape[1]

    @classmethod
    def load(
        cls, checkpoint: Checkpoint, family: str, settings: EncoderSettings, plan: LoadingPlan
    ) -> Self:
        if settings.max_patches is not None:
            raise not_taken("max_patches", family)
        model = load_own_code(checkpoint, settings, plan)
        with load_errors(checkpoint):
            return cls(model, family)

    def _of_texts(self, texts: Sequence[str]) -> Any:
        return self.model.encode_text, list(texts), self._for_text

    def _of_images(self, images: Sequence[Image.Image]) -> Any:
        return self.model.encode_image, list(images), self._for_image

    def _vectors(self, inputs: Any) -> torch.Tensor:
        encode, items, options = inputs
        found = encode(items, **options)
        if isinstance(found, torch.Tensor):
            return found
        return torch.stack([torch.as_tensor(np.asarray(_on_cpu(each))) for each in found])


def load_own_code(checkpoint: Checkpoint, settings: EncoderSettings, plan: LoadingPlan) -> Any:
    """The model, by its own code; `own_code` of its checkpoint comes before.

    Raises:
        ConfigError: `encoder_family`, it has no encode_text or no encode_image.
        ModelFailed: `load_failed`, `weights_incomplete`, `out_of_memory`.
    """
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    with load_errors(checkpoint):
        model_class: Any = get_class_from_dynamic_module(
            checkpoint.config["auto_map"]["AutoModel"], checkpoint.folder, local_files_only=True
        )
    absent = [name for name in ("encode_text", "encode_image") if not hasattr(model_class, name)]
    if absent:
        raise ConfigError(
            f"the code of {checkpoint.name} has no {' and no '.join(absent)}",
            code="encoder_family",
            next_step="Choose a model that embeds words and images.",
        )
    # One that loads itself in its own way may not be asked what it loaded.
    tells = "from_pretrained" not in vars(model_class)
    options = plan.options
    if settings.attention == "auto":  # its code knows best, and may have one kernel only
        del options["attn_implementation"]
    if tells:
        options["output_loading_info"] = True
    with load_errors(checkpoint):
        loaded = hf.AutoModel.from_pretrained(checkpoint.folder, trust_remote_code=True, **options)
    model, info = loaded if tells else (loaded, {})
    require_loaded(info, checkpoint.name)
    with load_errors(checkpoint):
        return model.to(plan.device).eval()


def asked(model: Any, family: str) -> tuple[dict[str, str], dict[str, str]]:
    """What goes beside texts, and beside images, as far as this revision of the code knows it."""
    for_text, for_image = _ASKED.get(family, ({}, {}))
    return _taken(model.encode_text, for_text), _taken(model.encode_image, for_image)


def _on_cpu(vector: Any) -> Any:
    return vector.float().cpu() if isinstance(vector, torch.Tensor) else vector


def _taken(method: Any, options: dict[str, str]) -> dict[str, str]:
    known = inspect.signature(method).parameters
    return {name: value for name, value in options.items() if name in known}
