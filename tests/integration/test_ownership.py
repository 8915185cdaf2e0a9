"""Real processes around one data folder."""

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from rag.apps import ownership
from rag.apps.connection import Connection
from rag.apps.ownership import (
    Connected,
    FolderLock,
    Owned,
    OwnerGone,
    acquire_or_connect,
    call_owner,
    read_owner,
)
from rag.deadline import Cancelled
from rag.errors import BackendError, ConfigError, DataFolderBusy, NotFound
from rag.settings import load_settings

OWNER = """
    import os, sys, time
    from pathlib import Path
    from rag.apps.ownership import Owned, acquire_or_connect
    from rag.errors import NotFound

    def handler(method, params, tell):
        if method == "sleep":
            time.sleep(params["seconds"])
        if method == "show":
            time.sleep(float(params["document"]))
        if method == "missing":
            raise NotFound("no page 7", next_step="Ask for page 1.", code="unknown_page")
        if method == "broken":
            raise ZeroDivisionError("a secret of the server")
        return {"pid": os.getpid(), "text": "x" * params.get("size", 0)}

    held = acquire_or_connect(Path(sys.argv[1]), "test owner")
    if not isinstance(held, Owned):
        print("connected to", held.call("who", {}, 5.0)["pid"], flush=True)
        sys.exit()
    time.sleep(float(os.environ.get("SLOW_START_S", "0")))
    if "--deaf" not in sys.argv:
        held.serve(handler)
    print("ready", flush=True)
    sys.stdin.read()  # until the test closes it
    held.close()
"""


def launch(folder: Path, *flags: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(OWNER), str(folder), *flags],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def echo(method, params, tell):
    return {"method": method}


def connection(folder: Path) -> Connection:
    overrides = {"store": {"data_dir": folder}}
    return Connection(load_settings(overrides=overrides, environ={}), command="second")


@pytest.fixture
def start_owner():
    started = []

    def start(folder: Path, *flags: str) -> subprocess.Popen:
        process = launch(folder, *flags)
        started.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def kill(process: subprocess.Popen) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_a_second_process_reaches_the_owner(tmp_path, start_owner):
    owner = start_owner(tmp_path)
    held = acquire_or_connect(tmp_path, "second")
    assert isinstance(held, Connected)
    assert held.call("who", {}, 5.0)["pid"] == owner.pid


def test_a_killed_owner_is_followed_by_the_next_at_once(tmp_path, start_owner):
    owner = start_owner(tmp_path)
    stale = Path(read_owner(tmp_path).socket)
    kill(owner)
    assert stale.exists()  # what a killed owner leaves behind
    begin = time.monotonic()
    with acquire_or_connect(tmp_path, "next") as held:
        assert isinstance(held, Owned)
        assert time.monotonic() - begin < 1.0
        assert read_owner(tmp_path).pid == os.getpid()
        assert not stale.parent.exists()
    assert read_owner(tmp_path) is None


def test_asking_a_killed_owner_does_not_hang(tmp_path, start_owner):
    kill(start_owner(tmp_path))
    begin = time.monotonic()
    with pytest.raises(OwnerGone) as caught:
        call_owner(tmp_path, "who", {}, 30.0)
    assert not caught.value.was_started
    assert time.monotonic() - begin < 1.0


def test_of_two_at_once_exactly_one_owns_and_the_other_connects(tmp_path, monkeypatch):
    monkeypatch.setenv("SLOW_START_S", "0.5")
    pair = [launch(tmp_path) for _ in range(2)]
    said = {process.pid: process.stdout.readline().strip() for process in pair}
    for process in pair:
        process.communicate()
    owner = next(pid for pid, words in said.items() if words == "ready")
    assert sorted(said.values()) == [f"connected to {owner}", "ready"]


def test_readers_get_answers_while_the_owner_works(tmp_path, start_owner):
    start_owner(tmp_path)
    slow = threading.Thread(target=call_owner, args=(tmp_path, "sleep", {"seconds": 2}, 10.0))
    slow.start()
    begin = time.monotonic()
    for _ in range(20):
        call_owner(tmp_path, "who", {}, 5.0)
    assert time.monotonic() - begin < 1.5
    slow.join()


