"""What a document was before: a row for each version that was ever visible.

A row is written in the transaction that publishes its version, ended in the one that puts another
in its place, and deleted with its document.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, literal, null, select, update

from rag.manifest.rows import VersionState
from rag.manifest.schema import past_versions, versions

_ONE_MS = 0.001


@dataclass(frozen=True)
class PastVersion:
    """A version that is, or was, visible.

    Attributes:
        n_reused: pages whose vectors were there already when it was made.
        published_at: seconds since 1970, UTC.
        ended_at: None while it is live.
    """

    version_id: str
    source: str
    sha256: str
    n_pages: int
    n_reused: int
    ingested_by: str
    published_at: float
    ended_at: float | None


def of_document(connection: Connection, collection: str, document_id: str) -> list[PastVersion]:
    """Newest first."""
    names = PastVersion.__dataclass_fields__
    found = connection.execute(
        select(*(past_versions.c[name] for name in names))
        .where(past_versions.c.collection == collection)
        .where(past_versions.c.document_id == document_id)
        .order_by(past_versions.c.published_at.desc(), past_versions.c.version_id)
    )
    return [PastVersion(**row) for row in found.mappings()]


def note_published(connection: Connection, version_id: str, *, n_reused: int) -> None:
    """The version is visible from now on, and whichever was before it is not."""
    version = (
        connection.execute(select(versions).where(versions.c.version_id == version_id))
        .mappings()
        .one()
    )
    collection, document_id = version["collection"], version["document_id"]
    newest = connection.scalar(
        select(func.max(past_versions.c.published_at))
        .where(past_versions.c.collection == collection)
        .where(past_versions.c.document_id == document_id)
    )
    # A clock that was set back must not turn the order of versions round.
    now = max(time.time(), 0.0 if newest is None else newest + _ONE_MS)
    end(connection, collection, document_id, at=now)
    connection.execute(
        insert(past_versions).values(
            version_id=version_id,
            collection=collection,
            document_id=document_id,
            source=version["source"],
            sha256=version["sha256"],
            n_pages=version["n_pages"],
            n_reused=n_reused,
            ingested_by=version["ingested_by"],
            published_at=now,
        )
    )


def end(connection: Connection, collection: str, document_id: str, *, at: float) -> None:
    """What was visible of a document is not any more, from `at`, in seconds since 1970."""
    connection.execute(
        update(past_versions)
        .where(past_versions.c.collection == collection)
        .where(past_versions.c.document_id == document_id)
        .where(past_versions.c.ended_at.is_(None))
        .values(ended_at=at)
    )


def rename(connection: Connection, version_id: str, source: str) -> None:
    """The file of a version is elsewhere now; those before it stay where they were."""
    connection.execute(
        update(past_versions).where(past_versions.c.version_id == version_id).values(source=source)
    )


def forget(connection: Connection, collection: str, document_id: str) -> None:
    """Its document is deleted."""
    connection.execute(
        delete(past_versions)
        .where(past_versions.c.collection == collection)
        .where(past_versions.c.document_id == document_id)
    )


def forget_collection(connection: Connection, collection: str) -> None:
    connection.execute(delete(past_versions).where(past_versions.c.collection == collection))


def take_over(connection: Connection, made: str, collection: str) -> None:
    """A collection takes the place of another: its versions end those of the same documents.

    Args:
        connection: in the transaction of the switch.
        made: what the collection that takes the place was called until now.
        collection: what it is called from now on.
    """
    rows = connection.execute(
        select(past_versions.c.document_id, past_versions.c.published_at)
        .where(past_versions.c.collection == made)
        .where(past_versions.c.ended_at.is_(None))
    ).all()
    for document_id, published_at in rows:
        end(connection, collection, document_id, at=published_at)
    connection.execute(
        update(past_versions)
        .where(past_versions.c.collection == made)
        .values(collection=collection)
    )


def begin_history(connection: Connection) -> None:
    """Rows for what is visible in a manifest that kept no history; those before are not known."""
    connection.execute(
        insert(past_versions).from_select(
            [column.name for column in past_versions.c],
            select(
                versions.c.version_id,
                versions.c.collection,
                versions.c.document_id,
                versions.c.source,
                versions.c.sha256,
                versions.c.n_pages,
                literal(0),
                versions.c.ingested_by,
                versions.c.created_at,
                null(),
            ).where(versions.c.state == VersionState.LIVE),
        )
    )
