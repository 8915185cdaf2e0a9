"""A reply while it is generated: tokens become whole characters, thoughts are left out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from rag.chat.heard import Heard

_TOLD = 20  # first tokens, as many as servers tell of
_HALF = "\ufffd"  # what a character decodes to of which tokens are still to come


class Speech:
    """What `generate` streams to. The thread that generates calls `on_piece`.

    Args:
        tokenizer: of the model.
        on_piece: hears the reply.
        require_time: raises where there is none left; asked at each token.
        in_thought: the reply begins within a thought.

    Attributes:
        token_ids: of the reply so far, its end and thoughts included.
        raised: by `on_piece`, which is nobody else's to explain.
    """

    def __init__(
        self,
        tokenizer: Any,
        on_piece: Callable[[str], None] | None,
        require_time: Callable[[], None],
        *,
        in_thought: bool,
    ) -> None:
        self._words = _Words(tokenizer)
        self._on_piece = on_piece
        self._require_time = require_time
        self._heard = Heard(None if on_piece is None else self._tell)
        self._has_prompt = False
        self.token_ids: list[int] = []
        self.raised: BaseException | None = None
        if in_thought:
            self._heard.hear("<think>")

    @property
    def text(self) -> str:
        return self._heard.text

    @property
    def is_thinking(self) -> bool:
        return self._heard.is_thinking

    def put(self, token_ids: torch.Tensor) -> None:
        """The prompt first, then each token."""
        if not self._has_prompt:
            self._has_prompt = True
            return
        for token_id in token_ids.flatten().tolist():
            self.token_ids.append(token_id)
            if text := self._words.add(token_id):
                self._heard.hear(text)
        self._require_time()

    def end(self) -> None:
        if rest := self._words.rest():
            self._heard.hear(rest)
        self._heard.end()

    def _tell(self, piece: str) -> None:
        assert self._on_piece is not None
        try:
            self._on_piece(piece)
        except BaseException as error:
            self.raised = error
            raise


class _Words:
    """Text of tokens one by one; a few of them may make one character, and a blank may hang on the
    token before.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []  # the last that were told, and those not told yet
        self._n_told = 0

    def add(self, token_id: int) -> str:
        self._ids.append(token_id)
        return "" if self._decoded(self._ids).endswith(_HALF) else self.rest()

    def rest(self) -> str:
        """Everything not told yet, whole or not."""
        told, all_ = self._decoded(self._ids[: self._n_told]), self._decoded(self._ids)
        self._ids = self._ids[self._n_told :]
        self._n_told = len(self._ids)
        return all_[len(told) :]

    def _decoded(self, token_ids: list[int]) -> str:
        return str(
            self._tokenizer.decode(
                token_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
        )


class FirstToken:
    """A processor of scores that changes none: log probabilities of the likeliest first tokens."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.found: dict[str, float] = {}

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:  # noqa: ARG002  as generate calls it
        if not self.found:
            logarithms = torch.log_softmax(scores[0].float(), dim=-1)  # (n_tokens,)
            best = logarithms.topk(min(_TOLD, len(logarithms)))
            for token_id, value in zip(best.indices.tolist(), best.values.tolist(), strict=True):
                # The likeliest of equal texts comes first.
                self.found.setdefault(self._tokenizer.decode([token_id]), value)
        return scores
