"""The guard before vision encoders, on the real libraries where the vision extra is installed."""

import importlib.util
import subprocess
import sys

import pytest

from rag.encoders.torchvision_guard import ensure_torchvision

_IS_INSTALLED = importlib.util.find_spec("torchvision") is not None


@pytest.mark.skipif(_IS_INSTALLED, reason="the vision extra is installed")
def test_without_the_vision_extra_the_guard_says_so():
    assert ensure_torchvision() == "absent"


@pytest.mark.skipif(
    not _IS_INSTALLED, reason="needs the vision extra: pip install 'octavo[vision]'"
)
def test_torchvision_imports_after_the_guard_whatever_torch_was_built_for():
    # In a process of its own: an import cannot be undone.
    code = (
        "from rag.encoders.torchvision_guard import ensure_torchvision as ensure\n"
        "first = ensure(); import torchvision.transforms.v2\n"
        "assert ensure() == first, first; print(first)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in ("whole", "named")
