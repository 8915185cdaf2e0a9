"""What a document says of itself, changed without a new version: metadata, readers, its place.

The manifest changes first, in one transaction that also notes the version as unstamped: its records
still say what was true before. From that moment readers go by the manifest alone (docs/adr/0044).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

from sqlalchemy import Connection, RowMapping, delete, insert, select, update

from rag.manifest import past_versions
from rag.manifest.replacing import ManifestReplacing
from rag.manifest.rows import VersionState
from rag.manifest.schema import collections, documents, unstamped, versions
from rag.types import Json


@dataclass(frozen=True)
class Change:
    """What is to be said of a document; what is None or empty stays as it is.

    Attributes:
        metadata: in place of all there is.
        add: metadata keys that get these values.
        remove: metadata keys that go.
        readers: in place of those there are.
        place: root and source.
    """

    metadata: Json | None = None
    add: Json = field(default_factory=dict)
    remove: tuple[str, ...] = ()
    readers: tuple[str, ...] | None = None
    place: tuple[str, str] | None = None

    def applied(self, held: RowMapping) -> Json:
        """The columns of a document or version that get another value."""
        kept = held["metadata"] if self.metadata is None else self.metadata
        metadata = {
            **{key: value for key, value in kept.items() if key not in self.remove},
            **self.add,
        }
        root, source = self.place or (held["root"], held["source"])
        readers = held["readers"] if self.readers is None else sorted(set(self.readers))
        wanted = {"metadata": metadata, "readers": readers, "root": root, "source": source}
        return {key: value for key, value in wanted.items() if held[key] != value}


@dataclass(frozen=True)
class Unstamped:
    """A version and what its records should say."""

    version_id: str
    source: str
    metadata: Json
    readers: tuple[str, ...]

    def payload(self) -> Json:
        return {"source": self.source, "metadata": self.metadata, "readers": list(self.readers)}


@dataclass(frozen=True)
class PlacedDocument:
    """A document, or one that is being filled for the first time, and where its file was.

    Attributes:
        readers: none while it is being filled.
    """

    document_id: str
    root: str
    source: str
    ingested_by: str = ""
    readers: tuple[str, ...] = ()

    @property
    def path(self) -> PurePath:
        return PurePath(self.root, self.source)


_PLACED = ("document_id", "root", "source", "ingested_by")


class ManifestChanges(ManifestReplacing):
    """Changes in place, and where documents came from."""

    def note_change(
        self, collection: str, document_id: str, change: Change, *, takes_back: bool = False
    ) -> bool:
        """Say it of the document and of its versions, and note those whose records say otherwise.

        Args:
            collection: of the document.
            document_id: one that is there.
            change: what is to be said.
            takes_back: a failure noted since the live version is no more: its file is back.

        Returns:
            Whether anything is said otherwise now.
        """
        with self._writing() as connection:
            held = connection.execute(
                select(documents)
                .where(documents.c.collection == collection)
                .where(documents.c.document_id == document_id)
            ).mappings()
            document = held.one()
            values = change.applied(document)
            changed = bool(values)
            for version in _versions_in_use(connection, collection, document_id):
                if takes_back and version["state"] == VersionState.LIVE:
                    values |= {"state": version["outcome"], "error": None}
                changed |= self._change_version(connection, version, change)
            if changed:
                connection.execute(
                    update(documents)
                    .where(documents.c.collection == collection)
                    .where(documents.c.document_id == document_id)
                    .values(updated_at=time.time(), **values)
                )
                connection.execute(
                    update(collections)
                    .where(collections.c.name == collection)
                    .values(generation=collections.c.generation + 1)
                )
            return changed

    @staticmethod
    def _change_version(connection: Connection, version: RowMapping, change: Change) -> bool:
        values = change.applied(version)
        if not values:
            return False
        version_id = version["version_id"]
        connection.execute(
            update(versions).where(versions.c.version_id == version_id).values(**values)
        )
        if "source" in values:
            past_versions.rename(connection, version_id, values["source"])
        connection.execute(delete(unstamped).where(unstamped.c.version_id == version_id))
        connection.execute(insert(unstamped).values(version_id=version_id))
        return True

    def unstamped(self, collection: str) -> list[Unstamped]:
        """Live versions whose records may say something else than the manifest."""
        with self._reading() as connection:
            found = connection.execute(
                select(versions)
                .join(unstamped, unstamped.c.version_id == versions.c.version_id)
                .where(versions.c.collection == collection)
                .where(versions.c.state == VersionState.LIVE)
                .order_by(versions.c.version_id)
            ).mappings()
            return [_unstamped(row) for row in found]

    def change_done(self, stamped: Unstamped) -> None:
        """The records of the version say this, durably; it stays noted if it changed again."""
        with self._writing() as connection:
            found = connection.execute(
                select(versions).where(versions.c.version_id == stamped.version_id)
            )
            held = found.mappings().first()
            if held is None or _unstamped(held) == stamped:
                connection.execute(
                    delete(unstamped).where(unstamped.c.version_id == stamped.version_id)
                )

    # --- where documents came from --------------------------------------------------------------
    def placed(self, collection: str) -> list[PlacedDocument]:
        """Every document, by source; and what is being filled and was never one."""
        with self._reading() as connection:
            rows = [
                *connection.execute(
                    select(*(versions.c[name] for name in _PLACED))
                    .where(versions.c.collection == collection)
                    .where(versions.c.state == VersionState.STAGING)
                ),
                *connection.execute(
                    select(*(documents.c[name] for name in _PLACED), documents.c.readers).where(
                        documents.c.collection == collection
                    )
                ),
            ]
        # The document's own place goes before that of a version it may get.
        by_id = {
            row[0]: PlacedDocument(row[0], row[1], row[2], row[3], tuple(*row[4:])) for row in rows
        }
        return sorted(by_id.values(), key=lambda each: (each.source, each.document_id))

    def with_bytes(
        self, collection: str, sha256: str, *, ingested_by: str
    ) -> Sequence[PlacedDocument]:
        """Documents of this principal whose live version was made from these bytes."""
        with self._reading() as connection:
            rows = connection.execute(
                select(*(versions.c[name] for name in _PLACED))
                .where(versions.c.sha256 == sha256)
                .where(versions.c.collection == collection)
                .where(versions.c.ingested_by == ingested_by)
                .where(versions.c.state == VersionState.LIVE)
                .order_by(versions.c.source, versions.c.document_id)
            )
            return [PlacedDocument(*row) for row in rows]


def _versions_in_use(
    connection: Connection, collection: str, document_id: str
) -> Sequence[RowMapping]:
    """The live version and the one being filled: what is said of it later is said of both."""
    return (
        connection.execute(
            select(versions)
            .where(versions.c.collection == collection)
            .where(versions.c.document_id == document_id)
            .where(versions.c.state != VersionState.RETIRED)
        )
        .mappings()
        .all()
    )


def _unstamped(version: RowMapping) -> Unstamped:
    return Unstamped(
        version["version_id"], version["source"], version["metadata"], tuple(version["readers"])
    )
