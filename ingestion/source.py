"""Step 1 of the write path: which files there are to read, and how each of them is known.

What will not be read is told with its reason; nothing that looks like a document is passed over in
silence.
"""

from __future__ import annotations

import functools
import glob
import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rag.errors import InputError
from rag.renderers.image_renderer import IMAGE_SUFFIXES
from rag.settings import RenderSettings

PDF_SUFFIX = ".pdf"
# What LibreOffice converts; not Keynote's .key, which more often is a private key.
_TEXT_SUFFIXES = {".doc", ".docm", ".docx", ".dot", ".dotx", ".odt", ".ott", ".pages", ".rtf"}
_SLIDE_SUFFIXES = {".odp", ".otp", ".pps", ".ppsx", ".ppt", ".pptm", ".pptx"}
_SHEET_SUFFIXES = {".numbers", ".ods", ".ots", ".xls", ".xlsb", ".xlsm", ".xlsx"}
OFFICE_SUFFIXES = frozenset(_TEXT_SUFFIXES | _SLIDE_SUFFIXES | _SHEET_SUFFIXES)
_MANIFEST_FILE, _STORE_FOLDER = "manifest.sqlite3", "sources"  # together: a data folder of ours
_OWN_FOLDERS = (_STORE_FOLDER, "collections", "page-images", "damaged")
_MAX_FILE_BYTES = RenderSettings().max_file_bytes
_HEADER_BYTES = 1024
_MOST_PLACES = 1000  # that are named one by one


@dataclass(frozen=True)
class SourceFile:
    """A file to ingest.

    Attributes:
        path: where it is, absolute.
        root: the folder that was given, or the one that holds the file given by name; absolute.
        source: the POSIX path below the folder that was given; the name of a file given by name.
            As `printable` makes it.
    """

    path: Path
    root: Path
    source: str
    size_bytes: int
    kind: Literal["pdf", "image"]

    @functools.cached_property
    def sha256(self) -> str:
        """Of the bytes, in hex; read when asked for. Raises InputError `unreadable`."""
        return content_sha256(self.path)


@dataclass(frozen=True)
class Refusal:
    """A file that will not be tried, and why."""

    path: Path
    source: str
    code: str
    message: str
    next_step: str = ""


def discover(
    paths: Sequence[Path], *, max_file_bytes: int = _MAX_FILE_BYTES
) -> list[SourceFile | Refusal]:
    """The files behind paths: folders with all that is below them, patterns, single files.

    Each file comes once, in the order of `paths`, those of a folder sorted by path. Left out
    without a word are hidden files, Octavo's own data folders, and, inside of folders, files that
    are no documents (code, archives, music).

    Args:
        paths: as the user gave them; a name with `*`, `?` or `[` that is no file is a pattern.
        max_file_bytes: larger files are refused.

    Raises:
        InputError: `no_such_path` for a path or pattern with nothing behind it; `empty_folder` for
            a folder without any document; `own_folder` for the inside of a data folder.
    """
    found: dict[Path, SourceFile | Refusal] = {}
    for given in paths:
        for path in _expanded(given):
            entries = (
                _in_folder(path, max_file_bytes)
                if path.is_dir()
                else [_named(path, max_file_bytes)]
            )
            for entry in entries:
                found.setdefault(entry.path, entry)
    return list(found.values())


def places(files: Iterable[SourceFile | Refusal]) -> list[Path]:
    """What reading processes have to read: the files, or of very many the folders given."""
    found = [file for file in files if isinstance(file, SourceFile)]
    if len(found) <= _MOST_PLACES:
        return [file.path for file in found]
    return list(dict.fromkeys(file.root for file in found))


def document_id(collection: str, root: Path, source: str) -> str:
    """The name of a document, the same whether its folder or the file itself was given.

    Args:
        collection: it is part of.
        root: as in SourceFile.
        source: as in SourceFile.

    Returns:
        16 hex digits.
    """
    joined = printable(Path(os.path.abspath(root), source).as_posix())
    return hashlib.sha256(f"{collection}\0{joined}".encode()).hexdigest()[:16]


def printable(name: str) -> str:
    """A file name as text that can be stored; bytes that are no UTF-8 show as their hex codes."""
    return os.fsencode(name).decode("utf-8", errors="backslashreplace")


def content_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex.

    Raises:
        InputError: `unreadable`.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(
            f"{printable(path.name)} cannot be read: {error.strerror}", code="unreadable"
        ) from error


def _expanded(given: Path) -> list[Path]:
    """The path itself, or what a pattern matches, sorted; absolute, links not resolved."""
    path = Path(os.path.abspath(given.expanduser()))
    if os.path.lexists(path):
        return [path]
    if glob.has_magic(str(given)):
        matches = sorted(Path(match) for match in glob.glob(str(path), recursive=True))
        if matches:
            return matches
    raise InputError(
        f"there is no {printable(str(given))}",
        code="no_such_path",
        next_step="Check the spelling; a relative path starts at the current folder.",
    )


def _named(path: Path, max_file_bytes: int) -> SourceFile | Refusal:
    name = printable(path.name)
    entry = _examined(path, path.parent, name, max_file_bytes)
    if entry is None:
        return Refusal(
            path,
            name,
            "unsupported_type",
            f"{name} is neither a PDF nor an image",
            "Print or export it as PDF.",
        )
    return entry


