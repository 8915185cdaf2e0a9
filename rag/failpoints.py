"""Named steps of everything that writes, where a test ends the process as a crash would.

`OCTAVO_FAILPOINT=upserted` kills the process (SIGKILL) when it has done that step, and
`OCTAVO_FAILPOINT=upserted:3` when it has done it for the third time. Without the variable a step
costs one look at a dictionary.
"""

from __future__ import annotations

import os
import signal
import threading
from typing import Literal, get_args

VARIABLE = "OCTAVO_FAILPOINT"

Step = Literal[
    # A page on its way in.
    "source_kept",
    "version_begun",
    "pages_read",
    "pages_encoded",
    "pages_made",
    "pack_discarded",
    "upserted",
    "flushed",
    "packed",
    "pages_recorded",
    "published",
    # A version, document or collection on its way out.
    "document_deleted",
    "records_deleted",
    "version_forgotten",
    "source_released",
    "collection_dropped",
    # What a document says of itself, changed in place.
    "change_noted",
    "payload_changed",
    "change_done",
    # Beside the collection.
    "replacement_switched",
    "inventory_written",
    "manifest_copied",
    "archive_written",
    "archive_unpacked",
    "import_switched",
    "snapshot_copied",
    "damage_set_aside",
    "records_restored",
]
STEPS: tuple[Step, ...] = get_args(Step)

_lock = threading.Lock()
_n_reached: dict[str, int] = {}


def reached(step: Step) -> None:
    """Call it right after the step is done."""
    asked = os.environ.get(VARIABLE)
    if not asked:
        return
    name, _, wanted = asked.partition(":")
    if name != step:
        return
    with _lock:
        _n_reached[step] = _n_reached.get(step, 0) + 1
        if _n_reached[step] == int(wanted or 1):
            os.kill(os.getpid(), signal.SIGKILL)
