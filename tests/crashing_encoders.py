"""Encoders without a model that end their process, fail or take long; a process can load them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from fakes import GridEncoder

from rag.errors import ConfigError, ModelFailed
from rag.ports import EncodedPage, PageInput


class Crashing(GridEncoder):
    """Ends its process at some pages; `times` counts down in a file that outlives it."""

    def __init__(self, at: Sequence[int], countdown: Path | None = None) -> None:
        self._at = at
        self._countdown = countdown

    def encode_pages(self, pages: Sequence[PageInput]) -> list[EncodedPage]:
        if any(page.ref.page_number in self._at for page in pages) and self._is_time():
            os.kill(os.getpid(), signal.SIGKILL)
        return super().encode_pages(pages)

    def _is_time(self) -> bool:
        if self._countdown is None:
            return True
        left = int(self._countdown.read_text())
        self._countdown.write_text(str(left - 1))
        return left > 0


class Failing(GridEncoder):
    """Raises at a page what a GPU, its memory, and a bug make encoders raise."""

    def __init__(self, *, gpu_lost_at: int = 1, memory_at: int = 2, bug_at: int = 3) -> None:
        self._errors: dict[int, Exception] = {
            gpu_lost_at: ModelFailed("no answer", code="gpu_lost", next_step="See nvidia-smi."),
            memory_at: MemoryError(),
            bug_at: KeyError("a bug"),
        }

    def encode_pages(self, pages: Sequence[PageInput]) -> list[EncodedPage]:
        for page in pages:
            if page.ref.page_number in self._errors:
                raise self._errors[page.ref.page_number]
        return super().encode_pages(pages)


class Slow(GridEncoder):
    def __init__(self, page_s: float = 0.2) -> None:
        self._page_s = page_s

    def encode_pages(self, pages: Sequence[PageInput]) -> list[EncodedPage]:
        time.sleep(self._page_s * len(pages))
        return super().encode_pages(pages)


def refused() -> GridEncoder:
    raise ConfigError("no such device", code="no_device", next_step="Take another.")


def ends_at_once() -> GridEncoder:
    os.kill(os.getpid(), signal.SIGSEGV)
    raise AssertionError


def changing(path: Path) -> GridEncoder:
    """Each time it is loaded it is another model."""
    encoder = Crashing((1,))
    path.write_text(path.read_text() + "x")
    encoder.identity = type(encoder.identity)("grid", path.read_text(), 32, 32)
    return encoder
