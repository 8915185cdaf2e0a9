"""A document taken out whole, with vectors, words and file, to be written elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rag.errors import BackendError
from rag.index.digest import vectors_digest
from rag.manifest import Document, DocumentState, Manifest, PageRow
from rag.page_store import PageStore
from rag.ports import PageIndex
from rag.types import Json, PageRecord

_PAGES_AT_ONCE = 32


@dataclass(frozen=True, eq=False)
class PageCopy:
    """A page as the manifest and the index hold it; `record` is None where it has none."""

    row: PageRow
    record: PageRecord | None
    prior: float


class DocumentCopy:
    """One live version of a document. Its pages are read as they are asked for.

    Attributes:
        document: it is of.
        state: its version was published as.
        features: of the document, for retrieval.
    """

    def __init__(
        self, manifest: Manifest, index: PageIndex, page_store: PageStore, document: Document
    ) -> None:
        """Raises BackendError `version_superseded` where it is not live any more."""
        self.document = document
        self._manifest = manifest
        self._index = index
        self._page_store = page_store
        self.state: DocumentState
        self.features: Json
        self.state, self.features = self._outcome()

    @property
    def source_path(self) -> Path:
        """The kept file. Raises BackendError `source_missing`."""
        held = self._page_store.source_path(self.document.sha256)
        if held is None:
            raise BackendError(
                f"the kept file of {self.document.source!r} is gone",
                code="source_missing",
                next_step="Run `octavo repair`, or ingest the document again.",
            )
        return held

    def pages(self) -> Iterator[list[PageCopy]]:
        """All pages, some at a time.

        Raises:
            BackendError: `version_superseded`: the document was replaced or deleted meanwhile, and
                what came before belongs to nothing; `incomplete_index`; `data_damaged`.
        """
        assert self.document.version_id is not None  # it is live
        for first in range(1, self.document.n_pages + 1, _PAGES_AT_ONCE):
            numbers = range(first, min(first + _PAGES_AT_ONCE, self.document.n_pages + 1))
            rows = self._manifest.page_rows(self.document.version_id, list(numbers))
            wanted = [row.record_id for row, _ in rows if row.record_id is not None]
            records = {record.record_id: record for record in self._index.records(wanted)}
            self._outcome()  # still live: what was read of it was all there
            if len(rows) < len(numbers) or len(records) < len(wanted):
                raise BackendError(
                    f"pages of {self.document.source!r} are missing",
                    code="incomplete_index",
                    next_step="Run `octavo verify` to see which, and `octavo repair`.",
                )
            self._require_sound(rows, records)
            yield [PageCopy(row, records.get(row.record_id or ""), prior) for row, prior in rows]

    def _require_sound(
        self, rows: Sequence[tuple[PageRow, float]], records: Mapping[str, PageRecord]
    ) -> None:
        """Elsewhere damaged vectors would pass for those that were written."""
        for row, _ in rows:
            if row.record_id is None or row.vectors_digest is None:
                continue
            if vectors_digest(records[row.record_id]) != row.vectors_digest:
                raise BackendError(
                    f"page {row.page_number} of {self.document.source!r} is damaged",
                    code="data_damaged",
                    next_step="Run `octavo verify` to see everything that is damaged, then "
                    "`octavo repair`.",
                )

    def _outcome(self) -> tuple[DocumentState, Json]:
        assert self.document.version_id is not None  # it was live when it was listed
        found = self._manifest.outcome(self.document.version_id)
        if found is None:
            raise BackendError(
                f"{self.document.source!r} was replaced or deleted while it was copied",
                code="version_superseded",
                next_step="Run the command again.",
            )
        return found
