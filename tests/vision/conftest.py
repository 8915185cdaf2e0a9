"""Tiny trained checkpoints, each made once a session, when a test first asks for it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from rag.testing.checkpoints import make_checkpoint


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Of a family, the folder of its trained checkpoint; shared, so not to be written to."""
    folder = tmp_path_factory.mktemp("tiny")

    @cache
    def made(family: str) -> Path:
        return make_checkpoint(family, folder / family)

    return made
