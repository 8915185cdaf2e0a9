"""Chooses implementations, and builds what one process needs of them; nowhere else does."""

from rag.wiring.engine import Engine
from rag.wiring.indexes import upkeep_index
from rag.wiring.models import (
    cascade_widths,
    fde_spec,
    load_chat,
    load_encoder,
    load_encoder_here,
    packed_search,
)

__all__ = [
    "Engine",
    "cascade_widths",
    "fde_spec",
    "load_chat",
    "load_encoder",
    "load_encoder_here",
    "packed_search",
    "upkeep_index",
]
