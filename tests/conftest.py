"""What several kinds of tests share."""

import signal
from pathlib import Path

import pytest

# A shell starts what runs in its background with Ctrl-C ignored, and so do all processes started
# from there; tests of Ctrl-C must not depend on who ran the suite.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def devset() -> Path:
    """The folder of development collections (`finance`, `visual`, `weird`), which is not ours to
    hand on and lies beside the checkout where it is there at all.
    """
    folder = Path(__file__).parents[1].parent / "shared" / "data" / "pagegold-dev"
    if not folder.is_dir():
        pytest.skip("no development collections beside the checkout")
    return folder
