"""What tests through the command line and the service share that load a vision model."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rag.wiring import load_encoder_here


@pytest.fixture(scope="module")
def loaded_here() -> Iterator[None]:
    """Models load in this process, which has torch already; elsewhere that takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        for user in ("rag.wiring.engine", "rag.apps.estimation", "rag.apps.model_check"):
            patch.setattr(f"{user}.load_encoder", load_encoder_here)
        yield
