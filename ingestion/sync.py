"""A collection made equal to a folder: what is new, changed or moved comes in, what is gone goes.

A document goes only where its file is known to be gone: a folder that cannot be read, or that is
suddenly empty, takes nothing with it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from ingestion.events import OnEvent, document_event
from ingestion.job_run import JobRun
from ingestion.places import Places, is_gone, moved_from
from ingestion.run import IngestOptions, Ingestor
from ingestion.source import Refusal, SourceFile, discover, printable
from rag.errors import DocumentError, InputError, NotFound
from rag.manifest import Incoming, PlacedDocument
from rag.repository import CollectionWriter, DocumentSummary
from rag.types import Json


@dataclass(frozen=True)
class SyncRequest:
    """What to do with documents whose files are gone from a folder.

    Attributes:
        folder: absolute.
        prune: delete them; else they are listed.
        prune_all: also where no file is left at all.
    """

    folder: Path
    prune: bool = False
    prune_all: bool = False

    @property
    def deletes(self) -> bool:
        return self.prune or self.prune_all


def files_of(
    request: SyncRequest, placed: Sequence[PlacedDocument], *, max_file_bytes: int
) -> list[SourceFile | Refusal]:
    """The files of the folder.

    Args:
        request: what is synced.
        placed: the documents that whoever syncs knows of.
        max_file_bytes: larger files are refused.

    Raises:
        InputError: `no_such_path`, `not_a_folder`, `unreadable`; `empty_folder` where no file can
            be read while documents of it are known, unless all of them are to go, or where there
            is nothing on either side.
    """
    folder = request.folder
    name = printable(folder.name) or printable(str(folder))
    if not os.path.lexists(folder):
        raise InputError(
            f"there is no folder {name}",
            code="no_such_path",
            next_step="Check the spelling, and that its disk is mounted. Documents of a folder "
            "that is gone for good are deleted by `octavo rm`.",
        )
    if not folder.is_dir():
        raise InputError(
            f"{name} is not a folder",
            code="not_a_folder",
            next_step="Give a folder; a single file is read by `octavo ingest`.",
        )
    try:
        os.scandir(folder).close()
    except OSError as error:
        raise InputError(
            f"the folder {name} cannot be read: {error.strerror}",
            code="unreadable",
            next_step="Check its permissions.",
        ) from error
    n_known = sum(1 for _ in below(folder, placed))
    try:
        found = discover([folder], max_file_bytes=max_file_bytes)
    except InputError as error:
        if error.code != "empty_folder" or not n_known:
            raise
        found = []
    is_empty = not any(isinstance(file, SourceFile) for file in found)
    if is_empty and n_known and not request.prune_all:
        raise InputError(
            f"no file of {name} can be read, and {n_known} "
            f"{'document is' if n_known == 1 else 'documents are'} known from it",
            code="empty_folder",
            next_step="Check that its disk is mounted. To delete the documents whose files "
            "are gone, run the command again with --prune-all.",
        )
    return found


def below(folder: Path, placed: Sequence[PlacedDocument]) -> Iterator[PlacedDocument]:
    """Documents whose file was in the folder, however it was ingested."""
    root = PurePath(printable(str(folder)))
    return (each for each in placed if each.path.is_relative_to(root))


def sync(
    ingestor: Ingestor,
    writer: CollectionWriter,
    known: Callable[[], Mapping[str, DocumentSummary]],
    request: SyncRequest,
    options: IngestOptions,
    on_event: OnEvent,
    *,
    max_file_bytes: int,
    job: JobRun | None = None,
) -> Json:
    """Make the collection equal to the folder, as far as documents of this folder go.

    Args:
        ingestor: of the collection.
        writer: of the collection.
        known: asks for the documents that can be seen, by id.
        request: what is synced.
        options: of the files that are read.
        on_event: as `Ingestor.ingest` calls it; also for documents `missing` or `deleted`.
        max_file_bytes: larger files are refused.
        job: as `Ingestor.ingest` takes it.

    Returns:
        Totals as an ingest's; with `left` of what was deleted, by kind.

    Raises:
        InputError: as `files_of` does; nothing was done.
    """
    placed = writer.known(writer.placed())
    files = files_of(request, placed, max_file_bytes=max_file_bytes)
    left: Counter[str] = Counter()

    def settle_missing() -> Iterator[Json]:
        missing = list(_missing(request.folder, writer.known(writer.placed())))
        summaries = known() if missing else {}
        for each in missing:
            held = summaries.get(each.document_id)
            n_pages = 0 if held is None else held.n_pages
            if not request.deletes:
                yield _event(each, "missing", n_pages=n_pages)
                continue
            try:
                counts = writer.delete(each.document_id)
            except NotFound:
                continue  # somebody else deleted it
            except InputError as not_permitted:
                yield _event(each, "refused", error=not_permitted)
                continue
            left.update(counts)
            yield _event(each, "deleted", n_pages=n_pages) | {"left": counts}

    totals = ingestor.ingest(files, options, on_event, kind="sync", job=job, then=settle_missing)
    return {**totals, **({"left": dict(left)} if request.deletes else {})}


class Rehearsal:
    """What a sync would do: it reads bytes of files, opens no document and writes nothing.

    Args:
        collection: its name.
        placed: where the files of its documents were.
        known: those of them that whoever asks knows of.
        held: the documents that can be seen, by id.
    """

    def __init__(
        self,
        collection: str,
        placed: Sequence[PlacedDocument],
        known: Sequence[PlacedDocument],
        held: Mapping[str, DocumentSummary],
    ) -> None:
        self._known = known
        self._held = held
        self._places = Places(collection, placed)
        self._moved: set[str] = set()

    def events(
        self, request: SyncRequest, options: IngestOptions, *, max_file_bytes: int
    ) -> Iterator[Json]:
        """Raises InputError as `files_of` does."""
        for file in files_of(request, self._known, max_file_bytes=max_file_bytes):
            yield self._of_file(file, options)
        for each in _missing(request.folder, self._known):
            if each.document_id not in self._moved:
                held = self._held.get(each.document_id)
                n_pages = 0 if held is None else held.n_pages
                state = "would_delete" if request.deletes else "missing"
                yield _event(each, state, n_pages=n_pages)

    def _of_file(self, file: SourceFile | Refusal, options: IngestOptions) -> Json:
        if isinstance(file, Refusal):
            error = DocumentError(file.message, code=file.code, next_step=file.next_step)
            return _refused(file.source, error)
        try:
            sha256 = file.sha256
        except InputError as error:
            return _refused(file.source, error)
        incoming = Incoming(
            document_id=self._places.document_id(file.root, file.source),
            root=printable(str(file.root)),
            source=file.source,
            sha256=sha256,
        )
        if self._places.is_known(incoming):
            held = self._held.get(incoming.document_id)
            state = "would_ingest" if held is None else _would(held, sha256, options)
            return document_event(
                source=file.source,
                document_id=incoming.document_id,
                state=state,
                n_pages=held.n_pages if held and state in ("unchanged", "would_change") else 0,
            )
        was = self._moved_from(incoming)
        if was is None:
            return document_event(source=file.source, document_id=None, state="would_ingest")
        self._moved.add(was.document_id)
        event = document_event(
            source=file.source,
            document_id=was.document_id,
            state="would_move",
            n_pages=self._held[was.document_id].n_pages,
        )
        return event | {"moved_from": was.source}

    def _moved_from(self, incoming: Incoming) -> PlacedDocument | None:
        same = [
            each
            for each in self._known
            if each.document_id not in self._moved
            and each.document_id in self._held
            and self._held[each.document_id].sha256 == incoming.sha256
        ]
        return moved_from(incoming, same)


def _would(held: DocumentSummary, sha256: str, options: IngestOptions) -> str:
    if not held.sha256:
        return "would_ingest"
    if held.sha256 != sha256 or options.force:
        return "would_replace"
    if options.retry_failed and held.failed_pages:
        return "would_replace"
    says_other = (options.metadata is not None and options.metadata != held.metadata) or (
        options.readers is not None and set(options.readers) != set(held.readers)
    )
    return "would_change" if says_other else "unchanged"


def _missing(folder: Path, placed: Sequence[PlacedDocument]) -> Iterator[PlacedDocument]:
    return (each for each in below(folder, placed) if is_gone(each.path))


def _event(
    document: PlacedDocument, state: str, *, n_pages: int = 0, error: InputError | None = None
) -> Json:
    return document_event(
        source=document.source,
        document_id=document.document_id,
        state=state,
        error=error,
        n_pages=n_pages,
    )


def _refused(source: str, error: InputError) -> Json:
    return document_event(source=source, document_id=None, state="refused", error=error)
