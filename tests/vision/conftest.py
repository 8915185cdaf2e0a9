"""Tiny trained checkpoints, each made once a session, when a test first asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from rag.testing.checkpoints import make_checkpoint
from rag.wiring import load_encoder_here


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Of a family, the folder of its trained checkpoint; shared, so not to be written to."""
    folder = tmp_path_factory.mktemp("tiny")

    @cache
    def made(family: str) -> Path:
        return make_checkpoint(family, folder / family)

    return made


@pytest.fixture(scope="module")
def loaded_here() -> Iterator[None]:
    """Models load in this process, which has torch already; elsewhere that takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        for user in ("rag.wiring", "rag.apps.estimation", "rag.apps.model_check"):
            patch.setattr(f"{user}.load_encoder", load_encoder_here)
        yield
