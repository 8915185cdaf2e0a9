"""A folder of sentence-transformers whose modules read images too."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any, Self

import torch
from PIL import Image

from rag.encoders.checkpoint import Checkpoint, load_errors, require_loaded
from rag.encoders.dense_adapters import DenseAdapter, LoadingPlan, not_taken
from rag.encoders.torchvision_guard import ensure_torchvision
from rag.errors import ConfigError
from rag.settings import EncoderSettings


class SentenceModel(DenseAdapter):
    def __init__(self, model: Any) -> None:
        self._prompt = "query" if "query" in (model.prompts or {}) else None
        super().__init__(model, dim=0)
        self.dim = self.encode_texts(["?"]).shape[1]

    @classmethod
    def load(
        cls, checkpoint: Checkpoint, family: str, settings: EncoderSettings, plan: LoadingPlan
    ) -> Self:
        if settings.max_patches is not None:
            raise not_taken("max_patches", family)
        if importlib.util.find_spec("sentence_transformers") is None:
            raise ConfigError(
                f"{checkpoint.name} is a folder of sentence-transformers, which is not installed",
                next_step="Run `pip install sentence-transformers`.",
            )
        ensure_torchvision()
        from sentence_transformers import SentenceTransformer

        options = plan.options
        files_only = options.pop("local_files_only")
        with load_errors(checkpoint):
            model = SentenceTransformer(
                str(checkpoint.folder),
                device=str(plan.device),
                local_files_only=files_only,
                trust_remote_code=checkpoint.trust_remote_code,
                model_kwargs=options,
            )
            for inner in model.children():
                require_whole(inner, checkpoint.name)
            return cls(model.eval())

    def _of_texts(self, texts: Sequence[str]) -> Any:
        return list(texts), self._prompt

    def _of_images(self, images: Sequence[Image.Image]) -> Any:
        return list(images), None

    def _vectors(self, inputs: Any) -> torch.Tensor:
        items, prompt = inputs
        found: torch.Tensor = self.model.encode(
            items,
            prompt_name=prompt,
            batch_size=len(items),
            convert_to_tensor=True,
            show_progress_bar=False,
        )
        return found


def require_whole(module: Any, name: str) -> None:
    """The library leaves weights that are not there random, and tells nobody: ask once more, of
    the model without its numbers.
    """
    from transformers import PreTrainedModel

    wholes = [each for each in module.modules() if isinstance(each, PreTrainedModel)][:1]
    for whole in wholes:
        _, loaded = type(whole).from_pretrained(
            whole.name_or_path,
            device_map="meta",
            output_loading_info=True,
            local_files_only=True,
        )
        require_loaded(loaded, name)
