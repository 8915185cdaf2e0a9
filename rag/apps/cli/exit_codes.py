"""What a command ends with. 2, a usage error, is the command line library's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

DONE, FAILED, PARTIAL, INTERRUPTED = 0, 1, 3, 130


class Interrupted(Exception):
    """Ctrl-C in a command that knows how to go on."""

    def __init__(self, next_step: str) -> None:
        super().__init__(next_step)
        self.next_step = next_step


def of_several(codes: Sequence[int]) -> int:
    """Of parts that each ended with a code: theirs, where all say the same."""
    return codes[0] if len(set(codes)) == 1 else PARTIAL


def after_ingest(documents: Mapping[str, int]) -> int:
    """From the number of documents in each state."""
    bad = documents.get("failed", 0) + documents.get("refused", 0)
    partial = documents.get("partial", 0)
    good = sum(documents.values()) - bad - partial
    if partial or (good and bad):
        return PARTIAL
    return DONE if good else FAILED
