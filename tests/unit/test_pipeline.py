"""Stages in threads: order, bounds, errors, and ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from ingestion.pipeline import Pipeline


@dataclass(eq=False)
class Item:
    number: int
    size: int = 1
    seen: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return self.size


def items(n: int) -> Iterator[Item]:
    return (Item(number) for number in range(n))


def noting(name: str, delay_s: float = 0.0) -> Callable[[Item], None]:
    def stage(item: Item) -> None:
        time.sleep(delay_s)
        item.seen.append(name)

    return stage


def pipeline(
    source: Iterator[Item],
    stopping: threading.Event | None = None,
    **stages: Callable[[Item], None],
) -> Pipeline[Item]:
    return Pipeline(source, stages, stopping=stopping or threading.Event())


def running() -> list[threading.Thread]:
    names = ("read", "first", "second", "last")
    return [thread for thread in threading.enumerate() if thread.name in names]


@pytest.mark.parametrize("n", [0, 1, 50])
def test_everything_goes_through_all_stages_and_keeps_its_order(n: int) -> None:
    with pipeline(items(n), first=noting("first"), second=noting("second")) as through:
        came = list(through)
    assert [item.number for item in came] == list(range(n))
    assert all(item.seen == ["first", "second"] for item in came)
    assert not running()


def test_stages_work_at_the_same_time_and_it_is_told_how_long() -> None:
    start = time.monotonic()
    slow = {name: noting(name, 0.05) for name in ("first", "second", "last")}
    with pipeline(items(10), **slow) as through:
        list(through)
    wall_s = time.monotonic() - start
    assert wall_s < sum(through.busy_s.values()), "one after the other they take all of it"
    assert all(busy_s >= 0.5 for busy_s in through.busy_s.values())


@pytest.mark.parametrize("slow", ["first", "second", "nobody"])
def test_whoever_is_ahead_waits(slow: str) -> None:
    counting = threading.Lock()
    on_its_way, most = 0, 0

    def count(change: int) -> None:
        nonlocal on_its_way, most
        with counting:
            on_its_way += change
            most = max(most, on_its_way)

    def source() -> Iterator[Item]:
        for number in range(30):
            count(1)
            yield Item(number)

    def stage(name: str) -> Callable[[Item], None]:
        def work(_: Item) -> None:
            time.sleep(0.01 if name == slow else 0)
            if name == "second":
                count(-1)

        return work

    with pipeline(source(), first=stage("first"), second=stage("second")) as through:
        assert len(list(through)) == 30
    # One to be handed in, and before each stage and in each stage one.
    assert most <= 5


def test_what_is_empty_takes_no_room() -> None:
    held = threading.Event()
    n_read = [0]

    def source() -> Iterator[Item]:
        for number in range(5):
            n_read[0] = number
            yield Item(number, size=number == 0)

    def hold(item: Item) -> None:
        if item.number == 0:
            held.wait(5)

    with pipeline(source(), first=hold) as through:
        deadline = time.monotonic() + 5
        while n_read[0] < 4 and time.monotonic() < deadline:
            time.sleep(0.01)
        held.set()
        assert [item.number for item in through] == list(range(5))
    assert n_read[0] == 4


@pytest.mark.parametrize("where", ["source", "first", "second", "outside"])
def test_an_error_stops_all_and_comes_out_with_its_type(where: str) -> None:
    n_read = [0]

    def check(name: str, number: int) -> None:
        if name == where and number == 3:
            raise LookupError(name)

    def source() -> Iterator[Item]:
        for number in range(10_000):
            check("source", number)
            n_read[0] = number
            yield Item(number)

    came = []
    through = pipeline(
        source(),
        first=lambda item: check("first", item.number),
        second=lambda item: check("second", item.number),
    )

    def consume() -> None:
        with through as stored:
            for item in stored:
                check("outside", item.number)
                came.append(item.number)

    with pytest.raises(LookupError, match=where):
        consume()
    assert came == [0, 1, 2][: len(came)], "what was done before may be told of, nothing after"
    assert n_read[0] < 100
    assert not running()


def test_leaving_waits_for_the_last_stage_and_not_long_for_the_others() -> None:
    stopping = threading.Event()
    last_is_in, last_is_done = threading.Event(), threading.Event()
    never = threading.Event()

    def first(item: Item) -> None:
        if item.number == 1:
            never.wait(30)

    def last(_: Item) -> None:
        last_is_in.set()
        time.sleep(0.3)
        last_is_done.set()

    start = time.monotonic()

    def interrupted() -> None:
        with pipeline(items(5), stopping, first=first, last=last):
            last_is_in.wait(5)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert last_is_done.is_set()
    assert stopping.is_set()
    assert time.monotonic() - start < 5
    never.set()
