"""What every model of one vector a page is asked, however it wants to be asked.

An adapter makes inputs of images and questions, and vectors of inputs; it decides nothing else.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from PIL import Image

from rag.encoders.checkpoint import Checkpoint
from rag.encoders.dense_families import DenseFamily
from rag.encoders.page_images import rgb
from rag.encoders.torch_runtime import choose_attention, choose_device, choose_dtype
from rag.errors import ConfigError, InputError
from rag.geometry import FloatArray
from rag.settings import EncoderSettings


class DenseAdapter(ABC):
    """One model of one vector a page. Inputs are made and read under locks of their own: the next
    batch is prepared while the model works.

    Attributes:
        dim: of its vectors, before any truncation.
        instruction: what a query asks for, where the model takes one.
        max_pixels: of a page as the model sees it; None where every page has one size.
        made_by: what else its vectors depend on.
        mixes_sizes: a batch may have pages of several sizes.
    """

    def __init__(self, model: Any, *, dim: int, mixes_sizes: bool = True) -> None:
        self.model = model
        self.dim = dim
        self.mixes_sizes = mixes_sizes
        self.instruction: str | None = None
        self.max_pixels: int | None = None
        self.made_by: dict[str, str | int | float | bool] = {}
        self._preparing, self._running = threading.Lock(), threading.Lock()

    @property
    def device(self) -> torch.device:
        found: torch.device = self.model.device
        return found

    # --- for the encoder ------------------------------------------------------------------------
    def encode_texts(self, texts: Sequence[str]) -> FloatArray:
        """(n, dim) of questions. Raises InputError `query_too_long`."""
        with self._preparing:
            inputs = self._of_texts(texts)
        return self.vectors(inputs)

    def encode_images(self, images: Sequence[Image.Image]) -> FloatArray:
        """(n, dim) of pages."""
        return self.vectors(self.prepare_images(images))

    def encode_mixed(self, text: str, image: Image.Image) -> FloatArray | None:
        """(dim,) of a question of an image, with words unless `text` is empty; None where the
        model reads no words and image as one.
        """
        with self._preparing:
            inputs = self._of_mixed(text, rgb(image))
        return None if inputs is None else self.vectors(inputs)[0]

    def prepare_images(self, images: Sequence[Image.Image]) -> Any:
        """Inputs of pages for `vectors`; on no device yet."""
        with self._preparing:
            return self._of_images([rgb(image) for image in images])

    def vectors(self, inputs: Any) -> FloatArray:
        """(n, dim) float32, of any length."""
        with self._running, torch.inference_mode():
            found: FloatArray = self._vectors(inputs).float().cpu().numpy()
        return found

    def close(self) -> None:
        self.model = None

    # --- for each family ------------------------------------------------------------------------
    @abstractmethod
    def _of_texts(self, texts: Sequence[str]) -> Any: ...

    @abstractmethod
    def _of_images(self, images: Sequence[Image.Image]) -> Any: ...

    def _of_mixed(self, text: str, image: Image.Image) -> Any | None:
        return None if text else self._of_images([image])

    @abstractmethod
    def _vectors(self, inputs: Any) -> torch.Tensor: ...

    def _on_device(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Inputs where the model is, in its numbers."""
        return {
            name: value.to(
                self.model.device, self.model.dtype if value.is_floating_point() else None
            )
            for name, value in inputs.items()
        }


class LoadingPlan:
    """Where a model of these settings runs, in which numbers."""

    def __init__(self, settings: EncoderSettings) -> None:
        self.device = choose_device(settings.device)
        if self.device.type == "cpu":
            torch.set_num_threads(settings.threads)
        self.dtype = choose_dtype(settings.dtype, self.device)
        self.attention = choose_attention(settings.attention, self.device, self.dtype)

    @property
    def options(self) -> dict[str, Any]:
        """Of every `from_pretrained` here: files on this machine, in no format that runs code."""
        return {
            "dtype": self.dtype,
            "attn_implementation": self.attention,
            "local_files_only": True,
            "use_safetensors": True,
        }


def load_adapter(
    checkpoint: Checkpoint, family: DenseFamily, settings: EncoderSettings
) -> DenseAdapter:
    """The model in memory, all of its weights loaded.

    Raises:
        ConfigError: a setting that this model does not take; a library that is not installed.
        ModelFailed: `load_failed`, `weights_incomplete`, `out_of_memory`.
    """
    if settings.instruction is not None and family.name not in ("GME", "Qwen3-VL-Embedding"):
        raise not_taken("instruction", family.name)
    plan = LoadingPlan(settings)
    # Each brings its library; none is imported for the sake of another.
    match family.kind:
        case "engine":
            from rag.encoders.dense_engine import EngineModel

            return EngineModel.load(checkpoint, family.name, settings, plan)
        case "prompted":
            from rag.encoders.dense_prompted import PromptedModel

            return PromptedModel.load(checkpoint, family.name, settings, plan)
        case "towers":
            from rag.encoders.dense_towers import TwoTowers

            return TwoTowers.load(checkpoint, family.name, settings, plan)
        case "remote_code":
            from rag.encoders.dense_remote_code import OwnCode

            return OwnCode.load(checkpoint, family.name, settings, plan)
        case "sentence_transformers":
            from rag.encoders.dense_sentence import SentenceModel

            return SentenceModel.load(checkpoint, family.name, settings, plan)


def not_taken(setting: str, family: str) -> ConfigError:
    return ConfigError(
        f"encoder.{setting} is set, and {family} has no use for it",
        next_step=f"Leave encoder.{setting} out for this model.",
    )


# --- what several families need -----------------------------------------------------------------
def require_short(n_tokens: int, most: int) -> None:
    """Raises InputError `query_too_long`: what is cut off a question is answered by nobody."""
    if n_tokens > most:
        raise InputError(
            f"the question has {n_tokens:,} tokens, and the model reads {most:,}",
            code="query_too_long",
            next_step="Ask in fewer words.",
        )
