"""What changes the manifest: the version protocol, failures, deletions."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath

from sqlalchemy import Connection, RowMapping, bindparam, delete, insert, select, update

from rag.errors import BackendError, IndexMismatch, InputError
from rag.manifest import past_versions
from rag.manifest.database import FILE_NAME
from rag.manifest.dropping import ManifestDropping
from rag.manifest.equal_pages import count_reused
from rag.manifest.identity import difference, is_same_identity, way_out
from rag.manifest.jobs import ManifestJobs
from rag.manifest.rows import (
    DocumentState,
    Incoming,
    PageRow,
    StagedVersion,
    Unchanged,
    VersionState,
)
from rag.manifest.schema import collections, documents, page_texts, pages, versions
from rag.types import Json

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
# What makes a file a new version of its document, beside another path.
_CHANGES = ("sha256", "metadata", "readers")


def require_collection_name(name: str) -> None:
    """Raises InputError for what could not be a folder's name, or leads out of it."""
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{name!r} is not a collection name",
            code="bad_collection_name",
            next_step="Use 1 to 64 letters, digits, '-' or '_'.",
        )


class Manifest(ManifestDropping, ManifestJobs):
    """Which documents, versions and pages there are.

    A version is `staging` while its pages come, `live` from one transaction on, `retired` until
    its records are deleted. At most one version of a document is live, and at most one staging.
    """

    @classmethod
    def in_folder(cls, folder: Path) -> Manifest:
        folder.mkdir(parents=True, exist_ok=True)
        return cls(f"sqlite:///{folder / FILE_NAME}")

    # --- collections ----------------------------------------------------------------------------
    def ensure_collection(self, name: str, identity: Json) -> None:
        """Create the collection, or see that it was made by the same encoder and settings.

        Raises:
            InputError: a name other than 1 to 64 letters, digits, `-` and `_`.
            IndexMismatch: another identity is held; nothing was written.
        """
        require_collection_name(name)
        asked = json.loads(json.dumps(identity))
        with self._writing() as connection:
            held = connection.scalar(
                select(collections.c.identity).where(collections.c.name == name)
            )
            if held is None:
                connection.execute(
                    insert(collections).values(
                        name=name, identity=asked, generation=0, created_at=time.time()
                    )
                )
            elif not is_same_identity(held, asked):
                raise IndexMismatch(
                    f"collection {name!r} {difference(held, asked)}",
                    next_step=way_out(held, asked),
                )

    # --- versions -------------------------------------------------------------------------------
    def find_unchanged(
        self, collection: str, incoming: Incoming, *, ingested_by: str
    ) -> Unchanged | None:
        """The live version, where the file would change nothing; it need not have been opened.

        A failure noted since (other bytes were tried under this name) is taken back.
        """
        with self._writing() as connection:
            live = _live_version(connection, collection, incoming.document_id)
            if live is None:
                return None
            wanted = _wanted(incoming, live, ingested_by)
            if not _same(live, wanted, _CHANGES):
                return None
            taken_back = connection.execute(
                update(documents)
                .where(documents.c.collection == collection)
                .where(documents.c.document_id == incoming.document_id)
                .where(documents.c.state != live["outcome"])
                .values(state=live["outcome"], error=None, updated_at=time.time())
            )
            if taken_back.rowcount:
                _advance(connection, collection)
            return Unchanged(incoming.document_id, live["version_id"])

    def begin_version(
        self, collection: str, incoming: Incoming, *, ingested_by: str
    ) -> StagedVersion:
        """Stage a version, or go on with one that was interrupted and wants the same.

        A staging version of other bytes, or with other metadata or readers, is retired.
        """
        with self._writing() as connection:
            live = _live_version(connection, collection, incoming.document_id)
            wanted = _wanted(incoming, live, ingested_by)
            staging = (
                connection.execute(
                    select(versions)
                    .where(versions.c.collection == collection)
                    .where(versions.c.document_id == incoming.document_id)
                    .where(versions.c.state == VersionState.STAGING)
                )
                .mappings()
                .first()
            )
            recorded: frozenset[int] = frozenset()
            is_resumed = staging is not None and _same(
                staging, wanted, (*_CHANGES, "n_pages", "ingested_by", "is_repaired")
            )
            if staging is not None and is_resumed:
                version_id = staging["version_id"]
                recorded = frozenset(_recorded(connection, version_id))
                wanted["source"] = staging["source"]  # its records have been stamped with it
            else:
                _retire_staging(connection, collection, incoming.document_id)
                version_id = uuid.uuid4().hex[:16]
                connection.execute(
                    insert(versions).values(
                        version_id=version_id,
                        collection=collection,
                        document_id=incoming.document_id,
                        state=VersionState.STAGING,
                        created_at=time.time(),
                        **wanted,
                    )
                )
            return StagedVersion(
                version_id=version_id,
                document_id=incoming.document_id,
                sha256=incoming.sha256,
                n_pages=incoming.n_pages,
                source=wanted["source"],
                metadata=wanted["metadata"],
                readers=tuple(wanted["readers"]),
                recorded=recorded,
                is_resumed=is_resumed,
                replaces=None if live is None else live["version_id"],
            )

    def give_up_staging(self, collection: str, document_id: str) -> bool:
        """Retire what was begun of a document and not published; whether there was something."""
        with self._writing() as connection:
            return _retire_staging(connection, collection, document_id) > 0

    def takes_pages(self, version_id: str) -> bool:
        """Whether pages are still wanted: not once somebody else published the same version.

        Raises:
            BackendError: `version_superseded` for a version that will never be seen.
        """
        with self._reading() as connection:
            return bool(_open_version(connection, version_id)["state"] == VersionState.STAGING)

    def record_pages(self, version_id: str, rows: Sequence[PageRow]) -> None:
        """Note how pages ended; call it once their records are durable. A second call replaces.

        Pages of a version that is live by now are left as they are.

        Raises:
            InputError: a page number outside the version, or twice.
            BackendError: `version_superseded`.
        """
        numbers = [row.page_number for row in rows]
        with self._writing() as connection:
            version = _open_version(connection, version_id)
            if version["state"] == VersionState.LIVE:
                return
            outside = [number for number in numbers if not 1 <= number <= version["n_pages"]]
            if outside or len(set(numbers)) < len(numbers):
                raise InputError(
                    f"pages {numbers} of a version of {version['n_pages']} pages: "
                    "a number is outside it, or given twice"
                )
            if not rows:
                return
            for table in (page_texts, pages):
                connection.execute(
                    delete(table)
                    .where(table.c.version_id == version_id)
                    .where(table.c.page_number.in_(numbers))
                )
            connection.execute(
                insert(pages),
                [
                    {
                        "version_id": version_id,
                        "page_number": row.page_number,
                        "state": row.state,
                        "no_text": row.no_text,
                        "reason": row.reason,
                        "width_pt": row.width_pt,
                        "height_pt": row.height_pt,
                        "content_hash": row.content_hash,
                        "record_id": row.record_id,
                        "prior": 0.0,
                        "ocr": row.ocr,
                        "n_hidden_words": len(row.hidden) or None,
                        "vectors_digest": row.vectors_digest,
                        "input_digest": row.input_digest,
                        "is_reused": row.is_reused or None,
                    }
                    for row in rows
                ],
            )
            connection.execute(
                insert(page_texts),
                [
                    {
                        "version_id": version_id,
                        "page_number": row.page_number,
                        "words": row.text.to_bytes(),
                        "vector_words": None
                        if row.vector_words is None
                        else row.vector_words.to_bytes(),
                        "vector_boxes": None
                        if row.vector_boxes is None
                        else row.vector_boxes.to_bytes(),
                        "hidden": row.hidden.to_bytes() if len(row.hidden) else None,
                        "caption": row.caption,
                    }
                    for row in rows
                ],
            )

    def publish(
        self,
        version_id: str,
        *,
        state: DocumentState,
        features: Json,
        priors: Mapping[int, float],
    ) -> None:
        """Make a version visible in place of the one before, in one transaction.

        Publishing what is live already does nothing: two may have ingested the same file.

        Args:
            version_id: a staging version with a row for each of its pages.
            state: `indexed` or `partial`.
            features: of the document, for retrieval.
            priors: query-independent score by page number; 0 for a page left out.

        Raises:
            BackendError: `version_superseded`, or `incomplete_version` for pages without a row.
        """
        if state not in (DocumentState.INDEXED, DocumentState.PARTIAL):
            raise InputError(f"a document cannot be published as {state}")
        with self._writing() as connection:
            version = _open_version(connection, version_id)
            if version["state"] == VersionState.LIVE:
                return
            missing = set(range(1, version["n_pages"] + 1)) - set(_recorded(connection, version_id))
            if missing:
                raise BackendError(
                    f"{len(missing)} of {version['n_pages']} pages of {version['source']!r} are "
                    f"not accounted for, the first is page {min(missing)}",
                    code="incomplete_version",
                    next_step="Ingest the document again: it goes on where it stopped.",
                )
            if priors:
                connection.execute(
                    update(pages)
                    .where(pages.c.version_id == version_id)
                    .where(pages.c.page_number == bindparam("number"))
                    .values(prior=bindparam("score")),
                    [{"number": n, "score": float(prior)} for n, prior in priors.items()],
                )
            collection, document_id = version["collection"], version["document_id"]
            n_reused = count_reused(connection, version_id)
            connection.execute(
                update(versions)
                .where(versions.c.collection == collection)
                .where(versions.c.document_id == document_id)
                .where(versions.c.version_id != version_id)
                .values(state=VersionState.RETIRED)
            )
            connection.execute(
                update(versions)
                .where(versions.c.version_id == version_id)
                .values(
                    state=VersionState.LIVE, outcome=state, features=features, n_reused=n_reused
                )
            )
            past_versions.note_published(connection, version_id, n_reused=n_reused)
            _put_document(
                connection,
                collection,
                document_id,
                {
                    "root": version["root"],
                    "source": version["source"],
                    "state": state,
                    "error": None,
                    "live_version_id": version_id,
                    "metadata": version["metadata"],
                    "readers": version["readers"],
                    "ingested_by": version["ingested_by"],
                },
            )
            _advance(connection, collection)

    def forget_version(self, version_id: str) -> None:
        """Drop a retired version's rows; call it once its records are deleted."""
        with self._writing() as connection:
            connection.execute(
                delete(versions)
                .where(versions.c.version_id == version_id)
                .where(versions.c.state == VersionState.RETIRED)
            )

    # --- documents ------------------------------------------------------------------------------
    def record_failure(
        self,
        collection: str,
        incoming: Incoming,
        *,
        state: DocumentState,
        error: Json,
        ingested_by: str,
    ) -> None:
        """Note that a file failed or was refused. A version that is live stays so.

        What was staged under its name is retired.
        """
        if state not in (DocumentState.FAILED, DocumentState.REFUSED):
            raise InputError(f"a document cannot be noted as failed with state {state}")
        with self._writing() as connection:
            live = _live_version(connection, collection, incoming.document_id)
            _retire_staging(connection, collection, incoming.document_id)
            outcome: Json = {"state": state, "error": error}
            if live is None:
                wanted = _wanted(incoming, None, ingested_by)
                kept = ("root", "source", "metadata", "readers", "ingested_by")
                outcome |= {key: wanted[key] for key in kept}
            _put_document(connection, collection, incoming.document_id, outcome)
            _advance(connection, collection)

    def delete_document(self, collection: str, document_id: str) -> None:
        """Make a document invisible for good; its versions wait, retired, for the sweep."""
        with self._writing() as connection:
            connection.execute(
                delete(documents)
                .where(documents.c.collection == collection)
                .where(documents.c.document_id == document_id)
            )
            connection.execute(
                update(versions)
                .where(versions.c.collection == collection)
                .where(versions.c.document_id == document_id)
                .values(state=VersionState.RETIRED)
            )
            past_versions.forget(connection, collection, document_id)
            _advance(connection, collection)