def test_large_answers_and_large_requests_pass(tmp_path, start_owner):
    start_owner(tmp_path)
    answer = call_owner(tmp_path, "big", {"size": 8_000_000, "pad": "é" * 1_000_000}, 20.0)
    assert len(answer["text"]) == 8_000_000


def test_an_error_of_the_owner_is_raised_as_what_it_was(tmp_path, start_owner):
    start_owner(tmp_path)
    with pytest.raises(NotFound) as caught:
        call_owner(tmp_path, "missing", {}, 5.0)
    assert caught.value.as_dict() == {
        "code": "unknown_page",
        "message": "no page 7",
        "next_step": "Ask for page 1.",
    }


def test_a_fault_of_the_owner_shows_no_stack_and_does_not_end_it(tmp_path, start_owner):
    start_owner(tmp_path)
    with pytest.raises(BackendError) as caught:
        call_owner(tmp_path, "broken", {}, 5.0)
    assert caught.value.code == "internal"
    assert "secret" not in str(caught.value.as_dict())
    assert call_owner(tmp_path, "who", {}, 5.0)["pid"]


def test_an_owner_that_does_not_answer_is_named(tmp_path, start_owner):
    owner = start_owner(tmp_path, "--deaf")
    begin = time.monotonic()
    with pytest.raises(DataFolderBusy) as caught:
        acquire_or_connect(tmp_path, "second", wait_s=0.5)
    assert time.monotonic() - begin < 2.0
    assert f"process {owner.pid} (test owner)" in caught.value.message


def test_an_owner_that_is_stopped_is_named_in_time(tmp_path, start_owner):
    owner = start_owner(tmp_path)
    owner.send_signal(signal.SIGSTOP)
    try:
        begin = time.monotonic()
        with pytest.raises(DataFolderBusy) as caught:
            acquire_or_connect(tmp_path, "second", wait_s=1.0)
        assert time.monotonic() - begin < 2.0
    finally:
        owner.send_signal(signal.SIGCONT)
    assert str(owner.pid) in caught.value.message


def test_closing_finishes_the_request_under_way_before_the_lock_is_free(tmp_path, start_owner):
    owner = start_owner(tmp_path)
    answers = []
    asking = threading.Thread(
        target=lambda: answers.append(call_owner(tmp_path, "sleep", {"seconds": 1}, 10.0))
    )
    asking.start()
    time.sleep(0.3)
    owner.stdin.close()
    while not FolderLock(tmp_path).try_acquire("probe"):
        assert owner.poll() is None
        time.sleep(0.02)
    asking.join(timeout=0.5)
    assert answers
    assert answers[0]["pid"] == owner.pid


def test_an_owner_killed_at_work_is_reported_and_not_asked_twice(tmp_path, start_owner):
    owner = start_owner(tmp_path)
    threading.Timer(0.5, kill, args=(owner,)).start()
    with connection(tmp_path) as second, pytest.raises(OwnerGone) as caught:
        second.show("30")
    assert caught.value.was_started


def test_an_owner_that_leaves_between_connect_and_request_is_succeeded(
    tmp_path, start_owner, monkeypatch
):
    owner = start_owner(tmp_path)
    real_call = ownership.call_owner

    def leave_first(folder, method, params, timeout_s, on_event=print):
        if method != "ping":
            kill(owner)
        return real_call(folder, method, params, timeout_s, on_event)

    monkeypatch.setattr(ownership, "call_owner", leave_first)
    with connection(tmp_path) as second:
        assert second.collections() == {"collections": []}
        assert read_owner(tmp_path).pid == os.getpid()


def test_what_an_owner_tells_comes_before_its_result(tmp_path):
    heard = []

    def count(method, params, tell):
        for number in range(3):
            tell({"number": number, "heard": len(heard)})
        return {"told": 3}

    with acquire_or_connect(tmp_path, "test") as held:
        held.serve(count)
        told = call_owner(tmp_path, "count", {}, 10.0, heard.append)
    assert told == {"told": 3}
    assert [event["number"] for event in heard] == [0, 1, 2]


