"""Jobs in the manifest, and their progress added up."""

import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from ingestion.job_run import QueuedRun
from rag.errors import InputError, NotFound
from rag.manifest import JobAction, JobRequest, JobState, Manifest
from rag.repository import PrincipalJobs, WorkQueue
from rag.types import Principal

ANN, BOB, OWNER = Principal("ann"), Principal("bob"), Principal.owner()
DAY_S = 24 * 3600


@pytest.fixture
def manifest(tmp_path):
    held = Manifest.in_folder(tmp_path)
    yield held
    held.close()


def request(key=None, *, subject="ann", paths=("/a",), **options):
    asked = {"paths": list(paths), "principal": {"subject": subject}}
    return JobRequest("ingest", "default", asked | options, subject, idempotency_key=key)


def made_older(tmp_path, by_s):
    connection = sqlite3.connect(tmp_path / "manifest.sqlite3")
    with connection:
        connection.execute("UPDATE jobs SET queued_at = queued_at - ?", (by_s,))
        connection.execute("UPDATE jobs SET finished_at = finished_at - ?", (by_s,))
    connection.close()


# --- idempotency --------------------------------------------------------------------------------
def test_twenty_who_ask_at_once_with_one_key_get_one_job(tmp_path):
    Manifest.in_folder(tmp_path).close()
    barrier = threading.Barrier(20)

    def ask(_):
        held = Manifest.in_folder(tmp_path)  # a connection of its own, as another process has
        barrier.wait()
        job, replayed = held.enqueue_job(request("once"))
        held.close()
        return job.job_id, replayed

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(ask, range(20)))
    assert len({job_id for job_id, _ in answers}) == 1
    assert sum(not replayed for _, replayed in answers) == 1


@pytest.mark.parametrize(
    "other",
    [
        request("k", paths=("/b",)),
        request("k", force=True),
        JobRequest("ingest", "other", request().asked, "ann", idempotency_key="k"),
        JobRequest("ingest", "default", request().asked, "ann", 5, idempotency_key="k"),
    ],
)
def test_a_key_with_another_request_is_refused(manifest, other):
    first, _ = manifest.enqueue_job(request("k"))
    with pytest.raises(InputError) as caught:
        manifest.enqueue_job(other)
    assert caught.value.code == "idempotency_conflict"
    assert first.job_id in caught.value.message
    assert [job.job_id for job in manifest.jobs()] == [first.job_id]


def test_the_order_of_paths_makes_no_other_request(manifest):
    first, _ = manifest.enqueue_job(request("k", paths=("/a", "/b")))
    again, replayed = manifest.enqueue_job(request("k", paths=("/b", "/a")))
    assert replayed
    assert again.job_id == first.job_id


def test_keys_of_two_people_do_not_meet(manifest):
    anns, _ = manifest.enqueue_job(request("k"))
    bobs, replayed = manifest.enqueue_job(request("k", subject="bob"))
    assert not replayed
    assert anns.job_id != bobs.job_id


@pytest.mark.parametrize("key", ["", "x" * 256, "a\nb"])
def test_a_key_has_1_to_255_printable_characters(manifest, key):
    with pytest.raises(InputError) as caught:
        manifest.enqueue_job(request(key))
    assert caught.value.code == "bad_idempotency_key"
    manifest.enqueue_job(request("x" * 255))


# --- what is kept -------------------------------------------------------------------------------
def ended(manifest, key=None):
    job, _ = manifest.enqueue_job(request(key))
    manifest.claim_job()
    manifest.finish_job(job.job_id, state="done", totals={})
    return job.job_id


def test_ended_jobs_are_forgotten_after_thirty_days_and_waiting_ones_never(manifest, tmp_path):
    old, keyed, waiting = ended(manifest), ended(manifest, "k"), manifest.enqueue_job(request())[0]
    made_older(tmp_path, 31 * DAY_S)
    new, _ = manifest.enqueue_job(request())
    kept = {job.job_id for job in manifest.jobs()}
    assert kept == {waiting.job_id, new.job_id}
    assert old not in kept
    assert keyed not in kept


def test_beyond_a_thousand_the_oldest_go_but_for_keys_of_today(manifest, monkeypatch):
    monkeypatch.setattr("rag.manifest.jobs._MAX_ENDED", 3)
    keyed = ended(manifest, "today")
    others = [ended(manifest) for _ in range(5)]
    new, _ = manifest.enqueue_job(request())
    assert {job.job_id for job in manifest.jobs()} == {keyed, *others[-3:], new.job_id}


def test_a_clock_set_back_lets_nobody_jump_the_queue(manifest, monkeypatch):
    first, _ = manifest.enqueue_job(request())
    now = time.time()
    monkeypatch.setattr("rag.manifest.jobs.time.time", lambda: now - DAY_S)
    second, _ = manifest.enqueue_job(request())
    assert [job.job_id for job in manifest.jobs()] == [first.job_id, second.job_id]
    assert manifest.claim_job().job_id == first.job_id


# --- who may see and touch them -----------------------------------------------------------------
def test_jobs_of_others_are_not_there(manifest):
    anns = PrincipalJobs(ANN, manifest)
    job, _ = anns.add("ingest", "default", {"paths": ["/a"]})
    bobs = PrincipalJobs(BOB, manifest)
    assert bobs.all() == []
    for touch in (
        lambda: bobs.job(job.job_id),
        lambda: bobs.documents(job.job_id),
        lambda: bobs.change(job.job_id, JobAction.CANCEL),
    ):
        with pytest.raises(NotFound) as caught:
            touch()
        with pytest.raises(NotFound) as none:
            bobs.job("0" * 16)
        assert caught.value.code == none.value.code == "unknown_job"
    assert anns.job(job.job_id).state is JobState.QUEUED
    assert PrincipalJobs(OWNER, manifest).job(job.job_id).subject == "ann"


