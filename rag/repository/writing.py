"""Writing to a collection: staged, made durable, then published; safe to stop at any step.

The order of steps is what makes it safe (docs/adr/0007): a file is kept before a version names it,
records are flushed before the manifest counts them, and they are deleted before it forgets them.
What is packed of a record (docs/adr/0011) comes after it and goes before it.
"""

from __future__ import annotations

import dataclasses
import logging
import shutil
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from rag import failpoints
from rag.errors import BackendError, InputError, NotFound, RagError, ShapeError
from rag.filters import Condition, Filter
from rag.manifest import (
    Document,
    DocumentState,
    Incoming,
    Manifest,
    PageRow,
    StagedVersion,
    Unchanged,
    page_record_id,
)
from rag.page_pack import PackedPage, PagePack, sync
from rag.page_store import PageStore
from rag.page_text import PageText
from rag.ports import PageIndex
from rag.types import Json, PageField, PageRecord, Principal, SparseVector

_log = logging.getLogger(__name__)

# What the store may write beside the vectors themselves: log, copies while it merges.
_DISK_FACTOR = 4
_DISK_RESERVE_BYTES = 200_000_000


def free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


class CollectionWriter:
    """One collection, written by one principal. Thread-safe; made by `Repository.writer`.

    Only the owner and whoever ingested a document may replace or delete it. Writes take turns;
    searches go on meanwhile.
    """

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
        free_bytes: Callable[[Path], int] = free_bytes,
    ) -> None:
        self.collection = collection
        self._principal = principal
        self._manifest = manifest
        self._page_store = page_store
        self._index = index
        self._lock = lock
        self._pack = pack
        self._free_bytes = free_bytes

    # --- ingest ---------------------------------------------------------------------------------
    def find_unchanged(self, incoming: Incoming) -> Unchanged | None:
        """The live version, where ingesting the file would change nothing; needs no page count."""
        with self._lock:
            self._require_may_write(incoming.document_id)
            unchanged = self._manifest.find_unchanged(
                self.collection, incoming, ingested_by=self._principal.subject
            )
            # Without its file `begin` has something to do: it keeps the file again.
            if self._page_store.source_path(incoming.sha256) is None or unchanged is None:
                return None
            # A forced try, or one with other bytes, was cut short: nobody wants the rest of it.
            if self._manifest.give_up_staging(self.collection, incoming.document_id):
                self._sweep_retired()
            return unchanged

    def begin(
        self, path: Path, incoming: Incoming, *, force: bool = False
    ) -> Unchanged | StagedVersion:
        """Keep the file and stage a version, or go on with one that was interrupted.

        Args:
            path: the file whose bytes `incoming.sha256` names.
            incoming: with the page count.
            force: stage even what would change nothing.

        Raises:
            InputError: `not_permitted` for another's document; a page count below 1.
            DocumentError: `unreadable` or `changed_while_reading`.
            BackendError: `disk_full`.
        """
        if incoming.n_pages < 1:
            raise InputError(f"{incoming.source!r} cannot be staged with {incoming.n_pages} pages")
        with self._lock:
            self._require_may_write(incoming.document_id)
            unchanged = None if force else self.find_unchanged(incoming)
            if unchanged is not None:
                return unchanged
            self._require_space(path.stat().st_size if path.exists() else 0)
            self._page_store.keep_source(path, incoming.sha256)
            # Asked again: the file alone may have been missing.
            unchanged = None if force else self.find_unchanged(incoming)
            if unchanged is not None:
                return unchanged
            version = self._manifest.begin_version(
                self.collection, incoming, ingested_by=self._principal.subject
            )
            failpoints.reached("version_begun")
            if version.is_resumed:
                # Records of a batch that was cut short; this time their pages may end otherwise.
                self._delete_records(
                    Filter(
                        must=(Condition("version_id", "$eq", version.version_id),),
                        must_not=(Condition("page_number", "$in", tuple(version.recorded)),),
                    )
                )
            return version

    def add_pages(
        self, version: StagedVersion, records: Sequence[PageRecord], rows: Sequence[PageRow]
    ) -> None:
        """Make a batch of pages durable; acknowledged when this returns. Again is the same as once.

        Args:
            version: from `begin`.
            records: of the pages that have something to find, ids from `page_record_id`. Who may
                read them, and what they belong to, is written into their payload here.
            rows: one for every page of the batch.

        Raises:
            ShapeError: records and rows that do not belong together.
            BackendError: `disk_full`, `version_superseded`.
        """
        numbers = {row.record_id: row.page_number for row in rows if row.record_id is not None}
        if {record.record_id for record in records} != numbers.keys() or any(
            record_id != page_record_id(version.version_id, number)
            for record_id, number in numbers.items()
        ):
            raise ShapeError("records and rows of a batch name different pages")
        stamped = [
            dataclasses.replace(
                record,
                payload={
                    **record.payload,
                    "document_id": version.document_id,
                    "version_id": version.version_id,
                    "page_number": numbers[record.record_id],
                    "source": version.source,
                    "metadata": version.metadata,
                    "readers": list(version.readers),
                },
            )
            for record in records
        ]
        with self._lock:
            if not self._manifest.takes_pages(version.version_id):
                return
            self._require_space(_size_bytes(records, rows) + self._packed_bytes(records))
            if stamped:
                # Never older than the index: `sync` compares nothing but ids.
                self._pack.discard(numbers)
                failpoints.reached("pack_discarded")
                self._index.upsert(stamped)
                failpoints.reached("upserted")
                self._index.flush()
                failpoints.reached("flushed")
                self._pack_pages(stamped)
                failpoints.reached("packed")
            self._manifest.record_pages(version.version_id, rows)
            failpoints.reached("pages_recorded")

    # What a staged version holds so far: nobody else sees it, whoever fills it needs it.
    def source_path(self, version: StagedVersion) -> Path:
        """The kept file, whose bytes are those of the version whatever happens to the original."""
        held = self._page_store.source_path(version.sha256)
        if held is None:
            raise BackendError(
                f"the kept file of {version.source!r} is gone",
                code="source_missing",
                next_step="Ingest the document again.",
            )
        return held

    def page_texts(self, version: StagedVersion) -> dict[int, PageText]:
        """Words of the pages that an interrupted try made durable."""
        rows = self._manifest.texts(version.version_id, sorted(version.recorded))
        return {number: row.text for number, row in rows.items()}

    def captions(
        self, version: StagedVersion, content_hashes: Collection[str]
    ) -> dict[str, list[Json]]:
        """What was written of pages with these contents, in any version of the document."""
        return self._manifest.captions(version.document_id, content_hashes)

    def has_captions(self, version: StagedVersion) -> bool:
        """Whether anything was written of any of its pages, also by an interrupted try."""
        return self._manifest.has_captions(version.version_id)

    def failed_pages(self, version: StagedVersion) -> dict[int, str]:
        """Reason by page number."""
        return self._manifest.failed_pages(version.version_id)

    def publish(
        self,
        version: StagedVersion,
        *,
        state: DocumentState,
        features: Json | None = None,
        priors: Mapping[int, float] | None = None,
    ) -> None:
        """Make the version visible in place of the one before.

        Args:
            version: with every page added.
            state: `indexed`, or `partial` where pages failed.
            features: of the document, for retrieval.
            priors: query-independent score by page number.

        Raises:
            BackendError: `incomplete_version`, `incomplete_index`, `version_superseded`.
        """
        with self._lock:
            held = self._index.count(_of_version(version.version_id))
            wanted = self._manifest.n_records(version.version_id)
            if held != wanted:
                raise BackendError(
                    f"the index holds {held} records of {version.source!r} where {wanted} were "
                    "written",
                    code="incomplete_index",
                    next_step="Ingest the document again with --force.",
                )
            self._manifest.publish(
                version.version_id, state=state, features=features or {}, priors=priors or {}
            )
            failpoints.reached("published")
            self._sweep_retired()

    def refuse(
        self,
        incoming: Incoming,
        error: RagError,
        *,
        state: DocumentState = DocumentState.REFUSED,
    ) -> None:
        """Note that a file was refused, or failed. A version that was live stays so."""
        with self._lock:
            self._require_may_write(incoming.document_id)
            self._manifest.record_failure(
                self.collection,
                incoming,
                state=state,
                error=error.as_dict(),
                ingested_by=self._principal.subject,
            )
            self._sweep_retired()

    def interrupted(self) -> dict[str, str]:
        """Source by document id of what was begun and neither published nor given up."""
        return {
            document_id: source
            for document_id, source, ingested_by in self._manifest.staging(self.collection)
            if self._principal.is_owner or ingested_by == self._principal.subject
        }

    # --- delete ---------------------------------------------------------------------------------
    def delete(self, document_id: str) -> dict[str, int]:
        """Delete a document and everything made from it; an interrupted one too.

        Returns:
            What is left of it by kind: documents, versions, pages, records, sources, images. All
            are 0 when it is gone; files that another document was made from as well do not count.

        Raises:
            NotFound: `unknown_document`.
            InputError: `not_permitted` for another's document.
        """
        with self._lock:
            document = self._manifest.document(self.collection, document_id)
            if document is None:
                is_known = document_id in self.interrupted()
            else:
                is_known = self._may_write(document) or self._may_read(document)
            if not is_known:
                raise NotFound(
                    f"no document {document_id!r} in collection {self.collection!r}",
                    code="unknown_document",
                    next_step="See `octavo list`.",
                )
            self._require_may_write(document_id)
            digests = self._manifest.bytes_of(self.collection, document_id)
            self._manifest.delete_document(self.collection, document_id)
            failpoints.reached("document_deleted")
            self._sweep_retired(must_succeed=True)
            left = self._manifest.left_of(self.collection, document_id)
            left["records"] = self._index.count(
                Filter(must=(Condition("document_id", "$eq", document_id),))
            )
            unused = {digest for digest in digests if not self._manifest.is_used(digest)}
            left["sources"] = sum(
                self._page_store.source_path(digest) is not None for digest in unused
            )
            left["images"] = sum(self._page_store.n_images(digest) for digest in unused)
            return left

    def sweep(self) -> None:
        """Finish what was cut short: records of retired versions, files that nothing names."""
        with self._lock:
            self._sweep_retired(must_succeed=True)
            if self._pack.is_stale:
                sync(self._pack, self._index)
            self._page_store.clear_temporary()
            for digest in self._page_store.source_ids() - self._manifest.used_bytes():
                self._page_store.release_source(digest)

    def _sweep_retired(self, *, must_succeed: bool = False) -> None:
        try:
            for version_id in self._manifest.retired(self.collection):
                digest = self._manifest.version_bytes(version_id)
                self._delete_records(_of_version(version_id))
                self._index.flush()
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

    # --- records and what is packed of them -----------------------------------------------------
    def _delete_records(self, where: Filter) -> None:
        # Before the index, which alone knows the ids; what is packed without need does no harm.
        self._pack.discard(self._index.ids(where))
        self._index.delete(where)

    def _pack_pages(self, records: Sequence[PageRecord]) -> None:
        try:
            self._pack.append([self._packed(record) for record in records])
        except RagError:
            # The index has the pages; `sweep`, or opening the pack, packs what is missing.
            self._pack.is_stale = True
            _log.warning("pages were indexed, but could not be packed now", exc_info=True)

    def _packed(self, record: PageRecord) -> PackedPage:
        patches = record.vectors.get(PageField.PATCHES)
        fde = record.vectors.get(PageField.FDE)
        assert not isinstance(patches, SparseVector)
        assert not isinstance(fde, SparseVector)
        if patches is None:
            patches = np.zeros((0, self._pack.spec.dim), np.float32)
        return PackedPage(record.record_id, patches, fde)

    def _packed_bytes(self, records: Sequence[PageRecord]) -> int:
        spec = self._pack.spec
        return sum(
            spec.page_bytes(len(record.vectors.get(PageField.PATCHES, ()))) for record in records
        )

    # --- jobs -----------------------------------------------------------------------------------
    def start_job(self, kind: str) -> str:
        """Returns its id."""
        return self._manifest.start_job(kind, subject=self._principal.subject)

    def finish_job(self, job_id: str, *, state: str, totals: Json) -> None:
        self._manifest.finish_job(job_id, state=state, totals=totals)

    # --- guards ---------------------------------------------------------------------------------
    def _may_read(self, document: Document) -> bool:
        return self._principal.is_owner or any(
            name in self._principal.readers for name in document.readers
        )

    def _may_write(self, document: Document) -> bool:
        return self._principal.is_owner or document.ingested_by == self._principal.subject

    def _require_may_write(self, document_id: str) -> None:
        document = self._manifest.document(self.collection, document_id)
        if document is not None and not self._may_write(document):
            raise InputError(
                f"document {document_id!r} belongs to somebody else",
                code="not_permitted",
                next_step="Ask whoever ingested it, or ingest under another name.",
            )

    def _require_space(self, estimate_bytes: int) -> None:
        # A full disk kills an embedded store in the middle of a write, so it is refused before.
        wanted = max(_DISK_RESERVE_BYTES, _DISK_FACTOR * estimate_bytes)
        free = self._free_bytes(self._page_store.folder)
        if free < wanted:
            raise BackendError(
                f"{free / 1e6:.0f} MB of disk are free where {wanted / 1e6:.0f} MB are wanted",
                code="disk_full",
                next_step="Make room in the data folder and run the command again: it goes on "
                "where it stopped.",
            )


def _of_version(version_id: str) -> Filter:
    return Filter(must=(Condition("version_id", "$eq", version_id),))


def _size_bytes(records: Sequence[PageRecord], rows: Sequence[PageRow]) -> int:
    vectors = sum(
        vector.values.nbytes + vector.indices.nbytes
        if isinstance(vector, SparseVector)
        else vector.nbytes
        for record in records
        for vector in record.vectors.values()
    )
    return vectors + sum(row.text.boxes.nbytes + len(row.text.text) for row in rows)
