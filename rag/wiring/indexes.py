"""Where the records of a collection are kept: in its folder or on a Qdrant server.

The embedded store runs in a process of its own, or in this one where the settings say so.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from rag.disk_room import SpareRoom
from rag.index.process import IndexChild, IndexProcess
from rag.ports import IndexSpec, PageIndex
from rag.settings import Settings, StoreSettings

INDEX_FOLDER, PACK_FOLDER, FDE_FILE = "index", "packed", "fde.npz"  # in a collection's folder


@contextlib.contextmanager
def starting_child(store: StoreSettings) -> Iterator[IndexChild | None]:
    """A process for the index, which starts while the encoder loads; None where none is wanted."""
    if store.qdrant_url is not None or not store.index_process:
        yield None
        return
    child = IndexChild()
    try:
        yield child
    except BaseException:
        child.end()
        raise


def open_index(
    store: StoreSettings,
    folder: Path,
    spec: IndexSpec,
    *,
    child: IndexChild | None,
    spare: SpareRoom,
    has_records: Callable[[], bool],
) -> PageIndex:
    """The records in a collection's folder, as the settings want them. Close it.

    Args:
        store: where they are kept.
        folder: of the collection.
        spec: of the records.
        child: of `starting_child`, which the index keeps.
        spare: given back when the disk is full.
        has_records: whether there should be some: a server may have lost them.

    Raises:
        IndexUnavailable: it cannot be opened.
        IndexMismatch: it holds records of another shape.
    """
    if child is not None:
        return IndexProcess(folder / INDEX_FOLDER, spec, child=child, spare=spare)
    if store.qdrant_url is None:
        from rag.index.edge import EdgeIndex  # the store itself, which other processes have

        return EdgeIndex.open(folder / INDEX_FOLDER, spec)
    return _on_server(store, store.qdrant_url, folder, spec, has_records)


def upkeep_index(settings: Settings, folder: Path, spec: IndexSpec) -> PageIndex:
    """The records in a collection's folder, for who looks at them without an engine. Close it.

    The embedded store runs in a process of its own, whatever the settings: damage may end it.

    Raises:
        IndexUnavailable: it cannot be opened.
        IndexMismatch: it holds records of another shape.
    """
    store = settings.store
    if store.qdrant_url is None:
        return IndexProcess(folder / INDEX_FOLDER, spec)
    return _on_server(store, store.qdrant_url, folder, spec, has_records=lambda: False)


def delete_index(store: StoreSettings, folder: Path) -> None:
    """Delete the records, the pack and the matrices of a collection that nobody has open.

    Raises:
        IndexUnavailable: a Qdrant server does not answer.
    """
    if store.qdrant_url is not None and (folder / FDE_FILE).exists():
        from rag.index.qdrant import drop_collection

        drop_collection(store.qdrant_url, _server_name(folder), api_key=_api_key(store))
    for name in (INDEX_FOLDER, PACK_FOLDER):
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / FDE_FILE).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # what a user put there keeps the folder
        folder.rmdir()


def _on_server(
    store: StoreSettings,
    url: str,
    folder: Path,
    spec: IndexSpec,
    has_records: Callable[[], bool],
) -> PageIndex:
    # Half a second of imports that the embedded store does without.
    from rag.index.qdrant import QdrantIndex

    return QdrantIndex.connect(
        url,
        collection=_server_name(folder),
        spec=spec,
        api_key=_api_key(store),
        search_s=store.search_timeout_s,
        wait_s=store.qdrant_wait_s,
        has_records=has_records,
    )


def _api_key(store: StoreSettings) -> str | None:
    key = store.qdrant_api_key
    return None if key is None else key.get_secret_value()


def _server_name(folder: Path) -> str:
    """What the index in a collection's folder is called on a Qdrant server."""
    return f"octavo-{folder.name}"
