"""One SQL database: its pragmas, its short transactions, its errors as ours."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, create_engine, event, insert, make_url
from sqlalchemy.exc import SQLAlchemyError

from rag.errors import BackendError, ConfigError
from rag.manifest import schema, upgrade

FILE_NAME = "manifest.sqlite3"  # in the data folder
_WAIT_FOR_LOCK_MS = 30_000


class Database:
    """Thread-safe: every call takes its own connection for one short transaction.

    Raises:
        ConfigError: a URL that SQLAlchemy cannot use.
        IndexMismatch: tables of another schema version.
        BackendError: `manifest_unavailable`, `manifest_damaged` or `disk_full`.
    """

    def __init__(self, url: str) -> None:
        try:
            self._engine = create_engine(make_url(url))
        except (SQLAlchemyError, ImportError) as error:
            raise ConfigError(
                "the manifest's URL cannot be used",
                next_step="Give a URL such as postgresql+psycopg://host/name, with its driver "
                "installed.",
            ) from error
        if self._engine.dialect.name == "sqlite":
            event.listen(self._engine, "connect", _prepare_sqlite)
            event.listen(self._engine, "begin", _begin_sqlite)
        self._writing_engine = self._engine.execution_options(manifest_writes=True)
        try:
            self._prepare_tables()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._engine.dispose()

    def _prepare_tables(self) -> None:
        with self._reading() as connection:
            held = upgrade.held_version(connection)
        if held is not None and upgrade.is_older(held):
            with _translated():
                upgrade.keep_copy(self._engine, held)
        with self._writing() as connection:
            held = upgrade.held_version(connection)
            is_older = upgrade.is_older(held)
            schema.tables.create_all(connection)
            if held is None:
                connection.execute(
                    insert(schema.about).values(key="schema", value=str(schema.SCHEMA_VERSION))
                )
            elif is_older:
                upgrade.upgrade(connection, held)

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        """One transaction that sees one state of the manifest."""
        with _translated(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        """One transaction that no other writer comes between; durable when it is left."""
        with _translated(), self._writing_engine.begin() as connection:
            yield connection


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # The driver starts transactions late, after the first SELECT; we say BEGIN ourselves.
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout = {_WAIT_FOR_LOCK_MS}",
        "journal_mode = WAL",
        "synchronous = FULL",  # with WAL the default, NORMAL, may lose a commit at power loss
        "foreign_keys = ON",
        "secure_delete = ON",  # zeros over what is deleted: its words are in nobody's file
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    # A writer that only becomes one half way can be refused at once (SQLITE_BUSY_SNAPSHOT).
    writes = connection.get_execution_options().get("manifest_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:
        reason = str(getattr(error, "orig", error))
        if "disk is full" in reason:
            raise BackendError(
                "the disk is full: the manifest could not be written",
                code="disk_full",
                next_step="Make room in the data folder and run the command again.",
            ) from error
        if "malformed" in reason or "not a database" in reason:
            raise BackendError(
                "the manifest is damaged",
                code="manifest_damaged",
                next_step="Restore the data folder from a copy, or ingest into a new one.",
            ) from error
        raise BackendError(
            "the manifest cannot be read or written",
            code="manifest_unavailable",
            next_step="Check that the data folder or database can be reached, then try again.",
        ) from error
