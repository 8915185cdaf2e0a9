"""Python imports this first where its folder is on PYTHONPATH: the wall clock is set by a file.

CLOCK_OFFSET_FILE holds seconds; whatever is written there while a process runs steps its clock, as
somebody who sets the time would. The monotonic clock goes on, as it does then. What C libraries ask
the kernel is not changed.
"""

import os
import time
from pathlib import Path

_file = os.environ.get("CLOCK_OFFSET_FILE")
if _file is not None:
    _path, _time_ns = Path(_file), time.time_ns

    def _stepped_ns() -> int:
        return _time_ns() + int(float(_path.read_text()) * 1e9)

    time.time_ns = _stepped_ns
    time.time = lambda: _stepped_ns() / 1e9
