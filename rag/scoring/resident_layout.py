"""How the rows of packed pages lie on a device, and the way there from a packed file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from rag.errors import ConfigError
from rag.scoring import quantize
from rag.scoring.packed import IntArray, PackedRows, Storage

RESIDENT_STORAGES = (Storage.BF16, Storage.INT8, Storage.BITS)


def check_storage(storage: Storage) -> None:
    if storage not in RESIDENT_STORAGES:
        known = ", ".join(RESIDENT_STORAGES)
        raise ConfigError(
            f"resident pages are kept as {known}; got {storage}",
            next_step="Pack the pages as bf16: half the bytes, and the rank of nearly every page.",
        )


def layout(storage: Storage, dim: int) -> tuple[int, Any]:
    """Width and type of a resident row."""
    match storage:
        case Storage.BF16:
            return dim, torch.bfloat16
        case Storage.INT8:
            return dim, torch.int8
        case _:
            return dim // quantize.BITS_GROUP, torch.uint8


def n_units(storage: Storage, n_rows: IntArray) -> IntArray:
    """Rows of the resident tensor that each page takes."""
    if storage is Storage.BITS:
        return -(-n_rows // quantize.BITS_BLOCK) * (quantize.BITS_BLOCK // 2)
    return n_rows


def runs(pages: PackedRows, n_pages: int, *, max_bytes: int) -> Iterator[npt.NDArray[Any]]:
    """Codes of the first pages in order, in pieces as long as they lie side by side."""
    first, used = pages.first[:n_pages], pages.n_units[:n_pages]
    step = max(1, max_bytes // pages.data[:1].nbytes) if len(pages.data) else 1
    breaks = np.flatnonzero(first[1:] != (first + used)[:-1]) + 1
    for run in np.split(np.arange(n_pages), breaks):
        if len(run):
            end = int(first[run[-1]] + used[run[-1]])
            for begin in range(int(first[run[0]]), end, step):
                yield pages.data[begin : min(begin + step, end)]


def to_resident(storage: Storage, codes: npt.NDArray[Any], device: Any) -> Any:
    """Packed codes in the layout of `ResidentPages`, on the device."""
    codes = np.array(codes)  # out of the mapped file, and writable
    match storage:
        case Storage.BF16:
            return torch.from_numpy(codes.view(np.int16)).to(device).view(torch.bfloat16)
        case Storage.INT8:
            # Flipping the top bit takes the bias of 128 away.
            biased = torch.from_numpy(codes).to(device)
            return biased.bitwise_xor_(quantize.INT8_BIAS).view(torch.int8)
        case _:
            half = quantize.BITS_BLOCK // 2
            blocks = torch.from_numpy(codes).to(device).reshape(len(codes), -1, half)
            return blocks.transpose(1, 2).reshape(len(codes) * half, -1)


def signs(codes: Any, dim: int) -> Any:
    """(2 n, dim) float32 of 1 and -1 from resident rows of bits."""
    shifts = torch.arange(8, device=codes.device, dtype=torch.uint8)
    bits = (codes[:, :, None] >> shifts) & 1  # (n, dim / 4, 8): two rows of four signs
    rows = torch.cat([bits[..., :4].reshape(-1, dim), bits[..., 4:].reshape(-1, dim)])
    return rows.float() * 2 - 1
