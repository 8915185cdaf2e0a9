"""Tokens that answers took, and what they cost where the prices are known. No price is made up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rag.errors import InputError
from rag.types import Json, TokenUsage


@dataclass(frozen=True)
class Prices:
    """Of a million tokens, in whatever currency.

    Attributes:
        cached: of tokens of the prompt that the server had read before; None is as `prompt`.
    """

    prompt: float
    completion: float
    cached: float | None = None

    def __post_init__(self) -> None:
        if min(self.prompt, self.completion, self.cached or 0.0) < 0:
            raise InputError(f"prices are not below zero, got {self}")

    def of(self, usage: TokenUsage) -> float:
        cached = self.prompt if self.cached is None else self.cached
        return (
            (usage.prompt - usage.cached) * self.prompt
            + usage.cached * cached
            + usage.completion * self.completion
        ) / 1e6

    def as_dict(self) -> Json:
        return {"prompt": self.prompt, "completion": self.completion, "cached": self.cached}


def prices_given(
    prompt: float | None, completion: float | None, cached: float | None = None
) -> Prices | None:
    """None where none is given.

    Raises:
        InputError: one of the prices of prompt and completion without the other.
    """
    if prompt is None and completion is None and cached is None:
        return None
    if prompt is None or completion is None:
        raise InputError(
            "a cost wants the prices of both the prompt and the completion",
            next_step="Give both, a million tokens each, or none.",
        )
    return Prices(prompt, completion, cached)


def usage_of(row: Mapping[str, Any]) -> TokenUsage | None:
    """Of an answer in the shape of `octavo ask --json`; None where nobody counted."""
    told = row.get("usage")
    if not told:
        return None
    return TokenUsage(
        told["prompt_tokens"], told["completion_tokens"], told.get("cached_tokens", 0)
    )


def summed(usages: Iterable[TokenUsage]) -> TokenUsage:
    prompt = completion = cached = 0
    for each in usages:
        prompt, completion = prompt + each.prompt, completion + each.completion
        cached += each.cached
    return TokenUsage(prompt, completion, cached)


def spending(rows: Iterable[Mapping[str, Any]], prices: Prices | None) -> Json:
    """`tokens` and `cost` of answers, whenever they were asked; as `spent`."""
    return spent([usage for row in rows if (usage := usage_of(row)) is not None], prices)


def spent(usages: Iterable[TokenUsage], prices: Prices | None) -> Json:
    """`tokens`: in all, and of how many (`n`) they were counted; `cost`: None without prices."""
    counted = list(usages)
    whole, n = summed(counted), len(counted)
    tokens = {"prompt": whole.prompt, "completion": whole.completion, "cached": whole.cached}
    cost = None
    if prices is not None and n:
        value = prices.of(whole)
        cost = {"value": value, "mean": value / n, "n": n, "prices_a_million": prices.as_dict()}
    return {"tokens": {**tokens, "n": n}, "cost": cost}
