"""A job as JSON, in the shape of the interface."""

from __future__ import annotations

from rag.manifest import Job
from rag.repository import options_of
from rag.types import Json


def job_told(job: Job) -> Json:
    """What is there of any job comes first; what only the queue knows is null in others."""
    return {
        "job_id": job.job_id,
        "kind": job.kind,
        "collection": job.collection,
        "state": str(job.state),
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "totals": job.totals,
        "queued_at": job.queued_at,
        "priority": job.priority,
        "idempotency_key": job.idempotency_key,
        "n_tries": job.n_tries,
        "progress": None
        if job.progress is None
        else {key: value for key, value in job.progress.items() if key != "under_way"},
        "error": job.error,
        "request": None if job.request is None else options_of(job),
    }
