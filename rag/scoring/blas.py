"""How many threads the matrix products of this package use: one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController


@cache
def _controller() -> ThreadpoolController:
    # Here, not above: `make gpu-check` runs where only numpy and torch are installed.
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()  # looks through the loaded libraries: milliseconds, so once


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Products run on the calling thread; for the whole process, as long as any caller is inside.

    Pages give products of a few MFLOP. Sharing one of those out costs more than it saves, and where
    another process has a core busy the calling thread waits at every barrier: 400 pages of 400 rows
    took 565 ms on two busy cores with two threads, 29 ms with one.
    """
    with _controller().limit(limits=1, user_api="blas"):
        yield
