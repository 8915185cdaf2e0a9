"""Where readers and writers come from."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from rag.disk_room import DiskRoom
from rag.errors import IndexUnavailable, NotFound, RagError
from rag.manifest import Document, Manifest, is_replacement, replacement_name
from rag.page_pack import PagePack, sync
from rag.page_store import PageStore
from rag.ports import PageIndex, RemoteIndex
from rag.repository.dropping import Dropping
from rag.repository.jobs import PrincipalJobs, WorkQueue
from rag.repository.reading import CollectionReader
from rag.repository.snapshot import Snapshots
from rag.repository.writing import CollectionWriter
from rag.types import Json, Principal

_log = logging.getLogger(__name__)

# After packing failed, searches leave it for so long: on a full disk each would pay for a try.
_MEND_AGAIN_S = 30.0
# A writer may hold the lock for minutes, while it waits for a server that is away.
_MEND_WAITS_S = 2.0
_OPEN_TRIES = 5


class Repository:
    """Documents, pages and records of one data folder. Thread-safe.

    Args:
        manifest: what there is.
        page_store: the files.
        index_for: opens the records of a collection, once.
        pack_for: the same for what is packed of them.
        room: on the disk; None asks the disk of the page store's folder.
    """

    def __init__(
        self,
        manifest: Manifest,
        page_store: PageStore,
        index_for: Callable[[str], PageIndex],
        pack_for: Callable[[str], PagePack],
        *,
        room: DiskRoom | None = None,
    ) -> None:
        self._manifest = manifest
        self._page_store = page_store
        self._index_for = index_for
        self._pack_for = pack_for
        self._room = room or DiskRoom(page_store.folder)
        self._snapshots = Snapshots(manifest)
        # One for all collections: they share the files.
        self._write_lock = threading.RLock()
        self._mend_failed_at: dict[str, float] = {}  # by collection, on the monotonic clock

    def close(self) -> None:
        """Let go of the manifest; the indexes are closed by whoever opened them."""
        self._manifest.close()

    def collections(self, principal: Principal) -> list[str]:
        """Names of the collections in which the principal may see something."""
        return [
            name
            for name in self._manifest.collections()
            if not is_replacement(name) and self._is_known(principal, name)
        ]

    def ensure_collection(self, name: str, identity: Json) -> None:
        """See Manifest.ensure_collection; it shows nothing of what the collection holds."""
        self._manifest.ensure_collection(name, identity)

    def has_collection(self, name: str) -> bool:
        """Whether it was ever ensured, whoever may see it."""
        return self._manifest.identity(name) is not None

    def reader(self, principal: Principal, collection: str) -> CollectionReader:
        """Raises NotFound `unknown_collection`."""
        self._require_known(principal, collection)
        return self._reader(principal, collection)

    def writer(
        self, principal: Principal, collection: str, *, waits: bool = True
    ) -> CollectionWriter:
        """Writes as the principal; `waits` is for a server that is away.

        Raises:
            NotFound: `unknown_collection` for one that was never ensured.
            IndexUnavailable: the server stays away.
        """
        if self._manifest.identity(collection) is None:
            raise self._unknown(principal, collection)
        index, pack = self._for_writing(collection, waits=waits)
        return CollectionWriter(
            principal=principal,
            collection=collection,
            manifest=self._manifest,
            page_store=self._page_store,
            index=index,
            lock=self._write_lock,
            pack=pack,
            room=self._room,
        )

    def _for_writing(self, collection: str, *, waits: bool) -> tuple[PageIndex, PagePack]:
        """An index on a server that is away is waited for, and no lock is held meanwhile."""
        index = self._index_for(collection)
        if not (waits and isinstance(index, RemoteIndex)):
            return index, self._pack_for(collection)
        patient = index.patient()
        for n_tries in range(1, _OPEN_TRIES + 1):
            patient.require_ready()
            try:
                return patient, self._pack_for(collection)
            except IndexUnavailable:  # it went away again
                if n_tries == _OPEN_TRIES:
                    raise
        raise AssertionError("the loop returns or raises")

    def identity(self, principal: Principal, collection: str) -> Json:
        """What the collection was made with. Raises NotFound `unknown_collection`."""
        self._require_known(principal, collection)
        return self._manifest.identity(collection) or {}

    # --- a collection made again, beside what it will replace ------------------------------------
    def begin_replacement(self, collection: str, identity: Json) -> bool:
        """See Manifest.begin_replacement."""
        return self._manifest.begin_replacement(collection, identity)

    def unmoved(self, collection: str) -> list[Document]:
        """Live documents that the replacement does not hold as they are now."""
        found = (self._manifest.document(collection, i) for i in self._manifest.unmoved(collection))
        return [document for document in found if document is not None]

    def kept_file(self, document: Document) -> Path:
        """The file that a live document was made from.

        Raises:
            NotFound: `source_missing`.
        """
        held = self._page_store.source_path(document.sha256)
        if held is None:
            raise NotFound(
                f"the kept file of {document.source!r} is gone",
                code="source_missing",
                next_step="Ingest the document again, then run the command again.",
            )
        return held

    def replace_collection(self, principal: Principal, collection: str) -> bool:
        """Switch to the replacement, unless a document has not been moved to it.

        Nothing is written or deleted meanwhile. What the replacement holds beyond the collection
        was deleted from it since, and goes.
        """
        replacement = replacement_name(collection)
        with self._write_lock:
            if self._manifest.unmoved(collection):
                return False
            overtaken = self._manifest.overtaken(collection)
            if overtaken:
                writer = self.writer(principal, replacement)
                for document_id in overtaken:
                    writer.delete(document_id)
            self._manifest.replace_collection(collection)
            return True

    def drop_replacement(self, collection: str) -> bool:
        """See Manifest.drop_replacement."""
        with self._write_lock:
            return self._manifest.drop_replacement(collection)

    @property
    def dropping(self) -> Dropping:
        """Collections deleted as a whole."""
        return Dropping(self._manifest, self._page_store, self._snapshots, self._write_lock)

    def standing_still(self) -> AbstractContextManager[object]:
        """While it is held nothing is written; searches go on."""
        return self._write_lock

    def folder(self, collection: str) -> str:
        """See Manifest.folder."""
        return self._manifest.folder(collection)

    def unused_folders(self, found: Iterable[str]) -> list[str]:
        """See Manifest.unused_folders."""
        return self._manifest.unused_folders(found)

    def jobs(self, principal: Principal) -> PrincipalJobs:
        """Jobs the principal started or asked for, all of them for the owner."""
        return PrincipalJobs(principal, self._manifest)

    @property
    def work_queue(self) -> WorkQueue:
        """For whoever works on what others asked for."""
        return WorkQueue(self._manifest)

    def _reader(self, principal: Principal, collection: str) -> CollectionReader:
        return CollectionReader(
            principal=principal,
            collection=collection,
            manifest=self._manifest,
            snapshots=self._snapshots,
            page_store=self._page_store,
            index_for=self._index_for,
            pack_for=self._pack_for,
            mend_pack=self._mend_pack,
            finish_changes=self._finish_changes,
        )

    def _mend_pack(self, collection: str, damaged: Sequence[str]) -> None:
        """Pack what is missing or damaged; what cannot be now stays missing, and is logged."""
        if not damaged and self._mend_failed_lately(collection):
            return  # without waiting for whoever writes
        pack = self._pack_for(collection)
        if not self._write_lock.acquire(timeout=_MEND_WAITS_S):
            return
        try:
            if damaged:
                pack.set_aside(damaged)
            if pack.is_stale and not self._mend_failed_lately(collection):
                sync(pack, self._index_for(collection))
        except RagError:
            self._mend_failed_at[collection] = time.monotonic()
            _log.warning("packed page vectors could not be mended now", exc_info=True)
        finally:
            self._write_lock.release()

    def _finish_changes(self, collection: str) -> None:
        """What a change that was cut short left to do; not while somebody writes, who does it."""
        if not self._write_lock.acquire(blocking=False):
            return
        try:
            if not self._mend_failed_lately(collection):
                # A search has no time to wait for a server.
                self.writer(Principal.owner(), collection, waits=False).finish_changes()
        except RagError:
            self._mend_failed_at[collection] = time.monotonic()
            _log.warning("changed documents could not be stamped now", exc_info=True)
        finally:
            self._write_lock.release()

    def _mend_failed_lately(self, collection: str) -> bool:
        failed_at = self._mend_failed_at.get(collection)
        return failed_at is not None and time.monotonic() - failed_at < _MEND_AGAIN_S

    def _is_known(self, principal: Principal, collection: str) -> bool:
        # For others a collection without a document of theirs is like one that is not there.
        if self._manifest.identity(collection) is None:
            return False
        return principal.is_owner or self._reader(principal, collection).sees_something

    def _require_known(self, principal: Principal, collection: str) -> None:
        if not self._is_known(principal, collection):
            raise self._unknown(principal, collection)

    def _unknown(self, principal: Principal, collection: str) -> NotFound:
        known = self.collections(principal)
        return NotFound(
            f"no collection {collection!r}",
            code="unknown_collection",
            next_step=f"There are: {', '.join(known)}." if known else "Ingest something first.",
        )
