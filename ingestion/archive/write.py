"""`export`: a collection written to one file, as it is at one moment for each document."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from ingestion.archive.arrays import to_arrays
from ingestion.archive.contents import (
    CONTENTS,
    CONTENTS_DIGEST,
    FORMAT,
    Contents,
    Member,
    SavedDocument,
    SavedPage,
    SavedRun,
)
from ingestion.events import OnEvent
from rag import failpoints
from rag.errors import BackendError, InputError
from rag.repository import CollectionReader, DocumentCopy, PageCopy
from rag.types import Json


def export(
    reader: CollectionReader, identity: Json, path: Path, on_event: OnEvent = lambda _: None
) -> Json:
    """Every live document that the reader's principal may read.

    The file appears under its name when it is whole. A document that is replaced meanwhile is told
    as `skipped`; nothing of another is affected.

    Args:
        reader: of the collection.
        identity: what the collection was made with.
        path: of the archive.
        on_event: called with `progress` after each document.

    Raises:
        InputError: `file_exists`, `not_written`.
        BackendError: `source_missing`, `incomplete_index`, `disk_full`.
    """
    if path.exists():
        raise InputError(
            f"{path.name} is there already",
            code="file_exists",
            next_step="Give another name, or move the old archive away.",
        )
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.part-", dir=path.parent)
    except OSError as error:
        raise _unwritable(path, error) from error
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            writer = _Writer(file)
            skipped = writer.write(reader, identity, on_event)
            file.flush()
            os.fsync(file.fileno())
        failpoints.reached("archive_written")
        temporary.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)
    return {
        "archive": path.name,
        "collection": reader.collection,
        "documents": len(writer.documents),
        "pages": writer.n_pages,
        "size_bytes": path.stat().st_size,
        "skipped": skipped,
    }


class _Writer:
    def __init__(self, file: io.BufferedWriter) -> None:
        self._tar = tarfile.TarFile(fileobj=file, mode="w", format=tarfile.PAX_FORMAT)
        self._members: dict[str, Member] = {}
        self.documents: list[str] = []
        self.n_pages = 0

    def write(self, reader: CollectionReader, identity: Json, on_event: OnEvent) -> list[str]:
        """Returns the sources of documents that went while they were written."""
        skipped = []
        n_documents = sum(bool(document.n_pages) for document in reader.documents())
        for number, copy in enumerate(reader.copies(), start=1):
            source = copy.document.source
            try:
                self._add_document(number, copy)
            except BackendError as error:
                if error.code != "version_superseded":
                    raise
                skipped.append(source)
            on_event(
                {
                    "event": "progress",
                    "source": source,
                    "document": number,
                    "documents": n_documents,
                    "pages_done": copy.document.n_pages,
                    "pages_total": copy.document.n_pages,
                }
            )
        contents = Contents(
            format=FORMAT,
            program=f"octavo {version('octavo')}",
            collection=reader.collection,
            identity=identity,
            created_at=time.time(),
            documents=tuple(self.documents),
            n_pages=self.n_pages,
            members=self._members,
        )
        said = contents.model_dump_json(indent=1).encode()
        self._add_bytes(CONTENTS, said)
        self._add_bytes(CONTENTS_DIGEST, hashlib.sha256(said).hexdigest().encode() + b"\n")
        self._tar.close()
        return skipped

    def _add_document(self, number: int, copy: DocumentCopy) -> None:
        document = copy.document
        folder = f"documents/{number}"
        runs = []
        for pages in copy.pages():
            name = f"{folder}/pages-{pages[0].row.page_number}.npz"
            self._add(name, to_arrays(pages))
            runs.append(SavedRun(arrays=name, pages=tuple(map(_saved, pages))))
        held = copy.source_path
        file = f"sources/{held.name}"
        if file not in self._members:
            self._add(file, held.read_bytes())
        saved = SavedDocument(
            root=document.root,
            source=document.source,
            sha256=document.sha256,
            file=file,
            n_pages=document.n_pages,
            state=str(copy.state),
            metadata=dict(document.metadata),
            readers=document.readers,
            is_repaired=document.is_repaired,
            features=dict(copy.features),
            runs=tuple(runs),
        )
        name = f"{folder}/document.json"
        self._add(name, saved.model_dump_json().encode())
        self.documents.append(name)
        self.n_pages += document.n_pages

    def _add(self, name: str, data: bytes) -> None:
        self._members[name] = Member(size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
        self._add_bytes(name, data)

    def _add_bytes(self, name: str, data: bytes) -> None:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        info.mode = 0o600
        self._tar.addfile(info, io.BytesIO(data))


def _saved(page: PageCopy) -> SavedPage:
    row = page.row
    return SavedPage(
        page_number=row.page_number,
        state=str(row.state),
        width_pt=row.width_pt,
        height_pt=row.height_pt,
        content_hash=row.content_hash,
        no_text=row.no_text,
        reason=row.reason,
        ocr=row.ocr,
        caption=row.caption,
        prior=page.prior,
        has_record=page.record is not None,
    )


def _unwritable(path: Path, error: OSError) -> InputError:
    return InputError(
        f"{path.name} cannot be written: {error.strerror}",
        code="not_written",
        next_step="Name a file in a folder that is there and may be written, on a disk with room.",
    )
