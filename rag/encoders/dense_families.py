"""Models of one vector a page: how a checkpoint tells which family it is of, and so how it is read.

A wrong way of asking shows in no error, only in worse results: what is not known is refused.
Nothing here loads torch.
"""

from __future__ import annotations

import json
import re
from typing import Literal, NamedTuple

from rag.encoders.checkpoint import Checkpoint
from rag.errors import ConfigError

Kind = Literal["engine", "prompted", "towers", "remote_code", "sentence_transformers"]


class DenseFamily(NamedTuple):
    """A family's name, in identities and documents, and the adapter that reads it."""

    name: str
    kind: Kind


# Of colpali-engine, by the class that wrote the checkpoint.
_ENGINE = (
    "BiQwen2",
    "BiQwen2_5",
    "BiQwen3",
    "BiQwen3_5",
    "BiModernVBert",
    "BiIdefics3",
    "BiPali",
    "BiPaliProj",
    "BiGemma3",
)
# What an adapter (LoRA) on one of these chat models is, where its name does not say otherwise.
_ENGINE_BASES = {
    "qwen2_vl": "BiQwen2",
    "qwen2_5_vl": "BiQwen2_5",
    "qwen3_vl": "BiQwen3",
    "qwen3_5": "BiQwen3_5",
    "modernvbert": "BiModernVBert",
    "idefics3": "BiIdefics3",
    "gemma3": "BiGemma3",
}
_TOWERS = {"clip": "CLIP", "siglip": "SigLIP", "siglip2": "SigLIP2"}
# Chat models that were trained to embed look like those that were not; only their names tell.
_PROMPTED = (
    (re.compile(r"(?<![a-z])gme(?![a-z])"), "qwen2_vl", "GME"),
    (re.compile(r"(?<![a-z])(mcdse|vdr)(?![a-z])"), "qwen2_vl", "mcDSE"),
    (re.compile(r"(?<![a-z])dse(?![a-z])"), "qwen2_vl", "DSE"),
    (re.compile(r"qwen3-?vl-?embedding"), "qwen3_vl", "Qwen3-VL-Embedding"),
)
SUPPORTED = (
    f"{', '.join(_ENGINE)} (colpali-engine), DSE, mcDSE and vdr, GME, Qwen3-VL-Embedding, "
    f"{', '.join(_TOWERS.values())}, models whose own code has encode_text and encode_image "
    "(jina-embeddings-v4, Jina-CLIP), folders of sentence-transformers"
)


def family_of(checkpoint: Checkpoint) -> DenseFamily:
    """Raises ConfigError: `encoder_family`, of none; `remote_code`, its own code may not run."""
    written_by, model_type = _written_by(checkpoint), str(checkpoint.config.get("model_type"))
    named = _known_by_name(checkpoint)
    if written_by in _ENGINE:
        return DenseFamily(written_by, "engine")
    if named is not None:
        return DenseFamily(named, "prompted")
    if model_type in _TOWERS:
        return DenseFamily(_TOWERS[model_type], "towers")
    if "AutoModel" in (checkpoint.config.get("auto_map") or {}):
        return DenseFamily(own_code(checkpoint), "remote_code")
    modules = _modules(checkpoint)
    if modules:
        if not all(module.startswith(_NO_CODE) for module in modules):
            _allow_code(checkpoint)
        return DenseFamily("sentence-transformers", "sentence_transformers")
    if checkpoint.adapter is not None and model_type in _ENGINE_BASES:
        return DenseFamily(_ENGINE_BASES[model_type], "engine")
    raise _unknown(checkpoint, written_by, model_type)


def _written_by(checkpoint: Checkpoint) -> str:
    """Class that wrote the weights; an adapter may name the one it was trained on."""
    mapping = (checkpoint.adapter or {}).get("auto_mapping") or {}
    architectures = checkpoint.config.get("architectures") or [""]
    return str(mapping.get("base_model_class") or architectures[0])


def _known_by_name(checkpoint: Checkpoint) -> str | None:
    """Of a chat model that was trained to embed, by its own name or the one it remembers."""
    names = [checkpoint.name, str(checkpoint.config.get("_name_or_path", ""))]
    names += [str(name) for name in checkpoint.config.get("architectures") or []]
    for pattern, model_type, family in _PROMPTED:
        # GmeQwen2VL and gme-Qwen2-VL alike.
        if checkpoint.config.get("model_type") == model_type and any(
            pattern.search(re.sub(r"(?<=[a-z])(?=[A-Z])|_", "-", name).lower()) for name in names
        ):
            return family
    return None


# --- code that lives with the weights -----------------------------------------------------------
_NO_CODE = ("sentence_transformers.", "transformers.", "torch.")


def _modules(checkpoint: Checkpoint) -> list[str]:
    """Classes that a folder of sentence-transformers is made of; none where it is none."""
    try:
        listed = json.loads((checkpoint.folder / "modules.json").read_text(encoding="utf-8"))
        return [str(module["type"]) for module in listed]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"modules.json of {checkpoint.name} lists no modules",
            code="bad_model",
            next_step="Fetch the model again with `octavo models pull`.",
        ) from error


def own_code(checkpoint: Checkpoint) -> str:
    """What the model with code of its own calls itself.

    Raises:
        ConfigError: `encoder_family`, it has none; `remote_code`, it may not run.
    """
    if "AutoModel" not in (checkpoint.config.get("auto_map") or {}):
        raise ConfigError(
            f"{checkpoint.name} has no code of its own",
            code="encoder_family",
            next_step="Leave encoder.trust_remote_code out for this model.",
        )
    _allow_code(checkpoint)
    # Its model_type is that of the chat model below it.
    if _written_by(checkpoint) == "JinaEmbeddingsV4Model":
        return "jina_embeddings_v4"
    return str(checkpoint.config.get("model_type"))


def _allow_code(checkpoint: Checkpoint) -> None:
    elsewhere = str((checkpoint.config.get("auto_map") or {}).get("AutoModel", ""))
    if "--" in elsewhere:
        raise ConfigError(
            f"{checkpoint.name} runs code of another model, {elsewhere.partition('--')[0]}, whose "
            "revision nothing here pins",
            code="remote_code",
            next_step="Put that code into the model's folder, take the name before -- out of "
            "auto_map in its config.json, and set encoder.model to the folder.",
        )
    if not checkpoint.trust_remote_code:
        raise ConfigError(
            f"{checkpoint.name} runs code that lives with its weights",
            code="remote_code",
            next_step="Read that code; then set encoder.trust_remote_code to true and "
            "encoder.revision to the revision you read.",
        )


def _unknown(checkpoint: Checkpoint, written_by: str, model_type: str) -> ConfigError:
    next_step = "Choose a model of these families"
    if written_by.startswith("Col") or model_type in ("colpali", "colqwen2"):
        next_step = "Set encoder.name to colpali: this model has a vector for each patch"
    elif model_type in _ENGINE_BASES or model_type in ("qwen2_vl", "qwen3_vl"):
        next_step = (
            "A chat model was not made for retrieval. If it was trained for it, let its folder "
            "have the model's own name, like dse-qwen2-2b-mrl-v1, gme-Qwen2-VL-2B-Instruct or "
            "Qwen3-VL-Embedding-2B"
        )
    return ConfigError(
        f"{checkpoint.name} is a {written_by or model_type} ({model_type}); the dense encoder "
        f"reads {SUPPORTED}",
        code="encoder_family",
        next_step=f"{next_step}.",
    )
