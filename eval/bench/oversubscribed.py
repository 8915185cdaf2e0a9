"""How much our scoring slows down where other programs keep every core busy, four for each.

A plain loop on one thread slows down too: it gets a share of a core. Each is measured as calls over
about a second, quiet and then among busy processes, and its slowdown is put beside the loop's.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from eval.bench.maxsim import make_task, ours, single_loop
from rag.scoring.packed import Storage

TIMES = 4
_SPELL_S = 1.0
_LOOP = "plain loop, one thread"


@dataclass(frozen=True)
class Slowdown:
    """Seconds a call, quiet and among busy processes; slowdowns by minima and by medians.

    Attributes:
        against_loop: slowdown over that of the plain loop, by minima and by medians.
    """

    name: str
    quiet_s: tuple[float, ...]
    busy_s: tuple[float, ...]
    against_loop: tuple[float, float] = (1.0, 1.0)

    @property
    def factors(self) -> tuple[float, float]:
        return (
            min(self.busy_s) / min(self.quiet_s),
            float(np.median(self.busy_s) / np.median(self.quiet_s)),
        )

    def as_dict(self) -> dict[str, Any]:
        return {
            "quiet_ms": [round(min(self.quiet_s) * 1e3, 3), _median_ms(self.quiet_s)],
            "busy_ms": [round(min(self.busy_s) * 1e3, 3), _median_ms(self.busy_s)],
            "slowdown": [round(each, 3) for each in self.factors],
            "against_loop": [round(each, 3) for each in self.against_loop],
        }


def run(
    n_pages: int,
    rounds: int,
    *,
    say: Callable[[str], object],
    spell_s: float = _SPELL_S,
    rows: tuple[int, int] = (700, 1030),
) -> list[Slowdown]:
    """Slowdowns of every storage of ours, and of the loop, which comes first."""
    task = make_task(n_pages, rows=rows)
    calls = {_LOOP: single_loop(task).call}
    calls |= {f"octavo {storage}": ours(task, storage).call for storage in Storage}
    for call in calls.values():
        call()
    say("oversubscribed: quiet")
    quiet = _spells(calls, rounds, spell_s)
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    say(f"oversubscribed: {TIMES} busy processes a core")
    with _busy(TIMES * (n_cores or 1)):
        busy = _spells(calls, rounds, spell_s)
    found = [Slowdown(name, tuple(quiet[name]), tuple(busy[name])) for name in calls]
    loop = found[0].factors
    return [
        Slowdown(
            each.name,
            each.quiet_s,
            each.busy_s,
            (each.factors[0] / loop[0], each.factors[1] / loop[1]),
        )
        for each in found
    ]


def _spells(
    calls: dict[str, Callable[[], Any]], rounds: int, spell_s: float
) -> dict[str, list[float]]:
    """Seconds a call, on average over a spell of calls; spells of all, shuffled, every round."""
    order = random.Random(0)
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        names = list(calls)
        order.shuffle(names)
        for name in names:
            n = 0
            start = time.perf_counter()
            while (passed := time.perf_counter() - start) < spell_s or n == 0:
                calls[name]()
                n += 1
            found[name].append(passed / n)
    return found


@contextmanager
def _busy(n: int) -> Iterator[None]:
    """`n` processes that never rest."""
    processes = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"], stdin=subprocess.DEVNULL)
        for _ in range(n)
    ]
    try:
        time.sleep(0.5)  # until all of them run
        yield
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()


def _median_ms(seconds: tuple[float, ...]) -> float:
    return round(float(np.median(seconds)) * 1e3, 3)