def _live_version(connection: Connection, collection: str, document_id: str) -> RowMapping | None:
    return (
        connection.execute(
            select(versions)
            .join(documents, documents.c.live_version_id == versions.c.version_id)
            .where(documents.c.collection == collection)
            .where(documents.c.document_id == document_id)
        )
        .mappings()
        .first()
    )


def _wanted(incoming: Incoming, live: RowMapping | None, ingested_by: str) -> Json:
    """The version's columns that a file decides, with what the document has where it is silent."""
    held_metadata = {} if live is None else live["metadata"]
    held_readers = [f"user:{ingested_by}"] if live is None else live["readers"]
    return {
        "sha256": incoming.sha256,
        "n_pages": incoming.n_pages,
        "root": incoming.root,
        "source": incoming.source,
        "metadata": held_metadata if incoming.metadata is None else incoming.metadata,
        "readers": held_readers if incoming.readers is None else sorted(set(incoming.readers)),
        "ingested_by": ingested_by if live is None else live["ingested_by"],
        "is_repaired": incoming.is_repaired,
    }


def _same(version: RowMapping, wanted: Json, keys: Sequence[str]) -> bool:
    """Whether these columns agree, and the path: given with its folder or alone, it is one file."""
    held, asked = (PurePath(names["root"], names["source"]) for names in (version, wanted))
    return held == asked and all(version[key] == wanted[key] for key in keys)


