"""A job while it is worked on: whether it should stop, and how far it is, added up over its tries.

A document counts by its latest try in the job, so what an earlier try made and a later one finds
unchanged is still what the job made.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Protocol

from ingestion.events import OnEvent
from rag.manifest import Job, JobDocument
from rag.repository import CollectionWriter, WorkQueue
from rag.types import Json

_LOOK_EVERY_S = 0.2
_SAVE_EVERY_S = 1.0
# Documents of whose pages the job made something, or tried to.
_WITH_PAGES = frozenset({"indexed", "replaced", "partial", "failed"})
_MADE = frozenset({"indexed", "replaced", "partial"})


class JobRun(Protocol):
    """What an ingest knows of the job that it is."""

    @property
    def job_id(self) -> str: ...

    def begin(self, document_ids: Sequence[str]) -> None:
        """These documents are to be looked at, in this order."""

    def should_stop(self) -> bool:
        """Whether no more pages should be begun; what is on its way is still stored."""

    @property
    def is_stopped(self) -> bool:
        """Whether `should_stop` has said so."""

    def has_made(self, document_id: str) -> bool:
        """Whether an earlier try made the document: nothing needs to be forced again."""

    def wants_again(self, document_id: str) -> bool:
        """Whether the document is to be looked at again although it is unchanged."""

    def end(self, *, state: str, totals: Json) -> None:
        """The ingest has ended, or broken off."""


class CommandRun:
    """The job of a command, which nobody pauses; noted from its begin to its end."""

    is_stopped = False

    def __init__(self, writer: CollectionWriter, kind: str) -> None:
        self._writer = writer
        self.job_id = writer.start_job(kind)

    def begin(self, document_ids: Sequence[str]) -> None:
        """Nobody is told."""

    def should_stop(self) -> bool:
        return False

    def has_made(self, document_id: str) -> bool:  # noqa: ARG002 - it has no earlier try
        return False

    def wants_again(self, document_id: str) -> bool:  # noqa: ARG002 - it has no earlier try
        return False

    def end(self, *, state: str, totals: Json) -> None:
        self._writer.finish_job(self.job_id, state=state, totals=totals)


class QueuedRun:
    """One try of a job of the queue.

    Args:
        job: claimed.
        queue: that it was claimed from.
        on_event: hears what the ingest tells.
        stopping: set when the worker should let go of the job.

    Attributes:
        totals_told: of this try alone.
    """

    def __init__(
        self,
        job: Job,
        queue: WorkQueue,
        on_event: OnEvent = lambda _: None,
        *,
        stopping: threading.Event,
    ) -> None:
        self.job_id = job.job_id
        self.is_stopped = False
        self._queue = queue
        self._on_event = on_event
        self._stopping = stopping
        self._documents = {each.document_id: each for each in queue.documents(job.job_id)}
        self._again = {each.document_id for each in self._documents.values() if each.failed}
        self._made = {each.document_id for each in self._documents.values() if each.state in _MADE}
        self._counted = _Counted(self._documents.values())
        held = job.progress or {}
        self._announced: frozenset[str] = frozenset()
        self._seconds_before: float = held.get("seconds", 0.0)
        # Of the document that an earlier try was in the middle of, until one is begun in this try.
        self._under_way: tuple[str, int, int] = tuple(held.get("under_way") or ("", 0, 0))
        self._start_s = time.monotonic()
        self._looked_s = self._saved_s = -float("inf")
        self._unsaved: list[JobDocument] = []
        self._is_further = False
        self.totals_told: Json = {}

    def begin(self, document_ids: Sequence[str]) -> None:
        self._announced = frozenset(document_ids)
        self._save()

    def should_stop(self) -> bool:
        """Asks the queue a few times a second; called by the thread that reads."""
        if not self.is_stopped and time.monotonic() - self._looked_s >= _LOOK_EVERY_S:
            self.is_stopped = not self._queue.is_wanted(self.job_id)
            self._looked_s = time.monotonic()
        self.is_stopped = self.is_stopped or self._stopping.is_set()
        return self.is_stopped

    def has_made(self, document_id: str) -> bool:
        return document_id in self._made

    def wants_again(self, document_id: str) -> bool:
        return document_id in self._again

    def end(self, *, state: str, totals: Json) -> None:  # noqa: ARG002 - the worker says the state
        self.totals_told = totals

    def hear(self, event: Json) -> None:
        """Take note of what the ingest tells, and hand it on."""
        if event["event"] == "progress":
            self._hear_progress(event)
        elif event["event"] == "document":
            self._hear_document(event)
        if time.monotonic() - self._saved_s >= _SAVE_EVERY_S:
            self._save()
        self._on_event(event)

    def _hear_progress(self, event: Json) -> None:
        under_way = (event["document_id"], event["pages_done"], event["pages_total"])
        if under_way[1] > self._under_way[1] and under_way[0] == self._under_way[0]:
            self._is_further = True
        self._under_way = under_way

    def _hear_document(self, event: Json) -> None:
        ended = job_document(event)
        if ended.document_id == self._under_way[0]:
            self._under_way = ("", 0, 0)
        before = self._documents.get(ended.document_id)
        if ended.state == "unchanged" and before is not None and before.state in _MADE:
            return
        self._documents[ended.document_id] = ended
        self._counted.replace(before, ended)
        self._unsaved.append(ended)
        if ended.state in _MADE:
            self._is_further = True
        if ended.state != "unchanged":  # after a kill those are found so again
            self._save()

    @property
    def seconds(self) -> float:
        """Of work, in this try and those before."""
        return self._seconds_before + time.monotonic() - self._start_s

    def progress(self, *, is_done: bool = False) -> Json:
        """How far the job is.

        `pages_total` is what is known so far: of documents that have ended, or are under way.
        `indexed`, `blank` and `failed` count pages and add up to `pages_done`, but for those of the
        document under way; `refused` and `unchanged` count documents.
        """
        document_id, pages_done, pages_total = self._under_way
        is_counted = not document_id or document_id in self._documents or is_done
        pages, states = self._counted.pages, self._counted.states
        to_come = 0 if is_done else len(self._announced - self._documents.keys())
        return {
            "documents_done": len(self._documents),
            "documents_total": len(self._documents) + to_come,
            "pages_done": pages["pages"] + (0 if is_counted else pages_done),
            "pages_total": pages["pages"] + (0 if is_counted else pages_total),
            "indexed": pages["indexed"],
            "blank": pages["blank"],
            "failed": pages["failed"],
            "refused": states["refused"],
            "unchanged": states["unchanged"],
            "reused_pages": pages["reused"],
            "seconds": round(self.seconds, 3),
            "documents": dict(sorted(states.items())),
            **({} if is_counted else {"under_way": list(self._under_way)}),
        }

    def totals(self) -> Json:
        """As an ingest's, of all tries together; encoder and warnings are those of the last one."""
        progress = self.progress(is_done=True)
        return {
            **self.totals_told,
            "event": "totals",
            "job_id": self.job_id,
            "documents": progress["documents"],
            "pages": {key: progress[key] for key in ("indexed", "blank", "failed")},
            "reused_pages": progress["reused_pages"],
            "seconds": progress["seconds"],
        }

    def save(self) -> None:
        """Keep how far it is now."""
        self._save()

    def _save(self) -> None:
        self._queue.note_progress(
            self.job_id, self.progress(), self._unsaved, is_further=self._is_further
        )
        self._saved_s = time.monotonic()
        self._unsaved = []
        self._is_further = False


