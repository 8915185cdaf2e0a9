"""Files whose reading ended processes, by their bytes, so that no later run tries them again."""

from __future__ import annotations

import time
from pathlib import Path

from sqlalchemy import delete, insert, select, update

from rag.manifest.database import FILE_NAME, Database
from rag.manifest.schema import fatal_files
from rag.quarantine import Fatal


class KeptFatalFiles(Database):
    """FatalFiles of a data folder. Close it."""

    @classmethod
    def in_folder(cls, folder: Path) -> KeptFatalFiles:
        folder.mkdir(parents=True, exist_ok=True)
        return cls(f"sqlite:///{folder / FILE_NAME}")

    def of(self, sha256: str) -> Fatal | None:
        with self._reading() as connection:
            row = connection.execute(
                select(fatal_files.c.n_times, fatal_files.c.reason).where(
                    fatal_files.c.sha256 == sha256
                )
            ).first()
        return None if row is None else Fatal(row.n_times, row.reason)

    def add(self, sha256: str, n_more: int, reason: str) -> Fatal:
        with self._writing() as connection:
            before = connection.scalar(
                select(fatal_files.c.n_times).where(fatal_files.c.sha256 == sha256)
            )
            held = {"n_times": n_more + (before or 0), "reason": reason, "last_at": time.time()}
            if before is None:
                connection.execute(insert(fatal_files).values(sha256=sha256, **held))
            else:
                connection.execute(
                    update(fatal_files).where(fatal_files.c.sha256 == sha256).values(**held)
                )
        return Fatal(n_more + (before or 0), reason)

    def forget(self, sha256: str) -> None:
        with self._writing() as connection:
            connection.execute(delete(fatal_files).where(fatal_files.c.sha256 == sha256))
