"""What rerankers that run here have in common: their section of the settings, and the sigmoid."""

from __future__ import annotations

from contextlib import AbstractContextManager

import numpy as np
import numpy.typing as npt

from rag.encoders.checkpoint import Checkpoint
from rag.encoders.local_model import LocalPlan, ModelSection
from rag.settings import RerankSettings

_SECTION = ModelSection(
    name="retrieval.rerank",
    kind="rerankers",
    too_large="Set retrieval.rerank.batch_size lower, retrieval.rerank.device to cpu, or choose a "
    "smaller model.",
    incomplete="Fetch the model again with `octavo models pull`, or name a model that was made "
    "for reranking.",
)


def plan_of(settings: RerankSettings) -> LocalPlan:
    """Raises what `checkpoint_of` and `LocalPlan.of` raise."""
    return LocalPlan.of(checkpoint_of(settings), settings.device)


def checkpoint_of(settings: RerankSettings, *, fetch: bool = True) -> Checkpoint:
    """The model of the settings; `fetch` False asks no hub."""
    return _SECTION.checkpoint(settings.model, settings.revision, fetch=fetch)


def own_names() -> AbstractContextManager[None]:
    """Errors of what encoders and rerankers share, in the names of our settings."""
    return _SECTION.own_names()


def sigmoid(logits: npt.ArrayLike) -> list[float]:
    """In float64, where logits of 20 and 25 are not yet both 1."""
    values = np.clip(np.asarray(logits, np.float64), -700.0, 700.0)
    found: list[float] = (1.0 / (1.0 + np.exp(-values))).tolist()
    return found
