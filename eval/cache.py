"""What was asked before, by settings and question: a run with other questions, or into another
folder, asks only what is new.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Self

from rag.errors import InputError
from rag.types import Json


class QueryCache:
    """`FOLDER/CONFIG_HASH.jsonl`, a line a question. Close it, or use it as a context manager.

    Several processes may write one file: each line goes there in one piece, behind all others. A
    line that is no JSON (a process died in it) is passed over.
    """

    def __init__(self, path: Path, rows: dict[str, Json]) -> None:
        self._path = path
        self._rows = rows
        self._file: int | None = None

    @classmethod
    def open(cls, folder: Path, config_hash: str) -> Self:
        """Read what is there.

        Args:
            folder: made with the first line that is written.
            config_hash: over every setting that could change what is found, and the index.

        Raises:
            InputError: a file that cannot be read.
        """
        path = folder / f"{config_hash}.jsonl"
        rows: dict[str, Json] = {}
        try:
            lines = path.read_bytes().split(b"\n") if path.exists() else []
        except OSError as error:
            raise InputError(
                f"the cache {path.name} cannot be read: {error.strerror}",
                next_step="Remove it; what it holds is asked again.",
            ) from error
        for line in lines:
            try:
                found = json.loads(line)
                rows[found["key"]] = found["row"]
            except (ValueError, KeyError, TypeError, RecursionError):
                continue
        return cls(path, rows)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, key: str) -> Json | None:
        return self._rows.get(key)

    def put(self, key: str, row: Json) -> None:
        """Kept at once; a later process sees it."""
        self._rows[key] = row
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        # The line end before it: behind a line that was cut off, this one still begins anew.
        line = json.dumps({"key": key, "row": row}, ensure_ascii=False)
        os.write(self._file, f"\n{line}\n".encode())

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