@pytest.mark.parametrize("raised", [KeyboardInterrupt, BrokenPipeError, TimeoutError])
def test_an_owner_stops_once_nobody_listens(tmp_path, raised):
    ended = threading.Event()

    def go_on(method, params, tell):
        try:
            while True:
                tell({"more": "x" * 1000})
        except Cancelled:
            ended.set()
            raise

    def leave(event):
        raise raised

    with acquire_or_connect(tmp_path, "test") as held:
        held.serve(go_on)
        with pytest.raises(raised):  # and not as a failure of the owner's
            call_owner(tmp_path, "go on", {}, 10.0, leave)
        assert ended.wait(10)


def test_one_that_wants_to_write_is_told_who_is_at_work(tmp_path, start_owner):
    owner = start_owner(tmp_path)
    with connection(tmp_path) as second, pytest.raises(DataFolderBusy) as caught:
        second.ingest([tmp_path])
    assert f"process {owner.pid} (test owner), which is at work" in caught.value.message


def test_a_forked_child_does_not_keep_the_lock_of_a_killed_owner(tmp_path):
    script = """
        import os, sys, time
        from pathlib import Path
        from rag.apps.ownership import FolderLock
        lock = FolderLock(Path(sys.argv[1]))
        assert lock.try_acquire("parent")
        if os.fork() == 0:
            print(os.getpid(), flush=True)
            time.sleep(60)
        time.sleep(60)
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
    )
    child_pid = int(parent.stdout.readline())
    try:
        assert not FolderLock(tmp_path).try_acquire("too early")
        kill(parent)
        with FolderLock(tmp_path) as lock:
            assert lock.try_acquire("next")
    finally:
        os.kill(child_pid, signal.SIGKILL)
        parent.stdout.close()


def test_a_long_path_works(tmp_path):
    folder = tmp_path / ("d" * 120) / ("e" * 120)
    with acquire_or_connect(folder, "owner") as held:
        held.serve(echo)
        assert call_owner(folder, "hello", {}, 5.0) == {"method": "hello"}


def test_a_long_temporary_folder_works(tmp_path, monkeypatch):
    long = tmp_path / ("t" * 120)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    with acquire_or_connect(tmp_path, "owner") as held:
        held.serve(echo)
        assert call_owner(tmp_path, "hello", {}, 5.0) == {"method": "hello"}


def test_only_this_user_can_open_the_socket(tmp_path):
    with acquire_or_connect(tmp_path, "owner") as held:
        held.serve(echo)
        path = Path(read_owner(tmp_path).socket)
        assert path.stat().st_mode & 0o077 == 0
        assert path.parent.stat().st_mode & 0o077 == 0
    assert not path.parent.exists()


def test_one_that_connects_and_says_nothing_keeps_nobody_waiting(tmp_path, monkeypatch):
    monkeypatch.setattr(ownership._Request, "timeout", 0.3)
    held = acquire_or_connect(tmp_path, "owner")
    held.serve(echo)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(read_owner(tmp_path).socket)
        assert call_owner(tmp_path, "hello", {}, 5.0) == {"method": "hello"}
        begin = time.monotonic()
        held.close()
        assert time.monotonic() - begin < 2.0


@pytest.mark.parametrize("noted", ["", "{", "[]", '{"pid": 1}', '{"socket": 3}'])
def test_a_damaged_owner_file_is_as_none(tmp_path, noted):
    (tmp_path / "owner.json").write_text(noted)
    assert read_owner(tmp_path) is None
    with acquire_or_connect(tmp_path, "owner") as held:
        assert isinstance(held, Owned)


def test_taking_over_removes_nothing_but_sockets_of_ours(tmp_path):
    mine = tmp_path / "octavo-mine"
    mine.mkdir()
    (mine / "socket").write_text("not a socket")
    noted = {"pid": 1, "host": "h", "command": "c", "started_at": 0, "socket": f"{mine}/socket"}
    (tmp_path / "owner.json").write_text(json.dumps(noted))
    with acquire_or_connect(tmp_path, "owner"):
        assert (mine / "socket").read_text() == "not a socket"


def test_a_data_folder_that_cannot_be_made_is_a_matter_of_settings(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be used"):
        acquire_or_connect(tmp_path / "file" / "below", "owner")
