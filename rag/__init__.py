"""Octavo: questions of PDFs, answered with checked page citations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rag.apps.client import AsyncOctavo, Octavo

__all__ = ["AsyncOctavo", "Octavo"]


def __getattr__(name: str) -> Any:
    # On first use only: `import rag` stays light.
    if name in __all__:
        from rag.apps import client

        return getattr(client, name)
    raise AttributeError(f"module 'rag' has no attribute {name!r}")
