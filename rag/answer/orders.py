"""Sentences that give orders or speak to whoever answers: no answer is taken from them."""

from __future__ import annotations

import re

_GIVES_ORDERS = re.compile(
    r"\b(?:ignore|disregard|forget|override)\b.{0,40}"
    r"\b(?:instructions?|prompts?|rules|previous|above|documents?|pages?|context)\b"
    r"|^\W*(?:system|assistant|user|developer)\s*:|(?-i:\b(?:SYSTEM|Assistant|ASSISTANT)\s*:)"
    r"|\b(?:END OF PAGE|BEGIN PROMPT|system prompt)\b|</?(?:page|system|evidence|source)s?\b"
    r"|^\W*(?:answer|reply|respond|say|output|print)\s+(?:only|with|that|always|exactly|[A-Z0-9])"
    r"|\band (?:answer|reply|respond|say)\s*:"
    r"|\b(?:correct )?answer (?:to (?:every|all|any|each|this) (?:questions?|prompts?)\b|is X\b)"
    r"|\bcite (?:page|this page|source)\b.*\bproof\b"
    r"|\byou (?:are|must act as) (?:an? |now )?(?:\w+ )?(?:assistant|language model|chatbot|AI)\b",
    re.IGNORECASE,
)


def gives_orders(sentence: str) -> bool:
    """Whether a sentence tells its reader, or a model, what to answer or to leave out."""
    return _GIVES_ORDERS.search(sentence) is not None
