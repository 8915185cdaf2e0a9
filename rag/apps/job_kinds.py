"""What a job of the queue can be: its options as they are kept, and the call that does it."""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from ingestion.events import OnEvent
from ingestion.job_run import JobRun
from rag.apps.password_file import first_line
from rag.errors import InputError
from rag.types import Json

if TYPE_CHECKING:
    from rag.apps.service import Service


class IngestJob(BaseModel):
    """`ingest`, by full paths: whoever works on it may stand in another folder.

    A password is never kept: its file is read when the job is begun.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    paths: list[str]
    metadata: Json | None = None
    readers: list[str] | None = None
    force: bool = False
    password_file: str | None = None

    def require_files(self) -> None:
        """Raises InputError `no_such_path`, before anybody waits for the job."""
        for path in self.paths:
            if not os.path.lexists(path) and not glob.has_magic(path):
                raise InputError(
                    f"there is no file or folder {Path(path).name!r}",
                    code="no_such_path",
                    next_step="Check its spelling.",
                )

    def run(self, service: Service, collection: str, on_event: OnEvent, job: JobRun) -> None:
        service.ingest(
            paths=[Path(path) for path in self.paths],
            collection=collection,
            metadata=self.metadata,
            readers=self.readers,
            force=self.force,
            password=None if self.password_file is None else first_line(Path(self.password_file)),
            on_event=on_event,
            job=job,
        )


KINDS: dict[str, type[IngestJob]] = {"ingest": IngestJob}


def parse(kind: str, options: Json) -> IngestJob:
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
