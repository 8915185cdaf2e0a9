"""A collection on its way out: invisible from one transaction on, forgotten when its index is gone.

Like one that is being made in place of another, it has a mark that no collection name can hold.
"""

from __future__ import annotations

from sqlalchemy import delete, insert, select, update

from rag.manifest import past_versions
from rag.manifest.forgetting import ManifestForgetting
from rag.manifest.replacing import dropped_name, is_dropped, replacement_name
from rag.manifest.schema import collections, documents, versions


class ManifestDropping(ManifestForgetting):
    def begin_drop(self, collection: str) -> None:
        """Make a collection, and what is being made in its place, invisible for good."""
        with self._writing() as connection:
            held = (
                connection.execute(select(collections).where(collections.c.name == collection))
                .mappings()
                .one()
            )
            for name in (collection, replacement_name(collection)):
                past_versions.forget_collection(connection, name)
            gone = dropped_name(collection)
            connection.execute(
                insert(collections).values(
                    name=gone,
                    identity=held["identity"],
                    generation=0,
                    created_at=held["created_at"],
                    folder=held["folder"] or collection,
                )
            )
            for table in (versions, documents):
                connection.execute(
                    update(table).where(table.c.collection == collection).values(collection=gone)
                )
            connection.execute(delete(collections).where(collections.c.name == collection))

    def dropped(self) -> dict[str, str]:
        """By name, the folder of each collection that is on its way out."""
        with self._reading() as connection:
            rows = connection.execute(select(collections.c.name, collections.c.folder))
            return {name.partition("~")[0]: folder for name, folder in rows if is_dropped(name)}

    def document_ids(self, name: str) -> list[str]:
        """Of a collection by the name it has here, whatever became of them."""
        with self._reading() as connection:
            return list(
                connection.scalars(
                    select(documents.c.document_id).where(documents.c.collection == name)
                )
            )

    def finish_drop(self, collection: str) -> None:
        """Forget a collection that is on its way out; call it once its index is deleted."""
        gone = dropped_name(collection)
        with self._writing() as connection:
            connection.execute(delete(documents).where(documents.c.collection == gone))
            connection.execute(delete(versions).where(versions.c.collection == gone))
            connection.execute(delete(collections).where(collections.c.name == gone))
