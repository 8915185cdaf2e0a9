"""The files behind the pages: each source once, by the SHA-256 of its bytes, and page images.

A source is a copy that nobody else writes to (docs/adr/0007). Page images are made on demand and
kept in a bounded cache; losing any of them costs a rendering and nothing else.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

from PIL import Image, PngImagePlugin, UnidentifiedImageError

from rag import failpoints
from rag.disk_room import DiskRoom
from rag.durable_files import TEMPORARY, new_file, sync_file, sync_folder
from rag.errors import BackendError, DocumentError, NotFound
from rag.ocr.cache import count_of_file, forget_file
from rag.types import RenderedPage

_CHUNK_BYTES = 1 << 20
_FICLONE = 0x40049409  # linux/fs.h: share the blocks of another file until one of them changes
_SUFFIX = re.compile(r"\.[a-z0-9]{1,8}")


class PageReader(Protocol):
    """Renders pages of files that nobody trusts: in an isolated process."""

    def render(self, path: Path, page_number: int, *, dpi: float, max_px: int) -> RenderedPage: ...


class PageStore:
    """Sources and page images of one data folder. Thread-safe."""

    def __init__(
        self,
        folder: Path,
        reader: PageReader,
        *,
        cache_bytes: int = 256_000_000,
        max_px: int = 36_000_000,
        room: DiskRoom | None = None,
    ) -> None:
        self.folder = folder
        self._room = room or DiskRoom(folder)
        self._reader = reader
        self._sources = folder / "sources"
        self._images = folder / "page-images"
        self._cache_bytes = cache_bytes
        self._max_px = max_px
        self._cache_lock = threading.Lock()
        self._cached_bytes: int | None = None  # counted when first needed

    # --- sources --------------------------------------------------------------------------------
    def keep_source(self, path: Path, sha256: str) -> Path:
        """Keep a file's bytes, durably; doing it again costs reading what is kept.

        Raises:
            DocumentError: `unreadable`, or `changed_while_reading` when the bytes are not
                those of `sha256`.
            BackendError: `disk_full` or `store_failed`.
        """
        held = self.source_path(sha256)
        if held is not None and _digest_of(held) == sha256:
            return held
        suffix = path.suffix.lower()
        kept = (
            self._sources
            / sha256[:2]
            / (sha256 + (suffix if _SUFFIX.fullmatch(suffix) else ".bin"))
        )
        try:
            source = path.open("rb")
        except OSError as error:
            raise DocumentError(
                f"{path.name} cannot be read: {error.strerror}",
                code="unreadable",
                next_step="Check that the file is there and may be read.",
            ) from error
        with source, _store_errors():
            kept.parent.mkdir(parents=True, exist_ok=True)
            with new_file(kept) as (copy, temporary):
                if not _share_blocks(source, copy):
                    shutil.copyfileobj(source, copy, _CHUNK_BYTES)
                sync_file(copy)
                if _digest_of(temporary) != sha256:
                    raise DocumentError(
                        f"{path.name} changed while it was read",
                        code="changed_while_reading",
                        next_step="Ingest it again once nothing writes to it.",
                    )
            sync_folder(kept.parent)
            sync_folder(self._sources)
        failpoints.reached("source_kept")
        return kept

    def source_path(self, sha256: str) -> Path | None:
        """The kept file; None where it is not kept."""
        folder = self._sources / sha256[:2]
        return next((path for path in folder.glob(f"{sha256}.*")), None)

    def source_ids(self) -> set[str]:
        """SHA-256 of every kept file."""
        return {
            path.stem for path in self._sources.glob("??/*") if not path.name.startswith(TEMPORARY)
        }

    def release_source(self, sha256: str) -> None:
        """Drop a file and its page images; for when no version uses it."""
        with _store_errors():
            held = self.source_path(sha256)
            if held is not None:
                held.unlink(missing_ok=True)
                sync_folder(held.parent)
            for path in self._images_of(sha256):
                self._drop_image(path)
            forget_file(self.folder, sha256)
        failpoints.reached("source_released")

    def clear_temporary(self) -> None:
        """Drop what copies that were cut short left behind; for when no source is being kept."""
        for folder in (self._sources, self._images):
            for path in folder.glob(f"??/{TEMPORARY}*"):
                path.unlink(missing_ok=True)

    # --- page images ----------------------------------------------------------------------------
    def page_image(
        self, sha256: str, page_number: int, *, dpi: float = 150.0, max_px: int | None = None
    ) -> RenderedPage:
        """Pixels of a page, from the cache or rendered now; the same either way.

        Raises:
            NotFound: `source_missing`.
            DocumentError: what the reader says of the page.
        """
        source = self.source_path(sha256)
        if source is None:
            raise NotFound(
                "the file this page comes from is not in the page store",
                code="source_missing",
                next_step="Ingest the document again.",
            )
        limit_px = self._max_px if max_px is None else min(max_px, self._max_px)
        cached = self._images / sha256[:2] / f"{sha256}-{page_number}-{dpi}-{limit_px}.png"
        found = _load_image(cached)
        if found is None:
            found = self._reader.render(source, page_number, dpi=dpi, max_px=limit_px)
            self._cache(cached, found)
            if not source.exists():  # released meanwhile: its images had been dropped already
                self._drop_image(cached)
        return found

    def n_images(self, sha256: str) -> int:
        """Cached images of a file's pages."""
        return sum(1 for _ in self._images_of(sha256))

    def n_ocr_words(self, sha256: str) -> int:
        """Pages of a file whose words OCR read, and which are kept."""
        return count_of_file(self.folder, sha256)

    def _images_of(self, sha256: str) -> Iterator[Path]:
        return (self._images / sha256[:2]).glob(f"{sha256}-*")

    def _cache(self, path: Path, page: RenderedPage) -> None:
        if not self._cache_bytes or not self._room.has(0):
            return
        frame = PngImagePlugin.PngInfo()
        frame.add_text("width_pt", repr(page.width_pt))
        frame.add_text("height_pt", repr(page.height_pt))
        # A cache that cannot be written makes pages slow, not wrong.
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            with new_file(path) as (file, _):
                # Level 1: a few times faster than the default for a tenth more bytes.
                page.image.save(file, "PNG", compress_level=1, pnginfo=frame)
            self._count(path.stat().st_size)

    def _count(self, n_bytes: int) -> None:
        """Note a new image, and drop the least recently used ones past the bound."""
        with self._cache_lock:
            if self._cached_bytes is None:
                self._cached_bytes = sum(size for _, size, _ in self._usage())
            else:
                self._cached_bytes += n_bytes
            if self._cached_bytes <= self._cache_bytes:
                return
            usage = sorted(self._usage())
            left = sum(size for _, size, _ in usage)
            for _, size, path in usage:
                # A tenth below the bound, so that not every image from here on drops one.
                if left <= 0.9 * self._cache_bytes:
                    break
                path.unlink(missing_ok=True)
                left -= size
            self._cached_bytes = left

    def _usage(self) -> Iterator[tuple[int, int, Path]]:
        """(last use in ns, bytes, path) of every cached image."""
        for path in self._images.glob("??/*"):
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                yield status.st_mtime_ns, status.st_size, path

    def _drop_image(self, path: Path) -> None:
        with self._cache_lock, contextlib.suppress(FileNotFoundError):
            size = path.stat().st_size
            path.unlink()
            if self._cached_bytes is not None:
                self._cached_bytes -= size


def _load_image(path: Path) -> RenderedPage | None:
    try:
        # The open file stays readable when it is dropped from the cache meanwhile.
        with path.open("rb") as file, Image.open(file) as image:
            image.load()
            if not isinstance(image, PngImagePlugin.PngImageFile):
                return None
            width_pt, height_pt = float(image.text["width_pt"]), float(image.text["height_pt"])
            page = RenderedPage(image.copy(), width_pt, height_pt)
        os.utime(path)
    except FileNotFoundError:
        return None
    except (OSError, UnidentifiedImageError, SyntaxError, KeyError, ValueError):
        return None  # cut short by a crash: rendered and written again
    return page


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _share_blocks(source: BinaryIO, copy: BinaryIO) -> bool:
    """Make `copy` a copy-on-write clone, where the file system can (btrfs, xfs)."""
    try:
        fcntl.ioctl(copy.fileno(), _FICLONE, source.fileno())
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _store_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise BackendError(
            f"the page store could not be written: {error.strerror}",
            code="disk_full" if full else "store_failed",
            next_step="Make room in the data folder and run the command again."
            if full
            else "Check that the data folder may be written.",
        ) from error
