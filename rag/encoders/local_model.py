"""What models that run here and are no encoders have in common: files, device, and errors in the
names of their own settings.

Files are found, read and refused as those of encoders are (`rag.encoders.checkpoint`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch

from rag.encoders.checkpoint import Checkpoint, find_checkpoint
from rag.encoders.torch_runtime import choose_device, choose_dtype
from rag.errors import ConfigError, RagError
from rag.settings import EncoderSettings


@dataclass(frozen=True)
class ModelSection:
    """The part of the settings that names a model, and what its errors advise.

    Attributes:
        name: as in "retrieval.rerank".
        kind: of model, in the plural, as in "rerankers".
        too_large: next step where memory did not suffice.
        incomplete: next step where weights are missing.
    """

    name: str
    kind: str
    too_large: str
    incomplete: str

    @contextmanager
    def own_names(self) -> Iterator[None]:
        """Errors of what encoders share with other models, in the names of this section."""
        try:
            yield
        except RagError as error:
            error.message = self._renamed(error.message)
            error.args = (error.message,)
            advice = {"out_of_memory": self.too_large, "weights_incomplete": self.incomplete}
            error.next_step = advice.get(error.code) or self._renamed(error.next_step)
            raise

    def checkpoint(self, model: str | None, revision: str | None, *, fetch: bool) -> Checkpoint:
        """The model of the settings; `fetch` False asks no hub.

        Raises:
            ConfigError: `bad_model`, an adapter; and what `find_checkpoint` raises.
        """
        asked = EncoderSettings(name="dense", model=model, revision=revision)
        checkpoint = find_checkpoint(asked, fetch=fetch)
        if checkpoint.adapter is not None:
            raise ConfigError(
                f"{checkpoint.name} is an adapter, and {self.kind} are read whole",
                code="bad_model",
                next_step="Merge it into its base model, and name the merged folder.",
            )
        return checkpoint

    def _renamed(self, text: str) -> str:
        return text.replace("encoder.", f"{self.name}.")


@dataclass(frozen=True)
class LocalPlan:
    """Where a model of these settings runs, in which numbers."""

    checkpoint: Checkpoint
    device: torch.device
    dtype: torch.dtype

    @classmethod
    def of(cls, checkpoint: Checkpoint, device: str) -> LocalPlan:
        """`device` is auto, cpu, cuda, or cuda:N.

        Raises:
            ConfigError: a GPU is asked for that torch does not see.
        """
        kind, _, number = device.partition(":")
        chosen = choose_device(cast("Literal['auto', 'cpu', 'cuda']", kind))
        if number:
            if int(number) >= (n_gpus := torch.cuda.device_count()):
                raise ConfigError(
                    f"encoder.device is {device}, and torch sees {n_gpus} GPUs",
                    next_step="Set encoder.device to one of them; they are counted from cuda:0.",
                )
            chosen = torch.device(device)
        return cls(checkpoint, chosen, choose_dtype("auto", chosen))

    @property
    def options(self) -> dict[str, Any]:
        """Of every `from_pretrained` here: files on this machine, in no format that runs code."""
        return {
            "dtype": self.dtype,
            "attn_implementation": "sdpa",
            "local_files_only": True,
            "use_safetensors": True,
        }
