"""Other people's libraries: none is loaded by an import, each is skipped where it is missing."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from typing import Any

from eval.bench.contender import Skipped
from rag.encoders.torchvision_guard import ensure_torchvision

# module -> what `pip install` is told
_REQUIREMENTS = {
    "torch": "torch",
    "colpali_engine": "colpali-engine==0.3.18",
    "maxsim_cpu": "maxsim-cpu",
    "late_interaction_kernels": "late-interaction-kernels==0.4.5",
    "fastembed": "fastembed",
    "qdrant_edge": "qdrant-edge-py",
    "matplotlib": "matplotlib",
}


def load(module: str, part: str = "") -> Any:
    """A peer's module, or a part of it.

    Raises:
        Skipped: it is not installed, or does not load.
    """
    if importlib.util.find_spec(module) is None:
        raise Skipped(f"not installed, pip install {_REQUIREMENTS[module]}")
    try:
        return importlib.import_module(f"{module}.{part}" if part else module)
    # A package built for another torch raises anything from OSError to AttributeError.
    except Exception as error:  # anything: told as skipped, with its words
        raise Skipped(
            f"does not load ({type(error).__name__}: {error!s:.100}), "
            f"pip install --force-reinstall {_REQUIREMENTS[module]}"
        ) from error


def colpali_engine() -> Any:
    """The whole package, with its models."""
    load("torch")
    ensure_torchvision()
    return load("colpali_engine", "models")


def colpali_processor() -> Any:
    """The class that holds colpali-engine's `score_multi_vector`."""
    spec = importlib.util.find_spec("colpali_engine")
    if spec is None or spec.submodule_search_locations is None:
        raise Skipped(f"not installed, pip install {_REQUIREMENTS['colpali_engine']}")
    load("torch")
    # The package imports every model it has, and with them torchvision; its scoring needs neither.
    ensure_torchvision()
    if "colpali_engine" not in sys.modules:
        package = types.ModuleType("colpali_engine")
        package.__spec__ = spec
        package.__path__ = list(spec.submodule_search_locations)
        sys.modules["colpali_engine"] = package
    return load("colpali_engine", "utils.processing_utils").BaseVisualRetrieverProcessor
