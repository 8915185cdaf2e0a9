"""Writing to a collection: staged, made durable, then published; safe to stop at any step.

The order of steps is what makes it safe (docs/adr/0007): a file is kept before a version names it,
records are flushed before the manifest counts them, and they are deleted before it forgets them.
What is packed of a record (docs/adr/0011) comes after it and goes before it.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from rag import failpoints
from rag.errors import BackendError, InputError, RagError, ShapeError
from rag.filters import Condition, Filter
from rag.index.digest import vectors_digest
from rag.manifest import (
    DocumentState,
    Incoming,
    PageRow,
    StagedVersion,
    Unchanged,
    page_record_id,
)
from rag.page_pack import PackedPage, sync
from rag.page_text import PageText
from rag.repository.changing import ChangingWriter
from rag.repository.residue import count_left
from rag.repository.writer_base import of_version
from rag.types import Json, PageField, PageRecord, SparseVector

_log = logging.getLogger(__name__)


class CollectionWriter(ChangingWriter):
    """One collection, written by one principal. Thread-safe; made by `Repository.writer`.

    Only the owner and whoever ingested a document may replace or delete it. Writes take turns;
    searches go on meanwhile.
    """

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
            self._room.require(path.stat().st_size if path.exists() else 0)
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
                self._durably(partial(self._upsert, stamped))
                failpoints.reached("flushed")
                self._pack_pages(stamped)
                failpoints.reached("packed")
            self._manifest.record_pages(version.version_id, _with_digests(rows, records))
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

    def n_reused(self, version: StagedVersion) -> int:
        """Pages added so far whose vectors were there already."""
        return self._manifest.n_reused(version.version_id)

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
            held = self._index.count(of_version(version.version_id))
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
            if self._manifest.unstamped(self.collection):
                # What was said of the document while its pages came is not in all of its records.
                self._stamp(must_succeed=False)

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

    # --- delete ---------------------------------------------------------------------------------
    def delete(self, document_id: str) -> dict[str, int]:
        """Delete a document and everything made from it; an interrupted one too.

        Returns:
            What is left of it by kind, as `count_left` counts. All are 0 when it is gone; files
            that another document was made from as well do not count.

        Raises:
            NotFound: `unknown_document`.
            InputError: `not_permitted` for another's document.
        """
        with self._lock:
            self._require_known(document_id)
            traces = self._manifest.traces(self.collection, document_id)
            self._manifest.delete_document(self.collection, document_id)
            failpoints.reached("document_deleted")
            self._sweep_retired(must_succeed=True)
            self._manifest.forget_in_jobs(traces)
            if not self._manifest.erase_log():
                _log.info("deleted rows stay in the manifest's log until its readers are done")
            return count_left(
                self._manifest,
                self._page_store,
                self._index,
                self._pack,
                collection=self.collection,
                traces=traces,
            )

    def sweep(self) -> None:
        """Finish what was cut short: records of retired versions, changes, files nobody names."""
        with self._lock:
            self._sweep_retired(must_succeed=True)
            self.finish_changes()
            if self._pack.is_stale:
                sync(self._pack, self._index)
            self._page_store.clear_temporary()
            for digest in self._page_store.source_ids() - self._manifest.used_bytes():
                self._page_store.release_source(digest)

    # --- records and what is packed of them -----------------------------------------------------
    def _upsert(self, records: Sequence[PageRecord]) -> None:
        self._index.upsert(records)
        failpoints.reached("upserted")

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
        return self._manifest.start_job(
            kind, subject=self._principal.subject, collection=self.collection
        )

    def finish_job(self, job_id: str, *, state: str, totals: Json) -> None:
        self._manifest.finish_job(job_id, state=state, totals=totals)


def _with_digests(rows: Sequence[PageRow], records: Sequence[PageRecord]) -> list[PageRow]:
    digests = {record.record_id: vectors_digest(record) for record in records}
    return [
        dataclasses.replace(row, vectors_digest=digests.get(row.record_id or "")) for row in rows
    ]


def _size_bytes(records: Sequence[PageRecord], rows: Sequence[PageRow]) -> int:
    vectors = sum(
        vector.values.nbytes + vector.indices.nbytes
        if isinstance(vector, SparseVector)
        else vector.nbytes
        for record in records
        for vector in record.vectors.values()
    )
    return vectors + sum(row.text.boxes.nbytes + len(row.text.text) for row in rows)
