"""ChatModel over a model of transformers in this process: one reply at a time, its likeliest words.

Whoever waits is let go in time: the end is looked at before every layer, so that a long prompt ends
as a long reply does.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from rag.deadline import Deadline
from rag.encoders.torch_runtime import free_gpu_memory, is_out_of_memory, raise_if_lost
from rag.errors import InputError, ModelFailed
from rag.local_chat.files import SECTION, LoadedChat, load
from rag.local_chat.prompt import Prompt, prompt_of
from rag.local_chat.shape import Shapes
from rag.local_chat.speech import FirstToken, Speech
from rag.ports import ChatMessage, ChatReply
from rag.settings import ChatSettings
from rag.types import Json, TokenUsage

_LOOK_S = 0.02  # between two looks at the end, of whoever waits for a turn
# With less room than that for a reply, it is the prompt that is too long.
_LEAST_ROOM = 64


class LocalChat:
    """A chat model in memory. Thread-safe: replies wait for their turn. Close it."""

    def __init__(self, loaded: LoadedChat, settings: ChatSettings) -> None:
        self._loaded: LoadedChat | None = loaded
        self._name = loaded.name
        self._reads_images = loaded.kind == "image"
        self._settings = settings
        self._shapes = Shapes(loaded.tokenizer, loaded.ends)
        self._turn = threading.Lock()
        self._end: _End | None = None  # of the reply under way
        for layer in _layers(loaded.model):
            layer.register_forward_pre_hook(self._before_layer)

    @classmethod
    def load(cls, settings: ChatSettings) -> LocalChat:
        """Raises as `local_chat` says."""
        return cls(load(settings), settings)

    def __repr__(self) -> str:
        return f"LocalChat({self._name!r})"

    @property
    def model_id(self) -> str:
        return self._name

    @property
    def reads_images(self) -> bool:
        return self._reads_images

    def close(self) -> None:
        """A reply under way ends; the model is gone with it."""
        self._loaded = None
        free_gpu_memory()

    def complete(
        self,
        messages: Sequence[ChatMessage],
        *,
        max_tokens: int | None = None,
        json_schema: Json | None = None,
        first_token: bool = False,
        on_piece: Callable[[str], None] | None = None,
        deadline: Deadline | None = None,
    ) -> ChatReply:
        """As ChatModel; `on_piece` is called in this thread.

        Raises:
            InputError: `too_much_to_say`, more than the model has positions for, or images that it
                does not read.
            ModelFailed: `chat_timeout`; `chat_bad_reply`, not a word; `chat_refused`, by its
                template; `out_of_memory`, `gpu_lost`; `chat_unreachable`, it was closed.
            Cancelled: the deadline was cancelled.
        """
        limit = self._settings.max_tokens if max_tokens is None else max_tokens
        with self._my_turn(deadline or Deadline()) as end:
            loaded = self._loaded
            end.require_time()
            assert loaded is not None  # as just required
            prompt = prompt_of(loaded, messages)
            limit = self._room(loaded, prompt, limit)
            end.require_time()
            speech = Speech(
                loaded.tokenizer,
                on_piece,
                end.require_time,
                in_thought=prompt.opens_thinking,
            )
            first = FirstToken(loaded.tokenizer) if first_token else None
            processors: list[Any] = [] if first is None else [first]
            # A thought has no shape; the prompt tells the model what its reply should look like.
            if json_schema is not None and not prompt.opens_thinking:
                processors += self._shapes.processors(json_schema, prompt.n_tokens)
            self._generate(loaded, prompt, limit, speech, processors)
        return self._reply(loaded, prompt, limit, speech, first)

    # --- a turn ---------------------------------------------------------------------------------
    @contextmanager
    def _my_turn(self, deadline: Deadline) -> Iterator[_End]:
        """Time that a try may take begins with the turn."""
        waiting = _End(self, deadline)
        waiting.require_time()
        while not self._turn.acquire(timeout=min(_LOOK_S, deadline.remaining_s)):
            waiting.require_time()
        try:
            self._end = _End(self, deadline, self._settings.timeout_s)
            yield self._end
        finally:
            self._end = None
            self._turn.release()

    def _before_layer(self, *_: object) -> None:
        if self._end is not None:
            self._end.require_time()

    @property
    def is_closed(self) -> bool:
        return self._loaded is None

    # --- a reply --------------------------------------------------------------------------------
    def _room(self, loaded: LoadedChat, prompt: Prompt, limit: int) -> int:
        """Tokens that the reply may have."""
        if loaded.positions is None:
            return limit
        room = loaded.positions - prompt.n_tokens
        if room < min(limit, _LEAST_ROOM):
            raise InputError(
                f"the chat model {self._name} is to be shown {prompt.n_tokens:,} tokens, and has "
                f"{loaded.positions:,} positions for them and its reply",
                code="too_much_to_say",
                next_step="Show it fewer pages at a time.",
            )
        return min(limit, room)

    def _generate(
        self,
        loaded: LoadedChat,
        prompt: Prompt,
        limit: int,
        speech: Speech,
        processors: Sequence[Any],
    ) -> None:
        model = loaded.model
        try:
            inputs = {
                name: value.to(model.device, model.dtype if value.is_floating_point() else None)
                for name, value in prompt.inputs.items()
            }
            with torch.inference_mode():
                model.generate(
                    **inputs,
                    do_sample=False,
                    max_new_tokens=limit,
                    logits_processor=list(processors),
                    streamer=speech,
                )
        except RuntimeError as error:
            if error is speech.raised:
                raise
            if not is_out_of_memory(error):
                raise_if_lost(error)
                raise
        else:
            return
        # Outside of the handler: the error's traceback holds the tensors that did not fit.
        free_gpu_memory()
        raise ModelFailed(
            f"the chat model {self._name} ran out of memory over {prompt.n_tokens:,} tokens",
            code="out_of_memory",
            next_step=SECTION.too_large,
        )

    def _reply(
        self,
        loaded: LoadedChat,
        prompt: Prompt,
        limit: int,
        speech: Speech,
        first: FirstToken | None,
    ) -> ChatReply:
        said = speech.token_ids
        is_cut = len(said) >= limit and said[-1] not in loaded.ends
        if not speech.text.strip():
            raise ModelFailed(
                f"the chat model {self._name} says not a word"
                + (f" within {limit} tokens" if is_cut else ""),
                code="chat_bad_reply",
                next_step="Raise chat.max_tokens: a model that thinks before it speaks needs more."
                if is_cut
                else "Ask in other words, or set another chat.model.",
            )
        return ChatReply(
            speech.text,
            {} if first is None else first.found,
            is_cut=is_cut,
            usage=TokenUsage(prompt.n_tokens, len(said)),
        )


class _End:
    """When a reply must be there.

    Args:
        chat: closing it ends the reply.
        deadline: of whoever asked.
        timeout_s: of this try alone.
    """

    def __init__(self, chat: LocalChat, deadline: Deadline, timeout_s: float | None = None) -> None:
        self._chat = chat
        self._deadline = deadline
        self._own = Deadline(timeout_s)
        self._timeout_s = timeout_s

    def require_time(self) -> None:
        """Raises Cancelled, or ModelFailed `chat_timeout`, `chat_unreachable`."""
        self._deadline.require_wanted()
        name = self._chat.model_id
        if self._chat.is_closed:
            raise ModelFailed(
                f"the chat model {name} was closed",
                code="chat_unreachable",
                next_step="Open Octavo again.",
            )
        if self._deadline.is_over:
            raise ModelFailed(
                f"the chat model {name} did not reply before the time for an answer was over",
                code="chat_timeout",
                next_step="Raise answer.deadline_s, or choose a faster chat.model or chat.device.",
            )
        if self._own.is_over:
            raise ModelFailed(
                f"the chat model {name} did not end its reply within {self._timeout_s:g} s",
                code="chat_timeout",
                next_step="Raise chat.timeout_s, or choose a faster chat.model or chat.device.",
            )


def _layers(model: Any) -> Iterator[Any]:
    """Of its parts that see images and those that read words, in whatever order."""
    for module in model.modules():
        if isinstance(module, torch.nn.ModuleList):
            yield from module
