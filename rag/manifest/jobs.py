"""Jobs: those that commands note of themselves, and the queue of those that wait to be done.

Every change of state is one transaction, so of many who want the same job one gets it, and what
was promised of a job still holds after its process was killed.
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Mapping, Sequence
from enum import StrEnum

from sqlalchemy import Connection, RowMapping, delete, func, insert, select, update

from rag.errors import InputError, NotFound
from rag.manifest.database import Database
from rag.manifest.job_rows import AT_WORK, ENDED, Job, JobDocument, JobRequest, JobState
from rag.manifest.schema import job_documents, jobs
from rag.types import Json

_MAX_KEY_CHARS = 255
_KEYS_KEPT_S = 24 * 3600.0
_KEPT_S = 30 * 24 * 3600.0
_MAX_ENDED = 1000
# A job that ends its process, so often in a row and without a page gained, is not begun again.
_MAX_TRIES = 3
_NEVER_BEGUN = 0.0  # the column takes no null
_TICK_S = 1e-6


class JobAction(StrEnum):
    """What may be asked of a job."""

    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    RETRY = "retry"


_S = JobState
# What becomes of a job by what is asked of it; a state that stays is asked for in vain, or is there
# already.
_BECOMES: Mapping[JobAction, Mapping[JobState, JobState]] = {
    JobAction.PAUSE: {
        _S.QUEUED: _S.PAUSED,
        _S.RUNNING: _S.PAUSING,
        _S.PAUSING: _S.PAUSING,
        _S.PAUSED: _S.PAUSED,
    },
    JobAction.RESUME: {
        _S.PAUSED: _S.QUEUED,
        _S.PAUSING: _S.RUNNING,
        _S.RUNNING: _S.RUNNING,
        _S.QUEUED: _S.QUEUED,
    },
    JobAction.CANCEL: {
        _S.QUEUED: _S.CANCELLED,
        _S.PAUSED: _S.CANCELLED,
        _S.RUNNING: _S.CANCELLING,
        _S.PAUSING: _S.CANCELLING,
        _S.CANCELLING: _S.CANCELLING,
        _S.CANCELLED: _S.CANCELLED,
    },
    JobAction.RETRY: {
        _S.FAILED: _S.QUEUED,
        _S.CANCELLED: _S.QUEUED,
        _S.INTERRUPTED: _S.QUEUED,
        _S.DONE: _S.QUEUED,
        _S.QUEUED: _S.QUEUED,
    },
}
# A job that its worker let go of before it was done.
_LET_GO: Mapping[JobState, JobState] = {
    _S.PAUSING: _S.PAUSED,
    _S.CANCELLING: _S.CANCELLED,
    _S.RUNNING: _S.QUEUED,
}
_WORTH_ANOTHER_TRY = ("failed", "partial", "refused")  # documents


class ManifestJobs(Database):
    """The jobs of a data folder."""

    # --- those that commands note of themselves -------------------------------------------------
    def start_job(self, kind: str, *, subject: str, collection: str | None = None) -> str:
        """A job that is under way from now on, in this process; returns its id."""
        job_id = _new_id()
        with self._writing() as connection:
            connection.execute(
                insert(jobs).values(
                    job_id=job_id,
                    kind=kind,
                    subject=subject,
                    collection=collection,
                    state=JobState.RUNNING,
                    started_at=time.time(),
                    totals={},
                )
            )
        return job_id

    def finish_job(
        self,
        job_id: str,
        *,
        state: str,
        totals: Json,
        progress: Json | None = None,
        error: Json | None = None,
    ) -> None:
        with self._writing() as connection:
            connection.execute(
                update(jobs)
                .where(jobs.c.job_id == job_id)
                .values(
                    state=JobState(state),
                    finished_at=time.time(),
                    totals=totals,
                    progress=progress,
                    error=error,
                )
            )

    # --- looking --------------------------------------------------------------------------------
    def jobs(self) -> list[Job]:
        """Those at work, those that wait as their turn comes, then the rest, newest first."""
        with self._reading() as connection:
            found = [Job.of(row) for row in connection.execute(select(jobs)).mappings()]
        waiting = sorted((job for job in found if job.state is JobState.QUEUED), key=_turn)
        others = sorted(
            (job for job in found if job.state is not JobState.QUEUED),
            key=lambda job: (-(job.queued_at or job.started_at or 0.0), job.job_id),
        )
        at_work = [job for job in others if job.state in AT_WORK]
        return at_work + waiting + [job for job in others if job.state not in AT_WORK]

    def job(self, job_id: str) -> Job | None:
        with self._reading() as connection:
            row = _row(connection, job_id)
            return None if row is None else Job.of(row)

    def job_documents(self, job_id: str) -> list[JobDocument]:
        """How its documents ended so far, by source."""
        with self._reading() as connection:
            found = connection.execute(
                select(job_documents)
                .where(job_documents.c.job_id == job_id)
                .order_by(job_documents.c.source, job_documents.c.document_id)
            ).mappings()
            return [
                JobDocument(**{key: row[key] for key in row if key != "job_id"}) for row in found
            ]

    # --- the queue ------------------------------------------------------------------------------
    def enqueue_job(self, request: JobRequest) -> tuple[Job, bool]:
        """Put a job at the end of those of its priority; old jobs that have ended are forgotten.

        Returns:
            The job, and whether it was there: the same key was given with the same request.

        Raises:
            InputError: `bad_idempotency_key`, `idempotency_conflict`.
        """
        _require_key(request.idempotency_key)
        with self._writing() as connection:
            held = _held_by_key(connection, request)
            if held is not None:
                return Job.of(held), True
            _forget_old(connection)
            job_id = _new_id()
            connection.execute(
                insert(jobs).values(
                    job_id=job_id,
                    kind=request.kind,
                    collection=request.collection,
                    subject=request.subject,
                    state=JobState.QUEUED,
                    priority=request.priority,
                    request=request.asked,
                    idempotency_key=request.idempotency_key,
                    queued_at=_end_of_queue(connection),
                    started_at=_NEVER_BEGUN,
                    totals={},
                    n_tries=0,
                )
            )
            return _known(connection, job_id), False

    def job_by_key(self, request: JobRequest) -> Job | None:
        """The job that enqueueing this would give back. Raises as `enqueue_job`."""
        _require_key(request.idempotency_key)
        with self._reading() as connection:
            held = _held_by_key(connection, request)
            return None if held is None else Job.of(held)

    def claim_job(self) -> Job | None:
        """Begin the job whose turn it is: the highest priority, then the one that waits longest.

        Of each collection one job is at work at a time, so that no document is in two.
        """
        with self._writing() as connection:
            rows = connection.execute(
                select(jobs).where(jobs.c.state.in_([*AT_WORK, JobState.QUEUED]))
            ).mappings()
            found = [Job.of(row) for row in rows]
            busy = {job.collection for job in found if job.state in AT_WORK}
            waiting = [
                job for job in found if job.state is JobState.QUEUED and job.collection not in busy
            ]
            if not waiting:
                return None
            job = min(waiting, key=_turn)
            connection.execute(
                update(jobs)
                .where(jobs.c.job_id == job.job_id)
                .values(
                    state=JobState.RUNNING,
                    started_at=job.started_at or time.time(),
                    n_tries=(job.n_tries or 0) + 1,
                )
            )
            return _known(connection, job.job_id)

    def is_job_wanted(self, job_id: str) -> bool:
        """Whether whoever works on it should go on."""
        with self._reading() as connection:
            state = connection.scalar(select(jobs.c.state).where(jobs.c.job_id == job_id))
            return state == JobState.RUNNING

    def note_progress(
        self, job_id: str, progress: Json, ended: Sequence[JobDocument], *, is_further: bool
    ) -> None:
        """Keep how far a job is, and how documents ended since.

        Args:
            job_id: of a job at work.
            progress: all of it.
            ended: a document that had ended before ends anew.
            is_further: something became durable that was not before this try.
        """
        with self._writing() as connection:
            tries = {"n_tries": 1} if is_further else {}
            connection.execute(
                update(jobs).where(jobs.c.job_id == job_id).values(progress=progress, **tries)
            )
            if not ended:
                return
            latest = {each.document_id: each for each in ended}
            connection.execute(
                delete(job_documents)
                .where(job_documents.c.job_id == job_id)
                .where(job_documents.c.document_id.in_(latest))
            )
            connection.execute(
                insert(job_documents),
                [{"job_id": job_id, **each.as_dict()} for each in latest.values()],
            )

    def let_go_of_job(self, job_id: str) -> Job:
        """Its worker stops before it is done: paused or cancelled as was asked, or queued again."""
        with self._writing() as connection:
            job = _known(connection, job_id)
            state = _LET_GO[job.state]
            connection.execute(
                update(jobs)
                .where(jobs.c.job_id == job_id)
                .values(
                    state=state,
                    n_tries=0,
                    finished_at=time.time() if state in ENDED else None,
                )
            )
            return _known(connection, job_id)

    def change_job(self, job_id: str, action: JobAction) -> Job:
        """Do what was asked of a job; what holds already is asked for again without harm.

        Raises:
            NotFound: `unknown_job`.
            InputError: `not_queued` for a command's own job; `wrong_job_state`.
        """
        with self._writing() as connection:
            job = _known(connection, job_id)
            _require_queued(job)
            state = _BECOMES[action].get(job.state)
            if state is None:
                raise InputError(
                    f"job {job_id} is {job.state} and cannot be asked to {action}",
                    code="wrong_job_state",
                    next_step=_way_on(job),
                )
            if state is job.state:
                return job
            if action is JobAction.RETRY:
                _require_worth(job)
            changes: Json = {"state": state}
            if state in ENDED:
                changes["finished_at"] = time.time()
            if action is JobAction.RETRY:
                changes |= {
                    "finished_at": None,
                    "error": None,
                    "n_tries": 0,
                    "queued_at": _end_of_queue(connection),
                }
            connection.execute(update(jobs).where(jobs.c.job_id == job_id).values(**changes))
            return _known(connection, job_id)

    def recover_jobs(self) -> list[Job]:
        """What to do with jobs at work whose process is gone; call it when the folder is opened.

        Returns:
            Those that changed.
        """
        with self._writing() as connection:
            rows = connection.execute(select(jobs).where(jobs.c.state.in_(AT_WORK))).mappings()
            left = [Job.of(row) for row in rows]
            for job in left:
                connection.execute(
                    update(jobs).where(jobs.c.job_id == job.job_id).values(**_recovered(job))
                )
            return [_known(connection, job.job_id) for job in left]


def _new_id() -> str:
    return uuid.uuid4().hex[:16]


def _turn(job: Job) -> tuple[int, float, str]:
    return -(job.priority or 0), job.queued_at or 0.0, job.job_id


def _row(connection: Connection, job_id: str) -> RowMapping | None:
    return connection.execute(select(jobs).where(jobs.c.job_id == job_id)).mappings().first()


def _known(connection: Connection, job_id: str) -> Job:
    row = _row(connection, job_id)
    if row is None:
        raise unknown_job(job_id)
    return Job.of(row)


def unknown_job(job_id: str) -> NotFound:
    return NotFound(
        f"there is no job {job_id!r}", code="unknown_job", next_step="See `octavo jobs list`."
    )


def _end_of_queue(connection: Connection) -> float:
    """Now; or right after the last one, where the clock was set back."""
    last = connection.scalar(select(func.max(jobs.c.queued_at)))
    return time.time() if last is None else max(time.time(), last + _TICK_S)


def _recovered(job: Job) -> Json:
    if job.request is None:
        return {"state": JobState.INTERRUPTED, "finished_at": time.time()}
    if job.state is not JobState.RUNNING:
        state = _LET_GO[job.state]
        return {"state": state, "finished_at": time.time() if state in ENDED else None}
    if (job.n_tries or 0) < _MAX_TRIES:
        return {"state": JobState.QUEUED}
    return {
        "state": JobState.FAILED,
        "finished_at": time.time(),
        "error": {
            "code": "job_ended_its_process",
            "message": f"the process that worked on it ended {job.n_tries} times in a row, and "
            "nothing more became durable",
            "next_step": "Ingest its files one by one to find the one that does it, or give the "
            f"process more memory; then `octavo jobs retry {job.job_id}`.",
        },
    }


def _require_queued(job: Job) -> None:
    if job.request is None:
        raise InputError(
            f"job {job.job_id} is that of a command and came from no queue",
            code="not_queued",
            next_step="Stop the command, or run it again; what was ingested stays.",
        )


def _require_worth(job: Job) -> None:
    counts = job.totals.get("documents", {})
    if job.state is JobState.DONE and not any(counts.get(each) for each in _WORTH_ANOTHER_TRY):
        raise InputError(
            f"job {job.job_id} is done, and nothing of it failed",
            code="wrong_job_state",
            next_step="Put a new job into the queue to ingest what has changed since.",
        )


def _way_on(job: Job) -> str:
    match job.state:
        case JobState.PAUSED | JobState.PAUSING:
            return f"Use `octavo jobs resume {job.job_id}`."
        case JobState.FAILED | JobState.CANCELLED | JobState.INTERRUPTED:
            return f"Use `octavo jobs retry {job.job_id}`."
        case JobState.RUNNING:
            return f"Wait for it, or use `octavo jobs cancel {job.job_id}`."
        case JobState.CANCELLING:
            return "Wait until it has ended, then try again."
        case _:
            return f"See `octavo jobs show {job.job_id}`."


# --- idempotency --------------------------------------------------------------------------------
def _require_key(key: str | None) -> None:
    if key is not None and not (1 <= len(key) <= _MAX_KEY_CHARS and key.isprintable()):
        raise InputError(
            f"an idempotency key has 1 to {_MAX_KEY_CHARS} printable characters, got {len(key)}",
            code="bad_idempotency_key",
            next_step="Use a random one, such as a UUID, for each thing that is to be done once.",
        )


def _held_by_key(connection: Connection, request: JobRequest) -> RowMapping | None:
    """The job of that key; keys of others are not looked at. Raises InputError."""
    if request.idempotency_key is None:
        return None
    held = (
        connection.execute(
            select(jobs)
            .where(jobs.c.idempotency_key == request.idempotency_key)
            .where(jobs.c.subject == request.subject)
        )
        .mappings()
        .first()
    )
    if held is None:
        return None
    asked = _digest(request.kind, request.collection, request.priority, request.asked)
    if _digest(held["kind"], held["collection"], held["priority"], held["request"]) != asked:
        raise InputError(
            f"the idempotency key {request.idempotency_key!r} was given with another request, "
            f"that of job {held['job_id']}",
            code="idempotency_conflict",
            next_step="Use a new key for a new request.",
        )
    return held


def _digest(kind: str, collection: str | None, priority: int | None, asked: Json) -> str:
    """Equal for requests that ask for the same: the order of paths and readers says nothing."""
    normal = {
        key: sorted(map(str, value)) if isinstance(value, list) else value
        for key, value in asked.items()
    }
    written = json.dumps([kind, collection, priority, normal], sort_keys=True)
    return hashlib.sha256(written.encode()).hexdigest()


def _forget_old(connection: Connection) -> None:
    """Ended jobs, after 30 days or beyond the last thousand; never one whose key is of today."""
    now = time.time()
    ended = connection.execute(
        select(jobs.c.job_id, jobs.c.finished_at, jobs.c.queued_at, jobs.c.idempotency_key)
        .where(jobs.c.state.in_(ENDED))
        .order_by(jobs.c.finished_at.desc())
    ).all()
    forgotten = [
        row.job_id
        for place, row in enumerate(ended)
        if (place >= _MAX_ENDED or (row.finished_at or 0.0) < now - _KEPT_S)
        and (row.idempotency_key is None or row.queued_at < now - _KEYS_KEPT_S)
    ]
    for start in range(0, len(forgotten), _MAX_ENDED):
        connection.execute(
            delete(jobs).where(jobs.c.job_id.in_(forgotten[start : start + _MAX_ENDED]))
        )
