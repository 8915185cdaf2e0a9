"""What several kinds of tests share."""

import os
import signal
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

# A shell starts what runs in its background with Ctrl-C ignored, and so do all processes started
# from there; tests of Ctrl-C must not depend on who ran the suite.
signal.signal(signal.SIGINT, signal.default_int_handler)
# Tests in several processes get the width of the terminal they were started from.
os.environ.pop("COLUMNS", None)


@pytest.fixture(scope="session")
def devset() -> Path:
    """The folder of development collections (`finance`, `visual`, `weird`), which is not ours to
    hand on and lies beside the checkout where it is there at all.
    """
    folder = Path(__file__).parents[1].parent / "shared" / "data" / "pagegold-dev"
    if not folder.is_dir():
        pytest.skip("no development collections beside the checkout")
    return folder


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Of a family, the folder of its tiny trained checkpoint, made when a test first asks for it;
    shared, so not to be written to.
    """
    from rag.testing.checkpoints import make_checkpoint  # wanted by few

    folder = tmp_path_factory.mktemp("tiny")

    @cache
    def made(family: str) -> Path:
        return make_checkpoint(family, folder / family)

    return made
