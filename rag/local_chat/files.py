"""From a folder to a chat model and what turns messages into its input.

Models that read images, and those that read words alone, of the classes transformers has for them.
What a checkpoint says of sampling is not followed: replies are the likeliest, and quote pages.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from rag.chat.images import MAX_IMAGE_PX
from rag.encoders.checkpoint import Checkpoint, load_errors, require_loaded
from rag.encoders.local_model import LocalPlan, ModelSection
from rag.encoders.page_images import limit_cells
from rag.encoders.torchvision_guard import ensure_torchvision
from rag.errors import ConfigError
from rag.settings import ChatSettings

ensure_torchvision()
import transformers as hf  # noqa: E402  # the guard comes first
from transformers.models.auto.modeling_auto import (  # noqa: E402  # the guard comes first
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
)
from transformers.utils import logging  # noqa: E402  # the guard comes first

SECTION = ModelSection(
    name="chat",
    kind="chat models",
    too_large="Show fewer or smaller pages (answer.answer_pages, answer.image_px), set chat.device "
    "to cpu, or choose a smaller chat.model.",
    incomplete="Fetch the model again with `octavo models pull`, or name a whole chat model.",
)
_NAME_ONE = "Name a chat model such as Qwen/Qwen3-VL-4B-Instruct or Qwen/Qwen2.5-VL-3B-Instruct."

Kind = Literal["image", "text"]
_CLASSES: dict[Kind, Any] = {
    "image": MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
    "text": MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
}


@dataclass(frozen=True)
class LoadedChat:
    """A model on its device, and its processor.

    Attributes:
        processor: of images and texts, or the tokenizer where it reads no images.
        ends: tokens that end a reply.
        positions: tokens of prompt and reply together at most; None where the model tells none.
    """

    name: str
    kind: Kind
    model: Any
    processor: Any
    tokenizer: Any
    ends: tuple[int, ...]
    positions: int | None


def plan_of(settings: ChatSettings) -> LocalPlan:
    """Where the model is and will be; nothing is fetched.

    Raises:
        ConfigError: there is no such folder, model or device; an adapter; no chat model.
        ModelFailed: `weights_missing`, `weights_damaged`.
    """
    with SECTION.own_names():
        # Gigabytes are not fetched in the middle of a question: `octavo models pull` does that.
        checkpoint = SECTION.checkpoint(settings.model, None, fetch=False)
        _kind(checkpoint)
        return LocalPlan.of(checkpoint, settings.device)


def load(settings: ChatSettings) -> LoadedChat:
    """Raises as `plan_of`, and ModelFailed `weights_incomplete`, `load_failed`, `out_of_memory`."""
    logging.disable_progress_bar()
    logging.set_verbosity_error()  # what it reports of missing keys is an error here
    plan = plan_of(settings)
    with SECTION.own_names():
        return _loaded(plan, _kind(plan.checkpoint))


def _kind(checkpoint: Checkpoint) -> Kind:
    """Raises ConfigError `bad_model` where it holds anything but a chat model."""
    model_type = checkpoint.config.get("model_type")
    held = (checkpoint.config.get("architectures") or ["nothing"])[0]
    for kind, names in _CLASSES.items():
        known = names.get(model_type, ())
        if held in ([known] if isinstance(known, str) else known):
            return kind
    raise ConfigError(
        f"{checkpoint.name} is no chat model that transformers {hf.__version__} knows: it holds "
        f"{held} of the type {model_type!r}",
        code="bad_model",
        next_step=_NAME_ONE,
    )


def _loaded(plan: LocalPlan, kind: Kind) -> LoadedChat:
    checkpoint = plan.checkpoint
    classes = (hf.AutoModelForImageTextToText, hf.AutoProcessor)
    if kind == "text":
        classes = (hf.AutoModelForCausalLM, hf.AutoTokenizer)
    with load_errors(checkpoint):
        model, told = classes[0].from_pretrained(
            checkpoint.folder, output_loading_info=True, **plan.options
        )
        processor = classes[1].from_pretrained(checkpoint.folder, local_files_only=True)
    require_loaded(told, checkpoint.name)
    tokenizer = getattr(processor, "tokenizer", processor)
    if kind == "image":
        _limit_images(processor, checkpoint.name)
    if not getattr(processor, "chat_template", None):
        raise ConfigError(
            f"{checkpoint.name} has no chat template: nobody has told how it is spoken to",
            code="bad_model",
            next_step=_NAME_ONE,
        )
    ends = _ends(model, tokenizer)
    padding = tokenizer.pad_token_id
    model.generation_config = hf.GenerationConfig(
        do_sample=False,
        eos_token_id=list(ends) or None,
        pad_token_id=ends[0] if padding is None and ends else padding,
        bos_token_id=tokenizer.bos_token_id,
    )
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    with load_errors(checkpoint):
        model = model.to(plan.device).eval()
    return LoadedChat(
        checkpoint.name, kind, model, processor, tokenizer, ends, positions and int(positions)
    )


def _limit_images(processor: Any, name: str) -> None:
    """No more pixels of an image than servers are sent, where the processor has a limit."""
    images = getattr(processor, "image_processor", None)
    if images is None:
        raise ConfigError(
            f"{name} has no image processor beside its weights",
            code="bad_model",
            next_step="Fetch the model again with `octavo models pull`.",
        )
    patch_px, merged = getattr(images, "patch_size", None), getattr(images, "merge_size", None)
    has_limit = bool((images.size or {}).get("longest_edge"))
    if isinstance(patch_px, int) and isinstance(merged, int) and has_limit:
        limit_cells(processor, most=MAX_IMAGE_PX // (patch_px * merged) ** 2)


def _ends(model: Any, tokenizer: Any) -> tuple[int, ...]:
    """What the checkpoint names, and the end of a turn that its tokenizer knows."""
    named = model.generation_config.eos_token_id
    found = [named] if isinstance(named, int) else [*(named or ())]
    if tokenizer.eos_token_id is not None:
        found.append(tokenizer.eos_token_id)
    return tuple(dict.fromkeys(map(int, found)))