class _Counted:
    """Documents by state and their pages, kept up to date as documents end anew."""

    def __init__(self, documents: Iterable[JobDocument]) -> None:
        self.states: Counter[str] = Counter()
        self.pages: Counter[str] = Counter()
        for each in documents:
            self._add(each, 1)

    def replace(self, before: JobDocument | None, after: JobDocument) -> None:
        if before is not None:
            self._add(before, -1)
        self._add(after, 1)

    def _add(self, document: JobDocument, times: int) -> None:
        self.states[document.state] += times
        if not self.states[document.state]:
            del self.states[document.state]
        for name in ("pages", "indexed", "blank", "failed", "reused"):
            self.pages[name] += times * getattr(document, name)


def job_document(event: Json) -> JobDocument:
    """How a document ended, of its event."""
    blank, failed = len(event["blank_pages"]), len(event["failed_pages"])
    has_pages = event["state"] in _WITH_PAGES
    return JobDocument(
        document_id=event["document_id"] or event["source"],
        source=event["source"],
        state=event["state"],
        pages=event["pages"] if has_pages else 0,
        indexed=event["pages"] - blank - failed if has_pages else 0,
        blank=blank if has_pages else 0,
        failed=failed if has_pages else 0,
        reused=event.get("reused_pages", 0) if has_pages else 0,
        error=event["error"],
    )
