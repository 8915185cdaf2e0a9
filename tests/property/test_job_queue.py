"""The queue against a list kept in memory: whatever is asked in whatever order, both agree."""

import itertools
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from rag.errors import InputError
from rag.manifest import JobAction, JobRequest, Manifest

COLLECTIONS = ("a", "b")
AT_WORK = ("running", "pausing", "cancelling")
# What is asked, of what, and what comes of it; anything else is refused.
ALLOWED = {
    "pause": {"queued": "paused", "running": "pausing", "pausing": "pausing", "paused": "paused"},
    "resume": {"paused": "queued", "pausing": "running", "running": "running", "queued": "queued"},
    "cancel": {
        "queued": "cancelled",
        "paused": "cancelled",
        "running": "cancelling",
        "pausing": "cancelling",
        "cancelling": "cancelling",
        "cancelled": "cancelled",
    },
    "retry": {"failed": "queued", "cancelled": "queued", "queued": "queued"},
}


class Modelled:
    def __init__(self, collection, priority, key, turn):
        self.collection, self.priority, self.key, self.turn = collection, priority, key, turn
        self.state, self.n_tries = "queued", 0


class QueueMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.manifest = Manifest.in_folder(Path(self.folder.name))
        self.jobs = {}
        self.turns = itertools.count()

    def teardown(self):
        self.manifest.close()
        self.folder.cleanup()

    def in_state(self, *states):
        return [job_id for job_id, job in self.jobs.items() if job.state in states]

    @rule(
        collection=st.sampled_from(COLLECTIONS),
        priority=st.integers(-1, 1),
        key=st.none() | st.sampled_from(["k1", "k2"]),
    )
    def enqueue(self, collection, priority, key):
        request = JobRequest(
            "ingest", collection, {"paths": ["/x"]}, "ann", priority, idempotency_key=key
        )
        held = {job_id: job for job_id, job in self.jobs.items() if key and job.key == key}
        if any((job.collection, job.priority) != (collection, priority) for job in held.values()):
            with pytest.raises(InputError) as caught:
                self.manifest.enqueue_job(request)
            assert caught.value.code == "idempotency_conflict"
            return
        job, replayed = self.manifest.enqueue_job(request)
        assert replayed == (job.job_id in self.jobs) == bool(held)
        if not replayed:
            self.jobs[job.job_id] = Modelled(collection, priority, key, next(self.turns))

    @rule()
    def claim(self):
        busy = {self.jobs[job_id].collection for job_id in self.in_state(*AT_WORK)}
        waiting = [
            job_id for job_id in self.in_state("queued") if self.jobs[job_id].collection not in busy
        ]
        claimed = self.manifest.claim_job()
        if not waiting:
            assert claimed is None
            return
        first = min(waiting, key=lambda each: (-self.jobs[each].priority, self.jobs[each].turn))
        assert claimed is not None
        assert claimed.job_id == first
        self.jobs[first].state = "running"
        self.jobs[first].n_tries += 1

    @precondition(lambda self: self.in_state(*AT_WORK))
    @rule(data=st.data(), failed=st.booleans())
    def finish(self, data, failed):
        job_id = data.draw(st.sampled_from(self.in_state(*AT_WORK)))
        state = "failed" if failed else "done"
        self.manifest.finish_job(job_id, state=state, totals={"documents": {"indexed": 1}})
        self.jobs[job_id].state = state

    @precondition(lambda self: self.in_state(*AT_WORK))
    @rule(data=st.data())
    def let_go(self, data):
        job_id = data.draw(st.sampled_from(self.in_state(*AT_WORK)))
        job = self.jobs[job_id]
        job.state = {"running": "queued", "pausing": "paused", "cancelling": "cancelled"}[job.state]
        job.n_tries = 0
        assert self.manifest.let_go_of_job(job_id).state == job.state

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), action=st.sampled_from(list(JobAction)))
    def change(self, data, action):
        job_id = data.draw(st.sampled_from(sorted(self.jobs)))
        job = self.jobs[job_id]
        becomes = ALLOWED[action].get(job.state)
        if becomes is None:
            with pytest.raises(InputError) as caught:
                self.manifest.change_job(job_id, action)
            assert caught.value.code == "wrong_job_state"
            assert caught.value.next_step
            return
        if action == "retry" and job.state != "queued":
            job.turn, job.n_tries = next(self.turns), 0
        job.state = becomes
        assert self.manifest.change_job(job_id, action).state == becomes

    @precondition(lambda self: self.in_state("running"))
    @rule(data=st.data(), is_further=st.booleans())
    def progress(self, data, is_further):
        job_id = data.draw(st.sampled_from(self.in_state("running")))
        self.manifest.note_progress(job_id, {}, [], is_further=is_further)
        if is_further:
            self.jobs[job_id].n_tries = 1

    @rule()
    def the_process_dies_and_another_opens_the_folder(self):
        self.manifest.close()
        self.manifest = Manifest.in_folder(Path(self.folder.name))
        at_work = self.in_state(*AT_WORK)
        assert {job.job_id for job in self.manifest.recover_jobs()} == set(at_work)
        for job_id in at_work:
            job = self.jobs[job_id]
            if job.state == "running":
                job.state = "queued" if job.n_tries < 3 else "failed"
            else:
                job.state = {"pausing": "paused", "cancelling": "cancelled"}[job.state]

    @invariant()
    def agrees_with_the_model(self):
        found = {job.job_id: (job.state, job.n_tries) for job in self.manifest.jobs()}
        assert found == {job_id: (job.state, job.n_tries) for job_id, job in self.jobs.items()}

    @invariant()
    def no_collection_has_two_at_work(self):
        at_work = [job.collection for job in self.manifest.jobs() if job.state in AT_WORK]
        assert len(set(at_work)) == len(at_work)


TestQueue = QueueMachine.TestCase
TestQueue.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
