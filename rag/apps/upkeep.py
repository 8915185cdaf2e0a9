"""`verify` and `repair`."""

from __future__ import annotations

from rag.apps.service_base import ConnectionBase, ServiceBase

# The methods another process may ask the owner of a data folder for.
REMOTE_METHODS: frozenset[str] = frozenset()


class UpkeepService(ServiceBase):
    """Here, on the engine."""


class UpkeepConnection(ConnectionBase):
    """The same, from wherever the engine is."""
