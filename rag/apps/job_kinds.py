"""What a job of the queue can be: its options as they are kept, and the call that does it."""

from __future__ import annotations

import glob
import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ingestion.events import OnEvent
from ingestion.job_run import JobRun
from ingestion.source import printable
from rag.apps.password_file import first_line
from rag.errors import InputError
from rag.types import Json

if TYPE_CHECKING:
    from rag.apps.service import Service


class _JobOptions(BaseModel, ABC):
    """Of every kind of job; paths are full ones: whoever works on it may stand in another folder.

    A password is never kept: its file is read when the job is begun.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    metadata: Json | None = None
    readers: list[str] | None = None
    force: bool = False
    retry_failed: bool = False
    password_file: str | None = None

    @abstractmethod
    def require_files(self) -> None:
        """Raises InputError `no_such_path`, before anybody waits for the job."""

    @abstractmethod
    def run(self, service: Service, collection: str, on_event: OnEvent, job: JobRun) -> Json:
        """The totals."""

    @property
    def _of_documents(self) -> dict[str, Any]:
        return {
            "metadata": self.metadata,
            "readers": self.readers,
            "force": self.force,
            "retry_failed": self.retry_failed,
            "password": None
            if self.password_file is None
            else first_line(Path(self.password_file)),
        }


class IngestJob(_JobOptions):
    """As `octavo ingest`."""

    paths: list[str] = Field(min_length=1)

    def require_files(self) -> None:
        for path in self.paths:
            _require_there(path)

    def run(self, service: Service, collection: str, on_event: OnEvent, job: JobRun) -> Json:
        return service.ingest(
            paths=[Path(path) for path in self.paths],
            collection=collection,
            on_event=on_event,
            job=job,
            **self._of_documents,
        )


class SyncJob(_JobOptions):
    """As `octavo sync`."""

    folder: str
    prune: bool = False
    prune_all: bool = False

    def require_files(self) -> None:
        _require_there(self.folder)

    def run(self, service: Service, collection: str, on_event: OnEvent, job: JobRun) -> Json:
        return service.sync(
            folder=Path(self.folder),
            collection=collection,
            prune=self.prune,
            prune_all=self.prune_all,
            on_event=on_event,
            job=job,
            **self._of_documents,
        )


def _require_there(path: str) -> None:
    if not os.path.lexists(path) and not glob.has_magic(path):
        raise InputError(
            f"there is no file or folder {printable(Path(path).name)!r}",
            code="no_such_path",
            next_step="Check its spelling.",
        )


JobOptions = IngestJob | SyncJob
KINDS: dict[str, type[JobOptions]] = {"ingest": IngestJob, "sync": SyncJob}


def parse(kind: str, options: Json) -> JobOptions:
    """Raises InputError `unknown_job_kind`, or `bad_job` for options that it does not take."""
    if kind not in KINDS:
        raise InputError(
            f"no job of kind {kind!r}; there are: {', '.join(KINDS)}", code="unknown_job_kind"
        )
    try:
        return KINDS[kind].model_validate(options)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(f"{where}: {first['msg']}", code="bad_job") from error
