"""What the manifest says that the stores hold, version by version: to hold them to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

from sqlalchemy import select, update

from rag.manifest.database import FILE_NAME
from rag.manifest.reading import ManifestReading
from rag.manifest.rows import VersionState
from rag.manifest.schema import collections, documents, pages, unstamped, versions
from rag.types import Json


@dataclass(frozen=True)
class AccountedCollection:
    """A collection, also one that is being made; `folder` is below `collections/`."""

    name: str
    folder: str
    identity: Json


@dataclass(frozen=True, slots=True)
class AccountedPage:
    """A page that ended; `record_id` and `vectors_digest` of its record, where it has one."""

    page_number: int
    record_id: str | None
    vectors_digest: str | None
    width_pt: float
    height_pt: float


@dataclass(frozen=True)
class AccountedVersion:
    """A version, what its records carry, and its pages.

    Attributes:
        source: what its records name; a live version's is its document's.
        made_as: the path it was made under, which its words of context are of.
        is_stamped: whether its records say already what the manifest says.
    """

    version_id: str
    collection: str
    document_id: str
    state: VersionState
    sha256: str
    n_pages: int
    root: str
    source: str
    made_as: str
    metadata: Json
    readers: tuple[str, ...]
    is_stamped: bool
    pages: tuple[AccountedPage, ...]

    @property
    def record_ids(self) -> dict[str, AccountedPage]:
        return {page.record_id: page for page in self.pages if page.record_id is not None}


class ManifestAccounts(ManifestReading):
    """The manifest of a folder as upkeep reads it: everything, whoever may see it."""

    @classmethod
    def in_folder(cls, folder: Path) -> ManifestAccounts:
        """Close it. Raises as Database."""
        return cls(f"sqlite:///{folder / FILE_NAME}")

    def all_collections(self) -> list[AccountedCollection]:
        with self._reading() as connection:
            rows = connection.execute(
                select(collections.c.name, collections.c.folder, collections.c.identity).order_by(
                    collections.c.name
                )
            )
            return [
                AccountedCollection(name, folder or name, identity)
                for name, folder, identity in rows
            ]

    def all_versions(self, collection: str) -> Iterator[AccountedVersion]:
        """Each in its own transaction: the caller has the folder to itself."""
        with self._reading() as connection:
            found = connection.execute(
                select(
                    versions,
                    documents.c.live_version_id,
                    documents.c.source.label("source_now"),
                    documents.c.metadata.label("metadata_now"),
                    documents.c.readers.label("readers_now"),
                    unstamped.c.version_id.label("waits"),
                )
                .outerjoin(
                    documents,
                    (documents.c.collection == versions.c.collection)
                    & (documents.c.live_version_id == versions.c.version_id),
                )
                .outerjoin(unstamped, unstamped.c.version_id == versions.c.version_id)
                .where(versions.c.collection == collection)
                .order_by(versions.c.source, versions.c.created_at, versions.c.version_id)
            ).mappings()
            rows = list(found)
        for row in rows:
            is_live = row["live_version_id"] is not None
            yield AccountedVersion(
                version_id=row["version_id"],
                collection=collection,
                document_id=row["document_id"],
                state=VersionState(row["state"]),
                sha256=row["sha256"],
                n_pages=row["n_pages"],
                root=row["root"],
                source=row["source_now"] if is_live else row["source"],
                made_as=row["source"],
                metadata=row["metadata_now"] if is_live else row["metadata"],
                readers=tuple(row["readers_now"] if is_live else row["readers"]),
                is_stamped=row["waits"] is None,
                pages=self._pages(row["version_id"]),
            )

    def note_digest(self, version_id: str, page_number: int, digest: str) -> None:
        """The vectors of a page are others now, made again by an encoder that rounds otherwise."""
        with self._writing() as connection:
            connection.execute(
                update(pages)
                .where(pages.c.version_id == version_id)
                .where(pages.c.page_number == page_number)
                .values(vectors_digest=digest)
            )

    def _pages(self, version_id: str) -> tuple[AccountedPage, ...]:
        with self._reading() as connection:
            rows = connection.execute(
                select(*(pages.c[each.name] for each in fields(AccountedPage)))
                .where(pages.c.version_id == version_id)
                .order_by(pages.c.page_number)
            )
            return tuple(AccountedPage(*row) for row in rows)
