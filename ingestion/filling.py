"""Staged versions filled page by page, in stages that work at the same time.

A page is acknowledged when its batch is stored, and documents end in the order they began. Pages of
the next document are read and encoded while those of the one before are stored.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from ingestion.caption import PageDescriber
from ingestion.context import DocumentContext
from ingestion.embed import EmbeddedPage, Embedder, EncodedBatch
from ingestion.events import Progress
from ingestion.pipeline import Pipeline
from ingestion.render import PageBatch, read_pages
from ingestion.reuse import PageReuse, input_digest
from ingestion.store import store_batch
from rag import failpoints, telemetry
from rag.errors import BackendError, InputError
from rag.manifest import Incoming, StagedVersion
from rag.page_text import PageText
from rag.ports import PdfInfo
from rag.renderers.isolated import IsolatedReader
from rag.repository import CollectionWriter
from rag.settings import Settings
from rag.types import Json, Notice

# The document was deleted by somebody else while it was read.
DELETED = frozenset({"version_superseded", "unknown_document"})
# With pixels, 6.5 MB each at 150 dpi: three batches of them are in memory at a time.
_IMAGE_BATCH_PAGES = 16
_LOOK_UP_S = 0.1


@dataclass(eq=False)
class Filling:
    """A document whose pages are on their way.

    Attributes:
        texts: words by page number, of all pages stored.
        crowded: pages with more words than vectors.
        notices: of pages, by page number.
        n_done: pages that are durable and told.
        error: why the document fails; what is still on its way is dropped.
        has_ended: its event was told.
        password: opens its file.
        may_reuse: whether a page takes the vectors of an equal one, rather than be encoded again.
        context: what the pages before it say of a page; of the stage that makes records.
    """

    incoming: Incoming
    version: StagedVersion
    info: PdfInfo
    progress: Progress
    texts: dict[int, PageText]
    n_done: int
    crowded: list[int] = field(default_factory=list)
    notices: list[tuple[int, Notice]] = field(default_factory=list)
    error: InputError | BackendError | None = None
    has_ended: threading.Event = field(default_factory=threading.Event)
    password: str | None = None
    may_reuse: bool = True
    context: DocumentContext = field(init=False)
    span: telemetry.LongSpan = field(init=False)

    def __post_init__(self) -> None:
        self.span = telemetry.begun(
            "document", document_id=self.version.document_id, pages=self.info.n_pages
        )
        self.context = DocumentContext(self.incoming.source, self.info, self.texts)

    def tell(self, n_more: int = 0) -> None:
        """Call it as pieces come out, by one thread: the stages are ahead of what is told."""
        self.n_done += n_more
        self.progress(self.incoming, self.n_done, self.info.n_pages)


# --- what goes through the stages ---------------------------------------------------------------
class _Mark:
    """Passes the stages in its place among the batches, and nothing is done to it."""

    def __len__(self) -> int:
        return 0


@dataclass(eq=False)
class Begun(_Mark):
    """The first pages of a document follow."""

    document: Filling


@dataclass(eq=False)
class Ended(_Mark):
    """No more pages of a document follow."""

    document: Filling


@dataclass(eq=False)
class Outcome(_Mark):
    """The event of a document of which no page is read."""

    event: Json


@dataclass(eq=False)
class Batch:
    """Some pages; each stage lets go of what it has used."""

    document: Filling
    n_pages: int
    read: PageBatch
    encoded: EncodedBatch = field(default_factory=lambda: EncodedBatch([], []))
    embedded: list[EmbeddedPage] = field(default_factory=list)

    def __len__(self) -> int:
        return self.n_pages


Piece = Begun | Batch | Ended | Outcome


class Filler:
    """Reads, encodes and stores the pages of documents that are begun."""

    def __init__(
        self,
        *,
        isolated: IsolatedReader,
        embedder: Embedder,
        writer: CollectionWriter,
        settings: Settings,
        describer: PageDescriber | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """Asked between batches, `should_stop` ends the reading; what was read is still stored."""
        self._isolated = isolated
        self._describer = describer
        self._embedder = embedder
        self._reuse = PageReuse(writer)
        self._writer = writer
        self._batch_pages = settings.store.batch_pages
        if embedder.wants_image or describer is not None:  # replies cost too much to lose many
            self._batch_pages = min(self._batch_pages, _IMAGE_BATCH_PAGES)
        self._should_stop = should_stop
        self._stopping = threading.Event()
        self._under_way: list[Filling] = []
        # Of waiting for pages; processes read them, while this one does something else too.
        self.busy_s = {"read": 0.0}

    def pipeline(self, pieces: Iterator[Piece]) -> Pipeline[Piece]:
        """What is made durable of documents, as `read` gives them."""
        stages = {"encode": self._encode, "records": self._make_records, "write": self._write}
        if self._describer is not None:
            stages = {"describe": partial(self._describe, self._describer), **stages}
        pipeline = Pipeline[Piece](
            pieces,
            {name: partial(_unless_failed, name, stage) for name, stage in stages.items()},
            stopping=self._stopping,
        )
        pipeline.busy_s = self.busy_s = self.busy_s | pipeline.busy_s
        return pipeline

    def read(self, document: Filling, *, password: str | None = None) -> Iterator[Piece]:
        """The missing pages of a document, between its two marks."""
        document.password = password
        self._under_way.append(document)
        yield Begun(document)
        numbers = range(1, document.info.n_pages + 1)
        try:
            batches = read_pages(
                self._isolated,
                self._writer.source_path(document.version),
                [number for number in numbers if number not in document.version.recorded],
                batch_pages=self._batch_pages,
                password=password,
                want_image=self._embedder.wants_image,
                kept_as=document.version.sha256,
                stopping=self._stopping,
            )
            while document.error is None:
                if self._should_stop():
                    return  # without its end: another ingest goes on with what is staged
                start_s = time.monotonic()
                with document.span.as_parent(), telemetry.span("read"):
                    batch = next(batches, None)
                self.busy_s["read"] += time.monotonic() - start_s
                if batch is None:
                    break
                failpoints.reached("pages_read")
                piece = Batch(document, len(batch), batch)
                del batch  # its pixels are let go of when they are encoded
                yield piece
                del piece
        except InputError as error:
            document.error = error
        yield Ended(document)

    def wait_for_like(self, incoming: Incoming) -> None:
        """Until the same document, and others with the same bytes, have ended."""
        self._under_way = [each for each in self._under_way if not each.has_ended.is_set()]
        for other in self._under_way:
            if (
                other.incoming.document_id == incoming.document_id
                or other.incoming.sha256 == incoming.sha256
            ):
                while not (self._stopping.is_set() or other.has_ended.wait(_LOOK_UP_S)):
                    pass

    # --- stages, each in its thread -------------------------------------------------------------
    def _describe(self, describer: PageDescriber, batch: Batch) -> None:
        version = batch.document.version
        pages = batch.read.read
        described = describer.describe(
            self._writer.source_path(version),
            pages,
            held=self._writer.captions(version, {page.content_hash for page in pages}),
            stopping=self._stopping,
            password=batch.document.password,
        )
        batch.read = PageBatch(described, batch.read.failures)

    def _encode(self, batch: Batch) -> None:
        document, pages = batch.document, batch.read.read
        digests = {page.page_number: input_digest(page) for page in pages}
        batch.encoded = self._embedder.encode(
            document.version.document_id,
            pages,
            held=self._reuse.held(pages, digests) if document.may_reuse else {},
            digests=digests,
        )
        batch.encoded.failures.extend(batch.read.failures)
        batch.read = PageBatch([], [])
        failpoints.reached("pages_encoded")

    def _make_records(self, batch: Batch) -> None:
        document = batch.document
        batch.embedded = self._embedder.records(
            document.version.version_id, batch.encoded, document.context
        )
        batch.encoded.pages.clear()
        failpoints.reached("pages_made")

    def _write(self, batch: Batch) -> None:
        document = batch.document
        store_batch(self._writer, document.version, batch.embedded, batch.encoded.failures)
        document.texts.update((each.page.page_number, each.page.text) for each in batch.embedded)
        document.notices += [
            (each.page.page_number, notice)
            for each in batch.embedded
            for notice in each.page.notices
        ]
        document.crowded += [each.page.page_number for each in batch.embedded if each.n_left_out]
        batch.embedded = []


def _unless_failed(name: str, stage: Callable[[Batch], None], piece: Piece) -> None:
    """What is wrong with one document ends that document; anything else raised ends the ingest."""
    if not isinstance(piece, Batch):
        return
    if piece.document.error is not None:
        piece.read = PageBatch([], [])
        return
    try:
        document = piece.document
        with (
            document.span.as_parent(),
            telemetry.span(name, document_id=document.version.document_id, pages=len(piece)),
        ):
            stage(piece)
    except InputError as error:
        piece.document.error = error
    except BackendError as error:
        if error.code not in DELETED:
            raise
        piece.document.error = error
