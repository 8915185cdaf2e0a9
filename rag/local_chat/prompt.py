"""Messages as a model's own template writes them, and the tensors it reads.

Marks of the template that stand in a text, be it a page's or a question's, are text like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from rag.encoders.encoded import without_markup
from rag.encoders.page_images import rgb, shaped
from rag.errors import InputError, ModelFailed
from rag.local_chat.files import LoadedChat
from rag.ports import ChatMessage
from rag.types import Json

_THINK = "<think>"


@dataclass(frozen=True)
class Prompt:
    """What a model reads before it speaks.

    Attributes:
        inputs: of the model's `forward`, one row each.
        opens_thinking: the template has begun a thought, which the reply ends.
    """

    inputs: dict[str, torch.Tensor]
    opens_thinking: bool

    @property
    def n_tokens(self) -> int:
        return int(self.inputs["input_ids"].shape[1])


def prompt_of(loaded: LoadedChat, messages: Sequence[ChatMessage]) -> Prompt:
    """The messages in their order, and then the model's turn.

    Raises:
        InputError: `too_much_to_say`, images for a model that reads none.
        ModelFailed: `chat_refused`, its template does not take such messages.
    """
    images = [
        shaped(rgb(part)) for each in messages for part in each.parts if not isinstance(part, str)
    ]
    if images and loaded.kind == "text":
        raise InputError(
            f"the chat model {loaded.name} reads no images, and is shown {len(images)}",
            code="too_much_to_say",
            next_step="Set answer.evidence to text, or a chat.model that reads images.",
        )
    text = _templated(loaded, messages)
    bos = loaded.tokenizer.bos_token
    options: Json = {"return_tensors": "pt"}
    if loaded.kind == "text" or (bos and text.startswith(bos)):
        options["add_special_tokens"] = False  # the template has written them
    if loaded.kind == "text":
        inputs = loaded.tokenizer(text, **options)
    else:
        inputs = loaded.processor(text=[text], images=[images] if images else None, **options)
    found = {name: value for name, value in inputs.items() if isinstance(value, torch.Tensor)}
    if loaded.kind == "text":
        found.pop("token_type_ids", None)  # which few such models take
    return Prompt(found, opens_thinking=text.rstrip().endswith(_THINK))


def _templated(loaded: LoadedChat, messages: Sequence[ChatMessage]) -> str:
    try:
        return _written(loaded, messages)
    except Exception as error:  # noqa: BLE001  templates are programs of strangers
        try:
            return _written(loaded, _without_system(messages))
        except Exception:  # noqa: BLE001  the first failure is the one to tell
            raise ModelFailed(
                f"the chat template of {loaded.name} does not take these messages: "
                f"{type(error).__name__}",
                code="chat_refused",
                next_step="Set another chat.model.",
            ) from error


def _written(loaded: LoadedChat, messages: Sequence[ChatMessage]) -> str:
    options: Json = {}
    if "enable_thinking" in str(loaded.processor.chat_template):
        options["enable_thinking"] = False  # thoughts would be left out, and take minutes here
    content = _plain if loaded.kind == "text" else _in_parts
    spoken = [{"role": each.role, "content": content(each, loaded.tokenizer)} for each in messages]
    return str(
        loaded.processor.apply_chat_template(
            spoken, add_generation_prompt=True, tokenize=False, **options
        )
    )


def _plain(message: ChatMessage, tokenizer: Any) -> str:
    texts = (part for part in message.parts if isinstance(part, str))
    return "\n".join(without_markup(text, tokenizer) for text in texts)


def _in_parts(message: ChatMessage, tokenizer: Any) -> list[Json]:
    return [
        {"type": "image"}
        if isinstance(part, Image.Image)
        else {"type": "text", "text": without_markup(part, tokenizer)}
        for part in message.parts
    ]


def _without_system(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """The same, rules before the first words of the user, as some templates want it.

    Raises:
        ValueError: there is nothing to move, or nobody to move it to.
    """
    rules = [part for each in messages if each.role == "system" for part in each.parts]
    rest = [each for each in messages if each.role != "system"]
    if not rules or not rest or rest[0].role != "user":
        raise ValueError("no rules before the words of a user")
    return [ChatMessage("user", (*rules, *rest[0].parts)), *rest[1:]]
