"""Words that OCR read, kept so that no page is read twice; losing any costs a reading, no more.

An entry belongs to a page as it looks and to the file it was met in, and goes with the file. A page
of another file is given its words only where the pixels that were read are the same: pages that
look alike when small may say different things, and their files may belong to different people.
Written by one process, which owns the data folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

from rag.disk_room import DiskRoom
from rag.durable_files import new_file
from rag.page_text import PageText

FOLDER = "ocr-words"
# Below the bound after dropping, so that not every page from here on drops one.
_LEFT = 0.9
# Counted up where the same engine reads a page otherwise; 2: turned where that makes it surer.
_READING = 2


class OcrCache:
    """Words by page, within `most_bytes` of disk. Thread-safe."""

    def __init__(self, folder: Path, most_bytes: int, room: DiskRoom | None = None) -> None:
        """`room`: nothing is kept that would take of its reserve."""
        self._room = room
        self._folder = folder
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._n_bytes: int | None = None  # counted when first needed

    def get(self, key: str, kept_as: str) -> PageText | None:
        """What was read of a page of this file; None where it was not, or where it is damaged.

        Args:
            key: of the page, from `page_key`.
            kept_as: SHA-256 of the file the page is in.
        """
        found = map(_read, self._paths(f"{key}-*-{kept_as}"))
        return next((text for text in found if text is not None), None)

    def of_others(self, key: str) -> dict[str, PageText]:
        """What was read of pages like it in any file, by the digest of the pixels read."""
        found: dict[str, PageText] = {}
        for path in self._paths(f"{key}-*"):
            digest = path.name.split("-")[1]
            # A page that is in a thousand files is held once for each.
            if digest not in found and (text := _read(path)) is not None:
                found[digest] = text
        return found

    def put(self, key: str, digest: str, kept_as: str, text: PageText) -> None:
        if not self._most_bytes or not (self._room is None or self._room.has(0)):
            return
        blob = text.to_bytes()
        path = self._folder / key[:2] / f"{key}-{digest}-{kept_as}"
        # A cache that cannot be written makes pages slow, not wrong.
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            with new_file(path) as (file, _):
                file.write(blob)
            self._count(len(blob))

    def _paths(self, pattern: str) -> Iterator[Path]:
        return (self._folder / pattern[:2]).glob(pattern)

    def _count(self, n_bytes: int) -> None:
        """Note a new entry, and drop those longest unused past the bound."""
        with self._lock:
            if self._n_bytes is None:
                self._n_bytes = sum(size for _, size, _ in self._usage())
            else:
                self._n_bytes += n_bytes
            if self._n_bytes <= self._most_bytes:
                return
            usage = sorted(self._usage())
            left = sum(size for _, size, _ in usage)
            for _, size, path in usage:
                if left <= _LEFT * self._most_bytes:
                    break
                path.unlink(missing_ok=True)
                left -= size
            self._n_bytes = left

    def _usage(self) -> Iterator[tuple[int, int, Path]]:
        """(last use in ns, bytes, path) of every entry, and of what a crash left half written."""
        for path in self._folder.glob("??/*"):
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                yield status.st_mtime_ns, status.st_size, path


def page_key(content_hash: str, *, identity: str, dpi: float) -> str:
    """Of a page as it looks, read by an engine at a resolution."""
    return hashlib.sha256(f"{_READING}\0{content_hash}\0{identity}\0{dpi!r}".encode()).hexdigest()


def forget_file(data_dir: Path, sha256: str) -> None:
    """Drop what was read of a file's pages."""
    for path in _of_file(data_dir, sha256):
        path.unlink(missing_ok=True)


def count_of_file(data_dir: Path, sha256: str) -> int:
    """Pages of a file that something is kept of."""
    return sum(1 for _ in _of_file(data_dir, sha256))


def _of_file(data_dir: Path, sha256: str) -> Iterator[Path]:
    return (data_dir / FOLDER).glob(f"??/*-{sha256}")


def _read(path: Path) -> PageText | None:
    try:
        text = PageText.from_bytes(path.read_bytes())  # zlib's check sum tells what is damaged
        os.utime(path)
    except (OSError, ValueError, zlib.error):
        return None
    return text
