"""The queue of jobs: added, looked at, paused, cancelled, tried again, worked on."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rag.apps.job_kinds import parse
from rag.apps.job_shapes import job_told
from rag.apps.service_base import ConnectionBase, ServiceBase
from rag.errors import InputError
from rag.manifest import JobAction, JobState, require_collection_name
from rag.types import Json

# The methods another process may ask the owner of a data folder for.
REMOTE_METHODS: frozenset[str] = frozenset({"enqueue", "list_jobs", "show_job", "change_job"})

MAX_PRIORITY = 1000


class JobService(ServiceBase):
    """Here, on the engine."""

    def enqueue(
        self,
        *,
        kind: str,
        collection: str,
        options: Json,
        priority: int = 0,
        idempotency_key: str | None = None,
    ) -> Json:
        """Put a job into the queue; the same key with the same request gives the same job back.

        Args:
            kind: `ingest` or `sync`.
            collection: made by the job where there is none.
            options: of what is to be done, paths in full.
            priority: the highest goes first, -1000 to 1000.
            idempotency_key: 1 to 255 characters, kept for 24 h at least.

        Returns:
            The job, with `replayed` where it was there.

        Raises:
            InputError: `bad_job`, `no_such_path`, `bad_idempotency_key`, `idempotency_conflict`.
        """
        require_collection_name(collection)
        if not -MAX_PRIORITY <= priority <= MAX_PRIORITY:
            raise InputError(
                f"a priority is {-MAX_PRIORITY} to {MAX_PRIORITY}, got {priority}", code="bad_job"
            )
        asked = parse(kind, options)
        kept = asked.model_dump(mode="json")
        held = self._engine.repository.jobs(self._principal)
        # Whoever asks again learns of the job, also where its files are gone by now.
        given: Json = {"priority": priority, "idempotency_key": idempotency_key}
        if held.added(kind, collection, kept, **given) is None:
            asked.require_files()
        job, replayed = held.add(kind, collection, kept, **given)
        return {**job_told(job), "replayed": replayed}

    def list_jobs(self, *, state: str | None = None, limit: int | None = None) -> Json:
        """Those at work, those that wait as their turn comes, then the rest, newest first."""
        if state is not None and state not in set(JobState):
            raise InputError(
                f"no job is ever {state!r}; the states are {', '.join(JobState)}", code="bad_state"
            )
        found = [
            job
            for job in self._engine.repository.jobs(self._principal).all()
            if state in (None, job.state)
        ]
        return {"jobs": [job_told(job) for job in found[:limit]], "n_jobs": len(found)}

    def show_job(self, *, job: str) -> Json:
        """With how each of its documents ended so far. Raises NotFound `unknown_job`."""
        held = self._engine.repository.jobs(self._principal)
        documents = [each.as_dict() for each in held.documents(job)]
        return {**job_told(held.job(job)), "documents": documents}

    def change_job(self, *, job: str, action: str) -> Json:
        """`pause`, `resume`, `cancel` or `retry` a job.

        Raises:
            NotFound: `unknown_job`.
            InputError: `wrong_job_state`, `not_queued`.
        """
        if action not in set(JobAction):
            raise InputError(f"no action {action!r}; there are {', '.join(JobAction)}")
        held = self._engine.repository.jobs(self._principal)
        return job_told(held.change(job, JobAction(action)))

    def run_jobs(
        self, *, until: str = "empty", on_event: Callable[[Json], None] = lambda _: None
    ) -> Json:
        """Work on the queue of the whole data folder: until it is `empty`, on `one`, or on and on.

        `on_event` hears what JobWorker tells.
        """
        from rag.apps.job_worker import JobWorker, Until  # it stands on the service

        self._require_owner("working on the queue")
        worked_on = JobWorker(self._engine, on_event).run(Until(until))
        return {"jobs": [job_told(job) for job in worked_on]}


class JobConnection(ConnectionBase):
    """The same, from wherever the engine is."""

    def enqueue_ingest(
        self,
        paths: Sequence[Path | str],
        *,
        collection: str = "default",
        priority: int = 0,
        idempotency_key: str | None = None,
        **options: Any,
    ) -> Json:
        """See JobService.enqueue; options as `IngestJob` keeps them."""
        return self._call(
            "enqueue",
            kind="ingest",
            collection=collection,
            options={"paths": [os.path.abspath(path) for path in paths], **options},
            priority=priority,
            idempotency_key=idempotency_key,
        )

    def enqueue_sync(
        self,
        folder: Path | str,
        *,
        collection: str = "default",
        priority: int = 0,
        idempotency_key: str | None = None,
        **options: Any,
    ) -> Json:
        """See JobService.enqueue; options as `SyncJob` keeps them."""
        return self._call(
            "enqueue",
            kind="sync",
            collection=collection,
            options={"folder": os.path.abspath(folder), **options},
            priority=priority,
            idempotency_key=idempotency_key,
        )

    def list_jobs(self, *, state: str | None = None, limit: int | None = None) -> Json:
        """See JobService.list_jobs."""
        return self._call("list_jobs", state=state, limit=limit)

    def show_job(self, job: str) -> Json:
        """See JobService.show_job."""
        return self._call("show_job", job=job)

    def change_job(self, job: str, action: str) -> Json:
        """See JobService.change_job."""
        return self._call("change_job", job=job, action=action)

    def run_jobs(
        self, *, until: str = "empty", on_event: Callable[[Json], None] = lambda _: None
    ) -> Json:
        """See JobService.run_jobs.

        Raises:
            DataFolderBusy: another process owns the folder.
        """
        return self._owning().run_jobs(until=until, on_event=on_event)
