"""What all writing to a collection rests on: who may, is there room, and what is retired goes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from rag import failpoints
from rag.disk_room import DiskRoom
from rag.errors import BackendError, IndexDied, InputError, NotFound
from rag.filters import Condition, Filter
from rag.manifest import Document, Manifest
from rag.page_pack import PagePack
from rag.page_store import PageStore
from rag.ports import PageIndex, RemoteIndex
from rag.repository.equal_pages import EqualPages
from rag.types import Principal

_log = logging.getLogger(__name__)

# What the store may write beside the vectors themselves: log, copies while it merges.
_DISK_FACTOR = 4


class WriterBase:
    """One collection, written by one principal."""

    def __init__(
        self,
        *,
        principal: Principal,
        collection: str,
        manifest: Manifest,
        page_store: PageStore,
        index: PageIndex,
        lock: threading.RLock,
        pack: PagePack,
        room: DiskRoom,
    ) -> None:
        self.collection = collection
        self._principal = principal
        self._manifest = manifest
        self._page_store = page_store
        self._index = index
        self._lock = lock
        self._pack = pack
        self._room = room
        self.equal_pages = EqualPages(manifest, index, collection=collection, principal=principal)

    # --- a store that is away -------------------------------------------------------------------
    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Leaving the block ends what still waits for the store, in any thread, as Cancelled."""
        try:
            yield
        finally:
            if isinstance(self._index, RemoteIndex):
                self._index.stop_waiting()

    @property
    def waited_s(self) -> float:
        """How long it has waited for a store that was away."""
        return self._index.waited_s if isinstance(self._index, RemoteIndex) else 0.0

    def interrupted(self) -> dict[str, str]:
        """Source by document id of what was begun and neither published nor given up."""
        return {
            document_id: source
            for document_id, source, ingested_by in self._manifest.staging(self.collection)
            if self._principal.is_owner or ingested_by == self._principal.subject
        }

    # --- what is retired ------------------------------------------------------------------------
    def _sweep_retired(self, *, must_succeed: bool = False) -> None:
        try:
            for version_id in self._manifest.retired(self.collection):
                digest = self._manifest.version_bytes(version_id)
                self._durably(partial(self._delete_records, of_version(version_id)))
                failpoints.reached("records_deleted")
                self._manifest.forget_version(version_id)
                failpoints.reached("version_forgotten")
                if digest is not None and not self._manifest.is_used(digest):
                    self._page_store.release_source(digest)
        except BackendError:
            # What was published or noted stands; retired versions are invisible until next time.
            if must_succeed:
                raise
            _log.warning("retired versions could not be swept now", exc_info=True)

    def _durably(self, write: Callable[[], object]) -> None:
        """Write to the index and flush it; once more where its process ended in between.

        Raises:
            BackendError: `disk_full`, `index_died` twice, or as the index raises it.
        """
        try:
            write()
            self._index.flush()
        except IndexDied:
            _log.warning("the index ended at a write, which is written again", exc_info=True)
            write()
            self._index.flush()

    def _delete_records(self, where: Filter) -> None:
        # Before the index, which alone knows the ids; what is packed without need does no harm.
        self._pack.discard(self._index.ids(where))
        self._index.delete(where)

    # --- guards ---------------------------------------------------------------------------------
    def _may_read(self, document: Document) -> bool:
        return self._principal.is_owner or any(
            name in self._principal.readers for name in document.readers
        )

    def _may_write(self, document: Document) -> bool:
        return self._principal.is_owner or document.ingested_by == self._principal.subject

    def _require_known(self, document_id: str) -> None:
        """Raises NotFound `unknown_document`, InputError `not_permitted` for another's."""
        document = self._manifest.document(self.collection, document_id)
        if document is None:
            is_known = document_id in self.interrupted()
        else:
            is_known = self._may_write(document) or self._may_read(document)
        if not is_known:
            raise self._unknown_document(document_id)
        self._require_may_write(document_id)

    def _unknown_document(self, document_id: str) -> NotFound:
        return NotFound(
            f"no document {document_id!r} in collection {self.collection!r}",
            code="unknown_document",
            next_step="See `octavo list`.",
        )

    def _require_may_write(self, document_id: str) -> None:
        document = self._manifest.document(self.collection, document_id)
        if document is not None and not self._may_write(document):
            raise InputError(
                f"document {document_id!r} belongs to somebody else",
                code="not_permitted",
                next_step="Ask whoever ingested it, or ingest under another name.",
            )

    def _require_space(self, estimate_bytes: int) -> None:
        """For so many bytes of vectors and words, with all that the store writes beside them."""
        self._room.require(_DISK_FACTOR * estimate_bytes)


def of_version(version_id: str) -> Filter:
    return Filter(must=(Condition("version_id", "$eq", version_id),))
