"""What every part of the service and of a connection to it stands on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rag.errors import InputError
from rag.settings import Settings
from rag.types import Json, Principal
from rag.wiring import Engine

if TYPE_CHECKING:
    from rag.apps.service import Service


class ServiceBase:
    """One engine, used by one principal."""

    def __init__(self, engine: Engine, principal: Principal) -> None:
        self._engine = engine
        self._principal = principal

    @property
    def settings(self) -> Settings:
        return self._engine.settings

    def _require_owner(self, what: str) -> None:
        """Raises InputError `not_permitted`: it is about the whole folder, whoever has a part."""
        if not self._principal.is_owner:
            raise InputError(
                f"{what} is for the owner of the data folder",
                code="not_permitted",
                next_step="Ask whoever runs it.",
            )


class ConnectionBase(ABC):
    """The two ways to a service: wherever it is, or here because this process owns the folder."""

    _settings: Settings

    @abstractmethod
    def _call(
        self, method: str, on_event: Callable[[Json], None] | None = None, **params: Any
    ) -> Json:
        """A method of the service, here or in the process that owns the folder."""

    @abstractmethod
    def _owning(self) -> Service:
        """The service of this process, once it owns the folder. Raises DataFolderBusy."""
