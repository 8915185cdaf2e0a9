"""The queue through the command line: other processes steer the one that works, some are killed."""

import itertools
import json
import os
import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from counting_encoders import LOG, SECONDS
from ingest_place import Place, place  # noqa: F401 - a fixture

from rag.apps.connection import Connection
from rag.apps.job_worker import JobWorker
from rag.apps.jobs import JobService
from rag.failpoints import VARIABLE
from rag.settings import load_settings
from rag.testing import PdfPage, make_pdf
from rag.types import Principal
from rag.wiring import Engine

ENCODER = ("--encoder", "custom:counting_encoders:counted_words")
N_DOCUMENTS, N_PAGES, BATCH_PAGES = 5, 4, 2
# Taken out: the command refuses variables that are no settings.
N_KILLS = int(os.environ.pop("OCTAVO_JOB_KILLS", "20"))
COUNTS = ("documents_done", "documents_total", "pages_done", "pages_total")


class Queue(Place):
    """Documents for one job, and a log of every page that was encoded."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.log = folder / "encoded.txt"
        self.log.touch()
        for number in range(N_DOCUMENTS):
            self.write(f"{number}.pdf", N_PAGES)
        self.expected = {f"{number}.pdf": N_PAGES for number in range(N_DOCUMENTS)}

    def add(self, *arguments: str | Path) -> str:
        ended = self.here("ingest", "--queue", *(arguments or (self.docs,)))
        assert ended.code == 0, ended.err
        return str(ended.json[0]["job_id"])

    def work(self, *flags: str, **environment: str):
        return self.start("jobs", "run", *flags, *ENCODER, **self.environment(), **environment)

    def work_here(self, *flags: str):
        return self.here("jobs", "run", *flags, *ENCODER)

    def environment(self) -> dict[str, str]:
        return {
            LOG: str(self.log),
            "PYTHONPATH": str(Path(__file__).parents[1]),
            "OCTAVO_STORE__BATCH_PAGES": str(BATCH_PAGES),
        }

    def show(self, job_id: str):
        (shown,) = self.here("jobs", "show", job_id).json
        return shown

    def state(self, job_id: str) -> str:
        return str(self.show(job_id)["state"])

    def wait_until(self, state: str, *job_ids: str) -> None:
        """Seen from outside: asking for it would start a command each time."""
        query = "select count(*) from jobs where job_id = ? and state = ?"
        self.wait_for(lambda: all(self._counted(query, each, state) for each in job_ids))

    def encoded(self) -> Counter[str]:
        return Counter(self.log.read_text().splitlines())


@pytest.fixture
def queue(tmp_path, monkeypatch, place):  # noqa: F811 - the fixture kills what is left
    (tmp_path / "queue").mkdir()
    made = Queue(tmp_path / "queue")
    made.mark = place.mark
    for name, value in made.environment().items():
        monkeypatch.setenv(name, value)
    return made


def test_a_job_is_done_as_its_events_and_its_totals_say_and_its_progress_never_goes_back(queue):
    job_id = queue.add(queue.docs, "--metadata", "year=2024", "--priority", "7")
    assert queue.here("list").error["code"] == "unknown_collection"
    worker = queue.work(**{SECONDS: "0.2"})
    samples = []
    while worker.poll() is None:
        shown = queue.here("jobs", "show", job_id)
        if shown.code == 0 and shown.json[0]["progress"]:
            samples.append(tuple(shown.json[0]["progress"][name] for name in COUNTS))
        time.sleep(0.3)
    out, err = worker.communicate()
    assert worker.returncode == 0, err
    events = [json.loads(line) for line in out.splitlines()]
    states = Counter(event["state"] for event in events if event["event"] == "document")
    assert states == {"indexed": N_DOCUMENTS}
    assert [event["state"] for event in events if event["event"] == "job"] == ["running", "done"]
    job = queue.show(job_id)
    n_pages = N_DOCUMENTS * N_PAGES
    assert job["totals"]["documents"] == states
    assert job["totals"]["pages"] == {"indexed": n_pages, "blank": 0, "failed": 0}
    assert [job["progress"][name] for name in COUNTS] == [N_DOCUMENTS] * 2 + [n_pages] * 2
    assert len(set(samples)) > 1
    for before, after in itertools.pairwise(samples):
        assert all(x <= y for x, y in zip(before, after, strict=True)), samples
    assert all(done <= total for done, total, *_ in samples)
    assert {each["state"] for each in job["documents"]} == {"indexed"}
    (document, *_) = queue.here("list").json[0]["documents"]
    assert document["metadata"] == {"year": 2024}
    (status,) = queue.here("status", job_id).json
    assert status == job


def test_a_second_process_pauses_a_job_and_what_is_stored_is_not_encoded_again(queue):
    job_id = queue.add()
    with queue.work(**{SECONDS: "0.5"}) as worker:
        queue.wait_for(
            lambda: queue.n_acknowledged() >= 2 * BATCH_PAGES or worker.poll() is not None
        )
        (asked,) = queue.here("jobs", "pause", job_id).json
        assert asked["state"] in ("pausing", "paused")
        _, err = worker.communicate(timeout=60)
        assert worker.returncode == 0, err
    paused = queue.show(job_id)
    n_stored = queue.n_acknowledged()
    assert paused["state"] == "paused"
    assert 0 < n_stored < N_DOCUMENTS * N_PAGES
    assert paused["progress"]["pages_done"] == n_stored
    assert queue.here("jobs", "run").json[-1]["n_jobs"] == 0
    assert queue.here("jobs", "resume", job_id).json[0]["state"] == "queued"
    assert queue.work_here().code == 0
    done = queue.show(job_id)
    assert done["state"] == "done"
    assert done["totals"]["documents"] == {"indexed": N_DOCUMENTS}
    assert set(queue.encoded().values()) == {1}
    assert sum(queue.encoded().values()) == N_DOCUMENTS * N_PAGES
    queue.check_whole(queue.expected)


def test_a_cancelled_job_keeps_what_is_stored_and_a_retry_does_the_rest(queue):
    job_id = queue.add(queue.docs, "--force")
    with queue.work(**{SECONDS: "0.5"}) as worker:
        queue.wait_for(lambda: queue.is_indexed("1.pdf"))
        queue.here("jobs", "cancel", job_id)
        worker.communicate(timeout=60)
    cancelled = queue.show(job_id)
    assert cancelled["state"] == "cancelled"
    assert queue.is_indexed("1.pdf")
    assert cancelled["progress"]["documents_done"] < N_DOCUMENTS
    refused = queue.here("jobs", "resume", job_id)
    assert (refused.code, refused.error["code"]) == (1, "wrong_job_state")
    assert "retry" in refused.error["next_step"]
    assert queue.here("jobs", "retry", job_id).code == 0
    assert queue.work_here().code == 0
    assert queue.show(job_id)["totals"]["documents"] == {"indexed": N_DOCUMENTS}
    assert set(queue.encoded().values()) == {1}  # though it was to be forced
    queue.check_whole(queue.expected)


def test_a_killed_worker_leaves_a_job_that_the_next_one_ends(queue):
    job_id = queue.add()
    killed = queue.work(**{VARIABLE: "pages_recorded:5"})
    killed.communicate(timeout=60)
    assert killed.returncode == -9
    assert queue.state(job_id) == "queued"
    assert queue.work_here().code == 0
    job = queue.show(job_id)
    assert job["state"] == "done"
    assert job["progress"]["documents_done"] == job["progress"]["documents_total"] == N_DOCUMENTS
    queue.check_whole(queue.expected)
    in_flight = 6 * BATCH_PAGES  # a batch in each stage, and in the queue before each
    n_again = sum(queue.encoded().values()) - N_DOCUMENTS * N_PAGES
    assert n_again <= in_flight
    assert max(queue.encoded().values()) <= 2


def test_a_killed_command_is_shown_as_interrupted(queue):
    (queue.docs / "0.pdf").write_bytes(make_pdf([PdfPage(endless=True)]))
    with queue.start("ingest", queue.docs, *ENCODER) as ingest:
        queue.wait_for(lambda: bool(queue._counted("select count(*) from jobs")))
        ingest.kill()
        ingest.communicate()
    (job,) = queue.here("jobs", "list").json[0]["jobs"]
    assert (job["kind"], job["state"], job["request"]) == ("ingest", "interrupted", None)
    refused = queue.here("jobs", "retry", job["job_id"])
    assert refused.error["code"] == "not_queued"


def test_the_highest_priority_goes_next_then_the_oldest_and_none_is_preempted(queue):
    low, oldest = queue.add(queue.docs / "0.pdf"), queue.add(queue.docs / "1.pdf")
    with queue.work("--watch", **{SECONDS: "0.3"}) as worker:
        queue.wait_until("done", oldest)
        assert queue.state(low) == "done"
        slow = queue.add(queue.docs)
        queue.wait_until("running", slow)
        later = [
            queue.add(queue.docs / "2.pdf", "--priority", priority) for priority in ("-1", "2", "9")
        ]
        queue.wait_until("done", *later)
        worker.send_signal(2)
        out, _ = worker.communicate(timeout=30)
        assert worker.returncode == 130
    told = [json.loads(line) for line in out.splitlines()]
    begun = [
        each["job_id"] for each in told if each["event"] == "job" and each["state"] == "running"
    ]
    assert begun == [low, oldest, slow, *reversed(later)]


def test_processes_that_ask_at_once_with_one_key_get_one_job(queue):
    with queue.work("--watch") as worker:
        queue.wait_for(lambda: queue.here("jobs", "list").code == 0)

        def ask(_: int):
            settings = load_settings(overrides={"store": {"data_dir": queue.data}})
            with Connection(settings, command="test") as octavo:
                job = octavo.enqueue_ingest([queue.docs / "0.pdf"], idempotency_key="once")
            return job["job_id"], job["replayed"]

        with ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(ask, range(20)))
        worker.kill()
    assert len({job_id for job_id, _ in answers}) == 1
    assert sum(not replayed for _, replayed in answers) == 1
    refused = queue.here("ingest", queue.docs / "1.pdf", "--queue", "--idempotency-key", "once")
    assert (refused.code, refused.error["code"]) == (1, "idempotency_conflict")


def test_what_cannot_be_done_is_said_when_it_is_asked_for(queue):
    missing = queue.here("ingest", queue.docs / "none.pdf", "--queue")
    assert (missing.code, missing.error["code"]) == (1, "no_such_path")
    assert queue.here("ingest", queue.docs, "--priority", "3").code == 2
    assert queue.here("jobs", "show", "0" * 16).error["code"] == "unknown_job"
    assert queue.here("jobs", "list").json[0]["jobs"] == []


def test_a_failed_job_says_why_and_is_done_once_the_reason_is_gone(queue):
    folder = queue.docs / "later"
    folder.mkdir()
    (folder / "a.pdf").write_bytes(make_pdf(["# Tides"]))
    job_id = queue.add(folder)
    (folder / "a.pdf").rename(queue.docs / "a.pdf")
    assert queue.work_here().code == 1
    assert queue.show(job_id)["state"] == "failed"
    assert queue.show(job_id)["error"]["code"] == "empty_folder"
    (queue.docs / "a.pdf").rename(folder / "a.pdf")
    (folder / "b.pdf").write_bytes(b"no PDF at all")
    queue.here("jobs", "retry", job_id)
    assert queue.work_here().code == 3
    assert queue.show(job_id)["totals"]["documents"] == {"indexed": 1, "refused": 1}
    assert queue.show(job_id)["error"] is None
    (folder / "b.pdf").write_bytes(make_pdf(["# Waves"]))
    queue.here("jobs", "retry", job_id)
    assert queue.work_here().code == 0
    assert queue.show(job_id)["totals"]["documents"] == {"indexed": 2}


def test_a_sync_waits_in_the_queue_too(queue):
    queue.add()
    assert queue.work_here().code == 0
    (queue.docs / "0.pdf").rename(queue.docs / "moved.pdf")
    for name in ("1.pdf", "2.pdf", "3.pdf"):
        (queue.docs / name).unlink()
    asked = queue.here("sync", queue.docs, "--prune", "--queue", "--idempotency-key", "k")
    assert queue.work_here().code == 0
    job = queue.show(asked.json[0]["job_id"])
    assert (job["kind"], job["state"]) == ("sync", "done")
    assert job["totals"]["documents"] == {"deleted": 3, "moved": 1, "unchanged": 1}
    assert job["progress"]["documents_done"] == job["progress"]["documents_total"] == 5
    held = {each["source"] for each in queue.here("list").json[0]["documents"]}
    assert held == {"moved.pdf", "4.pdf"}


def test_a_job_runs_as_whoever_asked_for_it_and_a_stopped_worker_gives_it_back(queue):
    settings = load_settings(overrides={"store": {"data_dir": queue.data}})
    ann = Principal("ann", frozenset({"finance"}))
    with Engine(settings) as engine:
        service = JobService(engine, ann)
        options = {"paths": [str(queue.docs)]}
        job_id = service.enqueue(kind="ingest", collection="default", options=options)["job_id"]
        half = threading.Event()
        worker = JobWorker(
            engine, lambda event: half.set() if event["event"] == "document" else None
        )
        worker.start()
        assert half.wait(60)
        worker.stop()
        assert service.show_job(job=job_id)["state"] == "queued"
        another = JobWorker(engine)
        another.start()
        until_s = time.monotonic() + 60
        while service.show_job(job=job_id)["state"] != "done":
            assert time.monotonic() < until_s
            time.sleep(0.05)
        another.stop()
        mine = engine.repository.reader(ann, "default").documents()
        assert {document.source for document in mine} == set(queue.expected)
        assert engine.repository.collections(Principal("bob")) == []
        assert JobService(engine, Principal("bob")).list_jobs()["jobs"] == []
        assert service.show_job(job=job_id)["totals"]["documents"] == {"indexed": N_DOCUMENTS}


def test_a_full_disk_stops_the_worker_and_fails_no_job(queue):
    job_id = queue.add()
    stopped = queue.work_here("--set", f"store.disk_reserve_bytes={10**17}")
    assert (stopped.code, stopped.error["code"]) == (1, "disk_full")
    assert queue.state(job_id) == "queued"
    assert queue.work_here().code == 0
    queue.check_whole(queue.expected)


def test_a_server_that_is_away_stops_the_worker_and_fails_no_job(queue):
    job_id = queue.add()
    nobody = ("--set", "store.qdrant_url=http://127.0.0.1:9", "--set", "store.qdrant_wait_s=0.2")
    stopped = queue.work_here(*nobody)
    assert (stopped.code, stopped.error["code"]) == (1, "index_down")
    assert queue.state(job_id) == "queued"


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_a_job_whose_workers_are_killed_at_any_moment_ends_with_exact_counts(queue):
    moments = random.Random(50)
    n_documents = 2 * N_KILLS
    queue.expected = {f"{number}.pdf": N_PAGES for number in range(n_documents)}
    for name in queue.expected:
        queue.write(name, N_PAGES)
    job_id = queue.add()
    n_kills = 0
    while n_kills < N_KILLS and queue.state(job_id) != "done":
        worker = queue.work()
        before = queue.n_acknowledged()
        queue.wait_for(lambda: queue.n_acknowledged() > before or worker.poll() is not None)  # noqa: B023 - called at once
        time.sleep(moments.uniform(0.0, 0.5))
        worker.kill()
        worker.communicate()
        n_kills += 1
    assert n_kills > N_KILLS // 4
    assert queue.work_here().code == 0
    job = queue.show(job_id)
    assert job["state"] == "done"
    assert job["progress"]["documents_done"] == n_documents
    assert sum(job["totals"]["documents"].values()) == n_documents
    assert set(job["totals"]["documents"]) <= {"indexed", "unchanged"}
    queue.check_whole(queue.expected)
    n_again = sum(queue.encoded().values()) - n_documents * N_PAGES
    assert n_again <= n_kills * 6 * BATCH_PAGES
