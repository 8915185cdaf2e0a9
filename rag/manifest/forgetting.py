"""What is to be found of a document that was deleted, and nothing of it left to be found."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from sqlalchemy import func, select, update

from rag.manifest.changes import ManifestChanges
from rag.manifest.schema import documents, jobs, page_texts, pages, unstamped, versions
from rag.types import Json

_TELLING = ("totals", "request", "progress", "error")  # columns of a job that may name a document
_WAIT_FOR_READERS_MS = 2_000


@dataclass(frozen=True)
class Traces:
    """By what a document is known where its own rows are gone.

    Attributes:
        version_ids: of all its versions, staged and retired ones too.
        record_ids: of their pages.
        files: SHA-256 of the files they were made from.
        paths: where its file was.
    """

    document_id: str
    version_ids: frozenset[str]
    record_ids: frozenset[str]
    files: frozenset[str]
    paths: frozenset[str]


class ManifestForgetting(ManifestChanges):
    def traces(self, collection: str, document_id: str) -> Traces:
        """To be asked before the document is deleted."""
        with self._reading() as connection:
            held = connection.execute(
                select(versions.c.version_id, versions.c.sha256, versions.c.root, versions.c.source)
                .where(versions.c.collection == collection)
                .where(versions.c.document_id == document_id)
            ).all()
            version_ids = frozenset(row.version_id for row in held)
            places = [(row.root, row.source) for row in held]
            of_document = connection.execute(
                select(documents.c.root, documents.c.source)
                .where(documents.c.collection == collection)
                .where(documents.c.document_id == document_id)
            )
            places += [(row.root, row.source) for row in of_document]
            record_ids = connection.scalars(
                select(pages.c.record_id)
                .join(versions, versions.c.version_id == pages.c.version_id)
                .where(versions.c.collection == collection)
                .where(versions.c.document_id == document_id)
                .where(pages.c.record_id.is_not(None))
            )
            return Traces(
                document_id,
                version_ids,
                frozenset(map(str, record_ids)),
                frozenset(row.sha256 for row in held),
                frozenset(PurePath(*place).as_posix() for place in places),
            )

    def left_of_versions(self, version_ids: Collection[str]) -> dict[str, int]:
        """Rows by kind that belong to these versions, whether or not there are versions of them."""
        with self._reading() as connection:
            return {
                kind: sum(
                    connection.scalar(
                        select(func.count())
                        .select_from(table)
                        .where(table.c.version_id == version_id)
                    )
                    or 0
                    for version_id in version_ids
                )
                for kind, table in (
                    ("pages", pages),
                    ("texts", page_texts),
                    ("unstamped", unstamped),
                )
            }

    def n_jobs_naming(self, traces: Traces) -> int:
        with self._reading() as connection:
            rows = connection.execute(select(*(jobs.c[name] for name in _TELLING)))
            return sum(any(_names(value, traces) for value in row) for row in rows)

    def forget_in_jobs(self, traces: Traces) -> None:
        """Take the document's id and path out of what jobs that have ended tell."""
        with self._writing() as connection:
            rows = connection.execute(
                select(jobs.c.job_id, *(jobs.c[name] for name in _TELLING)).where(
                    jobs.c.finished_at.is_not(None)
                )
            ).mappings()
            for row in rows.all():
                told = {name: row[name] for name in _TELLING if _names(row[name], traces)}
                if told:
                    connection.execute(
                        update(jobs)
                        .where(jobs.c.job_id == row["job_id"])
                        .values({name: _without(value, traces) for name, value in told.items()})
                    )

    def erase_log(self) -> bool:
        """Bring the write-ahead log into the database and cut it: deleted rows are in it too.

        Returns:
            Whether it was done; not while somebody reads an older state, which ends soon. Closing
            the manifest does the same.
        """
        if self._engine.dialect.name != "sqlite":
            return True
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            held = connection.connection.cursor()
            before = held.execute("PRAGMA busy_timeout").fetchone()[0]
            try:
                held.execute(f"PRAGMA busy_timeout = {_WAIT_FOR_READERS_MS}")
                is_busy, _, _ = held.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                held.execute(f"PRAGMA busy_timeout = {before}")
            return not is_busy


def _names(value: Any, traces: Traces) -> bool:
    if isinstance(value, str):
        return traces.document_id in value or value in traces.paths
    if isinstance(value, dict):
        return any(_names(each, traces) for pair in value.items() for each in pair)
    return isinstance(value, list) and any(_names(each, traces) for each in value)


def _without(value: Json | Any, traces: Traces) -> Any:
    """Entries of lists and of objects that name the document are left out."""
    if isinstance(value, dict):
        return {
            key: _without(each, traces)
            for key, each in value.items()
            if not _names(key, traces) and not (isinstance(each, str) and _names(each, traces))
        }
    if isinstance(value, list):
        return [
            _without(each, traces)
            for each in value
            if not (isinstance(each, str) and _names(each, traces))
        ]
    return value
