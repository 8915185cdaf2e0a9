"""Mutants through an ingest, batch after batch; goes on where it stopped.

As a program: `python tests/fuzz/mutant_run.py FOLDER N [SEED]` keeps its state in FOLDER.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from fuzz.mutate import mutant, seeds
from process_memory import Memory
from watched_ingest import faults

from rag import Octavo
from rag.settings import load_settings

BATCH_FILES = 25
MAX_FILE_S = 120.0
PAGE_TIMEOUT_S = 5.0
DOCUMENTS_A_FOLDER = 500


@dataclass
class State:
    """What is known of a run so far.

    Attributes:
        n_done: mutants decided.
        under_way: first mutant of the batch that was begun and not ended, if the process died.
        deaths: batches that were found so.
        hangs: mutants that were not decided in time.
        faults: what was told wrongly of a mutant.
        outcomes: by state and code of the error.
        slowest: (seconds, mutant, where it comes from, state), slowest first.
    """

    n_done: int = 0
    under_way: int | None = None
    deaths: list[int] = field(default_factory=list)
    hangs: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    outcomes: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    slowest: list[tuple[float, int, str, str]] = field(default_factory=list)
    peak_bytes: int = 0
    seconds: float = 0.0

    @classmethod
    def of(cls, path: Path) -> State:
        state = cls(**json.loads(path.read_text())) if path.exists() else cls()
        if state.under_way is not None:
            state.deaths.append(state.under_way)
            state.n_done = state.under_way + BATCH_FILES
            state.under_way = None
        return state

    def write(self, path: Path) -> None:
        beside = path.with_suffix(".new")
        beside.write_text(json.dumps(asdict(self), indent=1))
        beside.replace(path)


def run_mutants(folder: Path, n_mutants: int, *, seed: int = 0) -> State:
    """Ingest mutants 0 to `n_mutants` - 1, from where the state in `folder` says it stopped.

    Stops at a mutant that hangs: what reads it would be in the way of the others.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state_path = folder / "state.json"
    state = State.of(state_path)
    files = seeds()
    memory = Memory(os.getpid())
    try:
        while state.n_done < n_mutants and not state.hangs:
            part = state.n_done // DOCUMENTS_A_FOLDER
            with _opened(folder / f"data-{part}") as octavo:
                end = min(n_mutants, (part + 1) * DOCUMENTS_A_FOLDER)
                while state.n_done < end and not state.hangs:
                    numbers = range(state.n_done, min(end, state.n_done + BATCH_FILES))
                    state.under_way = state.n_done
                    state.write(state_path)
                    _batch(octavo, folder / "mutants", files, numbers, state, seed=seed)
                    state.n_done, state.under_way = numbers.stop, None
                    state.peak_bytes = max(state.peak_bytes, memory.peak_bytes)
                    state.write(state_path)
    except KeyboardInterrupt:  # stopped from outside: no death of ours
        state.under_way = None
        state.write(state_path)
        raise
    finally:
        memory.stop()
    return state


def _opened(data: Path) -> Octavo:
    settings = load_settings(
        overrides={
            "store": {"data_dir": data},
            "render": {"page_timeout_s": PAGE_TIMEOUT_S, "workers": 2},
            "ocr": {"page_timeout_s": PAGE_TIMEOUT_S},
        }
    )
    return Octavo(settings=settings)


def _batch(
    octavo: Octavo,
    folder: Path,
    files: dict[str, bytes],
    numbers: range,
    state: State,
    *,
    seed: int,
) -> None:
    folder.mkdir(exist_ok=True)
    told: dict[str, tuple[int, str]] = {}
    for number in numbers:
        origin, data = mutant(files, number, seed=seed)
        name = f"m{number:06}.pdf"
        (folder / name).write_bytes(data)
        told[name] = number, origin
    begun = time.monotonic()
    undecided = _decided(octavo, folder, told, state)
    state.seconds += time.monotonic() - begun
    state.hangs += [f"mutant {told[name][0]} of {told[name][1]}" for name in undecided]
    for name in told:
        if name not in undecided:
            (folder / name).unlink()


def _decided(
    octavo: Octavo, folder: Path, told: dict[str, tuple[int, str]], state: State
) -> list[str]:
    """The files that were not decided in time."""
    heard: queue.Queue[dict[str, Any] | BaseException | None] = queue.Queue()

    def ingest() -> None:
        try:
            heard.put(octavo.ingest(folder, on_event=heard.put))
        except BaseException as error:  # noqa: BLE001 - told to the thread that waits
            heard.put(error)

    threading.Thread(target=ingest, daemon=True).start()
    waiting = dict(told)
    last = time.monotonic()
    while True:
        try:
            event = heard.get(timeout=max(0.0, last + MAX_FILE_S - time.monotonic()))
        except queue.Empty:
            return list(waiting)
        if isinstance(event, BaseException):
            raise event
        if event is None or event["event"] == "totals":
            state.faults += [f"{told[name]} was passed over" for name in waiting]
            return []
        if event["event"] != "document":
            continue
        number, origin = waiting.pop(event["source"])
        seconds, last = time.monotonic() - last, time.monotonic()
        _count(state, event, number, origin, seconds)


def _count(state: State, event: dict[str, Any], number: int, origin: str, seconds: float) -> None:
    error = event["error"]
    outcome = event["state"] if error is None else f"{event['state']} {error['code']}"
    state.outcomes = dict(Counter(state.outcomes) + Counter([outcome]))
    reasons = Counter(page["reason"] for page in event["failed_pages"])
    state.reasons = dict(Counter(state.reasons) + reasons)
    state.slowest.append((round(seconds, 2), number, origin, outcome))
    state.slowest = sorted(map(tuple, state.slowest), reverse=True)[:10]
    state.faults += [f"mutant {number} of {origin}: {fault}" for fault in faults(event)]


if __name__ == "__main__":
    ended = run_mutants(
        Path(sys.argv[1]), int(sys.argv[2]), seed=int(sys.argv[3]) if len(sys.argv) > 3 else 0
    )
    print(json.dumps(asdict(ended), indent=1))  # noqa: T201 - a program for people
