"""The write path for one list of files; one bad file never stops the rest."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from ingestion.caption import PageDescriber
from ingestion.embed import Embedder
from ingestion.events import OnEvent, Progress, Totals, document_event, stored_document_event
from ingestion.filling import (
    DELETED,
    Batch,
    Begun,
    Ended,
    Filler,
    Filling,
    Outcome,
    Piece,
)
from ingestion.job_run import CommandRun, JobRun, job_document
from ingestion.places import Places, moved_from
from ingestion.render import open_document
from ingestion.source import Refusal, SourceFile, places, printable
from ingestion.text import document_view
from rag import logs, telemetry
from rag.errors import BackendError, DocumentError, InputError, NotFound, RagError
from rag.manifest import DocumentState, Incoming, PlacedDocument, Unchanged
from rag.quarantine import quarantined
from rag.renderers.image_renderer import IMAGE_SUFFIXES
from rag.renderers.isolated import IsolatedReader
from rag.repository import CollectionReader, CollectionWriter
from rag.settings import Settings
from rag.telemetry import DOCUMENTS, PAGES, QUARANTINED, STORE_WAIT
from rag.types import Json, Notice

# "Will not try" as against "tried and could not".
_REFUSALS = frozenset(
    {
        "not_permitted",
        "not_a_pdf",
        "password_required",
        "wrong_password",
        "too_many_pages",
        "too_large",
        "empty_file",
        "office_file",
        "unsupported_type",
        "outside_root",
        "quarantined",
    }
)

_WORTH_A_WORD_S = 1.0  # of waiting for the store


@dataclass(frozen=True)
class IngestOptions:
    """What one ingest says about its documents; None leaves what they have.

    Attributes:
        force: read and encode again what is unchanged.
        retry_failed: read again what is unchanged and has pages that failed.
    """

    metadata: Json | None = None
    readers: tuple[str, ...] | None = None
    force: bool = False
    retry_failed: bool = False
    password: str | None = None


@dataclass(frozen=True)
class KeptFile:
    """A file that the store keeps, with all that is known of its document."""

    path: Path
    incoming: Incoming

    @property
    def sha256(self) -> str:
        return self.incoming.sha256


class Ingestor:
    """Ingests files into one collection."""

    def __init__(
        self,
        *,
        isolated: IsolatedReader,
        embedder: Embedder,
        writer: CollectionWriter,
        reader_for: Callable[[], CollectionReader],
        encoder_name: str,
        settings: Settings,
        describer: PageDescriber | None = None,
    ) -> None:
        self._isolated = isolated
        self._embedder = embedder
        self._writer = writer
        # Made when wanted: a collection with nothing in it yet may not be seen.
        self._reader_for = reader_for
        self._encoder_name = encoder_name
        self._settings = settings
        self._describer = describer
        self._misses_ocr = self._can_ocr = False
        self._places = Places(writer.collection, ())

    def ingest(
        self,
        files: Sequence[SourceFile | Refusal | KeptFile],
        options: IngestOptions,
        on_event: OnEvent = lambda _: None,
        *,
        kind: str = "ingest",
        job: JobRun | None = None,
        then: Callable[[], Iterator[Json]] = lambda: iter(()),
    ) -> Json:
        """Ingest files in order.

        Args:
            files: from `discover`, or kept ones.
            options: of all of them; a kept file has metadata and readers of its own.
            on_event: called with `progress` as pages are done, and with `document` at the moment
                a document is durable.
            kind: what the job is called.
            job: that it is, where it is one of the queue; else it notes one of its own.
            then: what is done once all files are, unless the job was stopped; it gives the events
                of the documents it is done to.

        Returns:
            The totals, as INTERFACES shows them.

        Raises:
            BackendError: the disk is full or the store failed; what was acknowledged stays.
            ConfigError: the OCR engine or a language of the settings is not installed.
        """
        # A ConfigError of it comes before anything is noted.
        self._misses_ocr = self._isolated.misses_ocr
        self._can_ocr = self._isolated.ocr_engine is not None
        self._isolated.will_read(places(file for file in files if not isinstance(file, KeptFile)))
        start = time.monotonic()
        job = job or CommandRun(self._writer, kind)
        counted = Totals()
        state = "interrupted"
        spans = ExitStack()
        spans.enter_context(telemetry.span("ingest", kind=kind, files=len(files)))
        spans.enter_context(logs.about(job=job.job_id))
        filler = Filler(
            isolated=self._isolated,
            embedder=self._embedder,
            writer=self._writer,
            settings=self._settings,
            describer=self._describer,
            should_stop=job.should_stop,
        )
        try:
            self._places = Places(self._writer.collection, self._writer.placed())
            job.begin([self._incoming(file, options).document_id for file in files])
            self._writer.sweep()
            # Left in this order: nothing waits for a store that is away, then the stages end.
            with (
                filler.pipeline(self._pieces(filler, files, options, on_event, job)) as pieces,
                self._writer.waiting(),
            ):
                for piece in pieces:
                    event = self._taken(piece)
                    if event is not None:
                        _count(event)
                        counted.add(event)
                        on_event(event)
            self._writer.finish_changes()
            if not job.is_stopped:
                for event in then():
                    counted.add(event)
                    on_event(event)
            state = "stopped" if job.is_stopped else "done"
        finally:
            totals = counted.event(
                job_id=job.job_id,
                seconds=time.monotonic() - start,
                encoder=self._encoder_name,
                busy_s=filler.busy_s,
            )
            totals["warnings"] += self._store_notices()
            telemetry.count(STORE_WAIT, self._writer.waited_s)
            spans.close()
            job.end(state=state, totals=totals)
        return totals

    def _store_notices(self) -> list[Json]:
        waited_s = self._writer.waited_s
        if waited_s < _WORTH_A_WORD_S:
            return []
        return [
            Notice(
                "waited_for_store", f"The store was away for {waited_s:.0f} s; nothing is missing."
            ).as_dict()
        ]

    def _pieces(
        self,
        filler: Filler,
        files: Sequence[SourceFile | Refusal | KeptFile],
        options: IngestOptions,
        on_event: OnEvent,
        job: JobRun,
    ) -> Iterator[Piece]:
        for number, file in enumerate(files, start=1):
            if job.should_stop():
                return  # what is on its way is still stored and told
            progress = Progress(on_event, number, len(files))
            begun = self._begun(filler, file, options, progress, job)
            if isinstance(begun, Filling):
                yield from filler.read(begun, password=options.password)
            else:
                yield Outcome(begun)

    def _taken(self, piece: Piece) -> Json | None:
        """The event of a document that ends with this piece."""
        match piece:
            case Outcome(event):
                return event
            case Ended(document):
                event = self._ended(document)
                document.span.end()
                document.has_ended.set()
                return event
            case Begun(document) | Batch(document):
                if document.error is None:
                    document.tell(n_more=len(piece))
                return None

    # --- one document ---------------------------------------------------------------------------
    def _begun(
        self,
        filler: Filler,
        file: SourceFile | Refusal | KeptFile,
        options: IngestOptions,
        progress: Progress,
        job: JobRun,
    ) -> Filling | Json:
        """The document with a version to fill, or how it ended without one."""
        incoming = self._incoming(file, options)
        if isinstance(file, Refusal):
            filler.wait_for_like(incoming)
            return self._refused(incoming, _as_error(file))
        try:
            incoming = replace(incoming, sha256=file.sha256)
            filler.wait_for_like(incoming)
            if isinstance(file, SourceFile):
                came_from = self._moved_from(incoming)
                if came_from is not None:
                    incoming = replace(incoming, document_id=came_from.document_id)
                    filler.wait_for_like(incoming)
                self._places.take(incoming)
            else:
                came_from = None
            force = options.force and not job.has_made(incoming.document_id)
            force = force or job.wants_again(incoming.document_id)
            force = force or self._reads_more(incoming, retry_failed=options.retry_failed)
            if not force and (settled := self._settled(incoming, came_from)) is not None:
                return settled
            info = open_document(
                self._isolated,
                file.path,
                max_pages=self._settings.render.max_pages,
                password=options.password,
                sha256=file.sha256,
                again=options.force,
            )
            incoming = replace(incoming, n_pages=info.n_pages, is_repaired=info.is_repaired)
            version = self._writer.begin(file.path, incoming, force=force)
            if isinstance(version, Unchanged):
                return self._event(incoming, "unchanged")
            texts = self._writer.page_texts(version)
            return Filling(
                incoming,
                version,
                info,
                progress,
                texts,
                len(version.recorded),
                may_reuse=not options.force,
            )
        except InputError as error:
            return self._refused(incoming, error)
        except BackendError as error:
            if error.code not in DELETED:
                raise
            return self._refused(incoming, error)

    def _moved_from(self, incoming: Incoming) -> PlacedDocument | None:
        """The document that had these bytes elsewhere, whose file is not there any more."""
        if self._places.is_known(incoming):
            return None
        return moved_from(incoming, self._writer.with_bytes(incoming.sha256))

    def _settled(self, incoming: Incoming, came_from: PlacedDocument | None) -> Json | None:
        """How a document ends whose pages need not be read; None where they must be."""
        if came_from is None and self._writer.find_unchanged(incoming) is not None:
            return self._event(incoming, "unchanged")
        if not self._writer.change_to(incoming):
            return None
        if came_from is None:
            return self._event(incoming, "changed")
        event = self._event(incoming, "moved") | {"moved_from": came_from.source}
        if came_from.root != incoming.root:
            event["moved_from_root"] = came_from.root
        return event

    def _reads_more(self, incoming: Incoming, *, retry_failed: bool) -> bool:
        """Whether the same file is there with pages that may end otherwise than they did."""
        if not (self._can_ocr or retry_failed):
            return False
        try:
            held = self._reader_for().document(incoming.document_id)
        except NotFound:
            return False
        return held.sha256 == incoming.sha256 and bool(
            (self._can_ocr and held.unread_pages) or (retry_failed and held.failed_pages)
        )

    def _ended(self, document: Filling) -> Json:
        """Make a filled version visible, or say why there is none."""
        incoming = document.incoming
        if document.error is not None:
            return self._refused(incoming, document.error)
        try:
            return self._published(document)
        except InputError as error:
            return self._refused(incoming, error)
        except BackendError as error:
            if error.code not in DELETED:
                raise
            return self._refused(incoming, error)

    def _published(self, document: Filling) -> Json:
        incoming, version = document.incoming, document.version
        failed = self._writer.failed_pages(version)
        if len(failed) == document.info.n_pages:
            return self._all_failed(incoming, failed)
        features, priors = document_view(
            incoming.source,
            document.info.title,
            document.texts,
            has_captions=self._writer.has_captions(version),
        )
        state = DocumentState.PARTIAL if failed else DocumentState.INDEXED
        n_reused = self._writer.n_reused(version)
        self._writer.publish(version, state=state, features=features, priors=priors)
        whole = state is DocumentState.INDEXED
        return self._event(
            incoming,
            "replaced" if version.replaces and whole else str(state),
            crowded=document.crowded,
            page_notices=document.notices,
            lost_outline=document.info.lost_outline,
            n_reused=n_reused,
        )

    def _all_failed(self, incoming: Incoming, failed: Mapping[int, str]) -> Json:
        found = self._isolated.fatal_files.of(incoming.sha256)
        if "quarantined" in failed.values() and found is not None:
            error = quarantined(Path(incoming.source).name, found)
            return self._refused(incoming, error, failed_pages=failed)
        reasons = ", ".join(sorted(set(failed.values())))
        is_image = Path(incoming.source).suffix.lower() in IMAGE_SUFFIXES
        if is_image:
            what = "the image could not be read"
        elif len(failed) == 1:
            what = "its only page could not be read"
        else:
            what = f"none of the {len(failed)} pages could be read"
        viewer = "an image" if is_image else "a PDF"
        error = DocumentError(
            f"{what}: {reasons}",
            code="all_pages_failed",
            next_step=f"Open the file in {viewer} viewer and save it again, then ingest that.",
        )
        return self._refused(incoming, error, failed_pages=failed)

    def _incoming(self, file: SourceFile | Refusal | KeptFile, options: IngestOptions) -> Incoming:
        if isinstance(file, KeptFile):
            return file.incoming
        root = (
            file.root
            if isinstance(file, SourceFile)
            else file.path.parents[file.source.count("/")]  # a refusal is named below its root too
        )
        return Incoming(
            document_id=self._places.document_id(root, file.source),
            root=printable(str(root)),
            source=file.source,
            metadata=options.metadata,
            readers=options.readers,
        )

    # --- what is said of it ---------------------------------------------------------------------
    def _refused(
        self, incoming: Incoming, error: RagError, *, failed_pages: Mapping[int, str] | None = None
    ) -> Json:
        state = DocumentState.REFUSED if error.code in _REFUSALS else DocumentState.FAILED
        # Another's document stays as its owner left it, and a deleted one stays deleted.
        if error.code != "not_permitted" and error.code not in DELETED:
            try:
                self._writer.refuse(incoming, error, state=state)
            except InputError as not_permitted:
                return self._refused(incoming, not_permitted)
        return document_event(
            source=incoming.source,
            document_id=incoming.document_id,
            state=str(state),
            error=error,
            failed_pages=failed_pages,
            n_pages=len(failed_pages or {}),
        )

    def _event(
        self,
        incoming: Incoming,
        state: str,
        *,
        crowded: Sequence[int] = (),
        page_notices: Sequence[tuple[int, Notice]] = (),
        lost_outline: bool = False,
        n_reused: int = 0,
    ) -> Json:
        summary = self._reader_for().document(incoming.document_id)
        return stored_document_event(
            summary,
            state,
            crowded=crowded,
            page_notices=page_notices,
            misses_ocr=self._misses_ocr,
            lost_outline=lost_outline,
            n_reused=n_reused,
        )


def _count(event: Json) -> None:
    """What a document's event says, in the metrics."""
    ended = job_document(event)
    telemetry.count(DOCUMENTS, state=ended.state)
    for outcome in ("indexed", "blank", "failed", "reused"):
        telemetry.count(PAGES, getattr(ended, outcome), outcome=outcome)
    if (event["error"] or {}).get("code") == "quarantined":
        telemetry.count(QUARANTINED)


def rehearse(files: Sequence[SourceFile | Refusal], on_event: OnEvent) -> Json:
    """What would be read and what refused, without opening a document or writing anything."""
    counted = Totals()
    for file in files:
        refused = isinstance(file, Refusal)
        event = document_event(
            source=file.source,
            document_id=None,
            state="refused" if refused else "would_ingest",
            error=_as_error(file) if isinstance(file, Refusal) else None,
        )
        counted.add(event)
        on_event(event)
    return counted.event(job_id=None, seconds=0.0, encoder=None)


def _as_error(refusal: Refusal) -> DocumentError:
    return DocumentError(refusal.message, code=refusal.code, next_step=refusal.next_step)
