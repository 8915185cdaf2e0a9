"""Jobs as they come out of the manifest."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Self

from sqlalchemy import RowMapping

from rag.types import Json


class JobState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    PAUSING = "pausing"  # ends what it is in the middle of
    PAUSED = "paused"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    DONE = "done"
    FAILED = "failed"
    INTERRUPTED = "interrupted"  # its process went away, and it came from no queue


AT_WORK = frozenset({JobState.RUNNING, JobState.PAUSING, JobState.CANCELLING})
ENDED = frozenset({JobState.DONE, JobState.FAILED, JobState.CANCELLED, JobState.INTERRUPTED})


@dataclass(frozen=True)
class JobRequest:
    """What is to be done.

    Attributes:
        kind: `ingest` or `sync`.
        asked: its options as JSON, as whoever works on it takes them.
        subject: who asks, and alone may see the job beside the owner.
        priority: the highest goes first.
        idempotency_key: the same key with the same request is the same job.
    """

    kind: str
    collection: str
    asked: Json
    subject: str
    priority: int = 0
    idempotency_key: str | None = None


@dataclass(frozen=True)
class Job:
    """A job; what only the queue knows is None in one that never was in it.

    Attributes:
        started_at: seconds since 1970, UTC; None while nobody has begun it.
        totals: of an ingest, once it has ended.
        request: None where it came from no queue.
        n_tries: times it was begun since anything of it became durable.
    """

    job_id: str
    kind: str
    subject: str
    state: JobState
    started_at: float | None
    finished_at: float | None
    totals: Json
    collection: str | None = None
    priority: int | None = None
    request: Json | None = None
    idempotency_key: str | None = None
    queued_at: float | None = None
    progress: Json | None = None
    error: Json | None = None
    n_tries: int | None = None

    @classmethod
    def of(cls, row: RowMapping) -> Self:
        """Of a row, whatever columns it has beside these."""
        held = {each.name: row[each.name] for each in fields(cls)}
        # The column takes no null, and 1970 is no time at which a job began.
        return cls(
            **held | {"state": JobState(held["state"]), "started_at": held["started_at"] or None}
        )


@dataclass(frozen=True)
class JobDocument:
    """How one document of a job ended, by its latest try.

    Attributes:
        state: as its event says.
        pages: that the job had to do with: none of a document that was `unchanged`.
        indexed: with `blank` and `failed`, the pages.
        reused: of the indexed pages, those whose vectors were there.
    """

    document_id: str
    source: str
    state: str
    pages: int = 0
    indexed: int = 0
    blank: int = 0
    failed: int = 0
    reused: int = 0
    error: Json | None = None

    def as_dict(self) -> Json:
        return {each.name: getattr(self, each.name) for each in fields(self)}
