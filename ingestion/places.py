"""Which document a file is: the one whose file was at its place, or one whose file moved there.

A document's id is derived from the place its file had at first and stays through moves, so a file
is looked up by where it is, and by an id only where no document had a file there.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath

from ingestion.source import document_id, printable
from rag.manifest import Incoming, PlacedDocument

_ESCAPED = re.compile(rb"\\x([0-9a-f]{2})")  # as `printable` writes bytes that are no text


class Places:
    """The places of a collection's documents, as one ingest finds and then changes them."""

    def __init__(self, collection: str, placed: Iterable[PlacedDocument]) -> None:
        self._collection = collection
        self._by_path: dict[PurePath, str] = {}
        self._by_id: dict[str, PurePath] = {}
        for each in placed:
            self._put(each.document_id, each.path)

    def is_known(self, incoming: Incoming) -> bool:
        """Whether a document has, or had, its file at this place."""
        return _path(incoming) in self._by_path

    def document_id(self, root: Path, source: str) -> str:
        """Of the document whose file is at this place, or of a new one that nobody else has."""
        path = PurePath(printable(str(root)), source)
        if path in self._by_path:
            return self._by_path[path]
        wanted = document_id(self._collection, root, source)
        n = 0
        while self._by_id.get(wanted, path) != path:  # the first file of a document that moved on
            n += 1
            salted = f"{self._collection}\0{path}\0{n}"
            wanted = hashlib.sha256(salted.encode()).hexdigest()[:16]
        return wanted

    def take(self, incoming: Incoming) -> None:
        """The document has its file at this place from now on."""
        before = self._by_id.get(incoming.document_id)
        if before is not None and self._by_path.get(before) == incoming.document_id:
            del self._by_path[before]
        self._put(incoming.document_id, _path(incoming))

    def _put(self, document_id: str, path: PurePath) -> None:
        self._by_path[path] = document_id
        self._by_id[document_id] = path


def moved_from(
    incoming: Incoming, with_its_bytes: Sequence[PlacedDocument]
) -> PlacedDocument | None:
    """The document that moved to where this file is, where it can be no other.

    Args:
        incoming: a file where no document had one.
        with_its_bytes: documents of whoever ingests it, made from the same bytes.

    Returns:
        None where the files of all of them are still there, or where several are gone and not just
        one of those had this name.
    """
    path = Path(_path(incoming))
    gone = [each for each in with_its_bytes if is_gone(each.path, now_at=path)]
    if len(gone) > 1:
        gone = [each for each in gone if each.path.name == path.name]
    return gone[0] if len(gone) == 1 else None


def is_gone(path: PurePath, *, now_at: Path | None = None) -> bool:
    """Whether there is no file at this place any more, for sure.

    Args:
        path: as documents keep it. What is no path of a file system is never gone.
        now_at: where a file was found. On file systems that take two spellings for one name, the
            same file there was renamed.
    """
    if not path.is_absolute():
        return False
    held = Path(path)
    unescaped = Path(
        os.fsdecode(_ESCAPED.sub(lambda found: bytes.fromhex(found[1].decode()), os.fsencode(held)))
    )
    if now_at is not None and now_at != held and _is_respelled(held, now_at):
        return True
    return not (_may_be_there(held) or _may_be_there(unescaped))


def _may_be_there(path: Path) -> bool:
    try:
        return not stat.S_ISDIR(path.lstat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True  # it cannot be looked at, which says nothing


def _is_respelled(before: Path, now: Path) -> bool:
    def folded(path: Path) -> str:
        return unicodedata.normalize("NFC", str(path)).casefold()

    try:
        return folded(before) == folded(now) and (before.samefile(now) and now.stat().st_nlink == 1)
    except OSError:
        return False


def _path(incoming: Incoming) -> PurePath:
    return PurePath(incoming.root, incoming.source)
