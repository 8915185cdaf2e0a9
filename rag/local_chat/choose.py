"""The local chat model of the settings, and what can be said of it without loading it."""

from __future__ import annotations

import importlib.util

from rag.errors import ConfigError
from rag.ports import ChatModel
from rag.settings import ChatSettings

_PACKAGES = ("torch", "transformers")
_INSTALL = "Install it with pip install 'octavo[local]'."


def local_chat(settings: ChatSettings) -> ChatModel:
    """The model in memory. Close it.

    Args:
        settings: `model` is a folder, or an id on the hub that was pulled to this machine; of the
            others `device`, `max_tokens` and `timeout_s` matter.

    Raises:
        ConfigError: no model, packages that are not installed, a device that is not there; a model
            that is no chat model.
        ModelFailed: weights that are missing, damaged or incomplete; `out_of_memory`.
    """
    _require(settings)
    from rag.local_chat.model import LocalChat  # brings torch

    return LocalChat.load(settings)


def describe(settings: ChatSettings) -> str:
    """Who answers, in words, once it was seen that its files are here and whole.

    Raises:
        ConfigError: as `local_chat`.
        ModelFailed: weights that are missing or damaged.
    """
    _require(settings)
    from rag.local_chat.files import plan_of  # brings torch

    plan = plan_of(settings)
    return f"{plan.checkpoint.name} at {plan.checkpoint.revision} on {plan.device}"


def _require(settings: ChatSettings) -> None:
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"a chat model on this machine wants {' and '.join(missing)}, not installed here",
            next_step=_INSTALL,
        )
    if not settings.model:
        raise ConfigError(
            "the local chat model has no name",
            next_step="Set chat.model to a folder, or to a model id that was pulled.",
        )
