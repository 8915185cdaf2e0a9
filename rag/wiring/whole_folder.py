"""The files of a data folder that an engine copies or changes beside its databases."""

from __future__ import annotations

from pathlib import Path

from rag.disk_room import DiskRoom
from rag.errors import ConfigError, InputError
from rag.folder_copy import copied_bytes, copy_folder
from rag.integrity import keeping, places
from rag.ocr.cache import FOLDER as OCR_FOLDER
from rag.settings import Settings
from rag.tuned import Tuning, write_tuning


def require_whole_folder(settings: Settings, target: Path) -> None:
    """Refuse a copy that would not hold everything, or would hold itself.

    Raises:
        ConfigError: `index_elsewhere`: a Qdrant server has the vectors.
        InputError: `inside_folder`.
    """
    if settings.store.qdrant_url is not None:
        raise ConfigError(
            "the vectors are on a Qdrant server, which a copy of this folder would not hold",
            code="index_elsewhere",
            next_step="Use `octavo export`, or the server's own snapshots with a copy of the "
            "folder.",
        )
    if target.absolute().is_relative_to(settings.store.data_dir.absolute()):
        raise InputError(
            "a snapshot cannot lie in the folder that it is of",
            code="inside_folder",
            next_step="Name a folder outside of the data folder.",
        )


def copy_data_folder(folder: Path, target: Path) -> int:
    """Copy what cannot be made again; nobody writes to the folder meanwhile.

    Returns:
        Bytes copied.

    Raises:
        InputError, BackendError: as `copy_folder`.
        BackendError: `disk_full`.
    """
    parts = (places.COLLECTIONS, places.SOURCES, OCR_FOLDER)
    parent = target.absolute().parent
    if parent.is_dir():
        DiskRoom(parent).require(copied_bytes(folder, parts))
    return copy_folder(
        folder, target, database=places.MANIFEST, parts=parts, finish=keeping.take_stock
    )


def replace_tuning(path: Path, collection: str, tuning: Tuning | None) -> bool:
    """Write the tuning of a collection, or remove it; whether there was one before.

    Raises:
        ConfigError: `not_written`; what was there before still holds.
    """
    try:
        was_there = path.exists()
        if tuning is None:
            path.unlink(missing_ok=True)
        else:
            write_tuning(path, tuning)
    except OSError as error:
        raise ConfigError(
            f"{path.name} of collection {collection!r} cannot be "
            f"{'removed' if tuning is None else 'written'}: {error.strerror}",
            code="not_written",
            next_step="Make the data folder writable, with room, and run it again.",
        ) from error
    return was_there
