"""Where a model runs, in which numbers, and what becomes of a batch that does not fit.

Too little memory makes batches smaller; a GPU that is gone is an error of its own, because nothing
but another process brings it back.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, TypeVar, cast

import torch

from rag.errors import ConfigError, ModelFailed

# What one page of a model of 2 to 4 billion weights takes at about a thousand tokens: its hidden
# states of all layers, the widest layer, and the image encoder. Too little is found out by trying.
_PAGE_BYTES = 512 * 1024**2
_MOST_PAGES = 32
# A batch gives a CPU no more speed; two pages let the next be prepared meanwhile.
_CPU_PAGES = 2

Item = TypeVar("Item")
Inputs = TypeVar("Inputs")
Result = TypeVar("Result")


def choose_device(wanted: Literal["auto", "cpu", "cuda"]) -> torch.device:
    """Raises ConfigError where cuda is asked for and torch sees none."""
    if wanted == "cpu":
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda")
    if wanted == "auto":
        return torch.device("cpu")
    raise ConfigError(
        "encoder.device is cuda, and torch sees no GPU",
        next_step="Check nvidia-smi and that torch is built for CUDA, or set encoder.device to "
        "auto or cpu.",
    )


def choose_dtype(
    wanted: Literal["auto", "float32", "bfloat16", "float16"], device: torch.device
) -> torch.dtype:
    """`auto` is bfloat16 on a GPU, float32 on a CPU."""
    if wanted == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    return cast("torch.dtype", getattr(torch, wanted))


def choose_attention(
    wanted: Literal["auto", "sdpa", "flash_attention_2", "eager"],
    device: torch.device,
    dtype: torch.dtype,
) -> str:
    """Raises ConfigError where flash_attention_2 is asked for and cannot run."""
    if wanted not in ("auto", "flash_attention_2"):
        return wanted
    reason = None
    if importlib.util.find_spec("flash_attn") is None:
        reason = "flash-attn is not installed"
    elif device.type != "cuda" or dtype == torch.float32:
        reason = "it runs on a GPU, in bfloat16 or float16"
    if reason is None:
        return "flash_attention_2"
    if wanted == "auto":
        return "sdpa"
    raise ConfigError(
        f"encoder.attention is flash_attention_2, but {reason}",
        next_step="Set encoder.attention to auto.",
    )


def first_batch_size(wanted: int | None, device: torch.device) -> int:
    """Pages a forward pass to begin with; call it when the weights are on the device."""
    if wanted is not None:
        return wanted
    if device.type != "cuda":
        return _CPU_PAGES
    free, _ = torch.cuda.mem_get_info(device)
    return max(1, min(_MOST_PAGES, int(free) // _PAGE_BYTES))


def in_batches(
    items: Sequence[Item],
    encode: Callable[[Inputs], Sequence[Result]],
    *,
    size: int,
    prepare: Callable[[Sequence[Item]], Inputs] | None = None,
    smaller: Callable[[int], None] | None = None,
) -> list[Result]:
    """Results of all items in their order; batches that do not fit in memory are halved.

    Args:
        items: of any length; none gives none.
        encode: what runs on the device; of a batch, or of what `prepare` made of it.
        size: items of a batch at most.
        prepare: runs one batch ahead, in a thread, while `encode` works.
        smaller: told the new size whenever it is halved.

    Raises:
        ModelFailed: `out_of_memory`, not even one item fits; `gpu_lost`.
    """

    def prepared(batch: Sequence[Item]) -> Inputs:
        return cast("Inputs", batch) if prepare is None else prepare(batch)

    results: list[Result] = []
    with ThreadPoolExecutor(1, thread_name_prefix="prepare") as ahead:
        start = 0
        batch = items[:size]
        under_way = ahead.submit(prepared, batch) if batch else None
        while under_way is not None:
            inputs = under_way.result()
            upcoming = items[start + len(batch) : start + len(batch) + size]
            under_way = ahead.submit(prepared, upcoming) if upcoming else None
            made = _encoded(encode, inputs)
            if made is not None:
                results += made
                start, batch = start + len(batch), upcoming
                continue
            if len(batch) == 1:
                raise ModelFailed(
                    "one page alone does not fit in the memory of the device",
                    code="out_of_memory",
                    next_step="Set encoder.max_patches lower, encoder.device to cpu, or choose a "
                    "smaller model.",
                )
            size = len(batch) // 2
            if smaller is not None:
                smaller(size)
            batch = items[start : start + size]
            under_way = ahead.submit(prepared, batch)
    return results


def _encoded(
    encode: Callable[[Inputs], Sequence[Result]], inputs: Inputs
) -> Sequence[Result] | None:
    """None where memory did not suffice. Raises ModelFailed `gpu_lost`."""
    try:
        return encode(inputs)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise_if_lost(error)
            raise
    # Outside of the handler: the error's traceback holds the tensors that did not fit.
    free_gpu_memory()
    return None


def free_gpu_memory() -> None:
    """What no tensor uses goes back to the device, for whoever comes next."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def is_out_of_memory(error: RuntimeError) -> bool:
    text = str(error)
    return isinstance(error, torch.OutOfMemoryError) or any(
        sign in text
        for sign in ("CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "can't allocate")
    )


def raise_if_lost(error: RuntimeError) -> None:
    """Raises ModelFailed `gpu_lost` for an error after which CUDA answers nothing any more."""
    if isinstance(error, torch.AcceleratorError) or "CUDA error" in str(error):
        reason = str(error).splitlines()[0]
        raise ModelFailed(
            f"the GPU does not answer any more: {reason}",
            code="gpu_lost",
            next_step="Run it again; if it stays away, look at nvidia-smi and the kernel's log.",
        ) from error
