"""Jobs as one principal may see them, and the queue as whoever works on it does."""

from __future__ import annotations

from collections.abc import Sequence

from rag.manifest import Job, JobAction, JobDocument, JobRequest, Manifest, unknown_job
from rag.types import Json, Principal


class PrincipalJobs:
    """The jobs of one principal; those of others are not there. Thread-safe.

    The owner of the data folder sees all jobs.
    """

    def __init__(self, principal: Principal, manifest: Manifest) -> None:
        self._principal = principal
        self._manifest = manifest

    def add(
        self,
        kind: str,
        collection: str,
        asked: Json,
        *,
        priority: int = 0,
        idempotency_key: str | None = None,
    ) -> tuple[Job, bool]:
        """See Manifest.enqueue_job; the job will run as this principal."""
        request = self._request(kind, collection, asked, priority, idempotency_key)
        return self._manifest.enqueue_job(request)

    def added(
        self,
        kind: str,
        collection: str,
        asked: Json,
        *,
        priority: int = 0,
        idempotency_key: str | None = None,
    ) -> Job | None:
        """The job that `add` would give back. Raises as it does."""
        request = self._request(kind, collection, asked, priority, idempotency_key)
        return self._manifest.job_by_key(request)

    def all(self) -> list[Job]:
        """See Manifest.jobs."""
        return [job for job in self._manifest.jobs() if self._may_see(job)]

    def job(self, job_id: str) -> Job:
        """Raises NotFound `unknown_job`, for those of others as for none."""
        found = self._manifest.job(job_id)
        if found is None or not self._may_see(found):
            raise unknown_job(job_id)
        return found

    def documents(self, job_id: str) -> list[JobDocument]:
        """How they ended so far, by source. Raises NotFound."""
        self.job(job_id)
        return self._manifest.job_documents(job_id)

    def change(self, job_id: str, action: JobAction) -> Job:
        """See Manifest.change_job."""
        self.job(job_id)
        return self._manifest.change_job(job_id, action)

    def _may_see(self, job: Job) -> bool:
        return self._principal.is_owner or job.subject == self._principal.subject

    def _request(
        self,
        kind: str,
        collection: str,
        asked: Json,
        priority: int,
        idempotency_key: str | None,
    ) -> JobRequest:
        who: Json = {
            "subject": self._principal.subject,
            "groups": sorted(self._principal.groups),
            "is_owner": self._principal.is_owner,
        }
        return JobRequest(
            kind=kind,
            collection=collection,
            asked=asked | {_PRINCIPAL: who},
            subject=self._principal.subject,
            priority=priority,
            idempotency_key=idempotency_key,
        )


_PRINCIPAL = "principal"  # beside the options of a request


def asker_of(job: Job) -> Principal:
    """Who put a job into the queue, and as whom it runs."""
    who = (job.request or {})[_PRINCIPAL]
    return Principal(who["subject"], frozenset(who["groups"]), is_owner=who["is_owner"])


def options_of(job: Job) -> Json:
    """What is to be done, without who asked."""
    return {key: value for key, value in (job.request or {}).items() if key != _PRINCIPAL}


class WorkQueue:
    """All jobs, for whoever works on them; each runs as the principal who asked. Thread-safe."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest

    def claim(self) -> Job | None:
        """See Manifest.claim_job."""
        return self._manifest.claim_job()

    def is_wanted(self, job_id: str) -> bool:
        """See Manifest.is_job_wanted."""
        return self._manifest.is_job_wanted(job_id)

    def documents(self, job_id: str) -> list[JobDocument]:
        """How its documents ended so far."""
        return self._manifest.job_documents(job_id)

    def note_progress(
        self, job_id: str, progress: Json, ended: Sequence[JobDocument], *, is_further: bool
    ) -> None:
        """See Manifest.note_progress."""
        self._manifest.note_progress(job_id, progress, ended, is_further=is_further)

    def finish(
        self, job_id: str, *, state: str, totals: Json, progress: Json, error: Json | None
    ) -> Job:
        """It is done, or failed as a whole."""
        self._manifest.finish_job(
            job_id, state=state, totals=totals, progress=progress, error=error
        )
        job = self._manifest.job(job_id)
        assert job is not None, "a job at work is not forgotten"
        return job

    def let_go(self, job_id: str) -> Job:
        """See Manifest.let_go_of_job."""
        return self._manifest.let_go_of_job(job_id)

    def recover(self) -> list[Job]:
        """See Manifest.recover_jobs."""
        return self._manifest.recover_jobs()
