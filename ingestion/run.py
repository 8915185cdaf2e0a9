"""The write path, step after step, for one list of files; one bad file never stops the rest."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ingestion.embed import Embedder
from ingestion.source import Refusal, SourceFile, document_id, printable
from ingestion.store import store_batch
from ingestion.text import document_view
from rag.errors import BackendError, DocumentError, InputError, RagError
from rag.manifest import DocumentState, Incoming, StagedVersion, Unchanged
from rag.ports import PdfInfo, ScannedPage
from rag.renderers.isolated import IsolatedReader, PageFailure
from rag.repository import CollectionReader, CollectionWriter, DocumentSummary
from rag.settings import Settings
from rag.types import Json, Notice

OnEvent = Callable[[Json], None]

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
    }
)
# The document was deleted by somebody else while it was read.
_DELETED = frozenset({"version_superseded", "unknown_document"})


@dataclass(frozen=True)
class IngestOptions:
    """What one ingest says about its documents; None leaves what they have."""

    metadata: Json | None = None
    readers: tuple[str, ...] | None = None
    force: bool = False
    password: str | None = None


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
    ) -> None:
        self._isolated = isolated
        self._embedder = embedder
        self._writer = writer
        # Made when wanted: a collection with nothing in it yet may not be seen.
        self._reader_for = reader_for
        self._encoder_name = encoder_name
        self._settings = settings

    def ingest(
        self,
        files: Sequence[SourceFile | Refusal],
        options: IngestOptions,
        on_event: OnEvent = lambda _: None,
    ) -> Json:
        """Ingest files in order.

        Args:
            files: from `discover`.
            options: of all of them.
            on_event: called with `progress` as pages are done, and with `document` at the moment
                a document is durable.

        Returns:
            The totals, as INTERFACES shows them.

        Raises:
            BackendError: the disk is full or the store failed; what was acknowledged stays.
        """
        start = time.monotonic()
        job_id = self._writer.start_job("ingest")
        states: Counter[str] = Counter()
        pages: Counter[str] = Counter({"indexed": 0, "blank": 0, "failed": 0})
        state = "interrupted"
        try:
            self._writer.sweep()
            for number, file in enumerate(files, start=1):
                event = self._document(file, options, _Progress(on_event, number, len(files)))
                states[event["state"]] += 1
                if event["state"] not in ("unchanged", "refused"):
                    failed, blank = len(event["failed_pages"]), len(event["blank_pages"])
                    pages.update(
                        indexed=event["pages"] - failed - blank, blank=blank, failed=failed
                    )
                on_event(event)
            state = "done"
        finally:
            totals: Json = {
                "event": "totals",
                "job_id": job_id,
                "documents": dict(states),
                "pages": dict(pages),
                "seconds": round(time.monotonic() - start, 3),
                "encoder": self._encoder_name,
                "warnings": [],
            }
            self._writer.finish_job(job_id, state=state, totals=totals)
        return totals

    # --- one document ---------------------------------------------------------------------------
    def _document(
        self, file: SourceFile | Refusal, options: IngestOptions, progress: _Progress
    ) -> Json:
        if isinstance(file, Refusal):
            refusal = DocumentError(file.message, code=file.code, next_step=file.next_step)
            return self._refused(self._incoming(file, options), refusal)
        incoming = self._incoming(file, options)
        try:
            incoming = replace(incoming, sha256=file.sha256)
            if not options.force and self._writer.find_unchanged(incoming) is not None:
                return self._event(incoming, "unchanged")
            info = self._isolated.open(file.path, password=options.password)
            self._require_within_limits(file, info)
            incoming = replace(incoming, n_pages=info.n_pages, is_repaired=info.is_repaired)
            version = self._writer.begin(file.path, incoming, force=options.force)
            if isinstance(version, Unchanged):
                return self._event(incoming, "unchanged")
            return self._filled(incoming, version, info, options, progress)
        except InputError as error:
            return self._refused(incoming, error)
        except BackendError as error:
            if error.code not in _DELETED:
                raise
            return self._refused(incoming, error)

    def _filled(
        self,
        incoming: Incoming,
        version: StagedVersion,
        info: PdfInfo,
        options: IngestOptions,
        progress: _Progress,
    ) -> Json:
        """Read, encode and store what is missing of a staged version, then make it visible."""
        texts = self._writer.page_texts(version)
        todo = [n for n in range(1, info.n_pages + 1) if n not in version.recorded]
        done = info.n_pages - len(todo)
        progress(incoming.source, done, info.n_pages)
        crowded: list[int] = []
        scanned = self._isolated.scan(
            self._writer.source_path(version),
            todo,
            password=options.password,
            want_image=self._embedder.wants_image,
        )
        for batch in batched(scanned, self._settings.store.batch_pages):
            read = [page for page in batch if isinstance(page, ScannedPage)]
            failures = [page for page in batch if isinstance(page, PageFailure)]
            embedded = self._embedder.embed(version.document_id, version.version_id, read)
            store_batch(self._writer, version, embedded, failures)
            texts.update((page.page_number, page.text) for page in read)
            crowded += [found.page.page_number for found in embedded if found.n_left_out]
            done += len(batch)
            progress(incoming.source, done, info.n_pages)
        failed = self._writer.failed_pages(version)
        if len(failed) == info.n_pages:
            return self._all_failed(incoming, failed)
        features, priors = document_view(incoming.source, info.title, texts)
        state = DocumentState.PARTIAL if failed else DocumentState.INDEXED
        self._writer.publish(version, state=state, features=features, priors=priors)
        whole = state is DocumentState.INDEXED
        return self._event(
            incoming, "replaced" if version.replaces and whole else str(state), crowded=crowded
        )

    def _all_failed(self, incoming: Incoming, failed: Mapping[int, str]) -> Json:
        reasons = ", ".join(sorted(set(failed.values())))
        error = DocumentError(
            f"none of the {len(failed)} pages could be read: {reasons}",
            code="all_pages_failed",
            next_step="Open the file in a PDF viewer and save it again, then ingest that.",
        )
        return self._refused(incoming, error) | {
            "pages": len(failed),
            "failed_pages": [
                {"page_number": number, "reason": reason} for number, reason in failed.items()
            ],
        }

    def _require_within_limits(self, file: SourceFile, info: PdfInfo) -> None:
        limit = self._settings.render.max_pages
        if info.n_pages > limit:
            raise DocumentError(
                f"{file.source} has {info.n_pages} pages, the limit is {limit}",
                code="too_many_pages",
                next_step="Raise render.max_pages, or split the file.",
            )

    def _incoming(self, file: SourceFile | Refusal, options: IngestOptions) -> Incoming:
        root = (
            file.root
            if isinstance(file, SourceFile)
            else file.path.parents[file.source.count("/")]  # a refusal is named below its root too
        )
        return Incoming(
            document_id=document_id(self._writer.collection, root, file.source),
            root=printable(str(root)),
            source=file.source,
            metadata=options.metadata,
            readers=options.readers,
        )

    # --- what is said of it ---------------------------------------------------------------------
    def _refused(self, incoming: Incoming, error: RagError) -> Json:
        state = DocumentState.REFUSED if error.code in _REFUSALS else DocumentState.FAILED
        # Another's document stays as its owner left it, and a deleted one stays deleted.
        if error.code != "not_permitted" and error.code not in _DELETED:
            try:
                self._writer.refuse(incoming, error, state=state)
            except InputError as not_permitted:
                return self._refused(incoming, not_permitted)
        return {
            "event": "document",
            "source": incoming.source,
            "document_id": incoming.document_id,
            "state": str(state),
            "pages": 0,
            "blank_pages": [],
            "no_text_pages": [],
            "failed_pages": [],
            "error": {key: printable(text) for key, text in error.as_dict().items()},
            "warnings": [],
        }

    def _event(self, incoming: Incoming, state: str, *, crowded: Sequence[int] = ()) -> Json:
        summary = self._reader_for().document(incoming.document_id)
        shown = summary.as_dict()
        return {
            "event": "document",
            "source": summary.source,
            "document_id": summary.document_id,
            "state": state,
            "pages": summary.n_pages,
            "blank_pages": shown["blank_pages"],
            "no_text_pages": shown["no_text_pages"],
            "failed_pages": shown["failed_pages"],
            "error": None,
            "warnings": [warning.as_dict() for warning in _warnings(summary, crowded)],
        }


class _Progress:
    """Tells how far a document has come."""

    def __init__(self, on_event: OnEvent, number: int, n_documents: int) -> None:
        self._on_event = on_event
        self._place = {"document": number, "documents": n_documents}

    def __call__(self, source: str, pages_done: int, pages_total: int) -> None:
        self._on_event(
            {
                "event": "progress",
                "source": source,
                "pages_done": pages_done,
                "pages_total": pages_total,
                **self._place,
            }
        )


def _warnings(summary: DocumentSummary, crowded: Sequence[int]) -> Iterator[Notice]:
    if summary.is_repaired:
        yield Notice("repaired", "The file is damaged and was mended; pages may be missing.")
    if summary.no_text_pages:
        yield Notice(
            "no_text_pages",
            f"{len(summary.no_text_pages)} pages show something but hold no text layer; they are "
            "not found by their words. Add a text layer to the file (for example with ocrmypdf) "
            "and ingest it again.",
        )
    if crowded:
        yield Notice(
            "crowded_pages",
            f"Page {', '.join(map(str, crowded))}: more words than one page has vectors for; the "
            "last of them are found by their spelling only.",
        )


def batched(
    items: Iterable[ScannedPage | PageFailure], size: int
) -> Iterator[list[ScannedPage | PageFailure]]:
    """Lists of up to `size`, as they come."""
    remaining = iter(items)
    while batch := list(itertools.islice(remaining, size)):
        yield batch
