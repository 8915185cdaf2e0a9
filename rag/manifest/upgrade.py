"""A manifest of an older program brought up to date, after a copy of it was kept.

Every version so far only added nullable columns, tables and indexes, so there is one way up and
each step of it is one transaction.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, select, update

from rag.durable_files import copy_database
from rag.errors import BackendError, IndexMismatch
from rag.manifest import past_versions, schema

_log = logging.getLogger(__name__)

BACKUP_FOLDER = "backups"  # in the data folder
_OLDER = frozenset(map(str, range(1, schema.SCHEMA_VERSION)))


def held_version(connection: Connection) -> str | None:
    """The schema that the tables were made by; None where there are none."""
    if not inspect(connection).has_table(schema.about.name):
        return None
    return connection.scalar(select(schema.about.c.value).where(schema.about.c.key == "schema"))


def is_older(held: str | None) -> bool:
    """Raises IndexMismatch for tables of a newer program, or of something else."""
    if held is None or held == str(schema.SCHEMA_VERSION):
        return False
    if held in _OLDER:
        return True
    raise IndexMismatch(
        f"the manifest has schema {held}, this program reads {schema.SCHEMA_VERSION}",
        next_step="Use the program that wrote it, or ingest into a new data folder.",
    )


def keep_copy(engine: Engine, held: str) -> Path | None:
    """A copy of the manifest as it is; None where it is no file: a server has copies of its own."""
    if engine.dialect.name != "sqlite" or not engine.url.database:
        return None
    held_file = Path(engine.url.database)
    copy = held_file.parent / BACKUP_FOLDER / f"{held_file.stem}-schema{held}{held_file.suffix}"
    try:
        _copy(held_file, copy)
    except OSError as error:
        raise BackendError(
            f"the manifest of schema {held} cannot be copied before it is changed: "
            f"{error.strerror}",
            code="not_written",
            next_step=f"Make {BACKUP_FOLDER}/ in the data folder writable, with room, and try "
            "again; nothing was changed.",
        ) from error
    _log.info("the manifest is brought from schema %s to %d", held, schema.SCHEMA_VERSION)
    return copy


def _copy(held_file: Path, copy: Path) -> None:
    copy.parent.mkdir(exist_ok=True)
    unfinished = copy.with_name(f".part-{copy.name}")
    unfinished.unlink(missing_ok=True)
    copy_database(held_file, unfinished)
    with unfinished.open("rb") as written:
        os.fsync(written.fileno())
    unfinished.replace(copy)


def upgrade(connection: Connection, held: str) -> None:
    """Give older tables what they lack; new tables are there already."""
    for version in range(int(held) + 1, schema.SCHEMA_VERSION + 1):
        for table, column in schema.ADDED_IN[version]:
            kind = schema.tables.tables[table].c[column].type.compile(connection.dialect)
            connection.exec_driver_sql(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")
        if version == 4:
            past_versions.begin_history(connection)
    for each in schema.tables.tables.values():
        for index in each.indexes:
            index.create(connection, checkfirst=True)
    connection.execute(
        update(schema.about)
        .where(schema.about.c.key == "schema")
        .values(value=str(schema.SCHEMA_VERSION))
    )
