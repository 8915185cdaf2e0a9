"""Interleaved timing: each contender once a round, in an order that changes from round to round.

A shared machine drifts. Timed one after another, contenders meet different machines; round by round
they share its good and bad seconds, and the ratio of their minima, or medians, means something.
"""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

# Threads of OpenMP and BLAS keep spinning after their work, and would take the next one's cores.
_SETTLE_S = 0.03
_LEAST_ROUNDS = 3


@dataclass(frozen=True)
class Times:
    """Seconds of each call, in rounds' order; what a call raised, for those that did."""

    seconds: Mapping[str, list[float]]
    failed: Mapping[str, str]


def interleave(
    calls: Mapping[str, Callable[[], Any]],
    *,
    rounds: int,
    budget_s: float,
    order: random.Random,
    settle_s: float = _SETTLE_S,
    clock: Callable[[], float] = time.perf_counter,
) -> Times:
    """Time calls that were made once already.

    Args:
        calls: by name.
        rounds: at most this many,
        budget_s: and no new one after so many seconds, but three in any case (or `rounds`).
        order: shuffles each round.
        settle_s: pause before each call.
        clock: in seconds.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    failed: dict[str, str] = {}
    started = clock()
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        for number in range(rounds):
            if number >= _LEAST_ROUNDS and clock() - started > budget_s:
                break
            names = [name for name in calls if name not in failed]
            order.shuffle(names)
            for name in names:
                time.sleep(settle_s)
                before = clock()
                try:
                    calls[name]()
                # Other people's code may raise anything; it is left out of the rounds that follow.
                except Exception as error:  # noqa: BLE001  # shown as failed
                    failed[name] = f"{type(error).__name__}: {error}"[:200]
                else:
                    seconds[name].append(clock() - before)
    finally:
        if collecting:
            gc.enable()
    return Times(seconds, failed)