def _recorded(connection: Connection, version_id: str) -> Sequence[int]:
    return connection.scalars(
        select(pages.c.page_number).where(pages.c.version_id == version_id)
    ).all()


def _open_version(connection: Connection, version_id: str) -> RowMapping:
    """A version that is, or may become, visible."""
    version = (
        connection.execute(select(versions).where(versions.c.version_id == version_id))
        .mappings()
        .first()
    )
    if version is None or version["state"] == VersionState.RETIRED:
        raise BackendError(
            "this version of the document was deleted or overtaken by another",
            code="version_superseded",
            next_step="Ingest the document again if it is still wanted.",
        )
    return version


def _retire_staging(connection: Connection, collection: str, document_id: str) -> int:
    return connection.execute(
        update(versions)
        .where(versions.c.collection == collection)
        .where(versions.c.document_id == document_id)
        .where(versions.c.state == VersionState.STAGING)
        .values(state=VersionState.RETIRED)
    ).rowcount


def _put_document(connection: Connection, collection: str, document_id: str, values: Json) -> None:
    now = time.time()
    changed = connection.execute(
        update(documents)
        .where(documents.c.collection == collection)
        .where(documents.c.document_id == document_id)
        .values(updated_at=now, **values)
    )
    if not changed.rowcount:
        connection.execute(
            insert(documents).values(
                collection=collection,
                document_id=document_id,
                created_at=now,
                updated_at=now,
                **values,
            )
        )


def _advance(connection: Connection, collection: str) -> None:
    connection.execute(
        update(collections)
        .where(collections.c.name == collection)
        .values(generation=collections.c.generation + 1)
    )
