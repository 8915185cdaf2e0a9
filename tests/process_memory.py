"""What a process and all below it have in memory, watched while they work."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

import psutil


class Memory:
    """Watches a process and all below it, pages that they share divided by the sharers."""

    def __init__(self, pid: int, *, every_s: float = 0.4) -> None:
        self._pid = pid
        self._every_s = every_s
        self.peak_bytes = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def stop(self) -> int:
        """The most there was, in bytes."""
        self._stop.set()
        self._thread.join()
        return self.peak_bytes

    def _watch(self) -> None:
        while not self._stop.wait(self._every_s):
            with contextlib.suppress(psutil.Error):
                below = psutil.Process(self._pid).children(recursive=True)
                pids = [self._pid, *(process.pid for process in below)]
                self.peak_bytes = max(self.peak_bytes, sum(map(_pss_bytes, pids)))


def _pss_bytes(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0
