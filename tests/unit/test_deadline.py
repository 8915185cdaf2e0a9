"""A deadline: it does not move, it can be cancelled, and whoever waits under it is woken."""

import math
import threading
import time

import pytest

from rag.deadline import Cancelled, Deadline


def test_what_remains_shrinks_to_nothing_and_no_further() -> None:
    deadline = Deadline(0.05)
    first = deadline.remaining_s
    assert 0 < first <= 0.05
    time.sleep(0.01)
    assert deadline.remaining_s < first
    time.sleep(0.06)
    assert deadline.remaining_s == 0
    assert deadline.is_over
    assert not deadline.is_cancelled


def test_without_seconds_there_is_no_end_and_still_it_can_be_cancelled() -> None:
    deadline = Deadline()
    assert deadline.remaining_s == math.inf
    assert not deadline.is_over
    threading.Timer(0.05, deadline.cancel).start()
    with pytest.raises(Cancelled) as caught:
        deadline.wait(math.inf)
    assert caught.value.code == "cancelled"


def test_a_wait_takes_no_longer_than_asked_and_no_longer_than_until_the_end() -> None:
    for seconds, asked_s in ((60, 0.05), (0.05, 60), (0.05, math.inf)):
        started = time.monotonic()
        Deadline(seconds).wait(asked_s)
        assert 0.04 < time.monotonic() - started < 1


def test_cancelling_calls_back_once_and_only_within_the_block() -> None:
    deadline, told = Deadline(), []
    with deadline.on_cancel(lambda: told.append("too late")):
        pass
    with deadline.on_cancel(lambda: told.append("outer")):
        with deadline.on_cancel(lambda: told.append("inner")):
            deadline.cancel()
            assert sorted(told) == ["inner", "outer"]
        deadline.cancel()
    assert sorted(told) == ["inner", "outer"]


def test_a_block_that_begins_after_the_cancelling_raises_and_is_not_told() -> None:
    deadline, told = Deadline(), []
    deadline.cancel()
    with pytest.raises(Cancelled), deadline.on_cancel(lambda: told.append("told")):
        told.append("begun")
    assert not told


def test_a_block_that_fails_is_forgotten() -> None:
    deadline, told = Deadline(), []
    with pytest.raises(ValueError, match="mine"), deadline.on_cancel(lambda: told.append("told")):
        raise ValueError("mine")
    deadline.cancel()
    assert not told


def test_a_callback_may_ask_the_deadline_and_end_a_wait_of_another_thread() -> None:
    deadline, woken = Deadline(), threading.Event()

    def wake() -> None:
        assert deadline.is_cancelled
        assert deadline.remaining_s == math.inf
        woken.set()

    threading.Timer(0.05, deadline.cancel).start()
    with deadline.on_cancel(wake):
        assert woken.wait(5)
    with pytest.raises(Cancelled):
        deadline.require_wanted()


def test_many_threads_are_all_woken() -> None:
    deadline, n_woken = Deadline(60), []

    def wait() -> None:
        with pytest.raises(Cancelled):
            deadline.wait(60)
        n_woken.append(1)

    threads = [threading.Thread(target=wait) for _ in range(20)]
    for thread in threads:
        thread.start()
    deadline.cancel()
    for thread in threads:
        thread.join(5)
    assert len(n_woken) == 20
