"""Holds a reply to a JSON schema while it is generated: words that cannot go on are not said.

Source: github.com/guidance-ai/llguidance; its masks of the next token follow Earley's parser.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import logging
from collections.abc import Sequence
from typing import Any

import torch

from rag.types import Json

_log = logging.getLogger(__name__)

# As models were taught to write JSON: a line, and no blanks to get lost in.
_WRITTEN = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}


class Shapes:
    """What a model's vocabulary can write of any schema; read once, when first asked for.

    Without llguidance, or for a schema or tokenizer it does not know, nothing is held here: the
    prompt tells the shape, and whoever asked checks the reply in any case.
    """

    def __init__(self, tokenizer: Any, ends: Sequence[int]) -> None:
        self._tokenizer = tokenizer
        self._ends = list(ends)
        self._vocabulary: Any = None
        self._is_known = bool(ends) and importlib.util.find_spec("llguidance") is not None

    def processors(self, schema: Json, n_prompt: int) -> list[Any]:
        """Of the scores of one reply: one, or none."""
        if not self._is_known:
            return []
        library = importlib.import_module("llguidance")
        if self._vocabulary is None:
            read = importlib.import_module("llguidance.hf").from_tokenizer
            try:
                self._vocabulary = read(self._tokenizer, eos_token=self._ends)
            except ValueError as error:  # a tokenizer of a kind it does not know
                _log.info("replies are not held to a shape: %s", error)
                self._is_known = False
                return []
        grammar = library.LLMatcher.grammar_from_json_schema(json.dumps(schema), overrides=_WRITTEN)
        matcher = library.LLMatcher(self._vocabulary, grammar, log_level=0)
        if matcher.is_error():
            _log.info("a reply is not held to its shape: %s", matcher.get_error())
            return []
        return [_Held(matcher, self._ends, n_prompt)]


class _Held:
    """A processor of scores: those of tokens that break the shape become -inf."""

    def __init__(self, matcher: Any, ends: Sequence[int], n_prompt: int) -> None:
        self._matcher = matcher
        self._ends = list(ends)
        self._n_read = n_prompt

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores are (1, n_tokens)."""
        for token_id in input_ids[0, self._n_read :].tolist():
            self._matcher.consume_token(token_id)
            self._n_read += 1
        if self._matcher.is_error():
            _log.info("a reply is not held to its shape: %s", self._matcher.get_error())
            return scores
        allowed = torch.zeros_like(scores, dtype=torch.bool)
        if self._matcher.is_stopped():  # nothing can follow
            allowed[:, self._ends] = True
        else:
            told = torch.frombuffer(
                bytearray(self._matcher.compute_logit_bias()), dtype=torch.uint8
            )
            # Models have places beyond their vocabulary.
            n_known = min(len(told), scores.shape[-1])
            allowed[:, :n_known] = (told[:n_known] != 0).to(scores.device)
        return scores.masked_fill(~allowed, -torch.inf)
