"""Collections as a whole: exported, imported, copied, dropped."""

from __future__ import annotations

from rag.apps.service_base import ConnectionBase, ServiceBase

# The methods another process may ask the owner of a data folder for.
REMOTE_METHODS: frozenset[str] = frozenset()


class ArchiveService(ServiceBase):
    """Here, on the engine."""


class ArchiveConnection(ConnectionBase):
    """The same, from wherever the engine is."""
