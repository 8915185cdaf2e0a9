"""Works on the queue of a data folder, one job at a time, each as whoever asked for it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from enum import StrEnum

from ingestion.job_run import QueuedRun
from rag import logs, telemetry
from rag.apps.job_kinds import parse
from rag.apps.job_shapes import job_told
from rag.apps.service import Service
from rag.errors import BackendError, RagError
from rag.manifest import Job, JobState
from rag.repository import asker_of, options_of
from rag.telemetry import JOBS
from rag.types import Json
from rag.wiring import Engine

_log = logging.getLogger(__name__)

_LOOK_EVERY_S = 0.3
# What is wrong is nothing of the job's, and would fail all the others after it as well.
# An index process that dies is not among them: the job may be what kills it.
_OF_THE_MACHINE = frozenset(
    {
        "disk_full",
        "manifest_unavailable",
        # A Qdrant server, which has been waited for.
        "index_down",
        "index_slow",
        "index_busy",
        "index_failed",
        "index_refused",
        "index_lost",
    }
)
_AGAIN_S = 30.0


class Until(StrEnum):
    """How long a worker goes on."""

    ONE = "one"
    EMPTY = "empty"
    STOPPED = "stopped"


class JobWorker:
    """For the process that owns the data folder: `run` works in this thread, `start` in another.

    A job that is stopped, by whoever asked or with the worker, ends when what was read of it is
    stored; it goes on from there.
    """

    def __init__(self, engine: Engine, on_event: Callable[[Json], None] = lambda _: None) -> None:
        """Hears `job` as jobs begin and end, and what they tell, each with its `job_id`."""
        self._engine = engine
        self._queue = engine.repository.work_queue
        self._on_event = on_event
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._left: str | None = None  # a job that could not be let go of

    def run(self, until: Until = Until.EMPTY) -> list[Job]:
        """Work on jobs as their turn comes.

        Returns:
            Those worked on, as they ended.

        Raises:
            BackendError: of the machine rather than of a job, which waits in the queue again.
        """
        worked_on: list[Job] = []
        while not self._stopping.is_set():
            self._let_go_of_left()
            job = self._queue.claim()
            if job is not None:
                worked_on.append(self._work_on(job))
            if until is Until.ONE or (job is None and until is Until.EMPTY):
                break
            if job is None:
                self._stopping.wait(_LOOK_EVERY_S)
        return worked_on

    def start(self) -> None:
        """Work in a thread of its own until `stop`."""
        assert self._thread is None, "started already"
        self._thread = threading.Thread(target=self._run_on, name="jobs")
        self._thread.start()

    def stop(self) -> None:
        """Returns when what was read of the job at work is stored; it is queued again."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _run_on(self) -> None:
        while not self._stopping.is_set():
            try:
                self.run(Until.STOPPED)
            except Exception:  # noqa: BLE001 - a thread that ends would leave the queue to nobody
                _log.exception("jobs wait for %g s", _AGAIN_S)
                self._stopping.wait(_AGAIN_S)

    def _work_on(self, job: Job) -> Job:
        self._tell(job)

        def hear(event: Json) -> None:
            self._on_event({**event, "job_id": job.job_id})

        run = QueuedRun(job, self._queue, hear, stopping=self._stopping)
        try:
            with (
                logs.about(job=job.job_id, collection=job.collection),
                telemetry.span("job", job_id=job.job_id, kind=job.kind),
            ):
                error = self._ended_by(job, run)
        except BaseException:
            self._left = job.job_id
            self._let_go_of_left()
            raise
        if error is None and run.is_stopped:
            run.save()
            ended = self._queue.let_go(job.job_id)
        else:
            ended = self._queue.finish(
                job.job_id,
                state=JobState.DONE if error is None else JobState.FAILED,
                totals=run.totals(),
                progress=run.progress(is_done=error is None),
                error=error,
            )
        telemetry.count(JOBS, state=str(ended.state))
        self._tell(ended)
        return ended

    def _ended_by(self, job: Job, run: QueuedRun) -> Json | None:
        """The error that ended the job, if one did; the machine's are raised."""
        try:
            service = Service(self._engine, asker_of(job))
            asked = parse(job.kind, options_of(job))
            run.totals_told = asked.run(service, job.collection or "", run.hear, run)
            run.save()
        except RagError as error:
            if error.code in _OF_THE_MACHINE:
                raise
            return error.as_dict()
        except Exception:  # noqa: BLE001 - a fault of ours must not take the other jobs along
            _log.exception("job %s failed", job.job_id)
            return BackendError(
                "the job failed for a reason that Octavo did not foresee",
                code="internal",
                next_step="Look at what its worker wrote to its standard error.",
            ).as_dict()
        return None

    def _let_go_of_left(self) -> None:
        if self._left is not None:
            self._queue.let_go(self._left)
            self._left = None

    def _tell(self, job: Job) -> None:
        self._on_event({"event": "job", **job_told(job)})
