"""Whether a CUDA device finds the pages, and why. Loads torch only where a device may be used."""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from dataclasses import dataclass
from typing import Literal

from rag.errors import ConfigError


@dataclass(frozen=True)
class DeviceChoice:
    """The device and the reason for it, as one reads it in `octavo doctor`."""

    name: Literal["cpu", "cuda"]
    reason: str


def choose_device(wanted: Literal["auto", "cpu", "cuda"]) -> DeviceChoice:
    """The device that `retrieval.device` means on this machine.

    Raises:
        ConfigError: cuda is asked for and cannot be had.
    """
    if wanted == "cpu":
        return DeviceChoice("cpu", "retrieval.device is cpu")
    # A second of imports, for nothing where there is no driver.
    if wanted == "auto" and not _has_driver():
        return DeviceChoice("cpu", "there is no NVIDIA driver")
    try:
        return DeviceChoice("cuda", _gpu())
    except ConfigError as error:
        if wanted == "auto":
            return DeviceChoice("cpu", error.message)
        raise ConfigError(
            f"retrieval.device is cuda, but {error.message}",
            next_step=f"{error.next_step} Or set retrieval.device to auto or cpu.",
        ) from error


def _has_driver() -> bool:
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def _gpu() -> str:
    """The GPU in words. Raises ConfigError where none can be used."""
    if importlib.util.find_spec("torch") is None:
        raise ConfigError(
            "torch is not installed", next_step="Install torch built for CUDA, and triton."
        )
    try:
        from rag.scoring.torch_device import describe_gpu, resolve_device
    except (ImportError, OSError) as error:  # OSError: a library that torch loads is missing
        raise ConfigError(
            f"torch does not load: {error}", next_step="Install torch anew."
        ) from error
    try:
        resolve_device("cuda")
        return describe_gpu()
    except RuntimeError as error:
        raise ConfigError(
            f"the GPU does not answer: {error}", next_step="Check nvidia-smi."
        ) from error
