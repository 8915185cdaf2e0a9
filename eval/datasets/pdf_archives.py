"""PDFs of a part of a published set, whether its archive was unpacked or not.

Archives come from elsewhere: nothing of one is written under a name that it chose, and one that
holds links, leads out of its folder or unpacks to more than fits is refused.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from io import FileIO
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from rag.errors import BackendError, InputError
from rag.settings import RenderSettings

LARGEST_PDF_BYTES: int = RenderSettings().max_file_bytes  # an ingest takes none beyond
MOST_UNPACKED_BYTES = 50_000_000_000  # of an archive; the published ones hold a few GB
_PIECE_BYTES = 1 << 20
_MOST_HEADER_BYTES = 1 << 20  # of one member of a tar: its name and the like
_UNPACKED = "document.pdf"
_TAR_ENDINGS = (".tar.gz", ".tgz", ".tar")


def pdfs_in(folder: Path, part: str) -> Iterator[tuple[str, Path]]:
    """(name without its ending, file) of every PDF of a part, in the order of names or the archive.

    A file of an archive is there until the next one is asked for, under a name of ours.

    Args:
        folder: the local copy.
        part: PDFs lie below `<part>/`, `<part>_pdfs/`, `pdfs/<part>/` or `pdfs/<part>_pdfs/`, or in
            an archive named like one of these.

    Raises:
        InputError: an archive that cannot be read, is not safe, holds a PDF beyond 200 MB or more
            than 50 GB; two PDFs of one name, or one of a name that is not printable.
        BackendError: there is no room to unpack a PDF.
    """
    seen: set[str] = set()
    for name, path in _pdfs(folder, part):
        if not name.isprintable():  # bytes that are no UTF-8 among them
            raise InputError(
                f"a PDF of {part} has the name {name!r}, which cannot be written",
                code="dataset_archive",
                next_step="Fetch the set from its authors again.",
            )
        if name in seen:
            raise InputError(
                f"there are two PDFs {name}.pdf of {part}, and questions name documents by that",
                code="dataset_archive",
                next_step="Leave the one that the set does not have out of the copy.",
            )
        seen.add(name)
        yield name, path


def _pdfs(folder: Path, part: str) -> Iterator[tuple[str, Path]]:
    if found := _unpacked_already(folder, part):
        yield from ((path.stem, path) for path in found)
    elif archives := _archives(folder, part):
        yield from _unpacked(archives[0])


def has_pdfs(folder: Path, part: str) -> bool:
    """Whether a part's PDFs, or an archive of them, are there."""
    return bool(_unpacked_already(folder, part) or _archives(folder, part))


def _places(folder: Path, part: str) -> list[Path]:
    return [base / name for base in (folder, folder / "pdfs") for name in (part, f"{part}_pdfs")]


def _unpacked_already(folder: Path, part: str) -> list[Path]:
    for place in _places(folder, part):
        if place.is_dir() and (found := _pdfs_below(place)):
            return found
    return []


def _archives(folder: Path, part: str) -> list[Path]:
    named = [
        place.with_name(place.name + ending)
        for place in _places(folder, part)
        for ending in (*_TAR_ENDINGS, ".zip")
    ]
    return [archive for archive in named if archive.is_file()]


def _pdfs_below(folder: Path) -> list[Path]:
    found = (path for path in folder.rglob("*") if path.is_file() and _is_pdf(path.name))
    return sorted(found, key=lambda path: (path.name, path))


def _is_pdf(name: str) -> bool:
    """AppleDouble files (`._name.pdf`) hold what a Mac knows of a file, and no PDF."""
    return name.lower().endswith(".pdf") and not name.startswith("._")


def _unpacked(archive: Path) -> Iterator[tuple[str, Path]]:
    with tempfile.TemporaryDirectory(prefix="octavo-unpacked-") as scratch:
        path = Path(scratch) / _UNPACKED
        limits = _Limits(archive, Path(scratch))
        members = (_of_zip if archive.suffix == ".zip" else _of_tar)(archive, limits)
        while (name := _next_written(limits, members, path)) is not None:
            yield name, path


def _next_written(
    limits: _Limits, members: Iterator[tuple[str, IO[bytes]]], path: Path
) -> str | None:
    """Writes the next PDF; its name without the ending, None after the last."""
    archive = limits.archive
    try:
        if (member := next(members, None)) is None:
            return None
        name, content = member
        n_written = 0
        with content, path.open("wb", buffering=0) as file:
            while piece := content.read(_PIECE_BYTES):
                n_written += len(piece)
                limits.check_pdf(name, n_written)  # whatever its header said
                _write(file, piece, archive)
    except InputError:  # our own, and a ValueError too
        raise
    except (
        *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError),
        *(EOFError, OSError, RuntimeError, ValueError),  # as both modules raise them
    ) as error:
        raise InputError(
            f"the archive {archive.name} cannot be read: {error}",
            code="dataset_archive",
            next_step="Fetch it again; a download may have been cut off.",
        ) from error
    return PurePosixPath(_last_word(name)).stem


