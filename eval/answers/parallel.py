"""Questions put side by side, what comes back handed on one at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

from rag.errors import RagError

SAME_FAILURES = 5  # from the beginning; by then it is not the question

Item = TypeVar("Item")
Result = TypeVar("Result")


def each_of(
    items: Sequence[Item],
    do: Callable[[Item], Result],
    on_done: Callable[[Item, Result], None],
    *,
    workers: int = 1,
) -> None:
    """Call `do` with every item, and `on_done` in this thread with what came of it, as it comes.

    One worker takes the items in their order, in this thread. With more, whatever ends the work
    before its time (Ctrl-C, an error of `do`) lets those under way come to their end: what they
    bring is handed on too, for somebody may have paid for it. None is begun any more.
    """
    if workers == 1:
        for item in items:
            on_done(item, do(item))
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="asking")
    waiting = {pool.submit(do, item): item for item in items}
    try:
        for future in as_completed(waiting):
            result = future.result()
            on_done(waiting.pop(future), result)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        for future, item in waiting.items():
            if not future.cancelled() and future.exception() is None:
                on_done(item, future.result())


def each_until_all_fail(
    items: Sequence[Item],
    do: Callable[[Item], Result],
    on_done: Callable[[Item, Result], RagError | None],
    *,
    workers: int = 1,
    is_first: bool = True,
) -> None:
    """The same, and given up where nothing but one failure is to be had.

    Args:
        items: in the order they are to be taken.
        do: as of `each_of`.
        on_done: says why an item failed; None where it did not.
        workers: items under way at a time.
        is_first: nothing went well before. The first five are then waited for before any other is
            begun, so that as many are spent on a server that is not there with any workers.

    Raises:
        RagError: the failure of the fifth, where the first five failed with the same code.
    """
    failures: list[RagError] = []

    def done(item: Item, result: Result) -> None:
        failure = on_done(item, result)
        if failure is not None:
            failures.append(failure)

    n_first = SAME_FAILURES if is_first else 0
    each_of(items[:n_first], do, done, workers=workers)
    if len(failures) == SAME_FAILURES and len({failure.code for failure in failures}) == 1:
        raise failures[-1]
    each_of(items[n_first:], do, done, workers=workers)
