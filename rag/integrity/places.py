"""What the files of a data folder are for, told from where they lie."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path, PurePosixPath

from rag.manifest.database import FILE_NAME
from rag.ocr.cache import FOLDER as OCR_WORDS

MANIFEST = FILE_NAME
INVENTORY = "inventory.json"
# The inventory of the last time that the folder was closed, while it is open.
INVENTORY_BEFORE = "inventory.open.json"
MANIFEST_COPY = "manifest.copy.sqlite3"
DAMAGED = "damaged"
SOURCES, PAGE_IMAGES, COLLECTIONS = "sources", "page-images", "collections"
INDEX, PACK, FDE, TUNING = "index", "packed", "fde.npz", "tuned.toml"
# Each file of these is written once, under a name of its own, and never changed.
WRITTEN_ONCE = (SOURCES, PAGE_IMAGES, OCR_WORDS)
MANIFEST_LOGS = (f"{MANIFEST}-wal", f"{MANIFEST}-shm", f"{MANIFEST}-journal")
# Of a process at work, and so never the same from one time to the next.
_PASSING = {
    INVENTORY,
    INVENTORY_BEFORE,
    "owner.json",
    "owner.json.part",
    "owner.lock",
    "spare-room",
    *MANIFEST_LOGS,
}
_TEMPORARY = (".part-", ".inventory-")


class Kind(StrEnum):
    """What is lost with a file, from what cannot be had again to what is made again unasked."""

    MANIFEST = "manifest"
    MANIFEST_COPY = "manifest copy"
    INVENTORY = "inventory"
    SOURCE = "source"
    INDEX = "index"
    FDE = "FDE matrices"
    TUNING = "tuning"
    PACK = "packed vectors"
    IMAGE = "page image"
    OCR = "OCR words"
    OTHER = "file"


# Made again from the rest whenever it is missing, so that opening need not be refused.
DERIVED = frozenset({Kind.PACK, Kind.IMAGE, Kind.OCR, Kind.MANIFEST_COPY})


def is_data_folder(folder: Path) -> bool:
    """Whether anything is left in it of what no folder but one of ours holds."""
    marks = (MANIFEST, MANIFEST_COPY, INVENTORY, INVENTORY_BEFORE, COLLECTIONS, SOURCES)
    return any((folder / mark).exists() for mark in marks)


def kind_of(path: str) -> Kind:
    """Of a file by its path below the data folder, with `/`."""
    parts = PurePosixPath(path).parts
    match parts:
        case (name,):
            return {
                MANIFEST: Kind.MANIFEST,
                MANIFEST_COPY: Kind.MANIFEST_COPY,
                INVENTORY: Kind.INVENTORY,
            }.get(name, Kind.OTHER)
        case ("sources", *_):
            return Kind.SOURCE
        case ("page-images", *_):
            return Kind.IMAGE
        case (folder, *_) if folder == OCR_WORDS:
            return Kind.OCR
        case ("collections", _, "index", *_):
            return Kind.INDEX
        case ("collections", _, "packed", *_):
            return Kind.PACK
        case ("collections", _, "fde.npz"):
            return Kind.FDE
        case ("collections", _, "tuned.toml"):
            return Kind.TUNING
    return Kind.OTHER


def collection_folder(path: str) -> str | None:
    """The folder below `collections/` that a file lies in."""
    parts = PurePosixPath(path).parts
    return parts[1] if len(parts) > 2 and parts[0] == COLLECTIONS else None


def is_passing(path: str) -> bool:
    """Whether a file is none that an inventory lists."""
    first, _, rest = path.partition("/")
    name = path.rpartition("/")[2]
    return (not rest and first in _PASSING) or first == DAMAGED or name.startswith(_TEMPORARY)
