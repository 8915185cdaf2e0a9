"""Documents that follow their files: `sync`, changed metadata and readers."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ingestion.caption import PageDescriber
from ingestion.embed import Embedder
from ingestion.events import OnEvent, Totals
from ingestion.job_run import JobRun
from ingestion.run import IngestOptions, Ingestor
from ingestion.sync import Rehearsal, SyncRequest, sync
from rag.apps.asked import readers_asked
from rag.apps.service_base import ConnectionBase, ServiceBase
from rag.errors import InputError, NotFound
from rag.filters import require_metadata
from rag.manifest import Change
from rag.manifest.database import FILE_NAME as MANIFEST_FILE
from rag.repository import CollectionWriter, DocumentSummary
from rag.settings import Settings
from rag.types import Json

# The store stands still for seconds while it optimizes, and small additions gain nothing by it.
OPTIMIZE_FROM_PAGES = 500
# The methods another process may ask the owner of a data folder for.
REMOTE_METHODS: frozenset[str] = frozenset({"change_documents", "rehearse_sync"})


class LifecycleService(ServiceBase):
    """Here, on the engine."""

    def sync(
        self,
        *,
        folder: Path,
        collection: str,
        prune: bool = False,
        prune_all: bool = False,
        metadata: Json | None = None,
        readers: Sequence[str] | None = None,
        force: bool = False,
        retry_failed: bool = False,
        password: str | None = None,
        on_event: OnEvent = lambda _: None,
        job: JobRun | None = None,
    ) -> Json:
        """Make the collection equal to a folder; the totals, with `left` of what was deleted.

        Raises:
            InputError: `no_such_path`, `not_a_folder`, `unreadable`, `empty_folder`: a folder that
                takes nothing with it.
        """
        require_metadata(metadata)
        request = SyncRequest(Path(os.path.abspath(folder)), prune, prune_all)
        ingestor, writer = self._ingestor(collection)
        totals = sync(
            ingestor,
            writer,
            lambda: self._documents(collection),
            request,
            IngestOptions(
                metadata=metadata or None,
                readers=readers_asked(readers),
                force=force,
                retry_failed=retry_failed,
                password=password,
            ),
            on_event,
            max_file_bytes=self._engine.settings.render.max_file_bytes,
            job=job,
        )
        self._settle(totals, collection)
        return totals

    def rehearse_sync(self, *, folder: str, collection: str, **options: Any) -> Json:
        """What `sync` would do with the same options: `documents` as its events, and `totals`."""
        engine = self._engine
        is_there = engine.repository.has_collection(collection)
        rehearsal = Rehearsal(collection, [], [], {})
        if is_there:
            writer = engine.writer(self._principal, collection)
            placed = writer.placed()
            rehearsal = Rehearsal(
                collection, placed, writer.known(placed), self._documents(collection)
            )
        return _rehearsed(rehearsal, engine.settings, folder, **options)

    def change_documents(
        self,
        *,
        documents: Sequence[str],
        collection: str,
        metadata: Json | None = None,
        remove_metadata: Sequence[str] = (),
        readers: Sequence[str] | None = None,
    ) -> Json:
        """Change what documents say of themselves; nothing is read or encoded again.

        All names are understood before anything is changed.

        Args:
            documents: names, as `octavo show` takes them.
            collection: that they are in.
            metadata: keys that get these values; the others stay.
            remove_metadata: keys that go.
            readers: in place of those there are; None leaves them.

        Raises:
            InputError: `nothing_to_change`, `not_permitted`, `ambiguous_document`.
            NotFound: `unknown_collection`, `unknown_document`.
        """
        asked = readers_asked(readers)
        require_metadata(metadata)
        if not metadata and not remove_metadata and asked is None:
            raise InputError(
                "nothing is to be changed",
                code="nothing_to_change",
                next_step="Give --metadata, --remove-metadata or --readers.",
            )
        both = sorted(set(metadata or {}) & set(remove_metadata))
        if both:
            raise InputError(f"metadata {', '.join(both)} cannot be both set and removed")
        reader = self._engine.repository.reader(self._principal, collection)
        writer = self._engine.writer(self._principal, collection)
        ids = dict.fromkeys(reader.resolve_document(name) for name in documents)
        change = Change(add=metadata or {}, remove=tuple(remove_metadata), readers=asked)
        before = {document_id: reader.document(document_id) for document_id in ids}
        states = {}
        try:
            for document_id in ids:
                changed = writer.change(document_id, change)
                states[document_id] = "changed" if changed else "unchanged"
        finally:
            writer.finish_changes()
        after = self._documents(collection)
        return {
            "documents": [
                # Whoever took himself off the readers is told what he saw last.
                after.get(document_id, before[document_id]).as_dict() | {"state": state}
                for document_id, state in states.items()
            ]
        }

    # --- what several of them need --------------------------------------------------------------
    def _ingestor(self, collection: str) -> tuple[Ingestor, CollectionWriter]:
        engine = self._engine
        # Before the writer, which makes the collection: settings refused here must not leave one.
        embedder = Embedder(engine.encoder, engine.fde(collection), engine.settings.pooling)
        describer = PageDescriber.of(engine.settings, lambda: engine.chat, engine.isolated)
        writer = engine.writer(self._principal, collection)
        ingestor = Ingestor(
            isolated=engine.isolated,
            embedder=embedder,
            writer=writer,
            reader_for=lambda: engine.repository.reader(self._principal, collection),
            encoder_name=str(engine.encoder.identity),
            settings=engine.settings,
            describer=describer,
        )
        return ingestor, writer

    def _documents(self, collection: str) -> Mapping[str, DocumentSummary]:
        """By id; none where there is nothing to be seen."""
        try:
            reader = self._engine.repository.reader(self._principal, collection)
        except NotFound:
            return {}
        return {document.document_id: document for document in reader.documents()}

    def _settle(self, totals: Json, collection: str) -> None:
        """After an ingest: let the index merge what is new, and tell what the encoder has to."""
        if totals["pages"]["indexed"] >= OPTIMIZE_FROM_PAGES:
            self._engine.optimize(collection)
        totals["warnings"] += [notice.as_dict() for notice in self._engine.take_encoder_notices()]


class LifecycleConnection(ConnectionBase):
    """The same, from wherever the engine is."""

    def sync(
        self,
        folder: Path | str,
        *,
        collection: str = "default",
        dry_run: bool = False,
        on_event: Callable[[Json], None] = lambda _: None,
        **options: Any,
    ) -> Json:
        """As `octavo sync`; options as its flags. The totals, as it prints them last.

        Raises:
            DataFolderBusy: another process owns the folder; a dry run asks that one.
        """
        path = os.path.abspath(folder)
        if not dry_run:
            service = self._owning()
            return service.sync(
                folder=Path(path), collection=collection, on_event=on_event, **options
            )
        options.pop("password", None)  # no document is opened
        if not (self._settings.store.data_dir / MANIFEST_FILE).exists():
            told = _rehearsed(Rehearsal(collection, [], [], {}), self._settings, path, **options)
        else:
            told = self._call("rehearse_sync", folder=path, collection=collection, **options)
        for event in told["documents"]:
            on_event(event)
        totals: Json = told["totals"]
        return totals

    def change_documents(
        self, documents: Sequence[str], *, collection: str = "default", **changes: Any
    ) -> Json:
        """As `octavo set`; changes as its flags."""
        return self._call(
            "change_documents", documents=list(documents), collection=collection, **changes
        )


def _rehearsed(
    rehearsal: Rehearsal,
    settings: Settings,
    folder: str,
    *,
    prune: bool = False,
    prune_all: bool = False,
    metadata: Json | None = None,
    readers: Sequence[str] | None = None,
    force: bool = False,
    retry_failed: bool = False,
) -> Json:
    counted = Totals()
    events = list(
        rehearsal.events(
            SyncRequest(Path(folder), prune, prune_all),
            IngestOptions(
                metadata=metadata or None,
                readers=readers_asked(readers),
                force=force,
                retry_failed=retry_failed,
            ),
            max_file_bytes=settings.render.max_file_bytes,
        )
    )
    for event in events:
        counted.add(event)
    return {"documents": events, "totals": counted.event(job_id=None, seconds=0.0, encoder=None)}
