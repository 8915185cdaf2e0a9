"""`import`: the documents of an archive, through the same steps as an ingest, and none encoded."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from ingestion.archive.arrays import SavedArrays
from ingestion.archive.contents import Archive, SavedDocument, SavedRun, bad_archive, parsed
from ingestion.events import OnEvent, Totals, stored_document_event
from ingestion.places import Places
from rag import failpoints
from rag.errors import IndexMismatch, InputError, ShapeError
from rag.filters import require_metadata, require_readers
from rag.manifest import (
    DocumentState,
    Incoming,
    StagedVersion,
    Unchanged,
    is_same_identity,
    page_record_id,
)
from rag.repository import CollectionReader, CollectionWriter
from rag.types import Json, PageRecord

_BATCH_PAGES = 32


def require_same_identity(archive: Archive, identity: Json, collection: str) -> None:
    """Vectors of another encoder are of no use here.

    Raises:
        IndexMismatch: nothing was written.
    """
    held = archive.contents.identity
    if not is_same_identity(held, identity):
        raise IndexMismatch(
            f"the archive was made by {held.get('encoder', 'another encoder')} and collection "
            f"{collection!r} is made by {identity.get('encoder', 'this one')}, or with other "
            "settings",
            next_step="Import with the settings of the archive (--encoder, --config), into a new "
            "collection; then `octavo migrate` to yours.",
        )


class Importer:
    """Brings an archive into one collection."""

    def __init__(
        self,
        archive: Archive,
        writer: CollectionWriter,
        reader_for: Callable[[], CollectionReader],
        *,
        encoder_name: str,
    ) -> None:
        self._archive = archive
        self._writer = writer
        # Made when wanted: a collection with nothing in it yet may not be seen.
        self._reader_for = reader_for
        self._encoder_name = encoder_name
        self._places = Places(writer.collection, ())

    def run(self, on_event: OnEvent = lambda _: None) -> Json:
        """Every document of the archive; stopped half way, the same call goes on.

        Whoever imports is who ingested them; their readers are those of the archive.

        Returns:
            Totals as an ingest's.

        Raises:
            DocumentError: `bad_archive`; documents before it are there.
            BackendError: as an ingest's.
        """
        start = time.monotonic()
        job_id = self._writer.start_job("import")
        counted, state = Totals(), "interrupted"
        try:
            self._writer.sweep()
            self._places = Places(self._writer.collection, self._writer.placed())
            n_documents = len(self._archive.contents.documents)
            for number, name in enumerate(self._archive.contents.documents, start=1):
                saved = parsed(SavedDocument, self._archive.read(name), name)
                event = self._import(saved, name)
                counted.add(event)
                on_event(event)
                on_event(
                    {
                        "event": "progress",
                        "source": saved.source,
                        "document": number,
                        "documents": n_documents,
                        "pages_done": saved.n_pages,
                        "pages_total": saved.n_pages,
                    }
                )
            state = "done"
        finally:
            totals = counted.event(
                job_id=job_id, seconds=time.monotonic() - start, encoder=self._encoder_name
            )
            self._writer.finish_job(job_id, state=state, totals=totals)
        return totals

    def _import(self, saved: SavedDocument, name: str) -> Json:
        _require_sound(saved, name)
        incoming = Incoming(
            document_id=self._places.document_id(Path(saved.root), saved.source),
            root=saved.root,
            source=saved.source,
            sha256=saved.sha256,
            n_pages=saved.n_pages,
            metadata=saved.metadata,
            readers=saved.readers,
            is_repaired=saved.is_repaired,
        )
        self._places.take(incoming)
        if self._writer.find_unchanged(incoming) is not None:
            return self._event(incoming, "unchanged")
        with self._unpacked(saved) as file:
            version = self._writer.begin(file, incoming)
        if isinstance(version, Unchanged):
            return self._event(incoming, "unchanged")
        priors = {page.page_number: page.prior for run in saved.runs for page in run.pages}
        for run in saved.runs:
            if any(page.page_number not in version.recorded for page in run.pages):
                self._add(version, run)
        state = DocumentState(saved.state)
        self._writer.publish(version, state=state, features=saved.features, priors=priors)
        failpoints.reached("import_switched")
        return self._event(incoming, "replaced" if version.replaces else str(state))

    def _add(self, version: StagedVersion, run: SavedRun) -> None:
        arrays = SavedArrays(self._archive.read(run.arrays), run.arrays)
        rows, records = [], []
        for page in run.pages:
            record_id = None
            if page.has_record:
                record_id = page_record_id(version.version_id, page.page_number)
                records.append(PageRecord(record_id, arrays.vectors(page), {}))
            rows.append(arrays.row(page, record_id))
        try:
            self._writer.add_pages(version, records, rows)
        except ShapeError as error:
            raise bad_archive(f"{run.arrays!r} holds vectors of another shape") from error

    @contextmanager
    def _unpacked(self, saved: SavedDocument) -> Iterator[Path]:
        """The document's file, somewhere, under its digest."""
        data = self._archive.read(saved.file)
        with tempfile.TemporaryDirectory(prefix="octavo-import-") as folder:
            path = Path(folder) / PurePosixPath(saved.file).name
            path.write_bytes(data)
            failpoints.reached("archive_unpacked")
            yield path

    def _event(self, incoming: Incoming, state: str) -> Json:
        return stored_document_event(self._reader_for().document(incoming.document_id), state)


def _require_sound(saved: SavedDocument, name: str) -> None:
    """Raises DocumentError `bad_archive` for what would be half a document."""
    numbers = [page.page_number for run in saved.runs for page in run.pages]
    if numbers != list(range(1, saved.n_pages + 1)):
        raise bad_archive(f"{name!r} does not hold each page once")
    if saved.state not in (DocumentState.INDEXED, DocumentState.PARTIAL):
        raise bad_archive(f"{name!r} says that its state is {saved.state!r}")
    try:
        require_metadata(saved.metadata)
        require_readers(saved.readers)
    except InputError as error:
        raise bad_archive(f"{name!r}: {error.message}") from error
    if PurePosixPath(saved.file).stem != saved.sha256:
        raise bad_archive(f"{name!r} names another file than its own")
