"""Documents that follow their files: `sync`, changed metadata and readers, versions."""

from __future__ import annotations

from rag.apps.service_base import ConnectionBase, ServiceBase

# The methods another process may ask the owner of a data folder for.
REMOTE_METHODS: frozenset[str] = frozenset()


class LifecycleService(ServiceBase):
    """Here, on the engine."""


class LifecycleConnection(ConnectionBase):
    """The same, from wherever the engine is."""
