"""How the compiled kernels are found, and what is said where they are not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from rag.scoring import native
from rag.scoring.maxsim import maxsim_many

ROOT = Path(__file__).parents[2]


@pytest.fixture
def reloaded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Loads again in the test, and once more afterwards."""
    before = native.library()
    isa, threads = (before.isa, before.threads) if before else (None, 0)
    native._load.cache_clear()
    yield
    monkeypatch.undo()
    native._load.cache_clear()
    if before is not None and isa is not None:
        native.Library(native.PATH, threads=threads, isa=isa)


def test_a_checkout_set_up_by_make_has_its_kernels_in_use() -> None:
    """Without this the suite would pass by numpy alone where the build fails in silence."""
    if os.environ.get("OCTAVO_NATIVE"):
        pytest.skip("OCTAVO_NATIVE is set")
    if not (ROOT / ".venv" / "octavo-setup").exists() or Path(sys.prefix) != ROOT / ".venv":
        pytest.skip("not a checkout that `make setup` made")
    status = native.status()
    assert status.is_used, status.detail
    assert status.next_step == ""
    assert native.library() is not None


def test_the_status_names_the_instruction_set_and_the_threads() -> None:
    library = native.library()
    if library is None:
        pytest.skip(native.status().detail)
    assert native.status().detail == f"{library.isa}, {library.threads} threads"


@pytest.mark.usefixtures("reloaded")
def test_it_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCTAVO_NATIVE", "off")
    assert native.library() is None
    status = native.status()
    assert (status.is_used, status.next_step) == (False, "Unset OCTAVO_NATIVE.")
    # numpy does the work.
    rows = np.eye(16, dtype=np.float32)
    assert maxsim_many(rows[:2], [rows]).tolist() == [2]


@pytest.mark.usefixtures("reloaded")
def test_where_it_was_not_built_the_status_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("OCTAVO_NATIVE", raising=False)
    monkeypatch.setattr(native, "PATH", tmp_path / "_octavo.so")
    assert native.library() is None
    assert "not built" in native.status().detail
    assert "make setup" in native.status().next_step


@pytest.mark.usefixtures("reloaded")
@pytest.mark.parametrize("content", [b"", b"no library", b"\x7fELF" + bytes(100)])
def test_a_damaged_library_is_not_used_and_the_status_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes
) -> None:
    monkeypatch.delenv("OCTAVO_NATIVE", raising=False)
    damaged = tmp_path / "_octavo.so"
    damaged.write_bytes(content)
    monkeypatch.setattr(native, "PATH", damaged)
    assert native.library() is None
    assert "cannot be loaded" in native.status().detail
    assert "make setup" in native.status().next_step


@pytest.mark.usefixtures("reloaded")
def test_a_foreign_library_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OCTAVO_NATIVE", raising=False)
    import _ctypes  # a library for certain, and none of ours

    monkeypatch.setattr(native, "PATH", Path(_ctypes.__file__))
    assert native.library() is None
    assert "cannot be loaded" in native.status().detail


@pytest.mark.usefixtures("reloaded")
def test_a_library_of_another_version_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    if not native.PATH.exists():
        pytest.skip("not built")
    monkeypatch.delenv("OCTAVO_NATIVE", raising=False)
    monkeypatch.setattr(native, "_ABI", native._ABI + 1)
    assert native.library() is None
    assert f"{native._ABI} is wanted" in native.status().detail


@pytest.mark.usefixtures("reloaded")
def test_an_instruction_set_that_this_processor_lacks_is_not_passed_over_in_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not native.PATH.exists():
        pytest.skip("not built")
    monkeypatch.setenv("OCTAVO_NATIVE", "abacus")
    assert native.library() is None
    assert "'abacus'" in native.status().detail


def test_an_instruction_set_can_be_chosen() -> None:
    if native.library() is None:
        pytest.skip(native.status().detail)
    code = "from rag.scoring import native; print(native.library().isa)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "OCTAVO_NATIVE": "portable"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "portable\n"


def test_importing_loads_and_starts_nothing() -> None:
    code = (
        "import rag, rag.scoring.native as n, threading;"
        "print(n._load.cache_info().currsize, threading.active_count())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "0 1\n"
