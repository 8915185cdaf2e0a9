"""The queue of jobs: added, looked at, paused, cancelled, tried again, worked on."""

from __future__ import annotations

from rag.apps.service_base import ConnectionBase, ServiceBase

# The methods another process may ask the owner of a data folder for.
REMOTE_METHODS: frozenset[str] = frozenset()


class JobService(ServiceBase):
    """Here, on the engine."""


class JobConnection(ConnectionBase):
    """The same, from wherever the engine is."""
