"""What rerankers that run here have in common: files, device, and errors in their settings' names.

Files are found, read and refused as those of encoders are (`rag.encoders.checkpoint`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from rag.encoders.checkpoint import Checkpoint, find_checkpoint
from rag.encoders.torch_runtime import choose_device, choose_dtype
from rag.errors import ConfigError, RagError
from rag.settings import EncoderSettings, RerankSettings

_SECTION = "retrieval.rerank"
_TOO_LARGE = (
    f"Set {_SECTION}.batch_size lower, {_SECTION}.device to cpu, or choose a smaller model."
)


@dataclass(frozen=True)
class LocalPlan:
    """Where a model of these settings runs, in which numbers."""

    checkpoint: Checkpoint
    device: torch.device
    dtype: torch.dtype

    @property
    def options(self) -> dict[str, Any]:
        """Of every `from_pretrained` here: files on this machine, in no format that runs code."""
        return {
            "dtype": self.dtype,
            "attn_implementation": "sdpa",
            "local_files_only": True,
            "use_safetensors": True,
        }


def plan_of(settings: RerankSettings) -> LocalPlan:
    """Raises what `find_checkpoint` and `choose_device` raise; ConfigError for an adapter."""
    checkpoint = checkpoint_of(settings)
    device = choose_device(settings.device)
    return LocalPlan(checkpoint, device, choose_dtype("auto", device))


def checkpoint_of(settings: RerankSettings, *, fetch: bool = True) -> Checkpoint:
    """The model of the settings; `fetch` False asks no hub."""
    asked = EncoderSettings(name="dense", model=settings.model, revision=settings.revision)
    checkpoint = find_checkpoint(asked, fetch=fetch)
    if checkpoint.adapter is not None:
        raise ConfigError(
            f"{checkpoint.name} is an adapter, and rerankers are read whole",
            code="bad_model",
            next_step="Merge it into its base model, and name the merged folder.",
        )
    return checkpoint


@contextmanager
def own_names() -> Iterator[None]:
    """Errors of what encoders and rerankers share, in the names of our settings."""
    try:
        yield
    except RagError as error:
        error.message = _renamed(error.message)
        error.args = (error.message,)
        error.next_step = _TOO_LARGE if error.code == "out_of_memory" else _renamed(error.next_step)
        raise


def _renamed(text: str) -> str:
    return text.replace("encoder.", f"{_SECTION}.")


def sigmoid(logits: npt.ArrayLike) -> list[float]:
    """In float64, where logits of 20 and 25 are not yet both 1."""
    values = np.clip(np.asarray(logits, np.float64), -700.0, 700.0)
    found: list[float] = (1.0 / (1.0 + np.exp(-values))).tolist()
    return found