def test_a_commands_own_job_is_interrupted_with_its_process_and_cannot_be_steered(manifest):
    job_id = manifest.start_job("ingest", subject="owner", collection="default")
    assert manifest.claim_job() is None
    with pytest.raises(InputError) as caught:
        manifest.change_job(job_id, JobAction.PAUSE)
    assert caught.value.code == "not_queued"
    (job,) = manifest.recover_jobs()
    assert (job.job_id, job.state) == (job_id, "interrupted")
    assert job.finished_at >= job.started_at


def test_a_job_that_ends_its_process_three_times_for_nothing_is_given_up(manifest):
    job, _ = manifest.enqueue_job(request())
    for n_tries in (1, 2, 3):
        assert manifest.claim_job().n_tries == n_tries
        (left,) = manifest.recover_jobs()
    assert left.state == "failed"
    assert left.error["code"] == "job_ended_its_process"
    assert manifest.claim_job() is None
    assert manifest.change_job(job.job_id, JobAction.RETRY).state == "queued"
    assert manifest.claim_job().n_tries == 1


def test_what_is_done_without_failures_is_not_tried_again(manifest):
    job_id = ended(manifest)
    with pytest.raises(InputError) as caught:
        manifest.change_job(job_id, JobAction.RETRY)
    assert caught.value.code == "wrong_job_state"


# --- progress -----------------------------------------------------------------------------------
def told(document_id, state, pages=0, *, blank=(), failed=(), reused=0):
    return {
        "event": "document",
        "document_id": document_id,
        "source": f"{document_id}.pdf",
        "state": state,
        "pages": pages,
        "blank_pages": list(blank),
        "failed_pages": [{"page_number": n, "reason": "render_timeout"} for n in failed],
        "reused_pages": reused,
        "error": None,
    }


def paged(document_id, done, total):
    return {
        "event": "progress",
        "document_id": document_id,
        "source": f"{document_id}.pdf",
        "pages_done": done,
        "pages_total": total,
    }


class Tries:
    """One job begun again and again."""

    def __init__(self, manifest):
        self.manifest = manifest
        self.job, _ = manifest.enqueue_job(request())

    def begin(self, *document_ids):
        run = QueuedRun(
            self.manifest.claim_job(), WorkQueue(self.manifest), stopping=threading.Event()
        )
        run.begin(document_ids)
        return run

    def stop(self, run):
        run.save()
        self.manifest.let_go_of_job(self.job.job_id)


def counts(progress):
    names = ("documents_done", "documents_total", "pages_done", "pages_total")
    return tuple(progress[name] for name in names)


def test_progress_adds_up_over_tries_and_never_goes_back(manifest):
    tries = Tries(manifest)
    run = tries.begin("a", "b", "c")
    assert counts(run.progress()) == (0, 3, 0, 0)
    run.hear(paged("a", 0, 5))
    run.hear(told("a", "indexed", 5, blank=[2], reused=1))
    assert counts(run.progress()) == (1, 3, 5, 5)
    run.hear(paged("b", 0, 10))
    run.hear(paged("b", 4, 10))
    assert counts(run.progress()) == (1, 3, 9, 15)
    tries.stop(run)

    run = tries.begin("a", "b", "c")
    assert counts(run.progress()) == (1, 3, 9, 15)
    assert run.has_made("a")
    run.hear(told("a", "unchanged", 5))
    run.hear(paged("b", 4, 10))
    assert counts(run.progress()) == (1, 3, 9, 15)
    run.hear(told("b", "partial", 10, failed=[3]))
    run.hear(told("c", "refused"))
    assert counts(run.progress()) == (3, 3, 15, 15)
    totals = run.totals()
    assert totals["documents"] == {"indexed": 1, "partial": 1, "refused": 1}
    assert totals["pages"] == {"indexed": 13, "blank": 1, "failed": 1}
    assert totals["reused_pages"] == 1


def test_a_retry_counts_a_document_anew_and_forces_only_what_failed(manifest):
    tries = Tries(manifest)
    run = tries.begin("a", "b", "gone")
    run.hear(told("a", "indexed", 2))
    run.hear(told("b", "partial", 3, failed=[1]))
    run.hear(told("gone", "failed"))
    manifest.finish_job(
        tries.job.job_id, state="done", totals=run.totals(), progress=run.progress(is_done=True)
    )
    manifest.change_job(tries.job.job_id, JobAction.RETRY)
    run = tries.begin("a", "b")
    assert [run.wants_again(each) for each in ("a", "b")] == [False, True]
    run.hear(told("a", "unchanged", 2))
    run.hear(told("b", "replaced", 3))
    assert run.totals()["documents"] == {"failed": 1, "indexed": 1, "replaced": 1}
    assert run.totals()["pages"] == {"indexed": 5, "blank": 0, "failed": 0}
    by_id = {each.document_id: each.state for each in manifest.job_documents(tries.job.job_id)}
    assert by_id == {"a": "indexed", "b": "replaced", "gone": "failed"}


def test_a_run_stops_once_it_is_asked_to(manifest, monkeypatch):
    monkeypatch.setattr("ingestion.job_run._LOOK_EVERY_S", 0.0)
    tries = Tries(manifest)
    run = tries.begin("a")
    assert not run.should_stop()
    manifest.change_job(tries.job.job_id, JobAction.PAUSE)
    assert run.should_stop()
    manifest.change_job(tries.job.job_id, JobAction.RESUME)
    assert run.should_stop()  # it has ended its reading: the queue gives the job out again
    assert manifest.let_go_of_job(tries.job.job_id).state == "queued"
