"""An encoder of somebody else's code: a function named in the settings makes it."""

from __future__ import annotations

import importlib

from rag.errors import ConfigError, RagError
from rag.ports import EncoderIdentity, PageEncoder
from rag.settings import EncoderSettings

_NEXT_STEP = (
    "encoder.model names a function as module:function, of a module that Python finds (one that is "
    "installed, or in a folder on PYTHONPATH). It is given the settings of the encoder and gives "
    "an object with the methods of rag.ports.PageEncoder, which several threads may call."
)
_METHODS = ("encode_pages", "encode_query", "close")


def load_custom_encoder(chosen: EncoderSettings) -> PageEncoder:
    """What the function that `chosen.model` names gives.

    Raises:
        ConfigError: no such module or function, one that fails, or what it gives is no encoder.
        RagError: as the function raises it.
    """
    module_name, _, function_name = (chosen.model or "").partition(":")
    if not module_name or not function_name:
        raise ConfigError(
            f"encoder.model {chosen.model!r} is not written as module:function",
            next_step=_NEXT_STEP,
        )
    try:
        encoder: PageEncoder = getattr(importlib.import_module(module_name), function_name)(chosen)
    except RagError:
        raise
    except Exception as error:  # code of somebody else, which may fail in any way
        raise ConfigError(
            f"the encoder {chosen.model} cannot be loaded: {type(error).__name__}: {error}",
            next_step=_NEXT_STEP,
        ) from error
    if fault := _fault(encoder):
        raise ConfigError(f"what {chosen.model} gives is no encoder: {fault}", next_step=_NEXT_STEP)
    return encoder


def _fault(encoder: PageEncoder) -> str:
    """What is missing of an encoder; empty where nothing is."""
    for name in _METHODS:
        if not callable(getattr(encoder, name, None)):
            return f"it has no method {name}"
    if not isinstance(getattr(encoder, "identity", None), EncoderIdentity):
        return "its identity is no rag.ports.EncoderIdentity"
    if not isinstance(getattr(encoder, "wants_image", None), bool):
        return "its wants_image is neither true nor false"
    return ""