def _write(file: FileIO, piece: bytes, archive: Path) -> None:
    """Unbuffered, so that a full disk is told here and not where the file is closed."""
    rest = memoryview(piece)
    try:
        while rest:
            rest = rest[file.write(rest) :]
    except OSError as error:
        raise _no_room(archive, error.strerror or str(error)) from error


def _no_room(archive: Path, said: str) -> BackendError:
    return BackendError(
        f"a PDF of {archive.name} cannot be unpacked: {said}",
        code="not_written",
        next_step="Make room where temporary files go, or name another place with TMPDIR.",
    )


def _last_word(name: str) -> str:
    """Of a path as archives of any system write it."""
    return PurePosixPath(name.replace("\\", "/")).name


# --- what an archive may be ---------------------------------------------------------------------
@dataclass
class _Limits:
    """What the members of an archive may be called, and come to.

    Attributes:
        scratch: folder that a PDF is unpacked to.
        n_bytes: that the members so far come to, as their headers say.
    """

    archive: Path
    scratch: Path
    n_bytes: int = 0

    def check(self, name: str, size_bytes: int, *, is_plain: bool) -> None:
        """Of a member before it is read.

        Raises:
            InputError: it is no plain file or folder, leads out, or is too much.
            BackendError: there is no room for it.
        """
        parts = PurePosixPath(name.replace("\\", "/"))
        if not is_plain:
            raise self.refused(f"{name!r} is a link or a device")
        if parts.is_absolute() or ".." in parts.parts:
            raise self.refused(f"{name!r} leads out of the archive")
        self.n_bytes += size_bytes
        if self.n_bytes > MOST_UNPACKED_BYTES:
            raise self.refused(f"it holds more than {MOST_UNPACKED_BYTES / 1e9:g} GB")
        if _is_pdf(_last_word(name)):
            self.check_pdf(name, size_bytes)
            if size_bytes > shutil.disk_usage(self.scratch).free:
                raise _no_room(self.archive, f"it has {size_bytes / 1e6:,.0f} MB")

    def check_pdf(self, name: str, size_bytes: int) -> None:
        """Raises InputError for more than a PDF may have."""
        if size_bytes > LARGEST_PDF_BYTES:
            raise self.refused(f"{name!r} is beyond {LARGEST_PDF_BYTES / 1e6:,.0f} MB")

    def refused(self, reason: str) -> InputError:
        return InputError(
            f"the archive {self.archive.name} is not unpacked: {reason}",
            code="dataset_archive",
            next_step="Fetch it from its authors again. One that you trust can be unpacked beside "
            "itself by hand: the PDFs are read from there.",
        )


class _Metered:
    """The bytes of a tar, no more at a time than they are asked for by us.

    A header may say of a name that it has gigabytes, and `tarfile` reads names into memory.
    """

    def __init__(self, file: IO[bytes], limits: _Limits) -> None:
        self._file = file
        self._limits = limits
        self.n_left = _MOST_HEADER_BYTES  # that may be read until the next member

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= self.n_left:
            raise self._limits.refused("a header in it is beyond 1 MB")
        self.n_left -= size
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def _of_tar(archive: Path, limits: _Limits) -> Iterator[tuple[str, IO[bytes]]]:
    with ExitStack() as stack:
        metered = _Metered(stack.enter_context(_decompressed(archive)), limits)
        # What tarfile wants of a file is to read, seek and tell.
        tar = stack.enter_context(tarfile.open(fileobj=cast("IO[bytes]", metered), mode="r:"))
        while (member := tar.next()) is not None:
            cast("Any", tar).members.clear()  # it would hold them all
            limits.check(member.name, member.size, is_plain=member.isreg() or member.isdir())
            if member.isreg() and _is_pdf(_last_word(member.name)):
                content = tar.extractfile(member)
                assert content is not None  # of a regular file
                metered.n_left = member.size + _PIECE_BYTES
                yield member.name, content
            metered.n_left = _MOST_HEADER_BYTES


def _decompressed(archive: Path) -> IO[bytes]:
    """By its first bytes: names say less."""
    with archive.open("rb") as file:
        first = file.read(6)
    openers: dict[bytes, Any] = {
        b"\x1f\x8b": gzip.open,
        b"BZh": bz2.open,
        b"\xfd7zXZ\x00": lzma.open,
    }
    opener = next((each for magic, each in openers.items() if first.startswith(magic)), open)
    return cast("IO[bytes]", opener(archive, "rb"))


def _of_zip(archive: Path, limits: _Limits) -> Iterator[tuple[str, IO[bytes]]]:
    with zipfile.ZipFile(archive) as zipped:
        members = zipped.infolist()
        for info in members:
            kind = info.external_attr >> 28  # of the Unix mode; 0 where there is none
            limits.check(info.filename, info.file_size, is_plain=kind in (0, 0o4, 0o10))
        for info in members:
            if not info.is_dir() and _is_pdf(_last_word(info.filename)):
                yield info.filename, zipped.open(info)