def _in_folder(root: Path, max_file_bytes: int) -> list[SourceFile | Refusal]:
    _require_not_ours(root)
    entries: list[SourceFile | Refusal] = []

    def refuse_folder(error: OSError) -> None:
        folder = Path(error.filename)
        source = printable(folder.relative_to(root).as_posix())
        entries.append(_unreadable(folder, source, error))

    real_root = root.resolve()
    for path in sorted(_walk(root, refuse_folder)):
        source = printable(path.relative_to(root).as_posix())
        # A link may lead to anything the process can read; only what was given is meant.
        try:
            leaves = path.is_symlink() and not path.resolve().is_relative_to(real_root)
        except (OSError, RuntimeError) as error:  # links in a ring; RuntimeError up to Python 3.12
            if _is_document(path):
                entries.append(_unreadable(path, source, error))
            continue
        if leaves and (path.is_dir() or _is_document(path)):
            entries.append(
                Refusal(
                    path,
                    source,
                    "outside_root",
                    f"{source} is a link that leads out of the folder",
                    "Give what it points to by name.",
                )
            )
        elif not leaves and not path.is_dir():  # files behind a link to a folder are met there
            entry = _examined(path, root, source, max_file_bytes)
            if entry is not None:
                entries.append(entry)
    if not entries:
        raise InputError(
            f"there is no PDF and no image below {printable(root.name)}",
            code="empty_folder",
            next_step="Give a folder that holds some, or the files themselves.",
        )
    return entries


def _require_not_ours(root: Path) -> None:
    """The kept files of a data folder would become documents a second time."""
    real = root.resolve()
    for inside, folder in zip([real, *real.parents], real.parents, strict=False):
        if inside.name in _OWN_FOLDERS and (folder / _MANIFEST_FILE).exists():
            raise InputError(
                f"{printable(root.name)} is a folder of Octavo's own",
                code="own_folder",
                next_step="Give the folder of your files; what is kept of them is found already.",
            )


def _walk(folder: Path, on_error: Callable[[OSError], None]) -> Iterator[Path]:
    """Files and links below a folder; links to folders are not followed."""
    for place, folders, files in os.walk(folder, onerror=on_error):
        own = _OWN_FOLDERS if _MANIFEST_FILE in files and _STORE_FOLDER in folders else ()
        folders[:] = [name for name in folders if not name.startswith(".") and name not in own]
        # islink: a path too long to be asked about is told when the walk comes to it.
        links = [name for name in folders if os.path.islink(os.path.join(place, name))]
        for name in [*files, *links]:
            if not name.startswith("."):
                yield Path(place, name)


def _is_document(path: Path) -> bool:
    suffix = path.suffix.lower()
    return suffix == PDF_SUFFIX or suffix in IMAGE_SUFFIXES or suffix in OFFICE_SUFFIXES


def _unreadable(path: Path, source: str, error: OSError | RuntimeError) -> Refusal:
    if isinstance(error, OSError):
        reason = error.strerror or type(error).__name__
    else:
        reason = "it is a link that leads to itself"
    message = f"{source} cannot be read: {reason}"
    return Refusal(path, source, "unreadable", message, "Check its permissions.")


def _examined(
    path: Path, root: Path, source: str, max_file_bytes: int
) -> SourceFile | Refusal | None:
    """None for a file that is no document."""
    if not _is_document(path):
        return None
    suffix = path.suffix.lower()
    if suffix in OFFICE_SUFFIXES:
        return Refusal(
            path,
            source,
            "office_file",
            f"{source} is an office file; pages are read from PDFs",
            f'Convert it: soffice --headless --convert-to pdf "{printable(path.name)}"',
        )
    try:
        status = path.stat()
        # Opening a pipe would wait for somebody to write to it, and a device may never end.
        if not stat.S_ISREG(status.st_mode):
            return Refusal(
                path,
                source,
                "unsupported_type",
                f"{source} is a pipe, a socket or a device, not a file",
                "Save what it gives as a file.",
            )
        size_bytes = status.st_size
        with path.open("rb") as file:
            head = file.read(_HEADER_BYTES)
    except OSError as error:
        return _unreadable(path, source, error)
    if size_bytes == 0:
        return Refusal(
            path,
            source,
            "empty_file",
            f"{source} has no bytes",
            "Copy or download the file again.",
        )
    if size_bytes > max_file_bytes:
        return Refusal(
            path,
            source,
            "too_large",
            f"{source} has {size_bytes:,} bytes; at most {max_file_bytes:,} are read",
            "Raise render.max_file_bytes, or split the file.",
        )
    # The dash after %PDF is not asked for: damaged headers are mended by the readers.
    if suffix == PDF_SUFFIX and b"%PDF" not in head:
        return Refusal(
            path,
            source,
            "not_a_pdf",
            f"{source} does not start like a PDF",
            "Check that the file is what its name says.",
        )
    kind: Literal["pdf", "image"] = "pdf" if suffix == PDF_SUFFIX else "image"
    return SourceFile(path, root, source, size_bytes, kind)
