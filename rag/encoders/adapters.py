"""Low-rank adapters (LoRA) on top of a whole model, each of their weights accounted for."""

from __future__ import annotations

import importlib.util
from typing import Any

from rag.encoders.checkpoint import Checkpoint, load_errors, require_loaded
from rag.errors import ConfigError, ModelFailed


def full_weights(checkpoint: Checkpoint) -> set[str]:
    """Keys of the model that the adapter brings whole, so that its base may lack them."""
    if checkpoint.adapter is None:
        return set()
    from safetensors import safe_open

    with (
        load_errors(checkpoint),
        safe_open(checkpoint.folder / "adapter_model.safetensors", "pt") as weights,
    ):
        keys = list(weights.keys())
    return {_model_key(key) for key in keys if "lora_" not in key}


def apply_adapter(model: Any, checkpoint: Checkpoint) -> None:
    """Put the adapter of the checkpoint on its loaded base model, in place.

    Raises:
        ConfigError: peft is not installed.
        ModelFailed: `weights_incomplete`, a weight in its file that did not land, or a place for
            one that kept its start; `load_failed`.
    """
    if importlib.util.find_spec("peft") is None:
        raise ConfigError(
            f"{checkpoint.name} is an adapter, and peft is not installed",
            next_step="Run `pip install 'octavo[vision]'`.",
        )
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.modeling_utils import LoadStateDictConfig

    # The names that the base's own weights were read by; the library forgets them here.
    names = getattr(type(model), "_checkpoint_conversion_mapping", None)
    before = {name for name, _ in model.named_parameters()}
    with load_errors(checkpoint):
        loaded = model.load_adapter(
            str(checkpoint.folder),
            load_config=LoadStateDictConfig(
                use_safetensors=True,
                dtype=model.dtype,
                weight_mapping=get_model_conversion_mapping(model, key_mapping=names),
            ),
        ).to_dict()
    require_loaded(loaded, checkpoint.name)
    astray = sorted(loaded["unexpected_keys"])
    if astray or {name for name, _ in model.named_parameters()} == before:
        raise ModelFailed(
            f"{len(astray) or 'all'} weights of the adapter {checkpoint.name} have no place in "
            f"its base model {'' if checkpoint.base is None else checkpoint.base.name}"
            f"{f' ({astray[0]}, ...)' if astray else ''}",
            code="weights_incomplete",
            next_step="Fetch both again with `octavo models pull`, or use a merged model.",
        )


def _model_key(key: str) -> str:
    return key.removeprefix("base_model.model.")
