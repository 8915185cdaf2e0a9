"""PDFs changed at random, through an ingest: each is decided, and nothing dies of any.

`N_MUTANTS` says how many at night (5,000); with `MUTANTS_FOLDER` a run that was stopped goes
on where it stopped, and leaves its state there.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fuzz.mutant_run import State, run_mutants
from fuzz.mutate import mutant, seeds

MAX_MEMORY_BYTES = 8 << 30
N_IN_SUITE = 24


def check(state: State, n_mutants: int) -> None:
    assert (state.hangs, state.deaths, state.faults) == ([], [], [])
    assert sum(state.outcomes.values()) == state.n_done == n_mutants
    assert 0 < state.peak_bytes < MAX_MEMORY_BYTES


def test_a_mutant_is_the_same_for_the_same_number() -> None:
    files = seeds()

    first, second = mutant(files, 7, seed=0), mutant(files, 7, seed=0)

    assert len(files) > 80
    assert first == second != mutant(files, 8, seed=0)
    changed = [mutant(files, number, seed=0) for number in range(100)]
    assert sum(data != files[name] for name, data in changed) > 95


def test_mutants_are_decided_and_a_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    run_mutants(tmp_path, N_IN_SUITE // 2)
    state = run_mutants(tmp_path, N_IN_SUITE)

    check(state, N_IN_SUITE)
    assert any(outcome.startswith(("failed", "refused")) for outcome in state.outcomes)
    assert state.outcomes["indexed"] > 0


@pytest.mark.nightly
@pytest.mark.timeout(4 * 3600)
def test_so_are_thousands(tmp_path: Path) -> None:
    n_mutants = int(os.environ.get("N_MUTANTS", "5000"))
    folder = Path(os.environ.get("MUTANTS_FOLDER", tmp_path))

    check(run_mutants(folder, n_mutants), n_mutants)
