"""Every way the scoring kernels can run on this processor."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import settings

from rag.scoring import native

# An example that takes long says that the machine is busy, not that a law is broken.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

INSTRUCTION_SETS = {
    "x86_64": ("portable", "avx2", "avx512"),
    "aarch64": ("portable", "neon"),
    "arm64": ("portable", "neon"),
}.get(platform.machine(), ("portable",))


@pytest.fixture(scope="module")
def library() -> native.Library:
    found = native.library()
    if found is None:
        pytest.skip(f"no native kernels: {native.status().detail}")
    return found


@contextmanager
def selected(library: native.Library, isa: str) -> Iterator[None]:
    best = library.isa
    try:
        library.select(isa)
    except OSError as error:
        pytest.skip(str(error))
    assert library.isa == isa
    try:
        yield
    finally:
        library.select(best)


@pytest.fixture(scope="module", params=INSTRUCTION_SETS)
def isa(request: pytest.FixtureRequest, library: native.Library) -> Iterator[str]:
    """One instruction set, in use."""
    with selected(library, request.param):
        yield request.param


@pytest.fixture(scope="module", params=[*INSTRUCTION_SETS, "numpy"])
def kernels(request: pytest.FixtureRequest) -> Iterator[str]:
    """One instruction set, in use, or numpy in its place."""
    if request.param == "numpy":
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(native, "library", lambda: None)
            yield "numpy"
        return
    with selected(request.getfixturevalue("library"), request.param):
        yield request.param
