"""CUDA devices as torch sees them."""

from __future__ import annotations

from typing import Any

import torch

from rag.errors import ConfigError


def resolve_device(name: str | None) -> Any:
    """The device of that name; None is the first GPU.

    Raises:
        ConfigError: no such device here.
    """
    has_gpu = torch.cuda.is_available()
    if name is None and not has_gpu:
        raise ConfigError(
            "no CUDA device was found for resident pages",
            next_step="Score on the CPU (the default), or name the device: 'cpu' works, slowly.",
        )
    try:
        device = torch.device("cuda" if name is None else name)
    except RuntimeError as error:
        raise ConfigError(
            f"torch knows no device {name!r}", next_step="Name 'cuda', 'cuda:1' or 'cpu'."
        ) from error
    if device.type == "cuda" and (not has_gpu or (device.index or 0) >= torch.cuda.device_count()):
        raise ConfigError(
            f"device {name!r} is not there: torch {torch.__version__} sees "
            f"{torch.cuda.device_count()} CUDA devices",
            next_step="Check nvidia-smi and that torch was built for CUDA, or name 'cpu'.",
        )
    return device


def free_bytes(device: str) -> int:
    """Of a GPU, as its driver says now."""
    return int(torch.cuda.mem_get_info(resolve_device(device))[0])


def describe_gpu() -> str:
    """Name and memory of the first GPU, which must be there."""
    free, total = torch.cuda.mem_get_info()
    name = torch.cuda.get_device_name()
    return f"{name}, {free:,} of {total:,} bytes free, torch {torch.__version__}"
