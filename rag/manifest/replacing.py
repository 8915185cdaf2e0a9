"""One collection taking the place of another: made beside it, unseen, and switched in at once.

What is being made has the collection's name and a mark that no collection name can hold, so that
nobody can ask for it; its index lies in a folder of its own.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable

from sqlalchemy import Connection, delete, insert, select, update

from rag.manifest import past_versions
from rag.manifest.identity import is_same_identity
from rag.manifest.reading import ManifestReading
from rag.manifest.rows import VersionState
from rag.manifest.schema import collections, documents, versions
from rag.types import Json

_MARK = "~"


def replacement_name(collection: str) -> str:
    return f"{collection}{_MARK}next"


def dropped_name(collection: str) -> str:
    """Of a collection that is on its way out; see `dropping`."""
    return f"{collection}{_MARK}gone"


def is_replacement(name: str) -> bool:
    """Whether it is no collection that anybody can ask for."""
    return _MARK in name


def is_dropped(name: str) -> bool:
    return name.endswith(f"{_MARK}gone")


class ManifestReplacing(ManifestReading):
    """What is being made in place of a collection, from its first row to the switch."""

    def begin_replacement(self, collection: str, identity: Json) -> bool:
        """Make room for what will replace the collection, or go on with what is there.

        Returns:
            False where a replacement with another identity is there: nothing was changed.
        """
        asked = json.loads(json.dumps(identity))
        name = replacement_name(collection)
        with self._writing() as connection:
            held = connection.scalar(
                select(collections.c.identity).where(collections.c.name == name)
            )
            if held is not None:
                return is_same_identity(held, asked)
            connection.execute(
                insert(collections).values(
                    name=name,
                    identity=asked,
                    generation=0,
                    created_at=time.time(),
                    folder=_next_folder(collection, self._folder(connection, collection)),
                )
            )
            return True

    def replace_collection(self, collection: str) -> None:
        """Switch: in one transaction searches see the replacement, and nothing is left of it.

        The caller has seen that it holds every live document. Documents that failed or were
        refused, and are live nowhere, come along as they are.
        """
        name = replacement_name(collection)
        with self._writing() as connection:
            made = (
                connection.execute(select(collections).where(collections.c.name == name))
                .mappings()
                .one()
            )
            held = (
                connection.execute(select(collections).where(collections.c.name == collection))
                .mappings()
                .one()
            )
            kept = select(documents.c.document_id).where(documents.c.collection == name)
            connection.execute(
                delete(documents)
                .where(documents.c.collection == collection)
                .where(documents.c.live_version_id.is_not(None) | documents.c.document_id.in_(kept))
            )
            _drop_versions(connection, collection)
            for table in (versions, documents):
                connection.execute(
                    update(table).where(table.c.collection == name).values(collection=collection)
                )
            connection.execute(delete(collections).where(collections.c.name == name))
            connection.execute(
                update(collections)
                .where(collections.c.name == collection)
                .values(
                    identity=made["identity"],
                    folder=made["folder"],
                    generation=max(held["generation"], made["generation"]) + 1,
                )
            )
            past_versions.take_over(connection, name, collection)

    def drop_replacement(self, collection: str) -> bool:
        """Forget what was being made; whether there was something."""
        name = replacement_name(collection)
        with self._writing() as connection:
            connection.execute(delete(documents).where(documents.c.collection == name))
            _drop_versions(connection, name)
            past_versions.forget_collection(connection, name)
            found = connection.execute(delete(collections).where(collections.c.name == name))
            return bool(found.rowcount)

    def folder(self, collection: str) -> str:
        """The folder that the collection's index lies in, below `collections/`."""
        with self._reading() as connection:
            return self._folder(connection, collection)

    def unused_folders(self, found: Iterable[str]) -> list[str]:
        """Of these, the folders of collections that lie elsewhere now.

        A folder of no collection that is known here is not one of them: its manifest may be
        somewhere else.
        """
        with self._reading() as connection:
            rows = connection.execute(select(collections.c.name, collections.c.folder))
            lies_in = {name: folder or name for name, folder in rows}
        used = set(lies_in.values())
        return [name for name in found if name not in used and name.partition(_MARK)[0] in lies_in]

    def unmoved(self, collection: str) -> list[str]:
        """Live documents whose version the replacement does not hold as it is now, by id."""
        ours, theirs = self._live(collection), self._live(replacement_name(collection))
        return [
            document_id for document_id, held in ours.items() if theirs.get(document_id) != held
        ]

    def overtaken(self, collection: str) -> list[str]:
        """Documents of the replacement that the collection does not hold any more, by id."""
        ours = self._live(collection)
        return [
            document_id
            for document_id in self._live(replacement_name(collection))
            if document_id not in ours
        ]

    def _live(self, collection: str) -> dict[str, tuple[object, ...]]:
        """What two versions of one document must agree in, by document."""
        with self._reading() as connection:
            rows = connection.execute(
                select(
                    versions.c.document_id,
                    versions.c.sha256,
                    versions.c.root,
                    versions.c.source,
                    versions.c.metadata,
                    versions.c.readers,
                    versions.c.ingested_by,
                )
                .where(versions.c.collection == collection)
                .where(versions.c.state == VersionState.LIVE)
                .order_by(versions.c.source, versions.c.document_id)
            )
            return {row[0]: tuple(row[1:]) for row in rows}

    @staticmethod
    def _folder(connection: Connection, collection: str) -> str:
        found = connection.scalar(
            select(collections.c.folder).where(collections.c.name == collection)
        )
        return found or collection


def _next_folder(collection: str, held: str) -> str:
    _, _, number = held.partition(_MARK)
    return f"{collection}{_MARK}{int(number or 1) + 1}"


def _drop_versions(connection: Connection, collection: str) -> None:
    connection.execute(delete(versions).where(versions.c.collection == collection))
