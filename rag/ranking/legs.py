"""Legs: the searches whose scores make one ranking, and which of them a mode takes."""

from __future__ import annotations

from enum import StrEnum

Legs = dict[str, dict[str, float]]  # leg name -> record id -> score

# Legs on a scale of their own, where 0 means "nothing to say": they are never normalised.
CONTEXT = "context"
ABSOLUTE = frozenset({"document", "prior", CONTEXT})


class Mode(StrEnum):
    """`visual`: MaxSim over page vectors alone; `text`: words alone; `hybrid`: all legs."""

    HYBRID = "hybrid"
    VISUAL = "visual"
    TEXT = "text"
