"""Reading a collection as somebody: nothing else of it exists for them."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from rag.errors import BackendError, IndexMismatch, InputError, NotFound
from rag.filters import Condition, Filter, parse_filters
from rag.geometry import FloatArray
from rag.manifest import Document, Manifest, PageInfo, PastVersion
from rag.page_pack import PagePack, Part
from rag.page_store import PageStore
from rag.page_text import PageText
from rag.ports import PageIndex, RemoteIndex
from rag.repository.copies import DocumentCopy
from rag.repository.packed_scope import PackedScope
from rag.repository.snapshot import (
    DocumentSummary,
    PageSummary,
    Snapshot,
    Snapshots,
    StoredPage,
    places_in,
)
from rag.types import Candidate, Json, PageField, PageRef, Principal, RenderedPage, SparseVector

_log = logging.getLogger(__name__)

# A version begun during a search can show up in it, and one replaced during it can be missing;
# the search is then made again, and after so many tries what was begun meanwhile is left out.
_TRIES = 3


class CollectionReader:
    """One collection through the eyes of one principal. Thread-safe; made by `Repository.reader`.

    What is foreign and what is missing are told apart nowhere.
    """

    def __init__(
        self,
        *,
        principal: Principal,
        collection: str,
        manifest: Manifest,
        snapshots: Snapshots,
        page_store: PageStore,
        index_for: Callable[[str], PageIndex],
        pack_for: Callable[[str], PagePack],
        mend_pack: Callable[[str, Sequence[str]], None],
        finish_changes: Callable[[str], None],
    ) -> None:
        self.collection = collection
        self._principal = principal
        self._readers = tuple(principal.readers)
        self._manifest = manifest
        self._snapshots = snapshots
        self._page_store = page_store
        self._index_for = index_for
        self._pack_for = pack_for
        self._mend_pack = mend_pack
        self._finish_changes = finish_changes
        self._folder = manifest.folder(collection)

    @property
    def generation(self) -> int:
        """Grows whenever a document of the collection appears, changes or goes."""
        return self._manifest.visibility(self.collection)[0]

    def snapshot(self) -> Snapshot:
        """What is visible now, to be asked about later by `has_lost`."""
        return self._snapshot()

    def has_lost(self, before: Snapshot) -> bool:
        """Whether a version that was visible then is not any more."""
        return not before.is_within(self._snapshot())

    @property
    def sees_something(self) -> bool:
        """Whether there is any document for this principal."""
        return any(map(self._may_read, self._snapshot().documents.values()))

    def require_same_index(self) -> None:
        """See that a migration did not replace the index while it was searched.

        Raises:
            IndexMismatch: it did; what was found is of no use.
        """
        if self._manifest.folder(self.collection) != self._folder:
            made_by = (self._manifest.identity(self.collection) or {}).get("encoder")
            raise IndexMismatch(
                f"collection {self.collection!r} was made again by {made_by} while it was searched",
                next_step="Search again with the settings it was migrated to.",
            )

    # --- documents ------------------------------------------------------------------------------
    def documents(self) -> list[DocumentSummary]:
        """All documents, by source; those that failed or were refused too."""
        snapshot = self._snapshot()
        return [snapshot.summarize(document) for document in self._permitted(snapshot)]

    def document(self, document_id: str) -> DocumentSummary:
        """Raises NotFound `unknown_document`."""
        snapshot = self._snapshot()
        return snapshot.summarize(self._document(snapshot, document_id))

    def copies(self) -> Iterator[DocumentCopy]:
        """Every live document that may be read, whole, by source.

        Raises:
            BackendError: `version_superseded` for one that goes meanwhile.
        """
        for document in self._permitted(self._snapshot()):
            if document.version_id is not None:
                yield DocumentCopy(
                    self._manifest, self._index_for(self.collection), self._page_store, document
                )

    def versions(self, document_id: str) -> list[PastVersion]:
        """Its versions that are or were visible, newest first.

        Raises:
            NotFound: `unknown_document`; who may read what it is may know what it was.
        """
        self._document(self._snapshot(), document_id)
        return self._manifest.history(self.collection, document_id)

    def is_being_filled(self, document_id: str) -> bool:
        """Whether a version of a document of this collection is on its way, and not visible yet.

        Raises:
            NotFound: `unknown_document`; who may not read it learns nothing of it.
        """
        self._document(self._snapshot(), document_id)
        staged = self._manifest.staging(self.collection)
        return any(staged_id == document_id for staged_id, _, _ in staged)

    def source_being_filled(self, name: str) -> str | None:
        """The source of a document that is filled for the first time; for the owner and for who
        ingests it, since nobody else is known to be allowed to read it.
        """
        for document_id, source, ingested_by in self._manifest.staging(self.collection):
            if not (self._principal.is_owner or ingested_by == self._principal.subject):
                continue
            if name in (document_id, source, PurePosixPath(source).name):
                return source
        return None

    def resolve_document(self, name: str) -> str:
        """The document id that a person means: an id, a source, or a file name.

        Raises:
            InputError: `ambiguous_document`, listing what it could be.
            NotFound: `unknown_document`, with near names.
        """
        documents = self._permitted(self._snapshot())
        if any(document.document_id == name for document in documents):
            return name
        matches = [document for document in documents if document.source == name] or [
            document for document in documents if PurePosixPath(document.source).name == name
        ]
        if len(matches) > 1:
            listed = ", ".join(f"{match.source} ({match.document_id})" for match in matches)
            raise InputError(
                f"{name!r} could be any of {len(matches)} documents: {listed}",
                code="ambiguous_document",
                next_step="Give the id in brackets.",
            )
        if not matches:
            near = difflib.get_close_matches(name, [document.source for document in documents])
            raise self._unknown_document(name, near)
        return matches[0].document_id

    def document_features(self) -> list[tuple[str, Json]]:
        """(document id, features) of every document with a live version, by source."""
        snapshot = self._snapshot()
        return [
            (document.document_id, features)
            for document in self._permitted(snapshot)
            if (features := snapshot.features(document)) is not None
        ]

    # --- searching ------------------------------------------------------------------------------
    def scope(
        self,
        filters: Mapping[str, Any] | None = None,
        documents: Sequence[str] | None = None,
        pages: tuple[int, int] | None = None,
    ) -> Filter:
        """What the caller narrows a search to; access and visibility are joined to it later.

        Args:
            filters: as `parse_filters` reads them.
            documents: names as `resolve_document` takes them; none given means any.
            pages: first and last page number.

        Raises:
            InputError: a filter or page range that makes no sense, an ambiguous name.
            NotFound: an unknown document.
        """
        parts: list[Condition | Filter] = []
        if filters:
            parts.append(parse_filters(filters))
        if documents:
            named = {self.resolve_document(name) for name in documents}
            parts.append(Condition("document_id", "$in", tuple(sorted(named))))
        if pages is not None:
            first, last = pages
            if not 1 <= first <= last:
                raise InputError(
                    f"pages {first}-{last} is no range of pages",
                    next_step="Pages count from 1; give the first and the last, as in 3-7.",
                )
            parts += [Condition("page_number", "$gte", first)]
            parts += [Condition("page_number", "$lte", last)]
        return Filter(must=tuple(parts))

    def one_search(self) -> AbstractContextManager[None]:
        """Within the block a store on a server has the time of one search, this thread's calls
        together.
        """
        index = self._index_for(self.collection)
        return index.one_search() if isinstance(index, RemoteIndex) else nullcontext()

    def search_many(
        self,
        queries: Sequence[tuple[PageField, FloatArray | SparseVector, int]],
        scope: Filter | None = None,
        record_ids: Sequence[str] | None = None,
    ) -> list[list[Candidate]]:
        """Several searches, (field, query, limit) each, in one request; see PageIndex."""
        for _ in range(_TRIES):
            snapshot, where = self._request(scope)
            found = self._index_for(self.collection).search_many(
                queries, where=where, record_ids=record_ids
            )
            seen = [[c for c in hits if self._sees(snapshot, c.record_id)] for hits in found]
            if seen == found and self.generation == snapshot.generation:
                break
        return seen

    def packed(self, scope: Filter | None = None) -> PackedScope:
        """The packed pages in the scope; what is missing of them is packed first, if it can be."""
        pack = self._pack_for(self.collection)
        if pack.is_stale:
            self._mend_pack(self.collection, ())
        snapshot, where = self._request(scope)
        view = pack.view()
        if scope is None or scope == Filter():
            readers = None if self._principal.is_owner else self._readers
            among, missing = snapshot.packed_places(
                view, readers, lambda record_id: self._sees(snapshot, record_id)
            )
        else:
            inside = self._index_for(self.collection).ids(where)
            among, missing = places_in(view, (i for i in inside if self._sees(snapshot, i)))
        return PackedScope(view, among, missing)

    def mend_packed(self, record_ids: Sequence[str]) -> None:
        """Pack pages anew whose packed vectors turned out damaged."""
        self._mend_pack(self.collection, record_ids)

    def ids(self, scope: Filter | None = None) -> list[str]:
        """Record ids of all pages in the scope, ascending."""
        snapshot, where = self._request(scope)
        return [
            record_id
            for record_id in self._index_for(self.collection).ids(where)
            if self._sees(snapshot, record_id)
        ]

    def n_pages(self, scope: Filter | None = None) -> int:
        """Pages in the scope that are in the index."""
        if scope is None or scope == Filter():
            snapshot = self._snapshot()
            return sum(snapshot.n_indexed(document) for document in self._permitted(snapshot))
        return self._index_for(self.collection).count(self._request(scope)[1])

    def vectors(self, record_ids: Sequence[str], page_field: PageField) -> dict[str, FloatArray]:
        """Stored vectors by record id; a page that is missing or foreign is absent."""
        snapshot = self._snapshot()
        seen = [record_id for record_id in record_ids if self._sees(snapshot, record_id)]
        found = self._packed_patches(seen) if page_field is PageField.PATCHES else {}
        elsewhere = [record_id for record_id in seen if record_id not in found]
        if elsewhere:
            found |= self._index_for(self.collection).vectors(elsewhere, page_field)
        return found

    def _packed_patches(self, record_ids: Sequence[str]) -> dict[str, FloatArray]:
        """What of the pages' vectors is packed: the same values, read in a fraction of the time."""
        view = self._pack_for(self.collection).view()
        held = {i: view.index_of[i] for i in record_ids if i in view.index_of}
        damaged = view.damaged(np.array(list(held.values()), dtype=np.int64), Part.FP16)
        if damaged:
            _log.warning("damaged packed pages are packed anew: %s", ", ".join(damaged))
            self._mend_pack(self.collection, damaged)
        return {
            record_id: view.fp16.page(index)
            for record_id, index in held.items()
            if view.n_rows[index] and record_id not in damaged
        }

    # --- pages ----------------------------------------------------------------------------------
    def pages(self, record_ids: Sequence[str]) -> dict[str, PageSummary]:
        """What the records are pages of; one that is missing or foreign is absent."""
        snapshot = self._snapshot()
        return {
            record_id: snapshot.pages[record_id]
            for record_id in record_ids
            if self._sees(snapshot, record_id)
        }

    def page(self, document_id: str, page_number: int) -> StoredPage:
        """Raises NotFound `unknown_document` or `unknown_page`."""
        ref = PageRef(document_id, page_number)
        return self.stored_pages([ref])[ref]

    def stored_pages(self, refs: Sequence[PageRef]) -> dict[PageRef, StoredPage]:
        """Pages with their words. Raises NotFound for the first that is missing or foreign."""
        for _ in range(_TRIES):
            found = self._stored_pages(self._snapshot(), refs)
            if len(found) == len(set(refs)):
                return found
        raise BackendError(
            "a page's words are missing from the manifest",
            code="manifest_damaged",
            next_step="Ingest the document again with --force.",
        )

    def _stored_pages(
        self, snapshot: Snapshot, refs: Sequence[PageRef]
    ) -> dict[PageRef, StoredPage]:
        """Fewer than asked for when a document was replaced since the snapshot was taken."""
        by_id: dict[str, list[int]] = {}
        for ref in refs:
            by_id.setdefault(ref.document_id, []).append(ref.page_number)
        found: dict[PageRef, StoredPage] = {}
        for document_id, wanted in by_id.items():
            document = self._document(snapshot, document_id)
            infos = {number: self._page_info(snapshot, document, number) for number in wanted}
            assert document.version_id is not None  # it has pages
            for number, row in self._manifest.texts(document.version_id, wanted).items():
                info = infos[number]
                ref = PageRef(document_id, number)
                found[ref] = StoredPage(
                    ref=ref,
                    source=document.source,
                    sha256=document.sha256,
                    version_id=document.version_id,
                    state=info.state,
                    no_text=info.no_text,
                    reason=info.reason,
                    width_pt=info.width_pt,
                    height_pt=info.height_pt,
                    record_id=info.record_id,
                    text=row.text,
                    vector_words=row.vector_words,
                    vector_boxes=row.vector_boxes,
                    hidden=row.hidden,
                    ocr=info.ocr,
                    caption=row.caption,
                )
        return found

    def page_texts(self, refs: Sequence[PageRef]) -> dict[PageRef, PageText]:
        """Raises NotFound for the first page that is missing or foreign."""
        return {ref: page.text for ref, page in self.stored_pages(refs).items()}

    def page_image(
        self, ref: PageRef, dpi: float = 150.0, *, max_px: int | None = None
    ) -> RenderedPage:
        """Raises NotFound, or DocumentError for a page that cannot be rendered."""
        snapshot = self._snapshot()
        document = self._document(snapshot, ref.document_id)
        self._page_info(snapshot, document, ref.page_number)
        return self._page_store.page_image(document.sha256, ref.page_number, dpi=dpi, max_px=max_px)

    # --- who may see what -----------------------------------------------------------------------
    def _snapshot(self) -> Snapshot:
        return self._snapshots.at(self.collection, self.generation)

    def _request(self, scope: Filter | None) -> tuple[Snapshot, Filter]:
        """What is visible now, and the filter that holds a request to it."""
        generation, hidden = self._manifest.visibility(self.collection)
        unstamped = self._manifest.unstamped(self.collection)
        if unstamped:
            self._finish_changes(self.collection)
            unstamped = self._manifest.unstamped(self.collection)
        must: list[Condition | Filter] = [] if scope is None else [scope]
        if not self._principal.is_owner:
            # What records say of their readers holds but for these, which may say it wrongly.
            allowed = [v.version_id for v in unstamped if self._is_among(v.readers)]
            hidden += [v.version_id for v in unstamped if not self._is_among(v.readers)]
            stamped = Condition("readers", "$in", self._readers)
            said = (stamped, Condition("version_id", "$in", tuple(allowed))) if allowed else ()
            must.append(Filter(should=said) if said else stamped)
        must_not = (Condition("version_id", "$in", tuple(hidden)),) if hidden else ()
        return (
            self._snapshots.at(self.collection, generation),
            Filter(must=tuple(must), must_not=must_not),
        )

    def _is_among(self, readers: Sequence[str]) -> bool:
        return any(name in self._readers for name in readers)

    def _may_read(self, document: Document) -> bool:
        return self._principal.is_owner or self._is_among(document.readers)

    def _permitted(self, snapshot: Snapshot) -> list[Document]:
        return [document for document in snapshot.documents.values() if self._may_read(document)]

    def _sees(self, snapshot: Snapshot, record_id: str) -> bool:
        page = snapshot.pages.get(record_id)
        return page is not None and self._may_read(snapshot.documents[page.ref.document_id])

    def _document(self, snapshot: Snapshot, document_id: str) -> Document:
        document = snapshot.documents.get(document_id)
        if document is None or not self._may_read(document):
            raise self._unknown_document(document_id, [])
        return document

    def _page_info(self, snapshot: Snapshot, document: Document, page_number: int) -> PageInfo:
        info = snapshot.page_infos(document).get(page_number)
        if info is None:
            raise NotFound(
                f"{document.source} has no page {page_number}",
                code="unknown_page",
                next_step=f"It has {document.n_pages} pages, counted from 1.",
            )
        return info

    def _unknown_document(self, name: str, near: Sequence[str]) -> NotFound:
        return NotFound(
            f"no document {name!r} in collection {self.collection!r}",
            code="unknown_document",
            next_step=f"Did you mean {' or '.join(near)}?" if near else "See `octavo list`.",
        )
