"""Live pages that an encoder was given the very same for as for another page."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from rag.manifest.rows import VersionState
from rag.manifest.schema import documents, pages, versions

# A cover sheet can be in thousands of documents: so many of them are asked for access.
_MOST_ASKED = 64


@dataclass(frozen=True)
class EqualPage:
    """A page of a live version with a record, and who may read and who wrote its document.

    Attributes:
        vectors_digest: of its record's vectors; None where it was not noted.
    """

    version_id: str
    page_number: int
    record_id: str
    vectors_digest: str | None
    readers: tuple[str, ...]
    ingested_by: str


def find(
    connection: Connection,
    collection: str,
    input_digests: Collection[str],
    may_use: Callable[[EqualPage], bool],
) -> dict[str, EqualPage]:
    """One page by digest, the first that may be used; a digest without one is absent."""
    found: dict[str, EqualPage] = {}
    for digest in sorted(input_digests):
        rows = connection.execute(
            select(
                pages.c.version_id,
                pages.c.page_number,
                pages.c.record_id,
                pages.c.vectors_digest,
                documents.c.readers,
                documents.c.ingested_by,
            )
            .join(versions, versions.c.version_id == pages.c.version_id)
            .join(
                documents,
                (documents.c.collection == versions.c.collection)
                & (documents.c.document_id == versions.c.document_id),
            )
            .where(versions.c.collection == collection)
            .where(versions.c.state == VersionState.LIVE)
            .where(pages.c.input_digest == digest)
            .where(pages.c.record_id.is_not(None))
            .limit(_MOST_ASKED)
        )
        for version_id, page_number, record_id, vectors_digest, readers, ingested_by in rows:
            page = EqualPage(
                version_id, page_number, record_id, vectors_digest, tuple(readers), ingested_by
            )
            if may_use(page):
                found[digest] = page
                break
    return found


def count_reused(connection: Connection, version_id: str) -> int:
    """Pages of a version whose vectors were there already."""
    counted = (
        select(func.count())
        .select_from(pages)
        .where(pages.c.version_id == version_id)
        .where(pages.c.is_reused)
    )
    return connection.scalar(counted) or 0
