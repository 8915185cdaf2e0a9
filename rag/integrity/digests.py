"""Digests of files that are mostly holes, in the time that their data take to read."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

_BLOCK_BYTES = 1 << 16
_ZEROS = bytes(_BLOCK_BYTES)


def content_digest(path: Path) -> str:
    """SHA-256 over length and contents; a hole and zeros that were written are the same.

    An embedded index of nine megabytes has files of six hundred, all else being holes. Blocks of
    zeros are skipped, so a copy of the folder that fills holes up has the same digests.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        descriptor = file.fileno()
        size_bytes = os.fstat(descriptor).st_size
        digest.update(size_bytes.to_bytes(8, "little"))
        at = 0
        while (at := _next_data(descriptor, at, size_bytes)) < size_bytes:
            block = os.pread(descriptor, _BLOCK_BYTES, at)
            if not block:
                break  # cut short meanwhile
            if block != _ZEROS[: len(block)]:
                digest.update(at.to_bytes(8, "little"))
                digest.update(block)
            at += len(block)
    return digest.hexdigest()


def file_sha256(path: Path) -> str:
    """The plain one, as other programs print it. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _next_data(descriptor: int, at: int, size_bytes: int) -> int:
    """Start of the block, at `at` or behind, that may hold something; the end where none does."""
    if at >= size_bytes:
        return size_bytes
    try:
        found = os.lseek(descriptor, at, os.SEEK_DATA)
    except OSError:  # nothing but a hole from here on (ENXIO)
        return size_bytes
    return max(at, found - found % _BLOCK_BYTES)
