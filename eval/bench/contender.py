"""What competes in a section of the bench, what it is held to first, and what came out.

A contender is checked against its reference before any time is taken; one that is wrong is shown as
wrong and gets no time. One that is not installed costs a line, not the run.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from eval.bench.machine import Cost, Machine
from eval.bench.rounds import interleave


class Skipped(Exception):
    """This contender cannot take part here; the message says why and what would change that."""


@dataclass(frozen=True)
class Gate:
    """How right a contender is.

    Attributes:
        passed: it may be timed.
        figures: what was compared, for example max_relative_error, top10_overlap.
    """

    passed: bool
    figures: Mapping[str, float]


@dataclass(frozen=True)
class Contender:
    """Something that does the section's work.

    Attributes:
        call: one timed call; everything that is resident is made before.
        check: holds what `call` answers against the reference.
        ours: part of this project.
        scale: what a call's seconds are multiplied by, where it does a sample of the work.
        cost: the least the work asks of the machine.
    """

    name: str
    call: Callable[[], Any]
    check: Callable[[Any], Gate]
    ours: bool = False
    scale: float = 1.0
    cost: Cost | None = None


@dataclass(frozen=True)
class Entry:
    """A name in the table, and what makes its contender; that may raise `Skipped`."""

    name: str
    make: Callable[[], Contender]


@dataclass(frozen=True)
class Row:
    """Times of one contender, in seconds, and its gate."""

    name: str
    ours: bool
    gate: Gate
    seconds: tuple[float, ...]
    cost: Cost | None

    @property
    def min_s(self) -> float:
        return min(self.seconds)

    @property
    def median_s(self) -> float:
        middle = sorted(self.seconds)
        half = len(middle) // 2
        return middle[half] if len(middle) % 2 else (middle[half - 1] + middle[half]) / 2


OWN = "octavo"  # how names of ours begin


@dataclass(frozen=True)
class Outcome:
    """One section's run.

    Attributes:
        section: `maxsim`, `fde`, ...
        work: the task of one call, in words.
        rows: contenders that passed their gate, fastest first.
        failed: name and what was wrong; ours begin with OWN.
        skipped: name and why.
        load: load average of the last minute, before and after.
        facts: what belongs to the figures but is none of the contenders' times.
    """

    section: str
    work: str
    rows: tuple[Row, ...]
    failed: Mapping[str, str]
    skipped: Mapping[str, str]
    machine: Machine
    load: tuple[float, float]
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_sound(self) -> bool:
        """Whether none of ours failed."""
        return not any(name.startswith(OWN) for name in self.failed)

    def ratios(self) -> dict[str, dict[str, tuple[float, float]]]:
        """Of ours, of peers: how many times faster ours is, by minima and by medians."""
        peers = [row for row in self.rows if not row.ours]
        return {
            own.name: {
                peer.name: (peer.min_s / own.min_s, peer.median_s / own.median_s) for peer in peers
            }
            for own in self.rows
            if own.ours
        }


@dataclass(frozen=True)
class Effort:
    """How long a section may measure: `rounds` at most, `budget_s` about, three rounds at least."""

    rounds: int = 30
    budget_s: float = 120.0


def race(
    section: str,
    work: str,
    entries: Sequence[Entry],
    effort: Effort,
    *,
    say: Callable[[str], object],
    machine: Machine | None = None,
    facts: Mapping[str, Any] | None = None,
) -> Outcome:
    """Make, check and time contenders; the machine's peaks are measured in the same rounds.

    `machine` holds the peaks that earlier sections of the run found.
    """
    before = load_now()
    ready: dict[str, Contender] = {}
    gates: dict[str, Gate] = {}
    failed: dict[str, str] = {}
    skipped: dict[str, str] = {}
    for entry in entries:
        say(f"{section}: {entry.name}")
        try:
            contender = entry.make()
            gate = contender.check(contender.call())
        except Skipped as reason:
            skipped[entry.name] = str(reason)
        # Other people's code may raise anything, and must not end the run. It is shown as failed,
        # and with one of ours the run's exit code is 1.
        except Exception as error:  # noqa: BLE001  # shown as failed, see above
            failed[entry.name] = f"{type(error).__name__}: {error}"[:200]
        else:
            gates[entry.name] = gate
            if gate.passed:
                ready[entry.name] = contender
            else:
                failed[entry.name] = f"wrong: {described(gate)}"
    machine = machine or Machine()
    calls: dict[str, Callable[[], Any]] = {name: each.call for name, each in ready.items()}
    if any(each.cost for each in ready.values()):
        calls[_PEAKS] = machine.measure
    say(f"{section}: timing {len(ready)} contenders")
    times = interleave(
        calls, rounds=effort.rounds, budget_s=effort.budget_s, order=random.Random(0)
    )
    failed.update({name: error for name, error in times.failed.items() if name != _PEAKS})
    rows = [
        Row(
            name,
            contender.ours,
            gates[name],
            tuple(seconds * contender.scale for seconds in times.seconds[name]),
            contender.cost,
        )
        for name, contender in ready.items()
        if times.seconds[name] and name not in times.failed
    ]
    rows.sort(key=lambda row: row.min_s)
    return Outcome(
        section=section,
        work=work,
        rows=tuple(rows),
        failed=failed,
        skipped=skipped,
        machine=machine.snapshot(),
        load=(before, load_now()),
        facts=dict(facts or {}),
    )


def load_now() -> float:
    """Processes that ran or waited to, on average over the last minute; NaN where nobody counts."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")


def described(gate: Gate) -> str:
    return ", ".join(f"{name} {value:.3g}" for name, value in gate.figures.items())


_PEAKS = "peaks of the machine"
